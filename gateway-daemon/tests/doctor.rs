//! `gatewayctl doctor` against controllers on loopback, and against the faults that it is there for. Without root: what
//! only a kernel can show is judged by the module's own tests.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

#[path = "common/scratch.rs"]
mod scratch;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use gateway_control::identity::{ControllerAddress, JoinToken, Secret, Serial};
use gateway_daemon::config::Role;
use gateway_daemon::ctl::doctor::{Check, Finding, Limits, Report, Settings, Verdict, examine};
use gateway_daemon::enrolment::{init, open_authority};
use gateway_daemon::identity::{
    Authority, Credential, LeafKey, Membership, ServerCredential, Trust, gateways_config,
};
use gateway_daemon::link::PrivateKey;
use gateway_daemon::seal::{Sealer, Strongbox};
use gateway_daemon::session::{CarrierKind, ListenSettings, Listener};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use scratch::Scratch;
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const DAY: u64 = 86_400;
const LIFE: Duration = Duration::from_secs(DAY);
const PATIENCE: Duration = Duration::from_secs(30);

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// For looks that are to succeed, on a machine that may be busy.
fn patient(now: u64) -> Settings {
    let limits = Limits { lookup: PATIENCE, answer: PATIENCE, local: PATIENCE };
    Settings { now, limits }
}

/// For looks that are to find nobody.
fn brief() -> Settings {
    let limits = Limits { answer: Duration::from_secs(3), ..patient(now()).limits };
    Settings { now: now(), limits }
}

fn authority() -> Authority {
    Authority::create("presence.example".parse().unwrap(), now()).unwrap()
}

fn certified(authority: &Authority, id: &str, generation: u32, at: u64) -> Credential {
    let key = LeafKey::generate().unwrap();
    let serial = Serial { epoch: at, generation, random: 1 };
    let id = id.parse().unwrap();
    let certificate = authority.issue(&id, &key.request().unwrap(), serial, at, LIFE).unwrap();
    Credential { key, certificate }
}

/// What came to a controller: the carrier, how many certificates, how many octets.
type Came = (CarrierKind, usize, usize);

/// A controller's door on loopback behind which nobody answers.
struct Door {
    address: SocketAddr,
    came: mpsc::UnboundedReceiver<Came>,
    _serving: JoinSet<()>,
}

impl Door {
    fn open(authority: &Authority, address: &str) -> Self {
        let own = certified(authority, "spiffe://presence.example/controller/main", 1, now());
        let own = ServerCredential::new(&own, authority.certificate().clone()).unwrap();
        let roots = [authority.certificate().as_ref()];
        let trust = Trust::new(authority.trust_domain().clone(), roots).unwrap();
        let tls = gateways_config(trust, LIFE, own).unwrap();
        let addresses = [address.parse().unwrap()];
        let mut listener = Listener::bind(&addresses, &tls, ListenSettings::default()).unwrap();
        let address = listener.addresses()[0];
        let (tell, came) = mpsc::unbounded_channel();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let mut carried = listener.accept().await.unwrap();
                let (kind, shown) = (carried.kind(), carried.certificates().len());
                let mut octets = Vec::new();
                // It may end as it likes; what counts is what was said before.
                let _ = carried.read_to_end(&mut octets).await;
                tell.send((kind, shown, octets.len())).unwrap();
            }
        });
        Self { address, came, _serving: serving }
    }
}

impl Door {
    /// Only the connection by TCP came in, for by QUIC one is there once something was said; and it was as silent.
    async fn heard_nothing(&mut self) {
        let came = timeout(PATIENCE, self.came.recv()).await.unwrap();
        assert_eq!(came, Some((CarrierKind::Tcp, 0, 0)), "neither a certificate nor a word");
        assert!(self.came.try_recv().is_err());
    }
}

/// A gateway's file and what belongs to it.
struct Host(Scratch);

impl Host {
    fn new() -> Self {
        let host = Self(Scratch::new());
        // No daemon has this instance, so nothing of this machine is in the report.
        let file = "mode = \"gateway\"\n[gateway]\ninstance = \"doctor-test\"\n[[lan]]\ninterface = \"lo\"\n\
                    networks = [\"10.0.0.0/24\"]\n[link]\n[seal]\ndirectory = \"sealed\"\npath = \"seal.key\"\n";
        fs::write(host.file(), file).unwrap();
        host
    }

    fn file(&self) -> PathBuf {
        self.0.0.join("gateway.toml")
    }

    fn sealed(&self) -> PathBuf {
        self.0.0.join("sealed")
    }

