//! Which site a transit address belongs to, and by which link it is reached.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::map;
use crate::address::{Prefix, TransitAddress};

map! {
    /// Granule of the transit pool (4096 addresses each, so /4 has 65,536) to the site that owns it.
    Routes = "routes4": Array, u32 => Route, 1 << 16
}

/// A site's number in this gateway's tables: 0 is nobody. Local to the gateway, with a name in
/// [`super::Names`].
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct SiteNumber(pub u32);

/// Who owns a granule of transit addresses.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Route {
    /// The site; nobody in a route that is not set.
    pub site: SiteNumber,
    /// Index of the link device that reaches it; 0 for this site itself.
    pub link: u32,
    /// [`Self::link`] exclusive-or the index of a second link device that its packets may come by, while a link is
    /// being replaced; 0 for none. The kernel writes an entry octet by octet under the eyes of packets
    /// (`array_map_update_elem` is a `memcpy`; read in b2157399cc98, 4.15): when the two devices change places, this
    /// field does not change, and both are accepted all the time.
    pub second: u32,
    /// Octets that an IP packet into the link may have.
    pub mtu: u32,
}

impl Route {
    /// log2 of the addresses in a granule: transit blocks are /20 or larger.
    pub const GRANULE_BITS: u32 = 12;

    /// The granule that `address` is in, counted from the pool's first. Meaningful for addresses
    /// inside `pool`.
    #[inline(always)]
    pub const fn granule(pool: &Prefix, address: TransitAddress) -> u32 {
        pool.offset(address.0) >> Self::GRANULE_BITS
    }

    /// Whether somebody owns the granule.
    #[inline(always)]
    pub const fn is_set(self) -> bool {
        self.site.0 != 0
    }

    /// The same, and its packets may come by the link device `also` too; 0 for none.
    #[must_use]
    pub const fn and_by(self, also: u32) -> Self {
        Self { second: if also == 0 { 0 } else { self.link ^ also }, ..self }
    }

    /// Index of the second link device that its packets may come by; 0 for none.
    pub const fn also(self) -> u32 {
        if self.second == 0 { 0 } else { self.link ^ self.second }
    }

    /// Whether packets of its owner may come by the link device `interface`.
    #[inline(always)]
    pub const fn comes_by(self, interface: u32) -> bool {
        let by = self.link ^ interface;
        self.is_set() && !self.is_own() && (by == 0 || by == self.second)
    }

    /// Whether this gateway's own site owns it.
    #[inline(always)]
    pub const fn is_own(self) -> bool {
        self.is_set() && self.link == 0
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromBytes as _, IntoBytes as _};

    use super::*;

    /// Of the entry that is written over another, so many octets are there already.
    fn torn(before: Route, after: Route, octets: usize) -> Route {
        let bytes = [&after.as_bytes()[..octets], &before.as_bytes()[octets..]].concat();
        Route::read_from_bytes(&bytes).expect("as long as a route")
    }

    #[test]
    fn while_two_devices_change_places_both_are_accepted() {
        for (one, other) in [(5, 6), (255, 256), (0x1_0203, 0x4_0506)] {
            let route =
                |link, also, mtu| Route { site: SiteNumber(7), link, second: 0, mtu }.and_by(also);
            let (before, after) = (route(one, other, 1420), route(other, one, 1280));
            assert_eq!((before.also(), after.also()), (other, one));
            let whole = (0..=size_of::<Route>()).filter(|octets| {
                let seen = torn(before, after, *octets);
                seen.comes_by(one) && seen.comes_by(other)
            });
            // Indices of two octets that both change are whole again with the last of them.
            let between = (one ^ other).to_ne_bytes().iter().filter(|octet| **octet != 0).count();
            assert_eq!(whole.count(), size_of::<Route>() + 1 - (between - 1), "{one} and {other}");
        }
    }

    #[test]
    fn a_route_without_a_second_device_has_none() {
        let route = Route { site: SiteNumber(7), link: 5, second: 0, mtu: 1420 };
        assert_eq!((route.and_by(0), route.also()), (route, 0));
        assert!(route.comes_by(5) && !route.comes_by(0) && !route.comes_by(4));
        let both = route.and_by(9);
        assert!(both.comes_by(5) && both.comes_by(9) && !both.comes_by(0) && !both.comes_by(12));
    }
}
