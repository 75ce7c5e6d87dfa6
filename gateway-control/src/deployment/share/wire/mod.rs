//! A share as octets: what a controller sends a gateway. Protobuf messages whose values are texts as an
//! operator writes them, so that both ends read them by the same parsers.
//!
//! Whatever the octets, [`Share::decode`] gives a share or says what is wrong with them. Fields of a later
//! version are read over. The same share always gives the same octets.

mod message;

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;

use gateway_policy::{AllowRule, Clients, ServiceId, Subject};
use ipnet::Ipv4Net;
use message::{
    BackendMessage, Content, ExposureMessage, HealthMessage, ItemMessage, OwnMessage,
    OwnPresencesMessage, PeerMessage, RemoteMessage, RuleMessage, ServiceMessage,
};
use prost::Message as _;

use super::{Item, ItemKey, KnownSite, LinkedGateway, Own, PolicyRule, Share};
use crate::model::{
    self, Backend, ClientNetworks, ClientPresences, Count, HealthCheck, Network, Ports, Probe,
    ProbeKind, ServiceDraft, ServiceNumber, Weight,
};
use crate::resource::PolicyName;

/// Longest share that is read, in octets: one with every table of a gateway full is shorter.
pub const MAX_LEN: usize = 64 << 20;
/// Most items of a share that is read: more than fit into the tables of a gateway.
const MAX_ITEMS: usize = 1 << 20;
/// Field 1 of a share, its items, as a tag of protobuf.
const ITEM_TAG: usize = 1 << 3 | 2;

/// Why octets are no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Too many octets.
    #[error("the share has {length} octets and may have {MAX_LEN}")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// Too many items.
    #[error("the share has more than {MAX_ITEMS} items")]
    TooMany,
    /// No protobuf message of this kind.
    #[error("the share is no message of this protocol: {0}")]
    Message(String),
    /// A value that makes no sense.
    #[error("the share's {field} is {value:?}: {why}")]
    Value {
        /// Which.
        field: &'static str,
        /// The text.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Share {
    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for item in self.0.values() {
            push(&mut octets, &encode_item(item));
        }
        octets
    }

    /// From octets.
    pub fn decode(octets: &[u8]) -> Result<Self, WireError> {
        let mut share = Self::default();
        for item in split(octets)? {
            let item = ItemMessage::decode(item);
            let item = item.map_err(|error| WireError::Message(error.to_string()))?;
            // One of a later version.
            let Some(content) = item.content else { continue };
            let (key, item) = read(content)?;
            share.set(key, Some(item));
        }
        Ok(share)
    }
}

/// An item as octets.
pub(crate) fn encode_item(item: &Item) -> Vec<u8> {
    ItemMessage { content: Some(content(item)) }.encode_to_vec()
}

/// The encoded items of an encoded share, in order.
pub(crate) fn split(octets: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    if octets.len() > MAX_LEN {
        return Err(WireError::TooLong { length: octets.len() });
    }
    let mut items = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let tag = number_at(&mut rest)?;
        let value = match tag & 7 {
            0 => {
                number_at(&mut rest)?;
                continue;
            }
            1 => take(&mut rest, 8)?,
            2 => {
                let length = number_at(&mut rest)?;
                take(&mut rest, length)?
            }
            5 => take(&mut rest, 4)?,
            kind => return Err(WireError::Message(format!("a field of the unknown type {kind}"))),
        };
        if tag == ITEM_TAG {
            if items.len() == MAX_ITEMS {
                return Err(WireError::TooMany);
            }
            items.push(value);
        }
    }
    Ok(items)
}

/// Adds an encoded item to an encoded share.
pub(crate) fn push(share: &mut Vec<u8>, item: &[u8]) {
    prost::encode_length_delimiter(ITEM_TAG, share).expect("a vector grows");
    prost::encode_length_delimiter(item.len(), share).expect("a vector grows");
    share.extend_from_slice(item);
}

fn number_at(octets: &mut &[u8]) -> Result<usize, WireError> {
    prost::decode_length_delimiter(octets).map_err(|error| WireError::Message(error.to_string()))
}

fn take<'a>(octets: &mut &'a [u8], length: usize) -> Result<&'a [u8], WireError> {
    let cut = || WireError::Message("it is cut off".to_owned());
    let (taken, rest) = octets.split_at_checked(length).ok_or_else(cut)?;
    *octets = rest;
    Ok(taken)
}

