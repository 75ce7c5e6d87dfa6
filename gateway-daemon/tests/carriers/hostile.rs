//! Those who mean harm, or speak something else.

use std::time::Duration;

use gateway_daemon::session::{CarrierKind, ListenSettings, Listener, Refusal};
use rcgen::KeyPair;
use rustls::HandshakeKind;
use rustls::client::Resumption;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, timeout};

use crate::carry::{LONG, Pair};
use crate::pki::{
    authority, client_config, client_config_of, dialler, listener, listener_with,
    open_server_config, stranger_config,
};
use crate::raw;

/// Waits until so many were refused for that cause, and nobody stands in the door.
async fn refused(listener: &Listener, cause: Refusal, count: u64) {
    let begin = Instant::now();
    while listener.refusals().count(cause) < count || listener.handshakes() > 0 {
        assert!(begin.elapsed() < LONG, "{:?}", listener.refusals());
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(listener.refusals().count(cause), count);
}

/// A gateway still gets in, and it is the first that does.
async fn still_serves(listener: &mut Listener) {
    let dialler = dialler(listener.addresses().iter().copied());
    let mut gateway = timeout(LONG, dialler.dial()).await.unwrap();
    gateway.write_all(b"hello").await.unwrap();
    let mut controller = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    let mut hello = [0; 5];
    controller.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
}

/// What the other end says until it closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is a close too.
    let _ = timeout(LONG, stream.read_to_end(&mut rest)).await.unwrap();
    rest
}

