//! Datagrams in fragments: trains of them with the verdict on each, and what a receiver makes of those that
//! were carried, put together by etherparse.

use crate::{
    frames::{IP as HEADER, part},
    journey::cross,
    two_sites::*,
};
use etherparse::{SlicedPacket, defrag::IpDefragPool};
use gateway_common::{
    Reason, Ticks,
    host::{self, MemoryTables},
    map::{FragmentKey, Fragmented},
    path::Arrival,
    verdict::{ChecksumEdit, PortEdit, Verdict, Way},
};
use proptest::prelude::*;

const EDGE_CLIENT: [u8; 4] = [240, 0, 16, 5];
const SERVICE: [u8; 4] = [240, 0, 8, 1];
const QUERY: Load = Load::Udp(4000, 53);

/// One fragment of a train, and what becomes of it.
#[derive(Clone, Copy, Debug)]
struct Step {
    number: u16,
    start: usize,
    end: usize,
    more: bool,
    /// When it comes.
    at: u32,
    /// Refused for this, or forwarded.
    want: Result<(), Reason>,
}

/// A fragment that others follow.
const fn more(start: usize, end: usize) -> Step {
    Step { number: 7, start, end, more: true, at: 1000, want: Ok(()) }
}

/// The last fragment.
const fn last(start: usize, end: usize) -> Step {
    Step { more: false, ..more(start, end) }
}

impl Step {
    const fn of(self, number: u16) -> Self {
        Self { number, ..self }
    }

    const fn after(self, ticks: u32) -> Self {
        Self { at: 1000 + ticks, ..self }
    }

    /// Told an earlier time than what came before it: a CPU was held up between the clock and the table.
    const fn held_up(self, ticks: u32) -> Self {
        Self { at: 1000 - ticks, ..self }
    }

    const fn refused(self, reason: Reason) -> Self {
        Self { want: Err(reason), ..self }
    }
}

const OVERLAP: Reason = Reason::FragmentOverlap;
const UNKNOWN: Reason = Reason::FragmentUnknown;
const SCATTERED: Reason = Reason::FragmentScattered;
const BAD: Reason = Reason::Malformed;