fn content(item: &Item) -> Content {
    match item {
        Item::Own(own) => Content::Own(OwnMessage {
            transit_pool: own.transit_pool.to_string(),
            site: own.site.name.to_string(),
            transit: own.site.transit.to_string(),
            presence_pool: own.site.presence_pool.to_string(),
            client_presence: own.site.client_presence.map(|it| it.to_string()),
            client_networks: own.client_networks.indexed().map(|(it, _)| it.to_string()).collect(),
            relay: own.relay,
        }),
        Item::Peer(far) => Content::Peer(PeerMessage {
            site: far.site.to_string(),
            public_key: far.public_key.to_string(),
            endpoints: texts(&far.endpoints),
        }),
        Item::Remote(known) => Content::Remote(RemoteMessage {
            site: known.name.to_string(),
            transit: known.transit.to_string(),
            client_networks: texts(&known.client_networks),
            via: known.via.to_string(),
        }),
        Item::Service(service) => Content::Service(ServiceMessage {
            service: service.id.to_string(),
            number: service.number.value(),
            ports: texts(service.ports.specs()),
            backends: service.backends.iter().map(backend).collect(),
            health: service.health.as_ref().map(health),
            presence: service.presence.map(|it| it.to_string()),
            exposures: service.exposures.iter().map(exposure).collect(),
        }),
        Item::Rule(PolicyRule { policy, place, rule }) => Content::Rule(RuleMessage {
            policy: policy.to_string(),
            place: u32::try_from(*place).unwrap_or(u32::MAX),
            id: rule.id.to_string(),
            site: rule.subject.site.to_string(),
            clients: match &rule.subject.clients {
                Clients::All => Vec::new(),
                Clients::In(prefixes) => texts(prefixes),
            },
            service: rule.service.to_string(),
        }),
    }
}

