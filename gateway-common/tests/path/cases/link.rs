//! Packets out of a link: at the service's site to back ends, and at a hub on to a third site.

use super::{
    gateway::{HOST, OTHER_LAN},
    *,
};
use crate::frames::{error, sctp, with, with_ttl};
use gateway_common::{
    LocalAddress, Port, Protocol,
    map::{
        Allow, AllowKey, ClientAddress, Endpoints, FlowKey, NatKey, Service, ServiceKind,
        SiteNumber, UsageKey,
    },
    tables::{Stage, Tables},
};

/// A SYN from this transit address to the service.
fn from(source: [u8; 4]) -> Vec<u8> {
    frame(source, SERVICE, &SYN, b"")
}

/// A SYN from the client to this transit address.
fn to(destination: [u8; 4]) -> Vec<u8> {
    frame(EDGE_CLIENT, destination, &SYN, b"")
}

/// A SYN from this port of the client's.
fn from_port(port: u16) -> Vec<u8> {
    to_cloud(Load::Tcp(port, 5672, Bits::Syn), b"")
}

fn allow(gateway: &mut Gateway, client: [u8; 4], bits: u32, clients: ClientAddress) {
    let key = AllowKey::clients(service(), transit(client), bits);
    gateway.tables.desired.allows.insert(key, Allow::new(RULE, clients));
}

/// Clients have presences of their own: 10.0.0.244 and on for 240.0.16.4 and on.
fn own_presences(gateway: &mut Gateway) {
    let own = ClientAddress::Own { first: address([10, 0, 0, 244]), hosts: 3 };
    gateway.tables.desired.allows.clear();
    allow(gateway, [240, 0, 16, 4], 30, own);
}

/// Any client of edge A may, by the shared client presence.
fn whole_site(gateway: &mut Gateway) {
    allow(gateway, [240, 0, 16, 0], 20, ClientAddress::Shared(address(CLIENTS)));
}

/// Ports of the client presence towards the back end belong to another flow.
fn take(gateway: &mut Gateway, presence: [u8; 4], ports: impl Iterator<Item = u16>) {
    gateway.tables.capacity = 1 << 16;
    for port in ports {
        let ends = Endpoints {
            client: address(presence),
            client_port: Port::new(port),
            service: address(SERVER),
            service_port: Port::new(5672),
        };
        let nat = NatKey::new(ends, Protocol::TCP);
        gateway.tables.insert_nat(Stage::Confirmed, &nat, &FlowKey::default());
    }
}

/// Back ends 10.0.0.10 to 10.0.0.13.
fn four_servers(gateway: &mut Gateway) {
    let servers: Vec<LocalAddress> = (10..14).map(|last| address([10, 0, 0, last])).collect();
    gateway.tables.desired.serve(service(), &servers);
}

fn hub(gateway: &mut Gateway) {
    gateway.tables.desired.settings.relay = 1;
}

pub(super) fn cases() -> Vec<Case> {
    [openings(), ports(), back_ends(), ends(), relayed()].into_iter().flatten().collect()
}

