//! One site's gateway in the lab: its site file, its `gatewayd`, and `gatewayctl` beside it.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use wireguard_control::{Backend, Device, InterfaceName, Key};

use super::binaries;
use super::declared::Places;
use super::namespace::Namespace;
use super::plan::{PublicKeys, Rule, SEALED, SiteFile, SitePlan};
use super::process::Process;
use super::wait::{wait_for, wait_unless_failed};

/// Bound on the start and the reload of a gateway. In an emulated guest three kernels' worth of verifying
/// at once takes half a minute, and more beside a build.
pub const START_BOUND: Duration = Duration::from_secs(120);
/// Bound on one `gatewayctl`.
pub const CTL_BOUND: Duration = Duration::from_secs(20);
/// Bound on the end of a daemon that is told to end.
const END_BOUND: Duration = Duration::from_secs(20);

const LOG_LINES: usize = 25;
const KEY_FILE: &str = "link.key";

/// What a lab may choose about its gateways.
#[derive(Debug, Clone, Copy)]
pub struct Choices {
    /// How the LAN's packets are taken: `auto`, `xdp` or `tc`.
    pub mode: &'static str,
    /// Kind of link device: `auto`, `kernel` or `userspace`.
    pub link_kind: &'static str,
    /// The LAN's VLAN on the wire between switch and gateway; `None` where that wire has no tags.
    pub vlan: Option<u16>,
    /// Flows a gateway has room for.
    pub flow_capacity: u32,
    /// How long connections without a flow may go on after a start without flows. None by default: at its end
    /// the tables change, which tests of their generation would have to know.
    pub grace: &'static str,
    /// Whether the deployment is declared at a controller, which the cloud's gatewayd is as well; otherwise every
    /// gateway has all of it from its site file.
    pub declared: bool,
}

impl Choices {
    /// The gateways' LAN interface.
    pub fn lan(&self) -> String {
        match self.vlan {
            None => "lan0".to_owned(),
            Some(vlan) => format!("lan0.{vlan}"),
        }
    }
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            mode: "auto",
            link_kind: "auto",
            vlan: None,
            flow_capacity: 65536,
            grace: "0s",
            declared: false,
        }
    }
}

/// Which build of the programs a gateway runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Build {
    /// This one.
    #[default]
    Current,
    /// One with the next map ABI and flows of another layout (the feature `rehearsal`).
    Next,
}

impl Build {
    fn program(self, name: &str) -> String {
        match self {
            Self::Current => name.to_owned(),
            Self::Next => format!("{name}-rehearsal"),
        }
    }
}

/// What `gatewayctl trace` says of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It would be refused.
    Refused {
        /// The reason's label.
        reason: String,
    },
    /// It would be carried.
    Allowed {
        /// The rule's id.
        rule: String,
    },
}

/// A site's gateway.
#[derive(Debug)]
pub struct Gateway {
    plan: &'static SitePlan,
    instance: String,
    namespace: Namespace,
    directory: PathBuf,
    key: Key,
    choices: Choices,
    build: Build,
    notices: UnixDatagram,
    process: Option<Process>,
}

impl Gateway {
    /// Prepares a gateway: a key and a place for its files. Nothing runs yet.
    pub fn prepare(
        plan: &'static SitePlan,
        instance: String,
        namespace: Namespace,
        directory: PathBuf,
        choices: Choices,
    ) -> Result<Self> {
        super::sweep::make_private(&directory)?;
        let key = Key::generate_private();
        let key_file = directory.join(KEY_FILE);
        fs::write(&key_file, key.to_base64() + "\n")
            .and_then(|()| fs::set_permissions(&key_file, Permissions::from_mode(0o600)))
            .with_context(|| format!("write {}", key_file.display()))?;
        let notices = UnixDatagram::bind(directory.join("notify")).context("bind a socket")?;
        notices.set_nonblocking(true)?;
        let (build, process) = (Build::default(), None);
        Ok(Self { plan, instance, namespace, directory, key, choices, build, notices, process })
    }

