//! What senders are told: by whom, about which packets, and that a traceroute across a presence shows the
//! presence and nothing of the other site.

use crate::{
    frames::{with_ttl, without_df},
    two_sites::*,
};
use etherparse::{Icmpv4Type, NetSlice, SlicedPacket, TransportSlice, icmpv4};
use gateway_common::{
    Reason,
    host::{self, MemoryTables},
    path::Arrival,
    verdict::{Tell, Verdict},
};
use proptest::prelude::*;

/// A message as its receiver reads it.
struct Told {
    from: [u8; 4],
    to: [u8; 4],
    message: Icmpv4Type,
    quoted: Vec<u8>,
}

/// Reads an IP packet and checks its checksums.
fn read(packet: &[u8]) -> Told {
    let sliced = SlicedPacket::from_ip(packet).expect("whole");
    let Some(NetSlice::Ipv4(ip)) = sliced.net else { panic!("IPv4") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(usize::from(header.total_len), packet.len());
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("ICMP") };
    assert_eq!(icmp.header().checksum, icmp.icmp_type().calc_checksum(icmp.payload()));
    Told {
        from: header.source,
        to: header.destination,
        message: icmp.icmp_type(),
        quoted: icmp.payload().to_vec(),
    }
}

/// What becomes of a frame of the LAN or a packet of a link: itself, or what its sender is told.
fn run(
    decide: fn(&[u8], &MemoryTables, Arrival) -> Verdict,
    tables: &MemoryTables,
    arrival: Arrival,
    bytes: &[u8],
) -> (Option<Reason>, Vec<u8>) {
    let verdict = decide(bytes, tables, arrival);
    let mut after = bytes.to_vec();
    host::execute(&mut after, &verdict);
    match verdict {
        Verdict::Forward(_) => (None, after),
        Verdict::Tell(Tell { reason, .. }) => (Some(reason), after),
        other => panic!("{other:?}"),
    }
}

#[test]
fn traceroute_shows_the_presence_once_for_each_gateway() {
    let (edge, cloud) = (edge(), cloud());
    let probe = |ttl| with_ttl(frame(CLIENT, PRESENCE, &Load::Udp(4_000, 53), b"probe..."), ttl);

    let first = probe(1);
    let (reason, told) = run(host::lan, &edge, from_lan(), &first);
    assert_eq!(reason, Some(Reason::TtlExpired));
    assert_eq!((&told[..6], &told[6..12]), (&first[6..12], &first[..6]), "back where it came from");
    let told = read(&told[14..]);
    assert_eq!((told.from, told.to), (PRESENCE, CLIENT));
    assert!(matches!(told.message, Icmpv4Type::TimeExceeded(_)));
    assert_eq!(told.quoted, first[14..42]);

    let second = probe(2);
    let (reason, in_link) = run(host::lan, &edge, from_lan(), &second);
    assert_eq!(reason, None);
    let (reason, told) = run(host::link, &cloud, from_link(), &in_link[14..]);
    assert_eq!(reason, Some(Reason::TtlExpired));
    let (_, told) = run(host::link, &edge, from_link(), &told);
    let told = read(&told);
    assert_eq!((told.from, told.to), (PRESENCE, CLIENT));
    assert!(matches!(told.message, Icmpv4Type::TimeExceeded(_)));
    // But for the hop that is gone and the checksum of UDP, the packet that the client sent.
    assert_eq!(told.quoted[12..26], second[26..40]);
}

