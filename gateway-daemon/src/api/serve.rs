//! Serving the socket: taking connections, within bounds, until the server is to end; and what all of them share.
//!
//! `gatewayd controller` calls it.

use std::future::Future;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use nix::unistd::Uid;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::{Held, PIECE};
use super::callers::{self, Callers, TooMuch};
use super::connection::connection;
use super::wire::ErrorWord;
use super::{Access, ApiError, Listener, Refused, Role, Settings};
use crate::controller::Controller;

/// How long to wait when the system has no room for one more connection.
const PAUSE: Duration = Duration::from_millis(200);
/// Bodies that are made resources of at once.
const READING: usize = 2;
/// Threads that wait for the host to name a user.
const NAMING: usize = 4;
/// Octets that one unit of what is held stands for.
const UNIT: usize = 1 << 10;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) controller: Arc<Controller>,
    pub(super) access: Access,
    pub(super) settings: Settings,
    /// True once the server is to end.
    pub(super) closing: watch::Receiver<bool>,
    pub(super) openapi: String,
    /// One computes what a watch has to say, as that takes room.
    pub(super) computing: Semaphore,
    /// One backup at once.
    pub(super) backups: Arc<Semaphore>,
    /// Few bodies are made resources of at once, as that takes many times their room.
    pub(super) reading: Arc<Semaphore>,
    /// Few ask the host for a user's name at once, as it may take its time.
    pub(super) naming: Arc<Semaphore>,
    callers: Mutex<Callers>,
    requests: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    large: Arc<Semaphore>,
    held: Arc<Semaphore>,
}

/// Something that a user has, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    server: Arc<Server>,
    uid: Uid,
    held: callers::Held,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Counted {
    pub(super) fn uid(&self) -> Uid {
        self.uid
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.server.callers().release(self.uid, self.held);
    }
}

