//! From text values to typed ones, remembering where each stood.

mod backends;
mod exposures;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::str::FromStr;

use toml::Spanned;

use super::raw::{self, List, Number, Text};
use super::{FaultKind, OwnName, Span, ToldGateway};
use crate::deployment::share::LocalFacts;
use crate::lowering::port;
use crate::model::{
    AllowRule, Clients, Endpoint, FlowQuota, FlowSettings, Gateway, Host, Keepalive, KeyFile, Lan,
    LanMode, Link, LinkKind, ModelError, Network, NextLink, NextPeer, Peer, Place, Ports,
    RemoteSiteDraft, ServiceDraft, ServiceId, ServiceNumber, Site, SiteDraft, Subject, Table,
    Timeouts, TransitPool, ValueError, quoted,
};

/// Where everything stood.
#[derive(Default)]
pub(super) struct Spans(BTreeMap<Place, Span>);

impl Spans {
    /// The closest known place: the entry, else the key, else the table.
    pub(super) fn find(&self, place: Place) -> Span {
        let whole = Place::whole(place.table, place.index);
        [place, place.item(0), whole].iter().find_map(|p| self.0.get(p)).cloned().unwrap_or(0..0)
    }
}

/// What a file says of the gateway that runs by it; `None` if it has none.
pub(super) fn told(file: raw::RoleFile) -> Result<Option<ToldGateway>, Vec<(Span, FaultKind)>> {
    let mut reader = Reader::default();
    let told = reader.role_file(file);
    if reader.faults.is_empty() { Ok(told) } else { Err(reader.faults) }
}

/// Every value that is not what it should be is in the error.
pub(super) fn draft(file: raw::SiteFile) -> Result<(SiteDraft, Spans), Vec<(Span, FaultKind)>> {
    let mut reader = Reader::default();
    let draft = reader.site_file(file);
    match draft {
        Some(draft) if reader.faults.is_empty() => Ok((draft, reader.spans)),
        _ => Err(reader.faults),
    }
}

#[derive(Default)]
struct Reader {
    spans: Spans,
    faults: Vec<(Span, FaultKind)>,
}

/// One table being read: what it is called in messages, and where it is.
struct At {
    object: String,
    place: Place,
}

impl At {
    fn new(object: impl Into<String>, table: Table, index: usize) -> Self {
        Self { object: object.into(), place: Place::whole(table, index) }
    }
}

/// `None` where a fault was noted.
impl Reader {
    fn site_file(&mut self, file: raw::SiteFile) -> Option<SiteDraft> {
        let top = At::new("site file", Table::Top, 0);
        let transit_pool = self.optional(&top, "transit_pool", file.transit_pool.as_ref());
        let gateway = self.gateway(&file.gateway);
        let site = self.site(&file.site);
        let lans = self.each(&file.lan, Self::lan);
        let host = file.host.as_ref();
        let host = host.map_or(Some(None), |host| self.host(host).map(Some));
        let link = self.link(&file.link);
        let peers = self.each(&file.peer, Self::peer);
        let remote_sites = self.each(&file.remote_site, Self::remote_site);
        let services = self.each(&file.service, Self::service);
        let allows = self.each(&file.allow, Self::allow);
        let flows = self.flows(&file.flows);
        Some(SiteDraft {
            transit_pool: transit_pool?.unwrap_or_else(TransitPool::default),
            gateway: gateway?,
            site: site?,
            lans: lans?,
            host: host?,
            link: link?,
            peers: peers?,
            remote_sites: remote_sites?,
            services: services?,
            allows: allows?,
            flows: flows?,
        })
    }

