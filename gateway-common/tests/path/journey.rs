//! A packet's whole journey: through the client's gateway, the link, the service's gateway, and back.

use std::collections::BTreeSet;

use crate::{
    frames::{error, internet_checksum},
    two_sites::*,
};
use gateway_common::{
    Reason,
    host::{self, MemoryTables},
    map::{
        Allow, AllowKey, Backend, BackendKey, BackendState, ClientAddress, Counter, FlowState,
        Outcome, Presence, PresenceKind, SiteNumber, UsageKey,
    },
    verdict::{Verdict, Way},
};
use proptest::prelude::*;

/// From a host's frame on one LAN to the frame on the other, by way of two gateways.
pub(crate) fn cross(
    from: &MemoryTables,
    to: &MemoryTables,
    mut frame: Vec<u8>,
) -> Result<(Vec<u8>, Vec<u8>), Reason> {
    let verdict = host::lan(&frame, from, from_lan());
    match verdict {
        Verdict::Refuse(reason) => return Err(reason),
        Verdict::Forward(forward) => {
            assert_eq!((forward.egress.way, forward.egress.interface), (Way::Link, LINK));
        }
        other => panic!("{other:?}"),
    }
    host::execute(&mut frame, &verdict);
    let in_link = frame.split_off(14);
    let mut packet = in_link.clone();
    let verdict = host::link(&packet, to, from_link());
    match verdict {
        Verdict::Refuse(reason) => return Err(reason),
        Verdict::Forward(forward) => {
            assert_eq!((forward.egress.way, forward.egress.interface), (Way::Lan, LAN));
        }
        other => panic!("{other:?}"),
    }
    host::execute(&mut packet, &verdict);
    Ok((in_link, packet))
}

#[test]
fn a_tcp_connection_sees_local_addresses_at_both_ends() {
    let (edge, cloud) = (edge(), cloud());
    let syn = frame(CLIENT, PRESENCE, &Load::Tcp(40_000, 5672, Bits::Syn), b"");
    let (in_link, at_server) = cross(&edge, &cloud, syn).expect("allowed");
    let link = seen(&in_link);
    assert_eq!(link.source, ([240, 0, 16, 5], 40_000));
    assert_eq!(link.destination, ([240, 0, 8, 1], 5672));
    let server = seen(&at_server);
    assert_eq!((server.source.0, server.destination), (CLIENTS, (SERVER, 5672)));
    assert_eq!(server.ttl, 62, "two gateways, two hops");
    let port = server.source.1;

    let answer = frame(SERVER, CLIENTS, &Load::Tcp(5672, port, Bits::SynAck), b"");
    let (in_link, at_client) = cross(&cloud, &edge, answer).expect("a reply");
    let link = seen(&in_link);
    assert_eq!(link.source, ([240, 0, 8, 1], 5672));
    assert_eq!(link.destination, ([240, 0, 16, 5], 40_000));
    let client = seen(&at_client);
    assert_eq!((client.source, client.destination), ((PRESENCE, 5672), (CLIENT, 40_000)));

    for tables in [&edge, &cloud] {
        let flows = tables.flows();
        assert_eq!(flows.len(), 1);
        assert_eq!(flows[0].1.state(), FlowState::Accepted);
        assert_eq!(flows[0].1.packets, [1, 1]);
        assert_eq!(tables.confirmed(), 0, "the client has not confirmed");
        assert_eq!(tables.counted(Counter::Outcome(Outcome::Opened)), 1);
    }
    let confirmation = frame(CLIENT, PRESENCE, &Load::Tcp(40_000, 5672, Bits::Ack), b"");
    cross(&edge, &cloud, confirmation).expect("a connection");
    for tables in [&edge, &cloud] {
        let flows = tables.flows();
        assert_eq!((flows.len(), tables.confirmed()), (1, 1));
        assert_eq!(flows[0].1.state(), FlowState::Open);
        assert_eq!(flows[0].1.packets, [2, 1]);
    }
    assert_eq!(edge.flows()[0].0, cloud.flows()[0].0, "one name at both gateways");
}

