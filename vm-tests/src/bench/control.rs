//! C1 to C3 and C5: what gateways' sessions cost a controller, with real certificates, admission and shares, beside bare
//! TLS and TCP. The controller is this process; the gateways are another, so that what is measured is the controller's
//! alone.

mod beside;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gateway_control::identity::{Joining, KeyPin, Secret, Serial, SpiffeId, Subject};
use gateway_control::resource::{GatewayState, ManagerName, read};
use gateway_daemon::controller::members::Members;
use gateway_daemon::controller::{Author, Controller, Identity, Report};
use gateway_daemon::identity::{
    Authority, Credential, LeafKey, SESSION_PROTOCOL, ServerCredential, Trust, client_config,
    gateways_config,
};
use gateway_daemon::session::{CarrierKind, Door, Follower, ListenSettings, Listener, probe};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::{Row, goals, median, percentile};
use beside::{Bare, Fan};

const SESSIONS: usize = 5000;
const REVOKED_OF: usize = 1000;
const REVOKED: usize = 200;
const ROUNDS: usize = 7;
/// Sites that are declared at once.
const BATCH: usize = 500;
/// Those that are not counted: they pay for what all share.
const FIRST: usize = 100;
/// Gateways that come in at once.
const TOGETHER: usize = 32;
const LIFE: Duration = Duration::from_secs(86_400);
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the other process finds what it is.
const PLACE: &str = "PRESENCE_BENCH_GATEWAYS";

/// Measures C1 to C3 and C5, each part in a process of its own: memory that one has given back would serve the next.
pub fn rows() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for part in PARTS {
        let output = Command::new(std::env::current_exe()?).arg(part).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "{part}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for line in said.lines() {
            match line.strip_prefix("row ") {
                Some(row) => rows.push(serde_json::from_str(row).context("a row")?),
                None => println!("{line}"),
            }
        }
    }
    Ok(rows)
}

/// The parts of [`rows`].
pub const PARTS: [&str; 3] = ["sessions-quic", "sessions-tcp", "revoked"];

/// Measures bare TLS and says what it found; for [`rows`].
pub fn bare() -> Result<Vec<Row>> {
    let Bare { memory, handshake } = Bare::measured()?;
    println!("{memory} {handshake}");
    Ok(Vec::new())
}

/// One of [`PARTS`].
pub fn part(name: &str) -> Result<Vec<Row>> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let scratch = Scratch::new()?;
    match name {
        "sessions-quic" => sessions(&runtime, &scratch, CarrierKind::Quic),
        "sessions-tcp" => sessions(&runtime, &scratch, CarrierKind::Tcp),
        _ => Ok(vec![revoked(&runtime, &scratch)?]),
    }
}

/// C1 and C2 by this carrier; by TCP also C3.
fn sessions(runtime: &Runtime, scratch: &Scratch, kind: CarrierKind) -> Result<Vec<Row>> {
    let (accepted, idle) = match kind {
        CarrierKind::Quic => (goals::ACCEPTED_QUIC, goals::IDLE_QUIC),
        CarrierKind::Tcp => (goals::ACCEPTED_TCP, goals::IDLE_TCP),
    };
    let stage = runtime.block_on(Stage::new(&scratch.0.join("stage"), SESSIONS))?;
    let mut gateways = Gateways::start(&stage, kind)?;
    gateways.come_in(FIRST)?;
    let (memory, busy) = (resident()?, processor()?);
    gateways.come_in(SESSIONS - FIRST)?;
    let count = (SESSIONS - FIRST) as f64;
    let (rate, memory) = (count / (processor()? - busy), (resident()? - memory) / count);
    let mut rows = Vec::new();
    if kind == CarrierKind::Tcp {
        rows.push(changed(runtime, &stage, &mut gateways)?);
    }
    let bare = Bare::elsewhere()?;
    println!(
        "# a bare rustls connection takes {:.0} octets, a handshake's server half {:.0} us",
        bare.memory,
        bare.handshake * 1e6
    );
    rows.push(accepted.measured(rate, 1.0 / bare.handshake));
    rows.push(idle.measured(memory, bare.memory));
    Ok(rows)
}

/// C3: each round declares a policy that is for every site.
fn changed(runtime: &Runtime, stage: &Stage, gateways: &mut Gateways) -> Result<Row> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let fan = runtime.block_on(Fan::new(SESSIONS))?;
    for round in 0..ROUNDS {
        theirs.push(runtime.block_on(fan.round())?);
        let begun = Instant::now();
        let policy = format!(
            "kind: Policy\nmetadata: {{name: p{round}}}\nspec: {{rules: [{{from: {{labels: {{tier: edge}}}}, to: \
             web.hub}}]}}"
        );
        let revision = runtime.block_on(stage.apply(&policy))?;
        gateways.all_have(revision)?;
        ours.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(goals::CHANGED.measured(median(&ours), median(&theirs)))
}