    fn role_file(&mut self, file: raw::RoleFile) -> Option<ToldGateway> {
        let Some(gateway) = file.gateway else {
            let lan = file.lan.first().map(|it| ("[[lan]]", it.span()));
            let host = file.host.as_ref().map(|it| ("[host]", it.span()));
            let link = file.link.as_ref().map(|it| ("[link]", it.span()));
            let flows = file.flows.as_ref().map(|it| ("[flows]", it.span()));
            for (table, span) in [lan, host, link, flows].into_iter().flatten() {
                self.faults.push((span, FaultKind::NoGateway { table }));
            }
            return None;
        };
        let Some(link) = file.link else {
            self.faults.push((gateway.span(), FaultKind::NoLink));
            return None;
        };
        let at = At::new("gateway", Table::Gateway, 0);
        let raw = gateway.as_ref();
        let own = self.own_name(&at, gateway.span(), raw);
        let instance = self.or(&at, "instance", raw.instance.as_ref(), "default");
        let lans = self.each(&file.lan, Self::lan);
        let host = file.host.as_ref().map_or(Some(None), |host| self.host(host).map(Some));
        let (span, link) = (link.span(), link.into_inner());
        let raw::ToldLink { interface, kind, private_key_file, listen_port, mtu } = link;
        let joins = matches!(own, Some(None));
        let private_key_file = match private_key_file {
            Some(file) if joins => {
                self.faults.push((file.span(), FaultKind::NeedlessKeyFile));
                file
            }
            Some(file) => file,
            None if joins => Spanned::new(span.clone(), KeyFile::SEALED.to_owned()),
            None => {
                self.faults.push((span, FaultKind::NoKeyFile));
                return None;
            }
        };
        let link = raw::Link {
            interface,
            kind,
            private_key_file,
            listen_port,
            mtu,
            relay: false,
            next: None,
        };
        let link = self.link(&Spanned::new(span, link));
        let flows = self.flows(file.flows.as_ref().map_or(&raw::Flows::default(), Spanned::as_ref));
        Some(ToldGateway {
            own: own?,
            facts: LocalFacts {
                instance: instance?,
                lans: lans?,
                host: host?,
                link: link?,
                flows: flows?,
            },
        })
    }

    /// Who a gateway is by its file; `Some(None)` if that is for joining to say.
    fn own_name(&mut self, at: &At, span: Span, raw: &raw::ToldGateway) -> Option<Option<OwnName>> {
        let (given, missing) = match (&raw.name, &raw.site) {
            (Some(name), Some(site)) => {
                let (name, site) = (self.value(at, "name", name), self.value(at, "site", site));
                return Some(Some(OwnName { name: name?, site: site? }));
            }
            (None, None) => return Some(None),
            (Some(_), None) => ("name", "site"),
            (None, Some(_)) => ("site", "name"),
        };
        self.faults.push((span, FaultKind::HalfName { given, missing }));
        None
    }

    fn gateway(&mut self, raw: &raw::Gateway) -> Option<Gateway> {
        let at = At::new("gateway", Table::Gateway, 0);
        let name = self.value(&at, "name", &raw.name);
        let instance = self.or(&at, "instance", raw.instance.as_ref(), "default");
        Some(Gateway { name: name?, instance: instance? })
    }

    fn site(&mut self, raw: &Spanned<raw::Site>) -> Option<Site> {
        let at = At::new("site", Table::Site, 0);
        self.spans.0.insert(at.place, raw.span());
        let raw = raw.as_ref();
        let name = self.value(&at, "name", &raw.name);
        let transit = self.value(&at, "transit", &raw.transit);
        let presence_pool = self.value(&at, "presence_pool", &raw.presence_pool);
        let client_presence = self.address(&at, "client_presence", raw.client_presence.as_ref());
        Some(Site {
            name: name?,
            transit: transit?,
            presence_pool: presence_pool?,
            client_presence: client_presence?,
        })
    }

    fn lan(&mut self, index: usize, raw: &raw::Lan) -> Option<Lan> {
        let at = At::new(object("lan", &raw.interface), Table::Lan, index);
        let interface = self.value(&at, "interface", &raw.interface);
        let mode = self.optional(&at, "mode", raw.mode.as_ref());
        let networks = self.list(&at, "networks", &raw.networks);
        Some(Lan {
            interface: interface?,
            mode: mode?.unwrap_or(LanMode::Auto),
            networks: networks?,
        })
    }

    fn host(&mut self, raw: &Spanned<raw::Host>) -> Option<Host> {
        let at = At::new("host", Table::Host, 0);
        self.spans.0.insert(at.place, raw.span());
        let raw = raw.as_ref();
        let interface = self.or(&at, "interface", raw.interface.as_ref(), "presence0");
        let addresses = self.addresses(&at, "addresses", raw.addresses.as_ref());
        let networks = self.optional_list(&at, "networks", raw.networks.as_ref());
        Some(Host {
            interface: interface?,
            addresses: addresses?,
            networks: networks?.unwrap_or_default(),
        })
    }

