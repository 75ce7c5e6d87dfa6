//! Frame in, verdict and reason out: one row a case. Every reason that the path itself can give has at
//! least one row.

use std::collections::BTreeSet;

use crate::two_sites::*;
use gateway_common::{
    Reason,
    host::{self, MemoryTables},
    map::{Allow, AllowKey, ClientAddress, Presence, PresenceKind, Service, ServiceKind},
    path::Arrival,
    verdict::{Verdict, Way},
};

/// Which hook a case is for. A LAN case is also put to the guard, which must agree on refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    EdgeLan,
    CloudLan,
    EdgeLink,
    CloudLink,
}

/// What a case expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Pass,
    Answer,
    Tell(Reason),
    Forward(Way),
    Refuse(Reason),
}

impl From<&Verdict> for Want {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Answer(_) => Self::Answer,
            Verdict::Tell(tell) => Self::Tell(tell.reason),
            Verdict::Forward(forward) => Self::Forward(forward.egress.way),
            Verdict::Refuse(reason) => Self::Refuse(*reason),
        }
    }
}

struct Case {
    name: &'static str,
    at: At,
    frame: Vec<u8>,
    /// Changes to how it comes in and to the tables.
    with: fn(&mut MemoryTables, &mut Arrival),
    want: Want,
}

fn plain(_: &mut MemoryTables, _: &mut Arrival) {}

const SYN: Load = Load::Tcp(40_000, 5672, Bits::Syn);
const EDGE_CLIENT: [u8; 4] = [240, 0, 16, 5];
const EDGE_STRANGER: [u8; 4] = [240, 0, 16, 66];
const SERVICE: [u8; 4] = [240, 0, 8, 1];

/// A SYN from the allowed client to the presence, with octets of the frame replaced.
fn patched(patches: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = frame(CLIENT, PRESENCE, &SYN, b"");
    patches.iter().for_each(|(at, value)| bytes[*at] = *value);
    bytes
}

/// What a link delivers.
fn packet(source: [u8; 4], destination: [u8; 4], load: Load) -> Vec<u8> {
    frame(source, destination, &load, b"").split_off(14)
}

fn arp(operation: u8, target: [u8; 4]) -> Vec<u8> {
    let mut bytes = [[0xff; 6], HOST_MAC].concat();
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    bytes.extend(HOST_MAC);
    bytes.extend(CLIENT);
    bytes.extend([0; 6]);
    bytes.extend(target);
    bytes
}

