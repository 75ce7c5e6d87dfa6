//! IPv4, RFC 791.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Ipv4;

/// The IPv4 header without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Ipv4Header {
    /// Version (high four bits) and header length in 32-bit words.
    pub version_length: u8,
    /// Differentiated services and congestion notification.
    pub traffic_class: u8,
    /// Length of header and payload.
    pub total_length: [u8; 2],
    /// Identification of the fragments of one packet.
    pub identification: [u8; 2],
    /// Flags and fragment offset.
    pub fragment: [u8; 2],
    /// Hops left.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: u8,
    /// Checksum of the header.
    pub checksum: [u8; 2],
    /// From whom.
    pub source: Ipv4,
    /// To whom.
    pub destination: Ipv4,
}

impl Ipv4Header {
    /// `version_length` of version 4 without options.
    pub const WITHOUT_OPTIONS: u8 = 0x45;
    /// Offset of `ttl`; `protocol` and `checksum` follow.
    pub const TTL_OFFSET: u32 = 8;
    /// Offset of `checksum`; both addresses follow.
    pub const CHECKSUM_OFFSET: u32 = 10;
    /// Octets of the header.
    pub const LENGTH: u32 = 20;

    /// `total_length` as a number.
    #[inline(always)]
    pub const fn total(&self) -> u32 {
        u16::from_be_bytes(self.total_length) as u32
    }

    /// The flag "don't fragment".
    #[inline(always)]
    pub const fn must_not_be_fragmented(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x4000 != 0
    }

    /// Whether it is one of several fragments: the flag "more fragments" or an offset.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x3fff != 0
    }

    /// The flag "more fragments".
    #[inline(always)]
    pub const fn has_more_fragments(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x2000 != 0
    }

    /// Where a fragment's payload begins in that of the datagram, in units of eight octets.
    #[inline(always)]
    pub const fn fragment_offset(&self) -> u32 {
        (u16::from_be_bytes(self.fragment) & 0x1fff) as u32
    }

    /// Whether it is a fragment other than the first, so without a transport header.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x1fff != 0
    }
}
