//! From a model to the content of the data path's maps. `gatewayd` calls it at start and on every
//! change, and hands the result to the data path, which applies the difference.
//!
//! The same model and interfaces always give the same tables. What the tables say of a client and a
//! service is what [`RuleSet::decide`](gateway_policy::RuleSet::decide) says of them.

use std::collections::BTreeMap;

use gateway_common::desired::Tables;
use gateway_common::map::{
    Allow, AllowKey, ClientAddress, FlowState, Name, NameKey, NameKind, Network, NetworkFlags,
    PortKey, PortMapping, Presence, PresenceKind, Route, Service, ServiceKind, Settings,
    SiteNumber, Timeouts,
};
use gateway_common::{Ipv4, LocalAddress, Port, Prefix, Protocol, TransitAddress};
use ipnet::Ipv4Net;

use crate::model::{
    self, AllowRule, ClientNetworks, ClientPresences, InterfaceName, LocalService, PortSpec,
    RemoteService, SiteModel, SiteName, TransitBlock,
};
use crate::prefixes::{client_prefixes, port_blocks};
use crate::serving::{Serving, serve};

/// The host's interfaces that a site file names, as the host has them now.
pub type Interfaces = BTreeMap<InterfaceName, Interface>;

/// One interface of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its hardware address; zeros where it has none, as a link device.
    pub mac: [u8; 6],
    /// Its MTU in octets.
    pub mtu: u32,
}

/// How the sites behind links are reached.
pub type SiteLinks = BTreeMap<SiteName, SiteLink>;

/// How one site is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteLink {
    /// Index of the link device that packets for it are sent by.
    pub send: u32,
    /// Index of another one that packets from it are accepted from; 0 for none.
    pub also: u32,
    /// Largest packet towards it, in octets.
    pub mtu: u32,
}

/// What the host says of itself: its addresses, and the networks it is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostView {
    /// Each LAN interface's addresses with their prefix lengths.
    pub lans: BTreeMap<InterfaceName, Vec<Ipv4Net>>,
}

/// Why a model does not compile on this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The host lacks an interface that the site file names.
    #[error(
        "interface {interface}: it does not exist on this host; create it or correct the site file"
    )]
    NoInterface {
        /// The interface.
        interface: InterfaceName,
    },
    /// The host has more addresses than the tables hold.
    #[error(
        "host: with the addresses of its LAN interfaces it has {count} addresses and networks and \
         the tables hold {most}; name those that matter in host.addresses"
    )]
    TooManyHostAddresses {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
}

/// The tables of a site's gateway on a host with these interfaces, where every site is reached by the
/// one link device.
pub fn compile(model: &SiteModel, interfaces: &Interfaces) -> Result<Tables, CompileError> {
    compile_linked(model, interfaces, &SiteLinks::new(), &HostView::default())
}

/// [`compile`] where `links` says how sites are reached; one it does not name by the link device among
/// the interfaces.
pub fn compile_linked(
    model: &SiteModel,
    interfaces: &Interfaces,
    links: &SiteLinks,
    view: &HostView,
) -> Result<Tables, CompileError> {
    compile_serving(model, interfaces, links, view, &Serving::default())
}

/// [`compile_linked`] where `serving` says which back ends serve, and where the tables in force have the
/// runs of slots.
pub fn compile_serving(
    model: &SiteModel,
    interfaces: &Interfaces,
    links: &SiteLinks,
    view: &HostView,
    serving: &Serving,
) -> Result<Tables, CompileError> {
    let interface = |name: &InterfaceName| {
        let found = interfaces.get(name).copied();
        found.ok_or_else(|| CompileError::NoInterface { interface: name.clone() })
    };
    let link = interface(&model.link().interface)?;
    let mut tables = Tables { settings: settings(model, interface, view)?, ..Tables::default() };
    routes(model, link, links, &mut tables);
    serve(model.local_services(), serving, &mut tables);
    for service in model.local_services() {
        local_service(service, &mut tables);
    }
    for service in model.remote_services() {
        remote_service(model, service, &mut tables);
    }
    presences(model, &mut tables);
    allows(model, &mut tables);
    Ok(tables)
}

