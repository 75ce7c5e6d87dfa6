//! A place to try the data path: a namespace with devices, a directory of its own in the BPF file system
//! and a site's tables. Used by `lifecycle`, `attachments` and `path_kernel`; all of it is gone when the value is.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use gateway_common::{
    Ipv4, LocalAddress, Port, Prefix, Protocol, TransitAddress,
    desired::Tables,
    map::{
        ABI, Allow, AllowKey, ClientAddress, Name, NameKey, NameKind, Network, NetworkFlags,
        PortKey, PortMapping, Presence, PresenceKind, Route, Service, ServiceKind, Settings,
        SiteNumber,
    },
    wire::TcpFlags,
};
use gateway_dataplane::{
    BPFFS, DataPlane, Inspector, Options, PacketDescription, Part, TransportDescription, detach_at,
};
use vm_tests::lab::namespace::Namespace;

/// The instance that most tests use.
pub(crate) const INSTANCE: &str = "edge-a";

/// A namespace and a directory for pins.
pub(crate) struct Bench {
    namespace: Namespace,
    root: PathBuf,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "presence-bench-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let namespace = Namespace::create(&unique).unwrap_or_else(|error| {
            panic!("{name}: these tests make namespaces, which takes root: {error:#}")
        });
        Self { namespace, root: Path::new(BPFFS).join(unique) }
    }

    /// Runs the test's body inside the namespace.
    pub(crate) fn run(&self, body: impl FnOnce() + Send) {
        self.namespace.run(body).expect("the namespace can be entered");
    }

    pub(crate) fn ip(&self, words: &str) {
        self.namespace.ip(words).unwrap_or_else(|error| panic!("{error:#}"));
    }

    pub(crate) fn options(&self) -> Options {
        Options { root: self.root.clone(), ..Options::default() }
    }

    pub(crate) fn open(&self, instance: &str) -> DataPlane {
        DataPlane::open(instance, &self.options())
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn inspect(&self, instance: &str) -> Inspector {
        Inspector::open_at(&self.root, instance).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let instances = fs::read_dir(self.root.join("presence")).into_iter().flatten().flatten();
        for instance in instances {
            // Inside the namespace, where the filters are.
            let root = self.root.clone();
            let _ = self
                .namespace
                .run(move || detach_at(&root, &instance.file_name().to_string_lossy()).map(|_| ()));
        }
        let _ = fs::remove_dir_all(&self.root);
        let _ = self.namespace.remove();
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}

/// Index of a device in the namespace that this thread is in.
pub(crate) fn index(device: &str) -> u32 {
    nix::net::if_::if_nametoindex(device).unwrap_or_else(|error| panic!("{device}: {error}"))
}

/// The devices of a site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Devices {
    pub(crate) lan: u32,
    pub(crate) second_lan: u32,
    pub(crate) link: u32,
    pub(crate) second_link: u32,
}

pub(crate) fn local(a: u8, b: u8, c: u8, d: u8) -> LocalAddress {
    Ipv4Addr::new(a, b, c, d).into()
}

pub(crate) fn transit(a: u8, b: u8, c: u8, d: u8) -> TransitAddress {
    Ipv4Addr::new(a, b, c, d).into()
}

fn prefix(a: u8, b: u8, c: u8, d: u8, length: u8) -> Prefix {
    Prefix::new(Ipv4::from(Ipv4Addr::new(a, b, c, d)), length)
}

