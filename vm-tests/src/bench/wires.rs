//! Client, two gateways and server in namespaces in a row, in each of the ways that are compared. Needs
//! a kernel with WireGuard and nftables.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wireguard_control::{Backend, DeviceUpdate, InterfaceName, KeyPair, PeerConfigBuilder};

use super::loads::{Ends, PORT};
use crate::lab::binaries;
use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait::wait_until;

/// What lies between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Two gateways of ours.
    Ours,
    /// Two gateways that translate by nftables: destination and masquerade at each.
    Nftables,
    /// Two gateways that route and translate nothing.
    Routing,
    /// A wire.
    Wire,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ours, Self::Nftables, Self::Routing, Self::Wire];

    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Nftables => "nft",
            Self::Routing => "route",
            Self::Wire => "wire",
        }
    }
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const PRESENCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);
const LINK_PORT: u16 = 51820;
/// The same on every way: what IPv6 as underlay would leave, and WireGuard's own default.
const MTU: u32 = 1420;
const SETTLING: Duration = Duration::from_secs(60);

/// The namespaces of one way.
pub struct Wires {
    way: Way,
    hosts: Vec<Namespace>,
    directory: PathBuf,
    daemons: Vec<Process>,
    /// Where loads run.
    pub ends: Ends,
}

impl Wires {
    /// Makes them and waits until a packet and its answer get through.
    pub fn lay(way: Way) -> Result<Self> {
        let name = |host: &str| format!("pb-{}-{}-{host}", std::process::id(), way.name());
        let client = Namespace::create(&name("client"))?;
        let server = Namespace::create(&name("server"))?;
        let directory = std::env::temp_dir().join(name("files"));
        fs::create_dir_all(&directory)?;
        let (target, listens) = match way {
            Way::Ours | Way::Nftables => (PRESENCE, SERVER),
            Way::Routing => (Ipv4Addr::new(10, 2, 0, 10), Ipv4Addr::new(10, 2, 0, 10)),
            Way::Wire => (SERVER, SERVER),
        };
        let ends = Ends { client: client.clone(), server: server.clone(), target, listens };
        let hosts = vec![client, server];
        let mut wires = Self { way, hosts, directory, daemons: Vec::new(), ends };
        match way {
            Way::Wire => {
                let Ends { client, server, .. } = &wires.ends;
                wire(client, "lan0", server, "lan0")?;
                address(client, "lan0", &format!("{CLIENT}/24"))?;
                address(server, "lan0", &format!("{SERVER}/24"))?;
            }
            Way::Ours | Way::Nftables | Way::Routing => {
                let gateways = [Namespace::create(&name("a"))?, Namespace::create(&name("b"))?];
                wires.hosts.extend(gateways.clone());
                wires.between(&gateways)?;
            }
        }
        wires.settle()?;
        Ok(wires)
    }