fn settings(
    model: &SiteModel,
    interface: impl Fn(&InterfaceName) -> Result<Interface, CompileError>,
    view: &HostView,
) -> Result<Settings, CompileError> {
    let mut settings = Settings {
        generation: 0,
        relay: model.link().relay.into(),
        pool: prefix(model.site().presence_pool.prefix()),
        transit: prefix(model.transit_pool().prefix()),
        block: prefix(model.site().transit.prefix()),
        client_flows: model.flows().per_client.flows(),
        site_flows: model.flows().per_site.flows(),
        timeouts: timeouts(model.flows().timeouts),
        ..Settings::default()
    };
    let mut networks = host_networks(model, &interface, view)?;
    networks.extend(lan_networks(model, &interface, view)?);
    for (slot, network) in settings.networks.iter_mut().zip(networks) {
        *slot = network;
        settings.network_count += 1;
    }
    Ok(settings)
}

/// What is the gateway host's own, which stands before the network that it is part of: the first that
/// holds an address counts.
fn host_networks(
    model: &SiteModel,
    interface: impl Fn(&InterfaceName) -> Result<Interface, CompileError>,
    view: &HostView,
) -> Result<Vec<Network>, CompileError> {
    let Some(host) = model.host() else { return Ok(Vec::new()) };
    let Interface { index, mac, mtu } = interface(&host.far_interface())?;
    let addresses = host_addresses(model, view);
    let own = addresses.into_iter().map(Ipv4Net::from);
    let networks: Vec<_> =
        own.chain(host.networks.iter().map(|network| network.prefix())).collect();
    let most = Settings::NETWORKS - Settings::LAN_NETWORKS;
    if networks.len() > most {
        return Err(CompileError::TooManyHostAddresses { count: networks.len(), most });
    }
    let networks = networks.into_iter().filter_map(|net| {
        let first = u32::try_from(model.client_networks().first_index(net)?).ok()?;
        let flags = NetworkFlags::HOST;
        Some(Network { prefix: prefix(net), first, interface: index, mtu, mac, flags })
    });
    Ok(networks.collect())
}

/// The gateway host's own addresses that are clients and back ends: those that the site file names,
/// else those of its LAN interfaces.
pub fn host_addresses(model: &SiteModel, view: &HostView) -> Vec<std::net::Ipv4Addr> {
    let Some(host) = model.host() else { return Vec::new() };
    if let Some(addresses) = &host.addresses {
        return addresses.clone();
    }
    let (site, clients) = (model.site(), model.client_networks());
    let mut addresses: Vec<_> = view.lans.values().flatten().map(|net| net.addr()).collect();
    addresses.retain(|it| clients.index(*it).is_some() && site.presence_pool.offset(*it).is_none());
    addresses.sort();
    addresses.dedup();
    addresses
}

fn lan_networks(
    model: &SiteModel,
    interface: impl Fn(&InterfaceName) -> Result<Interface, CompileError>,
    view: &HostView,
) -> Result<Vec<Network>, CompileError> {
    let mut first = 0;
    let mut found = Vec::new();
    let networks =
        model.lans().iter().flat_map(|lan| lan.networks.iter().map(move |net| (lan, net)));
    for (lan, network) in networks {
        let Interface { index, mac, mtu } = interface(&lan.interface)?;
        let prefix = prefix(network.prefix());
        let on = view.lans.get(&lan.interface).map_or(&[][..], Vec::as_slice);
        let is_on_link = on.iter().any(|net| net.contains(&network.prefix()));
        let flags = if is_on_link { NetworkFlags::ON_LINK } else { NetworkFlags::default() };
        found.push(Network { prefix, first, interface: index, mtu, mac, flags });
        first += prefix.last_offset() + 1;
    }
    Ok(found)
}

fn timeouts(timeouts: model::Timeouts) -> Timeouts {
    let milliseconds = FlowState::ALL.map(|state| {
        let timeout = match state {
            FlowState::Opening | FlowState::Accepted => timeouts.opening,
            FlowState::Open => timeouts.open,
            FlowState::ClientClosed | FlowState::ServiceClosed => timeouts.half_closed,
            FlowState::Closed => timeouts.closed,
            FlowState::Asked => timeouts.datagram,
            FlowState::Answered => timeouts.datagram_replied,
        };
        u64::from(timeout.seconds()) * 1000
    });
    Timeouts::from_milliseconds(milliseconds)
}

