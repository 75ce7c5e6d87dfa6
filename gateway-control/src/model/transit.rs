//! Transit addresses: the pool of the deployment, a site's block in it, and who has which address.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::Ipv4Net;

use super::network::{overlap, strict_prefix};
use super::{Network, ValueError};

/// The prefix all transit addresses of a deployment come from: /4 to /12, 240.0.0.0/4 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitPool(Ipv4Net);

impl TransitPool {
    const LENGTHS: RangeInclusive<u8> = 4..=12;

    /// The prefix.
    pub fn prefix(self) -> Ipv4Net {
        self.0
    }

    /// Whether a site's block lies in it.
    pub fn contains(self, block: TransitBlock) -> bool {
        self.0.contains(&block.prefix())
    }

    /// Whether it shares an address with a network of a site.
    pub fn overlaps(self, network: Network) -> bool {
        overlap(self.0, network.prefix())
    }
}

impl Default for TransitPool {
    fn default() -> Self {
        Self(Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4))
    }
}

impl FromStr for TransitPool {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let net = strict_prefix(text)?;
        ValueError::check_length(net, Self::LENGTHS)?;
        Ok(Self(Network::try_from(net)?.prefix()))
    }
}

impl fmt::Display for TransitPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A site's share of the transit pool: /8 to /20. Its lower half is for clients, by index, its
/// upper half for services, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransitBlock(Ipv4Net);

impl TransitBlock {
    const LENGTHS: RangeInclusive<u8> = 8..=20;

    /// The prefix.
    pub fn prefix(self) -> Ipv4Net {
        self.0
    }

    /// How many clients it has room for; as many addresses again are for services.
    pub fn half(self) -> u32 {
        1 << (31 - self.0.prefix_len())
    }

    /// The lower half: every client of the site.
    pub fn clients(self) -> Ipv4Net {
        Ipv4Net::new_assert(self.0.network(), self.0.prefix_len() + 1)
    }

    /// The transit address of the client with this index.
    pub fn client(self, index: u32) -> Option<Ipv4Addr> {
        (index < self.half()).then(|| self.at(index))
    }

    /// The transit address of the service with this number.
    pub fn service(self, number: ServiceNumber) -> Option<Ipv4Addr> {
        (number.0.get() < self.half()).then(|| self.at(self.half() + number.0.get()))
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        overlap(self.0, other.0)
    }

    fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.0.network()) + offset)
    }
}

impl FromStr for TransitBlock {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let net = strict_prefix(text)?;
        ValueError::check_length(net, Self::LENGTHS)?;
        if net.contains(&Ipv4Addr::BROADCAST) {
            return Err(ValueError::BroadcastBlock { found: net });
        }
        Ok(Self(net))
    }
}

impl fmt::Display for TransitBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of its site's services one is; fixes its transit address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceNumber(NonZeroU32);

impl ServiceNumber {
    /// The number.
    pub fn value(self) -> u32 {
        self.0.get()
    }
}

impl TryFrom<i64> for ServiceNumber {
    type Error = ValueError;

    fn try_from(number: i64) -> Result<Self, ValueError> {
        let max = i64::from(u32::MAX >> 9);
        u32::try_from(number)
            .ok()
            .filter(|_| number <= max)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(ValueError::Number { found: number, least: 1, most: max })
    }
}

impl fmt::Display for ServiceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