    fn between(&mut self, gateways: &[Namespace; 2]) -> Result<()> {
        let [a, b] = gateways;
        let Ends { client, server, .. } = &self.ends;
        wire(client, "lan0", a, "lan0")?;
        wire(a, "wan0", b, "wan0")?;
        wire(b, "lan0", server, "lan0")?;
        address(a, "wan0", "192.0.2.1/24")?;
        address(b, "wan0", "192.0.2.2/24")?;
        let (ours, theirs) = match self.way {
            Way::Routing => ("10.1.0", "10.2.0"),
            Way::Ours | Way::Nftables | Way::Wire => ("10.0.0", "10.0.0"),
        };
        address(client, "lan0", &format!("{ours}.5/24"))?;
        address(a, "lan0", &format!("{ours}.1/24"))?;
        address(b, "lan0", &format!("{theirs}.1/24"))?;
        address(server, "lan0", &format!("{theirs}.10/24"))?;
        let keys = [KeyPair::generate(), KeyPair::generate()];
        match self.way {
            Way::Wire => {}
            Way::Ours => {
                for (index, gateway) in gateways.iter().enumerate() {
                    let daemon = self.gatewayd(index, gateway, &keys)?;
                    self.daemons.push(daemon);
                }
            }
            Way::Routing => {
                client.ip(&format!("route add default via {ours}.1"))?;
                server.ip(&format!("route add default via {theirs}.1"))?;
                link(a, &keys[0], &keys[1], "192.0.2.2", "10.2.0.0/24")?;
                link(b, &keys[1], &keys[0], "192.0.2.1", "10.1.0.0/24")?;
            }
            Way::Nftables => {
                a.ip(&format!("address add {PRESENCE}/32 dev lan0"))?;
                link(a, &keys[0], &keys[1], "192.0.2.2", "172.30.0.2/32")?;
                link(b, &keys[1], &keys[0], "192.0.2.1", "172.30.0.1/32")?;
                a.ip("address add 172.30.0.1/32 dev link0")?;
                b.ip("address add 172.30.0.2/32 dev link0")?;
                nft(a, &translation("lan0", PRESENCE, "172.30.0.2", "link0"))?;
                nft(b, &translation("link0", Ipv4Addr::new(172, 30, 0, 2), "10.0.0.10", "lan0"))?;
            }
        }
        Ok(())
    }

