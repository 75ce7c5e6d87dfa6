//! What can be wrong with what remote clients appear as at a service.

use std::net::Ipv4Addr;

use gateway_policy::{RuleId, ServiceId, SiteName};

use crate::model::{ClientNetworks, Network, PresencePool};

/// What is wrong with an exposure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExposureError {
    /// A service of another site with exposures.
    #[error(
        "service {service}: it is at another site, whose gateway says what clients appear as there; \
         remove `exposures`"
    )]
    Elsewhere {
        /// The service.
        service: ServiceId,
    },
    /// An exposure to no other site.
    #[error(
        "service {service}: its exposure to {site} is to no other site that is declared; name a \
         [[remote_site]]"
    )]
    NoSite {
        /// The service.
        service: ServiceId,
        /// The site.
        site: SiteName,
    },
    /// Two exposures of a service to one site.
    #[error("service {service}: it has two exposures to site {site}; join them or remove one")]
    Twice {
        /// The service.
        service: ServiceId,
        /// The site.
        site: SiteName,
    },
    /// An exposure to clients that the site does not have.
    #[error(
        "service {service}: `from` {from} of its exposure is in none of the client networks of \
         {site} ({networks}); correct it, or add its network to `client_networks` of the \
         [[remote_site]]"
    )]
    FromOutside {
        /// The service.
        service: ServiceId,
        /// The site.
        site: SiteName,
        /// The prefix.
        from: Network,
        /// The site's networks.
        networks: ClientNetworks,
    },
    /// Client presences outside the pool.
    #[error(
        "service {service}: client presences {presences} are not wholly in presence_pool {pool}; \
         take a prefix inside"
    )]
    OutsidePool {
        /// The service.
        service: ServiceId,
        /// The prefix.
        presences: Network,
        /// The pool.
        pool: PresencePool,
    },
    /// Fewer client presences than clients.
    #[error(
        "service {service}: {from} has {} clients and {presences} only {} presences; take a larger \
         prefix for `presences` or a smaller one for `from`",
        from.size(),
        presences.size()
    )]
    TooSmall {
        /// The service.
        service: ServiceId,
        /// The clients.
        from: Network,
        /// Their presences.
        presences: Network,
    },
    /// Client presences over another presence.
    #[error(
        "service {service}: client presences {presences} hold {address}, which is the presence of a \
         service or client_presence; move one of them"
    )]
    OnPresence {
        /// The service.
        service: ServiceId,
        /// The prefix.
        presences: Network,
        /// The address.
        address: Ipv4Addr,
    },
    /// Client presences that stand for other clients already.
    #[error(
        "service {service}: client presences {presences} stand for other clients at {other}; take a \
         prefix of their own, or the same `site`, `from` and `presences`"
    )]
    Overlap {
        /// The later service.
        service: ServiceId,
        /// Its prefix.
        presences: Network,
        /// The earlier service.
        other: ServiceId,
    },
    /// A rule that admits a client without a presence.
    #[error(
        "rule {rule}: it lets {clients} use {service}, but only {from} have client presences of \
         their own there; name clients in {from}, or widen `from` of the exposure"
    )]
    Misses {
        /// The rule.
        rule: RuleId,
        /// Whom it admits.
        clients: String,
        /// The service.
        service: ServiceId,
        /// The clients with presences.
        from: Network,
    },
}