/// C5: one gateway after the other is revoked; the other process says when its session was over.
fn revoked(runtime: &Runtime, scratch: &Scratch) -> Result<Row> {
    let stage = runtime.block_on(Stage::new(&scratch.0.join("revoked"), REVOKED_OF))?;
    let mut gateways = Gateways::start(&stage, CarrierKind::Quic)?;
    gateways.come_in(REVOKED_OF)?;
    let mut times = Vec::new();
    for number in 0..REVOKED {
        let begun = moment()?;
        runtime.block_on(stage.revoke(number))?;
        times.push((gateways.ended(number)? - begun) * 1e3);
    }
    println!("# revoked: p50 {:.1} ms, p99 {:.1} ms", median(&times), percentile(&times, 99));
    Ok(goals::REVOKED.measured(percentile(&times, 99), 1000.0))
}

/// A gateway, as the other process is told of it.
#[derive(Serialize, Deserialize)]
struct Member {
    id: String,
    key: Vec<u8>,
    certificate: Vec<u8>,
    link_key: [u8; 32],
}

/// What the other process is told.
#[derive(Serialize, Deserialize)]
struct Told {
    address: SocketAddr,
    by_quic: bool,
    authority: Vec<u8>,
    trust_domain: String,
    members: Vec<Member>,
}

/// A controller with so many gateways that have joined, one a site.
struct Stage {
    controller: Arc<Controller>,
    address: SocketAddr,
    authority: Vec<u8>,
    members: Vec<Member>,
    directory: PathBuf,
    _door: JoinSet<()>,
}

impl Stage {
    async fn new(directory: &Path, gateways: usize) -> Result<Self> {
        fs::create_dir(directory)?;
        let store =
            SqliteStore::create(&directory.join("store"), SqliteSettings::default()).await?;
        let controller = Arc::new(Controller::open(Arc::new(store), 0, now()).await?);
        let authority = Authority::create("bench.example".parse()?, now())?;
        let own = own_credential(&authority)?;
        let trust =
            Trust::new(authority.trust_domain().clone(), [authority.certificate().as_ref()])?;
        let tls = gateways_config(
            trust,
            LIFE,
            ServerCredential::new(&own, authority.certificate().clone())?,
        )?;
        let settings =
            ListenSettings { handshakes_of_one: TOGETHER * 4, ..ListenSettings::default() };
        let listener = Listener::bind(&["127.0.0.1:0".parse()?], &tls, settings)?;
        let address = *listener.addresses().first().context("an address")?;
        let (certificate, controllers) = (authority.certificate().to_vec(), vec![address.into()]);
        controller.enrol(Members { authority, life: LIFE, controllers });
        let mut door = JoinSet::new();
        let serving = Door::new(listener, Arc::clone(&controller), None);
        door.spawn(async move {
            let error = serving.serve().await;
            eprintln!("the door closed: {error}");
        });
        let mut stage = Self {
            controller,
            address,
            authority: certificate,
            members: Vec::new(),
            directory: directory.to_owned(),
            _door: door,
        };
        stage.declare(gateways).await?;
        Ok(stage)
    }

    /// A hub with a service for all, and so many edges, whose gateways join.
    async fn declare(&mut self, gateways: usize) -> Result<()> {
        self.apply(
            "kind: Site\nmetadata: {name: hub}\nspec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: \
             10.1.0.0/16}\n---\nkind: Gateway\nmetadata: {name: hub-gw}\nspec: {site: hub, publicKey: \
             AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, endpoints: ['192.0.2.1:51820']}\n---\nkind: Service\n\
             metadata: {name: web}\nspec: {site: hub, ports: [tcp/80], backends: [{address: 10.0.0.9}]}\n",
        )
        .await?;
        for batch in (0..gateways).collect::<Vec<_>>().chunks(BATCH) {
            let documents = batch.iter().map(|n| {
                let hash = secret(*n).hash();
                format!(
                    "kind: Site\nmetadata: {{name: e{n}, labels: {{tier: edge}}}}\nspec: {{role: edge, clientNetworks: \
                     [10.0.0.0/24], presencePool: 10.0.0.192/26}}\n---\nkind: Token\nmetadata: {{name: t{n}}}\nspec: \
                     {{site: e{n}, expires: 2100-01-31T18:00:00Z, secretHash: '{hash}'}}\n"
                )
            });
            self.apply(&documents.collect::<Vec<_>>().join("---\n")).await?;
            for n in batch {
                self.members.push(self.join(*n).await?);
            }
        }
        self.apply(
            "kind: Exposure\nmetadata: {name: web}\nspec: {service: web.hub, to: {labels: {tier: edge}}}\n",
        )
        .await?;
        Ok(())
    }

