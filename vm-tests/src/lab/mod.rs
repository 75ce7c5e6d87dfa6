//! The lab: a cloud site and two edge sites with the very same addresses, on one host, in network
//! namespaces. The demo, `lab up` and the tests share it.
//!
//! A lab has a name, and everything it makes carries it. It is removed when the value is dropped,
//! by [`Lab::down`] where the outcome matters, after a test's steps by [`Lab::during`], and by [`sweep`]
//! whatever became of its process.

pub mod applications;
pub mod binaries;
pub mod declared;
pub mod dns;
pub mod failover;
pub mod gateway;
pub mod members;
pub mod name;
pub mod namespace;
pub mod plan;
pub mod process;
pub mod rabbitmq;
pub mod scenario;
pub mod sniffer;
pub mod sweep;
pub mod traffic;
pub mod wait;
pub mod way;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use declared::{Operator, Places};
use gateway::{Choices, Gateway};
use name::LabName;
use namespace::Namespace;
use plan::{CLIENT, GATEWAY, HTTP_PORT, PublicKeys, Rule, SERVER, SITES, SitePlan, VISITOR};
use process::Process;
use sniffer::{Sniffer, Wire};
use sweep::Claim;

/// The switch's port to the gateway, and the last part of the gateway's namespace's name.
const GATEWAY_PORT: &str = "gateway";
const LINK_BOUND: Duration = Duration::from_secs(30);
const SERVER_BOUND: Duration = Duration::from_secs(10);

/// One site of a lab: a LAN with three hosts and a gateway.
#[derive(Debug)]
pub struct Site {
    /// What it is.
    pub plan: &'static SitePlan,
    /// The LAN's switch; every frame of the site crosses it.
    pub lan: Namespace,
    /// The host that the rules name, 10.0.0.5.
    pub client: Namespace,
    /// The host of the servers, 10.0.0.10.
    pub server: Namespace,
    /// The host that no rule names at first, 10.0.0.66.
    pub visitor: Namespace,
    /// Its gateway, 10.0.0.1.
    pub gateway: Gateway,
}

/// Three sites and the underlay between them.
#[derive(Debug)]
pub struct Lab {
    name: LabName,
    sites: Vec<Site>,
    servers: Vec<Process>,
    rules: Vec<Rule>,
    /// Who declares the deployment; `None` where site files do.
    operator: Option<Operator>,
    underlay: Namespace,
    /// Removed, or meant to stay.
    done: bool,
    /// Given back last.
    claim: Option<Claim>,
}

impl Lab {
    /// Makes the namespaces and wires of a lab, after removing what abandoned ones left. No gateway
    /// and no server runs yet.
    pub fn network(name: LabName, choices: Choices) -> Result<Self> {
        ensure_root()?;
        sweep::sweep_abandoned()?;
        let claim = Claim::take(&name)?;
        let mut lab = Self::network_claimed_elsewhere(name, choices)?;
        lab.claim = Some(claim);
        Ok(lab)
    }

    /// [`Lab::network`] by a process whose parent holds the claim to the name.
    pub fn network_claimed_elsewhere(name: LabName, choices: Choices) -> Result<Self> {
        ensure_root()?;
        mount_bpf_file_system()?;
        ensure!(
            sweep::leftovers(&name)?.is_empty(),
            "the sites of \"{name}\" are up already; remove them with `cargo xtask lab down`"
        );
        sweep::make_private(&sweep::directory(&name))?;
        let underlay = Namespace::create(&name.namespace("underlay"))?;
        let mut lab = Self {
            name,
            sites: Vec::new(),
            servers: Vec::new(),
            rules: plan::rules(),
            operator: None,
            underlay,
            done: false,
            claim: None,
        };
        lab.underlay.ip("link add br0 type bridge mcast_snooping 0")?;
        lab.underlay.ip("link set br0 up")?;
        for plan in SITES {
            let site = lab.make_site(plan, choices)?;
            lab.sites.push(site);
        }
        if choices.declared {
            let places = Places::new(lab.directory("controller"))?;
            lab.operator = Some(Operator::new(places));
        }
        lab.write_site_files()?;
        Ok(lab)
    }

    /// A whole lab: network, gateways with their links up, and the small servers.
    pub fn up(name: LabName, choices: Choices) -> Result<Self> {
        let mut lab = Self::network(name, choices)?;
        lab.start_gateways()?;
        lab.start_servers()?;
        Ok(lab)
    }

    /// Its name.
    pub fn name(&self) -> &LabName {
        &self.name
    }

    /// Where the wires between the gateways meet.
    pub fn underlay(&self) -> &Namespace {
        &self.underlay
    }

    /// A directory for the files of one of the lab's servers.
    pub fn directory(&self, server: &str) -> PathBuf {
        sweep::directory(&self.name).join(server)
    }

    /// One of the sites.
    pub fn site(&self, plan: &SitePlan) -> &Site {
        self.sites.iter().find(|site| site.plan == plan).expect("a lab has every site of the plan")
    }

    /// One of the gateways.
    pub fn gateway(&mut self, plan: &SitePlan) -> &mut Gateway {
        let site = self.sites.iter_mut().find(|site| site.plan == plan);
        &mut site.expect("a lab has every site of the plan").gateway
    }

