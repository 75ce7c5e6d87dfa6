//! The controller's door: UDP and TCP at the same addresses, where gateways come in. The controller binds one and
//! takes from it who has got through the handshake.
//!
//! Whoever has not is bounded in time and number, and costs a place that another may take from him.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{Endpoint, VarInt};
use rustls::server::NoServerSessionStorage;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::admission::{Admission, Place, Source};
use super::carrier::{Carried, CarrierError, Ending};
use super::quic::ResetKey;
use super::refusal::{Refusal, Refusals};
use super::{quic, tcp};

/// Connections that the kernel has accepted and this program has not.
const BACKLOG: i32 = 4096;
/// How long nothing is accepted after the system had no room for it.
const PAUSE: Duration = Duration::from_millis(100);
/// Those who are in and have not been taken.
const AHEAD: usize = 64;
/// How often a port is tried that is to be free for UDP and TCP.
const TRIES: usize = 16;

/// How much a listener takes and how long it waits.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// How long a handshake may take, with all that it needs before there is a session's stream.
    pub handshake: Duration,
    /// Handshakes at once.
    pub handshakes: usize,
    /// Handshakes at once of one IPv4 address or one IPv6 /64.
    pub handshakes_of_one: usize,
    /// Sessions at once, those in a handshake too.
    pub sessions: usize,
    /// The same after a restart as before it, so that gateways learn at once that their connections are gone; else they
    /// find out by silence.
    pub reset_key: Option<ResetKey>,
}

/// Where gateways come in, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    addresses: Vec<SocketAddr>,
    endpoints: Vec<Endpoint>,
    shared: Arc<Shared>,
    arrived: mpsc::Receiver<Carried>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    settings: ListenSettings,
    config: Mutex<Config>,
    admission: Admission,
    places: Arc<Semaphore>,
    refusals: Refusals,
    arrive: mpsc::Sender<Carried>,
}

#[derive(Clone, Debug)]
struct Config {
    tls: Arc<rustls::ServerConfig>,
    quic: Arc<quinn::ServerConfig>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            handshakes: 1024,
            handshakes_of_one: 128,
            sessions: 16_384,
            reset_key: None,
        }
    }
}

impl Config {
    /// A resumed session is not asked for its certificates again, so there are none, whatever `tls` says.
    fn new(tls: &rustls::ServerConfig, settings: &ListenSettings) -> Result<Self, CarrierError> {
        let mut tls = tls.clone();
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        let tls = Arc::new(tls);
        let quic = Arc::new(quic::server_config(Arc::clone(&tls), settings.handshakes)?);
        Ok(Self { tls, quic })
    }
}

impl Listener {
    /// Listens at each of `addresses` by UDP and TCP. Port 0 is one that is free for both.
    ///
    /// # Errors
    /// If an address cannot be had, or `tls` does not do for QUIC.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn bind(
        addresses: &[SocketAddr],
        tls: &rustls::ServerConfig,
        settings: ListenSettings,
    ) -> Result<Self, CarrierError> {
        let config = Config::new(tls, &settings)?;
        let (arrive, arrived) = mpsc::channel(AHEAD);
        let shared = Arc::new(Shared {
            admission: Admission::new(settings.handshakes, settings.handshakes_of_one),
            places: Arc::new(Semaphore::new(settings.sessions)),
            refusals: Refusals::default(),
            config: Mutex::new(config.clone()),
            settings,
            arrive,
        });
        let (mut tasks, mut bound, mut endpoints) = (JoinSet::new(), Vec::new(), Vec::new());
        let key = shared.settings.reset_key.as_ref();
        for address in addresses {
            let (tcp, udp) = sockets(*address)?;
            bound.push(tcp.local_addr()?);
            let endpoint = quic::server(udp, (*config.quic).clone(), key)?;
            tasks.spawn(accept_tcp(tcp, Arc::clone(&shared)));
            tasks.spawn(accept_quic(endpoint.clone(), Arc::clone(&shared)));
            endpoints.push(endpoint);
        }
        Ok(Self { addresses: bound, endpoints, shared, arrived, tasks })
    }

    /// Where it listens, with the ports that it has.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The next who has got through the handshake. Cancel safe.
    ///
    /// # Errors
    /// If nobody can come in any more.
    pub async fn accept(&mut self) -> Result<Carried, CarrierError> {
        tokio::select! {
            Some(carried) = self.arrived.recv() => Ok(carried),
            ended = self.tasks.join_next() => {
                let ended = ended.and_then(Result::err);
                Err(CarrierError::Ended(ended.map_or_else(String::new, |error| error.to_string())))
            }
        }
    }

    /// Goes on with another TLS configuration. Sessions that are there stay.
    ///
    /// # Errors
    /// If `tls` does not do for QUIC.
    pub fn replace(&self, tls: &rustls::ServerConfig) -> Result<(), CarrierError> {
        let config = Config::new(tls, &self.shared.settings)?;
        *self.shared.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// What nobody was let in for.
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Handshakes that are under way.
    pub fn handshakes(&self) -> usize {
        self.shared.admission.len()
    }

    /// Closes all its QUIC connections, and tells the other ends so for `patience` at most. Those over TCP are their
    /// owner's.
    pub async fn close(mut self, patience: Duration) {
        self.tasks.shutdown().await;
        for endpoint in &self.endpoints {
            endpoint.close(VarInt::from_u32(Ending::Leaving as u32), b"the controller ends");
        }
        let told = async {
            for endpoint in &self.endpoints {
                endpoint.wait_idle().await;
            }
        };
        // Who has not heard by then finds out by himself.
        let _ = timeout(patience, told).await;
    }
}

/// A socket of each at one port.
fn sockets(address: SocketAddr) -> io::Result<(TcpListener, std::net::UdpSocket)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let tcp = listen(address)?;
        match quic::socket(tcp.local_addr()?) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && address.port() == 0
                    && tries < TRIES => {}
            udp => return Ok((tcp, udp?)),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut handshakes = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = handshakes.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = shared.seat(peer) else { continue };
                let place = shared.admission.enter(peer.ip().into());
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

async fn accept_quic(endpoint: Endpoint, shared: Arc<Shared>) {
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
        let place = shared.admission.enter(source);
        let shared = Arc::clone(&shared);
        handshakes.spawn(async move {
            let config = shared.config().quic;
            shared.shake(peer, place, seat, quic::accept(incoming, config)).await;
        });
    }
}

impl Shared {
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
            let carried = handshake.await?.holding(seat);
            // Fails if the listener is gone.
            let _ = self.arrive.send(carried).await;
            Ok::<(), CarrierError>(())
        };
        tokio::select! {
            arrived = timeout(limit, arriving) => match arrived {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.refusals.add(Refusal::Handshake, Some(peer), error),
                Err(_) => self.refusals.add(Refusal::Late, Some(peer), CarrierError::Late(limit)),
            },
            () = place.lost() => {
                self.refusals.add(Refusal::Crowded, Some(peer), "too many handshakes at once");
            }
        }
    }
}
