//! Two gateways with a link between them, and a host behind each; for the link tests.
//!
//! The link devices have no address: the gateways' own IP stacks forward between the hosts' wires
//! and the links, which hands a device the same packets as redirection does (offloaded checksums
//! and segmentation included) without needing the data path.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gateway_daemon::link::{
    self, Device, LinkError, LinkHost, LinkKind, LinkPeer, LinkSettings, PeerHealth, PrivateKey,
};
use gateway_daemon::netlink::InterfaceName;
use vm_tests::lab::binaries::locate;
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::sweep::{self, Claim, sweep};
use vm_tests::lab::wait::wait_until;
use wireguard_control::Key;

/// Where gateway B is found on the underlay; A is one below.
pub(crate) const UNDERLAY: [Ipv4Addr; 2] =
    [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
/// The hosts behind A and B, with addresses as transit addresses are.
pub(crate) const HOSTS: [Ipv4Addr; 2] =
    [Ipv4Addr::new(240, 0, 16, 5), Ipv4Addr::new(240, 0, 32, 5)];
pub(crate) const PORT_A: u16 = 51_820;

const PATIENCE: Duration = Duration::from_secs(15);

/// Which of the two gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    A,
    B,
}

/// The two gateways, their hosts and what their links should be.
pub(crate) struct Pair {
    name: LabName,
    gateways: [Namespace; 2],
    hosts: [Namespace; 2],
    pub(crate) settings: [LinkSettings; 2],
    pub(crate) host: LinkHost,
    /// Else a lab that begins meanwhile would take it for abandoned.
    _claim: Claim,
}

impl Pair {
    /// Makes the namespaces and wires. There is no link yet.
    pub(crate) fn new(kind: LinkKind, underlay_mtu: u32) -> Result<Self> {
        let name = LabName::unique();
        let claim = Claim::take(&name)?;
        let host = LinkHost { program: locate("gatewayd")?, directory: sweep::directory(&name) };
        let namespace = |part| Namespace::create(&name.namespace(part));
        let gateways = [namespace("gate-a")?, namespace("gate-b")?];
        let hosts = [namespace("host-a")?, namespace("host-b")?];
        let settings = settings(&name, kind)?;
        let pair = Self { name, gateways, hosts, settings, host, _claim: claim };
        pair.wire(underlay_mtu)?;
        Ok(pair)
    }

    pub(crate) fn gateway(&self, end: End) -> &Namespace {
        &self.gateways[end as usize]
    }

    pub(crate) fn host(&self, end: End) -> &Namespace {
        &self.hosts[end as usize]
    }

    pub(crate) fn interface(&self, end: End) -> &InterfaceName {
        &self.settings[end as usize].interface
    }

    /// Ensures the link of one end, and that the remote host is routed into it.
    pub(crate) fn ensure(&self, end: End) -> Result<Device> {
        let settings = &self.settings[end as usize];
        let device = self.try_ensure(end, settings)??;
        let route = format!("route replace {}/24 dev {}", there(end), settings.interface);
        self.gateway(end).ip(&route)?;
        Ok(device)
    }

    /// Ensures the link of one end as `settings` say.
    pub(crate) fn try_ensure(
        &self,
        end: End,
        settings: &LinkSettings,
    ) -> Result<Result<Device, LinkError>> {
        self.at(end, || async { link::ensure(settings, &self.host).await })
    }

    /// The one peer of an end.
    pub(crate) fn health(&self, end: End) -> Result<PeerHealth> {
        let mut peers = self.peers(end)?;
        ensure!(peers.len() == 1, "one peer was expected: {peers:?}");
        Ok(peers.remove(0))
    }

    pub(crate) fn peers(&self, end: End) -> Result<Vec<PeerHealth>> {
        Ok(self.at(end, || link::health(self.interface(end)))??)
    }

    pub(crate) fn remove(&self, end: End) -> Result<()> {
        Ok(self.at(end, || link::remove(self.interface(end), &self.host))??)
    }

