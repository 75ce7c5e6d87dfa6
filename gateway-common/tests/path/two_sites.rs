//! Two sites with the same addresses, as tables in memory, and builders for the frames between them.
//! Frames are built and read back by etherparse, which shares no code with the path.

use crate::frames::internet_checksum;
use etherparse::{IpNumber, PacketBuilder, SlicedPacket, TransportSlice};
use gateway_common::{
    LocalAddress, Port, Prefix, Protocol, Ticks, TransitAddress, desired,
    host::MemoryTables,
    map::{
        Allow, AllowKey, ClientAddress, Network, NetworkFlags, PortKey, PortMapping, Presence,
        PresenceKind, Route, Service, ServiceKind, Settings, SiteNumber, Timeouts,
    },
    path::Arrival,
};

pub(crate) const LAN: u32 = 7;
pub(crate) const LINK: u32 = 9;
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
/// The same in both sites.
pub(crate) const CLIENT: [u8; 4] = [10, 0, 0, 5];
pub(crate) const STRANGER: [u8; 4] = [10, 0, 0, 66];
pub(crate) const SERVER: [u8; 4] = [10, 0, 0, 10];
pub(crate) const PRESENCE: [u8; 4] = [10, 0, 0, 200];
pub(crate) const UNASSIGNED: [u8; 4] = [10, 0, 0, 201];
pub(crate) const CLIENTS: [u8; 4] = [10, 0, 0, 250];
pub(crate) const RULE: u32 = 4;
pub(crate) const MSS: u16 = 1380;

pub(crate) fn address(octets: [u8; 4]) -> LocalAddress {
    std::net::Ipv4Addr::from(octets).into()
}

pub(crate) fn transit(octets: [u8; 4]) -> TransitAddress {
    std::net::Ipv4Addr::from(octets).into()
}

/// 240.0.0.0/20 is the cloud's, 240.0.16.0/20 edge A's, 240.0.32.0/20 edge B's.
fn block(site: u8) -> Prefix {
    Prefix::new(transit([240, 0, site * 16, 0]).0, 20)
}

/// The cloud's service number 1.
pub(crate) fn service() -> TransitAddress {
    Settings::service_address(&block(0), 1)
}

pub(crate) fn route(site: u32, link: u32) -> Route {
    Route { site: SiteNumber(site), link, second: 0, mtu: u32::from(MSS) + 40 }
}

fn settings(site: u8) -> Settings {
    let mut settings = Settings {
        pool: Prefix::new(address([10, 0, 0, 192]).0, 26),
        transit: Prefix::new(transit([240, 0, 0, 0]).0, 4),
        block: block(site),
        network_count: 1,
        timeouts: Timeouts::default(),
        ..Settings::default()
    };
    settings.networks[0] = Network {
        prefix: Prefix::new(address([10, 0, 0, 0]).0, 24),
        first: 0,
        interface: LAN,
        mac: GATEWAY_MAC,
        mtu: 1500,
        flags: NetworkFlags::default(),
    };
    settings
}

/// Ports: tcp/5672, tcp/8000-8007, tcp/80 served at 8080, udp/53, sctp/3868, any port of protocol 47, and echo.
fn tables(site: u8, clients: ClientAddress) -> desired::Tables {
    let mut tables = desired::Tables { settings: settings(site), ..Default::default() };
    for other in 0..3u8 {
        let link = if other == site { 0 } else { LINK };
        tables.routes.insert(u32::from(other), route(1 + u32::from(other), link));
    }
    let ports = [
        (PortKey::ports(service(), Protocol::TCP, 5672, 16), PortMapping::SAME),
        (PortKey::ports(service(), Protocol::TCP, 8000, 13), PortMapping::SAME),
        (PortKey::ports(service(), Protocol::TCP, 80, 16), PortMapping::to(Port::new(8080))),
        (PortKey::ports(service(), Protocol::UDP, 53, 16), PortMapping::SAME),
        (PortKey::ports(service(), Protocol::SCTP, 3868, 16), PortMapping::SAME),
        (PortKey::any_port(service(), Protocol(47)), PortMapping::SAME),
        (PortKey::ports(service(), Protocol::ICMP, 0, 16), PortMapping::SAME),
    ];
    tables.ports.extend(ports);
    // Edge A's client 10.0.0.5 alone.
    tables.allows.insert(
        AllowKey::clients(service(), transit([240, 0, 16, 5]), 32),
        Allow::new(RULE, clients),
    );
    tables
}

/// Edge A, where the service is exposed.
pub(crate) fn edge() -> MemoryTables {
    let mut tables = tables(1, ClientAddress::Elsewhere);
    let elsewhere = ServiceKind::Elsewhere { presence: address(PRESENCE) };
    tables.services.insert(service(), Service::new(elsewhere));
    tables.presences.insert(8, Presence::new(PresenceKind::Service(service())));
    MemoryTables::new(tables, 64)
}

