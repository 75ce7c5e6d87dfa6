//! The content of the maps that configuration determines: read, compared with what is wanted, changed.
//!
//! A change of any entry comes with a new generation, under which the programs judge every flow anew;
//! but not one of where new flows go alone.
//! The settings of the next generation are written to the slot that is not in force before the first
//! entry changes. If the process dies half way, the next one sees them there and takes a new generation
//! even if it finds nothing else to change.

use std::collections::BTreeMap;

use gateway_common::{
    TransitAddress,
    desired::Tables,
    map::{
        Allows, Backends, Counters, Current, Flows, Map, Names, Nats, OpeningNats, Openings, Ports,
        Presences, Routes, Service, ServiceKind, Services, Settings, SettingsSlots, Slots, Usages,
    },
};
use thiserror::Error;

use crate::{
    changes::{Change, concern_new_flows_only, diff},
    object::opening_capacity,
    pins::Pins,
    table::{PerCpuTable, Table, TableError},
};

/// What can go wrong when tables are changed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The maps cannot be read.
    #[error(transparent)]
    Read(#[from] TableError),
    /// A change failed; everything is as it was before.
    #[error("the new tables do not fit into the maps; the old ones are in force still")]
    RolledBack(#[source] TableError),
    /// A change failed, and so did the way back.
    #[error(
        "the new tables do not fit into the maps, and the way back failed too ({back}): some entries are new, some old, and none allows more than either. Mend the cause and apply again"
    )]
    Mixed {
        /// Why the change failed.
        #[source]
        source: Box<TableError>,
        /// Why the way back failed.
        back: Box<TableError>,
    },
}

/// The content of the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What configuration determines; `settings.generation` is 0.
    pub tables: Tables,
    /// The generation in force, 0 if none is.
    pub generation: u32,
    /// A change was begun and never finished.
    pub interrupted: bool,
}

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The generation in force now.
    pub generation: u32,
    /// How many entries changed; the settings count as one.
    pub changes: usize,
}

/// The maps of one instance.
pub(crate) struct Maps {
    pub(crate) allows: Table<Allows>,
    pub(crate) backends: Table<Backends>,
    pub(crate) counters: PerCpuTable<Counters>,
    pub(crate) current: Table<Current>,
    pub(crate) flows: Table<Flows>,
    pub(crate) names: Table<Names>,
    pub(crate) nats: Table<Nats>,
    pub(crate) opening_nats: Table<OpeningNats>,
    pub(crate) openings: Table<Openings>,
    pub(crate) ports: Table<Ports>,
    pub(crate) presences: Table<Presences>,
    pub(crate) routes: Table<Routes>,
    pub(crate) services: Table<Services>,
    pub(crate) settings: Table<SettingsSlots>,
    pub(crate) slots: Table<Slots>,
    pub(crate) usages: Table<Usages>,
}

impl Maps {
    pub(crate) fn open(pins: &Pins, flow_capacity: u32) -> Result<Self, TableError> {
        fn open<M: Map>(pins: &Pins) -> Result<Table<M>, TableError> {
            Table::open(&pins.map(M::NAME), M::CAPACITY)
        }
        let opening = opening_capacity(flow_capacity);
        Ok(Self {
            allows: open(pins)?,
            backends: open(pins)?,
            counters: PerCpuTable::open(&pins.map(Counters::NAME))?,
            current: open(pins)?,
            flows: Table::open(&pins.map(Flows::NAME), flow_capacity)?,
            names: open(pins)?,
            nats: Table::open(&pins.map(Nats::NAME), flow_capacity)?,
            opening_nats: Table::open(&pins.map(OpeningNats::NAME), opening)?,
            openings: Table::open(&pins.map(Openings::NAME), opening)?,
            ports: open(pins)?,
            presences: open(pins)?,
            routes: open(pins)?,
            services: open(pins)?,
            settings: open(pins)?,
            slots: open(pins)?,
            usages: open(pins)?,
        })
    }

    /// The settings in force with their generation, if any are.
    pub(crate) fn settings(&self) -> Result<Option<Settings>, TableError> {
        match self.generation()? {
            0 => Ok(None),
            generation => self.settings.find(&slot(generation)),
        }
    }

    pub(crate) fn observe(&self) -> Result<Observed, TableError> {
        let generation = self.generation()?;
        let next = self.settings.find(&slot(following(generation)))?.unwrap_or_default();
        let now = self.settings()?.unwrap_or_default();
        // No entry is ever set beyond the pool of the settings that are in force or next.
        let pool = end(&now).max(end(&next));
        let services: BTreeMap<TransitAddress, Service> =
            self.services.entries().collect::<Result<_, _>>()?;
        // Nor is any slot ever read that is in no service's run.
        let slots = services.values().map(end_of_run).max().unwrap_or(0);
        Ok(Observed {
            tables: Tables {
                settings: Settings { generation: 0, ..now },
                presences: self.presences.filled(pool).collect::<Result<_, _>>()?,
                routes: self.routes.filled(Routes::CAPACITY).collect::<Result<_, _>>()?,
                services,
                slots: self.slots.filled(slots).collect::<Result<_, _>>()?,
                backends: self.backends.entries().collect::<Result<_, _>>()?,
                ports: self.ports.entries().collect::<Result<_, _>>()?,
                allows: self.allows.entries().collect::<Result<_, _>>()?,
                names: self.names.entries().collect::<Result<_, _>>()?,
            },
            generation,
            interrupted: next.generation == following(generation),
        })
    }

