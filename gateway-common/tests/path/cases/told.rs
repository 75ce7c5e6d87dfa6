//! Packets without a hop left, or too big for their way: their senders are told, by the address they wrote to.

use super::{gateway::OTHER_LAN, *};
use crate::frames::{error, sctp, with_ttl, without_df};
use gateway_common::map::Route;

const TTL: Reason = Reason::TtlExpired;
const BIG: Reason = Reason::TooBig;

/// A question whose packet has so many octets.
fn query(total: usize) -> Vec<u8> {
    at_edge(QUERY, &vec![7; total - 28])
}

fn spent(source: [u8; 4]) -> Vec<u8> {
    with_ttl(frame(source, PRESENCE, &QUERY, b"query"), 1)
}

fn hub(gateway: &mut Gateway) {
    gateway.tables.desired.settings.relay = 1;
}

fn narrow_lan(gateway: &mut Gateway) {
    gateway.tables.desired.settings.networks[0].mtu = 1000;
}

pub(super) fn cases() -> Vec<Case> {
    [hops(), silent(), sizes()].into_iter().flatten().collect()
}

fn hops() -> Vec<Case> {
    let client = "icmp 11/0 10.0.0.200 > 10.0.0.5 ttl 64 about";
    vec![
        edge_lan("the last hop", with_ttl(at_edge(QUERY, b"query"), 1))
            .told(TTL, &format!("{client} udp 10.0.0.5:4000 > 10.0.0.200:53 ttl 1")),
        edge_lan("no hop", with_ttl(at_edge(QUERY, b"query"), 0))
            .told(TTL, &format!("{client} udp 10.0.0.5:4000 > 10.0.0.200:53 ttl 0")),
        edge_lan("the last hop of a syn", with_ttl(at_edge(SYN, b""), 1))
            .told(TTL, &format!("{client} tcp 10.0.0.5:40000 > 10.0.0.200:5672 ttl 1")),
        edge_lan("the last hop of an echo request", with_ttl(at_edge(PING, b""), 1))
            .told(TTL, &format!("{client} ping 10.0.0.5 > 10.0.0.200 id 77 ttl 1")),
        edge_lan("the last hop of sctp", with_ttl(at_edge(SCTP, &sctp(5000, 3868, 0, 1)), 1))
            .told(TTL, &format!("{client} sctp 10.0.0.5:5000 > 10.0.0.200:3868 ttl 1")),
        edge_lan("the last hop of a protocol by number", with_ttl(at_edge(GRE, b"8 octets"), 1))
            .told(TTL, &format!("{client} ip/47 10.0.0.5 > 10.0.0.200 ttl 1")),
        edge_lan("the last hop of a first fragment", {
            with_ttl(fragment(&query(1000), 0, 400, true), 1)
        })
        .told(TTL, &format!("{client} udp 10.0.0.5:4000 > 10.0.0.200:53 ttl 1")),
        edge_lan("the last hop of a client without permission", spent(STRANGER)).told(
            TTL,
            "icmp 11/0 10.0.0.200 > 10.0.0.66 ttl 64 \
             about udp 10.0.0.66:4000 > 10.0.0.200:53 ttl 1",
        ),
        cloud_lan("the last hop of an answer", {
            with_ttl(at_cloud(Load::Udp(53, QUERY_PORT), b"answer"), 1)
        })
        .given(Gateway::asked)
        .told(
            TTL,
            "icmp 11/0 10.0.0.250 > 10.0.0.10 ttl 64 \
             about udp 10.0.0.10:53 > 10.0.0.250:6272 ttl 1",
        ),
        cloud_link("the last hop", with_ttl(to_cloud(QUERY, b"query"), 1)).told(
            TTL,
            "icmp 11/0 240.0.8.1 > 240.0.16.5 ttl 64 \
             about udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 1",
        ),
        cloud_link("no hop", with_ttl(to_cloud(QUERY, b"query"), 0)).told(
            TTL,
            "icmp 11/0 240.0.8.1 > 240.0.16.5 ttl 64 \
             about udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 0",
        ),
        edge_link(
            "the last hop of an answer",
            with_ttl(to_edge(Load::Udp(53, 4000), b"answer"), 1),
        )
        .given(Gateway::asked)
        .told(
            TTL,
            "icmp 11/0 240.0.16.5 > 240.0.8.1 ttl 64 \
             about udp 240.0.8.1:53 > 240.0.16.5:4000 ttl 1",
        ),
        cloud_link("the last hop at a hub", with_ttl(frame(EDGE_CLIENT, THIRD_SITE, &SYN, b""), 1))
            .given(hub)
            .told(
                TTL,
                "icmp 11/0 240.0.40.1 > 240.0.16.5 ttl 64 \
                 about tcp 240.0.16.5:40000 > 240.0.40.1:5672 ttl 1",
            ),
    ]
}