/// Trains of fragments of a datagram of 4,008 octets.
fn trains() -> Vec<(&'static str, Vec<Step>)> {
    let late = Fragmented::TIMEOUT + 1;
    vec![
        ("in order", vec![more(0, 1480), more(1480, 2960), last(2960, 4008)]),
        ("the last before the middle", vec![more(0, 1480), last(2960, 4008), more(1480, 2960)]),
        (
            "the later ones backwards",
            vec![
                more(0, 800),
                last(3200, 4008),
                more(2400, 3200),
                more(1600, 2400),
                more(800, 1600),
            ],
        ),
        ("in pieces of one unit", vec![more(0, 8), more(8, 16), more(16, 24), last(24, 25)]),
        ("a later one alone", vec![last(1480, 4008).refused(UNKNOWN)]),
        (
            "a later one before the first",
            vec![last(1480, 4008).refused(UNKNOWN), more(0, 1480), last(1480, 4008)],
        ),
        (
            "a later one twice",
            vec![
                more(0, 1480),
                more(1480, 2960),
                more(1480, 2960).refused(OVERLAP),
                last(2960, 4008).refused(OVERLAP),
            ],
        ),
        (
            "the first twice",
            vec![
                more(0, 1480),
                more(0, 1480).refused(OVERLAP),
                more(1480, 2960).refused(OVERLAP),
                last(2960, 4008).refused(OVERLAP),
            ],
        ),
        (
            "another first",
            vec![more(0, 1480), more(0, 24).refused(OVERLAP), last(1480, 4008).refused(OVERLAP)],
        ),
        (
            "a unit that came with the one before",
            vec![
                more(0, 1480),
                more(1472, 2960).refused(OVERLAP),
                more(1480, 2960).refused(OVERLAP),
            ],
        ),
        (
            "a unit that came with the one behind",
            vec![more(0, 1480), last(2960, 4008), more(1480, 2968).refused(OVERLAP)],
        ),
        (
            "inside of what came",
            vec![more(0, 1480), more(1480, 2960), more(1600, 1608).refused(OVERLAP)],
        ),
        (
            "around what came",
            vec![more(0, 1480), more(2000, 2008), last(1480, 4008).refused(OVERLAP)],
        ),
        ("behind the last", vec![more(0, 1480), last(1480, 2960), more(0, 8).of(8)]),
        (
            "behind a last one that came early",
            vec![more(0, 800), last(1480, 2960), more(2960, 3200).refused(OVERLAP)],
        ),
        (
            "a last one before others",
            vec![more(0, 800), more(2960, 3200), last(1480, 2000).refused(OVERLAP)],
        ),
        ("two last ones", vec![more(0, 800), last(2960, 4008), last(1480, 2000).refused(OVERLAP)]),
        (
            "two datagrams at a time",
            vec![more(0, 1480), more(0, 1480).of(8), last(1480, 4008).of(8), last(1480, 4008)],
        ),
        (
            "a number used again once its datagram is whole",
            vec![more(0, 1480), last(1480, 4008), more(0, 800), last(800, 4008)],
        ),
        (
            "a later one again once all is there",
            vec![more(0, 1480), last(1480, 4008), last(1480, 4008).refused(UNKNOWN)],
        ),
        (
            "a later one just in time",
            vec![more(0, 1480), last(1480, 4008).after(Fragmented::TIMEOUT)],
        ),
        ("a later one that was held up", vec![more(0, 1480), last(1480, 4008).held_up(1)]),
        (
            "a first one twice, the second held up",
            vec![more(0, 1480), more(0, 1480).held_up(1).refused(OVERLAP)],
        ),
        (
            "a later one too late",
            vec![more(0, 1480), last(1480, 4008).after(late).refused(UNKNOWN)],
        ),
        (
            "a number used again after a time",
            vec![more(0, 1480), more(0, 800).after(late), last(800, 4008).after(late)],
        ),
        (
            "a spoilt datagram's number after a time",
            vec![more(0, 1480), more(0, 800).refused(OVERLAP), more(0, 800).after(late)],
        ),
        (
            "more parts than are told apart",
            vec![
                more(0, 8),
                more(16, 24),
                more(32, 40),
                more(48, 56),
                more(64, 72).refused(SCATTERED),
                more(8, 16),
                more(64, 72),
                more(80, 88).refused(SCATTERED),
                more(24, 32),
                more(40, 48),
                more(56, 64),
                more(72, 80),
                last(80, 81),
                last(80, 81).refused(UNKNOWN),
            ],
        ),
        ("cut within a unit", vec![more(0, 1481).refused(BAD), more(0, 1484).refused(BAD)]),
        ("a later one cut within a unit", vec![more(0, 1480), more(1480, 2961).refused(BAD)]),
        ("nothing in it", vec![more(0, 1480), last(1480, 1480).refused(BAD)]),
        ("the furthest there is", vec![more(0, 1480), last(65_512, 65_515)]),
        ("an octet further", vec![more(0, 1480), last(65_512, 65_516).refused(BAD)]),
        ("far beyond", vec![more(0, 1480), last(65_528, 65_528 + 1480).refused(BAD)]),
        ("a first one too short for its header", vec![last(8, 4008).refused(UNKNOWN)]),
    ]
}