#[test]
fn segment_sizes_are_lowered_on_both_handshake_packets() {
    let (edge, cloud) = (edge(), cloud());
    let size = |ip: &[u8]| u16::from_be_bytes([ip[42], ip[43]]);
    let syn = frame(CLIENT, PRESENCE, &Load::Tcp(40_000, 5672, Bits::Syn), b"");
    assert_eq!(size(&syn[14..]), 1460);
    let (in_link, at_server) = cross(&edge, &cloud, syn).expect("allowed");
    assert_eq!((size(&in_link), size(&at_server)), (MSS, MSS));
    let port = seen(&at_server).source.1;
    let answer = frame(SERVER, CLIENTS, &Load::Tcp(5672, port, Bits::SynAck), b"");
    let (in_link, _) = cross(&cloud, &edge, answer).expect("a reply");
    assert_eq!(size(&in_link), MSS);
}

/// Links may differ in size: a hub lowers what the two ends of a relayed connection announce to what its
/// own links carry.
#[test]
fn a_hub_lowers_segment_sizes_too() {
    let mut hub = cloud();
    hub.desired.settings.relay = 1;
    for route in hub.desired.routes.values_mut() {
        route.mtu = 1340;
    }
    let to_edge_b = [240, 0, 40, 1];
    let mut syn =
        frame([240, 0, 16, 5], to_edge_b, &Load::Tcp(1, 80, Bits::Syn), b"").split_off(14);
    let verdict = host::link(&syn, &hub, from_link());
    assert!(matches!(verdict, Verdict::Forward(forward) if forward.egress.way == Way::Relay));
    let before = seen(&syn);
    host::execute(&mut syn, &verdict);
    assert_eq!(u16::from_be_bytes([syn[42], syn[43]]), 1300);
    assert_eq!(seen(&syn), Seen { ttl: before.ttl - 1, ..before });
}

#[test]
fn a_withdrawn_permission_ends_a_live_connection_at_its_next_packet() {
    let (mut edge, mut cloud) = (edge(), cloud());
    let load = Load::Tcp(40_000, 5672, Bits::Syn);
    let (_, at_server) =
        cross(&edge, &cloud, frame(CLIENT, PRESENCE, &load, b"")).expect("allowed");
    let data = || frame(CLIENT, PRESENCE, &Load::Tcp(40_000, 5672, Bits::Ack), b"data");
    cross(&edge, &cloud, data()).expect("an open connection");

    let mut withdrawn = cloud.desired.clone();
    withdrawn.allows.clear();
    cloud.replace(withdrawn.clone());
    assert_eq!(cross(&edge, &cloud, data()).unwrap_err(), Reason::NoPolicy, "second gateway");
    let port = seen(&at_server).source.1;
    let answer = frame(SERVER, CLIENTS, &Load::Tcp(5672, port, Bits::Ack), b"more");
    assert_eq!(cross(&cloud, &edge, answer).unwrap_err(), Reason::NoFlow, "its flow is gone");
    assert!(cloud.flows().is_empty());

    let mut at_edge = edge.desired.clone();
    at_edge.allows.clear();
    edge.replace(at_edge);
    assert_eq!(cross(&edge, &cloud, data()).unwrap_err(), Reason::NoPolicy, "first gateway");
}

#[test]
fn a_change_that_leaves_the_permission_keeps_the_connection() {
    let (edge, mut cloud) = (edge(), cloud());
    let syn = frame(CLIENT, PRESENCE, &Load::Tcp(40_000, 5672, Bits::Syn), b"");
    cross(&edge, &cloud, syn).expect("allowed");
    cloud.replace(cloud.desired.clone());
    let data = frame(CLIENT, PRESENCE, &Load::Tcp(40_000, 5672, Bits::Ack), b"data");
    cross(&edge, &cloud, data).expect("still allowed");
    assert_eq!(cloud.flows()[0].1.generation, 2, "judged anew");
    assert_eq!(cloud.flows()[0].1.packets, [2, 0]);
}

