//! What SYNs announce: lowered to what fits the link, never raised, and no other octet touched.

use super::*;
use etherparse::PacketBuilder;
use gateway_common::map::Route;

/// A SYN of the client's with these options, padded with zeros as TCP asks.
fn syn(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(HOST_MAC, GATEWAY_MAC)
        .ipv4(CLIENT, PRESENCE, 64)
        .tcp(40_000, 5672, 1, 1)
        .syn()
        .options_raw(options)
        .expect("40 octets of options at most")
        .write(&mut bytes, payload)
        .expect("writing to memory");
    bytes
}

pub(super) fn cases() -> Vec<Case> {
    let lowered = "tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380";
    let without = "tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63";
    let untouched = |name, options: &[u8]| edge_lan(name, syn(options, b"")).into_link(without);
    vec![
        edge_lan("the largest segment size there is", syn(&[2, 4, 255, 255], b""))
            .into_link(lowered),
        edge_lan("one more than fits", syn(&[2, 4, 5, 101], b"")).into_link(lowered),
        edge_lan("just what fits", syn(&[2, 4, 5, 100], b"")).into_link(lowered),
        edge_lan("less than fits", syn(&[2, 4, 2, 24], b""))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 536"),
        edge_lan("a segment size of zero", syn(&[2, 4, 0, 0], b""))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 0"),
        untouched("a syn without options", &[]),
        untouched("a syn without a segment size", &[1, 1, 4, 2]),
        edge_lan("a segment size at an odd octet", syn(&[1, 2, 4, 5, 180, 1, 1, 1], b""))
            .into_link(lowered),
        edge_lan("a segment size behind what linux sends", {
            syn(&[4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7, 2, 4, 5, 180], b"")
        })
        .into_link(lowered),
        edge_lan("a segment size as the seventh option", {
            syn(&[1, 1, 1, 1, 1, 1, 2, 4, 5, 180, 1, 1], b"")
        })
        .into_link(lowered),
        edge_lan("a segment size as the eighth option, further than anybody puts it", {
            syn(&[1, 1, 1, 1, 1, 1, 1, 2, 4, 5, 180, 1], b"")
        })
        .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1460"),
        edge_lan("two segment sizes, the first of which counts", {
            syn(&[2, 4, 2, 24, 2, 4, 5, 180], b"")
        })
        .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 536 mss 1460"),
        untouched("a segment size behind the end of options", &[0, 2, 2, 4, 5, 180, 0, 0]),
        untouched("a segment size of another length", &[2, 3, 255, 1]),
        untouched("a segment size that ends behind the options", &[1, 1, 2, 4]),
        untouched("an option of no length", &[9, 0, 2, 4, 5, 180, 0, 0]),
        untouched("an option that ends behind the options", &[9, 40, 2, 4, 5, 180, 0, 0]),
        edge_lan("a syn with data", syn(&[2, 4, 5, 180], b"early"))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380 'early'"),
        edge_lan("data like a segment size where the seventh option would be", {
            syn(&[1, 1, 1, 1, 1, 9, 7, 0, 0, 0, 0, 0], &[2, 4, 5, 180])
        })
        .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 4 octets"),
        edge_lan("a syn for a narrow link", at_edge(SYN, b""))
            .given(|gateway| {
                let narrow = Route { mtu: 1280, ..route(1, LINK) };
                gateway.tables.desired.routes.insert(0, narrow);
            })
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1240"),
        cloud_link("a syn out of a narrow link", to_cloud(SYN, b""))
            .given(|gateway| {
                let narrow = Route { mtu: 1280, ..route(2, LINK) };
                gateway.tables.desired.routes.insert(1, narrow);
            })
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 mss 1240"),
        cloud_link("a syn from a narrow link at a hub", frame(EDGE_CLIENT, THIRD_SITE, &SYN, b""))
            .given(|gateway| {
                gateway.tables.desired.settings.relay = 1;
                let narrow = Route { mtu: 1280, ..route(2, LINK) };
                gateway.tables.desired.routes.insert(1, narrow);
            })
            .sent(Way::Relay, LINK, "tcp 240.0.16.5:40000 > 240.0.40.1:5672 ttl 63 mss 1240"),
        edge_lan("what looks like a segment size in data", at_edge(DATA, &[2, 4, 5, 180]))
            .given(Gateway::open)
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 4 octets"),
    ]
}