    /// Starts the gateways and waits until their links are up.
    pub fn start_gateways(&mut self) -> Result<()> {
        match self.operator.clone() {
            Some(operator) => self.start_deployment(&operator)?,
            None => {
                self.sites.iter_mut().try_for_each(|site| site.gateway.launch())?;
                self.sites.iter_mut().try_for_each(|site| site.gateway.wait_ready())?;
            }
        }
        self.sites.iter().try_for_each(|site| site.gateway.wait_for_handshakes(LINK_BOUND))
    }

    /// Begins a deployment at the hub, lets the other gateways join it, and waits until all have applied it.
    fn start_deployment(&mut self, operator: &Operator) -> Result<()> {
        let (hubs, edges): (Vec<_>, Vec<_>) = self.sites.iter_mut().partition(|it| it.plan.hub);
        for site in hubs {
            site.gateway.init(declared::TRUST_DOMAIN)?;
            site.gateway.start()?;
            operator.declare()?;
            operator.declare_gateway(site.plan, &site.gateway.public_key())?;
        }
        for site in edges {
            let token = operator.run(&["token", "create", "--site", site.plan.name])?;
            site.gateway.join(&token)?;
            site.gateway.start()?;
        }
        operator.wait_applied()
    }

    /// Starts an HTTP and echo server on every site's server host.
    pub fn start_servers(&mut self) -> Result<()> {
        for site in &self.sites {
            let mut command = Command::new(binaries::locate("traffic")?);
            command.args(["serve", site.plan.name, &SERVER.to_string()]);
            let log = self.directory(&format!("traffic-{}.log", site.plan.name));
            let title = format!("the servers of {}", site.plan.name);
            let mut server = site.server.spawn(&title, &mut command, &log)?;
            wait::wait_for(format!("{title} to listen"), SERVER_BOUND, || {
                let http = SocketAddrV4::new(SERVER, HTTP_PORT);
                let up = site.server.run(|| traffic::connect(http).is_ok())?;
                Ok(up || server.ended()?.is_some())
            })?;
            ensure!(server.ended()?.is_none(), "{title} ended:\n{}", server.log_tail(10));
            self.servers.push(server);
        }
        Ok(())
    }

    /// Adds a server to those that end with the lab.
    pub fn adopt(&mut self, server: Process) {
        self.servers.push(server);
    }

    /// Adds a rule at every gateway.
    pub fn allow(&mut self, rule: Rule) -> Result<()> {
        if let Some(operator) = &self.operator {
            let words = rule.words();
            operator.run(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
            return operator.wait_applied();
        }
        self.rules.push(rule);
        self.reload()
    }

    /// Removes a rule at every gateway.
    pub fn forbid(&mut self, id: &str) -> Result<()> {
        if let Some(operator) = &self.operator {
            operator.run(&["delete", "policy", id])?;
            return operator.wait_applied();
        }
        self.rules.retain(|rule| rule.id != id);
        self.reload()
    }

    /// Who declares the deployment.
    pub fn operator(&self) -> Result<&Operator> {
        self.operator.as_ref().context("this lab's deployment is in site files")
    }

    /// Waits until every gateway has in force what a controller tells it, where there is one.
    pub fn wait_told(&self) -> Result<()> {
        self.operator.as_ref().map_or(Ok(()), Operator::wait_applied)
    }

    /// Begins to watch the underlay and every LAN.
    pub fn sniff(&self) -> Result<Vec<(&'static str, Sniffer)>> {
        let mut sniffers = vec![("underlay", Sniffer::start(Wire::Underlay, &self.underlay)?)];
        for site in &self.sites {
            sniffers.push((site.plan.name, Sniffer::start(Wire::Lan, &site.lan)?));
        }
        Ok(sniffers)
    }

    /// Pings `address` from a host and says whether all answers came.
    pub fn ping(from: &Namespace, address: Ipv4Addr) -> Result<String> {
        const BOUND: Duration = Duration::from_secs(20);
        let mut ping = Command::new("ping");
        ping.args(["-n", "-c", "3", "-i", "0.2", "-W", "3", &address.to_string()]);
        let output = from.output(&mut ping, BOUND)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success() && text.contains(" 0% packet loss"),
            "ping {address}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }

    /// The ends of the gateways' logs and what became of their packets, for a failure's message.
    pub fn logs(&self) -> String {
        let tails = self.sites.iter().map(|site| {
            let (name, tail) = (site.plan.name, site.gateway.log_tail());
            let counters = match site.gateway.ctl_output("counters") {
                Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
                Err(error) => format!("{error:#}\n"),
            };
            format!("    log of {name} ends:\n{tail}\n    packets of {name}:\n{counters}")
        });
        tails.collect()
    }

    /// Takes a test's steps in the lab and then removes it. Fails as the steps do, with the ends of the
    /// gateways' logs; otherwise if it cannot be removed or anything of it is left.
    pub fn during<T>(mut self, steps: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let name = self.name.clone();
        let value = steps(&mut self).with_context(|| self.logs())?;
        self.down()?;
        let left = sweep::leftovers(&name)?;
        ensure!(left.is_empty(), "left behind: {}", left.join("; "));
        Ok(value)
    }

    /// Removes everything and says whether that was possible.
    pub fn down(mut self) -> Result<()> {
        self.remove()
    }

    /// Leaves everything in place and running after this process.
    pub fn stay(mut self) -> Result<()> {
        sweep::keep(&self.name)?;
        for site in &mut self.sites {
            site.gateway.let_go();
        }
        self.servers.drain(..).for_each(Process::let_go);
        self.done = true;
        Ok(())
    }

    fn reload(&mut self) -> Result<()> {
        self.write_site_files()?;
        self.sites.iter_mut().try_for_each(|site| {
            let logged = site.gateway.reload()?;
            ensure!(!logged.contains("reload failed"), "{}: {logged}", site.plan.name);
            Ok(())
        })
    }

    fn write_site_files(&self) -> Result<()> {
        let keys: Vec<String> = self.sites.iter().map(|site| site.gateway.public_key()).collect();
        let keys: PublicKeys = keys.try_into().expect("a lab has every site of the plan");
        let places = self.operator.as_ref().map(Operator::places);
        self.sites
            .iter()
            .try_for_each(|site| site.gateway.write_site_file(&keys, &self.rules, places))
    }

    fn make_site(&self, plan: &'static SitePlan, choices: Choices) -> Result<Site> {
        let part = |part: &str| self.name.namespace(&format!("{}-{part}", plan.name));
        let lan = Namespace::create(&part("lan"))?;
        lan.ip("link add br0 type bridge mcast_snooping 0")?;
        lan.ip("link set br0 up")?;
        let host = |part_name: &str, address: Ipv4Addr| -> Result<Namespace> {
            let namespace = Namespace::create(&part(part_name))?;
            plug(&namespace, "lan0", address, &lan, part_name)?;
            Ok(namespace)
        };
        let gateway = host(GATEWAY_PORT, GATEWAY)?;
        if let Some(vlan) = choices.vlan {
            tag(&gateway, &choices.lan(), vlan, &lan)?;
        }
        plug(&gateway, "wan0", plan.underlay, &self.underlay, plan.name)?;
        // Whatever crosses a gateway crosses it through its programs, never through its stack.
        gateway.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "0"))??;
        Ok(Site {
            plan,
            client: host("client", CLIENT)?,
            server: host("server", SERVER)?,
            visitor: host("visitor", VISITOR)?,
            gateway: Gateway::prepare(
                plan,
                self.name.instance(plan.name),
                gateway,
                self.directory(plan.name),
                choices,
            )?,
            lan,
        })
    }