/// Senders that are told nothing (RFC 1122 section 3.2.2), and who is not known to be there.
fn silent() -> Vec<Case> {
    let about = || frame(PRESENCE, CLIENT, &Load::Udp(53, 4000), b"answer");
    vec![
        edge_lan("the last hop of no client", spent([192, 0, 2, 1])).refused(TTL),
        edge_lan("the last hop of an address of the pool", spent(UNASSIGNED)).refused(TTL),
        edge_lan("the last hop of a multicast group", spent([224, 0, 0, 1])).refused(TTL),
        edge_lan("the last hop of everybody", spent([255; 4])).refused(TTL),
        edge_lan("the last hop of nobody", spent([0; 4])).refused(TTL),
        edge_lan("the last hop of loopback", spent([127, 0, 0, 1])).refused(TTL),
        edge_lan("the last hop of a client behind another interface", spent(CLIENT))
            .given(|gateway| gateway.arrival.interface = OTHER_LAN)
            .refused(TTL),
        edge_lan("the last hop of an icmp error", {
            with_ttl(error(CLIENT, 3, 3, &about()[ETHERNET..]), 1)
        })
        .given(Gateway::answered)
        .refused(TTL),
        edge_lan(
            "the last hop of what is too short to quote",
            with_ttl(at_edge(GRE, b"7 octet"), 1),
        )
        .refused(TTL),
        edge_lan("the last hop of what is too short to quote, in a padded frame", {
            let mut bytes = with_ttl(at_edge(GRE, b"7 octet"), 1);
            bytes.extend([0; 19]);
            bytes
        })
        .refused(TTL),
        edge_lan("the last hop to an unassigned presence", {
            with_ttl(frame(CLIENT, UNASSIGNED, &QUERY, b""), 1)
        })
        .refused(Reason::NoPresence),
        edge_lan("the last hop to another host", with_ttl(frame(CLIENT, STRANGER, &SYN, b""), 1))
            .passes(),
        cloud_link("the last hop of a spoofed sender", {
            with_ttl(frame([240, 1, 0, 5], SERVICE, &SYN, b""), 1)
        })
        .refused(Reason::SpoofedSource),
        cloud_link("the last hop to no site", {
            with_ttl(frame(EDGE_CLIENT, [240, 1, 0, 5], &SYN, b""), 1)
        })
        .refused(Reason::NoRoute),
    ]
}

fn sizes() -> Vec<Case> {
    let in_link = |total: usize| to_cloud(QUERY, &vec![7; total - 28]);
    let reply = |total: usize| at_cloud(Load::Udp(53, QUERY_PORT), &vec![7; total - 28]);
    let answer = |total: usize| to_edge(Load::Udp(53, 4000), &vec![7; total - 28]);
    let on = |total: usize| frame(EDGE_CLIENT, THIRD_SITE, &QUERY, &vec![7; total - 28]);
    let told = "icmp 3/4 mtu 1420 10.0.0.200 > 10.0.0.5 ttl 64 about";
    vec![
        edge_lan("as large as the link carries", query(1420))
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 1392 octets"),
        edge_lan("larger than the link carries", query(1421))
            .told(BIG, &format!("{told} udp 10.0.0.5:4000 > 10.0.0.200:53 ttl 64")),
        edge_lan("larger than the link carries, of a connection", at_edge(DATA, &[7; 1400]))
            .given(Gateway::open)
            .told(BIG, &format!("{told} tcp 10.0.0.5:40000 > 10.0.0.200:5672 ttl 64")),
        edge_lan("larger, but it may be fragmented", without_df(query(1500)))
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 1472 octets"),
        edge_lan("larger, but it stands for several packets", at_edge(DATA, &[7; 4000]))
            .given(|gateway| {
                gateway.open();
                gateway.arrival.packets = 3;
            })
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 4000 octets"),
        edge_lan("larger, but not allowed at all", frame(STRANGER, PRESENCE, &QUERY, &[7; 1400]))
            .refused(Reason::NoPolicy),
        edge_lan("larger, from a second lan that is not the sender's", query(1421))
            .given(|gateway| {
                gateway.has_other_lan();
                gateway.arrival.interface = OTHER_LAN;
            })
            .refused(Reason::WrongInterface),
        cloud_lan("an answer larger than the link carries", reply(1421))
            .given(Gateway::asked)
            .told(
                BIG,
                "icmp 3/4 mtu 1420 10.0.0.250 > 10.0.0.10 ttl 64 \
                 about udp 10.0.0.10:53 > 10.0.0.250:6272 ttl 64",
            ),
        cloud_link("as large as the lan carries", in_link(1000))
            .given(narrow_lan)
            .onto_lan("udp 10.0.0.250:6272 > 10.0.0.10:53 ttl 63 972 octets"),
        cloud_link("larger than the lan carries", in_link(1001)).given(narrow_lan).told(
            BIG,
            "icmp 3/4 mtu 1000 240.0.8.1 > 240.0.16.5 ttl 64 \
             about udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 64",
        ),
        cloud_link("larger than the lan carries, but it may be fragmented", {
            without_df(in_link(1400))
        })
        .given(narrow_lan)
        .onto_lan("udp 10.0.0.250:6272 > 10.0.0.10:53 ttl 63 1372 octets"),
        cloud_link("larger than the lan carries, but it stands for several packets", in_link(1400))
            .given(|gateway| {
                narrow_lan(gateway);
                gateway.arrival.packets = 2;
            })
            .onto_lan("udp 10.0.0.250:6272 > 10.0.0.10:53 ttl 63 1372 octets"),
        edge_link("an answer larger than the lan carries", answer(1001))
            .given(|gateway| {
                gateway.asked();
                narrow_lan(gateway);
            })
            .told(
                BIG,
                "icmp 3/4 mtu 1000 240.0.16.5 > 240.0.8.1 ttl 64 \
                 about udp 240.0.8.1:53 > 240.0.16.5:4000 ttl 64",
            ),
        cloud_link("larger than the second link of a hub carries", on(1301))
            .given(|gateway| {
                hub(gateway);
                let narrow = Route { mtu: 1300, ..route(3, LINK) };
                gateway.tables.desired.routes.insert(2, narrow);
            })
            .told(
                BIG,
                "icmp 3/4 mtu 1300 240.0.40.1 > 240.0.16.5 ttl 64 \
                 about udp 240.0.16.5:4000 > 240.0.40.1:53 ttl 64",
            ),
        cloud_link("as large as both links of a hub carry", on(1420)).given(hub).sent(
            Way::Relay,
            LINK,
            "udp 240.0.16.5:4000 > 240.0.40.1:53 ttl 63 1392 octets",
        ),
    ]
}
