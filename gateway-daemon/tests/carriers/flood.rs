//! Many handshakes that nobody means to finish.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gateway_daemon::session::{CarrierKind, DialSettings, ListenSettings, Listener, Refusal};
use quinn::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::carry::LONG;
use crate::pki::{client_config, dialler_with, listener_with};
use crate::raw;
use crate::relay::Relay;

const ALL: usize = 10_000;
/// As many are open at once, so that this process has descriptors enough.
const OPEN: usize = 250;
const SOURCES: usize = 16;

/// Lets a gateway in by one carrier, alone.
async fn enter(kind: CarrierKind, by: SocketAddr, listener: &mut Listener) -> Duration {
    let quic = if kind == CarrierKind::Quic { LONG } else { Duration::from_millis(1) };
    let dialler = dialler_with([by], DialSettings { quic, ..DialSettings::default() });
    let begin = Instant::now();
    let entering = async {
        loop {
            let mut gateway = dialler.dial().await;
            assert_eq!(gateway.kind(), kind);
            // A client hears last that it was too slow.
            if gateway.write_all(b"hello").await.is_err() {
                continue;
            }
            let Ok(carried) = timeout(Duration::from_secs(1), listener.accept()).await else {
                continue;
            };
            let mut carried = carried.unwrap();
            let mut hello = [0; 5];
            if carried.read_exact(&mut hello).await.is_ok() {
                assert_eq!(&hello, b"hello");
                return;
            }
        }
    };
    timeout(LONG, entering).await.unwrap();
    begin.elapsed()
}

/// A connection from one of this host's addresses that says half of what it has to.
async fn half_open(number: usize, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    let source = Ipv4Addr::new(127, 0, 0, 1 + (number % SOURCES) as u8);
    socket.bind((source, 0).into()).unwrap();
    // The kernel's queue may be full for a moment.
    let mut stream = timeout(LONG, socket.connect(to)).await.unwrap().ok()?;
    let hello = raw::old_hello();
    stream.write_all(&hello[..hello.len() / 2]).await.ok()?;
    Some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_half_open_connections_keep_no_gateway_out() {
    let settings = ListenSettings {
        // Nobody leaves for being late.
        handshake: Duration::from_secs(600),
        handshakes: 200,
        handshakes_of_one: 20,
        grace: Duration::from_millis(20),
        ..ListenSettings::default()
    };
    let mut listener = listener_with(settings);
    let address = listener.addresses()[0];
    let relay = Relay::new(address, false).await;
    let mut open = Vec::with_capacity(OPEN);
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for number in 0..ALL {
        if open.len() == OPEN {
            // While all of them are open, and from an address of theirs.
            slowest = slowest.max(enter(CarrierKind::Tcp, relay.address, &mut listener).await);
            open.clear();
        }
        open.extend(half_open(number, address).await);
        most = most.max(listener.handshakes());
    }
    println!("{most} at once at most, the slowest gateway was in after {slowest:?}");
    assert!(most <= 200, "{most}");
    assert!(listener.refusals().count(Refusal::Crowded) > 0);
    assert_eq!(listener.refusals().count(Refusal::Late), 0);
}

/// A way to `to` by which nothing comes back.
async fn one_way(to: SocketAddr) -> (SocketAddr, JoinSet<()>) {
    let here = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let there = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = here.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut packet = [0; 2048];
        loop {
            let (length, _) = here.recv_from(&mut packet).await.unwrap();
            there.send_to(&packet[..length], to).await.unwrap();
        }
    });
    (address, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_prove_his_address_takes_a_quarter_of_the_places() {
    let settings = ListenSettings {
        handshake: Duration::from_secs(600),
        handshakes: 1000,
        handshakes_of_one: 40,
        ..ListenSettings::default()
    };
    let mut listener = listener_with(settings);
    let address = listener.addresses()[0];
    let (to, _tasks) = one_way(address).await;
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = raw::quic_config(client_config());
    let mut connecting = Vec::new();
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for number in 0..2000 {
        connecting.push(endpoint.connect_with(config.clone(), to, "presence").unwrap());
        if number % 250 == 249 {
            slowest = slowest.max(enter(CarrierKind::Quic, address, &mut listener).await);
            connecting.clear();
        }
        most = most.max(listener.handshakes());
        sleep(Duration::from_micros(100)).await;
    }
    println!("{most} at once at most, the slowest gateway was in after {slowest:?}");
    assert!(most <= 12, "{most}");
    assert!(listener.refusals().count(Refusal::Unproved) > 1000);
    assert_eq!(listener.refusals().count(Refusal::Crowded), 0);
}