#[tokio::test]
async fn who_is_slow_is_cut_off_however_he_drips() {
    let limit = Duration::from_millis(500);
    let settings = ListenSettings { handshake: limit, ..ListenSettings::default() };
    let mut listener = listener_with(settings);
    let mut silent = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    let mut dripping = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    let begin = Instant::now();
    let drip = async {
        for octet in raw::old_hello() {
            if dripping.write_all(&[octet]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody cut it off");
    };
    tokio::join!(drip, rest(&mut silent));
    assert!((450..3000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    refused(&listener, Refusal::Late, 2).await;
    still_serves(&mut listener).await;
}

#[tokio::test]
async fn who_opens_no_stream_is_cut_off() {
    let limit = Duration::from_millis(500);
    let settings = ListenSettings { handshake: limit, ..ListenSettings::default() };
    let mut listener = listener_with(settings);
    let (_endpoint, connection) = raw::quic(listener.addresses()[0]).await;
    timeout(LONG, connection.closed()).await.unwrap();
    refused(&listener, Refusal::Late, 1).await;
    still_serves(&mut listener).await;
}

#[tokio::test]
async fn one_stream_is_all_there_is() {
    let mut listener = listener();
    let (_endpoint, connection) = raw::quic(listener.addresses()[0]).await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    let mut controller = listener.accept().await.unwrap();
    controller.read_exact(&mut [0; 5]).await.unwrap();
    let soon = Duration::from_millis(200);
    assert!(timeout(soon, connection.open_bi()).await.is_err());
    assert!(timeout(soon, connection.open_uni()).await.is_err());
    assert!(connection.send_datagram(vec![0; 8].into()).is_err());
    // Once the first is over there is still no other.
    send.finish().unwrap();
    controller.shutdown().await.unwrap();
    assert_eq!(controller.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(timeout(soon, connection.open_bi()).await.is_err());
}

#[tokio::test]
async fn what_nobody_reads_is_not_taken() {
    let mut listener = listener();
    let Pair { mut gateway, controller: _controller, relay: _relay } =
        Pair::new(CarrierKind::Quic, &mut listener).await;
    let mut taken = 0;
    while let Ok(written) = timeout(Duration::from_secs(1), gateway.write(&[0; 16 << 10])).await {
        taken += written.unwrap();
        assert!(taken < 1 << 20);
    }
    // This end's own buffer and the other end's window.
    assert!(taken <= (128 << 10) + (64 << 10), "{taken}");
}

#[tokio::test]
async fn an_old_hello_is_told_the_version() {
    let mut listener = listener();
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    stream.write_all(&raw::old_hello()).await.unwrap();
    // A fatal alert: protocol_version (RFC 8446 section 6.2).
    assert_eq!(rest(&mut stream).await, [21, 3, 3, 0, 2, 2, 70]);
    refused(&listener, Refusal::Handshake, 1).await;
    still_serves(&mut listener).await;
}

#[tokio::test]
async fn who_names_no_protocol_is_refused() {
    let mut listener = listener();
    let mut config = client_config();
    config.alpn_protocols.clear();
    let mut stream = raw::tls(listener.addresses()[0], config.clone()).await.unwrap();
    // The server hears of it last.
    let read = timeout(LONG, stream.read(&mut [0; 8])).await.unwrap();
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    refused(&listener, Refusal::Handshake, 1).await;
    config.alpn_protocols = vec![b"h2".to_vec()];
    raw::tls(listener.addresses()[0], config).await.unwrap_err();
    refused(&listener, Refusal::Handshake, 2).await;
    still_serves(&mut listener).await;
}

#[tokio::test]
async fn a_stranger_is_refused_by_both() {
    let mut listener = listener();
    let stranger = client_config_of(&authority(KeyPair::generate().unwrap()));
    let mut stream = raw::tls(listener.addresses()[0], stranger.clone()).await.unwrap();
    let error = timeout(LONG, stream.read(&mut [0; 8])).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("fatal alert"), "{error}");
    refused(&listener, Refusal::Handshake, 1).await;
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = raw::quic_config(stranger);
    let connecting = endpoint.connect_with(config, listener.addresses()[0], "presence").unwrap();
    // A client is done before the server has seen its certificate.
    let connection = timeout(LONG, connecting).await.unwrap().unwrap();
    let error = timeout(LONG, connection.closed()).await.unwrap();
    assert!(error.to_string().contains("cryptographic handshake failed"), "{error}");
    refused(&listener, Refusal::Handshake, 2).await;
    still_serves(&mut listener).await;
}

#[tokio::test]
async fn nothing_is_resumed_though_the_configuration_would() {
    let mut listener = listener();
    let address = listener.addresses()[0];
    let mut config = client_config();
    config.resumption = Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    for _ in 0..3 {
        let mut stream = raw::tls(address, config.clone()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut controller = listener.accept().await.unwrap();
        controller.read_exact(&mut [0; 5]).await.unwrap();
        controller.write_all(b"there").await.unwrap();
        // Tickets would come before it.
        stream.read_exact(&mut [0; 5]).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = raw::quic_config(config);
    for _ in 0..3 {
        let connecting = endpoint.connect_with(config.clone(), address, "presence").unwrap();
        let connecting = connecting.into_0rtt().err().expect("nothing to resume");
        let connection = connecting.await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(b"hello").await.unwrap();
        let mut controller = listener.accept().await.unwrap();
        controller.read_exact(&mut [0; 5]).await.unwrap();
        controller.write_all(b"there").await.unwrap();
        receive.read_exact(&mut [0; 5]).await.unwrap();
    }
}

#[tokio::test]
async fn garbage_and_what_is_too_long_end_nothing_but_themselves() {
    let mut listener = listener();
    let address = listener.addresses()[0];
    let long_record = [22, 3, 1, 0xff, 0xff].into_iter().chain([0; 1 << 16]).collect::<Vec<_>>();
    // A ClientHello that says it is 16 MiB long, in as many records as it takes.
    let mut long_hello = Vec::new();
    for number in 0..64 {
        long_hello.extend([22, 3, 1, 0x40, 0]);
        let begin: &[u8] = if number == 0 { &[1, 0xff, 0xff, 0xff] } else { &[] };
        long_hello.extend(begin);
        long_hello.extend(vec![0; 0x4000 - begin.len()]);
    }
    let noise: Vec<u8> =
        (0..1_u32 << 14).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let http = b"GET / HTTP/1.1\r\nhost: controller\r\n\r\n".to_vec();
    let all = [long_record, long_hello, noise.clone(), http, vec![0x80; 3000]];
    for (count, octets) in (1..).zip(&all) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be cut off before all is written.
        let _ = stream.write_all(octets).await;
        // Few octets: an alert at most.
        assert!(rest(&mut stream).await.len() <= 7);
        refused(&listener, Refusal::Handshake, count).await;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    for (at, length) in (0..noise.len() - 1500).step_by(7).zip((1..1400).cycle()) {
        // What the listener's socket has no room for is lost.
        let _ = socket.try_send(&noise[at..at + length]);
    }
    still_serves(&mut listener).await;
}

#[tokio::test]
async fn beyond_the_last_session_nobody_gets_in_until_one_is_over() {
    let settings = ListenSettings { sessions: 2, ..ListenSettings::default() };
    let mut listener = listener_with(settings);
    let one = Pair::new(CarrierKind::Tcp, &mut listener).await;
    let _other = Pair::new(CarrierKind::Quic, &mut listener).await;
    raw::tls(listener.addresses()[0], client_config()).await.unwrap_err();
    refused(&listener, Refusal::Full, 1).await;
    drop(one);
    still_serves(&mut listener).await;
}

#[tokio::test]
async fn who_has_no_certificate_takes_no_place_of_those_who_have() {
    let settings = ListenSettings {
        strangers: 4,
        strangers_of_one: 3,
        grace: Duration::ZERO,
        sessions: 1,
        ..ListenSettings::default()
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let mut listener = Listener::bind(&[any], &open_server_config(), settings).unwrap();
    let mut strangers = Vec::new();
    for _ in 0..5 {
        let mut stranger = raw::tls(listener.addresses()[0], stranger_config()).await.unwrap();
        stranger.write_all(b"hello").await.unwrap();
        let mut carried = timeout(LONG, listener.accept()).await.unwrap().unwrap();
        assert!(carried.certificates().is_empty());
        carried.read_exact(&mut [0; 5]).await.unwrap();
        strangers.push((stranger, carried));
    }
    refused(&listener, Refusal::Crowded, 2).await;
    let soon = Duration::from_millis(100);
    for (number, (stranger, carried)) in strangers.iter_mut().enumerate() {
        let stays = number >= 2;
        assert_eq!(timeout(soon, stranger.read(&mut [0; 8])).await.is_err(), stays, "{number}");
        assert_eq!(timeout(soon, carried.read(&mut [0; 8])).await.is_err(), stays, "{number}");
    }
    still_serves(&mut listener).await;
}

#[tokio::test]
async fn who_has_no_certificate_does_not_stay() {
    let stranger = Duration::from_millis(300);
    let settings = ListenSettings { stranger, ..ListenSettings::default() };
    let any = "127.0.0.1:0".parse().unwrap();
    let mut listener = Listener::bind(&[any], &open_server_config(), settings).unwrap();
    let mut stream = raw::tls(listener.addresses()[0], stranger_config()).await.unwrap();
    let mut carried = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    let closer = carried.closer();
    assert_eq!(timeout(LONG, closer.closed()).await.unwrap(), "it took too long");
    let read = timeout(LONG, stream.read(&mut [0; 8])).await.unwrap();
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    carried.read(&mut [0; 8]).await.unwrap_err();
    refused(&listener, Refusal::Late, 1).await;
    still_serves(&mut listener).await;
}
