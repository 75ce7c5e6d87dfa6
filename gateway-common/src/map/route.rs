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
    /// Index of a second link device that its packets may come by, while a link is being replaced; 0 for
    /// none.
    pub also: u32,
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

    /// Whether packets of its owner may come by the link device `interface`.
    #[inline(always)]
    pub const fn comes_by(self, interface: u32) -> bool {
        self.is_set() && !self.is_own() && (self.link == interface || self.also == interface)
    }

    /// Whether this gateway's own site owns it.
    #[inline(always)]
    pub const fn is_own(self) -> bool {
        self.is_set() && self.link == 0
    }
}