    async fn join(&self, number: usize) -> Result<Member> {
        let (key, link_key) = (LeafKey::generate()?, link_key(number));
        let joining = Joining {
            secret: secret(number),
            request: key.request()?,
            link_key: Some(link_key.into()),
            endpoints: Vec::new(),
        };
        let joined = self.controller.redeem(&joining, now()).await?;
        Ok(Member {
            id: joined.id.to_string(),
            key: key.pkcs8().to_vec(),
            certificate: joined.certificate,
            link_key,
        })
    }

    /// Applies documents; gives the change's revision.
    async fn apply(&self, text: &str) -> Result<u64> {
        let declared = read(text).map_err(|error| anyhow!("{error}"))?;
        let done = self.controller.apply(&declared, &author()?, now()).await?;
        Ok(done.revision.context("nothing was changed")?.number())
    }

    async fn revoke(&self, number: usize) -> Result<()> {
        let name = format!("e{number}-gw1").parse()?;
        let state = GatewayState::Revoked;
        self.controller.set_gateway_state(&name, state, &author()?, now()).await?;
        Ok(())
    }
}

/// The other process.
struct Gateways {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    here: usize,
}

impl Gateways {
    fn start(stage: &Stage, kind: CarrierKind) -> Result<Self> {
        let path = stage.directory.join("gateways");
        let members = stage.members.iter().map(|it| Member {
            id: it.id.clone(),
            key: it.key.clone(),
            certificate: it.certificate.clone(),
            link_key: it.link_key,
        });
        let told = Told {
            address: stage.address,
            by_quic: kind == CarrierKind::Quic,
            authority: stage.authority.clone(),
            trust_domain: "bench.example".to_owned(),
            members: members.collect(),
        };
        serde_json::to_writer(File::create(&path)?, &told)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("gateways")
            .env(PLACE, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the gateways' process")?;
        let orders = child.stdin.take().context("its input")?;
        let answers = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, orders, answers, here: 0 })
    }

    /// So many more come in, and have applied what they are told.
    fn come_in(&mut self, more: usize) -> Result<()> {
        self.here += more;
        writeln!(self.orders, "come {}", self.here)?;
        self.expect(&format!("here {}", self.here))
    }

    /// Waits until all that are here have applied this revision.
    fn all_have(&mut self, revision: u64) -> Result<()> {
        writeln!(self.orders, "applied {revision}")?;
        self.expect(&format!("applied {revision}"))
    }

    /// When the session of this gateway ended.
    fn ended(&mut self, number: usize) -> Result<f64> {
        writeln!(self.orders, "ended {number}")?;
        let line = self.line()?;
        let at = line.strip_prefix(&format!("ended {number} ")).with_context(|| line.clone())?;
        Ok(at.parse()?)
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        let line = self.line()?;
        ensure!(line == wanted, "the gateways' process says {line:?}, not {wanted:?}");
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the gateways' process ended");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a gateway of the other process has to say.
enum News {
    Applied(usize, Option<u64>),
    Ended(usize, f64),
}

/// The other process: gateways that follow the controller and apply in no time.
pub fn gateways() -> Result<Vec<Row>> {
    let path = std::env::var(PLACE).with_context(|| format!("{PLACE} is not set"))?;
    let told: Told = serde_json::from_reader(BufReader::new(File::open(path)?))?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _guard = runtime.enter();
    let told = Arc::new(told);
    let trust = Trust::new(told.trust_domain.parse()?, [told.authority.as_slice()])?;
    let (news, mut heard) = mpsc::unbounded_channel();
    let (mut applied, mut ended) = (Vec::new(), Vec::new());
    let together = Arc::new(Semaphore::new(TOGETHER));
    let mut settle = |applied: &mut Vec<Option<u64>>, ended: &mut Vec<Option<f64>>| {
        match heard.blocking_recv() {
            Some(News::Applied(number, revision)) => applied[number] = revision,
            Some(News::Ended(number, at)) => ended[number] = Some(at),
            None => bail!("no gateway is left"),
        }
        Ok(())
    };
    for line in std::io::stdin().lines() {
        let line = line?;
        let (word, number) = line.split_once(' ').context("an order")?;
        let wanted: usize = number.parse()?;
        match word {
            "come" => {
                for number in applied.len()..wanted {
                    let member = told.members.get(number).context("there are no more")?;
                    let news = news.clone();
                    let following = follow(
                        number,
                        told.address,
                        told.by_quic,
                        &trust,
                        member,
                        news,
                        &together,
                    )?;
                    runtime.spawn(following);
                    applied.push(None);
                    ended.push(None);
                }
                while applied.iter().any(Option::is_none) {
                    settle(&mut applied, &mut ended)?;
                    ensure!(ended.iter().all(Option::is_none), "a session ended");
                }
                println!("here {wanted}");
            }
            "applied" => {
                let revision: u64 = number.parse()?;
                while applied.iter().any(|it| *it < Some(revision)) {
                    settle(&mut applied, &mut ended)?;
                }
                println!("applied {revision}");
            }
            "ended" => {
                let at = loop {
                    match ended.get(wanted).copied().flatten() {
                        Some(at) => break at,
                        None => settle(&mut applied, &mut ended)?,
                    }
                };
                println!("ended {wanted} {at}");
            }
            other => bail!("there is no order {other}"),
        }
    }
    Ok(Vec::new())
}

/// A gateway from its handshake to its end.
fn follow(
    number: usize,
    address: SocketAddr,
    by_quic: bool,
    trust: &Trust,
    member: &Member,
    news: mpsc::UnboundedSender<News>,
    together: &Arc<Semaphore>,
) -> Result<impl Future<Output = ()> + Send + 'static> {
    let credential = Credential {
        key: LeafKey::read(&member.key)?,
        certificate: CertificateDer::from(member.certificate.clone()),
    };
    let tls = client_config(trust.clone(), &credential, SESSION_PROTOCOL)?;
    let id: SpiffeId = member.id.parse()?;
    let Subject::Gateway(site, gateway) = id.subject else { bail!("{} is no gateway", member.id) };
    let identity = Identity { site, gateway, public_key: member.link_key.into() };
    let kind = if by_quic { CarrierKind::Quic } else { CarrierKind::Tcp };
    let together = Arc::clone(together);
    Ok(async move {
        let (orders, mut heard) = watch::channel(None);
        let (_identity, identity) = watch::channel(identity);
        let (report, reported) = watch::channel(Report::default());
        let holding = watch::Sender::new(None);
        let mut follower = Follower { orders, holding, identity, report: reported, keeper: None };
        let place = together.acquire_owned().await;
        let Ok(carried) = probe(address, kind, tls, PATIENCE).await else { return };
        drop(place);
        let said = news.clone();
        let applying = async move {
            while heard.changed().await.is_ok() {
                let revision = heard.borrow_and_update().as_ref().and_then(|it| it.revision);
                report.send_modify(|report| report.applied = revision);
                // The other end is there as long as this process.
                let _ = said.send(News::Applied(number, revision.map(|it| it.number())));
            }
        };
        tokio::select! {
            _ = follower.talk(carried) => {}
            () = applying => {}
        }
        let _ = news.send(News::Ended(number, moment().unwrap_or_default()));
    })
}

