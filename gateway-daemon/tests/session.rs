//! Gateways that follow a controller over its socket: told what they are to have, heard, and there again after
//! either end was gone. What comes from a stranger harms nobody else.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

#[path = "common/scratch.rs"]
mod scratch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_control::deployment::allocation::COOLING;
use gateway_control::resource::read;
use gateway_control::session::{
    End as _, FROM_GATEWAY_MAX_LEN, FromGateway, GatewayEnd, Hello, Peer, Report as Said, VERSION,
};
use gateway_daemon::api::Listener;
use gateway_daemon::api::wire::Progress;
use gateway_daemon::controller::{Author, Controller, Identity, Orders, Report};
use gateway_daemon::session::{Sessions, attend, follow};
use gateway_daemon::store::Store;
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use scratch::Scratch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const NOW: u64 = 1_800_000_000;
const BOUND: Duration = Duration::from_secs(30);
const KEY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
const SITE: &str = "kind: Site\nmetadata: {name: edge-a}\n\
                    spec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}\n";

impl Scratch {
    fn socket(&self) -> PathBuf {
        self.0.join("gateways")
    }
}

async fn controller(scratch: &Scratch) -> Arc<Controller> {
    let path = scratch.0.join("store");
    let settings = SqliteSettings::default();
    let store = match path.exists() {
        true => SqliteStore::open(&path, settings).await.unwrap(),
        false => SqliteStore::create(&path, settings).await.unwrap(),
    };
    let store: Arc<dyn Store> = Arc::new(store);
    Arc::new(Controller::open(store, COOLING, NOW).await.unwrap())
}

fn serve(controller: &Arc<Controller>, socket: &Path) -> JoinHandle<()> {
    let listener = Listener::bind_private(socket).unwrap();
    let sessions = Sessions::new(listener, Arc::clone(controller));
    tokio::spawn(async move { panic!("{}", sessions.serve().await) })
}

async fn apply(controller: &Controller, text: &str) {
    let declared = read(text).unwrap_or_else(|error| panic!("{error}"));
    let author = Author { manager: "root".parse().unwrap(), force: false };
    controller.apply(&declared, &author, NOW).await.unwrap_or_else(|error| panic!("{error}"));
}

fn gateway(key: &str) -> String {
    format!(
        "{SITE}---\nkind: Gateway\nmetadata: {{name: gw}}\nspec: {{site: edge-a, publicKey: {key}}}\n"
    )
}

fn identity() -> Identity {
    Identity {
        site: "edge-a".parse().unwrap(),
        gateway: "gw".parse().unwrap(),
        public_key: KEY.parse().unwrap(),
    }
}

/// A gateway without a data path.
struct Follower {
    orders: watch::Receiver<Option<Orders>>,
    identity: watch::Sender<Identity>,
    report: watch::Sender<Report>,
    task: JoinHandle<()>,
}

impl Follower {
    fn new(socket: &Path) -> Self {
        let (told, orders) = watch::channel(None);
        let (identity, its_identity) = watch::channel(identity());
        let (report, its_report) = watch::channel(Report::default());
        let socket = socket.to_owned();
        let task = tokio::spawn(async move {
            // Ends with the gateway.
            let _ = follow(&socket, told, its_identity, its_report).await;
        });
        Self { orders, identity, report, task }
    }

