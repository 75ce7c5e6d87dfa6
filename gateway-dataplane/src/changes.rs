//! The difference between what is wanted and what is there, as a list of changes in the order in which
//! they are made. Pure.
//!
//! The order: permissions go first and come last, so that in between less is allowed than before and
//! after, never more. What belongs to the settings comes into force with them, which is after the
//! list.

use std::collections::BTreeMap;

use gateway_common::{
    LocalAddress, TransitAddress,
    desired::Tables,
    map::{
        Allow, AllowKey, Backend, BackendKey, Name, NameKey, PortKey, PortMapping, Presence, Route,
        Service, ServiceKind,
    },
};

/// One entry of one map, as it should be: `None` removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An address of the presence pool.
    Presence(u32, Option<Presence>),
    /// A granule of the transit pool.
    Route(u32, Option<Route>),
    /// A service.
    Service(TransitAddress, Option<Service>),
    /// A slot of back ends.
    Slot(u32, Option<LocalAddress>),
    /// A back end that flows may stay on.
    Backend(BackendKey, Option<Backend>),
    /// A declared port.
    Port(PortKey, Option<PortMapping>),
    /// A permission.
    Allow(AllowKey, Option<Allow>),
    /// A name.
    Name(NameKey, Option<Name>),
}

/// The changes that make `desired` of `observed`, but for the settings. Empty if they agree.
pub fn diff(desired: &Tables, observed: &Tables) -> Vec<Change> {
    let allows = entries(&desired.allows, &observed.allows, Change::Allow);
    let ports = entries(&desired.ports, &observed.ports, Change::Port);
    let presences = entries(&desired.presences, &observed.presences, Change::Presence);
    let routes = entries(&desired.routes, &observed.routes, Change::Route);
    let services = entries(&desired.services, &observed.services, Change::Service);
    let slots = entries(&desired.slots, &observed.slots, Change::Slot);
    let backends = entries(&desired.backends, &observed.backends, Change::Backend);
    let names = entries(&desired.names, &observed.names, Change::Name);
    let mut changes = allows.removed;
    changes.extend(presences.removed);
    changes.extend(ports.removed);
    changes.extend(services.removed);
    changes.extend(routes.removed);
    changes.extend(slots.removed);
    changes.extend(backends.removed);
    changes.extend(routes.set);
    changes.extend(backends.set);
    changes.extend(slots.set);
    changes.extend(services.set);
    changes.extend(ports.set);
    changes.extend(presences.set);
    changes.extend(allows.set);
    changes.extend(names.removed);
    changes.extend(names.set);
    changes
}

impl Change {
    /// Makes the change in a plain value.
    pub fn apply(&self, tables: &mut Tables) {
        match *self {
            Self::Presence(key, value) => put(&mut tables.presences, key, value),
            Self::Route(key, value) => put(&mut tables.routes, key, value),
            Self::Service(key, value) => put(&mut tables.services, key, value),
            Self::Slot(key, value) => put(&mut tables.slots, key, value),
            Self::Backend(key, value) => put(&mut tables.backends, key, value),
            Self::Port(key, value) => put(&mut tables.ports, key, value),
            Self::Allow(key, value) => put(&mut tables.allows, key, value),
            Self::Name(key, value) => put(&mut tables.names, key, value),
        }
    }

    /// The change that leads back to `observed` for the same entry.
    pub fn inverse(&self, observed: &Tables) -> Self {
        match *self {
            Self::Presence(key, _) => Self::Presence(key, observed.presences.get(&key).copied()),
            Self::Route(key, _) => Self::Route(key, observed.routes.get(&key).copied()),
            Self::Service(key, _) => Self::Service(key, observed.services.get(&key).copied()),
            Self::Slot(key, _) => Self::Slot(key, observed.slots.get(&key).copied()),
            Self::Backend(key, _) => Self::Backend(key, observed.backends.get(&key).copied()),
            Self::Port(key, _) => Self::Port(key, observed.ports.get(&key).copied()),
            Self::Allow(key, _) => Self::Allow(key, observed.allows.get(&key).copied()),
            Self::Name(key, _) => Self::Name(key, observed.names.get(&key).copied()),
        }
    }
}

