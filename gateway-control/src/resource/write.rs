//! A resource as it is written: the fields that [`super::read`] reads, in one order, with every default
//! that is not "none" filled in. Reading it gives the same resource.

use std::collections::BTreeMap;

use gateway_policy::Clients;
use serde::{Serialize, Serializer};

use super::{
    AppearAs, Exposure, Gateway, GatewayState, Labels, Origin, Permission, Policy, Resource,
    Service, Site, Target, Token,
};
use crate::model::{Backend, HealthCheck, Probe};

#[derive(Serialize)]
struct Written<'a> {
    kind: &'static str,
    metadata: Metadata,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Metadata {
    name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Spec<'a> {
    Site {
        role: String,
        client_networks: Vec<String>,
        presence_pool: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_presence: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hub: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        transit: Option<String>,
    },
    Gateway {
        site: &'a str,
        public_key: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        endpoints: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<String>,
    },
    Service {
        site: &'a str,
        ports: Vec<String>,
        backends: Vec<WrittenBackend>,
        #[serde(skip_serializing_if = "Option::is_none")]
        health: Option<WrittenHealth<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<u32>,
    },
    Exposure {
        service: String,
        to: WrittenTarget,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        clients: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        presences: Option<String>,
    },
    Policy {
        rules: Vec<WrittenRule>,
    },
    Token {
        role: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        site: Option<&'a str>,
        uses: u32,
        expires: String,
        approve: bool,
        secret_hash: String,
    },
}

#[derive(Serialize)]
struct WrittenBackend {
    address: String,
    weight: u32,
    state: String,
}

#[derive(Serialize)]
struct WrittenHealth<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    interval: String,
    timeout: String,
    rise: u32,
    fall: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum WrittenTarget {
    Sites(Vec<String>),
    Labels(BTreeMap<String, String>),
}

#[derive(Serialize)]
struct WrittenRule {
    from: WrittenOrigin,
    to: String,
}

#[derive(Serialize)]
struct WrittenOrigin {
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Vec<String>>,
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, spec) = match self {
            Self::Site(it) => (it.name.to_string(), site(it)),
            Self::Gateway(it) => (it.name.to_string(), gateway(it)),
            Self::Service(it) => (it.id.name.to_string(), service(it)),
            Self::Exposure(it) => (it.name.to_string(), exposure(it)),
            Self::Policy(it) => (it.name.to_string(), policy(it)),
            Self::Token(it) => (it.name.to_string(), token(it)),
        };
        let metadata = Metadata { name, labels: labels(self.labels()) };
        Written { kind: self.key().kind().word(), metadata, spec }.serialize(serializer)
    }
}

fn site(site: &Site) -> Spec<'_> {
    Spec::Site {
        role: site.role.to_string(),
        client_networks: site.client_networks.indexed().map(|(net, _)| net.to_string()).collect(),
        presence_pool: site.presence_pool.to_string(),
        client_presence: site.client_presence.map(|it| it.to_string()),
        hub: site.hub.as_ref().map(|hub| hub.as_str()),
        transit: site.transit.map(|it| it.to_string()),
    }
}

fn gateway(gateway: &Gateway) -> Spec<'_> {
    Spec::Gateway {
        site: gateway.site.as_str(),
        public_key: gateway.public_key.to_string(),
        endpoints: texts(&gateway.endpoints),
        state: (gateway.state != GatewayState::Active).then(|| gateway.state.to_string()),
    }
}

fn service(service: &Service) -> Spec<'_> {
    Spec::Service {
        site: service.id.site.as_str(),
        ports: texts(service.ports.specs()),
        backends: service.backends.iter().map(backend).collect(),
        health: service.health.as_ref().map(health),
        number: service.number.map(|it| it.value()),
    }
}

fn backend(Backend { address, weight, turn }: &Backend) -> WrittenBackend {
    let (address, state) = (address.to_string(), turn.to_string());
    WrittenBackend { address, weight: weight.number(), state }
}

fn health(HealthCheck { probe, interval, timeout, rise, fall }: &HealthCheck) -> WrittenHealth<'_> {
    let (kind, port, path, status) = match probe {
        Probe::Tcp { port } => ("tcp", Some(port.get()), None, None),
        Probe::Http { port, path, status } => {
            ("http", Some(port.get()), Some(path.as_str()), Some(*status))
        }
        Probe::Icmp => ("icmp", None, None, None),
    };
    let (interval, timeout) = (interval.to_string(), timeout.to_string());
    let (rise, fall) = (rise.number(), fall.number());
    WrittenHealth { kind, port, path, status, interval, timeout, rise, fall }
}

fn exposure(exposure: &Exposure) -> Spec<'_> {
    let (from, presences) = match exposure.clients {
        AppearAs::Shared => (None, None),
        AppearAs::PerClient { from, presences } => (from, presences),
    };
    Spec::Exposure {
        service: exposure.service.to_string(),
        to: match &exposure.to {
            Target::Sites(sites) => WrittenTarget::Sites(texts(sites)),
            Target::Labelled(selector) => WrittenTarget::Labels(labels(selector.labels())),
        },
        address: exposure.address.map(|it| it.to_string()),
        clients: exposure.clients.word().to_string(),
        from: from.map(|it| it.to_string()),
        presences: presences.map(|it| it.to_string()),
    }
}

fn policy(policy: &Policy) -> Spec<'_> {
    Spec::Policy { rules: policy.rules.iter().map(rule).collect() }
}

fn rule(rule: &Permission) -> WrittenRule {
    let (site, labels) = match &rule.from {
        Origin::Site(site) => (Some(site.to_string()), None),
        Origin::Labelled(selector) => (None, Some(labels(selector.labels()))),
    };
    let clients = match &rule.clients {
        Clients::All => None,
        Clients::In(prefixes) => Some(texts(prefixes)),
    };
    WrittenRule { from: WrittenOrigin { site, labels, clients }, to: rule.to.to_string() }
}

fn token(token: &Token) -> Spec<'_> {
    Spec::Token {
        role: token.role.word().to_string(),
        site: token.role.site().map(|site| site.as_str()),
        uses: token.uses.number(),
        expires: token.expires.to_string(),
        approve: token.approve,
        secret_hash: token.secret_hash.to_string(),
    }
}

fn labels(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