fn lan_cases() -> Vec<Case> {
    use At::{CloudLan, EdgeLan};
    use Want::{Answer, Forward, Pass, Refuse, Tell};
    let other = [10, 0, 0, 77];
    let tcp = |to, bits| frame(CLIENT, PRESENCE, &Load::Tcp(40_000, to, bits), b"");
    let row = |name, at, frame, want| Case { name, at, frame, with: plain, want };
    let with = |name, at, frame, with, want| Case { name, at, frame, with, want };
    vec![
        row("syn to a service", EdgeLan, tcp(5672, Bits::Syn), Forward(Way::Link)),
        row("first port of a range", EdgeLan, tcp(8000, Bits::Syn), Forward(Way::Link)),
        row("last port of a range", EdgeLan, tcp(8007, Bits::Syn), Forward(Way::Link)),
        row("below a range", EdgeLan, tcp(7999, Bits::Syn), Refuse(Reason::PortNotServed)),
        row("behind a range", EdgeLan, tcp(8008, Bits::Syn), Refuse(Reason::PortNotServed)),
        row(
            "a declared port of another protocol",
            EdgeLan,
            frame(CLIENT, PRESENCE, &Load::Udp(1, 5672), b""),
            Refuse(Reason::PortNotServed),
        ),
        row(
            "a datagram",
            EdgeLan,
            frame(CLIENT, PRESENCE, &Load::Udp(1, 53), b"query"),
            Forward(Way::Link),
        ),
        row(
            "an echo request",
            EdgeLan,
            frame(CLIENT, PRESENCE, &Load::EchoRequest(1), b"ping"),
            Forward(Way::Link),
        ),
        row(
            "an echo reply that nobody asked for",
            EdgeLan,
            frame(CLIENT, PRESENCE, &Load::EchoReply(1), b"pong"),
            Refuse(Reason::PortNotServed),
        ),
        row(
            "a protocol by number",
            EdgeLan,
            frame(CLIENT, PRESENCE, &Load::Other(47), b"gre"),
            Forward(Way::Link),
        ),
        row(
            "an undeclared protocol",
            EdgeLan,
            frame(CLIENT, PRESENCE, &Load::Other(50), b"esp"),
            Refuse(Reason::PortNotServed),
        ),
        row("tcp without a handshake", EdgeLan, tcp(5672, Bits::Ack), Refuse(Reason::NoFlow)),
        row("syn and ack first", EdgeLan, tcp(5672, Bits::SynAck), Refuse(Reason::NoFlow)),
        row("reset first", EdgeLan, tcp(5672, Bits::Rst), Refuse(Reason::NoFlow)),
        row("fin first", EdgeLan, tcp(5672, Bits::FinAck), Refuse(Reason::NoFlow)),
        row(
            "a client without permission",
            EdgeLan,
            frame(STRANGER, PRESENCE, &SYN, b""),
            Refuse(Reason::NoPolicy),
        ),
        row(
            "an unassigned presence",
            EdgeLan,
            frame(CLIENT, UNASSIGNED, &SYN, b""),
            Refuse(Reason::NoPresence),
        ),
        row("another host", EdgeLan, frame(CLIENT, other, &SYN, b""), Pass),
        row("the gateway itself", EdgeLan, frame(CLIENT, [10, 0, 0, 1], &SYN, b""), Pass),
        row("the internet", EdgeLan, frame(CLIENT, [198, 51, 100, 1], &SYN, b""), Pass),
        row(
            "a transit address from the lan",
            EdgeLan,
            frame(CLIENT, SERVICE, &SYN, b""),
            Refuse(Reason::TransitOnLan),
        ),
        row(
            "a presence as sender",
            EdgeLan,
            frame(UNASSIGNED, PRESENCE, &SYN, b""),
            Refuse(Reason::SpoofedSource),
        ),
        row(
            "a sender of no client network",
            EdgeLan,
            frame([192, 0, 2, 1], PRESENCE, &SYN, b""),
            Refuse(Reason::NotAClient),
        ),
        with(
            "a sender behind another interface",
            EdgeLan,
            patched(&[]),
            |_, arrival| arrival.interface = LAN + 1,
            Refuse(Reason::WrongInterface),
        ),
        with(
            "a frame for another host's hardware address",
            EdgeLan,
            patched(&[]),
            |_, arrival| arrival.for_us = false,
            Pass,
        ),
        with(
            "before any settings",
            EdgeLan,
            patched(&[]),
            |tables, _| tables.desired.settings.generation = 0,
            Pass,
        ),
        with(
            "a service whose site has no link",
            EdgeLan,
            patched(&[]),
            |tables, _| tables.desired.routes.clear(),
            Refuse(Reason::NoRoute),
        ),
        with(
            "a presence of a service that is gone",
            EdgeLan,
            patched(&[]),
            |tables, _| tables.desired.services.clear(),
            Refuse(Reason::NoService),
        ),
        with(
            "a full flow table",
            EdgeLan,
            patched(&[]),
            |tables, _| tables.opening_capacity = 0,
            Refuse(Reason::FlowTableFull),
        ),
        row("the last hop", EdgeLan, patched(&[(22, 1)]), Tell(Reason::TtlExpired)),
        row("no hop", EdgeLan, patched(&[(22, 0)]), Tell(Reason::TtlExpired)),
        row(
            "larger than the link carries",
            EdgeLan,
            frame(CLIENT, PRESENCE, &Load::Udp(4_000, 53), &[0; 1400]),
            Tell(Reason::TooBig),
        ),
        row(
            "larger, but not allowed at all",
            EdgeLan,
            frame(STRANGER, PRESENCE, &Load::Udp(4_000, 53), &[0; 1400]),
            Refuse(Reason::NoPolicy),
        ),
        row("ip options", EdgeLan, patched(&[(14, 0x46)]), Refuse(Reason::IpOptions)),
        row("a header of four words", EdgeLan, patched(&[(14, 0x44)]), Refuse(Reason::Malformed)),
        row(
            "version 6 in an ipv4 frame",
            EdgeLan,
            patched(&[(14, 0x65)]),
            Refuse(Reason::Malformed),
        ),
        row("more fragments", EdgeLan, patched(&[(20, 0x20)]), Forward(Way::Link)),
        row("a later fragment", EdgeLan, patched(&[(21, 1)]), Refuse(Reason::FragmentUnknown)),
        row(
            "a fragment of an icmp error",
            EdgeLan,
            {
                let mut bytes = frame(CLIENT, PRESENCE, &Load::EchoRequest(1), b"");
                (bytes[20], bytes[34]) = (0x20, 3);
                bytes
            },
            Refuse(Reason::Fragment),
        ),
        row("do not fragment", EdgeLan, patched(&[(20, 0x40)]), Forward(Way::Link)),
        row("longer than the frame", EdgeLan, patched(&[(16, 9)]), Refuse(Reason::Truncated)),
        row("shorter than its header", EdgeLan, patched(&[(17, 19)]), Refuse(Reason::Malformed)),
        row("no room for tcp", EdgeLan, patched(&[(17, 39)]), Refuse(Reason::Truncated)),
        row("tcp header too short", EdgeLan, patched(&[(46, 0x40)]), Refuse(Reason::Malformed)),
        row("tcp header too long", EdgeLan, patched(&[(46, 0xf0)]), Refuse(Reason::Malformed)),
        row("syn and fin", EdgeLan, patched(&[(47, 0x03)]), Refuse(Reason::Malformed)),
        row("syn and rst", EdgeLan, patched(&[(47, 0x06)]), Refuse(Reason::Malformed)),
        row("no tcp flag", EdgeLan, patched(&[(47, 0)]), Refuse(Reason::Malformed)),
        row("a frame of 13 octets", EdgeLan, patched(&[])[..13].to_vec(), Pass),
        row("a frame that ends in the ip header", EdgeLan, patched(&[])[..30].to_vec(), Pass),
        row(
            "an icmp redirect",
            EdgeLan,
            {
                let mut bytes = frame(CLIENT, PRESENCE, &Load::EchoRequest(1), b"");
                bytes[34] = 5;
                bytes
            },
            Refuse(Reason::IcmpType),
        ),
        row(
            "an echo request with a code",
            EdgeLan,
            {
                let mut bytes = frame(CLIENT, PRESENCE, &Load::EchoRequest(1), b"");
                bytes[35] = 1;
                bytes
            },
            Refuse(Reason::IcmpType),
        ),
        row("arp for a service's presence", EdgeLan, arp(1, PRESENCE), Answer),
        row("arp for a client presence", CloudLan, arp(1, CLIENTS), Answer),
        row("arp for an unassigned presence", EdgeLan, arp(1, UNASSIGNED), Pass),
        row("arp for a host", EdgeLan, arp(1, other), Pass),
        row("an arp reply", EdgeLan, arp(2, PRESENCE), Pass),
        row("a short arp message", EdgeLan, arp(1, PRESENCE)[..41].to_vec(), Pass),
        with(
            "arp on an interface without client networks",
            EdgeLan,
            arp(1, PRESENCE),
            |_, arrival| arrival.interface = LAN + 1,
            Pass,
        ),
        row(
            "a back end that speaks first",
            CloudLan,
            frame(SERVER, CLIENTS, &Load::Tcp(5672, 4000, Bits::SynAck), b""),
            Refuse(Reason::NotAReply),
        ),
        row(
            "a connection to the client presence",
            CloudLan,
            frame(CLIENT, CLIENTS, &SYN, b""),
            Refuse(Reason::NotAReply),
        ),
    ]
}

