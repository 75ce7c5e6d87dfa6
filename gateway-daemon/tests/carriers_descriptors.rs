//! A listener in a process that has no descriptor left. Alone in its process, whose limit it lowers.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "a test may fail where a carrier does not do what it expects"
)]

#[allow(dead_code, reason = "what other tests of carriers need")]
#[path = "carriers/pki.rs"]
mod pki;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use gateway_daemon::session::{ListenSettings, Refusal};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

const SILENT: usize = 30;
const FREE: u64 = 10;
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_it_waits_and_makes_room() {
    // Nobody leaves for being late.
    let settings =
        ListenSettings { handshake: Duration::from_secs(600), ..ListenSettings::default() };
    let mut listener = pki::listener_with(settings);
    let address = listener.addresses()[0];
    let sockets: Vec<_> = (0..=SILENT).map(|_| TcpSocket::new_v4().unwrap()).collect();
    let mut sockets = sockets.into_iter();
    let connector = TlsConnector::from(Arc::new(pki::client_config()));
    let used = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, used - 1 + FREE, hard).unwrap();

    let begin = Instant::now();
    let mut silent = Vec::new();
    for socket in sockets.by_ref().take(SILENT) {
        silent.push(timeout(LONG, socket.connect(address)).await.unwrap().unwrap());
    }
    let entering = async {
        let stream = sockets.next().unwrap().connect(address).await.unwrap();
        let mut stream = connector.connect("presence".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut controller = listener.accept().await.unwrap();
        controller.read_exact(&mut [0; 5]).await.unwrap();
    };
    timeout(LONG, entering).await.unwrap();
    let most = begin.elapsed().as_millis() as u64 / 100 + 1;
    let exhausted = listener.refusals().count(Refusal::Exhausted);
    println!("{exhausted} times without a descriptor in {:?}", begin.elapsed());
    assert!((1..=most).contains(&exhausted), "{exhausted} of {most}");
}
