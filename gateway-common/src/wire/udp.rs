//! UDP, RFC 768.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Udp {
    /// The sender's port.
    pub source: [u8; 2],
    /// The receiver's port.
    pub destination: [u8; 2],
    /// Octets of header and data.
    pub length: [u8; 2],
    /// Checksum over pseudo-header, header and data; zero for none.
    pub checksum: [u8; 2],
}

impl Udp {
    /// Offset of `checksum`.
    pub const CHECKSUM_OFFSET: u32 = 6;
    /// Octets of the header.
    pub const LENGTH: u32 = 8;
}