#[test]
fn a_full_flow_table_refuses_new_flows_and_keeps_old_ones() {
    let (edge, mut cloud) = (edge(), cloud());
    cloud.capacity = 1;
    let syn = |port| frame(CLIENT, PRESENCE, &Load::Tcp(port, 5672, Bits::Syn), b"");
    let ack = |port| frame(CLIENT, PRESENCE, &Load::Tcp(port, 5672, Bits::Ack), b"");
    let accept = |at_server: &[u8]| {
        let port = seen(at_server).source.1;
        let answer = frame(SERVER, CLIENTS, &Load::Tcp(5672, port, Bits::SynAck), b"");
        cross(&cloud, &edge, answer).expect("a reply");
    };
    accept(&cross(&edge, &cloud, syn(1)).expect("allowed").1);
    cross(&edge, &cloud, ack(1)).expect("room for one");
    accept(&cross(&edge, &cloud, syn(2)).expect("nobody confirmed it yet").1);
    assert_eq!(cross(&edge, &cloud, ack(2)).unwrap_err(), Reason::FlowTableFull);
    assert_eq!(cloud.counted(Counter::Refused(Reason::FlowTableFull)), 1);
    let data = frame(CLIENT, PRESENCE, &Load::Tcp(1, 5672, Bits::Ack), b"data");
    cross(&edge, &cloud, data).expect("the old one lives");
}

#[test]
fn unconfirmed_flows_make_room_for_each_other_and_never_for_confirmed_ones() {
    let (edge, mut cloud) = (edge(), cloud());
    cloud.opening_capacity = 2;
    let syn = |port| frame(CLIENT, PRESENCE, &Load::Tcp(port, 5672, Bits::Syn), b"");
    let at_server = cross(&edge, &cloud, syn(1)).expect("allowed").1;
    let port = seen(&at_server).source.1;
    let answer = frame(SERVER, CLIENTS, &Load::Tcp(5672, port, Bits::SynAck), b"");
    cross(&cloud, &edge, answer).expect("a reply");
    let ack = frame(CLIENT, PRESENCE, &Load::Tcp(1, 5672, Bits::Ack), b"");
    cross(&edge, &cloud, ack.clone()).expect("a connection");
    for port in 100..200 {
        cross(&edge, &cloud, syn(port)).expect("a flood finds room");
    }
    cross(&edge, &cloud, ack).expect("the connection lives");
    assert_eq!((cloud.confirmed(), cloud.flows().len()), (1, 3));
}

#[test]
fn a_steady_one_way_stream_counts_as_confirmed() {
    let (edge, cloud) = (edge(), cloud());
    let datagram = frame(CLIENT, PRESENCE, &Load::Udp(4_000, 53), b"a record");
    for _ in 0..64 {
        cross(&edge, &cloud, datagram.clone()).expect("allowed");
    }
    assert_eq!((edge.confirmed(), cloud.confirmed()), (0, 0));
    cross(&edge, &cloud, datagram).expect("allowed");
    assert_eq!((edge.confirmed(), cloud.confirmed()), (1, 1));
    assert_eq!(cloud.flows()[0].1.state(), FlowState::Asked);
}

#[test]
fn quotas_bound_what_one_client_and_one_site_open() {
    let (mut edge, mut cloud) = (edge(), cloud());
    let syn = |port| frame(CLIENT, PRESENCE, &Load::Tcp(port, 5672, Bits::Syn), b"");
    edge.desired.settings.client_flows = 3;
    cloud.desired.settings.site_flows = 2;
    cross(&edge, &cloud, syn(1)).expect("allowed");
    cross(&edge, &cloud, syn(2)).expect("allowed");
    assert_eq!(cross(&edge, &cloud, syn(3)).unwrap_err(), Reason::SiteQuota);
    assert_eq!(cross(&edge, &cloud, syn(4)).unwrap_err(), Reason::ClientQuota);
    cross(&edge, &cloud, syn(2)).expect("a known flow");
    edge.set_usage(UsageKey::client(transit([240, 0, 16, 5])), 2);
    cloud.set_usage(UsageKey::site(SiteNumber(2)), 1);
    cross(&edge, &cloud, syn(4)).expect("one ended");
}