    fn remove(&mut self) -> Result<()> {
        self.servers.clear();
        self.sites.clear();
        self.done = true;
        sweep::sweep(&self.name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Err(error) = self.remove() {
            let _ = writeln!(std::io::stderr(), "{error:#}");
        }
    }
}

/// Joins a host to a switch: `device` in the host with this address, `port` in the switch.
fn plug(
    host: &Namespace,
    device: &str,
    address: Ipv4Addr,
    switch: &Namespace,
    port: &str,
) -> Result<()> {
    let switch_name = switch.name();
    host.ip(&format!("link add {device} type veth peer name {port} netns {switch_name}"))?;
    switch.ip(&format!("link set {port} master br0"))?;
    switch.ip(&format!("link set {port} up"))?;
    host.ip(&format!("address add {address}/24 dev {device}"))?;
    host.ip(&format!("link set {device} up"))?;
    Ok(())
}

/// Makes the wire between switch and gateway a trunk, on which the LAN is one VLAN.
fn tag(gateway: &Namespace, device: &str, vlan: u16, switch: &Namespace) -> Result<()> {
    gateway.ip(&format!("link add link lan0 name {device} type vlan id {vlan}"))?;
    gateway.ip(&format!("address del {GATEWAY}/24 dev lan0"))?;
    gateway.ip(&format!("address add {GATEWAY}/24 dev {device}"))?;
    gateway.ip(&format!("link set {device} up"))?;
    switch.ip(&format!("link set {GATEWAY_PORT} nomaster"))?;
    join(switch, vlan, "br0")
}

/// Gives a switch another VLAN on the trunk to its gateway, whose hosts are those of this bridge.
pub fn join(switch: &Namespace, vlan: u16, bridge: &str) -> Result<()> {
    let port = format!("{GATEWAY_PORT}.{vlan}");
    switch.ip(&format!("link add link {GATEWAY_PORT} name {port} type vlan id {vlan}"))?;
    switch.ip(&format!("link set {port} master {bridge}"))?;
    switch.ip(&format!("link set {port} up"))?;
    Ok(())
}

fn ensure_root() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "the lab makes network namespaces: run as root");
    Ok(())
}

fn mount_bpf_file_system() -> Result<()> {
    let place = Path::new("/sys/fs/bpf");
    let mounted = statfs(place).with_context(|| format!("look at {}", place.display()))?;
    if mounted.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    mount(Some("bpf"), place, Some("bpf"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mount the BPF file system at {}", place.display()))
}
