//! What can be wrong with peers and the link devices that lead to them.

use gateway_policy::SiteName;

use crate::model::{Endpoint, InterfaceName, TransitPool};

/// What is wrong with the links to peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// A peer of an unknown site.
    #[error("peer {peer}: site {site} is not declared; add a [[remote_site]] named {site}")]
    SiteUnknown {
        /// The peer.
        peer: SiteName,
        /// The site, its own or one it reaches.
        site: SiteName,
    },
    /// A peer that is, or reaches, this site.
    #[error("peer {peer}: {site} is this site, which needs no link; name a remote site")]
    IsHere {
        /// The peer.
        peer: SiteName,
        /// This site.
        site: SiteName,
    },
    /// Two peers with one key.
    #[error("peer {peer}: its public key is also that of peer {other}; every gateway has its own")]
    DuplicateKey {
        /// The later one.
        peer: SiteName,
        /// The earlier one.
        other: SiteName,
    },
    /// Two peers at one endpoint.
    #[error(
        "peer {peer}: endpoint {endpoint} is also that of peer {other}; every gateway listens at \
         an endpoint of its own"
    )]
    DuplicateEndpoint {
        /// The later one.
        peer: SiteName,
        /// The earlier one.
        other: SiteName,
        /// Their endpoint.
        endpoint: Endpoint,
    },
    /// An endpoint that is a transit address.
    #[error(
        "peer {peer}: endpoint {endpoint} is in transit_pool {pool}, whose addresses exist only \
         inside links; write the gateway's address on the underlay"
    )]
    EndpointInTransitPool {
        /// The peer.
        peer: SiteName,
        /// The endpoint.
        endpoint: Endpoint,
        /// The pool.
        pool: TransitPool,
    },
    /// Neither end of a link could dial.
    #[error(
        "peer {peer}: it has no endpoint, so it must dial this gateway, but [link] has no \
         listen_port; set one of the two"
    )]
    NobodyDials {
        /// The peer.
        peer: SiteName,
    },
    /// Neither end of a link's next device could dial.
    #[error(
        "peer {peer}: neither end dials the next link; set link.next.listen_port, or next.endpoint \
         of the peer"
    )]
    NobodyDialsNext {
        /// The peer.
        peer: SiteName,
    },
    /// A peer twice at one endpoint.
    #[error("peer {peer}: endpoint {endpoint} is named twice; name it once")]
    EndpointTwice {
        /// The peer.
        peer: SiteName,
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// A key to rotate to that is the one in use.
    #[error("peer {peer}: next.public_key is the key it has already; leave it out or correct it")]
    NextKeyIsCurrent {
        /// The peer.
        peer: SiteName,
    },
    /// Both link devices at one port.
    #[error("link: next.listen_port {port} is that of the present device; give it another")]
    NextPortIsCurrent {
        /// The port.
        port: u16,
    },
    /// The second link device would have the name of a LAN interface.
    #[error(
        "link: the second device is called {interface}, which is a [[lan]] interface; choose \
         another link.interface"
    )]
    SecondInterfaceTaken {
        /// Its name.
        interface: InterfaceName,
    },
    /// A site that two links lead to.
    #[error(
        "site {site}: it is reached through peer {peer} and again through peer {other}; leave it \
         to one of them"
    )]
    ReachedTwice {
        /// The site.
        site: SiteName,
        /// The earlier peer.
        peer: SiteName,
        /// The later peer.
        other: SiteName,
    },
    /// A site that no link leads to.
    #[error(
        "site {site}: no peer reaches it; add a [[peer]] for it, or add it to `reaches` of the \
         peer that relays it"
    )]
    Unreached {
        /// The site.
        site: SiteName,
    },
}
