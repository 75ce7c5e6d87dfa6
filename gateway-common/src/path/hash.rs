//! A flow's identity as one number, from which choices follow that another gateway of the site would make
//! alike: its port at the client presence, its back end.

use crate::map::FlowKey;

/// A well-mixed number from a flow's identity: each word multiplied in, then the finaliser of
/// MurmurHash3, whose every input bit reaches every output bit.
#[inline(always)]
pub(super) const fn hash(key: &FlowKey) -> u32 {
    let ports = ((key.client_port.number() as u32) << 16) | key.service_port.number() as u32;
    let mut hash = key.client.0.number();
    hash = hash.rotate_left(13).wrapping_mul(5) ^ key.service.0.number().wrapping_mul(0xcc9e_2d51);
    hash = hash.rotate_left(13).wrapping_mul(5) ^ ports.wrapping_mul(0x1b87_3593);
    hash ^= key.protocol.0 as u32;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// One of `count` places, by a hash that is spread over all numbers.
#[inline(always)]
pub(super) const fn place(hash: u32, count: u32) -> u32 {
    ((hash as u64 * count as u64) >> 32) as u32
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{Ipv4, Port, Protocol, TransitAddress, map::Endpoints};

    pub(in crate::path) fn key(client_port: u16) -> FlowKey {
        let ends = Endpoints {
            client: TransitAddress(Ipv4::from_number(0xf000_1005)),
            client_port: Port::new(client_port),
            service: TransitAddress(Ipv4::from_number(0xf000_0801)),
            service_port: Port::new(5672),
        };
        FlowKey::new(ends, Protocol::TCP)
    }

    #[test]
    fn places_are_all_used_and_none_is_outside() {
        let mut hits = [0; 7];
        for port in 1024..5120 {
            hits[place(hash(&key(port)), 7) as usize] += 1;
        }
        assert!(hits.iter().all(|hits| (400..=770).contains(hits)), "{hits:?}");
        assert_eq!(place(u32::MAX, 7), 6);
    }
}