/// Serves the socket until `shutdown`, then lets requests end. What a caller may do is for `access` to say.
pub async fn serve(
    listener: Listener,
    controller: Arc<Controller>,
    access: Access,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ApiError> {
    serve_within(listener, controller, access, Settings::default(), shutdown).await
}

/// As [`serve`], with other bounds.
pub async fn serve_within(
    listener: Listener,
    controller: Arc<Controller>,
    access: Access,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ApiError> {
    let (close, closing) = watch::channel(false);
    let grace = settings.grace;
    let requests = settings.requests;
    let server = Arc::new(Server::new(controller, access, settings, closing));
    let router = super::routes::router(&server);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, _)) => server.take(stream, &router, &mut connections),
                Err(error) => {
                    tracing::warn!("{}: cannot take a caller: {error}", listener.path().display());
                    sleep(PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    // They may all have ended already.
    let _ = close.send(true);
    let all = u32::try_from(requests).unwrap_or(u32::MAX);
    let ended = timeout(grace, async {
        while connections.join_next().await.is_some() {}
        // Changes go on without their callers.
        let _ = server.requests.acquire_many(all).await;
    });
    if ended.await.is_err() {
        tracing::warn!("the API's callers took longer than {} s to end", grace.as_secs());
    }
    connections.shutdown().await;
    Ok(())
}

impl Server {
    pub(super) fn new(
        controller: Arc<Controller>,
        access: Access,
        settings: Settings,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            controller,
            access,
            closing,
            openapi: super::document(),
            computing: Semaphore::new(1),
            backups: places(1),
            reading: places(READING),
            naming: places(NAMING),
            callers: Mutex::new(Callers::new(settings.share)),
            requests: places(settings.requests),
            watches: places(settings.watches),
            large: places(settings.large_bodies),
            held: places(settings.held.div_ceil(UNIT)),
            settings,
        }
    }

    fn take(self: &Arc<Self>, stream: UnixStream, router: &Router, connections: &mut JoinSet<()>) {
        let uid = match stream.peer_cred() {
            Ok(peer) => Uid::from_raw(peer.uid()),
            Err(error) => {
                tracing::warn!("a caller of the API whom the kernel does not name: {error}");
                return;
            }
        };
        while connections.try_join_next().is_some() {}
        if connections.len() >= self.settings.connections {
            return turn_away(stream, "too many callers are connected; try again later");
        }
        if !self.callers().connect(uid, Instant::now()) {
            return turn_away(stream, "you have too many connections; end one, or try again later");
        }
        let held = callers::Held::Connection;
        let counted = Counted { server: Arc::clone(self), uid, held, _of_all: None };
        connections.spawn(connection(Arc::clone(self), router.clone(), stream, counted));
    }

    /// A place for a request, when there is one.
    pub(super) async fn request(
        self: &Arc<Self>,
        uid: Uid,
        role: Role,
    ) -> Result<Counted, Refused> {
        self.callers().request(uid, role, Instant::now()).map_err(too_much)?;
        let held = callers::Held::Request;
        let mut counted = Counted { server: Arc::clone(self), uid, held, _of_all: None };
        counted._of_all = Some(self.wait(&self.requests, 1, "requests").await?);
        Ok(counted)
    }

    /// A place for a watch, if there is one.
    pub(super) fn watch(self: &Arc<Self>, uid: Uid) -> Result<Counted, Refused> {
        let Ok(place) = Arc::clone(&self.watches).try_acquire_owned() else {
            return Err(Refused::new(
                ErrorWord::Unavailable,
                "there are too many watches already; end one, or try again later",
            ));
        };
        self.callers().watch(uid).map_err(too_much)?;
        let held = callers::Held::Watch;
        Ok(Counted { server: Arc::clone(self), uid, held, _of_all: Some(place) })
    }

    /// Leave to read a large body, when one of the others is done.
    pub(super) async fn turn_of_large_body(&self) -> Result<OwnedSemaphorePermit, Refused> {
        self.wait(&self.large, 1, "large bodies").await
    }

    /// Keeps octets for a caller, when there is room for them.
    pub(super) async fn hold(&self, octets: Vec<u8>) -> Result<Held, Refused> {
        if octets.len() <= PIECE {
            return Ok(Held::new(octets, None));
        }
        let all = self.settings.held.div_ceil(UNIT);
        let units = u32::try_from(octets.len().div_ceil(UNIT).min(all)).unwrap_or(u32::MAX);
        let counted = self.wait(&self.held, units, "answers that nobody has taken yet").await?;
        Ok(Held::new(octets, Some(counted)))
    }

    pub(super) async fn wait(
        &self,
        places: &Arc<Semaphore>,
        count: u32,
        of: &str,
    ) -> Result<OwnedSemaphorePermit, Refused> {
        let place = Arc::clone(places).acquire_many_owned(count);
        match timeout(self.settings.patience, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                let message = format!("there are too many {of} at the moment; try again later");
                Err(Refused::new(ErrorWord::Unavailable, message))
            }
        }
    }

    fn callers(&self) -> std::sync::MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the server is to end.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    // Without its sender the server is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}

fn too_much(what: TooMuch) -> Refused {
    let (message, after) = match what {
        TooMuch::InFlight(most) => {
            (format!("you have {most} requests in flight, which is the most; wait for one"), 1)
        }
        TooMuch::Watches(most) => {
            (format!("you have {most} watches, which is the most; end one"), 1)
        }
        TooMuch::Rate(after) => {
            let after = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            (
                format!("you ask too often; wait {after} s, and ask for several things at once"),
                after,
            )
        }
    };
    let refused = Refused::new(ErrorWord::TooManyRequests, message);
    Refused { retry_after: Some(after), ..refused }
}

/// Tells a caller why he is not served, as far as his socket takes it at once.
fn turn_away(stream: UnixStream, why: &str) {
    let refusal = Refused::new(ErrorWord::Unavailable, why).refusal;
    let body = serde_json::to_string(&refusal).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // He may be gone.
    let _ = stream.into_std().and_then(|mut stream| stream.write(answer.as_bytes()));
}