/// Puts fragments of a packet between these ends to a hook, one after the other.
fn run(tables: &MemoryTables, at: At, packet: &[u8], name: &str, steps: &[Step]) {
    for (index, step) in steps.iter().enumerate() {
        let bytes = part(packet, step.number, step.start, step.end, step.more);
        let arrived = |arrival| Arrival { now: Ticks(step.at), ..arrival };
        let (verdict, way) = match at {
            At::Lan => {
                let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 5, 8, 0], &bytes[..]].concat();
                let before = tables.fragmented();
                let guard = host::guard(&frame, tables, arrived(from_lan()));
                assert_eq!(tables.fragmented(), before, "the guard keeps nothing: {name}, {index}");
                match step.want {
                    Err(reason) if !is_for_lan(reason) => {
                        assert_eq!(guard, Verdict::Refuse(reason), "guard: {name}, step {index}");
                    }
                    Ok(()) | Err(_) => assert_eq!(guard, Verdict::Pass, "guard: {name}, {index}"),
                }
                (host::lan(&frame, tables, arrived(from_lan())), Way::Link)
            }
            At::Link => (host::link(&bytes, tables, arrived(from_link())), Way::Lan),
        };
        match (verdict, step.want) {
            (Verdict::Forward(forward), Ok(())) => {
                assert_eq!(forward.egress.way, way, "{name}, step {index}");
                if step.start != 0 {
                    assert_eq!(forward.rewrite.ports, PortEdit::Keep, "{name}, step {index}");
                    assert_eq!(forward.rewrite.checksum, ChecksumEdit::Keep, "{name}, {index}");
                    assert_eq!(forward.rewrite.segment_size.offset, 0, "{name}, step {index}");
                }
            }
            (got, Err(reason)) => {
                assert_eq!(got, Verdict::Refuse(reason), "{name}, step {index}");
            }
            (got, Ok(())) => panic!("{got:?}: {name}, step {index}"),
        }
    }
}

/// What only `lan` refuses, since it alone remembers fragments and tells senders.
fn is_for_lan(reason: Reason) -> bool {
    matches!(reason, UNKNOWN | OVERLAP | SCATTERED | Reason::TtlExpired)
}

#[derive(Clone, Copy)]
enum At {
    Lan,
    Link,
}

#[test]
fn trains_get_the_verdicts_they_should() {
    let payload = vec![0x5a; 4000];
    let at_edge = frame(CLIENT, PRESENCE, &QUERY, &payload).split_off(14);
    let in_link = frame(EDGE_CLIENT, SERVICE, &QUERY, &payload).split_off(14);
    let ping = frame(CLIENT, PRESENCE, &Load::EchoRequest(9), &payload).split_off(14);
    let by_number = frame(EDGE_CLIENT, SERVICE, &Load::Other(47), &payload).split_off(14);
    for (name, steps) in trains() {
        run(&edge(), At::Lan, &at_edge, name, &steps);
        run(&cloud(), At::Link, &in_link, name, &steps);
        run(&edge(), At::Lan, &ping, name, &steps);
        run(&cloud(), At::Link, &by_number, name, &steps);
    }
}

/// RFC 1858: neither may the header of TCP be cut, nor what was judged be replaced by a later fragment.
#[test]
fn a_tcp_header_comes_whole_and_is_not_replaced() {
    let syn = frame(CLIENT, PRESENCE, &Load::Tcp(1, 5672, Bits::Syn), &[0; 64]).split_off(14);
    let steps = [
        more(0, 16).refused(Reason::Truncated),
        last(16, 88).refused(UNKNOWN),
        more(0, 24).of(8),
        more(8, 24).of(8).refused(OVERLAP),
        last(24, 88).of(8).refused(OVERLAP),
        more(0, 24).of(9),
        last(24, 88).of(9),
    ];
    run(&edge(), At::Lan, &syn, "TCP", &steps);
}

#[test]
fn first_fragments_are_checked_as_far_as_they_go() {
    let mut query = frame(CLIENT, PRESENCE, &QUERY, &[0; 400]).split_off(14);
    run(&edge(), At::Lan, &query, "a header of UDP alone", &[more(0, 8), last(8, 408)]);
    query[24..26].copy_from_slice(&[0, 7]);
    run(&edge(), At::Lan, &query, "too short a length", &[more(0, 200).refused(BAD)]);
    let mut ping = frame(CLIENT, PRESENCE, &Load::EchoRequest(1), &[0; 400]).split_off(14);
    ping[20] = 3;
    run(&edge(), At::Lan, &ping, "an error", &[more(0, 200).refused(Reason::Fragment)]);
}