fn routes(model: &SiteModel, link: Interface, links: &SiteLinks, tables: &mut Tables) {
    let own = (&model.site().name, model.site().transit, SiteLink::default());
    let only = SiteLink { send: link.index, also: 0, mtu: link.mtu };
    let remote = model
        .remote_sites()
        .iter()
        .map(|site| (&site.name, site.transit, links.get(&site.name).copied().unwrap_or(only)));
    for (number, (site, block, link)) in (1u32..).zip(std::iter::once(own).chain(remote)) {
        name(tables, NameKind::Site, number, site.as_str());
        let SiteLink { send, also, mtu } = link;
        let route = Route { site: SiteNumber(number), link: send, second: 0, mtu }.and_by(also);
        for granule in granules(model, block) {
            tables.routes.insert(granule, route);
        }
    }
}

fn granules(model: &SiteModel, block: TransitBlock) -> impl Iterator<Item = u32> {
    let pool = prefix(model.transit_pool().prefix());
    let block = prefix(block.prefix());
    let first = Route::granule(&pool, TransitAddress(block.base()));
    let last = Route::granule(&pool, TransitAddress(block.at(block.last_offset())));
    first..=last
}

fn local_service(service: &LocalService, tables: &mut Tables) {
    let transit = TransitAddress::from(service.transit);
    name(tables, NameKind::Service, transit.0.number(), &service.id.to_string());
    ports(transit, service.ports.specs(), tables);
}

fn remote_service(model: &SiteModel, service: &RemoteService, tables: &mut Tables) {
    let presence = LocalAddress::from(service.presence);
    let transit = TransitAddress::from(service.transit);
    tables.services.insert(transit, Service::new(ServiceKind::Elsewhere { presence }));
    name(tables, NameKind::Service, transit.0.number(), &service.id.to_string());
    ports(transit, service.ports.specs(), tables);
    if let Some(offset) = model.site().presence_pool.offset(service.presence) {
        tables.presences.insert(offset, Presence::new(PresenceKind::Service(transit)));
    }
}

fn presences(model: &SiteModel, tables: &mut Tables) {
    let site = model.site();
    if let Some(offset) =
        site.client_presence.and_then(|address| site.presence_pool.offset(address))
    {
        tables.presences.insert(offset, Presence::new(PresenceKind::Client));
    }
    let exposures = model.local_services().iter().flat_map(|service| &service.exposures);
    for addresses in exposures.filter_map(|exposure| exposure.clients.addresses()) {
        let Some(first) = site.presence_pool.offset(addresses.network()) else { continue };
        let last = first + u32::from(addresses.hostmask());
        for offset in first..=last {
            tables.presences.insert(offset, Presence::new(PresenceKind::Client));
        }
    }
}

fn ports(service: TransitAddress, specs: &[PortSpec], tables: &mut Tables) {
    for spec in specs {
        let protocol = Protocol(spec.extent().0);
        match spec {
            PortSpec::All(_) | PortSpec::Ip(_) => {
                tables.ports.insert(PortKey::any_port(service, protocol), PortMapping::SAME);
            }
            PortSpec::One { .. } | PortSpec::Range { .. } | PortSpec::IcmpEcho => {
                for block in port_blocks(*spec) {
                    let first = u16::try_from(block.first).expect("ports have 16 bits");
                    let key = PortKey::ports(service, protocol, first, block.length);
                    tables.ports.insert(key, mapping(*spec));
                }
            }
        }
    }
}

fn mapping(spec: PortSpec) -> PortMapping {
    match spec {
        PortSpec::One { port, backend, .. } if port != backend => {
            PortMapping::to(Port::new(backend.get()))
        }
        _ => PortMapping::SAME,
    }
}

/// Rules that this gateway has a part in: of this site's clients and others' services, or of others'
/// clients and this site's services.
fn allows(model: &SiteModel, tables: &mut Tables) {
    let services: BTreeMap<_, _> = model
        .local_services()
        .iter()
        .map(|service| (&service.id, service.transit))
        .chain(model.remote_services().iter().map(|service| (&service.id, service.transit)))
        .collect();
    // Where two rules come to the same entry, the more specific as written holds, then the first.
    let mut specific = BTreeMap::new();
    for (number, rule) in (1u32..).zip(model.rules().rules()) {
        name(tables, NameKind::Rule, number, rule.id.as_str());
        if !has_part(model, rule) {
            continue;
        }
        let clients = model.clients_of(&rule.subject.site);
        let (Some(service), Some((block, networks))) = (services.get(&rule.service), clients)
        else {
            continue;
        };
        for (clients, length) in client_prefixes(&rule.subject.clients, block, networks) {
            let key = AllowKey::clients(
                (*service).into(),
                clients.network().into(),
                clients.prefix_len().into(),
            );
            if specific.get(&key).is_none_or(|held| length > *held) {
                specific.insert(key, length);
                let appear = appearance(model, rule, block, networks, clients);
                tables.allows.insert(key, Allow::new(number, appear));
            }
        }
    }
}

