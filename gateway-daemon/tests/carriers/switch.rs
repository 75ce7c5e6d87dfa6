//! From one carrier and one address to another.

use std::net::SocketAddr;
use std::time::Duration;

use gateway_daemon::session::{CarrierKind, DialSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::carry::LONG;
use crate::pki::{dialler, dialler_with, listener};
use crate::relay::Relay;

#[tokio::test]
async fn where_quic_is_blocked_tcp_carries_and_quic_again_when_it_may() {
    let mut listener = listener();
    let relay = Relay::new(listener.addresses()[0], false).await;
    let settings = DialSettings {
        quic: Duration::from_millis(300),
        first_upgrade: Duration::from_millis(100),
        longest_upgrade: Duration::from_millis(200),
        ..DialSettings::default()
    };
    let dialler = dialler_with([relay.address], settings);
    let begin = Instant::now();
    let gateway = timeout(LONG, dialler.dial()).await.unwrap();
    let took = begin.elapsed();
    assert_eq!(gateway.kind(), CarrierKind::Tcp);
    assert!((300..2000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(listener.accept().await.unwrap().kind(), CarrierKind::Tcp);

    let blocked = timeout(Duration::from_secs(1), dialler.upgrade()).await;
    assert!(blocked.is_err(), "{blocked:?}");
    relay.let_udp(true);
    let mut gateway = timeout(LONG, dialler.upgrade()).await.unwrap();
    assert_eq!(gateway.kind(), CarrierKind::Quic);
    gateway.write_all(b"hello").await.unwrap();
    assert_eq!(listener.accept().await.unwrap().kind(), CarrierKind::Quic);
}

/// An address that takes packets and connections and answers nothing.
async fn black_hole() -> (SocketAddr, TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if let Ok(socket) = UdpSocket::bind(address).await {
            return (address, listener, socket);
        }
    }
}

#[tokio::test]
async fn a_dead_address_holds_nobody_up() {
    let mut listener = listener();
    let (dead, _listener, _socket) = black_hole().await;
    let dialler = dialler([dead, listener.addresses()[0]]);
    let begin = Instant::now();
    let mut gateway = timeout(LONG, dialler.dial()).await.unwrap();
    assert_eq!(gateway.peer(), listener.addresses()[0]);
    assert_eq!(gateway.kind(), CarrierKind::Quic);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    gateway.write_all(b"hello").await.unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn quic_goes_on_from_another_socket() {
    let mut listener = listener();
    let dialler = dialler(listener.addresses().iter().copied());
    let mut gateway = dialler.dial().await;
    gateway.write_all(b"hello").await.unwrap();
    let mut controller = listener.accept().await.unwrap();
    let mut hello = [0; 5];
    controller.read_exact(&mut hello).await.unwrap();
    for _ in 0..3 {
        let before = controller.peer();
        dialler.network_changed();
        gateway.write_all(b"hello").await.unwrap();
        timeout(LONG, controller.read_exact(&mut hello)).await.unwrap().unwrap();
        assert_ne!(controller.peer(), before);
        controller.write_all(b"there").await.unwrap();
        timeout(LONG, gateway.read_exact(&mut hello)).await.unwrap().unwrap();
        assert_eq!(&hello, b"there");
    }
}

#[tokio::test]
async fn waits_grow_until_a_session_was_of_use_or_the_network_changes() {
    let listener = listener();
    let wait = Duration::from_secs(100 * 3600);
    let settings = DialSettings { first_wait: wait, longest_wait: wait, ..DialSettings::default() };
    let dialler = dialler_with(listener.addresses().iter().copied(), settings);
    let soon = Duration::from_millis(500);
    drop(timeout(LONG, dialler.dial()).await.unwrap());
    dialler.settled();
    drop(timeout(soon, dialler.dial()).await.unwrap());
    // The last one came to nothing.
    let waits = timeout(soon, dialler.dial()).await;
    assert!(waits.is_err(), "{waits:?}");
    let dialling = dialler.dial();
    tokio::pin!(dialling);
    assert!(timeout(Duration::from_millis(10), &mut dialling).await.is_err());
    dialler.network_changed();
    timeout(LONG, dialling).await.unwrap();
}