fn link_cases() -> Vec<Case> {
    use At::{CloudLink, EdgeLink};
    use Want::{Forward, Refuse, Tell};
    let row = |name, at, frame, want| Case { name, at, frame, with: plain, want };
    let with = |name, at, frame, with, want| Case { name, at, frame, with, want };
    let edge_b = [240, 0, 32, 5];
    vec![
        row("an allowed client", CloudLink, packet(EDGE_CLIENT, SERVICE, SYN), Forward(Way::Lan)),
        row(
            "a client that the first gateway should have refused",
            CloudLink,
            packet(EDGE_STRANGER, SERVICE, SYN),
            Refuse(Reason::NoPolicy),
        ),
        row(
            "an allowed client's transit address from a site without permission",
            CloudLink,
            packet(edge_b, SERVICE, SYN),
            Refuse(Reason::NoPolicy),
        ),
        row(
            "this site's own block as sender",
            CloudLink,
            packet([240, 0, 0, 5], SERVICE, SYN),
            Refuse(Reason::SpoofedSource),
        ),
        row(
            "a sender of no site",
            CloudLink,
            packet([240, 1, 0, 5], SERVICE, SYN),
            Refuse(Reason::SpoofedSource),
        ),
        with(
            "a sender of a site behind another link",
            CloudLink,
            packet(EDGE_CLIENT, SERVICE, SYN),
            |_, arrival| arrival.interface = LINK + 1,
            Refuse(Reason::SpoofedSource),
        ),
        row(
            "a sender that is no transit address",
            CloudLink,
            packet(CLIENT, SERVICE, SYN),
            Refuse(Reason::NotTransit),
        ),
        row(
            "a receiver that is no transit address",
            CloudLink,
            packet(EDGE_CLIENT, SERVER, SYN),
            Refuse(Reason::NotTransit),
        ),
        row(
            "a receiver of no site",
            CloudLink,
            packet(EDGE_CLIENT, [240, 1, 0, 5], SYN),
            Refuse(Reason::NoRoute),
        ),
        row(
            "a service that does not exist",
            CloudLink,
            packet(EDGE_CLIENT, [240, 0, 8, 2], SYN),
            Refuse(Reason::NoService),
        ),
        row(
            "a client of this site, out of the blue",
            CloudLink,
            packet(EDGE_CLIENT, [240, 0, 0, 10], SYN),
            Refuse(Reason::NoFlow),
        ),
        row(
            "a port that is not served",
            CloudLink,
            packet(EDGE_CLIENT, SERVICE, Load::Tcp(1, 22, Bits::Syn)),
            Refuse(Reason::PortNotServed),
        ),
        row(
            "an answer that nobody asked for",
            EdgeLink,
            packet(SERVICE, EDGE_CLIENT, Load::Tcp(5672, 40_000, Bits::SynAck)),
            Refuse(Reason::NoFlow),
        ),
        row(
            "a service that opens a connection to a client",
            EdgeLink,
            packet(SERVICE, EDGE_CLIENT, Load::Tcp(5672, 22, Bits::Syn)),
            Refuse(Reason::NoFlow),
        ),
        row(
            "a third site's packet at a site that does not relay",
            CloudLink,
            packet(EDGE_CLIENT, edge_b, SYN),
            Refuse(Reason::RelayOff),
        ),
        with(
            "a third site's packet at a hub",
            CloudLink,
            packet(EDGE_CLIENT, edge_b, SYN),
            |tables, _| tables.desired.settings.relay = 1,
            Forward(Way::Relay),
        ),
        with(
            "a third site's packet at its last hop",
            CloudLink,
            {
                let mut bytes = packet(EDGE_CLIENT, edge_b, SYN);
                bytes[8] = 1;
                bytes
            },
            |tables, _| tables.desired.settings.relay = 1,
            Tell(Reason::TtlExpired),
        ),
        with(
            "before any settings",
            CloudLink,
            packet(EDGE_CLIENT, SERVICE, SYN),
            |tables, _| tables.desired.settings.generation = 0,
            Refuse(Reason::NotConfigured),
        ),
        with(
            "a back end outside the client networks",
            CloudLink,
            packet(EDGE_CLIENT, SERVICE, SYN),
            |tables, _| {
                let backend = address([192, 0, 2, 10]);
                tables.desired.serve(service(), &[backend]);
            },
            Refuse(Reason::BackendMoved),
        ),
        row("an empty packet", CloudLink, Vec::new(), Refuse(Reason::Truncated)),
        row(
            "a packet cut in its header",
            CloudLink,
            packet(EDGE_CLIENT, SERVICE, SYN)[..19].to_vec(),
            Refuse(Reason::Truncated),
        ),
    ]
}

