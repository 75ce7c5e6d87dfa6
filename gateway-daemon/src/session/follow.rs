//! A gateway's end: says who it is and how far, and hears what it is to have. When the controller is not there
//! it tries again, and the gateway goes on with what it has.

use std::path::Path;
use std::time::Duration;

use gateway_control::session::{
    self, Certificate, GatewayEnd, GatewayEvent, Hello, Holding, Lease, Renew, VERSION,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Driven, Keeper, KeeperError, SessionError};
use crate::controller::{Identity, Lack, Orders, Report};
use crate::jitter::jitter;
use crate::store::Revision;

/// First and longest time between two attempts; each is taken at random up to it.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// A gateway as its sessions have it, one after the other.
#[derive(Debug)]
pub struct Follower {
    /// What it is to have.
    pub orders: watch::Sender<Option<Orders>>,
    /// The share that it was told last, as it came: what the next session begins with, and what can be kept over a
    /// restart.
    pub holding: watch::Sender<Option<Holding>>,
    /// Who it is.
    pub identity: watch::Receiver<Identity>,
    /// How far it is.
    pub report: watch::Receiver<Report>,
    /// What is kept beyond sessions; `None` for a gateway on its controller's host.
    pub keeper: Option<Keeper>,
}

/// Follows the controller at `socket` for as long as the gateway is there.
pub async fn follow(
    socket: &Path,
    orders: watch::Sender<Option<Orders>>,
    identity: watch::Receiver<Identity>,
    report: watch::Receiver<Report>,
) -> anyhow::Result<()> {
    let holding = watch::Sender::new(None);
    let mut follower = Follower { orders, holding, identity, report, keeper: None };
    let mut wait = FIRST;
    let mut told: Option<String> = None;
    loop {
        let before = follower.holding.borrow().clone();
        let ended = match UnixStream::connect(socket).await {
            Ok(stream) => follower.talk(stream).await,
            Err(error) => Err(error.into()),
        };
        if follower.is_left() {
            anyhow::bail!("the gateway ended");
        }
        let Err(error) = ended else { continue };
        if *follower.holding.borrow() != before {
            (wait, told) = (FIRST, None);
        }
        let error = error.to_string();
        if told.as_ref() != Some(&error) {
            let socket = socket.display();
            tracing::warn!(%socket, error, "no controller; going on with what there is, trying again");
            told = Some(error);
        }
        sleep(jitter(wait)).await;
        wait = (wait * 2).min(LONGEST);
    }
}

impl Follower {
    /// Whether the gateway is gone.
    pub fn is_left(&self) -> bool {
        let (identity, report) = (self.identity.has_changed(), self.report.has_changed());
        self.orders.is_closed() || identity.is_err() || report.is_err()
    }

    /// One session by this connection; without error it ended because the gateway is another now, or gone.
    pub async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: S,
    ) -> Result<(), SessionError> {
        let Identity { site, gateway, public_key } = self.identity.borrow_and_update().clone();
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let hello = Hello { version: VERSION, site, gateway, public_key, program, holds: None };
        let holding = self.holding.borrow().clone();
        let end = GatewayEnd::new(Instant::now().into_std(), hello, holding);
        let mut driven = Driven::new(stream, end);
        driven.end().report(reported(&self.report.borrow_and_update()));
        if let Some(keeper) = &mut self.keeper {
            keeper.begin();
        }
        loop {
            tokio::select! {
                event = driven.next() => match event? {
                    GatewayEvent::Orders { revision, share } => self.take(revision, share),
                    GatewayEvent::Astray(why) => {
                        tracing::warn!(%why, "what the controller changed does not fit; it is asked for all of it");
                    }
                    GatewayEvent::Renewed(lease) => self.renewed(lease),
                    GatewayEvent::Certificate(certificate) => self.certificate(certificate),
                    // It asked for none.
                    GatewayEvent::LinkKeyTaken(_) => {}
                    GatewayEvent::Closed(reason) => {
                        driven.finish().await;
                        return Err(reason.into());
                    }
                },
                changed = self.report.changed() => match changed {
                    Ok(()) => {
                        let report = self.report.borrow_and_update().clone();
                        // First on the disk, then said: who is believed to have it has it after a start as well.
                        self.keep_applied(report.applied);
                        driven.end().report(reported(&report));
                    }
                    Err(_) => return Ok(()),
                },
                due = due(&mut self.keeper) => match due {
                    Ok(renew) => driven.end().renew(renew),
                    Err(error) => tell(&error),
                },
                _ = self.identity.changed() => return Ok(()),
            }
        }
    }

    fn renewed(&mut self, lease: Lease) {
        let Some(keeper) = &mut self.keeper else { return };
        keeper.heard(lease);
        if keeper.is_unnoted() {
            let applied = self.report.borrow().applied;
            self.keep_applied(applied);
        }
    }

    fn certificate(&mut self, certificate: Certificate) {
        if let Some(keeper) = &mut self.keeper
            && let Err(error) = keeper.certificate(certificate)
        {
            tell(&error);
        }
    }

    /// Keeps the share, if it is the one that the kernel has.
    fn keep_applied(&mut self, applied: Option<Revision>) {
        let Some(keeper) = &mut self.keeper else { return };
        let holding = self.holding.borrow().clone();
        let is_applied = |it: &Holding| it.revision() == applied.map(Revision::number);
        if let Some(holding) = holding.filter(is_applied)
            && let Err(error) = keeper.keep(&holding)
        {
            tell(&error);
        }
    }

    fn take(&self, revision: Option<u64>, share: Result<Holding, session::Refusal>) {
        let share = match share {
            Ok(holding) => {
                let share = holding.share().clone();
                self.holding.send_replace(Some(holding));
                Ok(share)
            }
            Err(refusal) => Err(Lack::from(refusal)),
        };
        let heard = Orders { revision: revision.map(Revision::new), share };
        self.orders.send_if_modified(|now| {
            let changed = now.as_ref() != Some(&heard);
            *now = Some(heard);
            changed
        });
    }
}

/// Waits until a certificate is to be asked for.
async fn due(keeper: &mut Option<Keeper>) -> Result<Renew, KeeperError> {
    match keeper {
        Some(keeper) => keeper.due().await,
        None => std::future::pending().await,
    }
}

fn tell(error: &KeeperError) {
    tracing::error!(%error, "what this gateway is to keep is not kept; it goes on, and tries again");
}

fn reported(report: &Report) -> session::Report {
    session::Report {
        applied: report.applied.map(Revision::number),
        refused: report.refused.clone(),
        links_up: report.links_up.map(|up| u32::try_from(up).unwrap_or(u32::MAX)),
    }
}
