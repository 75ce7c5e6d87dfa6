//! Which back end each of a service's slots names: the table of Maglev (Eisenbud et al., "Maglev: A Fast
//! and Reliable Software Network Load Balancer", NSDI 2016, section 3.4), with weights. Pure.
//!
//! [`crate::serving`] calls it. The table depends on the back ends, their weights and its size alone:
//! every gateway of a site fills it alike, in whatever order the back ends are written. Shares are as the
//! weights within a few slots, and when a back end leaves, few slots of the others change.

use std::net::Ipv4Addr;

/// Sizes of tables; each is a prime, so that every step other than 0 reaches every slot.
const SIZES: [u32; 5] = [251, 1021, 4093, 16_381, 32_749];

/// How many slots a service with back ends of these weights has, whichever of them take new flows: so
/// many that the lightest gets four or more, and the average one sixty.
pub fn size(weights: &[u32]) -> u32 {
    let Some(least) = weights.iter().min().filter(|_| weights.len() > 1) else {
        return weights.len() as u32;
    };
    let total: u32 = weights.iter().sum();
    let needed = (60 * weights.len() as u32).max(4 * total.div_ceil((*least).max(1)));
    let enough = SIZES.into_iter().find(|size| *size >= needed);
    enough.unwrap_or(SIZES[SIZES.len() - 1])
}

/// The back end of each of `size` slots, `size` from [`size`]; empty if there is no back end.
pub fn table(backends: &[(Ipv4Addr, u32)], size: u32) -> Vec<Ipv4Addr> {
    let mut sorted: Vec<_> = backends.iter().filter(|(_, weight)| *weight > 0).copied().collect();
    sorted.sort_unstable();
    let Some(heaviest) = sorted.iter().map(|(_, weight)| *weight).max() else { return Vec::new() };
    let mut turns: Vec<Turns> =
        sorted.into_iter().map(|(address, weight)| Turns::new(address, weight, size)).collect();
    let mut slots: Vec<Option<Ipv4Addr>> = vec![None; size as usize];
    let mut empty = slots.len();
    // Each round the heaviest takes a turn; the others when their credit has come up to its weight.
    while empty > 0 {
        for backend in &mut turns {
            backend.credit += backend.weight;
            if backend.credit < heaviest || empty == 0 {
                continue;
            }
            backend.credit -= heaviest;
            let slot = backend.next_empty(&slots);
            slots[slot] = Some(backend.address);
            empty -= 1;
        }
    }
    slots.into_iter().flatten().collect()
}

/// A back end's preferences among the slots, and how far it has come.
struct Turns {
    address: Ipv4Addr,
    weight: u32,
    credit: u32,
    next: u64,
    skip: u64,
    size: u64,
}

impl Turns {
    fn new(address: Ipv4Addr, weight: u32, size: u32) -> Self {
        let size = u64::from(size);
        let number = u64::from(u32::from(address));
        let next = mixed(number) % size;
        let skip = mixed(number ^ 0x5bf0_3635_0000_0000) % (size - 1).max(1) + 1;
        Self { address, weight, credit: 0, next, skip, size }
    }

    /// The first empty slot in its order. There is one, and a step that shares no factor with the size
    /// comes by it.
    fn next_empty(&mut self, slots: &[Option<Ipv4Addr>]) -> usize {
        loop {
            let slot = self.next as usize;
            self.next = (self.next + self.skip) % self.size;
            if slots[slot].is_none() {
                return slot;
            }
        }
    }
}

/// The finaliser of SplitMix64: every bit of the number reaches every bit of the result.
const fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn backends() -> impl Strategy<Value = Vec<(Ipv4Addr, u32)>> {
        let address = any::<u32>().prop_map(Ipv4Addr::from);
        btree_map(address, 1u32..=100, 1..12).prop_map(|map| map.into_iter().collect())
    }

    fn shares(table: &[Ipv4Addr]) -> BTreeMap<Ipv4Addr, u32> {
        let mut shares = BTreeMap::new();
        for address in table {
            *shares.entry(*address).or_default() += 1;
        }
        shares
    }

    fn size_of(backends: &[(Ipv4Addr, u32)]) -> u32 {
        size(&backends.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())
    }

    #[test]
    fn sizes_are_primes_and_grow_with_the_back_ends() {
        for size in SIZES {
            assert!((2..size).take_while(|it| it * it <= size).all(|it| size % it != 0), "{size}");
        }
        let equal = |count| size(&vec![1; count]);
        assert_eq!(
            [0, 1, 2, 4, 5, 17, 18, 64].map(equal),
            [0, 1, 251, 251, 1021, 1021, 4093, 4093]
        );
        assert_eq!(size(&[1, 100]), 1021);
        let mut uneven = vec![100; 63];
        uneven.push(1);
        assert_eq!(size(&uneven), 32_749);
    }

    #[test]
    fn one_that_leaves_moves_few_slots_of_the_others() {
        let host = |number| (Ipv4Addr::new(10, 0, 0, number), 1);
        let all: Vec<_> = (10..20).map(host).collect();
        let before = table(&all, 1021);
        for gone in &all {
            let left: Vec<_> = all.iter().filter(|it| *it != gone).copied().collect();
            let after = table(&left, 1021);
            let moved = before.iter().zip(&after).filter(|(b, a)| **b != gone.0 && b != a).count();
            assert!(moved <= 1021 / 8, "{} moved {moved} of others", gone.0);
        }
    }

    proptest! {
        #[test]
        fn shares_are_as_the_weights(backends in backends()) {
            let size = size_of(&backends);
            let shares = shares(&table(&backends, size));
            let total: u32 = backends.iter().map(|(_, weight)| weight).sum();
            prop_assert_eq!(shares.values().sum::<u32>(), size);
            for (address, weight) in &backends {
                let found = f64::from(shares.get(address).copied().unwrap_or(0));
                let share = f64::from(*weight) / f64::from(total);
                let ideal = share * f64::from(size);
                // The last round may end early: at most one turn more or less, and its part of those.
                prop_assert!(found > ideal - 2.0, "{address}: {found}, not {ideal}");
                prop_assert!(found <= ideal + 1.0 + share * backends.len() as f64, "{address}: {found}, not {ideal}");
                prop_assert!(found >= 1.0);
            }
        }

        #[test]
        fn the_order_in_which_back_ends_are_written_does_not_matter(
            backends in backends(), turn in 0usize..12
        ) {
            let size = size_of(&backends);
            let mut turned = backends.clone();
            turned.rotate_left(turn % backends.len());
            turned.reverse();
            prop_assert_eq!(table(&turned, size), table(&backends, size));
        }

        #[test]
        fn without_one_the_others_have_all(backends in backends(), gone in 0usize..12) {
            let size = size_of(&backends);
            let mut left = backends.clone();
            let (gone, _) = left.remove(gone % backends.len());
            let table = table(&left, size);
            prop_assert!(!table.contains(&gone));
            prop_assert_eq!(table.len(), if left.is_empty() { 0 } else { size as usize });
        }
    }
}
