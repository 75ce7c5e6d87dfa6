//! What both carriers do alike.

use std::time::Duration;

use gateway_daemon::session::{Carried, CarrierKind, DialSettings, Ending, Listener};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, split};
use tokio::time::timeout;

use crate::pki::{PROTOCOL, dialler_with, listener};
use crate::relay::Relay;

/// More than either window.
const MUCH: usize = 3 << 20;
/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Both ends of a connection of one kind.
pub(crate) struct Pair {
    pub(crate) gateway: Carried,
    pub(crate) controller: Carried,
    /// What keeps QUIC away from it.
    pub(crate) relay: Relay,
}

impl Pair {
    pub(crate) async fn new(kind: CarrierKind, listener: &mut Listener) -> Self {
        let relay = Relay::new(listener.addresses()[0], kind == CarrierKind::Quic).await;
        let quick = Duration::from_millis(50);
        let quic = if kind == CarrierKind::Quic { LONG } else { quick };
        let settings = DialSettings { quic, ..DialSettings::default() };
        let mut gateway = dialler_with([relay.address], settings).dial().await;
        gateway.write_all(b"hello").await.unwrap();
        gateway.flush().await.unwrap();
        let mut controller = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        controller.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        assert_eq!((gateway.kind(), controller.kind()), (kind, kind));
        Self { gateway, controller, relay }
    }
}

async fn carry(kind: CarrierKind) {
    let mut listener = listener();
    let Pair { gateway, controller, relay: _relay } = Pair::new(kind, &mut listener).await;
    for end in [&gateway, &controller] {
        assert_eq!(end.protocol(), PROTOCOL);
        assert_eq!(end.certificates().len(), 1);
    }
    assert_ne!(gateway.certificates(), controller.certificates());
    // Both ways at once, more than fits, and to the end.
    let send = |carried: Carried, fill: u8| {
        tokio::spawn(async move {
            let (mut from, mut to) = split(carried);
            let mut received = Vec::new();
            let content = vec![fill; MUCH];
            let writing = async {
                to.write_all(&content).await?;
                to.shutdown().await
            };
            let (written, read) = tokio::join!(writing, from.read_to_end(&mut received));
            written.unwrap();
            read.unwrap();
            (received, from.unsplit(to))
        })
    };
    let (one, other) = (send(gateway, 1), send(controller, 2));
    let (received, _gateway) = timeout(LONG, one).await.unwrap().unwrap();
    assert!(received == vec![2; MUCH]);
    let (received, _controller) = timeout(LONG, other).await.unwrap().unwrap();
    assert!(received == vec![1; MUCH]);
    assert_eq!(listener.handshakes(), 0);
}

#[tokio::test]
async fn quic_carries_both_ways() {
    carry(CarrierKind::Quic).await;
}

#[tokio::test]
async fn tcp_carries_both_ways() {
    carry(CarrierKind::Tcp).await;
}

/// Closed by the controller from elsewhere while the gateway reads and the controller reads.
async fn close_at_once(kind: CarrierKind) {
    let mut listener = listener();
    let Pair { mut gateway, mut controller, relay: _relay } = Pair::new(kind, &mut listener).await;
    let closer = controller.closer();
    let read = tokio::spawn(async move { controller.read(&mut [0; 8]).await });
    closer.close(Ending::Refused, "revoked");
    let error = timeout(LONG, read).await.unwrap().unwrap();
    assert!(!matches!(error, Ok(1..)), "{error:?}");
    timeout(LONG, closer.closed()).await.unwrap();
    let there = gateway.closer();
    let error = timeout(LONG, gateway.read(&mut [0; 8])).await.unwrap().unwrap_err();
    let why = timeout(LONG, there.closed()).await.unwrap();
    assert_eq!(error.to_string(), why);
    if kind == CarrierKind::Quic {
        assert_eq!(why, "closed by the other end: revoked");
    }
}

#[tokio::test]
async fn quic_is_closed_from_elsewhere() {
    close_at_once(CarrierKind::Quic).await;
}

#[tokio::test]
async fn tcp_is_closed_from_elsewhere() {
    close_at_once(CarrierKind::Tcp).await;
}

/// What was written last arrives, though the end that wrote it is gone after it.
async fn finish(kind: CarrierKind) {
    let mut listener = listener();
    let Pair { mut gateway, mut controller, relay: _relay } = Pair::new(kind, &mut listener).await;
    let content = vec![7; MUCH];
    let finishing = tokio::spawn(async move {
        controller.write_all(&content).await.unwrap();
        controller.finish(Ending::Refused, "enough", LONG).await;
    });
    let mut received = Vec::new();
    timeout(LONG, gateway.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received.len(), MUCH);
    drop(gateway);
    timeout(LONG, finishing).await.unwrap().unwrap();
}

#[tokio::test]
async fn quic_finishes() {
    finish(CarrierKind::Quic).await;
}

#[tokio::test]
async fn tcp_finishes() {
    finish(CarrierKind::Tcp).await;
}
