//! The notation: tables and keys as serde reads them, values still text with their places.

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

pub(super) type Text = Spanned<String>;
pub(super) type Number = Spanned<i64>;
pub(super) type List = Spanned<Vec<Text>>;
pub(super) type NumberOrText = Spanned<toml::Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteFile {
    pub(super) mode: Option<Text>,
    pub(super) transit_pool: Option<Text>,
    pub(super) gateway: Gateway,
    pub(super) site: Spanned<Site>,
    #[serde(default)]
    pub(super) lan: Vec<Spanned<Lan>>,
    pub(super) host: Option<Spanned<Host>>,
    pub(super) link: Spanned<Link>,
    #[serde(default)]
    pub(super) peer: Vec<Spanned<Peer>>,
    #[serde(default)]
    pub(super) remote_site: Vec<Spanned<RemoteSite>>,
    #[serde(default)]
    pub(super) service: Vec<Spanned<Service>>,
    #[serde(default)]
    pub(super) allow: Vec<Spanned<Allow>>,
    #[serde(default)]
    pub(super) flows: Flows,
}

/// Only what says how the rest is to be read.
#[derive(Deserialize)]
pub(super) struct Moded {
    pub(super) mode: Option<Text>,
}

/// A file of a daemon whose gateway is told its share; the tables that gateways have no part in are read
/// elsewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleFile {
    #[serde(rename = "mode")]
    _mode: IgnoredAny,
    #[serde(rename = "store")]
    _store: Option<IgnoredAny>,
    #[serde(rename = "api")]
    _api: Option<IgnoredAny>,
    #[serde(rename = "seal")]
    _seal: Option<IgnoredAny>,
    #[serde(rename = "controller")]
    _controller: Option<IgnoredAny>,
    pub(super) gateway: Option<Spanned<ToldGateway>>,
    #[serde(default)]
    pub(super) lan: Vec<Spanned<Lan>>,
    pub(super) host: Option<Spanned<Host>>,
    pub(super) link: Option<Spanned<ToldLink>>,
    pub(super) flows: Option<Spanned<Flows>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToldGateway {
    pub(super) name: Option<Text>,
    pub(super) site: Option<Text>,
    pub(super) instance: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToldLink {
    pub(super) interface: Option<Text>,
    pub(super) kind: Option<Text>,
    pub(super) private_key_file: Option<Text>,
    pub(super) listen_port: Option<Number>,
    pub(super) mtu: Option<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) name: Text,
    pub(super) instance: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub(super) name: Text,
    pub(super) transit: Text,
    pub(super) presence_pool: Text,
    pub(super) client_presence: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lan {
    pub(super) interface: Text,
    pub(super) mode: Option<Text>,
    pub(super) networks: List,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    pub(super) interface: Option<Text>,
    pub(super) addresses: Option<List>,
    pub(super) networks: Option<List>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    pub(super) interface: Option<Text>,
    pub(super) kind: Option<Text>,
    pub(super) private_key_file: Text,
    pub(super) listen_port: Option<Number>,
    pub(super) mtu: Option<Number>,
    #[serde(default)]
    pub(super) relay: bool,
    pub(super) next: Option<NextLink>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NextLink {
    pub(super) private_key_file: Option<Text>,
    pub(super) listen_port: Option<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) site: Text,
    pub(super) public_key: Text,
    pub(super) endpoint: Option<Text>,
    pub(super) endpoints: Option<List>,
    pub(super) keepalive: Option<Text>,
    pub(super) reaches: Option<List>,
    pub(super) next: Option<NextPeer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NextPeer {
    pub(super) public_key: Option<Text>,
    pub(super) endpoint: Option<Text>,
    pub(super) endpoints: Option<List>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoteSite {
    pub(super) name: Text,
    pub(super) transit: Text,
    pub(super) client_networks: Option<List>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) name: Text,
    pub(super) site: Text,
    pub(super) number: Number,
    pub(super) ports: List,
    pub(super) backend: Option<Text>,
    pub(super) backends: Option<Spanned<Vec<Spanned<Backend>>>>,
    pub(super) health: Option<Spanned<Health>>,
    pub(super) presence: Option<Text>,
    #[serde(default)]
    pub(super) exposures: Vec<Spanned<Exposure>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exposure {
    pub(super) site: Text,
    pub(super) clients: Option<Text>,
    pub(super) from: Option<Text>,
    pub(super) presences: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backend {
    pub(super) address: Text,
    pub(super) weight: Option<Number>,
    pub(super) state: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub(super) kind: Text,
    pub(super) port: Option<Number>,
    pub(super) path: Option<Text>,
    pub(super) status: Option<Number>,
    pub(super) interval: Option<Text>,
    pub(super) timeout: Option<Text>,
    pub(super) rise: Option<Number>,
    pub(super) fall: Option<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allow {
    pub(super) id: Text,
    pub(super) from: Text,
    pub(super) clients: Option<List>,
    pub(super) to: Text,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flows {
    pub(super) capacity: Option<Number>,
    pub(super) per_client: Option<NumberOrText>,
    pub(super) per_site: Option<NumberOrText>,
    pub(super) grace: Option<Text>,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) opening: Option<Text>,
    pub(super) open: Option<Text>,
    pub(super) half_closed: Option<Text>,
    pub(super) closed: Option<Text>,
    pub(super) datagram: Option<Text>,
    pub(super) datagram_replied: Option<Text>,
}
