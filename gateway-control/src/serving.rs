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
    let mut firsts: Vec<Option<u32>> = Vec::with_capacity(services.len());
    for (service, size) in services.iter().zip(&sizes) {
        let held = serving.services.get(&TransitAddress::from(service.transit));
        let first = held.and_then(|held| match held.kind() {
            ServiceKind::Here { first, .. } => Some(first),
            ServiceKind::Elsewhere { .. } | ServiceKind::Unknown => None,
        });
        let first = first.filter(|first| {
            let fits = first.checked_add(*size).is_some_and(|end| end <= most);
            fits && is_free(&taken, *first, *size)
        });
        if let Some(first) = first {
            taken.insert(first, *size);
        }
        firsts.push(first);
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
