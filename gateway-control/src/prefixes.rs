//! Ranges as prefixes: the fewest aligned blocks that cover a range exactly, for port lists and for
//! the clients of a rule. `compile` makes table keys of them; the model's check counts them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::model::{ClientNetworks, Clients, PortSpec, TransitBlock};

/// The ports of an entry that stand in the tables as prefixes of 16 bits. None for an entry that
/// covers a protocol as a whole.
pub(crate) fn port_blocks(spec: PortSpec) -> impl Iterator<Item = Block> {
    let (_, low, high) = spec.extent();
    cover(low.into(), high.into(), 16)
}

/// The transit addresses of some clients of a site, each prefix with the length of the prefix of the
/// site's own addresses it comes from; `None` for the whole site. A prefix outside the networks or
/// beyond the block's room for clients has none.
pub(crate) fn client_prefixes(
    clients: &Clients,
    block: TransitBlock,
    networks: &ClientNetworks,
) -> impl Iterator<Item = (Ipv4Net, Option<u8>)> {
    let (all, prefixes) = match clients {
        Clients::All => (Some((block.clients(), None)), &[][..]),
        Clients::In(prefixes) => (None, prefixes.as_slice()),
    };
    let some = prefixes.iter().flat_map(move |prefix| {
        let range = transit_range(*prefix, block, networks);
        range.into_iter().flat_map(|(first, last)| cover(first, last, 32)).filter_map(|found| {
            let length = u8::try_from(found.length).ok()?;
            let net = Ipv4Net::new(Ipv4Addr::from(found.first), length).ok()?;
            Some((net, Some(prefix.prefix_len())))
        })
    });
    all.into_iter().chain(some)
}

fn transit_range(
    prefix: Ipv4Net,
    block: TransitBlock,
    networks: &ClientNetworks,
) -> Option<(u32, u32)> {
    let first = networks.first_index(prefix)?;
    let last = first + u64::from(u32::MAX.checked_shr(prefix.prefix_len().into()).unwrap_or(0));
    let transit = |index: u64| block.client(u32::try_from(index).ok()?).map(u32::from);
    Some((transit(first)?, transit(last)?))
}

/// A block of `2^(width - length)` numbers that starts at a multiple of its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its first number.
    pub(crate) first: u32,
    /// How many of the `width` leading bits are fixed.
    pub(crate) length: u32,
}

/// The blocks that cover `first..=last`, both below `2^width`, in order; none if `first > last`.
pub(crate) fn cover(first: u32, last: u32, width: u32) -> impl Iterator<Item = Block> {
    let end = u64::from(last) + 1;
    let mut next = u64::from(first);
    std::iter::from_fn(move || {
        let left = end.checked_sub(next).filter(|left| *left > 0)?;
        let alignment = next.trailing_zeros().min(width);
        let bits = alignment.min(left.ilog2());
        let block = Block { first: next as u32, length: width.saturating_sub(bits) };
        next += 1 << bits;
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_covers() {
        let blocks =
            |first, last| cover(first, last, 16).map(|b| (b.first, b.length)).collect::<Vec<_>>();
        assert_eq!(blocks(0, 65_535), [(0, 0)]);
        assert_eq!(blocks(80, 80), [(80, 16)]);
        assert_eq!(blocks(1, 4), [(1, 16), (2, 15), (4, 16)]);
        assert_eq!(blocks(5, 4), []);
        assert_eq!(cover(0, u32::MAX, 32).count(), 1);
    }

    proptest! {
        #[test]
        fn covers_exactly(a: u16, b: u16, probe: u16) {
            let (first, last) = (u32::from(a.min(b)), u32::from(a.max(b)));
            let holding = cover(first, last, 16)
                .filter(|block| u32::from(probe) >> (16 - block.length) == block.first >> (16 - block.length))
                .count();
            prop_assert_eq!(holding, usize::from((first..=last).contains(&u32::from(probe))));
            prop_assert!(cover(first, last, 16).count() <= 30);
        }
    }
}
