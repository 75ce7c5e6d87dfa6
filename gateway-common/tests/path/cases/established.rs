//! Packets of flows that are open, both ways at both gateways: data, answers, and how connections end.

use super::{
    gateway::{HOST, OTHER_LAN},
    *,
};
use crate::frames::{sctp, with};
use gateway_common::{
    Port, Protocol,
    map::{Allow, AllowKey, ClientAddress, Endpoints, FlowKey, NatKey},
    path::Arrival,
    tables::{Stage, Tables},
};

/// A packet of the service's as the edge's link delivers it.
fn answer(bits: Bits) -> Vec<u8> {
    to_edge(Load::Tcp(5672, 40_000, bits), b"")
}

/// A packet of the back end's.
fn reply(bits: Bits, payload: &[u8]) -> Vec<u8> {
    at_cloud(Load::Tcp(5672, SYN_PORT, bits), payload)
}

pub(super) fn cases() -> Vec<Case> {
    [tcp(), others(), wrong_ends(), rooms()].into_iter().flatten().collect()
}

fn tcp() -> Vec<Case> {
    let client_at_edge = "tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63";
    let service_at_edge = "tcp 10.0.0.200:5672 > 10.0.0.5:40000 ttl 63";
    let client_at_cloud = "tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63";
    let service_at_cloud = "tcp 240.0.8.1:5672 > 240.0.16.5:40000 ttl 63";
    let client = |bits| at_edge(Load::Tcp(40_000, 5672, bits), b"");
    vec![
        cloud_lan("the back end takes the connection", reply(Bits::SynAck, b""))
            .given(Gateway::opening)
            .into_link("tcp 240.0.8.1:5672 > 240.0.16.5:40000 ttl 63 mss 1380"),
        edge_link("the service takes the connection", answer(Bits::SynAck))
            .given(Gateway::opening)
            .onto_lan("tcp 10.0.0.200:5672 > 10.0.0.5:40000 ttl 63 mss 1380"),
        cloud_lan("the back end refuses the connection", reply(Bits::Rst, b""))
            .given(Gateway::opening)
            .into_link(service_at_cloud),
        edge_link("the service refuses the connection", answer(Bits::Rst))
            .given(Gateway::opening)
            .onto_lan(service_at_edge),
        edge_lan("the client asks again", client(Bits::Syn))
            .given(Gateway::opening)
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("the client confirms", client(Bits::Ack))
            .given(Gateway::accepted)
            .into_link(client_at_edge),
        cloud_link("the client confirms", to_cloud(DATA, b""))
            .given(Gateway::accepted)
            .onto_lan(client_at_cloud),
        edge_lan("data from the client", at_edge(DATA, b"data"))
            .given(Gateway::open)
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 'data'"),
        cloud_link("data from the client", to_cloud(DATA, b"data"))
            .given(Gateway::open)
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 'data'"),
        cloud_lan("data from the back end", reply(Bits::Ack, b"more"))
            .given(Gateway::open)
            .into_link("tcp 240.0.8.1:5672 > 240.0.16.5:40000 ttl 63 'more'"),
        edge_link("data from the service", {
            to_edge(Load::Tcp(5672, 40_000, Bits::Ack), b"more")
        })
        .given(Gateway::open)
        .onto_lan("tcp 10.0.0.200:5672 > 10.0.0.5:40000 ttl 63 'more'"),
        cloud_lan("a reply from a port served at another", {
            at_cloud(Load::Tcp(8080, WEB_PORT, Bits::SynAck), b"")
        })
        .given(|gateway| {
            gateway.carry_from_link(&to_cloud(Load::Tcp(40_000, 80, Bits::Syn), b""));
        })
        .into_link("tcp 240.0.8.1:80 > 240.0.16.5:40000 ttl 63 mss 1380"),
        edge_lan("the client has finished", client(Bits::FinAck))
            .given(Gateway::open)
            .into_link(client_at_edge),
        edge_link("data from the service once the client has finished", answer(Bits::Ack))
            .given(Gateway::client_closed)
            .onto_lan(service_at_edge),
        cloud_link("data from the client once the service has finished", to_cloud(DATA, b""))
            .given(Gateway::service_closed)
            .onto_lan(client_at_cloud),
        edge_lan("the last acknowledgement once both have finished", client(Bits::Ack))
            .given(Gateway::closed)
            .into_link(client_at_edge),
        edge_lan("the client's port used again once both have finished", client(Bits::Syn))
            .given(Gateway::closed)
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        cloud_link("the client's port used again after a reset", to_cloud(SYN, b""))
            .given(Gateway::reset)
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 mss 1380"),
        edge_link("what was under way when the client reset", answer(Bits::Ack))
            .given(Gateway::reset)
            .onto_lan(service_at_edge),
        cloud_lan("what was under way when the client reset", reply(Bits::Ack, b""))
            .given(Gateway::reset)
            .into_link(service_at_cloud),
        edge_lan("a syn in an open connection is the service's to answer", client(Bits::Syn))
            .given(Gateway::open)
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
    ]
}