/// What the clients with these transit addresses appear as at the rule's service.
fn appearance(
    model: &SiteModel,
    rule: &AllowRule,
    block: TransitBlock,
    networks: &ClientNetworks,
    clients: Ipv4Net,
) -> ClientAddress {
    let here = model.local_services().iter().find(|service| service.id == rule.service);
    let Some(service) = here else { return ClientAddress::Elsewhere };
    let exposure = service.exposures.iter().find(|it| it.site == rule.subject.site);
    let Some(ClientPresences::PerClient { from, presences }) = exposure.map(|it| it.clients) else {
        return ClientAddress::Shared(service.client_presence.into());
    };
    // The check let only rules pass whose clients all lie in `from`, which is one run of indices.
    let start = networks
        .first_index(from.prefix())
        .and_then(|index| block.client(u32::try_from(index).ok()?))
        .map(u32::from);
    let Some(start) = start else { return ClientAddress::Elsewhere };
    let offset = u32::from(clients.network()).wrapping_sub(start);
    let first = u32::from(presences.prefix().network()).wrapping_add(offset);
    let first = std::net::Ipv4Addr::from(first).into();
    ClientAddress::Own { first, hosts: u32::from(clients.hostmask()) }
}

fn has_part(model: &SiteModel, rule: &AllowRule) -> bool {
    let here = &model.site().name;
    (rule.subject.site == *here) != (rule.service.site == *here)
}

fn name(tables: &mut Tables, kind: NameKind, number: u32, text: &str) {
    let text = Name::new(text).expect("two labels and a dot are no longer than a name may be");
    tables.names.insert(NameKey::new(kind, number), text);
}

