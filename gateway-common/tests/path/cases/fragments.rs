//! Datagrams in fragments: those behind the first go its way, by the ports that it had.

use super::*;
use crate::frames::{error, with, with_ttl};
use gateway_common::{desired, map::Fragmented};

/// A long question on the edge's LAN.
fn query() -> Vec<u8> {
    at_edge(QUERY, &[7; 992])
}

/// Its first, second and last part.
fn first() -> Vec<u8> {
    fragment(&query(), 0, 400, true)
}

fn second() -> Vec<u8> {
    fragment(&query(), 400, 800, true)
}

fn last() -> Vec<u8> {
    fragment(&query(), 800, 1000, false)
}

/// After the first part.
fn begun(gateway: &mut Gateway) {
    gateway.carry_from_lan(&first());
}

/// After this part of it.
fn came(gateway: &mut Gateway, start: usize, end: usize) {
    gateway.carry_from_lan(&fragment(&query(), start, end, true));
}

/// After the first part, a reload.
fn changed(gateway: &mut Gateway, change: fn(&mut desired::Tables)) {
    begun(gateway);
    gateway.reload(change);
}

pub(super) fn cases() -> Vec<Case> {
    [carried(), refused()].into_iter().flatten().collect()
}

fn carried() -> Vec<Case> {
    let in_link = |start, end, more| fragment(&to_cloud(QUERY, &[7; 992]), start, end, more);
    let reply = |start, end, more| {
        let bytes = at_cloud(Load::Udp(53, QUERY_PORT), &[7; 992]);
        fragment(&bytes, start, end, more)
    };
    let answer =
        |start, end, more| fragment(&to_edge(Load::Udp(53, 4000), &[7; 992]), start, end, more);
    let ping = |start, end, more| fragment(&at_edge(PING, &[7; 992]), start, end, more);
    vec![
        edge_lan("a first fragment", first())
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 frag 0+"),
        edge_lan("a later fragment", second())
            .given(begun)
            .into_link("udp 240.0.16.5 > 240.0.8.1 ttl 63 frag 400+"),
        edge_lan("the last fragment", last())
            .given(|gateway| {
                begun(gateway);
                gateway.carry_from_lan(&second());
            })
            .into_link("udp 240.0.16.5 > 240.0.8.1 ttl 63 frag 800"),
        edge_lan("the last fragment before the one in between", last())
            .given(begun)
            .into_link("udp 240.0.16.5 > 240.0.8.1 ttl 63 frag 800"),
        edge_lan("the one in between after the last", second())
            .given(|gateway| {
                begun(gateway);
                gateway.carry_from_lan(&last());
            })
            .into_link("udp 240.0.16.5 > 240.0.8.1 ttl 63 frag 400+"),
        edge_lan("a first fragment again once all of it came", first())
            .given(|gateway| {
                begun(gateway);
                gateway.carry_from_lan(&second());
                gateway.carry_from_lan(&last());
            })
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 frag 0+"),
        edge_lan("a later fragment of an echo request", ping(400, 1000, false))
            .given(|gateway| {
                let first = fragment(&at_edge(PING, &[7; 992]), 0, 400, true);
                gateway.carry_from_lan(&first);
            })
            .into_link("icmp 240.0.16.5 > 240.0.8.1 ttl 63 frag 400"),
        edge_lan("a first fragment of a protocol by number", {
            fragment(&at_edge(GRE, &[7; 992]), 0, 400, true)
        })
        .into_link("ip/47 240.0.16.5 > 240.0.8.1 ttl 63 frag 0+"),
        edge_lan("a syn in fragments", fragment(&at_edge(SYN, &[7; 96]), 0, 64, true))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 frag 0+"),
        cloud_link("a first fragment", in_link(0, 400, true))
            .onto_lan("udp 10.0.0.250:6272 > 10.0.0.10:53 ttl 63 frag 0+"),
        cloud_link("a later fragment", in_link(400, 1000, false))
            .given(|gateway| {
                let first = fragment(&to_cloud(QUERY, &[7; 992]), 0, 400, true);
                gateway.carry_from_link(&first);
            })
            .onto_lan("udp 10.0.0.250 > 10.0.0.10 ttl 63 frag 400"),
        cloud_lan("the first fragment of an answer", reply(0, 400, true))
            .given(Gateway::asked)
            .into_link("udp 240.0.8.1:53 > 240.0.16.5:4000 ttl 63 frag 0+"),
        cloud_lan("a later fragment of an answer", reply(400, 1000, false))
            .given(|gateway| {
                gateway.asked();
                let bytes = at_cloud(Load::Udp(53, QUERY_PORT), &[7; 992]);
                gateway.carry_from_lan(&fragment(&bytes, 0, 400, true));
            })
            .into_link("udp 240.0.8.1 > 240.0.16.5 ttl 63 frag 400"),
        edge_link("a later fragment of an answer", answer(400, 1000, false))
            .given(|gateway| {
                gateway.asked();
                let bytes = to_edge(Load::Udp(53, 4000), &[7; 992]);
                gateway.carry_from_link(&fragment(&bytes, 0, 400, true));
            })
            .onto_lan("udp 10.0.0.200 > 10.0.0.5 ttl 63 frag 400"),
        edge_lan("a later fragment after 30 seconds", second())
            .given(|gateway| {
                begun(gateway);
                gateway.arrival.now.0 += Fragmented::TIMEOUT;
            })
            .into_link("udp 240.0.16.5 > 240.0.8.1 ttl 63 frag 400+"),
    ]
}

