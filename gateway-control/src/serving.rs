//! The back ends' part of the tables: a run of slots for each service of the site, and which back ends
//! flows may stay on. [`crate::compile`] calls it.
//!
//! A run is as long as its service's back ends ask for, whichever of them take new flows now, and stays
//! where it was as long as it fits there, so that what becomes of one service or back end changes no
//! slot of another.

use std::collections::{BTreeMap, BTreeSet};

use gateway_common::desired::Tables;
use gateway_common::map::{Backend as Entry, BackendKey, BackendState, Service, ServiceKind};
use gateway_common::{LocalAddress, TransitAddress};

use crate::maglev;
use crate::model::{Backend, LocalService, Turn};

/// What is known of the back ends and of the tables in force, when new ones are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// Back ends that are found not to serve.
    pub down: BTreeSet<BackendKey>,
    /// The services in force, for where their runs are.
    pub services: BTreeMap<TransitAddress, Service>,
}

/// How many slots these back ends ask for.
pub(crate) fn slots(backends: &[Backend]) -> u32 {
    let weights: Vec<u32> = backends.iter().map(|backend| backend.weight.number()).collect();
    maglev::size(&weights)
}

/// Adds services of this site with their slots and back ends.
pub(crate) fn serve(services: &[LocalService], serving: &Serving, tables: &mut Tables) {
    let firsts = places(services, serving);
    for (service, first) in services.iter().zip(firsts) {
        let transit = TransitAddress::from(service.transit);
        let mut active = Vec::new();
        for backend in &service.backends {
            let key = BackendKey { service: transit, address: backend.address.into() };
            let state = match backend.turn {
                Turn::Drain => BackendState::Draining,
                Turn::Use if serving.down.contains(&key) => BackendState::Down,
                Turn::Use => BackendState::Active,
            };
            if state == BackendState::Active {
                active.push((backend.address, backend.weight.number()));
            }
            tables.backends.insert(key, Entry::new(state));
        }
        let slots = maglev::table(&active, slots(&service.backends));
        let count = u32::try_from(slots.len()).expect("a table has no more slots than the map");
        tables.slots.extend((first..).zip(slots.into_iter().map(LocalAddress::from)));
        tables.services.insert(transit, Service::new(ServiceKind::Here { first, count }));
    }
}

/// The first slot of each service's run.
fn places(services: &[LocalService], serving: &Serving) -> Vec<u32> {
    let sizes: Vec<u32> = services.iter().map(|service| slots(&service.backends)).collect();
    let most = <gateway_common::map::Slots as gateway_common::map::Map>::CAPACITY;
    let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
    let mut firsts: Vec<Option<u32>> = vec![None; services.len()];
    // First those that are as long as they were, then those that have no slot now, if they fit still.
    for empty in [false, true] {
        for ((service, size), place) in services.iter().zip(&sizes).zip(&mut firsts) {
            let held = serving.services.get(&TransitAddress::from(service.transit));
            let Some(ServiceKind::Here { first, count }) = held.map(|held| held.kind()) else {
                continue;
            };
            let is_turn = if empty { count == 0 } else { count == *size && count > 0 };
            let fits = first.checked_add(*size).is_some_and(|end| end <= most);
            if is_turn && fits && is_free(&taken, first, *size) {
                taken.insert(first, *size);
                *place = Some(first);
            }
        }
    }
    let mut placed = Vec::with_capacity(services.len());
    for (first, size) in firsts.into_iter().zip(&sizes) {
        let first = first.unwrap_or_else(|| {
            let first = gap(&taken, *size);
            taken.insert(first, *size);
            first
        });
        placed.push(first);
    }
    let end = taken.iter().map(|(first, size)| first.saturating_add(*size)).max().unwrap_or(0);
    if end <= most {
        return placed;
    }
    // The gaps are too small: all of them close up.
    let packed = sizes.iter().scan(0, |next, size| {
        let first = *next;
        *next += size;
        Some(first)
    });
    packed.collect()
}

