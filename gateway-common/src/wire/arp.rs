//! Address resolution for IPv4 over Ethernet, RFC 826.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An ARP message for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(2))]
pub struct Arp {
    /// Hardware type, protocol type and both address lengths.
    pub format: [u8; 6],
    /// Request or reply.
    pub operation: [u8; 2],
    /// The sender's hardware address.
    pub sender_mac: [u8; 6],
    /// The sender's protocol address.
    pub sender: [u8; 4],
    /// The target's hardware address; unknown in a request.
    pub target_mac: [u8; 6],
    /// The target's protocol address.
    pub target: [u8; 4],
}

impl Arp {
    /// Ethernet (1), IPv4 (0x0800), lengths 6 and 4.
    pub const IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];
    /// `operation` of a request.
    pub const REQUEST: [u8; 2] = [0, 1];
    /// `operation` of a reply.
    pub const REPLY: [u8; 2] = [0, 2];
}