/// The site's hardware address in answers to ARP.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Site 1 with two client networks; site 2 by the first link, sites 3 and 4 by the second. Two services
/// of other sites are exposed, two are the site's own.
pub(crate) fn site(devices: Devices) -> Tables {
    let mut tables = Tables::default();
    let mut settings = Settings {
        relay: 1,
        pool: prefix(10, 0, 0, 192, 26),
        transit: prefix(240, 0, 0, 0, 4),
        block: prefix(240, 0, 16, 0, 20),
        network_count: 2,
        ..Settings::default()
    };
    settings.networks[0] = Network {
        prefix: prefix(10, 0, 0, 0, 24),
        first: 0,
        interface: devices.lan,
        mac: MAC,
        mtu: 1500,
        flags: NetworkFlags::default(),
    };
    settings.networks[1] = Network {
        prefix: prefix(10, 0, 1, 0, 24),
        first: 256,
        interface: devices.second_lan,
        mac: MAC,
        mtu: 1500,
        flags: NetworkFlags::default(),
    };
    tables.settings = settings;
    for (site, base, link) in [
        (1, transit(240, 0, 16, 0), 0),
        (2, transit(240, 0, 0, 0), devices.link),
        (3, transit(240, 0, 32, 0), devices.second_link),
        (4, transit(240, 0, 48, 0), devices.second_link),
    ] {
        let granule = Route::granule(&settings.transit, base);
        tables.routes.insert(granule, Route { site: SiteNumber(site), link, second: 0, mtu: 1420 });
        tables.names.insert(NameKey::new(NameKind::Site, site), name(&format!("site-{site}")));
    }
    let elsewhere = [
        (transit(240, 0, 8, 1), local(10, 0, 0, 200)),
        (transit(240, 0, 40, 1), local(10, 0, 0, 201)),
    ];
    let here = [
        (transit(240, 0, 24, 1), local(10, 0, 0, 10)),
        (transit(240, 0, 24, 2), local(10, 0, 1, 10)),
    ];
    let clients = local(10, 0, 0, 250);
    let offset = |address: LocalAddress| settings.pool.offset(address.0);
    tables.presences.insert(offset(clients), Presence::new(PresenceKind::Client));
    for (service, presence) in elsewhere {
        let value = Service::new(ServiceKind::Elsewhere { presence });
        tables.services.insert(service, value);
        tables.presences.insert(offset(presence), Presence::new(PresenceKind::Service(service)));
    }
    for (service, backend) in here {
        tables.serve(service, &[backend]);
    }
    for (service, _) in elsewhere.into_iter().chain(here) {
        let mut declare = |key, mapping| tables.ports.insert(key, mapping);
        declare(PortKey::ports(service, Protocol::TCP, 5672, 16), PortMapping::SAME);
        declare(PortKey::ports(service, Protocol::TCP, 8000, 12), PortMapping::SAME);
        declare(PortKey::any_port(service, Protocol::UDP), PortMapping::SAME);
        declare(PortKey::any_port(service, Protocol::ICMP), PortMapping::SAME);
        declare(PortKey::any_port(service, Protocol(47)), PortMapping::SAME);
        declare(PortKey::ports(service, Protocol::SCTP, 3868, 16), PortMapping::SAME);
        let translated = PortMapping::to(Port::new(8080));
        declare(PortKey::ports(service, Protocol::TCP, 80, 16), translated);
    }
    // This site's clients may use what is elsewhere, but for a quarter of one network; everybody else
    // may use what is here, but for half of site 3.
    let allowed = [
        (elsewhere[0].0, transit(240, 0, 16, 0), 24, 1),
        (elsewhere[1].0, transit(240, 0, 16, 0), 25, 2),
        (elsewhere[1].0, transit(240, 0, 17, 0), 24, 2),
        (here[0].0, transit(240, 0, 0, 0), 20, 3),
        (here[0].0, transit(240, 0, 32, 0), 25, 4),
        (here[1].0, transit(240, 0, 0, 0), 4, 5),
    ];
    for (service, client, bits, rule) in allowed {
        let appear = if here.iter().any(|(served, _)| *served == service) {
            ClientAddress::Shared(clients)
        } else {
            ClientAddress::Elsewhere
        };
        let allow = Allow::new(rule, appear);
        tables.allows.insert(AllowKey::clients(service, client, bits), allow);
        tables.names.insert(NameKey::new(NameKind::Rule, rule), name(&format!("rule-{rule}")));
    }
    tables
}

fn name(text: &str) -> Name {
    Name::new(text).expect("short")
}

pub(crate) fn pin(bench: &Bench, kind: &str, name: &str) -> PathBuf {
    bench.root().join(format!("presence/{INSTANCE}/v{ABI}/{kind}/{name}"))
}

/// A device with a driver that knows XDP, and its other end.
pub(crate) fn device(bench: &Bench, name: &str) {
    bench.ip(&format!("link add {name} address 02:00:00:00:00:01 type veth peer name {name}-peer"));
}

/// Devices without any wire, for programs that are run and not attached.
pub(crate) fn lan_and_links(bench: &Bench) -> Devices {
    for device in ["site0", "site1", "link0", "link1"] {
        self::device(bench, device);
    }
    Devices {
        lan: index("site0"),
        second_lan: index("site1"),
        link: index("link0"),
        second_link: index("link1"),
    }
}

pub(crate) fn syn(source: [u8; 4], destination: [u8; 4], port: u16) -> PacketDescription {
    PacketDescription {
        source: source.into(),
        destination: destination.into(),
        ttl: 64,
        part: Part::default(),
        transport: TransportDescription::Tcp {
            source: 40000,
            destination: port,
            flags: TcpFlags(TcpFlags::SYN),
        },
        payload: 0,
    }
}

pub(crate) fn ack(source: [u8; 4], destination: [u8; 4], port: u16) -> PacketDescription {
    let mut packet = syn(source, destination, port);
    if let TransportDescription::Tcp { flags, .. } = &mut packet.transport {
        *flags = TcpFlags(TcpFlags::ACK);
    }
    packet
}

/// The packet's frame, addressed to the bench's devices.
pub(crate) fn frame(packet: &PacketDescription) -> Vec<u8> {
    let mut frame = packet.frame().expect("it fits");
    frame[..6].copy_from_slice(&MAC);
    frame
}

pub(crate) fn tc(words: &str) -> String {
    output("tc", words)
}

pub(crate) fn bpftool(words: &str) -> String {
    output("bpftool", words)
}

/// What a program of this machine says, in the namespace of this thread.
pub(crate) fn output(program: &str, words: &str) -> String {
    let output = std::process::Command::new(program)
        .args(words.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