fn others() -> Vec<Case> {
    let association = |from, to| sctp(from, to, 9, 2);
    vec![
        cloud_lan("the answer to a datagram", at_cloud(Load::Udp(53, QUERY_PORT), b"answer"))
            .given(Gateway::asked)
            .into_link("udp 240.0.8.1:53 > 240.0.16.5:4000 ttl 63 'answer'"),
        edge_link("the answer to a datagram", to_edge(Load::Udp(53, 4000), b"answer"))
            .given(Gateway::asked)
            .onto_lan("udp 10.0.0.200:53 > 10.0.0.5:4000 ttl 63 'answer'"),
        cloud_lan("an answer without a checksum", {
            with(at_cloud(Load::Udp(53, QUERY_PORT), b"answer"), 26, &[0, 0])
        })
        .given(Gateway::asked)
        .into_link("udp 240.0.8.1:53 > 240.0.16.5:4000 ttl 63 unsummed 'answer'"),
        edge_lan("another question of the same client", at_edge(QUERY, b"again"))
            .given(Gateway::answered)
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 'again'"),
        cloud_lan("the answer to an echo request", at_cloud(Load::EchoReply(PING_PORT), b"ping"))
            .given(Gateway::pinged)
            .into_link("pong 240.0.8.1 > 240.0.16.5 id 77 ttl 63 'ping'"),
        edge_link("the answer to an echo request", to_edge(Load::EchoReply(77), b"ping"))
            .given(Gateway::pinged)
            .onto_lan("pong 10.0.0.200 > 10.0.0.5 id 77 ttl 63 'ping'"),
        cloud_lan("the answer of a protocol by number", at_cloud(GRE, b"erg"))
            .given(Gateway::tunnelled)
            .into_link("ip/47 240.0.8.1 > 240.0.16.5 ttl 63 'erg'"),
        edge_link("the answer of a protocol by number", to_edge(GRE, b"erg"))
            .given(Gateway::tunnelled)
            .onto_lan("ip/47 10.0.0.200 > 10.0.0.5 ttl 63 'erg'"),
        cloud_lan("the back end takes an association", at_cloud(SCTP, &association(3868, 5000)))
            .given(Gateway::associated)
            .into_link("sctp 240.0.8.1:3868 > 240.0.16.5:5000 ttl 63"),
        edge_link("the service takes an association", to_edge(SCTP, &association(3868, 5000)))
            .given(Gateway::associated)
            .onto_lan("sctp 10.0.0.200:3868 > 10.0.0.5:5000 ttl 63"),
        edge_lan("data of an association", at_edge(SCTP, &sctp(5000, 3868, 9, 0)))
            .given(Gateway::associated)
            .into_link("sctp 240.0.16.5:5000 > 240.0.8.1:3868 ttl 63"),
        cloud_link("abort of an association", to_cloud(SCTP, &sctp(5000, 3868, 9, 6)))
            .given(Gateway::associated)
            .onto_lan("sctp 10.0.0.250:5000 > 10.0.0.10:3868 ttl 63"),
    ]
}