    fn link(&mut self, raw: &Spanned<raw::Link>) -> Option<Link> {
        let at = At::new("link", Table::Link, 0);
        self.spans.0.insert(at.place, raw.span());
        let raw = raw.as_ref();
        let interface = self.or(&at, "interface", raw.interface.as_ref(), "presence");
        let kind = self.optional(&at, "kind", raw.kind.as_ref());
        let private_key_file = self.value(&at, "private_key_file", &raw.private_key_file);
        let listen_port = self.number(&at, "listen_port", raw.listen_port.as_ref(), port);
        let mtu = self.number(&at, "mtu", raw.mtu.as_ref(), TryInto::try_into);
        let next = raw.next.as_ref();
        let next = next.map_or(Some(None), |next| self.next_link(&at, next).map(Some));
        Some(Link {
            interface: interface?,
            kind: kind?.unwrap_or(LinkKind::Auto),
            private_key_file: private_key_file?,
            listen_port: listen_port?,
            mtu: mtu?,
            relay: raw.relay,
            next: next?,
        })
    }

    fn next_link(&mut self, at: &At, raw: &raw::NextLink) -> Option<NextLink> {
        let key = self.optional(at, "next.private_key_file", raw.private_key_file.as_ref());
        let port = self.number(at, "next.listen_port", raw.listen_port.as_ref(), port);
        Some(NextLink { private_key_file: key?, listen_port: port? })
    }

    fn peer(&mut self, index: usize, raw: &raw::Peer) -> Option<Peer> {
        let at = At::new(object("peer", &raw.site), Table::Peer, index);
        let site = self.value(&at, "site", &raw.site);
        let public_key = self.value(&at, "public_key", &raw.public_key);
        let given = (raw.endpoint.as_ref(), raw.endpoints.as_ref());
        let endpoints = self.endpoints(&at, ("endpoint", "endpoints"), given);
        let next = raw.next.as_ref();
        let next = next.map_or(Some(None), |next| self.next_peer(&at, next).map(Some));
        let dialled = raw.endpoint.is_some() || raw.endpoints.is_some();
        let keepalive = match &raw.keepalive {
            None => Some(dialled.then_some(Keepalive::DEFAULT)),
            Some(text) if text.as_ref() == "off" => Some(None),
            Some(text) => self.value(&at, "keepalive", text).map(Some),
        };
        let reaches = self.optional_list(&at, "reaches", raw.reaches.as_ref());
        Some(Peer {
            site: site?,
            public_key: public_key?,
            endpoints: endpoints?,
            keepalive: keepalive?,
            reaches: reaches?.unwrap_or_default(),
            next: next?,
        })
    }

    fn next_peer(&mut self, at: &At, raw: &raw::NextPeer) -> Option<NextPeer> {
        let public_key = self.optional(at, "next.public_key", raw.public_key.as_ref());
        let given = (raw.endpoint.as_ref(), raw.endpoints.as_ref());
        let endpoints = self.endpoints(at, ("next.endpoint", "next.endpoints"), given);
        Some(NextPeer { public_key: public_key?, endpoints: endpoints? })
    }

    /// One endpoint, several, or none.
    fn endpoints(
        &mut self,
        at: &At,
        (one, several): (&'static str, &'static str),
        given: (Option<&Text>, Option<&List>),
    ) -> Option<Vec<Endpoint>> {
        match given {
            (None, None) => Some(Vec::new()),
            (Some(text), None) => self.value(at, one, text).map(|endpoint| vec![endpoint]),
            (None, Some(list)) if list.as_ref().is_empty() => {
                self.keep(at, several, list.span(), Err(ValueError::NoEndpoints))
            }
            (None, Some(list)) => self.list(at, several, list),
            (Some(_), Some(list)) => {
                self.keep(at, several, list.span(), Err(ValueError::EndpointTwice))
            }
        }
    }

    fn remote_site(&mut self, index: usize, raw: &raw::RemoteSite) -> Option<RemoteSiteDraft> {
        let at = At::new(object("remote_site", &raw.name), Table::RemoteSite, index);
        let name = self.value(&at, "name", &raw.name);
        let transit = self.value(&at, "transit", &raw.transit);
        let networks = self.optional_list(&at, "client_networks", raw.client_networks.as_ref());
        Some(RemoteSiteDraft {
            name: name?,
            transit: transit?,
            client_networks: networks?.unwrap_or_default(),
        })
    }

