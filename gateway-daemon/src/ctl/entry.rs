//! Map entries as text: keys that can be read and written back, values as named fields. Pure.
//!
//! Used by `gatewayctl map`. What is printed as a key is what `map lookup` takes.

use std::net::Ipv4Addr;
use std::str::FromStr;

use gateway_common::map::{
    Allow, AllowKey, Backend, BackendKey, BackendState, ClientAddress, ClockTick, Counter,
    Endpoints, Flow, FlowCount, FlowKey, FlowState, FragmentKey, Fragmented, Name, NameKey,
    NameKind, NatKey, NetworkFlags, Outcome, Owner, PortKey, PortMapping, Presence, PresenceKind,
    Route, Service, ServiceKind, Settings, Side, SiteNumber, Span, UsageKey,
};
use gateway_common::{LocalAddress, Port, Prefix, Protocol, Reason, TransitAddress};
use serde_json::{Value, json};

/// A key as text.
pub(crate) trait KeyText: Sized {
    /// How it is written, in words and examples, for the reference and for errors.
    const FORM: &'static str;

    /// The key as text.
    fn write(&self) -> String;
    /// The key written as `text`.
    fn read(text: &str) -> Option<Self>;
}

/// A value as named fields.
pub(crate) trait ValueFields {
    /// The fields.
    fn fields(&self) -> Value;
}

/// An index of [`gateway_common::map::Counters`] as text.
pub(crate) fn counter_label(index: u32) -> String {
    counters()
        .find(|counter| counter.index() == index)
        .map_or_else(|| index.to_string(), |counter| label(counter).to_owned())
}

/// Every counter there is a name for.
pub(crate) fn counters() -> impl Iterator<Item = Counter> {
    let outcomes = Outcome::ALL.iter().copied().map(Counter::Outcome);
    outcomes.chain(Reason::ALL.iter().copied().map(Counter::Refused))
}

/// The label of a counter.
pub(crate) fn label(counter: Counter) -> &'static str {
    match counter {
        Counter::Outcome(outcome) => outcome.label(),
        Counter::Refused(reason) => reason.label(),
    }
}

/// Ports of a service as a site file writes them, without a back end's port.
pub(crate) fn port_text(protocol: Protocol, range: Option<(u16, u16)>) -> String {
    match (protocol, range) {
        (Protocol::ICMP, Some(_)) => "icmp-echo".into(),
        (Protocol(number), _) if !protocol.has_ports() => format!("ip/{number}"),
        (_, None) => format!("{protocol}/*"),
        (_, Some((low, high))) if low == high => format!("{protocol}/{low}"),
        (_, Some((low, high))) => format!("{protocol}/{low}-{high}"),
    }
}

impl KeyText for u32 {
    const FORM: &'static str = "a number: 7";

    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        decimal(text)
    }
}

impl KeyText for TransitAddress {
    const FORM: &'static str = "a transit address: 240.0.8.1";

    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        address(text).map(Self::from)
    }
}

impl KeyText for AllowKey {
    const FORM: &'static str =
        "service and clients, by transit address: 240.0.8.1,240.0.16.5 or 240.0.8.1,240.0.16.0/21";

    fn write(&self) -> String {
        let (client, bits) = self.client_prefix();
        format!("{},{client}/{bits}", self.service())
    }

    fn read(text: &str) -> Option<Self> {
        let (service, clients) = text.split_once(',')?;
        let (client, bits) = clients.split_once('/').unwrap_or((clients, "32"));
        let bits = decimal(bits).filter(|bits| *bits <= 32)?;
        Some(Self::clients(address(service)?.into(), address(client)?.into(), bits))
    }
}

impl KeyText for PortKey {
    const FORM: &'static str = "service and port: 240.0.8.1,tcp/5672, 240.0.8.1,udp/4096-8191 (an \
                                aligned range), 240.0.8.1,tcp/*, 240.0.8.1,icmp-echo, 240.0.8.1,ip/47";

    fn write(&self) -> String {
        format!("{},{}", self.service(), port_text(self.protocol(), self.range()))
    }