    /// Starts the gateway of the client's site (0) or of the server's (1).
    fn gatewayd(&self, index: usize, gateway: &Namespace, keys: &[KeyPair; 2]) -> Result<Process> {
        let own = &keys[index];
        let other = &keys[1 - index];
        let instance = format!("bench-{}", ["a", "b"][index]);
        let key_file = self.directory.join(format!("{instance}.key"));
        fs::write(&key_file, own.private.to_base64() + "\n")?;
        let mut permissions = fs::metadata(&key_file)?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        fs::set_permissions(&key_file, permissions)?;
        let sites =
            [("edge", "240.0.16.0/20", "192.0.2.1"), ("cloud", "240.0.0.0/20", "192.0.2.2")];
        let (site, transit, _) = sites[index];
        let (remote, remote_transit, endpoint) = sites[1 - index];
        let place = [format!("presence = \"{PRESENCE}\""), format!("backend = \"{SERVER}\"")];
        let text = format!(
            "[gateway]\nname = \"{instance}\"\ninstance = \"{instance}\"\n\n\
             [site]\nname = \"{site}\"\ntransit = \"{transit}\"\n\
             presence_pool = \"10.0.0.192/26\"\nclient_presence = \"10.0.0.250\"\n\n\
             [[lan]]\ninterface = \"lan0\"\nnetworks = [\"10.0.0.0/24\"]\n\n\
             [link]\ninterface = \"link0\"\nkind = \"kernel\"\nprivate_key_file = \"{}\"\n\
             listen_port = {LINK_PORT}\nmtu = {MTU}\n\n\
             [[peer]]\nsite = \"{remote}\"\npublic_key = \"{}\"\nendpoint = \"{endpoint}:{LINK_PORT}\"\n\n\
             [[remote_site]]\nname = \"{remote}\"\ntransit = \"{remote_transit}\"\n\
             client_networks = [\"10.0.0.0/24\"]\n\n\
             [[service]]\nname = \"load\"\nsite = \"cloud\"\nnumber = 1\n\
             ports = [\"udp/{PORT}\", \"tcp/{PORT}\"]\n{}\n\n\
             [[allow]]\nid = \"load\"\nfrom = \"edge\"\nclients = [\"{CLIENT}/32\"]\nto = \"load.cloud\"\n",
            key_file.display(),
            other.public.to_base64(),
            place[index],
        );
        let file = self.directory.join(format!("{instance}.toml"));
        fs::write(&file, text)?;
        gateway.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "0"))??;
        let mut command = Command::new(binaries::locate("gatewayd")?);
        command.arg("--config").arg(&file);
        let log = self.directory.join(format!("{instance}.log"));
        gateway.spawn(&format!("gatewayd {instance}"), &mut command, &log)
    }

    fn settle(&self) -> Result<()> {
        let ends = &self.ends;
        let listens = SocketAddrV4::new(ends.listens, PORT);
        let socket = ends.server.run(|| std::net::UdpSocket::bind(listens))??;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let target = SocketAddrV4::new(ends.target, PORT);
        let client = ends.client.run(|| std::net::UdpSocket::bind("0.0.0.0:0"))??;
        client.set_read_timeout(Some(Duration::from_millis(200)))?;
        let settled =
            wait_until(format!("a packet from end to end ({:?})", self.way), SETTLING, || {
                // Refused while nothing listens, unreachable while no address is resolved.
                let _ = client.send_to(b"?", target);
                let mut datagram = [0; 64];
                let (_, peer) = socket.recv_from(&mut datagram)?;
                socket.send_to(b"!", peer)?;
                client.recv(&mut datagram)?;
                Ok(Some(()))
            });
        settled.with_context(|| {
            self.daemons.iter().map(|daemon| daemon.log_tail(10)).collect::<String>()
        })?;
        Ok(())
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.daemons.clear();
        for instance in ["bench-a", "bench-b"].iter().filter(|_| self.way == Way::Ours) {
            if let Err(error) = gateway_dataplane::detach(instance) {
                println!("# {instance} is not detached: {error}");
            }
        }
        for host in &self.hosts {
            let _ = host.remove();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn wire(one: &Namespace, name: &str, other: &Namespace, other_name: &str) -> Result<()> {
    let peer = other.name();
    one.ip(&format!("link add {name} type veth peer name {other_name} netns {peer}"))?;
    one.ip(&format!("link set {name} up"))?;
    other.ip(&format!("link set {other_name} up"))?;
    Ok(())
}

fn address(host: &Namespace, device: &str, address: &str) -> Result<()> {
    host.ip(&format!("address add {address} dev {device}")).map(drop)
}

/// A WireGuard link that leads to `beyond`, on a host that forwards.
fn link(
    host: &Namespace,
    own: &KeyPair,
    other: &KeyPair,
    endpoint: &str,
    beyond: &str,
) -> Result<()> {
    host.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
    host.ip("link add link0 type wireguard")?;
    let (prefix, length) = beyond.split_once('/').context("a prefix")?;
    let peer = PeerConfigBuilder::new(&other.public)
        .set_endpoint(format!("{endpoint}:{LINK_PORT}").parse()?)
        .replace_allowed_ips()
        .add_allowed_ip(prefix.parse()?, length.parse()?);
    let update = DeviceUpdate::new()
        .set_private_key(own.private.clone())
        .set_listen_port(LINK_PORT)
        .add_peer(peer);
    let name: InterfaceName = "link0".parse().context("name of the link device")?;
    host.run(|| update.apply(&name, Backend::Kernel))?.context("configure WireGuard")?;
    host.ip(&format!("link set link0 mtu {MTU} up"))?;
    host.ip(&format!("route add {beyond} dev link0"))?;
    Ok(())
}

/// Rules that turn `from` into `to` for what comes in by `inside`, and hide who sent it behind the
/// address of `outside`.
pub(super) fn translation(inside: &str, from: Ipv4Addr, to: &str, outside: &str) -> String {
    format!(
        "table ip nat {{\n\
         chain prerouting {{ type nat hook prerouting priority dstnat;\n\
         iifname \"{inside}\" ip daddr {from} dnat to {to}\n}}\n\
         chain postrouting {{ type nat hook postrouting priority srcnat;\n\
         oifname \"{outside}\" masquerade\n}}\n}}\n"
    )
}

/// Loads a rule set.
pub(super) fn nft(host: &Namespace, rules: &str) -> Result<()> {
    host.run(|| -> Result<()> {
        let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("nft has an input")?.write_all(rules.as_bytes())?;
        let status = child.wait()?;
        ensure!(status.success(), "nft did not take the rules: {status}\n{rules}");
        Ok(())
    })?
    .context("run nft")
}
