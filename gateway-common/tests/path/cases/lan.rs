//! Hosts of the edge's LAN to presences: who may open what, where it goes, and what is none of our business.

use super::{
    gateway::{HOST, OTHER_LAN},
    *,
};
use crate::frames::{sctp, with, with_ttl};
use gateway_common::map::{
    Allow, AllowKey, ClientAddress, Presence, PresenceKind, Service, ServiceKind, UsageKey,
};

/// A SYN to the presence from this host.
fn from(source: [u8; 4]) -> Vec<u8> {
    frame(source, PRESENCE, &SYN, b"")
}

/// A SYN of the client's to this host.
fn to(destination: [u8; 4]) -> Vec<u8> {
    frame(CLIENT, destination, &SYN, b"")
}

fn tcp(port: u16, bits: Bits) -> Vec<u8> {
    at_edge(Load::Tcp(40_000, port, bits), b"")
}

fn allow(gateway: &mut Gateway, client: [u8; 4], bits: u32) {
    let key = AllowKey::clients(service(), transit(client), bits);
    gateway.tables.desired.allows.insert(key, Allow::new(RULE, ClientAddress::Elsewhere));
}

pub(super) fn cases() -> Vec<Case> {
    [loads(), openings(), senders(), receivers(), limits()].into_iter().flatten().collect()
}

/// What a service declares, and what it does not.
fn loads() -> Vec<Case> {
    let association = |port, tag, chunk| at_edge(SCTP, &sctp(5000, port, tag, chunk));
    vec![
        edge_lan("syn to a service", tcp(5672, Bits::Syn))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("first port of a range", tcp(8000, Bits::Syn))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:8000 ttl 63 mss 1380"),
        edge_lan("last port of a range", tcp(8007, Bits::Syn))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:8007 ttl 63 mss 1380"),
        edge_lan("below a range", tcp(7999, Bits::Syn)).refused(Reason::PortNotServed),
        edge_lan("behind a range", tcp(8008, Bits::Syn)).refused(Reason::PortNotServed),
        edge_lan("a port that the other site translates", tcp(80, Bits::Syn))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:80 ttl 63 mss 1380"),
        edge_lan("a back end's port", tcp(8080, Bits::Syn)).refused(Reason::PortNotServed),
        edge_lan("a datagram from port 0", at_edge(Load::Udp(0, 53), b""))
            .into_link("udp 240.0.16.5:0 > 240.0.8.1:53 ttl 63"),
        edge_lan("a declared port of another protocol", at_edge(Load::Udp(1, 5672), b""))
            .refused(Reason::PortNotServed),
        edge_lan("a datagram", at_edge(QUERY, b"query"))
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 'query'"),
        edge_lan("a datagram without a checksum", with(at_edge(QUERY, b"query"), 26, &[0, 0]))
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 unsummed 'query'"),
        // Its sum in links is 0, which would mean none (RFC 768).
        edge_lan(
            "a datagram whose checksum comes out as zero",
            at_edge(Load::Udp(36_131, 53), b"zz"),
        )
        .into_link("udp 240.0.16.5:36131 > 240.0.8.1:53 ttl 63 'zz'"),
        edge_lan("octets behind a datagram", {
            let mut bytes = at_edge(QUERY, b"query");
            bytes.extend(b"padding");
            bytes
        })
        .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 'query'"),
        edge_lan("an echo request", at_edge(PING, b"ping"))
            .into_link("ping 240.0.16.5 > 240.0.8.1 id 77 ttl 63 'ping'"),
        edge_lan("an echo reply that nobody asked for", at_edge(Load::EchoReply(1), b"pong"))
            .refused(Reason::PortNotServed),
        edge_lan("an echo reply with identifier 0", at_edge(Load::EchoReply(0), b"pong"))
            .refused(Reason::IcmpType),
        edge_lan("an echo request to a service that is not pinged", at_edge(PING, b"ping"))
            .given(|gateway| {
                gateway.tables.desired.ports.retain(|key, _| key.protocol().0 != 1);
            })
            .refused(Reason::PortNotServed),
        edge_lan("a protocol by number", at_edge(GRE, b"gre"))
            .into_link("ip/47 240.0.16.5 > 240.0.8.1 ttl 63 'gre'"),
        edge_lan("a protocol by number with nothing in it", at_edge(GRE, b""))
            .into_link("ip/47 240.0.16.5 > 240.0.8.1 ttl 63"),
        edge_lan("an undeclared protocol", at_edge(Load::Other(50), b"esp"))
            .refused(Reason::PortNotServed),
        edge_lan("sctp that asks for an association", association(3868, 0, 1))
            .into_link("sctp 240.0.16.5:5000 > 240.0.8.1:3868 ttl 63"),
        edge_lan("sctp to another port", association(3869, 0, 1)).refused(Reason::PortNotServed),
        edge_lan("sctp that asks, with a tag", association(3868, 9, 1)).refused(Reason::NoFlow),
        edge_lan("sctp data first", association(3868, 9, 0)).refused(Reason::NoFlow),
        edge_lan("sctp data without a tag first", association(3868, 0, 0)).refused(Reason::NoFlow),
        edge_lan("sctp that takes an association first", association(3868, 9, 2))
            .refused(Reason::NoFlow),
        edge_lan("sctp abort first", association(3868, 9, 6)).refused(Reason::NoFlow),
    ]
}