    /// Makes the maps hold `desired`, and brings it into force under a new generation unless they
    /// hold it already.
    pub(crate) fn apply(&mut self, desired: &Tables) -> Result<Applied, ApplyError> {
        let observed = self.observe()?;
        let changes = diff(desired, &observed.tables);
        let wanted = Settings { generation: 0, ..desired.settings };
        let new_settings = wanted != observed.tables.settings;
        if changes.is_empty() && !new_settings && !observed.interrupted && observed.generation != 0
        {
            return Ok(Applied { generation: observed.generation, changes: 0 });
        }
        let unjudged = !new_settings && !observed.interrupted && observed.generation != 0;
        if unjudged && concern_new_flows_only(&changes, &observed.tables) {
            return self.redirect_new_flows(&changes, &observed);
        }
        let generation = following(observed.generation);
        let settings = Settings { generation, ..wanted };
        self.settings.set(&slot(generation), &settings)?;
        let mut made = 0;
        let result = changes.iter().try_for_each(|change| {
            made += 1;
            self.make(change)
        });
        let result = result.and_then(|()| self.current.set(&0, &generation));
        match result {
            Ok(()) => {
                let changes = changes.len() + usize::from(new_settings);
                Ok(Applied { generation, changes })
            }
            Err(source) => Err(match self.roll_back(&changes[..made], &observed) {
                Ok(()) => ApplyError::RolledBack(source),
                Err(back) => ApplyError::Mixed { source: Box::new(source), back: Box::new(back) },
            }),
        }
    }

    /// Makes changes that open flows need not be judged anew for.
    fn redirect_new_flows(
        &mut self,
        changes: &[Change],
        observed: &Observed,
    ) -> Result<Applied, ApplyError> {
        for (made, change) in changes.iter().enumerate() {
            let Err(source) = self.make(change) else { continue };
            let undone = changes[..=made].iter().rev();
            let mut back = undone.map(|change| change.inverse(&observed.tables));
            return Err(match back.try_for_each(|change| self.make(&change)) {
                Ok(()) => ApplyError::RolledBack(source),
                Err(back) => ApplyError::Mixed { source: Box::new(source), back: Box::new(back) },
            });
        }
        Ok(Applied { generation: observed.generation, changes: changes.len() })
    }

    /// Undoes `made`. Flows may have been opened under entries that were there for a moment, so the old
    /// settings come into force under a generation of their own.
    fn roll_back(&mut self, made: &[Change], observed: &Observed) -> Result<(), TableError> {
        for change in made.iter().rev() {
            self.make(&change.inverse(&observed.tables))?;
        }
        if observed.generation == 0 {
            return self.settings.remove(&slot(following(0)));
        }
        let generation = following(observed.generation);
        let settings = Settings { generation, ..observed.tables.settings };
        self.settings.set(&slot(generation), &settings)?;
        self.current.set(&0, &generation)
    }

    fn make(&mut self, change: &Change) -> Result<(), TableError> {
        match change {
            Change::Presence(key, value) => put(&mut self.presences, key, value.as_ref()),
            Change::Route(key, value) => put(&mut self.routes, key, value.as_ref()),
            Change::Service(key, value) => put(&mut self.services, key, value.as_ref()),
            Change::Slot(key, value) => put(&mut self.slots, key, value.as_ref()),
            Change::Backend(key, value) => put(&mut self.backends, key, value.as_ref()),
            Change::Port(key, value) => put(&mut self.ports, key, value.as_ref()),
            Change::Allow(key, value) => put(&mut self.allows, key, value.as_ref()),
            Change::Name(key, value) => put(&mut self.names, key, value.as_ref()),
        }
    }

    fn generation(&self) -> Result<u32, TableError> {
        Ok(self.current.find(&0)?.unwrap_or(0))
    }
}

fn put<M: Map>(
    table: &mut Table<M>,
    key: &M::Key,
    value: Option<&M::Value>,
) -> Result<(), TableError> {
    match value {
        Some(value) => table.set(key, value),
        None => table.remove(key),
    }
}

/// The generation after this one. 0 means that nothing is in force and is left out; the number after
/// an odd one is even, as the two slots need it.
const fn following(generation: u32) -> u32 {
    match generation.checked_add(1) {
        Some(next) => next,
        None => 2,
    }
}

/// Where the settings of a generation are.
const fn slot(generation: u32) -> u32 {
    generation & 1
}

/// One more than the last offset in the pool of these settings; 0 if they were never set.
fn end(settings: &Settings) -> u32 {
    match settings.generation {
        0 => 0,
        _ => settings.pool.last_offset().saturating_add(1),
    }
}

/// One more than the last slot of a service.
fn end_of_run(service: &Service) -> u32 {
    match service.kind() {
        ServiceKind::Here { first, count } => first.saturating_add(count),
        ServiceKind::Elsewhere { .. } | ServiceKind::Unknown => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_alternate_between_the_slots_for_ever() {
        for generation in [0, 1, 2, 77, u32::MAX - 1, u32::MAX] {
            assert_ne!(slot(generation), slot(following(generation)));
            assert_ne!(following(generation), 0);
        }
    }
}