fn is_free(taken: &BTreeMap<u32, u32>, first: u32, size: u32) -> bool {
    let before = taken.range(..first.saturating_add(size.max(1))).next_back();
    before.is_none_or(|(other, length)| other + length <= first)
}

/// Where the first gap of that size begins; the last has no end.
fn gap(taken: &BTreeMap<u32, u32>, size: u32) -> u32 {
    let mut begin: u32 = 0;
    for (first, length) in taken {
        if first.saturating_sub(begin) >= size {
            return begin;
        }
        begin = begin.max(first.saturating_add(*length));
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site_file::parse;

    /// Services of this site with so many back ends each, by number.
    fn model(services: &[(u32, u8)]) -> crate::model::SiteModel {
        let mut text = String::from(
            "gateway = { name = \"gw\" }\nlink = { private_key_file = \"link.key\" }\n\
             site = { name = \"here\", transit = \"240.0.16.0/20\", presence_pool = \
             \"10.0.0.192/26\", client_presence = \"10.0.0.250\" }\n\
             lan = [{ interface = \"lan0\", networks = [\"10.0.0.0/24\"] }]\n",
        );
        for (number, count) in services {
            let backends: Vec<_> =
                (0..*count).map(|low| format!("{{ address = \"10.0.0.{}\" }}", 10 + low)).collect();
            text += &format!(
                "[[service]]\nname = \"s{number}\"\nsite = \"here\"\nnumber = {number}\n\
                 ports = [\"tcp/80\"]\nbackends = [{}]\n",
                backends.join(", ")
            );
        }
        parse(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn tables(services: &[(u32, u8)], before: &Tables, down: &[BackendKey]) -> Tables {
        let mut tables = Tables::default();
        let down = down.iter().copied().collect();
        let serving = Serving { down, services: before.services.clone() };
        serve(model(services).local_services(), &serving, &mut tables);
        tables
    }

    fn run(tables: &Tables, number: usize) -> (u32, u32) {
        match tables.services.values().nth(number).unwrap().kind() {
            ServiceKind::Here { first, count } => (first, count),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_stays_whatever_becomes_of_others() {
        let before = tables(&[(1, 3), (2, 1), (3, 2)], &Tables::default(), &[]);
        assert_eq!([0, 1, 2].map(|it| run(&before, it)), [(0, 251), (251, 1), (252, 251)]);
        // One outgrows its place, one is gone, one is new and fits into the gap.
        let after = tables(&[(1, 9), (3, 2), (4, 4)], &before, &[]);
        assert_eq!([0, 1, 2].map(|it| run(&after, it)), [(503, 1021), (252, 251), (0, 251)]);
        let slots =
            |tables: &Tables| tables.slots.range(252..503).map(|(_, it)| *it).collect::<Vec<_>>();
        assert_eq!(slots(&before), slots(&after));
    }

    #[test]
    fn one_that_is_down_leaves_its_slots_and_keeps_its_flows() {
        let before = tables(&[(1, 3), (2, 1)], &Tables::default(), &[]);
        let keys: Vec<_> = before.backends.keys().copied().collect();
        let after = tables(&[(1, 3), (2, 1)], &before, &keys[..1]);
        assert_eq!(run(&after, 0), run(&before, 0));
        let gone = keys[0].address;
        assert!(!after.slots.range(..251).any(|(_, address)| *address == gone));
        assert_eq!(after.backends[&keys[0]].state(), BackendState::Down);
        let none = tables(&[(1, 3), (2, 1)], &after, &keys);
        assert_eq!([0, 1].map(|it| run(&none, it)), [(0, 0), (251, 0)]);
        assert_eq!(none.backends.len(), 4);
        assert_eq!(tables(&[(1, 3), (2, 1)], &none, &[]), before);
    }
}