fn prefix(net: Ipv4Net) -> Prefix {
    Prefix::new(Ipv4::from(net.network()), net.prefix_len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site_file::parse;
    use gateway_common::map::{BackendKey, BackendState};

    const SITE: &str = r#"
        gateway = { name = "edge-gw" }
        site = { name = "edge", transit = "240.0.16.0/20", presence_pool = "10.0.0.192/26", client_presence = "10.0.0.250" }
        link = { private_key_file = "link.key", listen_port = 51820, relay = true }
        remote_site = [{ name = "cloud", transit = "240.0.32.0/19" }]
        peer = [{ site = "cloud", public_key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=" }]
        lan = [
            { interface = "lan1", networks = ["10.0.9.0/32"] },
            { interface = "lan0", networks = ["10.0.0.0/24"] },
        ]
        service = [
            { name = "rabbitmq", site = "cloud", number = 9, ports = ["tcp/4-7"], presence = "10.0.0.200" },
            { name = "web", site = "edge", number = 1, ports = ["tcp/80->8080", "udp/*", "icmp-echo"], backend = "10.0.0.10" },
        ]
        [[allow]]
        id = "wide"
        from = "edge"
        clients = ["10.0.0.0/30"]
        to = "rabbitmq.cloud"
        [[allow]]
        id = "host"
        from = "edge"
        clients = ["10.0.0.0/32"]
        to = "rabbitmq.cloud"
        [[allow]]
        id = "wide-again"
        from = "edge"
        clients = ["10.0.0.0/30"]
        to = "rabbitmq.cloud"
        [[allow]]
        id = "cloud-web"
        from = "cloud"
        to = "web.edge"
        [[allow]]
        id = "inside"
        from = "edge"
        to = "web.edge"
    "#;

    fn interfaces() -> Interfaces {
        [("lan0", 7, 2), ("lan1", 8, 3), ("presence", 9, 0)]
            .into_iter()
            .map(|(name, index, mac)| {
                (name.parse().unwrap(), Interface { index, mac: [mac; 6], mtu: 1420 })
            })
            .collect()
    }

    fn tables() -> Tables {
        compile(&parse(SITE).unwrap_or_else(|error| panic!("{error}")), &interfaces()).unwrap()
    }

    fn lines<K: std::fmt::Debug, V: std::fmt::Debug>(map: &BTreeMap<K, V>) -> Vec<String> {
        map.iter().map(|(key, value)| format!("{key:?} = {value:?}")).collect()
    }

    fn transit(third: u8, last: u8) -> TransitAddress {
        std::net::Ipv4Addr::new(240, 0, third, last).into()
    }

    #[test]
    fn settings_of_a_site() {
        let settings = tables().settings;
        assert_eq!((settings.generation, settings.relay), (0, 1));
        assert_eq!(settings.pool.to_string(), "10.0.0.192/26");
        assert_eq!(settings.block.to_string(), "240.0.16.0/20");
        let networks: Vec<_> = settings.networks[..settings.network_count as usize]
            .iter()
            .map(|net| (net.prefix.to_string(), net.first, net.interface, net.mac[0]))
            .collect();
        assert_eq!(
            networks,
            [("10.0.9.0/32".to_owned(), 0, 8, 3), ("10.0.0.0/24".to_owned(), 1, 7, 2)]
        );
        assert_eq!(settings.timeouts, Timeouts::default());
    }

    #[test]
    fn routes_cover_whole_blocks() {
        let tables = tables();
        let route = |site, link| {
            let mtu = if link == 0 { 0 } else { 1420 };
            Route { site: SiteNumber(site), link, second: 0, mtu }
        };
        let expected = BTreeMap::from([(1, route(1, 0)), (2, route(2, 9)), (3, route(2, 9))]);
        assert_eq!(tables.routes, expected);
        assert_eq!(tables.name(NameKey::new(NameKind::Site, 1)), "edge");
        assert_eq!(tables.name(NameKey::new(NameKind::Site, 2)), "cloud");
    }

    #[test]
    fn services_and_their_presences() {
        let tables = tables();
        let (web, rabbitmq) = (transit(24, 1), transit(48, 9));
        let address = |last| LocalAddress::from(std::net::Ipv4Addr::new(10, 0, 0, last));
        assert_eq!(tables.services[&web].kind(), ServiceKind::Here { first: 0, count: 1 });
        assert_eq!(tables.slots, BTreeMap::from([(0, address(10))]));
        let backend = BackendKey { service: web, address: address(10) };
        assert_eq!(tables.backends[&backend].state(), BackendState::Active);
        let presence = ServiceKind::Elsewhere { presence: address(200) };
        assert_eq!(tables.services[&rabbitmq].kind(), presence);
        assert_eq!(tables.presences[&8].kind(), PresenceKind::Service(rabbitmq));
        assert_eq!(tables.presences[&58].kind(), PresenceKind::Client);
        assert_eq!(tables.presences.len(), 2);
        let name = NameKey::new(NameKind::Service, rabbitmq.0.number());
        assert_eq!(tables.name(name), "rabbitmq.cloud");
    }

    #[test]
    fn ports_become_prefixes() {
        let ports = lines(&tables().ports);
        let ports: Vec<_> = ports.iter().map(|line| line.split(" = ").next().unwrap()).collect();
        assert_eq!(
            ports,
            ["240.0.24.1 udp", "240.0.48.9 tcp/4-7", "240.0.24.1 icmp/0", "240.0.24.1 tcp/80"]
        );
    }

    /// 10.0.0.0/30 has the indices 1 to 4, which are no prefix: 1, 2 to 3, 4. The first is also all
    /// of 10.0.0.0/32, whose rule is more specific and holds it.
    #[test]
    fn the_more_specific_rule_holds_an_entry_both_come_to() {
        let tables = tables();
        let rule = |allow: &Allow| tables.name(NameKey::new(NameKind::Rule, allow.rule));
        let mut allows: Vec<_> =
            tables.allows.iter().map(|(key, allow)| format!("{key:?}: {}", rule(allow))).collect();
        allows.sort();
        assert_eq!(
            allows,
            [
                "240.0.16.1/32 -> 240.0.48.9: host",
                "240.0.16.2/31 -> 240.0.48.9: wide",
                "240.0.16.4/32 -> 240.0.48.9: wide",
                "240.0.32.0/20 -> 240.0.24.1: cloud-web",
            ]
        );
    }

    #[test]
    fn a_missing_interface_is_named() {
        let model = parse(SITE).unwrap();
        for missing in ["lan0", "presence"] {
            let mut interfaces = interfaces();
            interfaces.remove(&missing.parse().unwrap());
            let error = compile(&model, &interfaces).unwrap_err().to_string();
            assert!(error.contains(missing) && error.contains("does not exist"), "{error}");
        }
    }
}
