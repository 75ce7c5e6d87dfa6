//! Where programs are run on frames of the benchmark's own: a namespace with a LAN and a link device, and
//! a site whose translation leads back to its beginning.
//!
//! `BPF_PROG_TEST_RUN` gives a program its own output again: a translated packet would be none of its
//! business the second time. So the site here maps each client and each service to another one that maps
//! back, all of them inside the transit pool: every run translates, with the same work as any other
//! translation, and the next run finds an established flow again. Only the hops left go down, which
//! bounds the runs of one frame to [`REPEATS`].

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use gateway_common::desired::Tables;
use gateway_common::map::{
    ABI, Allow, AllowKey, ClientAddress, Counter, Flows, Map as _, Network, NetworkFlags, PortKey,
    PortMapping, Presence, PresenceKind, Route, Service, ServiceKind, Settings, SiteNumber,
};
use gateway_common::{Ipv4, Prefix, Protocol, TransitAddress};
use gateway_dataplane::{
    BPFFS, DataPlane, Inspector, Mode, Options, PacketDescription, Part, Place,
    TransportDescription, WantedAttachment, detach_at,
};
use nix::net::if_::if_nametoindex;

use crate::lab::namespace::Namespace;

/// Runs of one frame. It begins with 255 hops and the last run has to find more than one left.
pub const REPEATS: u32 = 250;

const INSTANCE: &str = "bench";
const OTHER: &str = "other";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The hardware address of [`LAN`].
pub const LAN_MAC: &str = "02:00:00:00:00:01";
/// The LAN device.
pub const LAN: &str = "lan0";
/// Its other end.
pub const FAR: &str = "far0";
/// The link device.
pub const LINK: &str = "link0";
/// The first presence.
pub const POOL: Ipv4Addr = Ipv4Addr::new(242, 0, 0, 0);
/// The client of [`frame`].
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(240, 0, 16, 5);

/// The namespace with a loaded data path.
pub struct Stand {
    namespace: Namespace,
    root: PathBuf,
}

/// A data path in a [`Stand`], for as long as one body runs.
pub struct Loaded {
    /// The data path.
    pub dataplane: DataPlane,
    /// Index of the LAN device.
    pub lan: u32,
    /// Index of the link device.
    pub link: u32,
    instance: &'static str,
    root: PathBuf,
}

impl Stand {
    /// Makes the namespace.
    pub fn new(name: &str) -> Result<Self> {
        let unique = format!("presence-bench-{}-{name}", std::process::id());
        let namespace = Namespace::create(&unique)?;
        let stand = Self { namespace, root: Path::new(BPFFS).join(unique) };
        for words in [
            format!("link add {LAN} address {LAN_MAC} type veth peer name {FAR}"),
            format!("link set {LAN} up"),
            format!("link set {FAR} up"),
            format!("link add {LINK} type veth peer name {LINK}-far"),
            format!("link set {LINK}-far up"),
            format!("link set {LINK} up"),
        ] {
            stand.namespace.ip(&words)?;
        }
        Ok(stand)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Loads the data path and runs `body` on it.
    pub fn run<T: Send>(&self, body: impl FnOnce(&mut Loaded) -> Result<T> + Send) -> Result<T> {
        self.namespace.run(|| {
            let mut dataplane = open(INSTANCE, &self.root, Flows::CAPACITY)?;
            // A veth has the receive queue that a run of an XDP program names while one is attached.
            dataplane.attach(&[WantedAttachment {
                interface: LAN.to_owned(),
                place: Place::Lan(Mode::Xdp),
            }])?;
            let (lan, link) = (if_nametoindex(LAN)?, if_nametoindex(LINK)?);
            let root = self.root.clone();
            body(&mut Loaded { dataplane, lan, link, instance: INSTANCE, root })
        })?
    }
}

fn open(instance: &str, root: &Path, flow_capacity: u32) -> Result<DataPlane> {
    let options = Options { root: root.to_owned(), flow_capacity, ..Options::default() };
    DataPlane::open(instance, &options).context("load the data path")
}

impl Drop for Stand {
    fn drop(&mut self) {
        let root = self.root.clone();
        let _ = self
            .namespace
            .run(|| [INSTANCE, OTHER].map(|instance| detach_at(&root, instance).map(drop)));
        let _ = fs::remove_dir_all(&self.root);
        let _ = self.namespace.remove();
    }
}

impl Loaded {
    /// Where a program or a map (`kind`) of this name is pinned.
    pub fn pin(&self, kind: &str, name: &str) -> PathBuf {
        self.root.join(format!("presence/{}/v{ABI}/{kind}/{name}", self.instance))
    }

