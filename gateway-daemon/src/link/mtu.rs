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