#[test]
fn a_refused_first_fragment_leaves_nothing_behind() {
    let tables = edge();
    let denied = frame(STRANGER, PRESENCE, &QUERY, &[0; 4000]).split_off(14);
    let steps = [more(0, 1480).refused(Reason::NoPolicy), last(1480, 4008).refused(UNKNOWN)];
    run(&tables, At::Lan, &denied, "a stranger", &steps);
    assert_eq!(tables.fragmented(), []);
    let tables = cloud();
    let other_port = frame(EDGE_CLIENT, SERVICE, &Load::Udp(1, 54), &[0; 4000]).split_off(14);
    let steps = [more(0, 1480).refused(Reason::PortNotServed), last(1480, 4008).refused(UNKNOWN)];
    run(&tables, At::Link, &other_port, "a port that is not served", &steps);
    assert_eq!(tables.fragmented(), []);
}

#[test]
fn a_withdrawn_permission_ends_a_datagram_at_its_next_fragment() {
    let mut tables = cloud();
    let query = frame(EDGE_CLIENT, SERVICE, &QUERY, &[0; 4000]).split_off(14);
    run(&tables, At::Link, &query, "allowed", &[more(0, 1480), more(1480, 2960)]);
    let mut withdrawn = tables.desired.clone();
    withdrawn.allows.clear();
    tables.replace(withdrawn);
    let refused = [last(2960, 4008).refused(Reason::NoPolicy)];
    run(&tables, At::Link, &query, "withdrawn", &refused);
}

#[test]
fn the_last_hop_refuses_fragments_too() {
    let mut query = frame(CLIENT, PRESENCE, &QUERY, &[0; 4000]).split_off(14);
    let tables = edge();
    run(&tables, At::Lan, &query, "enough hops", &[more(0, 1480)]);
    query[8] = 1;
    let steps = [more(1480, 2960).refused(Reason::TtlExpired)];
    run(&tables, At::Lan, &query, "the last hop", &steps);
}

/// A hub keeps nothing: fragments between two other sites go by their addresses alone, in any order.
#[test]
fn a_hub_relays_fragments_without_remembering_them() {
    let mut hub = cloud();
    hub.desired.settings.relay = 1;
    let query = frame(EDGE_CLIENT, [240, 0, 40, 1], &QUERY, &[7; 4000]).split_off(14);
    for (start, end, more) in [(1480, 2960, true), (0, 1480, true), (1480, 2960, true)] {
        let mut bytes = part(&query, 7, start, end, more);
        let before = bytes.clone();
        let verdict = host::link(&bytes, &hub, from_link());
        assert!(matches!(verdict, Verdict::Forward(forward) if forward.egress.way == Way::Relay));
        host::execute(&mut bytes, &verdict);
        assert_eq!(bytes[8], before[8] - 1);
        assert_eq!(bytes[12..], before[12..], "only the hops and the header's checksum change");
    }
    assert_eq!(hub.fragmented(), []);
}

/// Nobody's fragments can push the table beyond its room; the oldest datagrams are forgotten.
#[test]
fn the_table_of_fragments_does_not_grow_beyond_its_room() {
    use gateway_common::{
        map::{Fragments, Map},
        tables::{Insertion, Tables},
    };
    let tables = edge();
    let number = |number: u32| FragmentKey {
        identification: [(number >> 8) as u8, number as u8],
        ..FragmentKey::default()
    };
    for index in 0..Fragments::CAPACITY + 10 {
        assert_eq!(tables.add_fragments(&number(index)), Insertion::Inserted);
    }
    assert_eq!(tables.fragmented().len(), Fragments::CAPACITY as usize);
    assert!(tables.fragments(&number(9)).is_none() && tables.fragments(&number(10)).is_some());
}

/// The loads that can be fragmented towards the service.
fn loads() -> impl Strategy<Value = Load> {
    prop_oneof![
        any::<u16>().prop_map(|from| Load::Udp(from, 53)),
        any::<u16>().prop_map(Load::EchoRequest),
        any::<u16>().prop_map(|from| Load::Tcp(from, 80, Bits::Syn)),
        Just(Load::Other(47)),
    ]
}

