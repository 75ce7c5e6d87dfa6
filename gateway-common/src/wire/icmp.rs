//! ICMP, RFC 792: echo.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An ICMP message's type.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct IcmpType(pub u8);

impl IcmpType {
    /// Echo reply.
    pub const ECHO_REPLY: Self = Self(0);
    /// Echo request.
    pub const ECHO_REQUEST: Self = Self(8);
}

/// The header of an echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct IcmpEcho {
    /// Request or reply.
    pub icmp_type: IcmpType,
    /// Zero.
    pub code: u8,
    /// Checksum over header and data; there is no pseudo-header.
    pub checksum: [u8; 2],
    /// Tells the sender's exchanges apart.
    pub identifier: [u8; 2],
    /// Counts the requests of an exchange.
    pub sequence: [u8; 2],
}

impl IcmpEcho {
    /// Offset of `checksum`.
    pub const CHECKSUM_OFFSET: u32 = 2;
    /// Offset of `identifier`.
    pub const IDENTIFIER_OFFSET: u32 = 4;
    /// Octets of the header.
    pub const LENGTH: u32 = 8;
}
