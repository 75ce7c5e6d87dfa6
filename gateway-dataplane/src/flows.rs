//! The flow table from outside: who talks to whom, and making room for those who come.
//!
//! The programs never wait for the sweeper: to them a flow that timed out is gone, whether its entry
//! is there or not.

use std::collections::BTreeMap;

use gateway_common::{
    Ticks,
    map::{Flow, FlowCount, FlowKey, NatKey, Plain, Route, Settings, UsageKey},
    tables::Stage,
};
use nix::time::{ClockId, clock_gettime};

use crate::{state::Maps, table::TableError};

/// What a sweep found and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Flows that were looked at.
    pub flows: usize,
    /// Flows that had timed out.
    pub flows_removed: usize,
    /// Reserved ports that were looked at.
    pub ports: usize,
    /// Reserved ports whose flow is gone.
    pub ports_removed: usize,
}

/// The moment, by the clock that the programs read.
pub fn now() -> Ticks {
    // Linux has this clock since 2.6.32; the call fails for unknown clocks only.
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Ticks(0), |time| {
        let nanoseconds = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
        Ticks::from_nanoseconds(nanoseconds)
    })
}

/// Most entries of one table that a sweep removes; those beyond go in the next.
const BATCH: usize = 65_536;
/// Removes what timed out. A sweep is one walk over the tables, so bounded by their capacity.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    /// Reserved ports that had no flow at the last sweep. The programs reserve a port just before they
    /// add its flow, so one sweep alone cannot tell a lost port from a new one.
    suspects: BTreeMap<Bytes, FlowKey>,
}

impl Sweeper {
    pub(crate) fn sweep(&mut self, maps: &mut Maps, now: Ticks) -> Result<Swept, TableError> {
        let Some(settings) = maps.settings()? else { return Ok(Swept::default()) };
        let mut swept = Swept::default();
        let mut usage = Usage::new(&settings);
        for stage in STAGES {
            let mut over = Vec::new();
            for entry in entries(maps, stage) {
                let (key, flow) = entry?;
                swept.flows += 1;
                if is_over(&flow, &settings, now) && over.len() < BATCH {
                    over.push(key);
                } else {
                    usage.count(maps, &key)?;
                }
            }
            for key in over {
                // Looked at again, lest a flow that was opened anew since is taken for the old one.
                if find(maps, stage, &key)?.is_some_and(|flow| is_over(&flow, &settings, now)) {
                    remove_flow(maps, stage, &key)?;
                    swept.flows_removed += 1;
                }
            }
        }
        usage.write(maps)?;
        let suspects = std::mem::take(&mut self.suspects);
        for stage in STAGES {
            let mut lost = Vec::new();
            for entry in nat_entries(maps, stage) {
                let (nat, key) = entry?;
                swept.ports += 1;
                if is_used(maps, stage, &nat, &key)? {
                    continue;
                }
                if suspects.get(&bytes(&nat)) == Some(&key) {
                    lost.push((nat, key));
                } else if self.suspects.len() < BATCH {
                    self.suspects.insert(bytes(&nat), key);
                }
            }
            for (nat, key) in lost {
                remove_nat(maps, stage, &nat)?;
                // Should its flow have been opened this very moment, the port is its own again.
                if is_used(maps, stage, &nat, &key)? {
                    set_nat(maps, stage, &nat, &key)?;
                } else {
                    swept.ports_removed += 1;
                }
            }
        }
        Ok(swept)
    }
}

/// Both stages of a flow.
pub(crate) const STAGES: [Stage; 2] = [Stage::Confirmed, Stage::Opening];

/// How many flows each client and each other site has, counted anew.
struct Usage<'a> {
    settings: &'a Settings,
    flows: BTreeMap<[u8; 8], u64>,
}

impl<'a> Usage<'a> {
    fn new(settings: &'a Settings) -> Self {
        Self { settings, flows: BTreeMap::new() }
    }

    fn count(&mut self, maps: &Maps, key: &FlowKey) -> Result<(), TableError> {
        if self.settings.client_flows != 0 {
            self.add(UsageKey::client(key.client));
        }
        if self.settings.site_flows != 0 {
            let granule = Route::granule(&self.settings.transit, key.client);
            let route = maps.routes.find(&granule)?.unwrap_or_default();
            if route.is_set() && !route.is_own() {
                self.add(UsageKey::site(route.site));
            }
        }
        Ok(())
    }

    fn add(&mut self, of: UsageKey) {
        *self.flows.entry(zerocopy::transmute!(of)).or_default() += 1;
    }

    /// Sets the programs' counts right, and drops those of whoever has no flow.
    fn write(self, maps: &mut Maps) -> Result<(), TableError> {
        for (of, _) in once::<_, _, 8>(maps.usages.entries())? {
            let bytes: [u8; 8] = zerocopy::transmute!(of);
            if !self.flows.contains_key(&bytes) {
                maps.usages.remove(&of)?;
            }
        }
        for (of, flows) in self.flows {
            maps.usages.set(&zerocopy::transmute!(of), &FlowCount(flows))?;
        }
        Ok(())
    }
}