    /// Runs a library call inside a gateway's namespace.
    pub(crate) fn at<T: Send, F: Future<Output = T>>(
        &self,
        end: End,
        call: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        self.gateway(end).run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(call()))
        })?
    }

    /// Asks the other end's host something, again and again, until the answer is right.
    pub(crate) fn echo(&self, from: End) -> Result<()> {
        self.echo_sized(from, 64)
    }

    /// [`Self::echo`] with a datagram of so many bytes, headers left out.
    pub(crate) fn echo_sized(&self, from: End, length: usize) -> Result<()> {
        wait_until("an echo through the link", PATIENCE, || {
            self.echo_once(from, length, Duration::from_millis(500)).map(Some)
        })
    }

    /// One question and its answer, within `bound`.
    pub(crate) fn echo_once(&self, from: End, length: usize, bound: Duration) -> Result<()> {
        let to = from.other();
        let server = self.host(to).run(|| UdpSocket::bind((HOSTS[to as usize], 0)))??;
        let client = self.host(from).run(|| UdpSocket::bind((HOSTS[from as usize], 0)))??;
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(bound))?;
        }
        let sent: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
        client.send_to(&sent, server.local_addr()?)?;
        let mut buffer = vec![0; length + 1];
        let (got, asker) = server.recv_from(&mut buffer).context("the question")?;
        ensure!(asker == client.local_addr()?, "the question came from {asker}");
        ensure!(buffer[..got] == sent, "the question arrived changed");
        server.send_to(&buffer[..got], asker)?;
        let got = client.recv(&mut buffer).context("the answer")?;
        ensure!(buffer[..got] == sent, "the answer arrived changed");
        Ok(())
    }

    fn wire(&self, underlay_mtu: u32) -> Result<()> {
        let [a, b] = &self.gateways;
        let veth = |from: &Namespace, device: &str, to: &Namespace, there: &str, mtu: u32| {
            let to = to.name();
            from.ip(&format!(
                "link add {device} mtu {mtu} type veth peer name {there} mtu {mtu} netns {to}"
            ))
        };
        veth(a, "wan0", b, "wan0", underlay_mtu)?;
        for (end, gateway) in [(End::A, a), (End::B, b)] {
            let place = end as usize;
            let (host, address) = (&self.hosts[place], HOSTS[place]);
            let [x, y, z, _] = address.octets();
            let router = Ipv4Addr::new(x, y, z, 1);
            gateway.ip(&format!("addr add {}/24 dev wan0", UNDERLAY[place]))?;
            gateway.ip("link set wan0 up")?;
            veth(gateway, "lan0", host, "lan0", 1500.max(underlay_mtu))?;
            gateway.ip(&format!("addr add {router}/24 dev lan0"))?;
            gateway.ip("link set lan0 up")?;
            host.ip(&format!("addr add {address}/24 dev lan0"))?;
            host.ip("link set lan0 up")?;
            host.ip(&format!("route add default via {router}"))?;
            gateway.run(|| {
                std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")?;
                std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
            })??;
        }
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Err(error) = sweep(&self.name) {
            eprintln!("{error:#}");
        }
    }
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The network of the host at the other end.
fn there(end: End) -> Ipv4Addr {
    let [a, b, c, _] = HOSTS[end.other() as usize].octets();
    Ipv4Addr::new(a, b, c, 0)
}

/// A waits at a port; B dials it and keeps the link up.
fn settings(name: &LabName, kind: LinkKind) -> Result<[LinkSettings; 2]> {
    let key = || -> Result<PrivateKey> { Ok(Key::generate_private().to_base64().parse()?) };
    let keys = [key()?, key()?];
    let one = |end: End| -> Result<LinkSettings> {
        let letter = if end == End::A { "a" } else { "b" };
        let dialled = SocketAddr::V4(SocketAddrV4::new(UNDERLAY[End::A as usize], PORT_A));
        Ok(LinkSettings {
            interface: name.instance(letter).parse()?,
            kind,
            private_key: keys[end as usize].clone(),
            listen_port: NonZeroU16::new(PORT_A).filter(|_| end == End::A),
            mtu: None,
            found_mtu: None,
            peers: vec![LinkPeer {
                site: format!("site-{letter}"),
                public_key: keys[end.other() as usize].public_key(),
                endpoint: Some(dialled).filter(|_| end == End::B),
                keepalive: NonZeroU16::new(25).filter(|_| end == End::B),
                transit: vec![format!("{}/24", there(end)).parse()?],
            }],
        })
    };
    Ok([one(End::A)?, one(End::B)?])
}
