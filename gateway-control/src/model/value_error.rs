//! What can be wrong with a single value. Each message says what is wrong and the remedy; the object
//! is named by [`super::ModelError::Value`] around it.

use std::ops::RangeInclusive;

use gateway_policy::{LabelError, ServiceIdError};
use ipnet::Ipv4Net;

use super::PortSpec;

/// Why a single value is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a name.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// Not a service's full name.
    #[error(transparent)]
    ServiceId(#[from] ServiceIdError),
    /// Not an interface name.
    #[error(
        "{found} is not an interface name; use 1 to 15 characters without spaces, '/', ':' or '%'"
    )]
    Interface {
        /// The text, quoted.
        found: String,
    },
    /// Not one of a few words.
    #[error("{found} is not a choice; write one of {choices}")]
    Choice {
        /// The text, quoted.
        found: String,
        /// The words.
        choices: String,
    },
    /// Not a prefix.
    #[error("{found} is not an IPv4 prefix; write ADDRESS/LENGTH, for example 10.0.0.0/24")]
    Prefix {
        /// The text, quoted.
        found: String,
    },
    /// A prefix with bits set beyond its length.
    #[error("{found} has bits set beyond its length; write {network}, or correct the length")]
    HostBits {
        /// As written.
        found: Ipv4Net,
        /// Without those bits.
        network: Ipv4Net,
    },
    /// A prefix of a length that has no use here.
    #[error("{found} has an unusable size; take a prefix length from /{shortest} to /{longest}")]
    PrefixLength {
        /// As written.
        found: Ipv4Net,
        /// Length of the largest that is usable.
        shortest: u8,
        /// Length of the smallest.
        longest: u8,
    },
    /// A prefix that overlaps addresses no host has.
    #[error("{found} overlaps {special} ({what}); take a prefix of unicast addresses")]
    Special {
        /// As written.
        found: Ipv4Net,
        /// The range.
        special: Ipv4Net,
        /// Its use.
        what: &'static str,
    },
    /// A transit block at the very top of the address space.
    #[error("{found} holds 255.255.255.255, which is every host; take a lower block")]
    BroadcastBlock {
        /// As written.
        found: Ipv4Net,
    },
    /// Not an address.
    #[error("{found} is not an IPv4 address; write four numbers, for example 10.0.0.10")]
    Address {
        /// The text, quoted.
        found: String,
    },
    /// Not a port list entry.
    #[error(
        "{found} is not a port entry; write tcp/PORT, tcp/LOW-HIGH, tcp/*, tcp/PORT->BACKEND, \
         the same with udp, sctp/PORT, icmp-echo or ip/NUMBER, with ports from 1 to 65535"
    )]
    Port {
        /// The text, quoted.
        found: String,
    },
    /// A range that does not go up.
    #[error("the range {low}-{high} does not go up; write the smaller port first")]
    PortRange {
        /// The first port.
        low: u16,
        /// The second port.
        high: u16,
    },
    /// An SCTP port that another is to take the place of.
    #[error(
        "SCTP keeps its ports, since its checksum covers them; write sctp/{backend} and let clients use \
         that port, or let the back end listen on {port}"
    )]
    KeptPort {
        /// The port clients would use.
        port: u16,
        /// The back end's.
        backend: u16,
    },
    /// A protocol number with a better notation.
    #[error("protocol {protocol} has a notation of its own; write {instead}")]
    NamedProtocol {
        /// The number.
        protocol: u8,
        /// The notation.
        instead: &'static str,
    },
    /// A protocol whose checksums cover the addresses that gateways translate.
    #[error(
        "IP protocol {protocol} protects the addresses by a checksum of its own, so it does not \
         survive translation; carry it in UDP, or leave it out"
    )]
    AddressBoundProtocol {
        /// The number.
        protocol: u8,
    },
    /// Both ways to name back ends at once.
    #[error("`backend` names the only one and `backends` several; keep one of the two")]
    BackendTwice,
    /// An empty list of back ends.
    #[error("the list is empty; name the hosts that serve it")]
    NoBackends,
    /// Too many back ends.
    #[error("{found} back ends are too many; name {most} at most")]
    TooManyBackends {
        /// As written.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// A back end named twice.
    #[error("{address} is in the list twice; remove one")]
    BackendRepeated {
        /// Its address.
        address: std::net::Ipv4Addr,
    },
    /// A key of a health check that its kind has no use for.
    #[error("a check of kind {kind} has no `{key}`; remove it")]
    HealthKey {
        /// The kind.
        kind: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A health check whose port does not follow from the service.
    #[error("the service has no single TCP port that a check could ask; add `port` to it")]
    HealthPort,
    /// A health check that takes longer than it may.
    #[error("timeout {timeout}s is longer than interval {interval}s; shorten it or ask less often")]
    HealthTimes {
        /// Seconds that an answer may take.
        timeout: u32,
        /// Seconds between questions.
        interval: u32,
    },
    /// Not a path for an HTTP request.
    #[error(
        "{found} is not a path; write at most 255 visible ASCII characters that begin with '/'"
    )]
    HttpPath {
        /// The text, quoted.
        found: String,
    },
    /// An empty port list.
    #[error("the list is empty, so nothing of the service could be used; name a port")]
    NoPorts,
    /// Two entries of one port list cover the same port.
    #[error("{first} and {second} cover the same port; remove or narrow one of them")]
    PortsOverlap {
        /// The lower entry.
        first: PortSpec,
        /// The higher entry.
        second: PortSpec,
    },
    /// A number out of bounds.
    #[error("{found} is out of bounds; take a number from {least} to {most}")]
    Number {
        /// As written.
        found: i64,
        /// The smallest that is usable.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// No way for clients to appear.
    #[error("{found} is none of \"shared\" and \"per-client\"; write one of them")]
    ClientsAs {
        /// What was found.
        found: String,
    },
    /// Presences for each client need to know which clients, and where.
    #[error("clients = \"per-client\" needs `from` and `presences`, prefixes; add what is missing")]
    PerClientIncomplete,
    /// Prefixes that only presences for each client have a use for.
    #[error("`from` and `presences` are for clients = \"per-client\"; remove them or set that")]
    SharedWithPrefixes,
    /// No number of flows and not `off`.
    #[error("{found} is no number of flows; write 1 to {most}, or \"off\" for no limit")]
    Quota {
        /// What was found.
        found: String,
        /// Largest number.
        most: u32,
    },
    /// Not a size for the flow table.
    #[error("{found} is not a usable size; take a power of two from {least} to {most}")]
    Capacity {
        /// As written.
        found: i64,
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// Not a duration.
    #[error("{found} is not a duration; write a number and s, m or h, for example \"30s\"")]
    Duration {
        /// The text, quoted.
        found: String,
    },
    /// A time-out out of bounds.
    #[error("{seconds} s is out of bounds; take a time-out from 1s to 720h")]
    Timeout {
        /// As written, in seconds.
        seconds: u32,
    },
    /// A time of grace out of bounds.
    #[error("{seconds} s is out of bounds; take at most 1h, or \"0s\" for none")]
    Grace {
        /// As written, in seconds.
        seconds: u32,
    },
    /// A keepalive out of bounds.
    #[error("{seconds} s is out of bounds; take 1s to 65535s, or \"off\"")]
    Keepalive {
        /// As written, in seconds.
        seconds: u32,
    },
    /// Not a public key.
    #[error("this is not a WireGuard public key; write the 44 characters that `wg pubkey` prints")]
    PublicKey,
    /// A list of endpoints without one.
    #[error("the list is empty; name an endpoint, or leave the key out where the peer dials")]
    NoEndpoints,
    /// One endpoint and a list of them.
    #[error("`endpoint` is given as well; put all of them into `endpoints`")]
    EndpointTwice,
    /// Not an endpoint.
    #[error("{found} is not an endpoint; write ADDRESS:PORT, for example 192.0.2.1:51820")]
    Endpoint {
        /// The text, quoted.
        found: String,
    },
    /// Not a path.
    #[error("the path is empty or holds a zero; write the path of the file with the private key")]
    KeyFile,
}

impl ValueError {
    pub(super) fn interface(text: &str) -> Self {
        Self::Interface { found: quoted(text) }
    }

    pub(crate) fn choice(text: &str, choices: &[&str]) -> Self {
        Self::Choice { found: quoted(text), choices: choices.join(", ") }
    }

    pub(super) fn prefix(text: &str) -> Self {
        Self::Prefix { found: quoted(text) }
    }

    pub(crate) fn address(text: &str) -> Self {
        Self::Address { found: quoted(text) }
    }

    pub(super) fn port(text: &str) -> Self {
        Self::Port { found: quoted(text) }
    }

    pub(super) fn duration(text: &str) -> Self {
        Self::Duration { found: quoted(text) }
    }

    pub(super) fn endpoint(text: &str) -> Self {
        Self::Endpoint { found: quoted(text) }
    }

    pub(super) fn check_length(net: Ipv4Net, lengths: RangeInclusive<u8>) -> Result<(), Self> {
        if lengths.contains(&net.prefix_len()) {
            return Ok(());
        }
        let (shortest, longest) = lengths.into_inner();
        Err(Self::PrefixLength { found: net, shortest, longest })
    }
}

/// A text from outside, fit for one line of a terminal.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