#[test]
fn clients_with_presences_of_their_own_keep_their_ports() {
    let (edge, mut cloud) = (edge(), cloud());
    let key = AllowKey::clients(service(), transit([240, 0, 16, 4]), 30);
    let own = ClientAddress::Own { first: address([10, 0, 0, 244]), hosts: 3 };
    cloud.desired.allows = [(key, Allow::new(RULE, own))].into();
    cloud.desired.presences.insert(53, Presence::new(PresenceKind::Client));
    let syn = frame(CLIENT, PRESENCE, &Load::Tcp(40_000, 5672, Bits::Syn), b"");
    let server = seen(&cross(&edge, &cloud, syn).expect("allowed").1);
    assert_eq!(server.source, ([10, 0, 0, 245], 40_000));
    let answer = frame(SERVER, [10, 0, 0, 245], &Load::Tcp(5672, 40_000, Bits::SynAck), b"");
    let client = seen(&cross(&cloud, &edge, answer).expect("a reply").1);
    assert_eq!((client.source, client.destination), ((PRESENCE, 5672), (CLIENT, 40_000)));
}

#[test]
fn flows_spread_over_back_ends_and_stay_where_they_are() {
    let (edge, mut cloud) = (edge(), cloud());
    let servers: Vec<_> = (10..14).map(|last| address([10, 0, 0, last])).collect();
    cloud.desired.serve(service(), &servers);
    let syn = |port| frame(CLIENT, PRESENCE, &Load::Tcp(port, 5672, Bits::Syn), b"");
    let server_of = |cloud: &MemoryTables, frame| {
        seen(&cross(&edge, cloud, frame).expect("allowed").1).destination.0
    };
    let chosen: Vec<_> = (1..41).map(|port| server_of(&cloud, syn(port))).collect();
    assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 4, "{chosen:?}");
    // The last two get no new flows but keep those they have; the first is gone.
    let mut fewer = cloud.desired.clone();
    fewer.serve(service(), &servers[1..2]);
    for address in &servers[2..] {
        let key = BackendKey { service: service(), address: *address };
        fewer.backends.insert(key, Backend::new(BackendState::Draining));
    }
    cloud.replace(fewer);
    for (port, before) in (1..41).zip(chosen) {
        match cross(&edge, &cloud, syn(port)) {
            Ok((_, at_server)) => assert_eq!(seen(&at_server).destination.0, before),
            Err(reason) => {
                assert_eq!((reason, before), (Reason::BackendMoved, [10, 0, 0, 10]));
            }
        }
    }
    assert!((41..61).all(|port| server_of(&cloud, syn(port)) == [10, 0, 0, 11]));
    cloud.desired.serve(service(), &[]);
    assert_eq!(cross(&edge, &cloud, syn(99)).unwrap_err(), Reason::NoBackend);
}

#[test]
fn a_flow_that_timed_out_needs_a_new_handshake() {
    let (edge, cloud) = (edge(), cloud());
    let syn = frame(CLIENT, PRESENCE, &Load::Tcp(1, 5672, Bits::Syn), b"");
    cross(&edge, &cloud, syn.clone()).expect("allowed");
    let mut late = from_lan();
    late.now.0 += 31 * gateway_common::Ticks::PER_SECOND;
    let data = frame(CLIENT, PRESENCE, &Load::Tcp(1, 5672, Bits::Ack), b"");
    assert_eq!(host::lan(&data, &edge, late), Verdict::Refuse(Reason::NoFlow));
    assert!(matches!(host::lan(&syn, &edge, late), Verdict::Forward(_)));
    assert_eq!(edge.flows()[0].1.packets, [1, 0], "opened anew");
}

