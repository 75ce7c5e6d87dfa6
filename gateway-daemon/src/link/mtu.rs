//! How large a packet may be on a link. Pure.
//!
//! A link's packets must fit the underlay's once WireGuard has added its own header and the
//! outer IP and UDP headers.

use std::net::IpAddr;

use super::Backend;

/// What WireGuard adds: type and receiver (8), counter (8), authentication tag (16).
const WIREGUARD: u32 = 32;
const UDP: u32 = 8;
const IPV4: u32 = 20;
const IPV6: u32 = 40;

/// MTU of a link of which no underlay path is known: 1500 less the larger overhead.
pub(super) const WITHOUT_ENDPOINT: u32 = 1420;

/// Smallest MTU worth having: every IPv4 host takes a datagram of 576 bytes (RFC 791 section 3.1).
pub(super) const LEAST: u32 = 576;

/// One known path to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnderlayPath {
    pub(super) endpoint: IpAddr,
    pub(super) mtu: u32,
}

/// The largest MTU a device of that kind carries.
pub(super) fn most(backend: Backend) -> u32 {
    match backend {
        // drivers/net/wireguard/device.c, wg_setup(): max_mtu is INT_MAX less overhead, but IPv4
        // bounds the outer datagram.
        Backend::Kernel => 65_535 - IPV6 - UDP - WIREGUARD,
        // gotatun 0.10 reads the TUN device into buffers of 4096 bytes; what is longer is cut.
        Backend::Userspace => 4096,
    }
}

/// Largest packet inside a link whose underlay carries `packet` bytes towards `endpoint`.
pub(super) fn inside(packet: u32, endpoint: IpAddr) -> u32 {
    let header = if endpoint.is_ipv4() { IPV4 } else { IPV6 };
    packet.saturating_sub(header + UDP + WIREGUARD).max(LEAST)
}

/// Largest packet towards one peer of a device: a multiple of 16 where the device's MTU is larger,
/// since WireGuard fills packets up to one as far as that lets it (whitepaper section 5.4.6).
pub(super) fn beside(peer: u32, device: u32) -> u32 {
    if peer < device { peer / 16 * 16 } else { peer }
}

/// The MTU for the link: the least over the paths, or [`WITHOUT_ENDPOINT`], within what the
/// device carries.
pub(super) fn over(paths: &[UnderlayPath], backend: Backend) -> u32 {
    let fitting = |path: &UnderlayPath| {
        let header = if path.endpoint.is_ipv4() { IPV4 } else { IPV6 };
        path.mtu.saturating_sub(header + UDP + WIREGUARD)
    };
    let least_path = paths.iter().map(fitting).min().unwrap_or(WITHOUT_ENDPOINT);
    least_path.clamp(LEAST, most(backend))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(endpoint: &str, mtu: u32) -> UnderlayPath {
        UnderlayPath { endpoint: endpoint.parse().unwrap(), mtu }
    }

    #[test]
    fn what_is_inside_a_packet_leaves_room_for_padding() {
        let cases = [
            ("192.0.2.1", 1500, 1440, 1440),
            ("2001:db8::1", 1500, 1420, 1408),
            ("192.0.2.1", 1492, 1432, 1424),
            ("2001:db8::1", 1280, 1200, 1200),
            ("192.0.2.1", 100, 576, 576),
        ];
        for (endpoint, packet, alone, beside_larger) in cases {
            let found = inside(packet, endpoint.parse().unwrap());
            assert_eq!(found, alone, "{endpoint} {packet}");
            assert_eq!(beside(found, alone), alone);
            assert_eq!(beside(found, 1440), beside_larger, "{endpoint} {packet}");
        }
    }

    #[test]
    fn the_least_path_decides() {
        let cases: [(&[UnderlayPath], Backend, u32); 8] = [
            (&[], Backend::Kernel, 1420),
            (&[], Backend::Userspace, 1420),
            (&[path("192.0.2.1", 1500)], Backend::Kernel, 1440),
            (&[path("2001:db8::1", 1500)], Backend::Kernel, 1420),
            (&[path("192.0.2.1", 1500), path("192.0.2.2", 1400)], Backend::Userspace, 1340),
            (&[path("192.0.2.1", 9000)], Backend::Kernel, 8940),
            (&[path("192.0.2.1", 9000)], Backend::Userspace, 4096),
            (&[path("192.0.2.1", 100)], Backend::Kernel, 576),
        ];
        for (paths, backend, expected) in cases {
            assert_eq!(over(paths, backend), expected, "{paths:?} {backend:?}");
        }
        assert_eq!(over(&[path("127.0.0.1", 65_536)], Backend::Kernel), 65_455);
    }
}
