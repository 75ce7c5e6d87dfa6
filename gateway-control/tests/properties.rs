//! What must hold for every model: it reads back from its rendering, it compiles to what its rules
//! decide and its services declare, and no two things share a transit address.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not what it expects")]

mod models;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use gateway_common::host::MemoryTables;
use gateway_common::map::{AllowKey, NameKey, NameKind, PortKey, Route};
use gateway_common::tables::Tables as _;
use gateway_common::{Ipv4, Port, Protocol, TransitAddress};
use gateway_control::model::{PortSpec, Ports, ServiceId, SiteModel, SiteName};
use gateway_control::site_file;
use gateway_control::{Plan, compile};
use gateway_policy::{Client, Decision};
use proptest::prelude::*;
use proptest::sample::Index;

use models::{interfaces, model};

fn tables(model: &SiteModel) -> MemoryTables {
    MemoryTables::new(compile(model, &interfaces(model)).unwrap(), 16)
}

/// Services that this gateway has in its tables, with their transit addresses and ports.
fn services(model: &SiteModel) -> Vec<(&ServiceId, Ipv4Addr, &Ports)> {
    let local = model.local_services().iter().map(|s| (&s.id, s.transit, &s.ports));
    let remote = model.remote_services().iter().map(|s| (&s.id, s.transit, &s.ports));
    local.chain(remote).collect()
}

fn sites(model: &SiteModel) -> Vec<&SiteName> {
    let remote = model.remote_sites().iter().map(|site| &site.name);
    std::iter::once(&model.site().name).chain(remote).collect()
}

fn rule_named(tables: &MemoryTables, key: AllowKey) -> Option<String> {
    let allow = tables.allow(&key)?;
    Some(tables.desired.name(NameKey::new(NameKind::Rule, allow.rule)))
}

fn declares(ports: &Ports, protocol: u8, port: u16) -> Option<u16> {
    ports.specs().iter().find_map(|spec| {
        let (declared, low, high) = spec.extent();
        let inside = declared == protocol && (low..=high).contains(&port);
        let translated = match spec {
            PortSpec::One { port, backend, .. } if port != backend => backend.get(),
            _ => 0,
        };
        inside.then_some(translated)
    })
}

