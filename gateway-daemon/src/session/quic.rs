//! QUIC as a carrier: one stream of one connection, which the client opens. The listener and the dialler make them.
//!
//! Nothing else is let in: no second stream, no unidirectional one, no datagrams, no early data. What a connection
//! may make this end hold is bounded by the windows below.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, ConnectionId, ConnectionIdGenerator, Endpoint,
    EndpointConfig, IdleTimeout, Incoming, RecvStream, SendStream, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

use super::carrier::{Carried, CarrierError, Ending};

/// How long a connection lives of which nothing is heard, and after how much silence the client says something: a
/// gateway whose controller is gone is to have another within five seconds. What is said is repeated until it is
/// acknowledged (RFC 9002 section 6.2), so that some loss ends nothing.
pub(super) const IDLE: Duration = Duration::from_millis(4500);
const KEEP_ALIVE: Duration = Duration::from_millis(1500);
/// Octets that the other end may have sent and nobody has read, of gateways and of controllers.
const FROM_GATEWAY_WINDOW: u32 = 64 << 10;
const FROM_CONTROLLER_WINDOW: u32 = 1 << 20;
/// Octets written and not acknowledged.
const SEND_WINDOW: u64 = 128 << 10;
/// Packets that may come while a connection waits to be accepted, of one and of all.
const INCOMING_BUFFER: u64 = 16 << 10;
const INCOMING_BUFFERS: u64 = 4 << 20;
/// Room for packets that wait for this program, in octets as the kernel counts them.
const ROOM: usize = 4 << 20;

/// By which a controller that has started again is known for the one it was before. Whoever else has it can end QUIC
/// connections, and no more.
#[derive(Clone)]
pub struct ResetKey(Zeroizing<[u8; 32]>);

/// One end of a session's connection.
#[derive(Debug)]
pub(super) struct Quic {
    connection: Connection,
    /// A client's own, which it can move.
    endpoint: Option<Endpoint>,
    send: SendStream,
    receive: RecvStream,
}

/// Closes it from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct QuicCloser {
    connection: Connection,
    endpoint: Option<Endpoint>,
}

/// What a server says of itself. Resumption is off in `tls` already.
pub(super) fn server_config(
    tls: Arc<rustls::ServerConfig>,
    most_incoming: usize,
) -> Result<ServerConfig, CarrierError> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| CarrierError::Suite)?;
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(FROM_GATEWAY_WINDOW))
        .receive_window(VarInt::from_u32(FROM_GATEWAY_WINDOW))
        // With larger packets each connection keeps room for one for ever, and there are many.
        .mtu_discovery_config(None);
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport))
        .max_incoming(most_incoming)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFERS)
        .migration(true);
    // An address is proved by a retry where it matters, and never by an earlier connection.
    config.validation_token.sent(0);
    Ok(config)
}

/// What a client says of itself.
pub(super) fn client_config(tls: Arc<rustls::ClientConfig>) -> Result<ClientConfig, CarrierError> {
    let crypto = QuicClientConfig::try_from(tls).map_err(|_| CarrierError::Suite)?;
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(FROM_CONTROLLER_WINDOW))
        .receive_window(VarInt::from_u32(FROM_CONTROLLER_WINDOW))
        .keep_alive_interval(Some(KEEP_ALIVE));
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = VarInt::from_u32(IDLE.as_millis() as u32);
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        // With it each connection keeps room for ten packets at once for ever.
        .enable_segmentation_offload(false);
    transport
}

/// An endpoint that accepts connections by `socket`. With the same `key` as one before it, it tells the clients of that
/// one that their connections are gone (RFC 9000 section 10.3).
pub(super) fn server(
    socket: UdpSocket,
    config: ServerConfig,
    key: Option<&ResetKey>,
) -> io::Result<Endpoint> {
    let mut endpoint = EndpointConfig::default();
    if let Some(ResetKey(key)) = key {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &**key);
        endpoint.reset_key(Arc::new(key)).cid_generator(|| Box::new(Names));
    }
    // A reset is shorter than what it answers, and a restart has many to send.
    endpoint.min_reset_interval(Duration::from_millis(1));
    Endpoint::new(endpoint, Some(config), socket, Arc::new(TokioRuntime))
}

/// Names connections at random. Those of an earlier start are not told from others', as they are to be answered.
#[derive(Debug)]
struct Names;

impl Names {
    const LENGTH: usize = 8;
}

