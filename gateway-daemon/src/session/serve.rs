//! The controller's end: each gateway that connects is told its share, and says how far it is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gateway_control::session::{
    self, FROM_GATEWAY_MAX_LEN, FromController, FromGateway, Hello, MessageError, Told,
};
use nix::unistd::Uid;
use tokio::io::BufWriter;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame;
use crate::api::Listener;
use crate::controller::{Controller, ControllerError, Identity, Orders, Report};
use crate::store::Revision;

/// Gateways at once: more than share a host.
const MOST: usize = 64;
/// How long a gateway has to say who it is, and to take what it is told.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages of a gateway that wait to be heard.
const AHEAD: usize = 4;

/// The sessions of a controller with the gateways of its host.
#[derive(Debug)]
pub struct Sessions {
    listener: Listener,
    controller: Arc<Controller>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Something else than a message of this protocol came.
    #[error("what came is {0}; see that both are of one version")]
    Message(#[from] MessageError),
    /// The other end took too long.
    #[error("it did not {doing} within {} s", PATIENCE.as_secs())]
    Late {
        /// What it had to do.
        doing: &'static str,
    },
    /// It did not begin by saying who it is.
    #[error("it did not say who it is; see that it is a gateway of this version")]
    Nameless,
    /// Somebody else than root.
    #[error("user {uid} is neither root nor the controller's own; run gatewayd as that")]
    Stranger {
        /// His number.
        uid: Uid,
    },
    /// The controller has failed.
    #[error(transparent)]
    Controller(#[from] ControllerError),
}

impl Sessions {
    /// Sessions by this socket.
    pub fn new(listener: Listener, controller: Arc<Controller>) -> Self {
        Self { listener, controller }
    }

    /// Serves gateways until the socket fails.
    pub async fn serve(self) -> io::Error {
        let places = Arc::new(Semaphore::new(MOST));
        let mut sessions = JoinSet::new();
        loop {
            // Never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { continue };
            let accepted = loop {
                tokio::select! {
                    accepted = self.listener.accept() => break accepted,
                    Some(_) = sessions.join_next() => {}
                }
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => return error,
            };
            let controller = Arc::clone(&self.controller);
            sessions.spawn(async move {
                let _place = place;
                if let Err(error) = talk(stream, &controller).await {
                    tracing::warn!(%error, "a gateway's session ended");
                }
            });
        }
    }
}

async fn talk(stream: UnixStream, controller: &Controller) -> Result<(), SessionError> {
    let uid = Uid::from_raw(stream.peer_cred()?.uid());
    if !uid.is_root() && uid != Uid::effective() {
        return Err(SessionError::Stranger { uid });
    }
    let (mut from, to) = stream.into_split();
    let mut to = BufWriter::new(to);
    let hello = timeout(PATIENCE, hear(&mut from)).await;
    let late = |doing| SessionError::Late { doing };
    let hello = hello.map_err(|_| late("say who it is"))??;
    let Some(FromGateway::Hello(Hello { site, gateway, public_key, .. })) = hello else {
        return Err(SessionError::Nameless);
    };
    let name = gateway.clone();
    let mut connection = controller.connect(Identity { site, gateway, public_key }).await?;
    tracing::info!(gateway = %name, "a gateway is connected");
    // Frames are read by a task of their own, since reading one cannot be left off half-way.
    let (heard, mut hearing) = mpsc::channel(AHEAD);
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        while let Some(message) = hear(&mut from).await? {
            if heard.send(message).await.is_err() {
                break;
            }
        }
        Ok::<(), SessionError>(())
    });
    let mut is_news = true;
    loop {
        if is_news {
            let octets = told(connection.orders()).encode();
            let written = timeout(PATIENCE, frame::write(&mut to, &octets)).await;
            written.map_err(|_| late("take what it is told"))??;
            is_news = false;
        }
        tokio::select! {
            goes_on = connection.changed() => match goes_on {
                true => is_news = true,
                false => {
                    tracing::warn!(gateway = %name, "it connected again; this session ends");
                    return Ok(());
                }
            },
            Some(message) = hearing.recv() => match message {
                FromGateway::Report(report) => connection.report(reported(report)),
                FromGateway::Hello(_) => return Err(SessionError::Nameless),
                _ => {}
            },
            Some(ended) = reader.join_next(), if hearing.is_empty() => {
                tracing::info!(gateway = %name, "a gateway is gone");
                return ended.unwrap_or_else(|error| Err(io::Error::other(error).into()));
            }
        }
    }
}

async fn hear(from: &mut OwnedReadHalf) -> Result<Option<FromGateway>, SessionError> {
    let frame = frame::read(from, FROM_GATEWAY_MAX_LEN).await?;
    Ok(frame.map(|octets| FromGateway::decode(&octets)).transpose()?.flatten())
}

fn told(Orders { revision, share }: Orders) -> FromController {
    let revision = revision.map(Revision::number);
    FromController::Orders(match share {
        Ok(share) => session::Orders::snapshot(revision, None, &share),
        Err(why) => session::Orders { revision, lease: None, told: Told::Nothing(why.why) },
    })
}

fn reported(report: session::Report) -> Report {
    Report {
        applied: report.applied.map(Revision::new),
        refused: report.refused,
        links_up: report.links_up.and_then(|up| usize::try_from(up).ok()),
    }
}