fn texts(values: &[impl Display]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn backend(backend: &Backend) -> BackendMessage {
    BackendMessage {
        address: backend.address.to_string(),
        weight: backend.weight.number(),
        turn: backend.turn.to_string(),
    }
}

fn health(check: &HealthCheck) -> HealthMessage {
    let (kind, port, path, status) = match &check.probe {
        Probe::Tcp { port } => ("tcp", port.get(), "", 0),
        Probe::Http { port, path, status } => ("http", port.get(), path.as_str(), *status),
        Probe::Icmp => ("icmp", 0, "", 0),
    };
    HealthMessage {
        kind: kind.to_owned(),
        port: port.into(),
        path: path.to_owned(),
        status: status.into(),
        interval: check.interval.to_string(),
        timeout: check.timeout.to_string(),
        rise: check.rise.number(),
        fall: check.fall.number(),
    }
}

fn exposure(exposure: &model::Exposure) -> ExposureMessage {
    let clients = match exposure.clients {
        ClientPresences::Shared => None,
        ClientPresences::PerClient { from, presences } => {
            Some(OwnPresencesMessage { from: from.to_string(), presences: presences.to_string() })
        }
    };
    ExposureMessage { site: exposure.site.to_string(), clients }
}

fn read(content: Content) -> Result<(ItemKey, Item), WireError> {
    Ok(match content {
        Content::Own(message) => (ItemKey::Own, Item::Own(read_own(&message)?)),
        Content::Peer(message) => {
            let far = LinkedGateway {
                site: value("peer.site", &message.site)?,
                public_key: value("peer.public_key", &message.public_key)?,
                endpoints: values("peer.endpoints", &message.endpoints)?,
            };
            (ItemKey::Peer(far.site.clone()), Item::Peer(far))
        }
        Content::Remote(message) => {
            let known = KnownSite {
                name: value("remote.site", &message.site)?,
                transit: value("remote.transit", &message.transit)?,
                client_networks: values("remote.client_networks", &message.client_networks)?,
                via: value("remote.via", &message.via)?,
            };
            (ItemKey::Remote(known.name.clone()), Item::Remote(known))
        }
        Content::Service(message) => {
            let service = read_service(&message)?;
            (ItemKey::Service(service.id.clone()), Item::Service(service))
        }
        Content::Rule(message) => {
            let prefixes: Vec<Ipv4Net> = values("rule.clients", &message.clients)?;
            let clients = if prefixes.is_empty() { Clients::All } else { Clients::In(prefixes) };
            let rule = AllowRule {
                id: value("rule.id", &message.id)?,
                subject: Subject { site: value("rule.site", &message.site)?, clients },
                service: value("rule.service", &message.service)?,
            };
            let place = usize::try_from(message.place).unwrap_or(usize::MAX);
            let policy: PolicyName = value("rule.policy", &message.policy)?;
            let key = ItemKey::Rule(policy.clone(), place, rule.subject.site.clone());
            (key, Item::Rule(PolicyRule { policy, place, rule }))
        }
    })
}

fn read_own(message: &OwnMessage) -> Result<Own, WireError> {
    let networks = values("own.client_networks", &message.client_networks)?;
    let overlap = |(first, second): (Network, Network)| WireError::Value {
        field: "own.client_networks",
        value: second.to_string(),
        why: format!("it overlaps {first}"),
    };
    Ok(Own {
        transit_pool: value("own.transit_pool", &message.transit_pool)?,
        site: model::Site {
            name: value("own.site", &message.site)?,
            transit: value("own.transit", &message.transit)?,
            presence_pool: value("own.presence_pool", &message.presence_pool)?,
            client_presence: address("own.client_presence", message.client_presence.as_ref())?,
        },
        client_networks: ClientNetworks::new(networks).map_err(overlap)?,
        relay: message.relay,
    })
}

fn read_service(message: &ServiceMessage) -> Result<ServiceDraft, WireError> {
    let id: ServiceId = value("service.service", &message.service)?;
    let ports = Ports::new(values("service.ports", &message.ports)?);
    let ports = ports.map_err(|why| wrong("service.ports", &message.ports.join(", "), &why))?;
    let backends: Result<_, WireError> = message.backends.iter().map(read_backend).collect();
    let exposures: Result<_, WireError> = message.exposures.iter().map(read_exposure).collect();
    Ok(ServiceDraft {
        id,
        number: number("service.number", message.number, ServiceNumber::try_from)?,
        ports,
        backends: backends?,
        health: message.health.as_ref().map(read_health).transpose()?,
        presence: address("service.presence", message.presence.as_ref())?,
        exposures: exposures?,
    })
}

fn read_backend(message: &BackendMessage) -> Result<Backend, WireError> {
    Ok(Backend {
        address: value("backend.address", &message.address)?,
        weight: number("backend.weight", message.weight, Weight::try_from)?,
        turn: value("backend.turn", &message.turn)?,
    })
}

fn read_health(message: &HealthMessage) -> Result<HealthCheck, WireError> {
    let port = || {
        let port = u16::try_from(message.port).ok().and_then(std::num::NonZeroU16::new);
        port.ok_or_else(|| wrong("health.port", &message.port, &"a port is 1 to 65535"))
    };
    let status = || {
        let status = u16::try_from(message.status);
        status.map_err(|why| wrong("health.status", &message.status, &why))
    };
    let probe = match value("health.kind", &message.kind)? {
        ProbeKind::Tcp => Probe::Tcp { port: port()? },
        ProbeKind::Http => Probe::Http {
            port: port()?,
            path: value("health.path", &message.path)?,
            status: status()?,
        },
        ProbeKind::Icmp => Probe::Icmp,
    };
    Ok(HealthCheck {
        probe,
        interval: value("health.interval", &message.interval)?,
        timeout: value("health.timeout", &message.timeout)?,
        rise: number("health.rise", message.rise, Count::try_from)?,
        fall: number("health.fall", message.fall, Count::try_from)?,
    })
}

fn read_exposure(message: &ExposureMessage) -> Result<model::Exposure, WireError> {
    let clients = match &message.clients {
        None => ClientPresences::Shared,
        Some(own) => ClientPresences::PerClient {
            from: value("exposure.from", &own.from)?,
            presences: value("exposure.presences", &own.presences)?,
        },
    };
    Ok(model::Exposure { site: value("exposure.site", &message.site)?, clients })
}

fn wrong(field: &'static str, value: &impl Display, why: &impl Display) -> WireError {
    // As much as a line shows.
    let value = value.to_string().chars().take(80).collect();
    WireError::Value { field, value, why: why.to_string() }
}

fn value<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, WireError> {
    text.parse().map_err(|why| wrong(field, &text, &why))
}

fn values<T: FromStr<Err: Display>>(
    field: &'static str,
    texts: &[String],
) -> Result<Vec<T>, WireError> {
    texts.iter().map(|text| value(field, text)).collect()
}

fn address(field: &'static str, text: Option<&String>) -> Result<Option<Ipv4Addr>, WireError> {
    text.map(|text| value(field, text)).transpose()
}

fn number<T, E: Display>(
    field: &'static str,
    found: u32,
    read: impl Fn(i64) -> Result<T, E>,
) -> Result<T, WireError> {
    read(found.into()).map_err(|why| wrong(field, &found, &why))
}