/// Sends a frame in fragments through both gateways, the first one first, and puts together what arrives.
fn reassembled(
    (from, to): (&MemoryTables, &MemoryTables),
    frame: &[u8],
    cuts: &[usize],
    order: &[prop::sample::Index],
) -> Vec<u8> {
    let packet = &frame[14..];
    let payload = packet.len() - HEADER;
    let mut ends: Vec<usize> =
        cuts.iter().map(|cut| 64 + cut * 8).filter(|end| *end < payload).collect();
    ends.sort_unstable();
    ends.dedup();
    ends.push(payload);
    let mut start = 0;
    let mut parts: Vec<Vec<u8>> = ends
        .iter()
        .map(|end| {
            let bytes = part(packet, 77, start, *end, *end < payload);
            start = *end;
            bytes
        })
        .collect();
    for (place, index) in (1..parts.len()).zip(order) {
        let other = 1 + index.index(parts.len() - 1);
        parts.swap(place, other);
    }
    let mut pool = IpDefragPool::<(), ()>::new();
    let mut whole = None;
    for part in &parts {
        let frame = [&frame[..14], part].concat();
        let (_, arrived) = cross(from, to, frame).expect("a fragment of an allowed datagram");
        let sliced = SlicedPacket::from_ip(&arrived).expect("an IP packet");
        let put_together = pool.process_sliced_packet(&sliced, (), ()).expect("it fits");
        let payload = if parts.len() == 1 {
            Some(arrived[HEADER..].to_vec())
        } else {
            put_together.map(|it| it.payload)
        };
        if let Some(payload) = payload {
            assert!(whole.is_none());
            let mut packet = part_of_whole(&arrived);
            packet.extend(payload);
            whole = Some(packet);
        }
    }
    assert_eq!(from.fragmented(), [], "a whole datagram is forgotten");
    assert_eq!(to.fragmented(), []);
    let whole = whole.expect("all of it arrived");
    part(&whole, 77, 0, whole.len() - HEADER, false)
}

/// The header of an arrived fragment.
fn part_of_whole(arrived: &[u8]) -> Vec<u8> {
    arrived[..HEADER].to_vec()
}

/// Where a datagram is cut, and how its later fragments are shuffled: seven in any order, more in turn.
fn cuts() -> impl Strategy<Value = (Vec<usize>, Vec<prop::sample::Index>)> {
    let few = prop::collection::vec(0usize..1100, 0..=6);
    let order = prop::collection::vec(any::<prop::sample::Index>(), 6);
    let many = prop::collection::vec(0usize..1100, 0..40);
    prop_oneof![(few, order), many.prop_map(|cuts| (cuts, Vec::new()))]
}

proptest! {
    /// However a datagram is cut and its later fragments are shuffled: what the receiver puts together is
    /// the packet that one piece would have been, checksums included, and so is its answer.
    #[test]
    fn fragments_put_together_are_the_packet_translated(
        load in loads(),
        payload in prop::collection::vec(any::<u8>(), 1..9000),
        (cuts, order) in cuts(),
    ) {
        let (edge, cloud) = (edge(), cloud());
        let sent = frame(CLIENT, PRESENCE, &load, &payload);
        let whole = reassembled((&edge, &cloud), &sent, &cuts, &order);
        let got = seen(&whole);
        prop_assert_eq!(&got.payload, &payload);
        prop_assert_eq!((got.source.0, got.destination.0), (CLIENTS, SERVER));
        let (same_edge, same_cloud) = (roomy(self::edge()), roomy(self::cloud()));
        let (_, in_one) = cross(&same_edge, &same_cloud, sent).expect("allowed");
        prop_assert_eq!(&seen(&in_one), &got);
        prop_assert_eq!(edge.flows().len(), 1);

        let answer = frame(SERVER, CLIENTS, &crate::journey::reply(&load, &got), &payload);
        let back = seen(&reassembled((&cloud, &edge), &answer, &cuts, &order));
        prop_assert_eq!(&back.payload, &payload);
        prop_assert_eq!((back.source.0, back.destination.0), (PRESENCE, CLIENT));
    }
}