    /// A second data path beside this one, with maps of its own, attached nowhere; in place of the one
    /// that was made so before.
    pub fn another(&self, flow_capacity: u32) -> Result<Self> {
        let (lan, link, root) = (self.lan, self.link, self.root.clone());
        detach_at(&root, OTHER).context("remove the second data path")?;
        let dataplane = open(OTHER, &root, flow_capacity)?;
        Ok(Self { dataplane, lan, link, instance: OTHER, root })
    }

    /// How often the counter of this kind has counted.
    pub fn counted(&self, counter: Counter) -> Result<u64> {
        let counters = Inspector::open_at(&self.root, self.instance)?.counters()?;
        let found = counters.into_iter().find(|(known, _)| *known == counter);
        found.map(|(_, count)| count).context("there is a counter of every kind")
    }

    /// Makes the maps those of a site with so many presences, and as many allowed pairs.
    pub fn apply(&mut self, presences: u32) -> Result<()> {
        let tables = tables(presences, self.lan, self.link);
        ensure!(tables.presences.len() == presences as usize, "presences fill the pool");
        ensure!(tables.allows.len() == presences as usize, "a pair each");
        self.dataplane.apply(&tables).context("fill the maps")?;
        Ok(())
    }
}

/// Presence `n` stands for the service whose transit address is that of presence `n ^ 1`; a client
/// becomes the one half a network further.
fn tables(presences: u32, lan: u32, link: u32) -> Tables {
    let mut tables = Tables::default();
    let mut settings = Settings {
        pool: Prefix::new(POOL.into(), 15),
        transit: Prefix::new(Ipv4::from(Ipv4Addr::new(240, 0, 0, 0)), 4),
        block: Prefix::new(Ipv4::from(Ipv4Addr::new(240, 0, 16, 0)), 23),
        network_count: 1,
        ..Settings::default()
    };
    settings.networks[0] = Network {
        prefix: settings.block,
        first: 256,
        interface: lan,
        mtu: 1500,
        mac: MAC,
        flags: NetworkFlags::default(),
    };
    tables.settings = settings;
    let granule = |address: Ipv4| Route::granule(&settings.transit, TransitAddress(address));
    tables.routes.insert(
        granule(settings.block.base()),
        Route { site: SiteNumber(1), link: 0, second: 0, mtu: 1420 },
    );
    for number in 0..presences {
        let service = TransitAddress(settings.pool.at(number ^ 1));
        let presence = gateway_common::LocalAddress(settings.pool.at(number));
        tables
            .routes
            .insert(granule(service.0), Route { site: SiteNumber(2), link, second: 0, mtu: 1420 });
        tables.presences.insert(number, Presence::new(PresenceKind::Service(service)));
        tables.services.insert(service, Service::new(ServiceKind::Elsewhere { presence }));
        tables.ports.insert(PortKey::any_port(service, Protocol::UDP), PortMapping::SAME);
        // The first two services are for the clients of the frames, the rest for one client each.
        let client = TransitAddress(settings.block.at(number % 250));
        let bits = if number < 2 { 23 } else { 32 };
        tables.allows.insert(
            AllowKey::clients(service, client, bits),
            Allow::new(1 + number, ClientAddress::Elsewhere),
        );
    }
    tables
}

/// A UDP packet with 64 octets of payload from the client to presence number `presence`.
pub fn frame(presence: u32) -> Result<Vec<u8>> {
    let pool = Prefix::new(POOL.into(), 15);
    let packet = PacketDescription {
        source: CLIENT,
        destination: pool.at(presence).into(),
        ttl: 255,
        part: Part::default(),
        transport: TransportDescription::Udp { source: 40_000, destination: 53 },
        payload: 64,
    };
    let mut frame = packet.frame()?;
    frame[..6].copy_from_slice(&MAC);
    Ok(frame)
}

/// What some runs of a program for traffic control came to.
#[derive(Debug, Clone)]
pub struct Runs {
    /// The kernel's own measure of one run.
    pub each: Duration,
    /// What the last one returned.
    pub action: u32,
    /// The frame that the last one left.
    pub frame: Vec<u8>,
}

/// Runs a program for traffic control on one frame that came in on `device`.
pub fn run_classifier(
    program: &SchedClassifier,
    frame: &[u8],
    device: u32,
    repeat: u32,
) -> Result<Runs> {
    // `ingress_ifindex` and `ifindex` of `struct __sk_buff` (linux/bpf.h).
    let context: Vec<u8> = [[0; 9].as_slice(), &[device; 2]]
        .concat()
        .iter()
        .flat_map(|it: &u32| it.to_ne_bytes())
        .collect();
    let mut after = vec![0; frame.len() + 64];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut after),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::new()
        })
        .context("run a program on a frame")?;
    after.truncate(result.data_size_out as usize);
    Ok(Runs { each: result.duration, action: result.return_value, frame: after })
}