#[test]
fn what_is_too_big_for_a_link_is_told_the_links_size() {
    let (edge, cloud) = (edge(), cloud());
    let payload = vec![7; 1400];
    let big = frame(CLIENT, PRESENCE, &Load::Udp(4_000, 53), &payload);
    let (reason, told) = run(host::lan, &edge, from_lan(), &big);
    assert_eq!(reason, Some(Reason::TooBig));
    let told = read(&told[14..]);
    assert_eq!((told.from, told.to), (PRESENCE, CLIENT));
    let Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::FragmentationNeeded {
        next_hop_mtu,
    }) = told.message
    else {
        panic!("{:?}", told.message)
    };
    assert_eq!(next_hop_mtu, MSS + 40);

    // What may be fragmented goes on, and so does what stands for many packets.
    let (reason, _) = run(host::lan, &edge, from_lan(), &without_df(big.clone()));
    assert_eq!(reason, None);
    let many = Arrival { packets: 2, ..from_lan() };
    assert_eq!(run(host::lan, &edge, many, &big).0, None);

    // The answer is as big.
    let small = frame(CLIENT, PRESENCE, &Load::Udp(4_000, 53), b"question");
    let (_, in_link) = run(host::lan, &edge, from_lan(), &small);
    let (_, at_server) = run(host::link, &cloud, from_link(), &in_link[14..]);
    let port = u16::from_be_bytes([at_server[20], at_server[21]]);
    let answer = frame(SERVER, CLIENTS, &Load::Udp(53, port), &payload);
    let (reason, told) = run(host::lan, &cloud, from_lan(), &answer);
    assert_eq!(reason, Some(Reason::TooBig));
    let told = read(&told[14..]);
    assert_eq!((told.from, told.to), (CLIENTS, SERVER));
}

#[test]
fn a_lan_that_carries_less_than_the_link_says_so_through_the_link() {
    let (edge, mut cloud) = (edge(), cloud());
    cloud.desired.settings.networks[0].mtu = 1000;
    let big = frame(CLIENT, PRESENCE, &Load::Udp(4_000, 53), &[7; 1100]);
    let (_, in_link) = run(host::lan, &edge, from_lan(), &big);
    let (reason, told) = run(host::link, &cloud, from_link(), &in_link[14..]);
    assert_eq!(reason, Some(Reason::TooBig));
    let (_, told) = run(host::link, &edge, from_link(), &told);
    let told = read(&told);
    assert_eq!((told.from, told.to), (PRESENCE, CLIENT));
    assert_eq!(told.quoted[12..26], big[26..40]);
}

#[test]
fn some_are_told_nothing() {
    let edge = edge();
    let refused = |frame: Vec<u8>| match host::lan(&frame, &edge, from_lan()) {
        Verdict::Refuse(reason) => reason,
        other => panic!("{other:?}"),
    };
    let spent = |source| with_ttl(frame(source, PRESENCE, &Load::Udp(4_000, 53), b"probe..."), 1);
    assert_eq!(refused(spent([10, 9, 9, 9])), Reason::TtlExpired, "no client");
    assert_eq!(refused(spent([10, 0, 0, 201])), Reason::TtlExpired, "an address of the pool");
    assert_eq!(refused(spent([224, 0, 0, 1])), Reason::TtlExpired, "many at once");
    let error = frame(CLIENT, PRESENCE, &Load::Other(1), &[3; 40]);
    assert!(matches!(refused(with_ttl(error, 1)), Reason::TtlExpired | Reason::Malformed));
    let short = frame(CLIENT, PRESENCE, &Load::Other(47), b"1234567");
    assert_eq!(refused(with_ttl(short, 1)), Reason::TtlExpired, "nothing to quote");
    let mut elsewhere = from_lan();
    elsewhere.interface += 1;
    let verdict = host::lan(&spent(CLIENT), &edge, elsewhere);
    assert_eq!(verdict, Verdict::Refuse(Reason::TtlExpired), "behind another interface");
}

proptest! {
    /// Whatever the packet, the message has right checksums and quotes it as it was.
    #[test]
    fn messages_quote_what_was_sent(
        port in any::<u16>(), payload in proptest::collection::vec(any::<u8>(), 8..600),
        tcp in any::<bool>(), ttl in 0u8..2,
    ) {
        let load = if tcp { Load::Tcp(port, 5672, Bits::Syn) } else { Load::Udp(port, 53) };
        let sent = with_ttl(frame(CLIENT, PRESENCE, &load, &payload), ttl);
        let (reason, told) = run(host::lan, &edge(), from_lan(), &sent);
        prop_assert_eq!(reason, Some(Reason::TtlExpired));
        let told = read(&told[14..]);
        prop_assert_eq!((told.from, told.to), (PRESENCE, CLIENT));
        prop_assert_eq!(&told.quoted, &sent[14..42]);
    }
}