    fn read(text: &str) -> Option<Self> {
        let (service, ports) = text.split_once(',')?;
        let service = address(service)?.into();
        if ports == "icmp-echo" {
            return Some(Self::exact(service, Protocol::ICMP, Port::NONE));
        }
        let (name, ports) = ports.split_once('/')?;
        let protocol = match name {
            "tcp" => Protocol::TCP,
            "udp" => Protocol::UDP,
            "sctp" => Protocol::SCTP,
            "ip" => return Some(Self::any_port(service, Protocol(decimal(ports)?))),
            _ => return None,
        };
        if ports == "*" {
            return Some(Self::any_port(service, protocol));
        }
        let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
        let (low, high): (u16, u16) = (decimal(low)?, decimal(high)?);
        let span = u32::from(high.checked_sub(low)?) + 1;
        let aligned = span.is_power_of_two() && u32::from(low) % span == 0;
        aligned.then(|| Self::ports(service, protocol, low, 16 - span.ilog2()))
    }
}

impl KeyText for NameKey {
    const FORM: &'static str = "what is named: site:1, service:240.0.8.1, rule:3";

    fn write(&self) -> String {
        match self.kind() {
            Some(NameKind::Site) => format!("site:{}", self.number()),
            Some(NameKind::Service) => format!("service:{}", Ipv4Addr::from(self.number())),
            Some(NameKind::Rule) => format!("rule:{}", self.number()),
            None => format!("unknown:{}", self.number()),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(':')?;
        Some(match kind {
            "site" => Self::new(NameKind::Site, decimal(number)?),
            "service" => Self::new(NameKind::Service, address(number)?.into()),
            "rule" => Self::new(NameKind::Rule, decimal(number)?),
            _ => return None,
        })
    }
}

impl KeyText for FlowKey {
    const FORM: &'static str =
        "protocol, client and service, by transit address: tcp,240.0.16.5:40000,240.0.8.1:5672";

    fn write(&self) -> String {
        let (client, service) =
            ((self.client.0, self.client_port), (self.service.0, self.service_port));
        ends(self.protocol, client, service)
    }

    fn read(text: &str) -> Option<Self> {
        let (protocol, (client, client_port), (service, service_port)) = read_ends(text)?;
        let (client, service) = (client.into(), service.into());
        Some(Self::new(Endpoints { client, client_port, service, service_port }, protocol))
    }
}

impl KeyText for NatKey {
    const FORM: &'static str =
        "protocol, back end and client presence: tcp,10.0.0.10:5672,10.0.0.250:40000";

    fn write(&self) -> String {
        let (backend, clients) =
            ((self.backend.0, self.backend_port), (self.clients.0, self.client_port));
        ends(self.protocol, backend, clients)
    }

    fn read(text: &str) -> Option<Self> {
        let (protocol, (backend, backend_port), (clients, client_port)) = read_ends(text)?;
        let (client, service) = (clients.into(), backend.into());
        let ends = Endpoints { client, client_port, service, service_port: backend_port };
        Some(Self::new(ends, protocol))
    }
}

impl KeyText for BackendKey {
    const FORM: &'static str = "service and back end: 240.0.8.1,10.0.0.10";

    fn write(&self) -> String {
        format!("{},{}", self.service, self.address)
    }

    fn read(text: &str) -> Option<Self> {
        let (service, backend) = text.split_once(',')?;
        Some(Self { service: address(service)?.into(), address: address(backend)?.into() })
    }
}

impl KeyText for UsageKey {
    const FORM: &'static str =
        "a client's transit address or a site's number: client:240.0.16.5, site:2";

    fn write(&self) -> String {
        match self.owner() {
            Owner::Client(client) => format!("client:{client}"),
            Owner::Site(site) => format!("site:{}", site.0),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("client", client) => Some(Self::client(address(client)?.into())),
            ("site", number) => Some(Self::site(SiteNumber(decimal(number)?))),
            _ => None,
        }
    }
}

impl KeyText for FragmentKey {
    const FORM: &'static str = "lan or link, protocol, source, destination, identification: lan,udp,10.0.0.5,10.0.0.200,4711";

    fn write(&self) -> String {
        let side = if self.side == Side::LAN { "lan" } else { "link" };
        let Self { source, destination, identification, protocol, .. } = self;
        let number = u16::from_be_bytes(*identification);
        format!("{side},{protocol},{source},{destination},{number}")
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ',');
        let side = match parts.next()? {
            "lan" => Side::LAN,
            "link" => Side::LINK,
            _ => return None,
        };
        Some(Self {
            side,
            protocol: read_protocol(parts.next()?)?,
            source: address(parts.next()?)?.into(),
            destination: address(parts.next()?)?.into(),
            identification: decimal::<u16>(parts.next()?)?.to_be_bytes(),
        })
    }
}

type End<A> = (A, Port);

fn ends(
    protocol: Protocol,
    (a, a_port): End<gateway_common::Ipv4>,
    (b, b_port): End<gateway_common::Ipv4>,
) -> String {
    format!("{protocol},{a}:{a_port},{b}:{b_port}")
}