fn openings() -> Vec<Case> {
    let association = |port, tag, chunk| to_cloud(SCTP, &sctp(5000, port, tag, chunk));
    let tcp = |port, bits| to_cloud(Load::Tcp(40_000, port, bits), b"");
    vec![
        cloud_link("an allowed client", from(EDGE_CLIENT))
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 mss 1380"),
        cloud_link("a port served at another", tcp(80, Bits::Syn))
            .onto_lan("tcp 10.0.0.250:25891 > 10.0.0.10:8080 ttl 63 mss 1380"),
        cloud_link("a back end's port", tcp(8080, Bits::Syn)).refused(Reason::PortNotServed),
        cloud_link("a port that is not served", tcp(22, Bits::Syn)).refused(Reason::PortNotServed),
        cloud_link("a datagram", to_cloud(QUERY, b"query"))
            .onto_lan("udp 10.0.0.250:6272 > 10.0.0.10:53 ttl 63 'query'"),
        cloud_link("a datagram without a checksum", with(to_cloud(QUERY, b"query"), 26, &[0, 0]))
            .onto_lan("udp 10.0.0.250:6272 > 10.0.0.10:53 ttl 63 unsummed 'query'"),
        cloud_link("an echo request", to_cloud(PING, b"ping"))
            .onto_lan("ping 10.0.0.250 > 10.0.0.10 id 33421 ttl 63 'ping'"),
        cloud_link("an echo reply that nobody asked for", to_cloud(Load::EchoReply(0), b""))
            .refused(Reason::IcmpType),
        cloud_link("a protocol by number", to_cloud(GRE, b"gre"))
            .onto_lan("ip/47 10.0.0.250 > 10.0.0.10 ttl 63 'gre'"),
        cloud_link("an undeclared protocol", to_cloud(Load::Other(50), b"esp"))
            .refused(Reason::PortNotServed),
        cloud_link("sctp that asks for an association", association(3868, 0, 1))
            .onto_lan("sctp 10.0.0.250:5000 > 10.0.0.10:3868 ttl 63"),
        cloud_link("sctp to another port", association(3869, 0, 1)).refused(Reason::PortNotServed),
        cloud_link("sctp that asks, with a tag", association(3868, 9, 1)).refused(Reason::NoFlow),
        cloud_link("sctp data first", association(3868, 9, 0)).refused(Reason::NoFlow),
        cloud_link("sctp abort first", association(3868, 9, 6)).refused(Reason::NoFlow),
        cloud_link("tcp without a handshake", tcp(5672, Bits::Ack)).refused(Reason::NoFlow),
        cloud_link("tcp that goes on while connections are adopted", to_cloud(DATA, b"data"))
            .given(|gateway| gateway.tables.desired.settings.adopt = 1)
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 'data'"),
        cloud_link("a full flow table", from(EDGE_CLIENT))
            .given(|gateway| gateway.tables.opening_capacity = 0)
            .refused(Reason::FlowTableFull),
        cloud_link("a client with as many flows as it may have", from(EDGE_CLIENT))
            .given(|gateway| {
                gateway.tables.desired.settings.client_flows = 3;
                gateway.tables.set_usage(UsageKey::client(transit(EDGE_CLIENT)), 3);
            })
            .refused(Reason::ClientQuota),
        cloud_link("a site with as many flows as it may have", from(EDGE_CLIENT))
            .given(|gateway| {
                gateway.tables.desired.settings.site_flows = 5;
                gateway.tables.set_usage(UsageKey::site(SiteNumber(2)), 5);
            })
            .refused(Reason::SiteQuota),
        cloud_link("a site with one flow less", from(EDGE_CLIENT))
            .given(|gateway| {
                gateway.tables.desired.settings.site_flows = 5;
                gateway.tables.set_usage(UsageKey::site(SiteNumber(2)), 4);
                gateway.tables.set_usage(UsageKey::site(SiteNumber(3)), 9);
            })
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 mss 1380"),
    ]
}

/// Which port a client gets at the back end.
fn ports() -> Vec<Case> {
    vec![
        cloud_link("a client with a presence of its own keeps its port", from(EDGE_CLIENT))
            .given(own_presences)
            .onto_lan("tcp 10.0.0.245:40000 > 10.0.0.10:5672 ttl 63 mss 1380"),
        cloud_link("the next client has the next presence", from([240, 0, 16, 6]))
            .given(own_presences)
            .onto_lan("tcp 10.0.0.246:40000 > 10.0.0.10:5672 ttl 63 mss 1380"),
        cloud_link("a client beyond those with presences", from([240, 0, 16, 8]))
            .given(own_presences)
            .refused(Reason::NoPolicy),
        cloud_link("a client whose own port is taken", from(EDGE_CLIENT))
            .given(|gateway| {
                own_presences(gateway);
                take(gateway, [10, 0, 0, 245], [40_000].into_iter());
            })
            .refused(Reason::PortsExhausted),
        cloud_link("a flow whose first port is taken gets its second", from(EDGE_CLIENT))
            .given(|gateway| take(gateway, CLIENTS, [SYN_PORT].into_iter()))
            .onto_lan("tcp 10.0.0.250:32214 > 10.0.0.10:5672 ttl 63 mss 1380"),
        cloud_link("no port is free", from(EDGE_CLIENT))
            .given(|gateway| take(gateway, CLIENTS, 1024..=u16::MAX))
            .refused(Reason::PortsExhausted),
        cloud_link("the same flow again has its port again", from(EDGE_CLIENT))
            .given(Gateway::opening)
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 mss 1380"),
        cloud_link("a second client of a protocol without ports", {
            frame(EDGE_STRANGER, SERVICE, &GRE, b"gre")
        })
        .given(|gateway| {
            whole_site(gateway);
            gateway.tunnelled();
        })
        .refused(Reason::PortsExhausted),
        cloud_link("a second sctp client with the same port", {
            frame(EDGE_STRANGER, SERVICE, &SCTP, &sctp(5000, 3868, 0, 1))
        })
        .given(|gateway| {
            whole_site(gateway);
            gateway.associated();
        })
        .refused(Reason::PortsExhausted),
        cloud_link("a second sctp client with another port", {
            frame(EDGE_STRANGER, SERVICE, &SCTP, &sctp(5001, 3868, 0, 1))
        })
        .given(|gateway| {
            whole_site(gateway);
            gateway.associated();
        })
        .onto_lan("sctp 10.0.0.250:5001 > 10.0.0.10:3868 ttl 63"),
    ]
}

