//! One's-complement checksums, updated by difference (RFC 1624), never computed anew: a packet in the
//! kernel may carry a partial checksum, or one that the hardware fills in later.

use crate::address::{Ipv4, Port, Protocol};

/// What changes in a checksum when words it covers change: the sum of the new words less the old
/// ones, in one's complement, in memory order. The kernel's checksum helpers take it as it is.
///
/// Kept as a 64-bit sum that is folded only when it is used: an end-around carry at every step would
/// be a branch that the verifier follows both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u64);

impl Delta {
    /// Nothing changes.
    pub const NONE: Self = Self(0);

    /// The raw difference.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        ((sum & 0xffff_ffff) + (sum >> 32)) as u32
    }

    /// Whether nothing changes.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Adds the change of one 32-bit word.
    #[inline(always)]
    pub const fn word_changed(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Adds the change of an address.
    #[inline(always)]
    pub const fn address_changed(self, old: Ipv4, new: Ipv4) -> Self {
        self.word_changed(old.word(), new.word())
    }

    /// Adds the change of a port or another 16-bit field at an even offset.
    #[inline(always)]
    pub const fn port_changed(self, old: Port, new: Port) -> Self {
        self.word_changed(old.word() as u32, new.word() as u32)
    }

    /// Adds the change of a 16-bit field at an odd offset: its octets count swapped, which in one's
    /// complement is a rotation (RFC 1071 section 2, byte order independence).
    #[inline(always)]
    pub const fn odd_port_changed(self, old: Port, new: Port) -> Self {
        let change = Self::NONE.port_changed(old, new).word();
        Self(self.0 + change.rotate_right(8) as u64)
    }

    /// The sum of the pseudo-header of TCP and UDP (RFC 9293 section 3.1) in front of `length` octets.
    #[inline(always)]
    pub const fn pseudo_header(
        source: Ipv4,
        destination: Ipv4,
        protocol: Protocol,
        length: u32,
    ) -> Self {
        let last = ((protocol.0 as u32) << 16 | length & 0xffff).to_be();
        Self(source.word() as u64 + destination.word() as u64 + last as u64)
    }

    /// The sum itself, folded to 16 bits.
    #[inline(always)]
    pub const fn sum(self) -> Port {
        Port::new(u16::from_be_bytes(fold(self.0).to_ne_bytes()))
    }

    /// Both changes.
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum that stood as `checksum` before the change.
    #[inline(always)]
    pub const fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        let old = u16::from_ne_bytes(checksum);
        (!fold(self.0 + !old as u64)).to_ne_bytes()
    }
}

/// The checksum over these words, in memory order, of which the checksum's own two octets are zero.
#[inline(always)]
pub const fn of_words<const N: usize>(words: &[u32; N]) -> [u8; 2] {
    let mut sum = 0;
    let mut at = 0;
    while at < N {
        sum += words[at] as u64;
        at += 1;
    }
    (!fold(sum)).to_ne_bytes()
}

/// The one's-complement sum of the four 16-bit words of `sum`.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checksum(bytes: &[u8]) -> [u8; 2] {
        let sum = bytes
            .chunks(2)
            .map(|pair| u64::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
            .sum();
        (!fold(sum)).to_ne_bytes()
    }

    /// 0x0000 and 0xffff are both zero in one's complement.
    fn same(a: [u8; 2], b: [u8; 2]) -> bool {
        let zero = |sum| u16::from_ne_bytes(sum).is_multiple_of(0xffff);
        a == b || (zero(a) && zero(b))
    }

    proptest! {
        #[test]
        fn equals_the_checksum_computed_anew(
            mut bytes in proptest::collection::vec(any::<u8>(), 14..64),
            word in any::<u32>(), port in any::<u16>(), at in 0usize..8,
        ) {
            let before = checksum(&bytes);
            let old = u32::from_ne_bytes(bytes[..4].try_into().unwrap());
            bytes[..4].copy_from_slice(&word.to_ne_bytes());
            let mut delta = Delta::NONE.word_changed(old, word);
            let at = at + 4;
            let old = Port::new(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
            let new = Port::new(port);
            bytes[at..at + 2].copy_from_slice(&port.to_be_bytes());
            delta = if at % 2 == 0 {
                delta.port_changed(old, new)
            } else {
                delta.odd_port_changed(old, new)
            };
            prop_assert!(same(delta.apply(before), checksum(&bytes)));
        }
    }
}