fn read_ends(text: &str) -> Option<(Protocol, End<Ipv4Addr>, End<Ipv4Addr>)> {
    let mut parts = text.splitn(3, ',');
    let protocol = read_protocol(parts.next()?)?;
    let mut end = || {
        let (host, port) = parts.next()?.split_once(':')?;
        Some((address(host)?, Port::new(decimal(port)?)))
    };
    Some((protocol, end()?, end()?))
}

fn read_protocol(text: &str) -> Option<Protocol> {
    Some(match text {
        "icmp" => Protocol::ICMP,
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "sctp" => Protocol::SCTP,
        other => Protocol(decimal(other.strip_prefix("ip/")?)?),
    })
}

fn address(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}

/// Digits only: a number's `from_str` would take a sign as well.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl ValueFields for u32 {
    fn fields(&self) -> Value {
        json!({ "generation": self })
    }
}

impl ValueFields for u64 {
    fn fields(&self) -> Value {
        json!({ "packets": self })
    }
}

impl ValueFields for Allow {
    fn fields(&self) -> Value {
        match self.clients() {
            ClientAddress::Elsewhere => json!({ "rule": self.rule }),
            ClientAddress::Shared(presence) => {
                json!({ "rule": self.rule, "client_presence": presence.to_string() })
            }
            ClientAddress::Own { first, hosts } => json!({
                "rule": self.rule,
                "first_client_presence": first.to_string(),
                "clients": u64::from(hosts) + 1,
            }),
        }
    }
}

impl ValueFields for ClockTick {
    fn fields(&self) -> Value {
        json!({ "counter": self.counter, "ticks": self.now.0 })
    }
}

impl ValueFields for Name {
    fn fields(&self) -> Value {
        json!({ "name": self.as_str() })
    }
}

impl ValueFields for PortMapping {
    fn fields(&self) -> Value {
        let backend = (self.backend != Port::NONE).then(|| self.backend.number());
        json!({ "backend_port": backend })
    }
}

impl ValueFields for Presence {
    fn fields(&self) -> Value {
        match self.kind() {
            PresenceKind::Nothing => json!({ "kind": "nothing" }),
            PresenceKind::Service(service) => {
                json!({ "kind": "service", "service": service.to_string() })
            }
            PresenceKind::Client => json!({ "kind": "client" }),
        }
    }
}

impl ValueFields for Route {
    fn fields(&self) -> Value {
        json!({ "site": self.site.0, "link": self.link, "also": self.also(), "mtu": self.mtu })
    }
}

impl ValueFields for Service {
    fn fields(&self) -> Value {
        let text = |address: LocalAddress| address.to_string();
        match self.kind() {
            ServiceKind::Here { first, count } => {
                json!({ "kind": "here", "first_slot": first, "slots": count })
            }
            ServiceKind::Elsewhere { presence } => {
                json!({ "kind": "elsewhere", "presence": text(presence) })
            }
            ServiceKind::Unknown => json!({ "kind": "unknown" }),
        }
    }
}

impl ValueFields for LocalAddress {
    fn fields(&self) -> Value {
        json!({ "backend": self.to_string() })
    }
}

impl ValueFields for Backend {
    fn fields(&self) -> Value {
        let state = match self.state() {
            BackendState::Active => "active",
            BackendState::Draining => "draining",
            BackendState::Down => "down",
        };
        json!({ "state": state })
    }
}

impl ValueFields for FlowCount {
    fn fields(&self) -> Value {
        json!({ "flows": self.0 })
    }
}

impl ValueFields for Fragmented {
    fn fields(&self) -> Value {
        let spans = self.seen.iter().filter(|word| **word != 0).map(|word| {
            let Span { start, end } = Span::from_word(*word);
            if end == Span::INFINITY {
                format!("from {}", start * 8)
            } else {
                format!("{}-{}", start * 8, end * 8 - 1)
            }
        });
        json!({
            "source_port": self.head.source_port.number(),
            "destination_port": self.head.destination_port.number(),
            "first_ticks": self.head.since.0,
            "octets": spans.collect::<Vec<_>>(),
        })
    }
}

impl ValueFields for Flow {
    fn fields(&self) -> Value {
        json!({
            "client": self.client.to_string(),
            "client_port": self.client_port.number(),
            "service": self.service.to_string(),
            "service_port": self.service_port.number(),
            "state": self.state().label(),
            "generation": self.generation,
            "seen": self.seen.0,
            "packets": self.packets,
            "bytes": self.bytes,
        })
    }
}

