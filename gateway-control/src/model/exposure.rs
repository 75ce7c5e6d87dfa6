//! What the clients of one other site appear as at a service of this one.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use gateway_policy::SiteName;
use ipnet::Ipv4Net;

use super::{Network, ValueError};

/// How a service here is exposed to the clients of one other site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The clients' site.
    pub site: SiteName,
    /// What its clients appear as.
    pub clients: ClientPresences,
}

/// What the clients of an exposure appear as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPresences {
    /// All as the site's one client presence; their ports are translated.
    Shared,
    /// Each as an address of its own; their ports stay.
    PerClient {
        /// The clients, by their own addresses.
        from: Network,
        /// Where the first of them appears; the others follow in order.
        presences: Network,
    },
}

impl ClientPresences {
    /// The addresses that stand for clients, those that fit no client left out.
    pub fn addresses(self) -> Option<Ipv4Net> {
        match self {
            Self::Shared => None,
            Self::PerClient { from, presences } => {
                Ipv4Net::new(presences.prefix().network(), from.prefix().prefix_len()).ok()
            }
        }
    }

    /// The presence of the client with this address.
    pub fn presence(self, client: Ipv4Addr) -> Option<Ipv4Addr> {
        let Self::PerClient { from, presences } = self else { return None };
        if !from.prefix().contains(&client) {
            return None;
        }
        let offset = u32::from(client) - u32::from(from.prefix().network());
        let presence = u32::from(presences.prefix().network()).checked_add(offset)?;
        Some(Ipv4Addr::from(presence)).filter(|presence| presences.prefix().contains(presence))
    }
}

/// The words of `clients` in an exposure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientsAs {
    /// `shared`.
    Shared,
    /// `per-client`.
    PerClient,
}

impl FromStr for ClientsAs {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "shared" => Ok(Self::Shared),
            "per-client" => Ok(Self::PerClient),
            _ => Err(ValueError::ClientsAs { found: super::quoted(text) }),
        }
    }
}

impl fmt::Display for ClientPresences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::PerClient { .. } => "per-client",
        })
    }
}

impl fmt::Display for ClientsAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::PerClient => "per-client",
        })
    }
}