    /// Its site.
    pub fn site(&self) -> &'static SitePlan {
        self.plan
    }

    /// Its instance, which is also the name of its link device.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its site file.
    pub fn site_file(&self) -> PathBuf {
        self.directory.join("site.toml")
    }

    /// The public half of its link's key, as base64.
    pub fn public_key(&self) -> String {
        self.key.get_public().to_base64()
    }

    /// Writes the file that its gatewayd runs by: its site file, or, with the places of a controller, what only its
    /// host knows.
    pub fn write_site_file(
        &self,
        public_keys: &PublicKeys,
        rules: &[Rule],
        places: Option<&Places>,
    ) -> Result<()> {
        let file = SiteFile {
            site: self.plan,
            places,
            instance: &self.instance,
            lan: &self.choices.lan(),
            mode: self.choices.mode,
            link_kind: self.choices.link_kind,
            private_key_file: KEY_FILE,
            public_keys,
            rules,
            flow_capacity: self.choices.flow_capacity,
            grace: self.choices.grace,
        };
        fs::write(self.site_file(), file.text())
            .with_context(|| format!("write {}", self.site_file().display()))
    }

    /// Begins the deployment whose controller runs here.
    pub fn init(&self, trust_domain: &str) -> Result<String> {
        self.once(&["init", "--trust-domain", trust_domain])
    }

    /// Joins the deployment that a token is of.
    pub fn join(&self, token: &str) -> Result<String> {
        let file = self.directory.join("token");
        fs::write(&file, token).with_context(|| format!("write {}", file.display()))?;
        let joined = self.once(&["join", "--token-file", "token"]);
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        joined
    }

    /// Where its sealed files are.
    pub fn sealed(&self) -> PathBuf {
        self.directory.join(SEALED)
    }

    /// Runs a command of `gatewayd` that ends by itself, in this gateway's directory.
    fn once(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(binaries::locate(&self.build.program("gatewayd"))?);
        command.args(words).arg("--config").arg(self.site_file()).current_dir(&self.directory);
        let output = self.namespace.output(&mut command, CTL_BOUND)?;
        ensure!(
            output.status.success(),
            "gatewayd {words:?} at {}: {}: {}",
            self.plan.name,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes it use another build from now on.
    pub fn use_build(&mut self, build: Build) {
        self.build = build;
    }

    /// Starts `gatewayd` and waits until it says that it is ready.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_ready()
    }

    /// Starts `gatewayd`, without waiting.
    pub fn launch(&mut self) -> Result<()> {
        self.launch_with(&self.site_file())
    }

    /// Starts `gatewayd` on another file, without waiting.
    pub fn launch_with(&mut self, file: &Path) -> Result<()> {
        self.drain_notices();
        let mut command = self.daemon(file)?;
        command.env("NOTIFY_SOCKET", self.directory.join("notify"));
        let title = format!("gatewayd of {}", self.plan.name);
        self.process = Some(self.namespace.spawn(&title, &mut command, &self.log_file())?);
        Ok(())
    }

    /// Waits until a launched `gatewayd` says that it is ready.
    pub fn wait_ready(&mut self) -> Result<()> {
        let what = format!("gatewayd of {} to say READY=1", self.plan.name);
        wait_unless_failed(what, START_BOUND, || self.readiness())
            .with_context(|| format!("its log ends:\n{}", self.log_tail()))
    }

    /// Whether a launched or reloading `gatewayd` has said READY=1 since; fails once it has ended.
    pub fn readiness(&mut self) -> Result<bool> {
        if self.notice("READY=1")? {
            return Ok(true);
        }
        if let Some(status) = self.running()?.ended()? {
            bail!("gatewayd of {} ended: {status}", self.plan.name);
        }
        Ok(false)
    }

    /// Sends SIGHUP, waits until the site file has been read again, and gives what was logged
    /// meanwhile.
    pub fn reload(&mut self) -> Result<String> {
        let before = self.log().len();
        self.drain_notices();
        self.running()?.signal(Signal::SIGHUP)?;
        self.wait_ready()?;
        Ok(self.log().split_off(before))
    }

    /// Ends `gatewayd` with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.running()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Ends `gatewayd` with SIGTERM; fails unless it says that it ended as it was told to.
    pub fn end(&mut self) -> Result<()> {
        let process = self.running()?;
        process.signal(Signal::SIGTERM)?;
        let status = process.wait(END_BOUND)?;
        self.process = None;
        ensure!(status.success(), "{status}; its log ends:\n{}", self.log_tail());
        Ok(())
    }

    /// Lets `gatewayd` live on after this process.
    pub fn let_go(&mut self) {
        if let Some(process) = self.process.take() {
            process.let_go();
        }
    }

    /// Runs a second `gatewayd` on another site file to its end.
    pub fn try_site_file(&self, site_file: &Path, bound: Duration) -> Result<Output> {
        self.namespace.output(&mut self.daemon(site_file)?, bound)
    }

    /// Runs `gatewayctl` for this instance and gives what it answers as JSON.
    pub fn ctl(&self, words: &str) -> Result<Value> {
        let output = self.ctl_output(&format!("-o json {words}"))?;
        ensure!(
            output.status.success(),
            "gatewayctl {words} at {}: {}: {}",
            self.plan.name,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("gatewayctl {words} does not answer with JSON"))
    }

    /// How many packets it has refused for this reason.
    pub fn refused(&self, reason: &str) -> Result<u64> {
        let counts = self.ctl("counters --all")?;
        counts
            .as_array()
            .and_then(|counts| counts.iter().find(|count| count["label"] == reason))
            .and_then(|count| count["packets"].as_u64())
            .with_context(|| format!("gatewayctl counters has no {reason}: {counts}"))
    }

    /// What its programs would do with a TCP SYN from a client to a presence: the reason for which
    /// they would refuse it, or the rule that allows it.
    pub fn trace(&self, from: Ipv4Addr, to: SocketAddrV4) -> Result<Verdict> {
        let traced =
            self.ctl(&format!("trace --from {from} --to {} --port {}", to.ip(), to.port()))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match (text(&traced["reason"]["label"]), text(&traced["rule"]["id"])) {
            (Some(reason), _) => Ok(Verdict::Refused { reason }),
            (None, Some(rule)) => Ok(Verdict::Allowed { rule }),
            (None, None) => bail!("gatewayctl trace names neither reason nor rule: {traced}"),
        }
    }

    /// Runs `gatewayctl` for this instance.
    pub fn ctl_output(&self, words: &str) -> Result<Output> {
        let mut command = Command::new(binaries::locate(&self.build.program("gatewayctl"))?);
        command.args(["--instance", &self.instance]).args(words.split_whitespace());
        self.namespace.output(&mut command, CTL_BOUND)
    }

    /// Waits until a handshake has been made with every peer of its link.
    pub fn wait_for_handshakes(&self, bound: Duration) -> Result<()> {
        let name: InterfaceName = self.instance.parse().context("name of the link device")?;
        wait_for(format!("the links of {}", self.plan.name), bound, || {
            let socket = Path::new("/run/wireguard").join(format!("{}.sock", self.instance));
            let backend = if socket.exists() { Backend::Userspace } else { Backend::Kernel };
            let device = self.namespace.run(|| Device::get(&name, backend))??;
            let unmet = device.peers.iter().filter(|it| it.stats.last_handshake_time.is_none());
            Ok(!device.peers.is_empty() && unmet.count() == 0)
        })
        .with_context(|| format!("its log ends:\n{}", self.log_tail()))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        super::process::tail(&self.log(), LOG_LINES)
    }

    fn daemon(&self, site_file: &Path) -> Result<Command> {
        let mut command = Command::new(binaries::locate(&self.build.program("gatewayd"))?);
        command.arg("--config").arg(site_file);
        Ok(command)
    }

    fn running(&mut self) -> Result<&mut Process> {
        let site = self.plan.name;
        self.process.as_mut().with_context(|| format!("gatewayd of {site} is not running"))
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("gatewayd.log")
    }

    fn drain_notices(&self) {
        while self.receive().is_some() {}
    }

    fn notice(&self, wanted: &str) -> Result<bool> {
        while let Some(notice) = self.receive() {
            if notice.lines().any(|line| line == wanted) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn receive(&self) -> Option<String> {
        let mut datagram = [0; 4096];
        let length = self.notices.recv(&mut datagram).ok()?;
        Some(String::from_utf8_lossy(&datagram[..length]).into_owned())
    }
}
