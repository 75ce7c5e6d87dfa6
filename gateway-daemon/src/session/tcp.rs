//! TLS over TCP as a carrier. The listener and the dialler make them, for networks that let no QUIC through.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::carrier::{Carried, CarrierError};
use super::quic::IDLE;

/// How long a gateway may leave octets unacknowledged (TCP_USER_TIMEOUT of tcp(7)).
const UNACKNOWLEDGED: Duration = Duration::from_secs(45);
/// After how much silence a gateway's kernel asks whether the controller is there, and how often. How long it waits
/// for an answer is as long as QUIC does.
const ASK_AFTER: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// One end of a session's connection.
#[derive(Debug)]
pub(super) struct Tcp {
    stream: TlsStream<Socket>,
    peer: SocketAddr,
    ended: Arc<Ended>,
}

/// Closes it from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct TcpCloser {
    socket: Weak<TcpStream>,
    ended: Arc<Ended>,
}

/// A socket that somebody else may shut down while it is read and written.
#[derive(Debug)]
struct Socket(Arc<TcpStream>);

/// Why it ended, once it has.
#[derive(Debug, Default)]
struct Ended {
    why: OnceLock<String>,
    told: Notify,
}

/// The server's part of a handshake.
pub(super) async fn accept(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
) -> Result<Carried, CarrierError> {
    let peer = stream.peer_addr()?;
    let socket = Socket::new(stream, UNACKNOWLEDGED)?;
    let accepting = TlsAcceptor::from(config).accept(socket);
    carried(accepting.await.map_err(failed)?.into(), peer)
}

/// Connects, and does the client's part of a handshake.
pub(super) async fn connect(
    to: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
) -> Result<Carried, CarrierError> {
    let stream = TcpStream::connect(to).await?;
    let keepalive = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let socket = Socket::new(stream, IDLE)?;
    let connecting = TlsConnector::from(config).connect(name, socket);
    carried(connecting.await.map_err(failed)?.into(), to)
}

fn failed(error: io::Error) -> CarrierError {
    CarrierError::Tls(error.to_string())
}

fn carried(stream: TlsStream<Socket>, peer: SocketAddr) -> Result<Carried, CarrierError> {
    let (_, session) = stream.get_ref();
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(CarrierError::OldTls);
    }
    // RFC 7301 section 3.2 lets a server go on with a client that names none.
    let protocol = session.alpn_protocol().ok_or(CarrierError::NoProtocol)?.to_vec();
    let certificates = session.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|one| one.clone().into_owned()).collect();
    let tcp = Tcp { stream, peer, ended: Arc::default() };
    Ok(Carried::tcp(tcp, certificates, protocol))
}

impl Tcp {
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn closer(&self) -> TcpCloser {
        let socket = Arc::downgrade(&self.stream.get_ref().0.0);
        TcpCloser { socket, ended: Arc::clone(&self.ended) }
    }

    /// An error as whoever closed it from elsewhere has it.
    fn explain(&self, error: io::Error) -> io::Error {
        match self.ended.why.get() {
            Some(why) => io::Error::new(io::ErrorKind::ConnectionAborted, why.clone()),
            None => {
                self.ended.end(&error.to_string());
                error
            }
        }
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.ended.end("closed by this end");
    }
}

impl TcpCloser {
    pub(super) fn close(&self, why: &str) {
        self.ended.end(why);
        if let Some(socket) = self.socket.upgrade() {
            // Fails if it has been shut down already.
            let _ = SockRef::from(&*socket).shutdown(Shutdown::Both);
        }
    }

    /// The address that the connection has on this host, as long as it is there.
    pub(super) fn local(&self) -> Option<IpAddr> {
        Some(self.socket.upgrade()?.local_addr().ok()?.ip())
    }

    pub(super) async fn closed(&self) -> String {
        loop {
            let told = self.ended.told.notified();
            if let Some(why) = self.ended.why.get() {
                return why.clone();
            }
            told.await;
        }
    }
}

impl Ended {
    /// Keeps what was said first.
    fn end(&self, why: &str) {
        self.why.get_or_init(|| why.to_owned());
        self.told.notify_waiters();
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if read.is_ok() && buf.filled().len() == before && buf.remaining() > 0 {
            self.ended.end("closed by the other end");
        }
        Poll::Ready(read.map_err(|error| self.explain(error)))
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, octets));
        Poll::Ready(written.map_err(|error| self.explain(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.explain(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(shut.map_err(|error| self.explain(error)))
    }
}

impl Socket {
    /// `patience` is how long the other end may leave octets unacknowledged. Where it is asked whether it is there, it
    /// takes the place of a count of questions (tcp(7), TCP_USER_TIMEOUT).
    fn new(stream: TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_user_timeout(Some(patience))?;
        Ok(Self(Arc::new(stream)))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(octets) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(octets) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&*self.0).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            shut => Poll::Ready(shut),
        }
    }
}