    /// Waits until it is told something like this.
    async fn told(&mut self, like: impl FnMut(&Option<Orders>) -> bool) -> Orders {
        let told = timeout(BOUND, self.orders.wait_for(like)).await.expect("told in time");
        told.unwrap().clone().unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn has_share(orders: &Option<Orders>) -> bool {
    orders.as_ref().is_some_and(|orders| orders.share.is_ok())
}

/// Waits until the controller knows this of the gateway.
async fn known(controller: &Controller, like: impl Fn(Progress, Option<u64>) -> bool) {
    let mut news = controller.news();
    let waited = timeout(BOUND, async {
        loop {
            news.borrow_and_update();
            let status = controller.status(NOW).await.unwrap();
            let state = &status.sites[0].gateway;
            if like(state.state, state.applied) {
                return;
            }
            news.changed().await.unwrap();
        }
    });
    waited.await.expect("known in time");
}

#[tokio::test]
async fn a_gateway_is_told_and_heard_and_found_again() {
    let scratch = Scratch::new();
    let one = controller(&scratch).await;
    // There is no controller yet.
    let mut follower = Follower::new(&scratch.socket());
    let serving = serve(&one, &scratch.socket());
    let none = follower.told(Option::is_some).await.share.unwrap_err();
    assert!(none.why.contains("site edge-a is not declared"), "{none}");

    apply(&one, &gateway(KEY)).await;
    let orders = follower.told(has_share).await;
    let share = one.share(&"edge-a".parse().unwrap(), NOW).await.unwrap().unwrap();
    assert_eq!(orders.share.as_deref(), Ok(&share));
    known(&one, |state, _| state == Progress::Pending).await;
    let report = Report { applied: orders.revision, refused: None, links_up: Some(0) };
    follower.report.send(report).unwrap();
    let wanted = orders.revision.map(|it| it.number());
    known(&one, |state, applied| state == Progress::Applied && applied == wanted).await;

    // The controller ends, and another one begins.
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    known(&one, |state, _| state == Progress::Absent).await;
    drop(one);
    let two = controller(&scratch).await;
    let _serving = serve(&two, &scratch.socket());
    known(&two, |state, applied| state == Progress::Applied && applied == wanted).await;

    // The gateway gets another key; the controller knows it by the old one.
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    follower.identity.send(Identity { public_key: key.parse().unwrap(), ..identity() }).unwrap();
    let none = follower.told(|orders| !has_share(orders)).await.share.unwrap_err();
    assert!(none.why.contains("is declared with"), "{none}");
    apply(&two, &gateway(key)).await;
    follower.told(has_share).await;
    drop(follower);
    known(&two, |state, _| state == Progress::Absent).await;
}

async fn stranger(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).await.unwrap()
}

fn framed(octets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(octets.len()).unwrap().to_be_bytes();
    [&length[..], octets].concat()
}

#[tokio::test]
async fn what_is_no_gateway_is_let_go_and_others_are_served() {
    let scratch = Scratch::new();
    let one = controller(&scratch).await;
    apply(&one, &gateway(KEY)).await;
    let _serving = serve(&one, &scratch.socket());
    let mut follower = Follower::new(&scratch.socket());
    follower.told(has_share).await;

    let report = framed(&FromGateway::Report(Said::default()).encode());
    let long = u32::try_from(FROM_GATEWAY_MAX_LEN + 33).unwrap().to_be_bytes().to_vec();
    let garbage: [Vec<u8>; 5] =
        [framed(&[0xff; 9]), framed(&[]), long, report, b"GET / HTTP/1.1\r\n\r\n".to_vec()];
    for octets in garbage {
        let mut stream = stranger(&scratch.socket()).await;
        stream.write_all(&octets).await.unwrap();
        let mut answer = Vec::new();
        // Reset or closed, with nothing said.
        let _ = timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("let go in time");
        assert!(answer.is_empty(), "{octets:?}: {answer:?}");
    }
    // More than are served at once, all silent, and the one that was there is still served.
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(stranger(&scratch.socket()).await);
    }
    apply(
        &one,
        "kind: Service\nmetadata: {name: web}\n\
                 spec: {site: edge-a, ports: [tcp/80], backends: [{address: 10.0.0.10}]}\n",
    )
    .await;
    let told = |orders: &Option<Orders>| {
        let share = orders.as_ref().and_then(|orders| orders.share.as_ref().ok());
        share.is_some_and(|share| {
            share.items().values().any(|it| it.to_string().contains("web.edge-a"))
        })
    };
    follower.told(told).await;
    drop(silent);

    // A second one of the same name takes the place of the first, which comes again.
    let mut second = stranger(&scratch.socket()).await;
    let Identity { site, gateway, public_key } = identity();
    let hello =
        Hello { version: VERSION, site, gateway, public_key, program: String::new(), holds: None };
    let hello = GatewayEnd::new(Instant::now(), hello, None).poll_transmit().unwrap();
    second.write_all(&hello).await.unwrap();
    let mut length = [0; 4];
    timeout(BOUND, second.read_exact(&mut length)).await.expect("told in time").unwrap();
    let mut rest = Vec::new();
    let _ = timeout(BOUND, second.read_to_end(&mut rest)).await.expect("replaced in time");
    follower.report.send(Report { links_up: Some(3), ..Report::default() }).unwrap();
    known(&one, |state, _| state == Progress::Pending).await;
}

/// Thousands of them are to be in one process, most of them at rest.
#[tokio::test]
async fn a_session_is_small() {
    let scratch = Scratch::new();
    let one = controller(&scratch).await;
    let (near, _far) = UnixStream::pair().unwrap();
    let session = attend(near, Peer::Host, None, None, &one);
    assert!(size_of_val(&session) <= 8 << 10, "{}", size_of_val(&session));
}