/// All flows, confirmed or not, each once, ordered by the bytes of their keys.
pub(crate) fn all_flows(maps: &Maps) -> Result<Vec<(FlowKey, Flow)>, TableError> {
    once::<_, _, 16>(each_flow(maps))
}

/// Flows one by one, unconfirmed ones first: one that is confirmed meanwhile comes twice, but is not
/// missed.
pub(crate) fn each_flow(
    maps: &Maps,
) -> impl Iterator<Item = Result<(FlowKey, Flow), TableError>> + '_ {
    maps.openings.entries().chain(maps.flows.entries())
}

/// All reserved ports, likewise.
pub(crate) fn all_nats(maps: &Maps) -> Result<Vec<(NatKey, FlowKey)>, TableError> {
    once::<_, _, 16>(maps.opening_nats.entries().chain(maps.nats.entries()))
}

type Entries<'a, K, V> = Box<dyn Iterator<Item = Result<(K, V), TableError>> + 'a>;

/// The flows at a stage; while the programs add and remove some, one may be missed or come twice.
fn entries(maps: &Maps, stage: Stage) -> Entries<'_, FlowKey, Flow> {
    match stage {
        Stage::Opening => Box::new(maps.openings.entries()),
        Stage::Confirmed => Box::new(maps.flows.entries()),
    }
}

/// The ports reserved at a stage, likewise.
fn nat_entries(maps: &Maps, stage: Stage) -> Entries<'_, NatKey, FlowKey> {
    match stage {
        Stage::Opening => Box::new(maps.opening_nats.entries()),
        Stage::Confirmed => Box::new(maps.nats.entries()),
    }
}

fn find(maps: &Maps, stage: Stage, key: &FlowKey) -> Result<Option<Flow>, TableError> {
    match stage {
        Stage::Opening => maps.openings.find(key),
        Stage::Confirmed => maps.flows.find(key),
    }
}

fn remove_flow(maps: &mut Maps, stage: Stage, key: &FlowKey) -> Result<(), TableError> {
    match stage {
        Stage::Opening => maps.openings.remove(key),
        Stage::Confirmed => maps.flows.remove(key),
    }
}

fn remove_nat(maps: &mut Maps, stage: Stage, nat: &NatKey) -> Result<(), TableError> {
    match stage {
        Stage::Opening => maps.opening_nats.remove(nat),
        Stage::Confirmed => maps.nats.remove(nat),
    }
}

fn set_nat(maps: &mut Maps, stage: Stage, nat: &NatKey, key: &FlowKey) -> Result<(), TableError> {
    match stage {
        Stage::Opening => maps.opening_nats.set(nat, key),
        Stage::Confirmed => maps.nats.set(nat, key),
    }
}

/// A key of either table, byte by byte.
type Bytes = [u8; 16];

fn bytes<K: Plain, const N: usize>(key: &K) -> [u8; N] {
    const { assert!(size_of::<K>() == N) };
    let mut bytes = [0; N];
    bytes.copy_from_slice(key.as_bytes());
    bytes
}

fn once<K: Plain, V, const N: usize>(
    entries: impl Iterator<Item = Result<(K, V), TableError>>,
) -> Result<Vec<(K, V)>, TableError> {
    let entries = entries.map(|entry| entry.map(|(key, value)| (bytes(&key), (key, value))));
    let entries: BTreeMap<[u8; N], (K, V)> = entries.collect::<Result<_, _>>()?;
    Ok(entries.into_values().collect())
}

/// Whether a flow has been idle for longer than its time-out, with as much to spare as the clocks of
/// two CPUs may differ: one just over is the programs' to judge.
fn is_over(flow: &Flow, settings: &Settings, now: Ticks) -> bool {
    const SPARE: u32 = Ticks::PER_SECOND;
    now.since(flow.seen) > settings.timeouts.of(flow).saturating_add(SPARE)
}

/// Whether the flow that a port is reserved for lives and uses that port.
fn is_used(maps: &Maps, stage: Stage, nat: &NatKey, key: &FlowKey) -> Result<bool, TableError> {
    let flow = find(maps, stage, key)?;
    Ok(flow.is_some_and(|flow| {
        flow.client_port == nat.client_port
            && flow.client == nat.clients
            && flow.service == nat.backend
            && flow.service_port == nat.backend_port
    }))
}

#[cfg(test)]
mod tests {
    use gateway_common::map::{FlowState, Timeouts};

    use super::*;

    #[test]
    fn only_the_idle_are_over() {
        let settings = Settings {
            timeouts: Timeouts::from_milliseconds([1000; FlowState::COUNT]),
            ..Settings::default()
        };
        let mut flow = Flow::default();
        flow.seen = Ticks(u32::MAX - 10);
        let after = |ticks: u32| Ticks(flow.seen.0.wrapping_add(ticks));
        assert!(!is_over(&flow, &settings, after(0)));
        assert!(!is_over(&flow, &settings, after(59)));
        assert!(is_over(&flow, &settings, after(200)));
        assert!(!is_over(&flow, &settings, Ticks(flow.seen.0 - 1)));
    }
}