fn back_ends() -> Vec<Case> {
    vec![
        cloud_link("the first of four back ends", from_port(40_000))
            .given(four_servers)
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 mss 1380"),
        cloud_link("the third of four back ends", from_port(40_001))
            .given(four_servers)
            .onto_lan("tcp 10.0.0.250:18971 > 10.0.0.12:5672 ttl 63 mss 1380"),
        cloud_link("the fourth of four back ends", to_cloud(QUERY, b"query"))
            .given(four_servers)
            .onto_lan("udp 10.0.0.250:6272 > 10.0.0.13:53 ttl 63 'query'"),
        cloud_link("a service without a back end", from(EDGE_CLIENT))
            .given(|gateway| gateway.tables.desired.serve(service(), &[]))
            .refused(Reason::NoBackend),
        cloud_link("a slot without a back end", from(EDGE_CLIENT))
            .given(|gateway| gateway.tables.desired.slots.clear())
            .refused(Reason::NoBackend),
        cloud_link("a back end outside the client networks", from(EDGE_CLIENT))
            .given(|gateway| {
                gateway.tables.desired.serve(service(), &[address([192, 0, 2, 10])]);
            })
            .refused(Reason::BackendMoved),
        cloud_link("a back end behind a second lan", from(EDGE_CLIENT))
            .given(|gateway| {
                gateway.has_other_lan();
                gateway.tables.desired.serve(service(), &[address([172, 16, 0, 10])]);
            })
            .sent(
                Way::Neighbour,
                OTHER_LAN,
                "tcp 10.0.0.250:6547 > 172.16.0.10:5672 ttl 63 mss 1380",
            ),
        cloud_link("a back end that is the gateway host", from(EDGE_CLIENT))
            .given(|gateway| {
                gateway.has_host();
                gateway.tables.desired.serve(service(), &[address([10, 0, 0, 1])]);
            })
            .sent(Way::Host, HOST, "tcp 10.0.0.250:6547 > 10.0.0.1:5672 ttl 63 mss 1380"),
    ]
}

/// Who may be at which end.
fn ends() -> Vec<Case> {
    vec![
        cloud_link("a client that its own gateway should have refused", from(EDGE_STRANGER))
            .refused(Reason::NoPolicy),
        cloud_link("the same client address of a site without permission", from([240, 0, 32, 5]))
            .refused(Reason::NoPolicy),
        cloud_link("this site's own block as sender", from([240, 0, 0, 5]))
            .refused(Reason::SpoofedSource),
        cloud_link("the service itself as sender", from(SERVICE)).refused(Reason::SpoofedSource),
        cloud_link("a sender of no site", from([240, 1, 0, 5])).refused(Reason::SpoofedSource),
        cloud_link("a sender of a site behind another link", from(EDGE_CLIENT))
            .given(|gateway| gateway.arrival.interface = LINK + 1)
            .refused(Reason::SpoofedSource),
        cloud_link("a sender by the second link of its site", from(EDGE_CLIENT))
            .given(|gateway| {
                let route = route(2, LINK).and_by(LINK + 1);
                gateway.tables.desired.routes.insert(1, route);
                gateway.arrival.interface = LINK + 1;
            })
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 mss 1380"),
        cloud_link("a sender that is no transit address", from(CLIENT)).refused(Reason::NotTransit),
        cloud_link("a receiver that is no transit address", to(SERVER)).refused(Reason::NotTransit),
        cloud_link("a multicast group in a link", to([224, 0, 0, 5])).refused(Reason::NotTransit),
        cloud_link("a receiver of no site", to([240, 1, 0, 5])).refused(Reason::NoRoute),
        cloud_link("a service that does not exist", to([240, 0, 8, 2])).refused(Reason::NoService),
        cloud_link("a service of an unknown kind", from(EDGE_CLIENT))
            .given(|gateway| {
                let unknown = Service::new(ServiceKind::Unknown);
                gateway.tables.desired.services.insert(service(), unknown);
            })
            .refused(Reason::NoService),
        cloud_link("a service that moved to another site", from(EDGE_CLIENT))
            .given(|gateway| {
                let elsewhere = ServiceKind::Elsewhere { presence: address(PRESENCE) };
                gateway.tables.desired.services.insert(service(), Service::new(elsewhere));
            })
            .refused(Reason::NoService),
        cloud_link("a client of this site, out of the blue", to([240, 0, 0, 10]))
            .refused(Reason::NoFlow),
        cloud_link("the last client of this site", to([240, 0, 7, 255])).refused(Reason::NoFlow),
        cloud_link("the first service of this site", to([240, 0, 8, 0])).refused(Reason::NoService),
        edge_link("an answer that nobody asked for", {
            to_edge(Load::Tcp(5672, 40_000, Bits::SynAck), b"")
        })
        .refused(Reason::NoFlow),
        edge_link("a service that opens a connection to a client", {
            to_edge(Load::Tcp(5672, 22, Bits::Syn), b"")
        })
        .refused(Reason::NoFlow),
        edge_link("a client of this site's as sender", to(EDGE_STRANGER))
            .refused(Reason::SpoofedSource),
        cloud_link("before any settings", from(EDGE_CLIENT))
            .given(|gateway| gateway.tables.desired.settings.generation = 0)
            .refused(Reason::NotConfigured),
        cloud_lan("a back end that speaks first", {
            at_cloud(Load::Tcp(5672, 4000, Bits::SynAck), b"")
        })
        .refused(Reason::NotAReply),
        cloud_lan("a connection to the client presence", frame(CLIENT, CLIENTS, &SYN, b""))
            .refused(Reason::NotAReply),
    ]
}

