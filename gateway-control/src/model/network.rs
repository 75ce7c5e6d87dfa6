//! Address ranges of a site: prefixes, client networks, the presence pool.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::Ipv4Net;

use super::ValueError;

/// Reads `ADDRESS/LENGTH` and refuses bits beyond the length, which are usually a slip.
pub(super) fn strict_prefix(text: &str) -> Result<Ipv4Net, ValueError> {
    let net: Ipv4Net = text.parse().map_err(|_| ValueError::prefix(text))?;
    if net.trunc() != net {
        return Err(ValueError::HostBits { found: net, network: net.trunc() });
    }
    Ok(net)
}

pub(super) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// A prefix of unicast addresses in a site's own plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(Ipv4Net);

impl Network {
    /// The prefix.
    pub fn prefix(self) -> Ipv4Net {
        self.0
    }

    /// How many addresses it holds.
    pub fn size(self) -> u64 {
        1 << (32 - self.0.prefix_len())
    }
}

impl TryFrom<Ipv4Net> for Network {
    type Error = ValueError;

    fn try_from(net: Ipv4Net) -> Result<Self, ValueError> {
        if net.trunc() != net {
            return Err(ValueError::HostBits { found: net, network: net.trunc() });
        }
        for (special, what) in SPECIAL {
            let special = Ipv4Net::new_assert(Ipv4Addr::new(special.0, 0, 0, 0), special.1);
            if overlap(net, special) {
                return Err(ValueError::Special { found: net, special, what });
            }
        }
        Ok(Self(net))
    }
}

/// First octet and prefix length of ranges that no host of a site has an address in (RFC 6890).
const SPECIAL: [((u8, u8), &str); 3] =
    [((0, 8), "\"this network\""), ((127, 8), "loopback"), ((224, 4), "multicast")];

impl FromStr for Network {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        strict_prefix(text)?.try_into()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The prefix of a site's own plan that is reserved for presences: /16 to /30.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresencePool(Network);

impl PresencePool {
    const LENGTHS: RangeInclusive<u8> = 16..=30;

    /// The prefix.
    pub fn prefix(self) -> Ipv4Net {
        self.0.prefix()
    }

    pub(super) fn network(self) -> Network {
        self.0
    }

    /// How many addresses it holds.
    pub fn size(self) -> u32 {
        1 << (32 - self.prefix().prefix_len())
    }

    /// Where in the pool an address stands, counted from its first.
    pub fn offset(self, address: Ipv4Addr) -> Option<u32> {
        self.prefix()
            .contains(&address)
            .then(|| u32::from(address) - u32::from(self.prefix().network()))
    }
}

impl FromStr for PresencePool {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let net = strict_prefix(text)?;
        ValueError::check_length(net, Self::LENGTHS)?;
        net.try_into().map(Self)
    }
}

impl fmt::Display for PresencePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A site's client networks, none overlapping another, laid end to end in their order: the first
/// address of the first has index 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientNetworks(Vec<Network>);

impl ClientNetworks {
    /// Fails with the first two that overlap.
    pub fn new(networks: Vec<Network>) -> Result<Self, (Network, Network)> {
        let mut sorted = networks.clone();
        sorted.sort();
        for pair in sorted.windows(2) {
            if let [first, second] = *pair
                && overlap(first.prefix(), second.prefix())
            {
                return Err((first, second));
            }
        }
        Ok(Self(networks))
    }

    /// The networks, each with the index of its first address.
    pub fn indexed(&self) -> impl Iterator<Item = (Network, u64)> + '_ {
        self.0.iter().scan(0u64, |next, network| {
            let first = *next;
            *next += network.size();
            Some((*network, first))
        })
    }

    /// How many networks there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many addresses they hold together.
    pub fn size(&self) -> u64 {
        self.0.iter().map(|network| network.size()).sum()
    }

    /// The index of a client.
    pub fn index(&self, address: Ipv4Addr) -> Option<u64> {
        self.first_index(Ipv4Net::from(address))
    }

    /// The index of the first address of a prefix that lies in one of the networks; the rest of
    /// the prefix follows it.
    pub fn first_index(&self, prefix: Ipv4Net) -> Option<u64> {
        let (network, first) =
            self.indexed().find(|(network, _)| network.prefix().contains(&prefix))?;
        let offset = u32::from(prefix.network()) - u32::from(network.prefix().network());
        Some(first + u64::from(offset))
    }
}

impl fmt::Display for ClientNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, network) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            network.fmt(f)?;
        }
        Ok(())
    }
}
