//! The controller's door: UDP and TCP at the same addresses, where gateways come in. The controller binds one and
//! takes from it who has got through the handshake.
//!
//! Whoever has not is bounded in time and number, and costs a place that another may take from him.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::carrier::{Carried, CarrierError, Ending};
use super::entrance::{self, Config, Entrance};
use super::quic::{self, ResetKey};
use super::refusal::Refusals;

/// Connections that the kernel has accepted and this program has not.
const BACKLOG: i32 = 4096;
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
    /// How long a handshake, or somebody without a certificate, keeps his place whoever else comes.
    pub grace: Duration,
    /// Connections at once of those who have shown no certificate.
    pub strangers: usize,
    /// Such connections at once of one IPv4 address or one IPv6 /64.
    pub strangers_of_one: usize,
    /// How long such a connection may last.
    pub stranger: Duration,
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
    shared: Arc<Entrance>,
    arrived: mpsc::Receiver<Carried>,
    tasks: JoinSet<()>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            handshakes: 1024,
            handshakes_of_one: 256,
            grace: Duration::from_millis(500),
            strangers: 1024,
            strangers_of_one: 256,
            stranger: Duration::from_secs(60),
            sessions: 16_384,
            reset_key: None,
        }
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
        let shared = Arc::new(Entrance::new(config.clone(), settings, arrive));
        let (mut tasks, mut bound, mut endpoints) = (JoinSet::new(), Vec::new(), Vec::new());
        let key = shared.settings.reset_key.as_ref();
        for address in addresses {
            let (tcp, udp) = sockets(*address)?;
            bound.push(tcp.local_addr()?);
            let endpoint = quic::server(udp, (*config.quic).clone(), key)?;
            tasks.spawn(entrance::accept_tcp(tcp, Arc::clone(&shared)));
            tasks.spawn(entrance::accept_quic(endpoint.clone(), Arc::clone(&shared)));
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
        self.shared.replace(config);
        Ok(())
    }

    /// What nobody was let in for.
    pub fn refusals(&self) -> &Refusals {
        self.shared.refusals()
    }

    /// Handshakes that are under way.
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes()
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