    fn service(&mut self, index: usize, raw: &raw::Service) -> Option<ServiceDraft> {
        let at = At::new(object("service", &raw.name), Table::Service, index);
        let name = self.value(&at, "name", &raw.name);
        let site = self.value(&at, "site", &raw.site);
        let number = self.number(&at, "number", Some(&raw.number), ServiceNumber::try_from);
        let ports = self.list(&at, "ports", &raw.ports).and_then(|specs| {
            let ports = Ports::new(specs);
            self.keep(&at, "ports", raw.ports.span(), ports)
        });
        let backends = self.backends(&at, raw);
        let health = self.health(&at, raw, ports.as_ref());
        let presence = self.address(&at, "presence", raw.presence.as_ref());
        let exposures = self.exposures(&at, raw);
        Some(ServiceDraft {
            id: ServiceId { site: site?, name: name? },
            number: number??,
            ports: ports?,
            backends: backends?,
            health: health?,
            presence: presence?,
            exposures: exposures?,
        })
    }

    fn allow(&mut self, index: usize, raw: &raw::Allow) -> Option<AllowRule> {
        let at = At::new(object("allow", &raw.id), Table::Allow, index);
        let id = self.value(&at, "id", &raw.id);
        let site = self.value(&at, "from", &raw.from);
        let clients = self.optional_list(&at, "clients", raw.clients.as_ref());
        let service = self.value(&at, "to", &raw.to);
        let clients = clients?.map_or(Clients::All, |networks: Vec<Network>| {
            Clients::In(networks.into_iter().map(Network::prefix).collect())
        });
        Some(AllowRule { id: id?, subject: Subject { site: site?, clients }, service: service? })
    }

    fn flows(&mut self, raw: &raw::Flows) -> Option<FlowSettings> {
        let at = At::new("flows", Table::Flows, 0);
        let capacity = self.number(&at, "capacity", raw.capacity.as_ref(), TryInto::try_into);
        let per_client = self.quota(&at, "per_client", raw.per_client.as_ref());
        let per_site = self.quota(&at, "per_site", raw.per_site.as_ref());
        let grace = self.optional(&at, "grace", raw.grace.as_ref());
        let at = At::new("flows.timeouts", Table::Timeouts, 0);
        let raw = &raw.timeouts;
        let opening = self.optional(&at, "opening", raw.opening.as_ref());
        let open = self.optional(&at, "open", raw.open.as_ref());
        let half_closed = self.optional(&at, "half_closed", raw.half_closed.as_ref());
        let closed = self.optional(&at, "closed", raw.closed.as_ref());
        let datagram = self.optional(&at, "datagram", raw.datagram.as_ref());
        let datagram_replied =
            self.optional(&at, "datagram_replied", raw.datagram_replied.as_ref());
        let default = Timeouts::default();
        let capacity = capacity?.unwrap_or_default();
        Some(FlowSettings {
            capacity,
            per_client: per_client?.unwrap_or_else(|| FlowQuota::of_client(capacity)),
            per_site: per_site?.unwrap_or_else(|| FlowQuota::of_site(capacity)),
            grace: grace?.unwrap_or_default(),
            timeouts: Timeouts {
                opening: opening?.unwrap_or(default.opening),
                open: open?.unwrap_or(default.open),
                half_closed: half_closed?.unwrap_or(default.half_closed),
                closed: closed?.unwrap_or(default.closed),
                datagram: datagram?.unwrap_or(default.datagram),
                datagram_replied: datagram_replied?.unwrap_or(default.datagram_replied),
            },
        })
    }

    fn each<R, T>(
        &mut self,
        tables: &[Spanned<R>],
        read: impl Fn(&mut Self, usize, &R) -> Option<T>,
    ) -> Option<Vec<T>>
    where
        R: Tabled,
    {
        let mut values = Vec::with_capacity(tables.len());
        for (index, table) in tables.iter().enumerate() {
            self.spans.0.insert(Place::whole(R::TABLE, index), table.span());
            values.push(read(self, index, table.as_ref()));
        }
        values.into_iter().collect()
    }

    fn value<T>(&mut self, at: &At, field: &'static str, text: &Text) -> Option<T>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        self.entry(at, field, 0, text)
    }