impl ValueFields for FlowKey {
    fn fields(&self) -> Value {
        json!({ "flow": self.write() })
    }
}

impl ValueFields for Settings {
    fn fields(&self) -> Value {
        let count = usize::try_from(self.network_count).unwrap_or(usize::MAX);
        let networks: Vec<Value> = self
            .networks
            .iter()
            .take(count)
            .map(|network| {
                json!({
                    "prefix": network.prefix.to_string(),
                    "first": network.first,
                    "interface": network.interface,
                    "mtu": network.mtu,
                    "mac": mac(network.mac),
                    "host": network.flags.has(NetworkFlags::HOST),
                    "on_link": network.flags.has(NetworkFlags::ON_LINK),
                })
            })
            .collect();
        let timeouts: serde_json::Map<String, Value> = FlowState::ALL
            .into_iter()
            .map(|state| (state.label().to_owned(), json!(self.timeouts.of(&flow_in(state)))))
            .collect();
        json!({
            "generation": self.generation,
            "relay": self.relay != 0,
            "pool": prefix(self.pool),
            "transit": prefix(self.transit),
            "block": prefix(self.block),
            "client_flows": self.client_flows,
            "site_flows": self.site_flows,
            "adopt": self.adopt != 0,
            "networks": networks,
            "timeout_ticks": timeouts,
        })
    }
}

/// A flow in some state, of which only the state matters.
fn flow_in(state: FlowState) -> Flow {
    let mut flow = Flow::default();
    flow.set_state(state);
    flow
}

fn prefix(prefix: Prefix) -> String {
    prefix.to_string()
}

fn mac(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same<K: KeyText>(text: &str) {
        let key = K::read(text).unwrap_or_else(|| panic!("{text} is not read"));
        assert_eq!(key.write(), text);
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        same::<u32>("7");
        same::<TransitAddress>("240.0.8.1");
        same::<AllowKey>("240.0.8.1,240.0.16.0/21");
        same::<AllowKey>("240.0.8.1,240.0.16.5/32");
        for ports in
            ["tcp/5672", "udp/4096-8191", "tcp/*", "icmp-echo", "sctp/3868", "sctp/*", "ip/47"]
        {
            same::<PortKey>(&format!("240.0.8.1,{ports}"));
        }
        same::<NameKey>("site:1");
        same::<NameKey>("service:240.0.8.1");
        same::<NameKey>("rule:3");
        same::<FlowKey>("tcp,240.0.16.5:40000,240.0.8.1:5672");
        same::<FlowKey>("sctp,240.0.16.5:3868,240.0.8.1:3868");
        same::<FlowKey>("ip/47,240.0.16.5:0,240.0.8.1:0");
        same::<BackendKey>("240.0.8.1,10.0.0.10");
        same::<UsageKey>("client:240.0.16.5");
        same::<UsageKey>("site:2");
        same::<FragmentKey>("lan,udp,10.0.0.5,10.0.0.200,4711");
        same::<FragmentKey>("link,ip/47,240.0.16.5,240.0.8.1,0");
        same::<NatKey>("icmp,10.0.0.10:0,10.0.0.250:77");
        assert_eq!(
            AllowKey::read("240.0.8.1,240.0.16.5").map(|key| key.write()).as_deref(),
            Some("240.0.8.1,240.0.16.5/32")
        );
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        for text in ["", "x", "-1", "4294967296", "+7"] {
            assert!(u32::read(text).is_none(), "{text}");
        }
        for text in ["", "240.0.8.1", "240.0.8.1,240.0.16.5/33", "240.0.8.1,"] {
            assert!(AllowKey::read(text).is_none(), "{text}");
        }
        for text in ["240.0.8.1,tcp/1-3", "240.0.8.1,tcp/9-8", "240.0.8.1,dccp/1", "240.0.8.1,tcp"]
        {
            assert!(PortKey::read(text).is_none(), "{text}");
        }
        for text in ["tcp,240.0.16.5,240.0.8.1", "tcp,240.0.16.5:1", "foo,1.1.1.1:1,1.1.1.1:1"] {
            assert!(FlowKey::read(text).is_none(), "{text}");
        }
        assert!(NameKey::read("host:1").is_none());
    }

    #[test]
    fn every_counter_has_a_label_of_its_own() {
        let mut labels: Vec<_> = counters().map(label).collect();
        assert_eq!(counter_label(Counter::Refused(Reason::NoPolicy).index()), "no-policy");
        assert_eq!(counter_label(31), "31");
        let count = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), count);
    }
}