/// How TCP opens, and how it goes on while the gateway takes over connections that it does not know.
fn openings() -> Vec<Case> {
    vec![
        edge_lan("tcp without a handshake", tcp(5672, Bits::Ack)).refused(Reason::NoFlow),
        edge_lan("syn and ack first", tcp(5672, Bits::SynAck)).refused(Reason::NoFlow),
        edge_lan("reset first", tcp(5672, Bits::Rst)).refused(Reason::NoFlow),
        edge_lan("fin first", tcp(5672, Bits::FinAck)).refused(Reason::NoFlow),
        edge_lan("tcp that goes on while connections are adopted", at_edge(DATA, b"data"))
            .given(|gateway| gateway.tables.desired.settings.adopt = 1)
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 'data'"),
        edge_lan("what was adopted closing, long after", tcp(5672, Bits::Ack))
            .given(|gateway| {
                gateway.tables.desired.settings.adopt = 1;
                gateway.carry_from_lan(&tcp(5672, Bits::FinAck));
                gateway.tables.desired.settings.adopt = 0;
                gateway.wait_longer(300_000);
            })
            .refused(Reason::NoFlow),
        edge_lan("reset while connections are adopted", tcp(5672, Bits::Rst))
            .given(|gateway| gateway.tables.desired.settings.adopt = 1)
            .refused(Reason::NoFlow),
        edge_lan("syn and ack while connections are adopted", tcp(5672, Bits::SynAck))
            .given(|gateway| gateway.tables.desired.settings.adopt = 1)
            .refused(Reason::NoFlow),
        edge_lan("tcp of a stranger while connections are adopted", {
            frame(STRANGER, PRESENCE, &DATA, b"")
        })
        .given(|gateway| gateway.tables.desired.settings.adopt = 1)
        .refused(Reason::NoPolicy),
    ]
}

