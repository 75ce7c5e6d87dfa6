//! Names of sites, services and rules in the tables in force, both ways. Pure.

use std::net::Ipv4Addr;

use gateway_common::TransitAddress;
use gateway_common::desired::Tables;
use gateway_common::map::{NameKey, NameKind, Route, SiteNumber};

/// The name of the service with this transit address.
pub(crate) fn service_name(tables: &Tables, service: TransitAddress) -> String {
    let key = NameKey::new(NameKind::Service, service.0.number());
    match tables.names.get(&key) {
        Some(name) => name.as_str().to_owned(),
        None => service.to_string(),
    }
}

/// The service that an operator calls `SERVICE.SITE`, or by its transit address.
pub(crate) fn service_named(tables: &Tables, name: &str) -> Option<TransitAddress> {
    let mut services = tables.services.keys().copied();
    services.find(|service| service_name(tables, *service) == name).or_else(|| {
        let address = name.parse::<Ipv4Addr>().ok()?.into();
        tables.settings.transit.contains(address).then_some(TransitAddress(address))
    })
}

/// All services, for an operator who named none of them.
pub(crate) fn services(tables: &Tables) -> String {
    listed(tables.services.keys().map(|service| service_name(tables, *service)))
}

/// The number of the site with this name.
pub(crate) fn site_named(tables: &Tables, name: &str) -> Option<SiteNumber> {
    let mut names = tables.names.iter();
    let (key, _) =
        names.find(|(key, it)| key.kind() == Some(NameKind::Site) && it.as_str() == name)?;
    Some(SiteNumber(key.number()))
}

/// All sites, for an operator who named none of them.
pub(crate) fn sites(tables: &Tables) -> String {
    let sites = tables.names.iter().filter(|(key, _)| key.kind() == Some(NameKind::Site));
    listed(sites.map(|(_, name)| name.as_str().to_owned()))
}

/// Who owns a transit address.
pub(crate) fn route_to(tables: &Tables, address: TransitAddress) -> Option<Route> {
    let pool = &tables.settings.transit;
    let route = tables.routes.get(&Route::granule(pool, address)).copied();
    route.filter(|route| pool.contains(address.0) && route.is_set())
}

/// The name of the site that a route leads to.
pub(crate) fn site_name(tables: &Tables, route: Route) -> String {
    tables.name(NameKey::new(NameKind::Site, route.site.0))
}

/// Names in a row, as many as fit into an error.
fn listed(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    match (names.is_empty(), more) {
        (true, _) => "none".into(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let tables = sample::tables();
        let rabbitmq = service_named(&tables, "rabbitmq.cloud").unwrap();
        assert_eq!(service_name(&tables, rabbitmq), "rabbitmq.cloud");
        assert_eq!(service_named(&tables, "240.0.8.1"), Some(rabbitmq));
        assert_eq!(service_named(&tables, "10.0.0.200"), None, "a presence is no service");
        assert_eq!(service_named(&tables, "web.cloud"), None);
        assert_eq!(services(&tables), "rabbitmq.cloud, agent.edge-a");
        let cloud = site_named(&tables, "cloud").unwrap();
        let route = route_to(&tables, rabbitmq).unwrap();
        assert_eq!((route.site, site_name(&tables, route)), (cloud, "cloud".into()));
        assert_eq!(site_named(&tables, "nowhere"), None);
        assert_eq!(sites(&tables), "edge-a, cloud, edge-b");
    }

    #[test]
    fn long_lists_are_cut() {
        let names = (0..25).map(|number| number.to_string());
        assert!(listed(names).ends_with("18, 19 and 5 more"));
        assert_eq!(listed(std::iter::empty()), "none");
    }
}
