//! What can be wrong with a site as a whole. Each message names the object, what is wrong, and the
//! remedy. What concerns exposures and peers has an enum of its own each.

mod exposure;
mod peer;

use std::net::Ipv4Addr;

use gateway_policy::{RuleId, RuleSetError, ServiceId, SiteName};
use ipnet::Ipv4Net;

pub use exposure::ExposureError;
pub use peer::PeerError;

use super::{
    ClientNetworks, InterfaceName, Network, PresencePool, ServiceNumber, TransitBlock, TransitPool,
    ValueError,
};

/// What is wrong with a site as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A value that is not what it should be.
    #[error("{object}: {field}: {error}")]
    Value {
        /// What it belongs to.
        object: String,
        /// Its key.
        field: &'static str,
        /// What is wrong with it.
        error: ValueError,
    },
    /// Two sites of one name.
    #[error("site {site}: there is another site of this name; rename one")]
    DuplicateSite {
        /// The name.
        site: SiteName,
    },
    /// A transit block outside the pool.
    #[error(
        "site {site}: transit block {block} is outside transit_pool {pool}; take a block inside"
    )]
    BlockOutsidePool {
        /// The site.
        site: SiteName,
        /// Its block.
        block: TransitBlock,
        /// The pool.
        pool: TransitPool,
    },
    /// Two sites' transit blocks share addresses.
    #[error(
        "site {site}: transit block {block} overlaps {other_block} of site {other}; give each site \
         a block of its own"
    )]
    BlocksOverlap {
        /// One site.
        site: SiteName,
        /// Its block.
        block: TransitBlock,
        /// The other site.
        other: SiteName,
        /// Its block.
        other_block: TransitBlock,
    },
    /// Two client networks of a site share addresses.
    #[error(
        "site {site}: client networks {first} and {second} overlap; remove one, or narrow them \
         until no address is in both"
    )]
    NetworksOverlap {
        /// The site.
        site: SiteName,
        /// One of them.
        first: Network,
        /// The other.
        second: Network,
    },
    /// A site with more client addresses than transit addresses for them.
    #[error(
        "site {site}: its client networks have {addresses} addresses, but transit block {block} \
         has room for {room} clients; take a larger block or smaller networks"
    )]
    NetworksTooLarge {
        /// The site.
        site: SiteName,
        /// Size of its client networks.
        addresses: u64,
        /// Its block.
        block: TransitBlock,
        /// How many fit.
        room: u32,
    },
    /// More client networks than the tables hold.
    #[error(
        "site {site}: it has {count} client networks and the tables hold {most}; join \
         neighbouring networks into larger prefixes"
    )]
    TooManyNetworks {
        /// The site.
        site: SiteName,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A site's own addresses are transit addresses as well.
    #[error(
        "site {site}: {network} overlaps transit_pool {pool}, whose addresses exist only inside \
         links; move one of the two"
    )]
    NetworkInTransitPool {
        /// The site.
        site: SiteName,
        /// Its network or presence pool.
        network: Network,
        /// The pool.
        pool: TransitPool,
    },
    /// A client network that has no address outside the presence pool.
    #[error(
        "site {site}: client network {network} lies wholly in presence_pool {pool}, where no host \
         can be; remove it or move the pool"
    )]
    NetworkInPool {
        /// The site.
        site: SiteName,
        /// The network.
        network: Network,
        /// The pool.
        pool: PresencePool,
    },
    /// One interface used twice.
    #[error(
        "interface {interface}: it is used twice; give every [[lan]] and the link one of its own"
    )]
    DuplicateInterface {
        /// The interface.
        interface: InterfaceName,
    },
    /// No room to name the far end of the host's pair of devices.
    #[error(
        "host: interface {interface} is too long, since its far end is called the same with -far \
         at the end; take at most {most} characters"
    )]
    HostInterfaceLong {
        /// The interface.
        interface: InterfaceName,
        /// Longest name.
        most: usize,
    },
    /// An address of the host named twice.
    #[error("host: address {address} is named twice; name it once")]
    HostAddressTwice {
        /// The address.
        address: Ipv4Addr,
    },
    /// An address of the host among the presences.
    #[error(
        "host: address {address} is in presence_pool {pool}, where no host can be; name the \
         host's own address on its LAN"
    )]
    HostAddressInPool {
        /// The address.
        address: Ipv4Addr,
        /// The pool.
        pool: PresencePool,
    },
    /// An address of the host that no client has.
    #[error(
        "host: address {address} is in none of this site's client networks ({networks}); correct \
         it, or add its network to a [[lan]] or to host.networks"
    )]
    HostAddressOutside {
        /// The address.
        address: Ipv4Addr,
        /// The site's networks.
        networks: ClientNetworks,
    },
    /// More addresses and networks of the host than the tables hold.
    #[error(
        "host: it has {count} addresses and networks and the tables hold {most}; name fewer in \
         host.addresses, or join networks into larger prefixes"
    )]
    TooManyHostNetworks {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// The client presence is no presence.
    #[error(
        "site {site}: client_presence {address} is outside presence_pool {pool}; choose an address \
         in the pool"
    )]
    ClientPresenceOutside {
        /// The site.
        site: SiteName,
        /// The address.
        address: Ipv4Addr,
        /// The pool.
        pool: PresencePool,
    },
    /// What is wrong with an exposure.
    #[error(transparent)]
    Exposure(#[from] ExposureError),
    /// Services here, but remote clients have no address.
    #[error(
        "service {service}: it is at this site, but remote clients have no address here; set \
         client_presence in [site] to an address of presence_pool"
    )]
    NoClientPresence {
        /// The first such service.
        service: ServiceId,
    },
    /// What is wrong with the links to peers.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Two services of one name.
    #[error("service {service}: there is another service of this name at its site; rename one")]
    DuplicateService {
        /// Its name.
        service: ServiceId,
    },
    /// A service of an unknown site.
    #[error(
        "service {service}: its site is neither this one nor declared; add a [[remote_site]] for \
         it or correct `site`"
    )]
    ServiceSiteUnknown {
        /// The service.
        service: ServiceId,
    },
    /// A service number beyond the site's block.
    #[error(
        "service {service}: number {number} is beyond transit block {block}; take a number from 1 \
         to {most}"
    )]
    ServiceNumber {
        /// The service.
        service: ServiceId,
        /// Its number.
        number: ServiceNumber,
        /// Its site's block.
        block: TransitBlock,
        /// The largest number.
        most: u32,
    },
    /// Two services of a site with one number.
    #[error("service {service}: number {number} is that of {other}; give it a number of its own")]
    DuplicateNumber {
        /// The later one.
        service: ServiceId,
        /// The earlier one.
        other: ServiceId,
        /// Their number.
        number: ServiceNumber,
    },
    /// A service of this site without a back end.
    #[error("service {service}: it is at this site; set `backend` to the host that serves it")]
    NoBackend {
        /// The service.
        service: ServiceId,
    },
    /// A service of another site with a back end.
    #[error(
        "service {service}: it is at another site, whose gateway knows the back end; remove \
         `backend`"
    )]
    BackendElsewhere {
        /// The service.
        service: ServiceId,
    },
    /// A service of another site with a health check.
    #[error(
        "service {service}: it is at another site, whose gateway asks its back ends; remove `health`"
    )]
    HealthElsewhere {
        /// The service.
        service: ServiceId,
    },
    /// More slots than the map has.
    #[error(
        "service {service}: with it the back ends ask for {count} slots and the gateway has {most}; \
         give heavy services fewer back ends, or weights that differ less"
    )]
    TooManySlots {
        /// The service with which there are too many.
        service: ServiceId,
        /// The slots of it and those before.
        count: u64,
        /// What there is.
        most: u32,
    },
    /// A back end that is not a host of the site.
    #[error(
        "service {service}: backend {backend} is in none of this site's client networks \
         ({networks}); add its network to a [[lan]] or correct the address"
    )]
    BackendOutside {
        /// The service.
        service: ServiceId,
        /// The back end.
        backend: Ipv4Addr,
        /// The site's networks.
        networks: ClientNetworks,
    },
    /// A back end among the presences.
    #[error(
        "service {service}: backend {backend} is in presence_pool {pool}, where no host can be; \
         correct the address or move the pool"
    )]
    BackendInPool {
        /// The service.
        service: ServiceId,
        /// The back end.
        backend: Ipv4Addr,
        /// The pool.
        pool: PresencePool,
    },
    /// A service of another site without a presence.
    #[error(
        "service {service}: it is at another site; set `presence` to a free address of \
         presence_pool"
    )]
    NoPresence {
        /// The service.
        service: ServiceId,
    },
    /// A service of this site with a presence.
    #[error(
        "service {service}: it is at this site, where clients use its back end; remove `presence`"
    )]
    PresenceHere {
        /// The service.
        service: ServiceId,
    },
    /// A presence outside the pool.
    #[error(
        "service {service}: presence {presence} is outside presence_pool {pool}; choose a free \
         address in the pool"
    )]
    PresenceOutside {
        /// The service.
        service: ServiceId,
        /// The presence.
        presence: Ipv4Addr,
        /// The pool.
        pool: PresencePool,
    },
    /// A presence that is the client presence.
    #[error(
        "service {service}: presence {presence} is this site's client_presence; choose another \
         address in the pool"
    )]
    PresenceIsClientPresence {
        /// The service.
        service: ServiceId,
        /// The presence.
        presence: Ipv4Addr,
    },
    /// Two services at one presence.
    #[error(
        "service {service}: presence {presence} is that of {other}; give each service an address \
         of its own"
    )]
    DuplicatePresence {
        /// The later one.
        service: ServiceId,
        /// The earlier one.
        other: ServiceId,
        /// Their presence.
        presence: Ipv4Addr,
    },
    /// More port prefixes than the tables hold.
    #[error(
        "service {service}: with its ports there are {count} table entries for ports and the \
         tables hold {most}; write ranges that start and end at powers of two, or tcp/*"
    )]
    TooManyPorts {
        /// The first service that does not fit.
        service: ServiceId,
        /// Entries up to there.
        count: usize,
        /// How many there may be.
        most: u32,
    },
    /// Rules that contradict each other.
    #[error(transparent)]
    Rules(#[from] RuleSetError),
    /// A rule about an unknown site.
    #[error("rule {rule}: site {site} is not declared; add a [[remote_site]] or correct the name")]
    RuleSiteUnknown {
        /// The rule.
        rule: RuleId,
        /// The site.
        site: SiteName,
    },
    /// A rule about an unknown service.
    #[error("rule {rule}: service {service} is not declared; add a [[service]] or correct `to`")]
    RuleServiceUnknown {
        /// The rule.
        rule: RuleId,
        /// The service.
        service: ServiceId,
    },
    /// A rule about clients that the site does not have.
    #[error(
        "rule {rule}: {clients} is in none of the client networks of site {site}; correct it, or \
         add its network to {remedy}"
    )]
    RuleClientsOutside {
        /// The rule.
        rule: RuleId,
        /// The prefix.
        clients: Ipv4Net,
        /// The site.
        site: SiteName,
        /// Where networks of the site are declared.
        remedy: &'static str,
    },
    /// A rule about presences as clients.
    #[error(
        "rule {rule}: {clients} lies in presence_pool {pool}, where no client can be; name \
         addresses of hosts"
    )]
    RuleClientsInPool {
        /// The rule.
        rule: RuleId,
        /// The prefix.
        clients: Ipv4Net,
        /// The pool.
        pool: PresencePool,
    },
    /// More rule entries than the tables hold.
    #[error(
        "rule {rule}: with it there are {count} table entries for rules and the tables hold \
         {most}; name larger client prefixes"
    )]
    TooManyClients {
        /// The first rule that does not fit.
        rule: RuleId,
        /// Entries up to there.
        count: usize,
        /// How many there may be.
        most: u32,
    },
}