#[test]
fn frames_get_the_verdicts_they_should() {
    for case in lan_cases().into_iter().chain(link_cases()) {
        let (mut tables, mut arrival) = match case.at {
            At::EdgeLan => (edge(), from_lan()),
            At::CloudLan => (cloud(), from_lan()),
            At::EdgeLink => (edge(), from_link()),
            At::CloudLink => (cloud(), from_link()),
        };
        (case.with)(&mut tables, &mut arrival);
        if matches!(case.at, At::EdgeLan | At::CloudLan) {
            let guard = Want::from(&host::guard(&case.frame, &tables, arrival));
            let expected = match case.want {
                // What the guard cannot know without a change of tables, it leaves to the next hook.
                Want::Answer
                | Want::Forward(_)
                | Want::Tell(_)
                | Want::Refuse(Reason::NoRoute | Reason::FlowTableFull | Reason::FragmentUnknown) => {
                    Want::Pass
                }
                want @ (Want::Pass | Want::Refuse(_)) => want,
            };
            assert_eq!(guard, expected, "guard: {}", case.name);
        }
        let verdict = match case.at {
            At::EdgeLan | At::CloudLan => host::lan(&case.frame, &tables, arrival),
            At::EdgeLink | At::CloudLink => host::link(&case.frame, &tables, arrival),
        };
        assert_eq!(Want::from(&verdict), case.want, "{}", case.name);
        assert!(tables.counted(verdict.counter()) > 0, "counted: {}", case.name);
    }
}