proptest! {
    #[test]
    fn the_rendering_reads_back(model in model()) {
        let text = model.to_string();
        match site_file::parse(&text) {
            Ok(read) => prop_assert_eq!(read, model),
            Err(error) => prop_assert!(false, "{}\n{}", error, text),
        }
    }

    /// For every service here and any client of any site, the longest prefix in the tables names
    /// the rule that the rule set names.
    #[test]
    fn tables_decide_as_the_rules_do(
        model in model(),
        picks in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u32>()), 1..200),
    ) {
        let tables = tables(&model);
        let (services, sites) = (services(&model), sites(&model));
        prop_assume!(!services.is_empty());
        for (service, site, host) in picks {
            let (service, transit, _) = *service.get(&services);
            let site = *site.get(&sites);
            let here = &model.site().name;
            if (site == here) == (service.site == *here) {
                continue;
            }
            let (block, networks) = model.clients_of(site).unwrap();
            let Some(index) = u64::from(host).checked_rem(networks.size()) else { continue };
            let (network, first) = networks
                .indexed()
                .find(|(network, first)| (*first..first + network.size()).contains(&index))
                .unwrap();
            let offset = u32::try_from(index - first).unwrap();
            let address = Ipv4Addr::from(u32::from(network.prefix().network()) + offset);
            prop_assert_eq!(networks.index(address), Some(index));

            let client = block.client(u32::try_from(index).unwrap()).unwrap();
            let key = AllowKey::exact(transit.into(), client.into());
            let compiled = rule_named(&tables, key);
            let decided = match model.rules().decide(Client { site, address }, service) {
                Decision::Allow { rule } => Some(rule.to_string()),
                Decision::Deny { .. } => None,
            };
            prop_assert_eq!(compiled, decided, "{} of {} to {}", address, site, service);
        }
    }

    /// What is not a client's transit address is allowed nothing: a service's least of all.
    #[test]
    fn services_are_not_clients(model in model()) {
        let tables = tables(&model);
        let services = services(&model);
        for (_, service, _) in &services {
            for (_, client, _) in &services {
                let key = AllowKey::exact((*service).into(), (*client).into());
                prop_assert_eq!(rule_named(&tables, key), None);
            }
        }
    }

    #[test]
    fn ports_are_the_declared_ones(
        model in model(),
        probes in prop::collection::vec((any::<u8>(), any::<u16>()), 100),
    ) {
        let tables = tables(&model);
        for (service, transit, ports) in services(&model) {
            let edges = ports.specs().iter().flat_map(|spec| {
                let (protocol, low, high) = spec.extent();
                [low, high, low.wrapping_sub(1), high.wrapping_add(1)].map(|port| (protocol, port))
            });
            let common = [1, 6, 17].into_iter().flat_map(|p| [(p, 0), (p, 80), (p, 65_535)]);
            for (protocol, port) in probes.iter().copied().chain(edges).chain(common) {
                let key = PortKey::exact(transit.into(), Protocol(protocol), Port::new(port));
                let compiled = tables.port(&key).map(|mapping| mapping.backend.number());
                let declared = declares(ports, protocol, port);
                prop_assert_eq!(compiled, declared, "{} {}/{}", service, protocol, port);
            }
        }
    }

    /// Every transit address means one thing, and routes lead to whoever owns it.
    #[test]
    fn transit_addresses_are_unique(model in model()) {
        let tables = tables(&model);
        let settings = tables.desired.settings;
        let mut seen = BTreeSet::new();
        let services = services(&model);
        for (service, transit, _) in &services {
            prop_assert!(seen.insert(*transit), "{} shares {}", service, transit);
        }
        let clients = model.client_networks().size();
        for network in &settings.networks[..settings.network_count as usize] {
            for address in [network.prefix.base(), network.prefix.at(u32::MAX)] {
                let client = settings.client(network, address_of(address));
                prop_assert!(!settings.is_service(client));
                prop_assert!(seen.insert(client.into()) || network.prefix.last_offset() == 0);
                prop_assert!(u64::from(settings.block.offset(client.0)) < clients);
            }
        }
        for site in sites(&model) {
            let (block, _) = model.clients_of(site).unwrap();
            for address in [block.prefix().network(), block.prefix().broadcast()] {
                let granule = Route::granule(&settings.transit, TransitAddress::from(address));
                let route = tables.route(granule).unwrap();
                let name = tables.desired.name(NameKey::new(NameKind::Site, route.site.0));
                prop_assert_eq!(&name, site.as_str());
                prop_assert_eq!(route.is_own(), *site == model.site().name);
            }
        }
    }

    /// A link is told to carry each remote site's block once.
    #[test]
    fn every_remote_block_has_one_peer(model in model()) {
        let mut carried: Vec<_> =
            Plan::new(&model).link.peers.into_iter().flat_map(|peer| peer.transit).collect();
        let mut blocks: Vec<_> =
            model.remote_sites().iter().map(|site| site.transit.prefix()).collect();
        carried.sort();
        blocks.sort();
        prop_assert_eq!(carried, blocks);
    }

    /// Neither damage to a file nor any text makes the reader panic, or report nothing.
    #[test]
    fn damaged_files_are_read_or_refused(
        model in model(),
        cuts in prop::collection::vec((any::<Index>(), any::<Index>(), "[ -~\n]{0,6}"), 1..4),
    ) {
        let mut text = model.to_string();
        for (from, to, patch) in cuts {
            let (from, to) = (from.index(text.len()), to.index(text.len()).min(text.len()));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 20));
            text.replace_range(from..to, &patch);
        }
        match site_file::parse(&text) {
            Ok(model) => {
                prop_assert_eq!(site_file::parse(&model.to_string()).unwrap(), model);
            }
            Err(error) => {
                prop_assert!(!error.faults().is_empty());
                prop_assert!(error.to_string().contains("line "));
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        if let Err(error) = site_file::parse(&text) {
            prop_assert!(!error.faults().is_empty());
        }
    }
}

fn address_of(address: Ipv4) -> gateway_common::LocalAddress {
    gateway_common::LocalAddress(address)
}