impl ConnectionIdGenerator for Names {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut name = [0; Self::LENGTH];
        aws_lc_rs::rand::fill(&mut name)
            .expect("the library has random octets, or has ended this program");
        ConnectionId::new(&name)
    }

    fn cid_len(&self) -> usize {
        Self::LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

impl From<[u8; 32]> for ResetKey {
    fn from(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl ResetKey {
    /// The one of the controller of this name, whose secret is this.
    pub fn of(secret: &[u8], name: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let of = hmac::sign(&key, format!("presence reset key of {name}").as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(of.as_ref());
        key.into()
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey")
    }
}

/// A socket by which addresses of the family of `to` are reached, whichever interface leads there.
fn client_socket(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    socket(SocketAddr::new(any, 0))
}

/// A socket at `address`, of its family alone.
pub(super) fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    // As much as `net.core.rmem_max` lets.
    socket.set_recv_buffer_size(ROOM)?;
    Ok(socket.into())
}

/// The server's part of a handshake, and the stream that the client opens.
pub(super) async fn accept(
    incoming: Incoming,
    config: Arc<ServerConfig>,
) -> Result<Carried, CarrierError> {
    let connection = incoming.accept_with(config).map_err(failed)?.await.map_err(failed)?;
    let (send, receive) = connection.accept_bi().await.map_err(failed)?;
    // It was the one.
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(0));
    carried(Quic { connection, endpoint: None, send, receive })
}

/// Connects by a socket of its own, as a router on the way may have lost what it knew of an earlier one, and opens the
/// stream. The server hears of the stream once something is written.
pub(super) async fn connect(
    to: SocketAddr,
    config: ClientConfig,
    name: &str,
) -> Result<Carried, CarrierError> {
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new(EndpointConfig::default(), None, client_socket(to)?, runtime)?;
    let connecting = endpoint.connect_with(config, to, name);
    let connecting = connecting.map_err(|error| CarrierError::Quic(error.to_string()))?;
    let connection = connecting.await.map_err(failed)?;
    let (send, receive) = connection.open_bi().await.map_err(failed)?;
    carried(Quic { connection, endpoint: Some(endpoint), send, receive })
}

fn carried(quic: Quic) -> Result<Carried, CarrierError> {
    let handshake = quic.connection.handshake_data().and_then(|data| data.downcast().ok());
    let handshake: Box<HandshakeData> = handshake.ok_or(CarrierError::NoProtocol)?;
    let protocol = handshake.protocol.ok_or(CarrierError::NoProtocol)?;
    let certificates = quic.connection.peer_identity();
    let certificates = certificates.and_then(|certificates| certificates.downcast().ok());
    let certificates = certificates.map(|certificates: Box<Vec<CertificateDer<'_>>>| *certificates);
    Ok(Carried::quic(quic, certificates.unwrap_or_default(), protocol))
}

fn failed(error: ConnectionError) -> CarrierError {
    CarrierError::Quic(describe(error))
}

fn describe(error: ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(closed) if !closed.reason.is_empty() => {
            format!("closed by the other end: {}", String::from_utf8_lossy(&closed.reason))
        }
        ConnectionError::ApplicationClosed(_) => "closed by the other end".to_owned(),
        ConnectionError::LocallyClosed => "closed by this end".to_owned(),
        ConnectionError::TimedOut => format!("nothing heard for {} ms", IDLE.as_millis()),
        other => other.to_string(),
    }
}

impl Quic {
    pub(super) fn peer(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    pub(super) fn closer(&self) -> QuicCloser {
        QuicCloser { connection: self.connection.clone(), endpoint: self.endpoint.clone() }
    }

    /// An error of the stream, by what became of the connection.
    fn explain(&self, error: io::Error) -> io::Error {
        match self.connection.close_reason() {
            Some(reason) => io::Error::new(io::ErrorKind::ConnectionAborted, describe(reason)),
            None => error,
        }
    }
}

impl Drop for Quic {
    /// Whoever has a closer keeps the connection otherwise.
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(Ending::Done as u32), b"");
    }
}

impl QuicCloser {
    pub(super) fn close(&self, ending: Ending, why: &str) {
        self.connection.close(VarInt::from_u32(ending as u32), why.as_bytes());
    }

    pub(super) async fn closed(&self) -> String {
        describe(self.connection.closed().await)
    }

    /// Packets that have come.
    pub(super) fn received(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Goes on from another socket, and says so to the other end (RFC 9000 section 9).
    pub(super) fn move_on(&self) -> io::Result<()> {
        match &self.endpoint {
            Some(endpoint) => endpoint.rebind(client_socket(self.connection.remote_address())?),
            None => Ok(()),
        }
    }
}

impl AsyncRead for Quic {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.receive).poll_read(cx, buf));
        Poll::Ready(read.map_err(|error| self.explain(error)))
    }
}

impl AsyncWrite for Quic {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(AsyncWrite::poll_write(Pin::new(&mut self.send), cx, octets));
        Poll::Ready(written.map_err(|error| self.explain(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.send).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.explain(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.send).poll_shutdown(cx));
        Poll::Ready(shut.map_err(|error| self.explain(error)))
    }
}
