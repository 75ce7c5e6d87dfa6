//! ICMP, RFC 792: echo, and errors, which quote the packet that caused them.

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
    /// Destination unreachable, "fragmentation needed" among its codes.
    pub const UNREACHABLE: Self = Self(3);
    /// Echo request.
    pub const ECHO_REQUEST: Self = Self(8);
    /// Time exceeded.
    pub const TIME_EXCEEDED: Self = Self(11);
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: Self = Self(12);

    /// Whether it is an error, which quotes the packet that caused it behind eight octets.
    #[inline(always)]
    pub fn is_error(self) -> bool {
        self == Self::UNREACHABLE || self == Self::TIME_EXCEEDED || self == Self::PARAMETER_PROBLEM
    }
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

/// The header of an ICMP error.
pub struct IcmpError;

impl IcmpError {
    /// Code of "unreachable": the packet is too big and must not be fragmented.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Octets before the quoted packet.
    pub const LENGTH: u32 = 8;
    /// Octets of the quoted packet's payload that every error carries (RFC 792).
    pub const QUOTED_PAYLOAD: u32 = 8;
}