fn senders() -> Vec<Case> {
    vec![
        edge_lan("a client without permission", from(STRANGER)).refused(Reason::NoPolicy),
        edge_lan("a permission for a whole site", from(STRANGER))
            .given(|gateway| allow(gateway, [240, 0, 16, 0], 20))
            .into_link("tcp 240.0.16.66:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("a permission for the neighbours", from(STRANGER))
            .given(|gateway| allow(gateway, [240, 0, 16, 68], 30))
            .refused(Reason::NoPolicy),
        edge_lan("a permission for another service", from(STRANGER))
            .given(|gateway| {
                let other = transit([240, 0, 8, 2]);
                let key = AllowKey::clients(other, transit(EDGE_STRANGER), 32);
                let allow = Allow::new(RULE, ClientAddress::Elsewhere);
                gateway.tables.desired.allows.insert(key, allow);
            })
            .refused(Reason::NoPolicy),
        edge_lan("a presence as sender", from(UNASSIGNED)).refused(Reason::SpoofedSource),
        edge_lan("the presence itself as sender", from(PRESENCE)).refused(Reason::SpoofedSource),
        edge_lan("a sender of no client network", from([192, 0, 2, 1])).refused(Reason::NotAClient),
        edge_lan("a transit address as sender", from(EDGE_CLIENT)).refused(Reason::NotAClient),
        edge_lan("a service's transit address as sender", from(SERVICE))
            .refused(Reason::NotAClient),
        edge_lan("a multicast group as sender", from([224, 0, 0, 5])).refused(Reason::NotAClient),
        edge_lan("loopback as sender", from([127, 0, 0, 1])).refused(Reason::NotAClient),
        edge_lan("no address as sender", from([0; 4])).refused(Reason::NotAClient),
        edge_lan("everybody as sender", from([255; 4])).refused(Reason::NotAClient),
        edge_lan("a sender behind another interface", from(CLIENT))
            .given(|gateway| gateway.arrival.interface = OTHER_LAN)
            .refused(Reason::WrongInterface),
        edge_lan("a host of a second lan", from([172, 16, 0, 9]))
            .given(|gateway| {
                gateway.has_other_lan();
                gateway.arrival.interface = OTHER_LAN;
                allow(gateway, [240, 0, 17, 9], 32);
            })
            .into_link("tcp 240.0.17.9:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("a second lan's address on the first", from([172, 16, 0, 9]))
            .given(|gateway| {
                gateway.has_other_lan();
                allow(gateway, [240, 0, 17, 9], 32);
            })
            .refused(Reason::WrongInterface),
        edge_lan("the gateway host itself", from([10, 0, 0, 1]))
            .given(|gateway| {
                gateway.has_host();
                gateway.arrival.interface = HOST;
                allow(gateway, [240, 0, 17, 0], 32);
            })
            .into_link("tcp 240.0.17.0:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("the gateway host's address on the lan", from([10, 0, 0, 1]))
            .given(|gateway| {
                gateway.has_host();
                allow(gateway, [240, 0, 17, 0], 32);
            })
            .refused(Reason::WrongInterface),
        edge_lan("a client's address from the gateway host", from(CLIENT))
            .given(|gateway| {
                gateway.has_host();
                gateway.arrival.interface = HOST;
            })
            .refused(Reason::WrongInterface),
        edge_lan("the gateway host without permission", from([10, 0, 0, 1]))
            .given(|gateway| {
                gateway.has_host();
                gateway.arrival.interface = HOST;
            })
            .refused(Reason::NoPolicy),
    ]
}

fn receivers() -> Vec<Case> {
    let other_type = |ether_type: [u8; 2]| {
        let mut bytes = from(CLIENT);
        bytes[12..14].copy_from_slice(&ether_type);
        bytes
    };
    vec![
        edge_lan("an unassigned presence", to(UNASSIGNED)).refused(Reason::NoPresence),
        edge_lan("the first address of the pool", to([10, 0, 0, 192])).refused(Reason::NoPresence),
        edge_lan("the last address of the pool", to([10, 0, 0, 255])).refused(Reason::NoPresence),
        edge_lan("the address before the pool", to([10, 0, 0, 191])).passes(),
        edge_lan("a presence that was taken back", from(CLIENT))
            .given(|gateway| {
                let nothing = Presence::new(PresenceKind::Nothing);
                gateway.tables.desired.presences.insert(8, nothing);
            })
            .refused(Reason::NoPresence),
        edge_lan("another host", to([10, 0, 0, 77])).passes(),
        edge_lan("the gateway", to([10, 0, 0, 1])).passes(),
        edge_lan("the internet", to([198, 51, 100, 1])).passes(),
        edge_lan("a multicast group", to([224, 0, 0, 251])).passes(),
        edge_lan("a transit address from the lan", to(SERVICE)).refused(Reason::TransitOnLan),
        edge_lan("the transit address of a client", to(EDGE_CLIENT)).refused(Reason::TransitOnLan),
        edge_lan("everybody on the lan, which is not for the gateway alone", to([255; 4]))
            .given(|gateway| gateway.arrival.for_us = false)
            .passes(),
        edge_lan("a frame for another host's hardware address", from(CLIENT))
            .given(|gateway| gateway.arrival.for_us = false)
            .passes(),
        edge_lan("a transit address for another host's hardware address", to(SERVICE))
            .given(|gateway| gateway.arrival.for_us = false)
            .passes(),
        edge_lan("ipv6", other_type([0x86, 0xdd])).passes(),
        edge_lan("a vlan tag", other_type([0x81, 0])).passes(),
        edge_lan("before any settings", from(CLIENT))
            .given(|gateway| gateway.tables.desired.settings.generation = 0)
            .passes(),
    ]
}

/// What stands in the way of an allowed packet.
fn limits() -> Vec<Case> {
    vec![
        edge_lan("a service whose site has no link", from(CLIENT))
            .given(|gateway| gateway.tables.desired.routes.clear())
            .refused(Reason::NoRoute),
        edge_lan("a service in this site's own block", from(CLIENT))
            .given(|gateway| {
                gateway.tables.desired.routes.insert(0, route(2, 0));
            })
            .refused(Reason::NoRoute),
        edge_lan("a service behind another link", from(CLIENT))
            .given(|gateway| {
                gateway.tables.desired.routes.insert(0, route(1, LINK + 3));
            })
            .sent(Way::Link, LINK + 3, "tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("a presence of a service that is gone", from(CLIENT))
            .given(|gateway| gateway.tables.desired.services.clear())
            .refused(Reason::NoService),
        edge_lan("a presence of a service of an unknown kind", from(CLIENT))
            .given(|gateway| {
                let unknown = Service::new(ServiceKind::Unknown);
                gateway.tables.desired.services.insert(service(), unknown);
            })
            .refused(Reason::NoService),
        edge_lan("a full flow table", from(CLIENT))
            .given(|gateway| gateway.tables.opening_capacity = 0)
            .refused(Reason::FlowTableFull),
        edge_lan("a client with as many flows as it may have", from(CLIENT))
            .given(|gateway| {
                gateway.tables.desired.settings.client_flows = 3;
                gateway.tables.set_usage(UsageKey::client(transit(EDGE_CLIENT)), 3);
            })
            .refused(Reason::ClientQuota),
        edge_lan("a client with one flow less", from(CLIENT))
            .given(|gateway| {
                gateway.tables.desired.settings.client_flows = 3;
                gateway.tables.set_usage(UsageKey::client(transit(EDGE_CLIENT)), 2);
            })
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("a known flow of a client with too many", at_edge(DATA, b"data"))
            .given(|gateway| {
                gateway.open();
                gateway.tables.desired.settings.client_flows = 3;
                gateway.tables.set_usage(UsageKey::client(transit(EDGE_CLIENT)), 9);
            })
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 'data'"),
        edge_lan("a quota that another client has used up", from(CLIENT))
            .given(|gateway| {
                gateway.tables.desired.settings.client_flows = 3;
                gateway.tables.set_usage(UsageKey::client(transit(EDGE_STRANGER)), 9);
            })
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("a site's quota counts at the other end", from(CLIENT))
            .given(|gateway| gateway.tables.desired.settings.site_flows = 1)
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("the last hop but one", with_ttl(from(CLIENT), 2))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 1 mss 1380"),
    ]
}