/// Packets that are almost of an open flow.
fn wrong_ends() -> Vec<Case> {
    vec![
        cloud_lan("a reply to a port that no flow has", {
            at_cloud(Load::Tcp(5672, SYN_PORT + 1, Bits::SynAck), b"")
        })
        .given(Gateway::opening)
        .refused(Reason::NotAReply),
        cloud_lan("a reply from another port", {
            at_cloud(Load::Tcp(5673, SYN_PORT, Bits::SynAck), b"")
        })
        .given(Gateway::opening)
        .refused(Reason::NotAReply),
        cloud_lan("a reply from another host", {
            frame(CLIENT, CLIENTS, &Load::Tcp(5672, SYN_PORT, Bits::SynAck), b"")
        })
        .given(Gateway::opening)
        .refused(Reason::NotAReply),
        cloud_lan("a reply of another protocol", at_cloud(Load::Udp(5672, SYN_PORT), b""))
            .given(Gateway::opening)
            .refused(Reason::NotAReply),
        cloud_lan("an echo reply with another identifier", {
            at_cloud(Load::EchoReply(PING_PORT + 1), b"ping")
        })
        .given(Gateway::pinged)
        .refused(Reason::NotAReply),
        cloud_lan("an echo request as an answer", at_cloud(Load::EchoRequest(PING_PORT), b"ping"))
            .given(Gateway::pinged)
            .refused(Reason::NotAReply),
        cloud_lan("a reply to a port that the flow had before", {
            at_cloud(Load::Tcp(5672, SYN_PORT + 1, Bits::SynAck), b"")
        })
        .given(|gateway| {
            gateway.opening();
            let ends = Endpoints {
                client: address(CLIENTS),
                client_port: Port::new(SYN_PORT + 1),
                service: address(SERVER),
                service_port: Port::new(5672),
            };
            let (flow, _) = gateway.tables.flows()[0];
            let nat = NatKey::new(ends, Protocol::TCP);
            gateway.tables.insert_nat(Stage::Opening, &nat, &flow);
        })
        .refused(Reason::NoFlow),
        edge_link("an answer from another port", to_edge(Load::Udp(54, 4000), b""))
            .given(Gateway::asked)
            .refused(Reason::NoFlow),
        edge_link("an answer to another port", to_edge(Load::Udp(53, 4001), b""))
            .given(Gateway::asked)
            .refused(Reason::NoFlow),
        edge_link("an answer from another service", {
            frame([240, 0, 8, 2], EDGE_CLIENT, &Load::Udp(53, 4000), b"")
        })
        .given(Gateway::asked)
        .refused(Reason::NoFlow),
        edge_link("an answer to another client", {
            frame(SERVICE, EDGE_STRANGER, &Load::Udp(53, 4000), b"")
        })
        .given(Gateway::asked)
        .refused(Reason::NoFlow),
        edge_link("an answer by another link", to_edge(Load::Udp(53, 4000), b""))
            .given(|gateway| {
                gateway.asked();
                gateway.arrival.interface = LINK + 1;
            })
            .refused(Reason::SpoofedSource),
        edge_lan("data of another host", frame(STRANGER, PRESENCE, &DATA, b""))
            .given(Gateway::open)
            .refused(Reason::NoPolicy),
        cloud_lan("a reply of the back end's behind another interface", reply(Bits::Ack, b""))
            .given(|gateway| {
                gateway.open();
                gateway.arrival.interface = OTHER_LAN;
            })
            .refused(Reason::WrongInterface),
        edge_lan("data of the client's behind another interface", at_edge(DATA, b""))
            .given(|gateway| {
                gateway.open();
                gateway.arrival.interface = OTHER_LAN;
            })
            .refused(Reason::WrongInterface),
    ]
}

/// Where answers go, and what room there is for flows that both ends want.
fn rooms() -> Vec<Case> {
    vec![
        edge_link("an answer to the gateway host", {
            frame(SERVICE, [240, 0, 17, 0], &Load::Udp(53, 4000), b"answer")
        })
        .given(|gateway| {
            gateway.has_host();
            let key = AllowKey::clients(service(), transit([240, 0, 17, 0]), 32);
            let allow = Allow::new(RULE, ClientAddress::Elsewhere);
            gateway.tables.desired.allows.insert(key, allow);
            let query = frame([10, 0, 0, 1], PRESENCE, &QUERY, b"query");
            let arrival = Arrival { interface: HOST, ..from_lan() };
            let verdict = host::lan(&query, &gateway.tables, arrival);
            assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
        })
        .sent(Way::Host, HOST, "udp 10.0.0.200:53 > 10.0.0.1:4000 ttl 63 'answer'"),
        edge_lan("no room for a connection that the client confirms", at_edge(DATA, b""))
            .given(|gateway| {
                gateway.accepted();
                gateway.tables.capacity = 0;
            })
            .refused(Reason::FlowTableFull),
        cloud_lan("no room for an exchange that the back end answers", {
            at_cloud(Load::Udp(53, QUERY_PORT), b"answer")
        })
        .given(|gateway| {
            gateway.asked();
            gateway.tables.capacity = 0;
        })
        .refused(Reason::FlowTableFull),
        cloud_link("a confirmed connection whose port another flow has", to_cloud(DATA, b""))
            .given(|gateway| {
                gateway.accepted();
                let (nat, _) = gateway.tables.nats()[0];
                let other = FlowKey::new(
                    Endpoints {
                        client: transit(EDGE_STRANGER),
                        client_port: Port::new(1),
                        service: service(),
                        service_port: Port::new(5672),
                    },
                    Protocol::TCP,
                );
                gateway.tables.insert_nat(Stage::Confirmed, &nat, &other);
            })
            .refused(Reason::PortsExhausted),
        edge_lan("data of a confirmed connection in a full table", at_edge(DATA, b"data"))
            .given(|gateway| {
                gateway.open();
                gateway.tables.capacity = 0;
            })
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 'data'"),
    ]
}