/// Whether these changes, made of `observed`, concern new flows alone: which back end each goes to. Flows
/// that are open stay right under them, so they need not be judged anew.
pub(crate) fn concern_new_flows_only(changes: &[Change], observed: &Tables) -> bool {
    let is_here = |service: Option<&Service>| {
        service.is_some_and(|it| matches!(it.kind(), ServiceKind::Here { .. }))
    };
    changes.iter().all(|change| match change {
        Change::Slot(..) | Change::Backend(_, Some(_)) => true,
        Change::Service(key, value) => {
            is_here(value.as_ref()) && is_here(observed.services.get(key))
        }
        // A back end that is gone must lose its flows.
        Change::Backend(_, None)
        | Change::Presence(..)
        | Change::Route(..)
        | Change::Port(..)
        | Change::Allow(..)
        | Change::Name(..) => false,
    })
}

struct Entries {
    removed: Vec<Change>,
    set: Vec<Change>,
}

fn entries<K: Ord + Copy, V: PartialEq + Copy>(
    desired: &BTreeMap<K, V>,
    observed: &BTreeMap<K, V>,
    change: impl Fn(K, Option<V>) -> Change,
) -> Entries {
    let gone = observed.keys().filter(|key| !desired.contains_key(key));
    let new = desired.iter().filter(|(key, value)| observed.get(key) != Some(value));
    Entries {
        removed: gone.map(|key| change(*key, None)).collect(),
        set: new.map(|(key, value)| change(*key, Some(*value))).collect(),
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_common::{
        Ipv4, LocalAddress, Port, Protocol,
        map::{BackendState, ClientAddress, NameKind, PresenceKind, SiteNumber},
    };
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn transit() -> impl Strategy<Value = TransitAddress> {
        (0u32..4).prop_map(|low| TransitAddress(Ipv4::from_number(0xf000_0800 + low)))
    }

    fn local() -> impl Strategy<Value = LocalAddress> {
        (0u32..3).prop_map(|low| LocalAddress(Ipv4::from_number(0x0a00_000a + low)))
    }

    /// Few keys and few values, so that any two tables share some of both.
    fn tables() -> impl Strategy<Value = Tables> {
        let presence =
            prop_oneof![Just(PresenceKind::Client), transit().prop_map(PresenceKind::Service)]
                .prop_map(Presence::new);
        let route = (1u32..3, 0u32..3).prop_map(|(site, link)| Route {
            site: SiteNumber(site),
            link,
            second: 0,
            mtu: 1420,
        });
        let service = (0u32..3).prop_map(|low| {
            let presence = LocalAddress(Ipv4::from_number(0x0a00_00c8 + low));
            Service::new(ServiceKind::Elsewhere { presence })
        });
        let port = (transit(), 0u16..3, 14u32..=16)
            .prop_map(|(service, port, bits)| PortKey::ports(service, Protocol::TCP, port, bits));
        let mapping = (1u16..3).prop_map(|port| PortMapping::to(Port::new(port)));
        let allow = (transit(), transit(), 30u32..=32)
            .prop_map(|(service, client, bits)| AllowKey::clients(service, client, bits));
        let backend =
            (transit(), local()).prop_map(|(service, address)| BackendKey { service, address });
        let name = (0u32..4).prop_map(|number| NameKey::new(NameKind::Rule, number));
        let text = prop_oneof!["[a-b]"].prop_map(|text| Name::new(&text).expect("short"));
        (
            btree_map(0u32..4, presence, 0..4),
            btree_map(0u32..4, route, 0..4),
            btree_map(transit(), service, 0..4),
            btree_map(port, mapping, 0..6),
            btree_map(
                allow,
                (1u32..3).prop_map(|rule| Allow::new(rule, ClientAddress::Elsewhere)),
                0..6,
            ),
            btree_map(name, text, 0..4),
            btree_map(0u32..4, local(), 0..4),
            btree_map(backend, Just(Backend::new(BackendState::Active)), 0..4),
        )
            .prop_map(
                |(presences, routes, services, ports, allows, names, slots, backends)| Tables {
                    slots,
                    backends,
                    presences,
                    routes,
                    services,
                    ports,
                    allows,
                    names,
                    ..Tables::default()
                },
            )
    }

    #[test]
    fn where_new_flows_go_does_not_concern_those_that_are_open() {
        let service = TransitAddress(Ipv4::from_number(0xf000_0801));
        let host = |low: u32| LocalAddress(Ipv4::from_number(0x0a00_000a + low));
        let key = BackendKey { service, address: host(1) };
        let mut both = Tables::default();
        both.serve(service, &[host(0), host(1)]);
        let mut one_down = both.clone();
        one_down.slots.insert(1, host(0));
        one_down.backends.insert(key, Backend::new(BackendState::Down));
        let mut all_down = one_down.clone();
        let none = Service::new(ServiceKind::Here { first: 0, count: 0 });
        all_down.services.insert(service, none);
        all_down.slots.clear();
        let mut gone = one_down.clone();
        gone.backends.remove(&key);
        let mut elsewhere = both.clone();
        let moved = Service::new(ServiceKind::Elsewhere { presence: host(9) });
        elsewhere.services.insert(service, moved);
        fn only(desired: &Tables, observed: &Tables) -> bool {
            concern_new_flows_only(&diff(desired, observed), observed)
        }
        for tables in [&both, &one_down, &all_down] {
            for observed in [&both, &one_down, &all_down] {
                assert!(only(tables, observed));
            }
            assert!(!only(&elsewhere, tables) && !only(tables, &elsewhere));
            assert!(!only(&gone, tables) && only(tables, &gone));
            assert!(!only(tables, &Tables::default()));
        }
    }

    fn after(changes: &[Change], observed: &Tables) -> Tables {
        let mut tables = observed.clone();
        changes.iter().for_each(|change| change.apply(&mut tables));
        tables
    }

    proptest! {
        #[test]
        fn the_difference_leads_to_what_is_wanted(desired in tables(), observed in tables()) {
            prop_assert_eq!(after(&diff(&desired, &observed), &observed), desired);
        }

        #[test]
        fn there_is_no_difference_to_itself(tables in tables()) {
            prop_assert!(diff(&tables, &tables).is_empty());
        }

        #[test]
        fn inverses_lead_back(desired in tables(), observed in tables(), made in 0usize..40) {
            let changes = diff(&desired, &observed);
            let made = &changes[..made.min(changes.len())];
            let mut tables = after(made, &observed);
            made.iter().rev().for_each(|change| change.inverse(&observed).apply(&mut tables));
            prop_assert_eq!(tables, observed);
        }

        #[test]
        fn nothing_in_between_allows_what_neither_end_does(desired in tables(), observed in tables()) {
            let mut tables = observed.clone();
            for change in diff(&desired, &observed) {
                change.apply(&mut tables);
                for (key, allow) in &tables.allows {
                    prop_assert!(
                        desired.allows.get(key) == Some(allow)
                            || observed.allows.get(key) == Some(allow)
                    );
                }
            }
        }

        #[test]
        fn permissions_go_first_and_come_after_what_they_permit(
            desired in tables(), observed in tables()
        ) {
            let changes = diff(&desired, &observed);
            let removed = |change: &Change| matches!(change, Change::Allow(_, None));
            let first_other = changes.iter().position(|change| !removed(change));
            let last_removed = changes.iter().rposition(removed);
            prop_assert!(last_removed.is_none_or(|last| first_other.is_none_or(|first| last < first)));
            let set = |change: &Change| matches!(change, Change::Allow(_, Some(_)));
            let first_set = changes.iter().position(set).unwrap_or(changes.len());
            let rest = &changes[first_set..];
            prop_assert!(rest.iter().all(|change| set(change) || matches!(change, Change::Name(..))));
        }
    }
}
