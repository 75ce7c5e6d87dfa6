//! Ethernet II.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What an Ethernet frame carries.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct EtherType(pub [u8; 2]);

impl EtherType {
    /// IPv4, RFC 894.
    pub const IPV4: Self = Self([0x08, 0x00]);
    /// Address resolution, RFC 826.
    pub const ARP: Self = Self([0x08, 0x06]);
}

/// The Ethernet header without tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(2))]
pub struct Ethernet {
    /// To whom.
    pub destination: [u8; 6],
    /// From whom.
    pub source: [u8; 6],
    /// What follows.
    pub ether_type: EtherType,
}
