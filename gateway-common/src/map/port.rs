//! The protocols and ports that services declare.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::map;
use crate::address::{Port, Protocol, TransitAddress};

map! {
    /// Service, protocol and port to the back end's port. A range of ports is a few prefixes, any
    /// port of a protocol is a prefix that ends behind the protocol.
    Ports = "ports4": LpmTrie, PortKey => PortMapping, 1 << 18
}

/// A set of ports of one service: those that agree with it in the first `bits` bits behind the
/// length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortKey {
    bits: u32,
    service: TransitAddress,
    protocol: Protocol,
    /// Most significant octet first, as the trie compares.
    port: [u8; 2],
    padding: u8,
}

impl PortKey {
    const PROTOCOL_BITS: u32 = 40;

    /// Every port of `protocol`.
    pub const fn any_port(service: TransitAddress, protocol: Protocol) -> Self {
        Self { bits: Self::PROTOCOL_BITS, service, protocol, port: [0; 2], padding: 0 }
    }

    /// The ports that agree with `port` in the first `port_bits` (0 to 16) bits.
    pub const fn ports(
        service: TransitAddress,
        protocol: Protocol,
        port: u16,
        port_bits: u32,
    ) -> Self {
        Self {
            bits: Self::PROTOCOL_BITS + port_bits,
            service,
            protocol,
            port: port.to_be_bytes(),
            padding: 0,
        }
    }

    /// The key to look one port up by.
    #[inline(always)]
    pub const fn exact(service: TransitAddress, protocol: Protocol, port: Port) -> Self {
        Self {
            bits: Self::PROTOCOL_BITS + 16,
            service,
            protocol,
            port: port.word().to_ne_bytes(),
            padding: 0,
        }
    }

    /// The service.
    pub const fn service(&self) -> TransitAddress {
        self.service
    }

    /// The protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// First and last port of the set; `None` when the protocol as a whole is meant.
    pub const fn range(&self) -> Option<(u16, u16)> {
        if self.bits <= Self::PROTOCOL_BITS {
            return None;
        }
        let first = u16::from_be_bytes(self.port);
        let bits = self.bits - Self::PROTOCOL_BITS;
        let span = if bits >= 16 { 0 } else { u16::MAX >> bits };
        Some((first, first | span))
    }

    /// Whether the set holds `key`, as the kernel's trie would say.
    pub fn covers(&self, key: &Self) -> bool {
        leading_bits_agree(&self.as_bytes()[4..], &key.as_bytes()[4..], self.bits)
            && self.bits <= key.bits
    }

    /// Service, protocol and port as words in memory order: what the trie compares.
    #[inline(always)]
    pub const fn data(&self) -> [u32; 2] {
        let [high, low] = self.port;
        let second = u32::from_ne_bytes([self.protocol.0, high, low, 0]);
        [self.service.0.word(), second]
    }

    /// Number of bits that are fixed; the largest among the keys that cover another wins.
    pub const fn bits(&self) -> u32 {
        self.bits
    }
}

/// Whether the first `bits` bits of two equally long byte strings are the same.
pub(super) fn leading_bits_agree(a: &[u8], b: &[u8], bits: u32) -> bool {
    let whole = (bits / 8) as usize;
    let rest = bits % 8;
    let mask = !(0xffu8.checked_shr(rest).unwrap_or(0));
    a.get(..whole) == b.get(..whole)
        && (rest == 0
            || matches!((a.get(whole), b.get(whole)), (Some(x), Some(y)) if x & mask == y & mask))
}

/// What a declared port becomes at the back end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PortMapping {
    /// The back end's port; [`Port::NONE`] leaves it as it is.
    pub backend: Port,
    padding: [u8; 2],
}

impl PortMapping {
    /// The same port at the back end.
    pub const SAME: Self = Self { backend: Port::NONE, padding: [0; 2] };

    /// Another port at the back end.
    pub const fn to(backend: Port) -> Self {
        Self { backend, padding: [0; 2] }
    }
}
