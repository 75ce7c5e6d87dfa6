//! A gateway's end: says who it is and how far, and hears what it is to have. When the controller is not there
//! it tries again, and the gateway goes on with what it has.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway_control::deployment::share::Share;
use gateway_control::session::{
    self, FROM_CONTROLLER_MAX_LEN, FromController, FromGateway, Hello, MessageError, Told, VERSION,
};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{SessionError, frame};
use crate::controller::{Identity, Lack, Orders, Report};
use crate::jitter::jitter;
use crate::store::Revision;

/// First and longest time between two attempts; each is taken at random up to it.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Follows the controller at `socket` for as long as the gateway is there.
pub async fn follow(
    socket: &Path,
    orders: watch::Sender<Option<Orders>>,
    mut identity: watch::Receiver<Identity>,
    mut report: watch::Receiver<Report>,
) -> anyhow::Result<()> {
    let mut wait = FIRST;
    let mut told: Option<String> = None;
    loop {
        let before = orders.borrow().clone();
        let Err(error) = talk(socket, &orders, &mut identity, &mut report).await else { continue };
        if *orders.borrow() != before {
            (wait, told) = (FIRST, None);
        }
        if orders.is_closed() {
            anyhow::bail!("the gateway ended");
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

/// One session; without error it ended because the gateway is another now.
async fn talk(
    socket: &Path,
    orders: &watch::Sender<Option<Orders>>,
    identity: &mut watch::Receiver<Identity>,
    report: &mut watch::Receiver<Report>,
) -> Result<(), SessionError> {
    let (mut from, mut to) = UnixStream::connect(socket).await?.into_split();
    let Identity { site, gateway, public_key } = identity.borrow_and_update().clone();
    let hello = FromGateway::Hello(Hello {
        version: VERSION,
        site,
        gateway,
        public_key,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        holds: None,
    });
    frame::write(&mut to, &hello.encode()).await?;
    // Frames are read by a task of their own, since reading one cannot be left off half-way.
    let (heard, mut hearing) = mpsc::channel(1);
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        while let Some(octets) = frame::read(&mut from, FROM_CONTROLLER_MAX_LEN).await? {
            let Some(FromController::Orders(told)) = FromController::decode(&octets)? else {
                continue;
            };
            if heard.send(told).await.is_err() {
                break;
            }
        }
        Err::<(), SessionError>(io::Error::from(io::ErrorKind::ConnectionReset).into())
    });
    let mut says = true;
    loop {
        if says {
            let report = FromGateway::Report(reported(&report.borrow_and_update()));
            frame::write(&mut to, &report.encode()).await?;
            says = false;
        }
        tokio::select! {
            Some(heard) = hearing.recv() => {
                let session::Orders { revision, told, .. } = heard;
                let share = match told {
                    Told::Snapshot { octets, .. } => {
                        let share = Share::decode(&octets);
                        Ok(share.map_err(|error| MessageError::Message(error.to_string()))?)
                    }
                    Told::Delta(_) => return Err(MessageError::Empty.into()),
                    Told::Nothing(why) => Err(why),
                };
                let heard = Orders { revision: revision.map(Revision::new), share: share.map(Arc::new).map_err(Lack::nothing) };
                orders.send_if_modified(|now| {
                    let changed = now.as_ref() != Some(&heard);
                    *now = Some(heard);
                    changed
                });
            }
            changed = report.changed() => {
                changed.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                says = true;
            }
            changed = identity.changed() => {
                return Ok(changed.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?);
            }
            Some(ended) = reader.join_next(), if hearing.is_empty() => {
                return ended.unwrap_or_else(|error| Err(io::Error::other(error).into()));
            }
        }
    }
}

fn reported(report: &Report) -> session::Report {
    session::Report {
        applied: report.applied.map(Revision::number),
        refused: report.refused.clone(),
        links_up: report.links_up.map(|up| u32::try_from(up).unwrap_or(u32::MAX)),
    }
}
