//! How many flows each client and each site has, for quotas.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{SiteNumber, map};
use crate::address::{Ipv4, TransitAddress};

map! {
    /// Flows by who opened them. The programs count up when a flow is opened; each sweep of `gatewayd`
    /// writes the true numbers, so flows that ended count until then.
    Usages = "usage4": LruHash, UsageKey => FlowCount, 1 << 16
}

/// How many flows somebody has.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct FlowCount(pub u64);

/// Whose flows are counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct UsageKey {
    kind: u32,
    number: u32,
}

impl UsageKey {
    /// The flows of one client.
    #[inline(always)]
    pub const fn client(client: TransitAddress) -> Self {
        Self { kind: 1, number: client.0.number() }
    }

    /// Whose they are: a client's transit address, or a site's number.
    pub const fn owner(&self) -> Owner {
        match self.kind {
            1 => Owner::Client(TransitAddress(Ipv4::from_number(self.number))),
            _ => Owner::Site(SiteNumber(self.number)),
        }
    }

    /// The flows of one site's clients.
    #[inline(always)]
    pub const fn site(site: SiteNumber) -> Self {
        Self { kind: 2, number: site.0 }
    }
}

/// Who opened flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One client.
    Client(TransitAddress),
    /// The clients of one site.
    Site(SiteNumber),
}