    fn or<T>(
        &mut self,
        at: &At,
        field: &'static str,
        text: Option<&Text>,
        default: &str,
    ) -> Option<T>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        match text {
            Some(text) => self.value(at, field, text),
            None => default.parse().ok(),
        }
    }

    fn optional<T>(
        &mut self,
        at: &At,
        field: &'static str,
        text: Option<&Text>,
    ) -> Option<Option<T>>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        text.map_or(Some(None), |text| self.value(at, field, text).map(Some))
    }

    fn list<T>(&mut self, at: &At, field: &'static str, list: &List) -> Option<Vec<T>>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        self.spans.0.insert(at.place.field(field), list.span());
        let mut values = Vec::with_capacity(list.as_ref().len());
        for (item, text) in list.as_ref().iter().enumerate() {
            values.push(self.entry(at, field, item, text));
        }
        values.into_iter().collect()
    }

    fn optional_list<T>(
        &mut self,
        at: &At,
        field: &'static str,
        list: Option<&List>,
    ) -> Option<Option<Vec<T>>>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        list.map_or(Some(None), |list| self.list(at, field, list).map(Some))
    }

    fn address(
        &mut self,
        at: &At,
        field: &'static str,
        text: Option<&Text>,
    ) -> Option<Option<Ipv4Addr>> {
        let Some(text) = text else { return Some(None) };
        self.spans.0.insert(at.place.field(field), text.span());
        let address = text.as_ref().parse().map_err(|_| ValueError::address(text.as_ref()));
        self.keep(at, field, text.span(), address).map(Some)
    }

    fn quota(
        &mut self,
        at: &At,
        field: &'static str,
        found: Option<&raw::NumberOrText>,
    ) -> Option<Option<FlowQuota>> {
        let Some(found) = found else { return Some(None) };
        self.spans.0.insert(at.place.field(field), found.span());
        let quota = match found.as_ref() {
            toml::Value::Integer(number) => FlowQuota::try_from(*number),
            toml::Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        };
        self.keep(at, field, found.span(), quota).map(Some)
    }

    fn addresses(
        &mut self,
        at: &At,
        field: &'static str,
        list: Option<&List>,
    ) -> Option<Option<Vec<Ipv4Addr>>> {
        let Some(list) = list else { return Some(None) };
        self.spans.0.insert(at.place.field(field), list.span());
        let mut values = Vec::with_capacity(list.as_ref().len());
        for (item, text) in list.as_ref().iter().enumerate() {
            self.spans.0.insert(at.place.field(field).item(item), text.span());
            let address = text.as_ref().parse().map_err(|_| ValueError::address(text.as_ref()));
            values.push(self.keep(at, field, text.span(), address));
        }
        values.into_iter().collect::<Option<_>>().map(Some)
    }

    fn number<T>(
        &mut self,
        at: &At,
        field: &'static str,
        number: Option<&Number>,
        check: impl Fn(i64) -> Result<T, ValueError>,
    ) -> Option<Option<T>> {
        let Some(number) = number else { return Some(None) };
        self.spans.0.insert(at.place.field(field), number.span());
        self.keep(at, field, number.span(), check(*number.as_ref())).map(Some)
    }

    fn entry<T>(&mut self, at: &At, field: &'static str, item: usize, text: &Text) -> Option<T>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        self.spans.0.insert(at.place.field(field).item(item), text.span());
        let value = text.as_ref().parse().map_err(ValueError::from);
        self.keep(at, field, text.span(), value)
    }

    fn keep<T>(
        &mut self,
        at: &At,
        field: &'static str,
        span: Span,
        value: Result<T, ValueError>,
    ) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(error) => {
                let error = ModelError::Value { object: at.object.clone(), field, error };
                self.faults.push((span, error.into()));
                None
            }
        }
    }
}

/// What a table of several is called in messages: by what its first key says.
fn object(kind: &str, name: &Text) -> String {
    format!("{kind} {}", quoted(name.as_ref()))
}

/// Which table of the file a raw struct is.
trait Tabled {
    const TABLE: Table;
}

impl Tabled for raw::Lan {
    const TABLE: Table = Table::Lan;
}

impl Tabled for raw::Peer {
    const TABLE: Table = Table::Peer;
}

impl Tabled for raw::RemoteSite {
    const TABLE: Table = Table::RemoteSite;
}

impl Tabled for raw::Service {
    const TABLE: Table = Table::Service;
}

impl Tabled for raw::Allow {
    const TABLE: Table = Table::Allow;
}
