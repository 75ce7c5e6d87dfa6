//! What a session that says nothing costs a controller: the growth of its resident memory, with the gateways in
//! another process.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "a test may fail where a carrier does not do what it expects"
)]

#[allow(dead_code, reason = "what other tests of carriers need")]
#[path = "carriers/pki.rs"]
mod pki;

use std::env;
use std::future::pending;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use futures_util::stream;
use gateway_daemon::session::{CarrierKind, ListenSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sessions of each kind, unless the environment says how many.
const SESSIONS: usize = 500;
const COUNT: &str = "PRESENCE_TEST_SESSIONS";
/// Three times what a bare connection of rustls takes.
const MOST: usize = 3 * 8300;

const ADDRESS: &str = "PRESENCE_TEST_ADDRESS";
const KIND: &str = "PRESENCE_TEST_KIND";

fn sessions() -> usize {
    env::var(COUNT).map_or(SESSIONS, |count| count.parse().unwrap())
}

/// Octets of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

struct Gateways(Child);

impl Drop for Gateways {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn cost(kind: CarrierKind) -> usize {
    let settings = ListenSettings { handshakes_of_one: 1024, ..ListenSettings::default() };
    let mut listener = pki::listener_with(settings);
    let word = if kind == CarrierKind::Quic { "quic" } else { "tcp" };
    let child = Command::new(env::current_exe().unwrap())
        .args(["an_idle_session_costs_little", "--exact", "--nocapture"])
        .env(ADDRESS, listener.addresses()[0].to_string())
        .env(KIND, word)
        .env(pki::CA_KEY, BASE64_STANDARD.encode(pki::CA.key().serialize_der()))
        .stdout(Stdio::null())
        .spawn();
    let _gateways = Gateways(child.unwrap());
    let mut carried = Vec::with_capacity(sessions() + 50);
    let mut before = 0;
    for count in 0..sessions() + 50 {
        let mut one = listener.accept().await.unwrap();
        assert_eq!(one.kind(), kind);
        one.read_exact(&mut [0; 5]).await.unwrap();
        carried.push(one);
        // The first ones also pay for what all share.
        if count == 49 {
            before = resident();
        }
    }
    let cost = (resident() - before) / sessions();
    println!("{word}: {cost} octets of each of {} sessions", sessions());
    cost
}

/// One test, as both kinds measure the process. It starts itself again as the other process.
#[tokio::test]
async fn an_idle_session_costs_little() {
    if let Ok(address) = env::var(ADDRESS) {
        return gateways(address.parse().unwrap()).await;
    }
    for kind in [CarrierKind::Tcp, CarrierKind::Quic] {
        let cost = cost(kind).await;
        assert!(cost <= MOST, "{kind:?}: {cost} octets, more than {MOST}");
    }
}

/// Gateways that say hello and then nothing, until they are killed.
async fn gateways(address: SocketAddr) {
    let tls = Arc::new(pki::client_config());
    let count = sessions() + 50;
    if env::var(KIND).unwrap() == "tcp" {
        let connector = tokio_rustls::TlsConnector::from(tls);
        let connect = |_| async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = "presence".try_into().unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream
        };
        let _all: Vec<_> = stream::iter(0..count).map(connect).buffered(16).collect().await;
        return pending().await;
    }
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(1)));
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connect = |_| async {
        let connecting = endpoint.connect_with(config.clone(), address, "presence").unwrap();
        let connection = connecting.await.unwrap();
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(b"hello").await.unwrap();
        (connection, send, receive)
    };
    let _all: Vec<_> = stream::iter(0..count).map(connect).buffered(16).collect().await;
    pending::<()>().await;
}