#[test]
fn every_reason_has_a_case() {
    let wanted = lan_cases().into_iter().chain(link_cases()).filter_map(|case| match case.want {
        Want::Refuse(reason) | Want::Tell(reason) => Some(reason),
        Want::Pass | Want::Answer | Want::Forward(_) => None,
    });
    let mut covered: BTreeSet<Reason> = wanted.collect();
    // Have a test of their own below or need a kernel.
    covered.extend([
        Reason::ClientQuota,
        Reason::SiteQuota,
        Reason::NoBackend,
        Reason::PortsExhausted,
        Reason::BackendMoved,
        Reason::KernelRefused,
        // See the trains in `fragments`.
        Reason::FragmentOverlap,
        Reason::FragmentScattered,
    ]);
    let all: BTreeSet<Reason> = Reason::ALL.iter().copied().collect();
    assert_eq!(covered, all);
}

#[test]
fn arp_is_answered_with_the_gateways_own_address() {
    let mut bytes = arp(1, PRESENCE);
    let verdict = host::lan(&bytes, &edge(), from_lan());
    host::execute(&mut bytes, &verdict);
    let mut expected = [HOST_MAC, GATEWAY_MAC].concat();
    expected.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    expected.extend(GATEWAY_MAC);
    expected.extend(PRESENCE);
    expected.extend(HOST_MAC);
    expected.extend(CLIENT);
    assert_eq!(bytes, expected);
}

#[test]
fn a_protocol_without_ports_has_room_for_one_client_of_a_back_end() {
    let mut tables = cloud();
    let whole_site = AllowKey::clients(service(), transit([240, 0, 16, 0]), 20);
    tables
        .desired
        .allows
        .insert(whole_site, Allow::new(RULE, ClientAddress::Shared(address(CLIENTS))));
    let first = host::link(&packet(EDGE_CLIENT, SERVICE, Load::Other(47)), &tables, from_link());
    assert!(matches!(first, Verdict::Forward(_)));
    let second = host::link(&packet(EDGE_STRANGER, SERVICE, Load::Other(47)), &tables, from_link());
    assert_eq!(second, Verdict::Refuse(Reason::PortsExhausted));
}

#[test]
fn a_moved_back_end_ends_its_connections() {
    let mut tables = cloud();
    let syn = packet(EDGE_CLIENT, SERVICE, SYN);
    assert!(matches!(host::link(&syn, &tables, from_link()), Verdict::Forward(_)));
    let mut moved = tables.desired.clone();
    moved.serve(service(), &[address([10, 0, 0, 11])]);
    tables.replace(moved);
    let data = packet(EDGE_CLIENT, SERVICE, Load::Tcp(40_000, 5672, Bits::Ack));
    assert_eq!(host::link(&data, &tables, from_link()), Verdict::Refuse(Reason::BackendMoved));
    assert!(matches!(host::link(&syn, &tables, from_link()), Verdict::Forward(_)), "a new one");
}

#[test]
fn a_presence_given_to_another_service_ends_the_old_ones_connections() {
    let mut tables = edge();
    let syn = frame(CLIENT, PRESENCE, &SYN, b"");
    assert!(matches!(host::lan(&syn, &tables, from_lan()), Verdict::Forward(_)));
    let mut moved = tables.desired.clone();
    moved.presences.clear();
    moved.presences.insert(9, Presence::new(PresenceKind::Service(service())));
    let elsewhere = ServiceKind::Elsewhere { presence: address(UNASSIGNED) };
    moved.services.insert(service(), Service::new(elsewhere));
    tables.replace(moved);
    let answer = packet(SERVICE, EDGE_CLIENT, Load::Tcp(5672, 40_000, Bits::SynAck));
    assert_eq!(host::link(&answer, &tables, from_link()), Verdict::Refuse(Reason::BackendMoved));
}
