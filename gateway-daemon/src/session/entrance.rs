//! Between the door and the controller: those who come by TCP or QUIC are seen through their handshakes, and nobody stays
//! there. The listener runs it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::Endpoint;
use rustls::server::NoServerSessionStorage;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::admission::{Admission, Place, Source, Taken};
use super::carrier::{Carried, CarrierError, Ending};
use super::listen::ListenSettings;
use super::refusal::{Refusal, Refusals};
use super::{quic, tcp};

/// How long nothing is accepted after the system had no room for it.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) settings: ListenSettings,
    config: Mutex<Config>,
    admission: Admission,
    strangers: Admission,
    places: Arc<Semaphore>,
    refusals: Refusals,
    arrive: mpsc::Sender<Carried>,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) quic: Arc<quinn::ServerConfig>,
}

impl Config {
    /// A resumed session is not asked for its certificates again, so there are none, whatever `tls` says.
    pub(super) fn new(
        tls: &rustls::ServerConfig,
        settings: &ListenSettings,
    ) -> Result<Self, CarrierError> {
        let mut tls = tls.clone();
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        let tls = Arc::new(tls);
        let quic = Arc::new(quic::server_config(Arc::clone(&tls), settings.handshakes)?);
        Ok(Self { tls, quic })
    }
}

pub(super) async fn accept_tcp(listener: TcpListener, shared: Arc<Entrance>) {
    let mut handshakes = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = handshakes.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = shared.seat(peer) else { continue };
                let Some(place) = shared.wait_for_place(peer).await else { continue };
                let shared = Arc::clone(&shared);
                handshakes.spawn(async move {
                    let config = shared.config().tls;
                    shared.shake(peer, place, seat, tcp::accept(stream, config)).await;
                });
            }
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                shared.refusals.add(Refusal::Exhausted, None, error);
                shared.admission.evict_oldest();
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether an error of accept(2) is about the connection that was to be accepted, and not about this program.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
    )
}

pub(super) async fn accept_quic(endpoint: Endpoint, shared: Arc<Entrance>) {
    let mut handshakes = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            Some(_) = handshakes.join_next() => continue,
        };
        let Some(incoming) = incoming else { return };
        let peer = incoming.remote_address();
        let source = Source::from(peer.ip());
        if !incoming.remote_address_validated() && shared.admission.is_busy(source) {
            shared.refusals.add(Refusal::Unproved, Some(peer), "its address is to be proved first");
            // RFC 9000 section 8.1.2. It may be, as the address is not proved.
            let _ = incoming.retry();
            continue;
        }
        // Those that were closed stay for a while, so that there may be more than sessions.
        if endpoint.open_connections() >= shared.most_open() {
            shared.refusals.add(Refusal::Full, Some(peer), "too many connections are being closed");
            incoming.ignore();
            continue;
        }
        let Some(seat) = shared.seat(peer) else {
            incoming.refuse();
            continue;
        };
        let Ok(place) = shared.admission.enter(source, Instant::now()) else {
            shared.refusals.add(Refusal::Crowded, Some(peer), "too many handshakes at once");
            // Who means it sends his first packet again.
            incoming.ignore();
            continue;
        };
        let shared = Arc::clone(&shared);
        handshakes.spawn(async move {
            let config = shared.config().quic;
            shared.shake(peer, place, seat, quic::accept(incoming, config)).await;
        });
    }
}

impl Entrance {
    pub(super) fn new(
        config: Config,
        settings: ListenSettings,
        arrive: mpsc::Sender<Carried>,
    ) -> Self {
        let admission = |most, most_of_one| Admission::new(most, most_of_one, settings.grace);
        Self {
            admission: admission(settings.handshakes, settings.handshakes_of_one),
            strangers: admission(settings.strangers, settings.strangers_of_one),
            places: Arc::new(Semaphore::new(settings.sessions)),
            refusals: Refusals::default(),
            config: Mutex::new(config),
            settings,
            arrive,
        }
    }

    pub(super) fn replace(&self, config: Config) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Handshakes that are under way.
    pub(super) fn handshakes(&self) -> usize {
        self.admission.len()
    }

    fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn most_open(&self) -> usize {
        self.settings.sessions.saturating_add(self.settings.handshakes.saturating_mul(4))
    }

    fn seat(&self, peer: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let seat = Arc::clone(&self.places).try_acquire_owned().ok();
        if seat.is_none() {
            let most = self.settings.sessions;
            self.refusals.add(Refusal::Full, Some(peer), format_args!("there are {most} sessions"));
        }
        seat
    }

    /// A place for a connection over TCP; the kernel keeps the next ones meanwhile.
    async fn wait_for_place(&self, peer: SocketAddr) -> Option<Place> {
        loop {
            match self.admission.enter(peer.ip().into(), Instant::now()) {
                Ok(place) => return Some(place),
                // Listeners at several addresses wait for one of them to be woken; the others wait for the time.
                Err(Taken::All { until }) => tokio::select! {
                    () = sleep_until(until.into()) => {}
                    () = self.admission.freed() => {}
                },
                Err(Taken::OfOne) => {
                    self.refusals.add(Refusal::Crowded, Some(peer), "too many handshakes at once");
                    return None;
                }
            }
        }
    }

    /// Sees a handshake through, and hands over who is in.
    async fn shake(
        &self,
        peer: SocketAddr,
        mut place: Place,
        seat: OwnedSemaphorePermit,
        handshake: impl Future<Output = Result<Carried, CarrierError>>,
    ) {
        let limit = self.settings.handshake;
        let arriving = async {
            let carried = handshake.await?;
            if carried.certificates().is_empty() {
                return Ok(Some(carried));
            }
            // Fails if the listener is gone.
            let _ = self.arrive.send(carried.holding(seat)).await;
            Ok::<_, CarrierError>(None)
        };
        let arrived = tokio::select! {
            arrived = timeout(limit, arriving) => match arrived {
                Ok(Ok(arrived)) => arrived,
                Ok(Err(error)) => return self.refusals.add(Refusal::Handshake, Some(peer), error),
                Err(_) => {
                    return self.refusals.add(Refusal::Late, Some(peer), CarrierError::Late(limit));
                }
            },
            () = place.lost() => {
                self.refusals.add(Refusal::Crowded, Some(peer), "too many handshakes at once");
                return;
            }
        };
        drop(place);
        if let Some(carried) = arrived {
            self.accompany(peer, carried).await;
        }
    }

    /// Hands over somebody without a certificate, and sees to it that he does not stay.
    async fn accompany(&self, peer: SocketAddr, carried: Carried) {
        let crowded = || {
            let why = "too many without a certificate at once";
            self.refusals.add(Refusal::Crowded, Some(peer), why);
        };
        let Ok(mut place) = self.strangers.enter(peer.ip().into(), Instant::now()) else {
            return crowded();
        };
        let closer = carried.closer();
        let lasting = timeout(self.settings.stranger, async {
            // Fails if the listener is gone.
            let _ = self.arrive.send(carried).await;
            closer.closed().await;
        });
        tokio::select! {
            lasted = lasting => if lasted.is_err() {
                closer.close(Ending::Late, "it took too long");
                self.refusals.add(Refusal::Late, Some(peer), "it had no certificate, and stayed");
            },
            () = place.lost() => {
                closer.close(Ending::Late, "others want to get in");
                crowded();
            }
        }
    }
}