    fn key(&self) -> PathBuf {
        self.0.0.join("seal.key")
    }

    /// It has joined, with a certificate of this age.
    fn joined(authority: &Authority, controllers: &[ControllerAddress], at: u64) -> Self {
        let host = Self::new();
        let id = "spiffe://presence.example/site/edge/gateway/edge-gw";
        let membership = Membership {
            id: id.parse().unwrap(),
            credential: certified(authority, id, 3, at),
            authorities: vec![authority.certificate().to_vec()],
            controllers: controllers.to_vec(),
            next_key: None,
            link_key: PrivateKey::generate(),
        };
        let strongbox = Strongbox::establish(&host.sealed(), &Sealer::File(host.key())).unwrap();
        membership.save(&strongbox).unwrap();
        host
    }

    async fn examine(&self, token: Option<&JoinToken>, settings: &Settings) -> Report {
        let role = Role::load(&self.file()).unwrap();
        let text = token.map(JoinToken::text);
        examine(&role, text.as_ref().map(|it| it.as_str()), settings).await
    }
}

fn token(authority: &Authority, controllers: &[ControllerAddress]) -> JoinToken {
    JoinToken {
        trust_domain: authority.trust_domain().clone(),
        controllers: controllers.to_vec(),
        authority: authority.pin(),
        secret: Secret::new([1; 32]),
    }
}

/// The one finding of this kind.
#[track_caller]
fn finding(report: &Report, check: Check) -> &Finding {
    let found: Vec<_> = report.findings.iter().filter(|it| it.check == check).collect();
    assert_eq!(found.len(), 1, "{check}: {report:#?}");
    found[0]
}

#[track_caller]
fn assert_found(report: &Report, check: Check, verdict: Verdict, part: &str) {
    let found = finding(report, check);
    assert_eq!(found.verdict, verdict, "{found:#?}");
    assert!(found.found.contains(part), "{found:#?}");
    let says_what_to_do = found.remedy.is_some() || found.found.contains("; ");
    assert!(says_what_to_do || verdict == Verdict::Ok, "{found:#?}");
}