/// A hub sends on what is between two other sites, and keeps nothing of it.
fn relayed() -> Vec<Case> {
    let relayed = |row: Row, text| row.given(hub).sent(Way::Relay, LINK, text);
    let on = |load, payload: &[u8]| frame(EDGE_CLIENT, THIRD_SITE, &load, payload);
    vec![
        cloud_link("a third site's packet at a site that does not relay", on(SYN, b""))
            .refused(Reason::RelayOff),
        relayed(
            cloud_link("a third site's packet at a hub", on(SYN, b"")),
            "tcp 240.0.16.5:40000 > 240.0.40.1:5672 ttl 63 mss 1380",
        ),
        relayed(
            cloud_link("tcp that a hub knows nothing of", on(DATA, b"data")),
            "tcp 240.0.16.5:40000 > 240.0.40.1:5672 ttl 63 'data'",
        ),
        relayed(
            cloud_link("a datagram at a hub", on(QUERY, b"query")),
            "udp 240.0.16.5:4000 > 240.0.40.1:53 ttl 63 'query'",
        ),
        relayed(
            cloud_link("an echo request at a hub", on(PING, b"ping")),
            "ping 240.0.16.5 > 240.0.40.1 id 77 ttl 63 'ping'",
        ),
        relayed(
            cloud_link("sctp data at a hub", on(SCTP, &sctp(5000, 3868, 9, 0))),
            "sctp 240.0.16.5:5000 > 240.0.40.1:3868 ttl 63",
        ),
        relayed(
            cloud_link("an undeclared protocol at a hub", on(Load::Other(50), b"esp")),
            "ip/50 240.0.16.5 > 240.0.40.1 ttl 63 'esp'",
        ),
        relayed(
            cloud_link("a later fragment at a hub", fragment(&on(QUERY, &[7; 99]), 48, 96, true)),
            "udp 240.0.16.5 > 240.0.40.1 ttl 63 frag 48+",
        ),
        relayed(
            cloud_link("an icmp error at a hub", {
                let about = frame(THIRD_SITE, EDGE_CLIENT, &Load::Udp(53, 4000), b"answer");
                error(EDGE_CLIENT, 3, 3, &about[ETHERNET..])
            })
            .given(hub),
            "icmp 3/3 240.0.16.5 > 240.0.40.1 ttl 63 \
             about udp 240.0.40.1:53 > 240.0.16.5:4000 ttl 64",
        ),
        cloud_link("a third site behind another link", on(DATA, b""))
            .given(|gateway| {
                hub(gateway);
                gateway.tables.desired.routes.insert(2, route(3, LINK + 3));
            })
            .sent(Way::Relay, LINK + 3, "tcp 240.0.16.5:40000 > 240.0.40.1:5672 ttl 63"),
        cloud_link("a spoofed sender at a hub", frame([240, 1, 0, 5], THIRD_SITE, &SYN, b""))
            .given(hub)
            .refused(Reason::SpoofedSource),
        cloud_link("a receiver of no site at a hub", to([240, 1, 0, 5]))
            .given(hub)
            .refused(Reason::NoRoute),
        cloud_link("a third site's packet at its last hop but one", with_ttl(on(DATA, b""), 2))
            .given(hub)
            .sent(Way::Relay, LINK, "tcp 240.0.16.5:40000 > 240.0.40.1:5672 ttl 1"),
    ]
}