fn own_credential(authority: &Authority) -> Result<Credential> {
    leaf(authority, &"spiffe://bench.example/controller/main".parse()?)
}

fn leaf(authority: &Authority, id: &SpiffeId) -> Result<Credential> {
    let key = LeafKey::generate()?;
    let serial = Serial { epoch: now(), generation: 1, random: 1 };
    let certificate = authority.issue(id, &key.request()?, serial, now(), LIFE)?;
    Ok(Credential { key, certificate })
}

fn author() -> Result<Author> {
    let manager: ManagerName = "bench".parse()?;
    Ok(Author { manager, force: false })
}

/// A secret of each number's own; these are no secrets.
fn secret(number: usize) -> Secret {
    Secret::new(*KeyPin::of(&number.to_be_bytes()).octets())
}

fn link_key(number: usize) -> [u8; 32] {
    *KeyPin::of(&[&number.to_be_bytes()[..], b"link"].concat()).octets()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Seconds of a clock that both processes have.
fn moment() -> Result<f64> {
    let at = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(at.num_nanoseconds() as f64 / 1e9)
}

/// Seconds of processors that this process has used.
fn processor() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

/// Octets of this process that are in memory.
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// Gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("presence-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is a temporary file's.
        let _ = fs::remove_dir_all(&self.0);
    }
}