/// A port where UDP is swallowed and TCP goes to `target`, or is swallowed as well.
async fn swallowing(target: Option<SocketAddr>) -> (SocketAddr, JoinSet<()>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut octets = [0; 2048];
        loop {
            udp.recv(&mut octets).await.unwrap();
        }
    });
    tasks.spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut near, _) = tcp.accept().await.unwrap();
            match target {
                Some(target) => drop(tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                })),
                None => held.push(near),
            }
        }
    });
    (address, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_gateway_is_told_so_and_its_controller_hears_nothing() {
    let authority = authority();
    let mut door = Door::open(&authority, "127.0.0.1:0");
    let host = Host::joined(&authority, &[door.address.into()], now());
    let report = host.examine(None, &patient(now())).await;
    assert_found(&report, Check::Clock, Verdict::Ok, "agrees with the controllers' certificates");
    assert_found(&report, Check::Udp, Verdict::Ok, "controller/main answers by QUIC");
    assert_found(&report, Check::Tcp, Verdict::Ok, "controller/main answers by TLS over TCP");
    assert_found(&report, Check::Path, Verdict::Ok, "packets of 9000 octets get through");
    assert_found(&report, Check::Certificate, Verdict::Ok, "generation 3 of spiffe:");
    assert_found(&report, Check::Authority, Verdict::Ok, "CA holds until");
    assert_found(&report, Check::State, Verdict::Ok, "its owner alone");
    assert_found(&report, Check::Seal, Verdict::Ok, "opens");
    door.heard_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_udp_is_a_warning_where_tcp_gets_through() {
    let authority = authority();
    let door = Door::open(&authority, "127.0.0.1:0");
    let (address, _tasks) = swallowing(Some(door.address)).await;
    let host = Host::joined(&authority, &[address.into()], now());
    let report = host.examine(None, &brief()).await;
    assert_found(&report, Check::Udp, Verdict::Warn, "blocked: nothing comes back by UDP");
    assert_found(&report, Check::Tcp, Verdict::Ok, "answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_answers_is_told_in_bounded_time() {
    let authority = authority();
    let (address, _tasks) = swallowing(None).await;
    let host = Host::joined(&authority, &[address.into()], now());
    let begun = Instant::now();
    let report = host.examine(None, &brief()).await;
    // Handshakes, then TCP alone; nothing waits for an idle connection's end.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_found(&report, Check::Udp, Verdict::Fail, "blocked");
    assert_found(&report, Check::Tcp, Verdict::Fail, "handshake does not end in time");
    assert_eq!(report.verdict(), Verdict::Fail);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_refused_and_not_blocked() {
    let authority = authority();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = Host::joined(&authority, &[free.into()], now());
    let report = host.examine(None, &brief()).await;
    assert_found(&report, Check::Udp, Verdict::Fail, "refused: nobody listens there by UDP");
    assert_found(&report, Check::Tcp, Verdict::Fail, "refused: nobody listens there by TCP");
    assert_found(&report, Check::Clock, Verdict::Ok, "not behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn something_else_that_answers_is_no_controller() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut near, _) = tcp.accept().await.unwrap();
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut near, answer).await;
        }
    });
    let host = Host::joined(&authority(), &[address.into()], now());
    let report = host.examine(None, &brief()).await;
    assert_found(
        &report,
        Check::Tcp,
        Verdict::Fail,
        "something answers by TCP that is no controller",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_deployment_is_named_as_such() {
    let door = Door::open(&authority(), "127.0.0.1:0");
    let host = Host::joined(&authority(), &[door.address.into()], now());
    let report = host.examine(None, &patient(now())).await;
    for check in [Check::Udp, Check::Tcp] {
        assert_found(&report, check, Verdict::Fail, "other deployment: ");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_is_told_with_how_far() {
    let authority = authority();
    let door = Door::open(&authority, "127.0.0.1:0");
    let host = Host::joined(&authority, &[door.address.into()], now());
    for (clock, part) in [(now() - DAY, "behind by 24h"), (now() + 3 * DAY, "ahead by 2d")] {
        let report = host.examine(None, &patient(clock)).await;
        assert_found(&report, Check::Clock, Verdict::Fail, part);
        for check in [Check::Udp, Check::Tcp] {
            assert_found(
                &report,
                check,
                Verdict::Fail,
                "clock: spiffe://presence.example/controller",
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_may_be_renewed_within_the_grace() {
    let authority = authority();
    let door = Door::open(&authority, "127.0.0.1:0");
    for (days, verdict, remedy) in
        [(3, Verdict::Warn, "renews it until"), (40, Verdict::Fail, "gatewayctl token create")]
    {
        let host = Host::joined(&authority, &[door.address.into()], now() - days * DAY);
        let report = host.examine(None, &patient(now())).await;
        assert_found(&report, Check::Certificate, verdict, "has expired");
        let found = finding(&report, Check::Certificate).remedy.clone().unwrap();
        assert!(found.contains(remedy), "{found}");
        assert_found(&report, Check::Clock, Verdict::Ok, "agrees");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_an_address_is_told() {
    // RFC 6761 section 6.4: it resolves nowhere.
    let name = "controller.presence.invalid:443".parse().unwrap();
    let host = Host::joined(&authority(), &[name], now());
    let report = host.examine(None, &brief()).await;
    assert_found(&report, Check::Name, Verdict::Fail, "its address is not found");
    assert_eq!(
        finding(&report, Check::Name).subject.as_deref(),
        Some("controller.presence.invalid")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_does_not_open_is_told_from_its_directory() {
    let (authority, nobody) = (authority(), "127.0.0.1:1".parse().unwrap());
    let host = Host::joined(&authority, &[nobody], now());
    fs::rename(host.key(), host.0.0.join("elsewhere")).unwrap();
    let report = host.examine(None, &brief()).await;
    assert_found(&report, Check::Seal, Verdict::Fail, "seal.key");
    fs::write(host.key(), [9; 32]).unwrap();
    fs::set_permissions(host.key(), fs::Permissions::from_mode(0o600)).unwrap();
    let report = host.examine(None, &brief()).await;
    assert_found(&report, Check::Seal, Verdict::Fail, "is not the one that it is sealed with");
    fs::rename(host.0.0.join("elsewhere"), host.key()).unwrap();
    fs::set_permissions(host.sealed(), fs::Permissions::from_mode(0o755)).unwrap();
    let report = host.examine(None, &brief()).await;
    assert_found(&report, Check::State, Verdict::Fail, "others than its owner have access");
    assert!(report.findings.iter().all(|it| it.check != Check::Seal), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_tried_before_anything_is_joined_and_not_used() {
    let authority = authority();
    let mut door = Door::open(&authority, "127.0.0.1:0");
    let (host, controllers) = (Host::new(), [door.address.into()]);
    let report = host.examine(Some(&token(&authority, &controllers)), &patient(now())).await;
    assert_found(&report, Check::Token, Verdict::Ok, "for deployment presence.example");
    assert_found(&report, Check::Udp, Verdict::Ok, "answers");
    assert_found(&report, Check::Tcp, Verdict::Ok, "answers");
    assert_found(&report, Check::Certificate, Verdict::Warn, "has not joined");
    assert!(!host.sealed().exists() && !host.key().exists(), "nothing is made");
    door.heard_nothing().await;
    let wrong = token(
        &Authority::create("presence.example".parse().unwrap(), now()).unwrap(),
        &controllers,
    );
    let report = host.examine(Some(&wrong), &patient(now())).await;
    for check in [Check::Udp, Check::Tcp] {
        assert_found(&report, check, Verdict::Fail, "not signed by the CA that the token names");
    }
    let role = Role::load(&host.file()).unwrap();
    let report = examine(&role, Some("presence1_AAAA"), &brief()).await;
    assert_found(&report, Check::Token, Verdict::Fail, "damaged");
    let report = host.examine(None, &brief()).await;
    assert_found(&report, Check::Certificate, Verdict::Fail, "has not joined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_is_looked_at_from_its_own_host() {
    let scratch = Scratch::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = scratch.0.join("controller.toml");
    let at = |name: &str| scratch.0.join(name).display().to_string();
    let text = format!(
        "mode = \"controller\"\n[store]\npath = {:?}\n[api]\nsocket = {:?}\n[controller]\nsocket = {:?}\n\
         listen = [\"{free}\"]\nadvertise = [\"{free}\"]\n[seal]\ndirectory = \"sealed\"\npath = \"seal.key\"\n",
        at("store"),
        at("api.sock"),
        at("gateways.sock"),
    );
    fs::write(&config, text).unwrap();
    let role = Role::load(&config).unwrap();
    let report = examine(&role, None, &brief()).await;
    assert_found(&report, Check::Store, Verdict::Fail, "is not there");
    assert_found(&report, Check::Seal, Verdict::Fail, "has no strongbox");
    assert!(!scratch.0.join("store").exists() && !scratch.0.join("sealed").exists());

    init(&config, "presence.example".parse().unwrap()).await.unwrap();
    let report = examine(&role, None, &brief()).await;
    assert_found(&report, Check::Store, Verdict::Ok, "opens");
    assert_found(&report, Check::Seal, Verdict::Ok, "opens");
    let authorities = report.findings.iter().filter(|it| it.check == Check::Authority);
    assert!(
        authorities.clone().count() == 2 && authorities.clone().all(|it| it.verdict == Verdict::Ok)
    );
    let sockets: Vec<_> = report.findings.iter().filter(|it| it.check == Check::Socket).collect();
    assert_eq!(sockets.len(), 4, "{report:#?}");
    assert!(
        sockets.iter().all(|it| it.verdict == Verdict::Warn),
        "gatewayd does not run: {sockets:#?}"
    );

    let strongbox =
        Strongbox::open(&scratch.0.join("sealed"), &Sealer::File(scratch.0.join("seal.key")))
            .unwrap();
    let store =
        SqliteStore::open(&scratch.0.join("store"), SqliteSettings::default()).await.unwrap();
    let authority = open_authority(&store, &strongbox).await.unwrap();
    let door = Door::open(&authority, &free.to_string());
    let report = examine(&role, None, &patient(now())).await;
    let subject = door.address.to_string();
    let served = report.findings.iter().filter(|it| {
        it.check == Check::Socket
            && it.subject.as_ref() == Some(&subject)
            && it.verdict == Verdict::Ok
    });
    assert_eq!(served.count(), 2, "{report:#?}");
    assert_found(&report, Check::Clock, Verdict::Ok, "agrees");
}

fn gatewayctl(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatewayctl")).args(words).output().unwrap()
}

#[test]
fn the_exit_code_says_whether_anything_fails() {
    let host = Host::new();
    let file = host.file().display().to_string();
    let output = gatewayctl(&["doctor", "--config", &file]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("\nfail  certificate  this host has not joined a deployment\n"),
        "{text}"
    );
    assert!(text.contains("-> run `gatewayd join --config"), "{text}");
    let output = gatewayctl(&["doctor", "--config", &file, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|it| it["check"] == "certificate" && it["verdict"] == "fail"));
    for words in [
        &["doctor"][..],
        &["doctor", "--config", "/no/such/file"],
        &["doctor", "--config", &file, "--token-file", "/no/such/file"],
        &["doctor", "--config", &file, "-o", "wide"],
    ] {
        assert_eq!(gatewayctl(words).status.code(), Some(2), "{words:?}");
    }
}