/// The cloud, where it is served.
pub(crate) fn cloud() -> MemoryTables {
    let mut tables = tables(0, ClientAddress::Shared(address(CLIENTS)));
    tables.serve(service(), &[address(SERVER)]);
    tables.presences.insert(58, Presence::new(PresenceKind::Client));
    MemoryTables::new(tables, 64)
}

/// The same with links and LANs that carry everything in one piece.
pub(crate) fn roomy(mut tables: MemoryTables) -> MemoryTables {
    tables.desired.routes.values_mut().for_each(|route| route.mtu = 65_535);
    tables.desired.settings.networks[0].mtu = 65_535;
    tables
}

pub(crate) fn from_lan() -> Arrival {
    Arrival { interface: LAN, ip: 14, for_us: true, tagged: false, packets: 1, now: Ticks(1000) }
}

pub(crate) fn from_link() -> Arrival {
    Arrival { interface: LINK, ip: 0, for_us: true, tagged: false, packets: 1, now: Ticks(1000) }
}

/// TCP control bits that a test sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    Syn,
    SynAck,
    Ack,
    FinAck,
    Rst,
}

/// What a test frame carries.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    Tcp(u16, u16, Bits),
    Udp(u16, u16),
    EchoRequest(u16),
    EchoReply(u16),
    Other(u8),
}

/// An Ethernet frame; without the first 14 octets it is what a link carries.
pub(crate) fn frame(source: [u8; 4], destination: [u8; 4], load: &Load, payload: &[u8]) -> Vec<u8> {
    let ip = PacketBuilder::ethernet2(HOST_MAC, GATEWAY_MAC).ipv4(source, destination, 64);
    let mut bytes = Vec::new();
    match *load {
        Load::Tcp(from, to, bits) => {
            let tcp = ip.tcp(from, to, 1_000_000, 29_200);
            let tcp = match bits {
                Bits::Syn => tcp.syn(),
                Bits::SynAck => tcp.syn().ack(77),
                Bits::Ack => tcp.ack(77),
                Bits::FinAck => tcp.fin().ack(77),
                Bits::Rst => tcp.rst(),
            };
            let tcp = if matches!(bits, Bits::Syn | Bits::SynAck) {
                tcp.options(&[etherparse::TcpOptionElement::MaximumSegmentSize(1460)])
                    .expect("one option fits")
            } else {
                tcp
            };
            tcp.write(&mut bytes, payload).expect("writing to memory");
        }
        Load::Udp(from, to) => {
            ip.udp(from, to).write(&mut bytes, payload).expect("writing to memory");
        }
        Load::EchoRequest(identifier) => {
            ip.icmpv4_echo_request(identifier, 3).write(&mut bytes, payload).expect("to memory");
        }
        Load::EchoReply(identifier) => {
            ip.icmpv4_echo_reply(identifier, 3).write(&mut bytes, payload).expect("to memory");
        }
        Load::Other(number) => {
            ip.write(&mut bytes, IpNumber(number), payload).expect("writing to memory");
        }
    }
    bytes
}

/// What etherparse reads in a frame: addresses, ports or identifier, and the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) source: ([u8; 4], u16),
    pub(crate) destination: ([u8; 4], u16),
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

/// Reads an IP packet back. Panics where it is malformed or a checksum in it is wrong.
pub(crate) fn seen(ip: &[u8]) -> Seen {
    let packet = SlicedPacket::from_ip(ip).expect("a whole IP packet");
    let Some(etherparse::NetSlice::Ipv4(ipv4)) = &packet.net else { panic!("not IPv4") };
    let header = ipv4.header();
    assert_eq!(internet_checksum(header.slice()), [0, 0], "IP checksum");
    let (source, destination) = (header.source(), header.destination());
    let (from, to, payload) = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let sum = tcp.calc_checksum_ipv4(source, destination).expect("a TCP checksum");
            assert_eq!(tcp.checksum(), sum, "TCP checksum");
            (tcp.source_port(), tcp.destination_port(), tcp.payload())
        }
        Some(TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            if header.checksum != 0 {
                let sum = header
                    .calc_checksum_ipv4_raw(source, destination, udp.payload())
                    .expect("a UDP checksum");
                assert_eq!(header.checksum, sum, "UDP checksum");
            }
            (udp.source_port(), udp.destination_port(), udp.payload())
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            let kind = icmp.icmp_type();
            assert_eq!(icmp.header().checksum, kind.calc_checksum(icmp.payload()), "ICMP checksum");
            match kind {
                etherparse::Icmpv4Type::EchoRequest(echo) => (echo.id, 0, icmp.payload()),
                etherparse::Icmpv4Type::EchoReply(echo) => (0, echo.id, icmp.payload()),
                other => panic!("unexpected ICMP {other:?}"),
            }
        }
        _ => (0, 0, ipv4.payload().payload),
    };
    Seen {
        source: (source, from),
        destination: (destination, to),
        ttl: header.ttl(),
        payload: payload.to_vec(),
    }
}
