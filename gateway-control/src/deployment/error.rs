//! What can be wrong between resources. Each message says what is wrong and the remedy; the resource and
//! the field are named by the [`Problem`] around it.

use std::fmt;
use std::net::Ipv4Addr;

use gateway_policy::{RuleId, ServiceId, SiteName};
use ipnet::Ipv4Net;

use super::allocation::AllocationError;
use crate::model::{ClientNetworks, Endpoint, GatewayName, Network, PresencePool, TransitPool};
use crate::resource::{ExposureName, Key, PolicyName, TokenName};

/// One thing that is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The resource.
    pub key: Key,
    /// The field; empty for the whole.
    pub field: &'static str,
    /// What is wrong.
    pub error: DeploymentError,
}

impl Problem {
    pub(super) fn of(key: &Key, field: &'static str, error: impl Into<DeploymentError>) -> Self {
        Self { key: key.clone(), field, error: error.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, field, error } = self;
        match *field {
            "" => write!(f, "{key}: {error}"),
            field => write!(f, "{key}: {field}: {error}"),
        }
    }
}

/// What can be wrong between resources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentError {
    /// It is not there.
    #[error("there is none of this name; look at what there is by `get`")]
    Missing,
    /// Others refer to it.
    #[error("it is in use by {}; remove or change those first, or with it", listed(by))]
    InUse {
        /// Which.
        by: Vec<Key>,
    },
    /// A reference to nothing.
    #[error("there is no {key}; declare it, or correct the name")]
    NoSuch {
        /// What was named.
        key: Key,
    },
    /// A client network in the presence pool.
    #[error(
        "{network} lies wholly in presencePool {pool}, where no host can be; remove it or move the pool"
    )]
    NetworkInPool {
        /// The network.
        network: Network,
        /// The pool.
        pool: PresencePool,
    },
    /// A site's own addresses are transit addresses as well.
    #[error(
        "{found} overlaps the transit pool {pool}, whose addresses exist only inside links; move it"
    )]
    InTransitPool {
        /// Its network, presence pool or endpoint.
        found: String,
        /// The pool.
        pool: TransitPool,
    },
    /// More client networks than a gateway holds.
    #[error(
        "{count} networks are more than the {most} that a gateway holds; join some into larger prefixes"
    )]
    TooManyNetworks {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// An address that must be in the presence pool.
    #[error(
        "{found} is outside presencePool {pool} of site {site}; choose one in the pool, or leave it out"
    )]
    OutsidePool {
        /// The address or prefix.
        found: String,
        /// The site.
        site: SiteName,
        /// Its pool.
        pool: PresencePool,
    },
    /// A hub that is no cloud site.
    #[error("{hub} is no cloud site; name one")]
    NoHub {
        /// The hub.
        hub: SiteName,
    },
    /// A cloud site with a hub.
    #[error("a cloud site is linked to every other one and needs no hub; remove it")]
    CloudWithHub,
    /// Several cloud sites, and edges that name none.
    #[error(
        "there are several cloud sites, so edge sites must name theirs; set hub in {}",
        listed(edges)
    )]
    WhichHub {
        /// The edges without.
        edges: Vec<Key>,
    },
    /// More gateways than a site may have.
    #[error("site {site} has gateway {other} already, and a site has one; remove one of the two")]
    SecondGateway {
        /// The site.
        site: SiteName,
        /// Its other gateway.
        other: GatewayName,
    },
    /// Two gateways with one key.
    #[error("it is the key of gateway {other} as well; every gateway has its own")]
    SameKey {
        /// The other.
        other: GatewayName,
    },
    /// Two gateways at one endpoint.
    #[error(
        "{endpoint} is an endpoint of gateway {other} as well; every gateway listens at its own"
    )]
    SameEndpoint {
        /// The endpoint.
        endpoint: Endpoint,
        /// The other.
        other: GatewayName,
    },
    /// Neither end of a link says where to dial it.
    #[error(
        "neither it nor gateway {other}, which it has a link to, has an endpoint; give one of them one"
    )]
    NobodyDials {
        /// The other end.
        other: GatewayName,
    },
    /// A back end that is no host of the site.
    #[error(
        "{backend} is in none of the site's client networks ({networks}); correct it, or add its network to the site"
    )]
    BackendOutside {
        /// The back end.
        backend: Ipv4Addr,
        /// The networks.
        networks: ClientNetworks,
    },
    /// A back end among the presences.
    #[error(
        "{backend} is in presencePool {pool}, where no host can be; correct it or move the pool"
    )]
    BackendInPool {
        /// The back end.
        backend: Ipv4Addr,
        /// The pool.
        pool: PresencePool,
    },
    /// A service exposed to its own site.
    #[error("{site} is the service's own site, whose clients need no presence of it; remove it")]
    OwnSite {
        /// The site.
        site: SiteName,
    },
    /// A service exposed to a site twice.
    #[error(
        "exposure {other} exposes it to site {site} already; remove the site from one of the two"
    )]
    ExposedTwice {
        /// The site.
        site: SiteName,
        /// The other exposure.
        other: ExposureName,
    },
    /// Clients of their own, and nobody says which.
    #[error(
        "site {site} has not just one client network; set from to the prefix whose clients have presences of their own"
    )]
    WhichClients {
        /// The site.
        site: SiteName,
    },
    /// Clients of their own that the site does not have.
    #[error("{from} is in none of the client networks of site {site} ({networks}); correct it")]
    FromOutside {
        /// The prefix.
        from: Network,
        /// The site.
        site: SiteName,
        /// Its networks.
        networks: ClientNetworks,
    },
    /// Fewer presences than clients.
    #[error("{presences} has fewer addresses than {from}; take a prefix at least as large")]
    TooFewPresences {
        /// The presences.
        presences: Network,
        /// The clients.
        from: Network,
    },
    /// Clients that a rule names and the site does not have.
    #[error("{clients} is in none of the client networks of site {site} ({networks}); correct it")]
    ClientsOutside {
        /// The prefix.
        clients: Ipv4Net,
        /// The site.
        site: SiteName,
        /// Its networks.
        networks: ClientNetworks,
    },
    /// Presences as clients.
    #[error(
        "{clients} lies in presencePool {pool} of site {site}, where no client can be; name hosts"
    )]
    ClientsInPool {
        /// The prefix.
        clients: Ipv4Net,
        /// The site.
        site: SiteName,
        /// Its pool.
        pool: PresencePool,
    },
    /// A rule for clients without presence at the service.
    #[error(
        "rule {rule} lets {clients} of site {site} use {service}, where only {from} have presences; name \
         clients in {from}, or enlarge from of the exposure"
    )]
    NotPresent {
        /// The rule.
        rule: RuleId,
        /// The clients.
        clients: String,
        /// Their site.
        site: SiteName,
        /// The service.
        service: ServiceId,
        /// The clients that have presences.
        from: Network,
    },
    /// Two rules of one id.
    #[error("its rule {id} has the id of a rule of policy {other}; rename one of the two")]
    SameRuleId {
        /// The id.
        id: RuleId,
        /// The other policy.
        other: PolicyName,
    },
    /// Two tokens of one secret.
    #[error("it is the hash of token {other} as well; every token has a secret of its own")]
    SameSecret {
        /// The other token.
        other: TokenName,
    },
    /// No address for it.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
}

/// Most names in one message.
const SHOWN: usize = 10;

fn listed(keys: &[Key]) -> String {
    let shown: Vec<_> = keys.iter().take(SHOWN).map(Key::to_string).collect();
    match keys.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