fn refused() -> Vec<Case> {
    let cut = |start, end, more| fragment(&query(), start, end, more);
    vec![
        edge_lan("a later fragment alone", second()).refused(Reason::FragmentUnknown),
        edge_lan("a later fragment of another datagram", with(second(), 4, &[0, 8]))
            .given(begun)
            .refused(Reason::FragmentUnknown),
        edge_lan("a later fragment of another protocol", with(second(), 9, &[47]))
            .given(begun)
            .refused(Reason::FragmentUnknown),
        edge_lan("a later fragment of another host", with(second(), 12, &STRANGER))
            .given(begun)
            .refused(Reason::FragmentUnknown),
        edge_lan("a later fragment after longer than 30 seconds", second())
            .given(|gateway| {
                begun(gateway);
                gateway.arrival.now.0 += Fragmented::TIMEOUT + 1;
            })
            .refused(Reason::FragmentUnknown),
        edge_lan("a later fragment of a first that was refused", {
            fragment(&frame(STRANGER, PRESENCE, &QUERY, &[7; 992]), 400, 800, true)
        })
        .given(|gateway| {
            let bytes = frame(STRANGER, PRESENCE, &QUERY, &[7; 992]);
            let refused = host::lan(&fragment(&bytes, 0, 400, true), &gateway.tables, from_lan());
            assert_eq!(refused, Verdict::Refuse(Reason::NoPolicy));
        })
        .refused(Reason::FragmentUnknown),
        cloud_link("a later fragment alone", {
            fragment(&to_cloud(QUERY, &[7; 992]), 400, 800, true)
        })
        .refused(Reason::FragmentUnknown),
        edge_lan("a first fragment twice", first()).given(begun).refused(Reason::FragmentOverlap),
        edge_lan("a later fragment that overlaps", cut(392, 800, true))
            .given(begun)
            .refused(Reason::FragmentOverlap),
        edge_lan("a later fragment of a datagram that was spoilt", second())
            .given(|gateway| {
                begun(gateway);
                let refused = host::lan(&first(), &gateway.tables, from_lan());
                assert_eq!(refused, Verdict::Refuse(Reason::FragmentOverlap));
            })
            .refused(Reason::FragmentOverlap),
        edge_lan("a fifth part apart from the others", cut(640, 648, true))
            .given(|gateway| {
                came(gateway, 0, 8);
                came(gateway, 160, 168);
                came(gateway, 320, 328);
                came(gateway, 480, 488);
            })
            .refused(Reason::FragmentScattered),
        edge_lan("a first fragment of a stranger", {
            fragment(&frame(STRANGER, PRESENCE, &QUERY, &[7; 992]), 0, 400, true)
        })
        .refused(Reason::NoPolicy),
        edge_lan("a later fragment after the permission was withdrawn", second())
            .given(|gateway| changed(gateway, |tables| tables.allows.clear()))
            .refused(Reason::NoPolicy),
        edge_lan("a later fragment after the service was withdrawn", second())
            .given(|gateway| changed(gateway, |tables| tables.services.clear()))
            .refused(Reason::NoService),
        edge_lan("a fragment of an icmp error", {
            let about = frame(PRESENCE, CLIENT, &Load::Udp(53, 4000), b"");
            fragment(&error(CLIENT, 3, 3, &about[ETHERNET..]), 0, 32, true)
        })
        .refused(Reason::Fragment),
        edge_lan("a first fragment that cuts the tcp header", {
            fragment(&at_edge(SYN, &[7; 96]), 0, 16, true)
        })
        .refused(Reason::Truncated),
        edge_lan("a fragment cut within a unit", cut(0, 401, true)).refused(Reason::Malformed),
        edge_lan("a fragment with nothing in it", cut(400, 400, false))
            .given(begun)
            .refused(Reason::Malformed),
        edge_lan("a fragment that ends behind the longest packet", cut(65_512, 65_516, false))
            .given(begun)
            .refused(Reason::Malformed),
        edge_lan("a later fragment on its last hop", with_ttl(second(), 1))
            .given(begun)
            .refused(Reason::TtlExpired),
    ]
}
