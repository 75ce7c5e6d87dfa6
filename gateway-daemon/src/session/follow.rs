//! A gateway's end: says who it is and how far, and hears what it is to have. When the controller is not there
//! it tries again, and the gateway goes on with what it has.

use std::path::Path;
use std::time::Duration;

use gateway_control::session::{self, GatewayEnd, GatewayEvent, Hello, Holding, VERSION};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Driven, SessionError};
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
}

/// Follows the controller at `socket` for as long as the gateway is there.
pub async fn follow(
    socket: &Path,
    orders: watch::Sender<Option<Orders>>,
    identity: watch::Receiver<Identity>,
    report: watch::Receiver<Report>,
) -> anyhow::Result<()> {
    let mut follower = Follower { orders, holding: watch::Sender::new(None), identity, report };
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
        loop {
            tokio::select! {
                event = driven.next() => match event? {
                    GatewayEvent::Orders { revision, share } => self.take(revision, share),
                    GatewayEvent::Astray(why) => {
                        tracing::warn!(%why, "what the controller changed does not fit; it is asked for all of it");
                    }
                    // Nothing of this gateway runs out, and it asked for none of these.
                    GatewayEvent::Renewed(_)
                    | GatewayEvent::Certificate(_)
                    | GatewayEvent::LinkKeyTaken(_) => {}
                    GatewayEvent::Closed(reason) => {
                        driven.finish().await;
                        return Err(reason.into());
                    }
                },
                changed = self.report.changed() => match changed {
                    Ok(()) => driven.end().report(reported(&self.report.borrow_and_update())),
                    Err(_) => return Ok(()),
                },
                _ = self.identity.changed() => return Ok(()),
            }
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

fn reported(report: &Report) -> session::Report {
    session::Report {
        applied: report.applied.map(Revision::number),
        refused: report.refused.clone(),
        links_up: report.links_up.map(|up| u32::try_from(up).unwrap_or(u32::MAX)),
    }
}