fn loads() -> impl Strategy<Value = Load> {
    prop_oneof![
        (1024u16.., Just(5672)).prop_map(|(from, to)| Load::Tcp(from, to, Bits::Syn)),
        (any::<u16>(), 8000u16..8008).prop_map(|(from, to)| Load::Tcp(from, to, Bits::Syn)),
        any::<u16>().prop_map(|from| Load::Tcp(from, 80, Bits::Syn)),
        any::<u16>().prop_map(|from| Load::Udp(from, 53)),
        any::<u16>().prop_map(Load::EchoRequest),
        Just(Load::Other(47)),
    ]
}

/// The reply to a load as the server saw it.
pub(crate) fn reply(load: &Load, seen: &Seen) -> Load {
    match load {
        Load::Tcp(..) => Load::Tcp(seen.destination.1, seen.source.1, Bits::SynAck),
        Load::Udp(..) => Load::Udp(seen.destination.1, seen.source.1),
        Load::EchoRequest(_) | Load::EchoReply(_) => Load::EchoReply(seen.source.1),
        Load::Other(number) => Load::Other(*number),
    }
}

proptest! {
    /// Checksums are right after every rewrite (`seen` checks them), payloads are untouched, and what
    /// the server answers comes back to the client from where the client sent to.
    #[test]
    fn every_protocol_goes_there_and_comes_back(
        load in loads(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        answer in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let (edge, cloud) = (edge(), cloud());
        let request = frame(CLIENT, PRESENCE, &load, &payload);
        let sent = seen(&request[14..]);
        let (_, at_server) = cross(&edge, &cloud, request).expect("allowed");
        let got = seen(&at_server);
        prop_assert_eq!(got.source.0, CLIENTS);
        prop_assert_eq!(got.destination.0, SERVER);
        prop_assert_eq!(&got.payload, &payload);
        let back = frame(SERVER, CLIENTS, &reply(&load, &got), &answer);
        let (_, at_client) = cross(&cloud, &edge, back).expect("a reply");
        let back = seen(&at_client);
        prop_assert_eq!(back.source.0, PRESENCE);
        prop_assert_eq!(back.destination.0, CLIENT);
        if !matches!(load, Load::EchoRequest(_)) {
            prop_assert_eq!(back.source.1, sent.destination.1);
        }
        prop_assert_eq!(back.destination.1, sent.source.1);
        prop_assert_eq!(&back.payload, &answer);
    }

    /// Two flows of one site never share a port towards one back end.
    #[test]
    fn reserved_ports_are_distinct(ports in proptest::collection::btree_set(any::<u16>(), 1..60)) {
        let (edge, cloud) = (edge(), cloud());
        for port in &ports {
            let syn = frame(CLIENT, PRESENCE, &Load::Tcp(*port, 5672, Bits::Syn), b"");
            cross(&edge, &cloud, syn).expect("room for all");
        }
        let chosen: BTreeSet<u16> =
            cloud.nats().iter().map(|(nat, _)| nat.client_port.number()).collect();
        prop_assert_eq!(chosen.len(), ports.len());
    }

    /// No frame, however broken, makes the path panic, and what is refused or passed is not changed.
    #[test]
    fn any_bytes_get_a_verdict(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        like in proptest::option::of(loads()), flips in proptest::collection::vec(any::<(u8, u8)>(), 0..6),
        cut in 0usize..200,
    ) {
        if let Some(load) = like {
            bytes = frame(CLIENT, PRESENCE, &load, &bytes);
            for (at, value) in flips {
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
        }
        let (edge, cloud) = (edge(), cloud());
        let verdicts = [
            host::lan(&bytes, &edge, from_lan()),
            host::guard(&bytes, &edge, from_lan()),
            host::link(&bytes, &cloud, from_link()),
        ];
        for verdict in verdicts {
            let mut after = bytes.clone();
            host::execute(&mut after, &verdict);
            if matches!(verdict, Verdict::Pass | Verdict::Refuse(_)) {
                prop_assert_eq!(&after, &bytes);
            } else {
                prop_assert_eq!(after.len(), bytes.len());
            }
        }
    }
}

/// A SYN with eight one-octet options before four octets of data that look like a segment size option.
#[test]
fn what_looks_like_an_option_behind_the_header_is_not_touched() {
    let edge = edge();
    let mut syn = Vec::new();
    etherparse::PacketBuilder::ethernet2(HOST_MAC, GATEWAY_MAC)
        .ipv4(CLIENT, PRESENCE, 64)
        .tcp(40_000, 5672, 1, 1)
        .syn()
        .options_raw(&[1; 8])
        .expect("eight octets fit")
        .write(&mut syn, &[2, 4, 5, 180, 2, 4, 5, 180])
        .expect("writing to memory");
    let before = syn.clone();
    let verdict = host::lan(&syn, &edge, from_lan());
    host::execute(&mut syn, &verdict);
    assert_eq!(syn[54..], before[54..]);
}

/// What stands in an ICMP error.
struct SeenError {
    source: [u8; 4],
    destination: [u8; 4],
    quoted_source: [u8; 4],
    quoted_destination: [u8; 4],
    /// The eight octets behind the quoted header.
    quoted: [u8; 8],
}

/// Reads an ICMP error. Panics where a checksum is wrong.
fn read_error(ip: &[u8]) -> SeenError {
    assert_eq!(internet_checksum(&ip[..20]), [0, 0], "outer header");
    assert_eq!(internet_checksum(&ip[20..]), [0, 0], "ICMP");
    assert_eq!(internet_checksum(&ip[28..48]), [0, 0], "quoted header");
    let address = |at: usize| ip[at..at + 4].try_into().expect("four octets");
    SeenError {
        source: address(12),
        destination: address(16),
        quoted_source: address(40),
        quoted_destination: address(44),
        quoted: ip[48..56].try_into().expect("eight octets"),
    }
}

#[test]
fn errors_about_a_flow_reach_the_end_that_sent_the_packet() {
    let router = [10, 0, 0, 254];
    for load in [Load::Udp(4_000, 53), Load::EchoRequest(77), Load::Tcp(4_000, 5672, Bits::Syn)] {
        let (edge, cloud) = (edge(), cloud());
        let sent = frame(CLIENT, PRESENCE, &load, b"some octets");
        let (_, at_server) = cross(&edge, &cloud, sent.clone()).expect("allowed");
        let reserved = seen(&at_server).source.1;
        // The back end itself, and a router in front of it: the client sees its presence both times.
        for (from, kind, code) in [(SERVER, 3, 3), (router, 11, 0), (router, 3, 4)] {
            let message = error(from, kind, code, &at_server);
            assert_eq!(host::guard(&message, &cloud, from_lan()), Verdict::Pass);
            let (in_link, at_client) = cross(&cloud, &edge, message).expect("about a known flow");
            let seen = read_error(&in_link);
            assert_eq!((seen.source, seen.destination), ([240, 0, 8, 1], [240, 0, 16, 5]));
            assert_eq!(seen.quoted_source, seen.destination);
            assert_eq!(seen.quoted_destination, seen.source);
            let seen = read_error(&at_client);
            assert_eq!((seen.source, seen.destination), (PRESENCE, CLIENT));
            assert_eq!((seen.quoted_source, seen.quoted_destination), (CLIENT, PRESENCE));
            let start = seen.quoted;
            let ports = match load {
                Load::EchoRequest(_) => start[4..6] == sent[38..40],
                _ => start[..4] == sent[34..38],
            };
            assert!(ports, "the quoted ports are the client's own: {start:?}");
            assert_eq!(at_client[20..22], [kind, code]);
            assert_eq!(at_client[26..28], [5, 120], "the next hop's MTU");
        }
        // The client refuses an answer.
        let back = frame(SERVER, CLIENTS, &reply(&load, &seen(&at_server)), b"an answer");
        let (_, answer) = cross(&cloud, &edge, back).expect("a reply");
        let message = error(CLIENT, 3, 3, &answer);
        let (_, at_server) = cross(&edge, &cloud, message).expect("about a known flow");
        let at_backend = read_error(&at_server);
        assert_eq!((at_backend.source, at_backend.destination), (CLIENTS, SERVER));
        assert_eq!(at_backend.quoted_source, SERVER);
        assert_eq!(at_backend.quoted_destination, CLIENTS);
        let start = at_backend.quoted;
        let port = match load {
            Load::EchoRequest(_) => [start[4], start[5]],
            _ => [start[2], start[3]],
        };
        assert_eq!(u16::from_be_bytes(port), reserved);
        assert_eq!(cloud.flows()[0].1.packets, [1, 1], "errors count for nothing");
    }
}

#[test]
fn errors_that_fit_no_flow_are_refused() {
    let (edge, cloud) = (edge(), cloud());
    let sent = frame(CLIENT, PRESENCE, &Load::Udp(4_000, 53), b"some octets");
    let (in_link, at_server) = cross(&edge, &cloud, sent).expect("allowed");
    let refused = |message: &[u8]| match host::lan(message, &cloud, from_lan()) {
        Verdict::Refuse(reason) => reason,
        other => panic!("{other:?}"),
    };
    let mut other_port = at_server.clone();
    other_port[20..22].copy_from_slice(&4001u16.to_be_bytes());
    assert_eq!(refused(&error(SERVER, 3, 3, &other_port)), Reason::NotAReply);
    let mut not_ours = error(SERVER, 3, 3, &at_server);
    not_ours[14 + 28 + 15] ^= 1;
    assert_eq!(refused(&not_ours), Reason::Malformed, "quotes a packet of somebody else");
    let mut redirect = error(SERVER, 3, 3, &at_server);
    redirect[34] = 5;
    assert_eq!(refused(&redirect), Reason::IcmpType);
    assert_eq!(refused(&error(SERVER, 3, 3, &at_server)[..60]), Reason::Truncated);
    // A gateway that lets a third party's error into a link.
    let mut foreign = error([240, 0, 8, 2], 3, 3, &in_link).split_off(14);
    assert_eq!(host::link(&foreign, &edge, from_link()), Verdict::Refuse(Reason::SpoofedSource));
    foreign[12..16].copy_from_slice(&[240, 0, 8, 1]);
    assert!(matches!(host::link(&foreign, &edge, from_link()), Verdict::Forward(_)));
}

/// In the kernel a checksum may still be unfinished: then its field holds the pseudo-header's sum.
#[test]
fn a_checksum_that_may_be_unfinished_is_left_to_the_kernel() {
    use gateway_common::verdict::ChecksumEdit;
    let checksum_edit = |bytes: &[u8]| match host::lan(bytes, &edge(), from_lan()) {
        Verdict::Forward(forward) => forward.rewrite.checksum,
        other => panic!("{other:?}"),
    };
    for (load, at) in [(Load::Tcp(1, 5672, Bits::Syn), 16), (Load::Udp(1, 53), 6)] {
        let mut bytes = frame(CLIENT, PRESENCE, &load, b"some octets");
        assert_eq!(checksum_edit(&bytes), ChecksumEdit::Write);
        let length = (bytes.len() - 34) as u16;
        let mut pseudo = [CLIENT, PRESENCE].concat();
        pseudo.extend([0, bytes[23]]);
        pseudo.extend(length.to_be_bytes());
        let [high, low] = internet_checksum(&pseudo);
        bytes[34 + at..36 + at].copy_from_slice(&[!high, !low]);
        assert_eq!(checksum_edit(&bytes), ChecksumEdit::Ask, "{load:?}");
    }
    let mut none = frame(CLIENT, PRESENCE, &Load::Udp(1, 53), b"some octets");
    none[40..42].fill(0);
    assert_eq!(checksum_edit(&none), ChecksumEdit::Keep);
    let ping = frame(CLIENT, PRESENCE, &Load::EchoRequest(1), b"some octets");
    assert_eq!(checksum_edit(&ping), ChecksumEdit::Write);
}
