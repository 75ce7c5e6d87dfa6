//! Headers that contradict themselves or the frame. What is not for a presence passes whatever it looks like.

use super::*;
use crate::frames::{error, sctp, with};

/// The client's SYN, which has 44 octets, with other octets in its headers.
fn syn(at: usize, octets: &[u8]) -> Vec<u8> {
    with(at_edge(SYN, b""), at, octets)
}

/// The same in the link.
fn in_link(at: usize, octets: &[u8]) -> Vec<u8> {
    with(to_cloud(SYN, b""), at, octets)
}

/// Cut to this many octets from the IP header on, as the header says.
fn cut(frame: Vec<u8>, total: u8) -> Vec<u8> {
    let mut bytes = with(frame, 2, &[0, total]);
    bytes.truncate(ETHERNET + usize::from(total));
    bytes
}

pub(super) fn cases() -> Vec<Case> {
    [ip(), transport(), out_of_links()].into_iter().flatten().collect()
}

fn ip() -> Vec<Case> {
    vec![
        edge_lan("an empty frame", Vec::new()).passes(),
        edge_lan("a frame of 13 octets", syn(0, &[])[..13].to_vec()).passes(),
        edge_lan("a frame without an ip header", syn(0, &[])[..ETHERNET].to_vec()).passes(),
        edge_lan("a frame that ends in the ip header", syn(0, &[])[..33].to_vec()).passes(),
        edge_lan("ip options", syn(0, &[0x46])).refused(Reason::IpOptions),
        edge_lan("as many ip options as fit", syn(0, &[0x4f])).refused(Reason::IpOptions),
        edge_lan("a header of four words", syn(0, &[0x44])).refused(Reason::Malformed),
        edge_lan("a header of no words", syn(0, &[0x40])).refused(Reason::Malformed),
        edge_lan("version 6 in an ipv4 frame", syn(0, &[0x65])).refused(Reason::Malformed),
        edge_lan("version 6 with what would be options", syn(0, &[0x66]))
            .refused(Reason::Malformed),
        edge_lan("longer than the frame", syn(2, &[9, 0])).refused(Reason::Truncated),
        edge_lan("an octet longer than the frame", syn(2, &[0, 45])).refused(Reason::Truncated),
        edge_lan("shorter than its header", syn(2, &[0, 19])).refused(Reason::Malformed),
        edge_lan("of no length", syn(2, &[0, 0])).refused(Reason::Malformed),
        edge_lan("octets behind the packet", {
            let mut bytes = at_edge(DATA, b"data");
            bytes.extend(b"padding");
            bytes
        })
        .given(Gateway::open)
        .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 'data'"),
        edge_lan("a congestion mark and a class", with(at_edge(QUERY, b"query"), 1, &[0xb9]))
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 'query'"),
        edge_lan("the reserved flag", with(at_edge(QUERY, b"query"), 6, &[0x80, 0]))
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 'query'"),
        edge_lan("a broken packet for another host", {
            with(frame(CLIENT, STRANGER, &SYN, b""), 0, &[0x44])
        })
        .passes(),
        edge_lan("ip options to an unassigned presence", {
            with(frame(CLIENT, UNASSIGNED, &SYN, b""), 0, &[0x46])
        })
        .refused(Reason::NoPresence),
    ]
}

fn transport() -> Vec<Case> {
    let about = || frame(PRESENCE, CLIENT, &Load::Udp(53, 4000), b"answer");
    vec![
        edge_lan("no room for tcp", cut(syn(0, &[]), 39)).refused(Reason::Truncated),
        edge_lan("an ip header alone", cut(syn(0, &[]), 20)).refused(Reason::Truncated),
        edge_lan("tcp header too short", syn(32, &[0x40])).refused(Reason::Malformed),
        edge_lan("tcp header longer than the packet", syn(32, &[0x70])).refused(Reason::Malformed),
        edge_lan("tcp header of the greatest length", syn(32, &[0xf0])).refused(Reason::Malformed),
        edge_lan("syn and fin", syn(33, &[0x03])).refused(Reason::Malformed),
        edge_lan("syn and rst", syn(33, &[0x06])).refused(Reason::Malformed),
        edge_lan("all flags of tcp", syn(33, &[0xff])).refused(Reason::Malformed),
        edge_lan("no flag of tcp", syn(33, &[0])).refused(Reason::Malformed),
        edge_lan("push and urgent alone", syn(33, &[0x28])).refused(Reason::Malformed),
        edge_lan("no room for udp", cut(at_edge(QUERY, b""), 27)).refused(Reason::Truncated),
        edge_lan("a datagram longer than its packet", with(at_edge(QUERY, b"query"), 24, &[0, 14]))
            .refused(Reason::Malformed),
        edge_lan("a datagram shorter than its header", with(at_edge(QUERY, b"query"), 24, &[0, 7]))
            .refused(Reason::Malformed),
        edge_lan("a datagram of no length", with(at_edge(QUERY, b"query"), 24, &[0, 0]))
            .refused(Reason::Malformed),
        edge_lan("no room for icmp", cut(at_edge(PING, b""), 27)).refused(Reason::Truncated),
        edge_lan("no room for an icmp error's quote", {
            cut(error(CLIENT, 3, 3, &about()[ETHERNET..]), 55)
        })
        .refused(Reason::Truncated),
        edge_lan("no room for a chunk of sctp", cut(at_edge(SCTP, &sctp(5000, 3868, 0, 1)), 35))
            .refused(Reason::Truncated),
        edge_lan("no room for sctp", cut(at_edge(SCTP, &sctp(5000, 3868, 0, 1)), 31))
            .refused(Reason::Truncated),
    ]
}

fn out_of_links() -> Vec<Case> {
    vec![
        cloud_link("an empty packet", in_link(0, &[])[..ETHERNET].to_vec())
            .refused(Reason::Truncated),
        cloud_link("a packet cut in its header", in_link(0, &[])[..33].to_vec())
            .refused(Reason::Truncated),
        cloud_link("version 6", in_link(0, &[0x65])).refused(Reason::Malformed),
        cloud_link("ip options", in_link(0, &[0x46])).refused(Reason::IpOptions),
        cloud_link("longer than what came", in_link(2, &[0, 45])).refused(Reason::Truncated),
        cloud_link("shorter than its header", in_link(2, &[0, 19])).refused(Reason::Malformed),
        cloud_link("no room for tcp", cut(in_link(0, &[]), 39)).refused(Reason::Truncated),
        cloud_link("syn and fin", in_link(33, &[0x03])).refused(Reason::Malformed),
        cloud_link("no room for udp", cut(to_cloud(QUERY, b""), 27)).refused(Reason::Truncated),
        cloud_link("a redirect", with(to_cloud(PING, b""), 20, &[5, 0])).refused(Reason::IcmpType),
        cloud_link("an error about the sender itself", {
            error(EDGE_CLIENT, 3, 3, &to_cloud(QUERY, b"")[ETHERNET..])
        })
        .refused(Reason::SpoofedSource),
    ]
}
