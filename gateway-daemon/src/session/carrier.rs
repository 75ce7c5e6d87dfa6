//! A connection over a network that carries one session: QUIC's one stream, or TLS over TCP. The listener and the
//! dialler make them; who drives the session reads and writes octets and need not know which it is.
//!
//! Whoever is at the other end has proved it by the time there is a [`Carried`], as far as the TLS configuration asks
//! for it. What the certificates mean is for the owner to judge.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::quic::{Quic, QuicCloser};
use super::tcp::{Tcp, TcpCloser};

/// What a session is carried by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CarrierKind {
    /// QUIC on UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

/// Why this end closes. QUIC tells the other end, as an application's error code (RFC 9000 section 20.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is nothing more to say.
    Done = 0,
    /// The other end may not have this session.
    Refused = 1,
    /// What came is not of the protocol.
    Protocol = 2,
    /// The other end took too long.
    Late = 3,
    /// This program ends.
    Leaving = 4,
}

/// A connection that carries one session. Dropping it closes it as [`Carried::close`] does.
#[derive(Debug)]
pub struct Carried {
    io: Io,
    certificates: Vec<CertificateDer<'static>>,
    protocol: Vec<u8>,
    /// Its place among the listener's sessions.
    place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Io {
    Quic(Quic),
    Tcp(Box<Tcp>),
}

/// Closes a [`Carried`] from elsewhere at once, and learns that it closed.
#[derive(Clone, Debug)]
pub struct Closer(pub(super) Either);

#[derive(Clone, Debug)]
pub(super) enum Either {
    Quic(QuicCloser),
    Tcp(TcpCloser),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// A socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The TLS configuration does not do for QUIC.
    #[error("the TLS configuration has no TLS 1.3 with AES-128-GCM, which QUIC begins with")]
    Suite,
    /// QUIC failed, or the other end closed.
    #[error("{0}")]
    Quic(String),
    /// TLS failed, or the other end closed.
    #[error("{0}")]
    Tls(String),
    /// Both may speak TLS, but not about the same.
    #[error("the other end names no protocol (ALPN)")]
    NoProtocol,
    /// Older than TLS 1.3.
    #[error("the other end does not speak TLS 1.3")]
    OldTls,
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// Nothing accepts any more.
    #[error("a task of the listener ended: {0}")]
    Ended(String),
}

impl fmt::Display for CarrierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Quic => "QUIC",
            Self::Tcp => "TLS over TCP",
        })
    }
}

impl Carried {
    pub(super) fn quic(
        io: Quic,
        certificates: Vec<CertificateDer<'static>>,
        protocol: Vec<u8>,
    ) -> Self {
        Self { io: Io::Quic(io), certificates, protocol, place: None }
    }

    pub(super) fn tcp(
        io: Tcp,
        certificates: Vec<CertificateDer<'static>>,
        protocol: Vec<u8>,
    ) -> Self {
        Self { io: Io::Tcp(Box::new(io)), certificates, protocol, place: None }
    }

    pub(super) fn holding(mut self, place: OwnedSemaphorePermit) -> Self {
        self.place = Some(place);
        self
    }

    /// What carries it.
    pub fn kind(&self) -> CarrierKind {
        match self.io {
            Io::Quic(_) => CarrierKind::Quic,
            Io::Tcp(_) => CarrierKind::Tcp,
        }
    }

    /// Where the other end is now. With QUIC it may move.
    pub fn peer(&self) -> SocketAddr {
        match &self.io {
            Io::Quic(quic) => quic.peer(),
            Io::Tcp(tcp) => tcp.peer(),
        }
    }

    /// The certificates that the other end showed, its own first; none if it was not asked for any.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The protocol that both ends agreed on (ALPN, RFC 7301).
    pub fn protocol(&self) -> &[u8] {
        &self.protocol
    }

    /// What closes it from elsewhere.
    pub fn closer(&self) -> Closer {
        Closer(match &self.io {
            Io::Quic(quic) => Either::Quic(quic.closer()),
            Io::Tcp(tcp) => Either::Tcp(tcp.closer()),
        })
    }

    /// Closes it at once. What was written and has not arrived may be lost.
    pub fn close(&self, ending: Ending, why: &str) {
        self.closer().close(ending, why);
    }

    /// Closes it in order: says that nothing follows, and waits until the other end has taken all and closes too, but
    /// for `patience` at most.
    pub async fn finish(mut self, ending: Ending, why: &str, patience: Duration) {
        let finishing = async {
            self.shutdown().await?;
            let mut rest = [0; 1024];
            while self.read(&mut rest).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        // However it went, it is closed after it.
        let _ = timeout(patience, finishing).await;
        self.close(ending, why);
    }
}

impl Closer {
    /// Closes it at once. What was written and has not arrived may be lost.
    pub fn close(&self, ending: Ending, why: &str) {
        match &self.0 {
            Either::Quic(quic) => quic.close(ending, why),
            Either::Tcp(tcp) => tcp.close(why),
        }
    }

    /// Waits until it is closed, by whichever end, and says why. Over TCP that is once this end has read or written as
    /// far as the close.
    pub async fn closed(&self) -> String {
        match &self.0 {
            Either::Quic(quic) => quic.closed().await,
            Either::Tcp(tcp) => tcp.closed().await,
        }
    }
}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Quic(quic) => Pin::new(quic).poll_read(cx, buf),
            Io::Tcp(tcp) => Pin::new(tcp.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Quic(quic) => Pin::new(quic).poll_write(cx, octets),
            Io::Tcp(tcp) => Pin::new(tcp.as_mut()).poll_write(cx, octets),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Quic(quic) => Pin::new(quic).poll_flush(cx),
            Io::Tcp(tcp) => Pin::new(tcp.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Quic(quic) => Pin::new(quic).poll_shutdown(cx),
            Io::Tcp(tcp) => Pin::new(tcp.as_mut()).poll_shutdown(cx),
        }
    }
}
