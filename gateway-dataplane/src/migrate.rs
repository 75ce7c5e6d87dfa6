//! Taking a data path over from a build with another map ABI, without ending its flows.
//!
//! Called by [`crate::DataPlane`], which has loaded its own programs and maps beside the earlier ones and
//! brought its tables into force. From there:
//!
//! 1. Flows and reserved ports are copied into the new maps, field by field.
//! 2. The pins of what is attached are moved to the new version's directory. Nothing is detached.
//! 3. Each program is replaced by its successor inside its attachment. Until then the old one translates
//!    by the old maps, from then on the new one by the new maps: no packet passes untranslated.
//! 4. What the old programs opened or changed since is copied. A packet of a connection that was opened
//!    in between may be refused, and is sent again.
//! 5. The old pins are removed.
//!
//! A process that dies at any step leaves the old maps until the last one; the next start does all steps
//! again. What it finds done, it does not do twice: an entry is written if it is missing, or older than
//! the earlier map's.

mod descriptor;
mod raw;

use std::collections::BTreeMap;

use gateway_common::{
    map::{Flow, FlowKey, FlowState, Flows, Kind, Map, NatKey, Nats, OpeningNats, Openings},
    tables::Stage,
};
use zerocopy::IntoBytes as _;

use self::descriptor::Descriptor;
pub(crate) use self::descriptor::known;
use crate::{
    pins::{Pins, PinsError},
    state::Maps,
    table::{Table, TableError},
};

/// Whether flows can be taken over from that ABI.
pub(crate) fn is_known(abi: u32) -> bool {
    known().any(|number| number == abi)
}

/// What [`Earlier::copy`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Flows that were copied, or brought up to date.
    pub flows: usize,
    /// Flows for which there is no room, or whose port is another flow's now.
    pub lost: usize,
}

/// The data path of an earlier ABI.
#[derive(Debug)]
pub(crate) struct Earlier {
    pins: Pins,
    descriptor: Descriptor,
}

impl Earlier {
    /// The data path that has these pins.
    pub(crate) fn new(pins: Pins) -> Option<Self> {
        Some(Self { descriptor: Descriptor::of(pins.abi())?, pins })
    }

    /// Its pins.
    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The number of its ABI.
    pub(crate) fn abi(&self) -> u32 {
        self.pins.abi()
    }

    /// Copies flows with their reserved ports. Each is judged anew with its next packet: the generation
    /// that last judged it belongs to other tables.
    pub(crate) fn copy(&self, maps: &mut Maps) -> Result<TakenOver, TableError> {
        let mut taken = TakenOver::default();
        for (flows, nats, kind) in [
            (Flows::NAME, Nats::NAME, Flows::KIND),
            (Openings::NAME, OpeningNats::NAME, Openings::KIND),
        ] {
            let reserved = self.reserved(nats, kind)?;
            let Some(layout) = self.descriptor.map(flows) else { continue };
            raw::each(&self.pins.map(flows), flows, kind, layout, &mut |key, value| {
                let key: FlowKey = layout.key.translate(key);
                let mut flow: Flow = layout.value.translate(value);
                flow.generation = 0;
                let nat = NatKey::new(flow.endpoints(), key.protocol);
                let nat = (reserved.get(nat.as_bytes()) == Some(&key)).then_some(nat);
                let done = match stage(flow.state()) {
                    Stage::Confirmed => {
                        take(&mut maps.flows, &mut maps.nats, &key, &flow, nat.as_ref())?
                    }
                    Stage::Opening => {
                        let Maps { openings, opening_nats, .. } = maps;
                        take(openings, opening_nats, &key, &flow, nat.as_ref())?
                    }
                };
                match done {
                    Taken::Written => taken.flows += 1,
                    Taken::Known => {}
                    Taken::NoRoom => taken.lost += 1,
                }
                Ok(())
            })?;
        }
        Ok(taken)
    }

    /// Makes the attachments those of `successor`.
    pub(crate) fn hand_over(&self, successor: &Pins) -> Result<(), PinsError> {
        successor.adopt_interfaces(&self.pins)
    }

    /// Removes everything that is left.
    pub(crate) fn remove(&self) -> Result<(), PinsError> {
        self.pins.remove()
    }

    /// Reserved ports by the bytes of their keys, with their flows.
    fn reserved(
        &self,
        nats: &'static str,
        kind: Kind,
    ) -> Result<BTreeMap<Vec<u8>, FlowKey>, TableError> {
        let mut reserved = BTreeMap::new();
        let Some(layout) = self.descriptor.map(nats) else { return Ok(reserved) };
        raw::each(&self.pins.map(nats), nats, kind, layout, &mut |key, value| {
            let key: NatKey = layout.key.translate(key);
            reserved.insert(key.as_bytes().to_vec(), layout.value.translate(value));
            Ok(())
        })?;
        Ok(reserved)
    }
}

/// The table for a flow that has come so far: ABI 2 had one for all.
const fn stage(state: FlowState) -> Stage {
    match state {
        FlowState::Opening | FlowState::Accepted | FlowState::Asked => Stage::Opening,
        FlowState::Open
        | FlowState::ClientClosed
        | FlowState::ServiceClosed
        | FlowState::Closed
        | FlowState::Answered => Stage::Confirmed,
    }
}

/// What became of a flow.
enum Taken {
    Written,
    Known,
    NoRoom,
}

/// Writes one flow, its port first: both or neither.
fn take<F, N>(
    flows: &mut Table<F>,
    nats: &mut Table<N>,
    key: &FlowKey,
    flow: &Flow,
    nat: Option<&NatKey>,
) -> Result<Taken, TableError>
where
    F: Map<Key = FlowKey, Value = Flow>,
    N: Map<Key = NatKey, Value = FlowKey>,
{
    if let Some(there) = flows.find(key)? {
        if !is_newer(flow, &there) {
            return Ok(Taken::Known);
        }
        flows.set(key, flow)?;
        return Ok(Taken::Written);
    }
    let mut reserved_now = false;
    if let Some(nat) = nat {
        match full_is_none(nats.add(nat, key))? {
            None => return Ok(Taken::NoRoom),
            Some(added) => reserved_now = added,
        }
        if !reserved_now && nats.find(nat)?.is_some_and(|owner| owner != *key) {
            return Ok(Taken::NoRoom);
        }
    }
    match full_is_none(flows.add(key, flow))? {
        Some(true) => Ok(Taken::Written),
        Some(false) => Ok(Taken::Known),
        None => {
            if let (Some(nat), true) = (nat, reserved_now) {
                nats.remove(nat)?;
            }
            Ok(Taken::NoRoom)
        }
    }
}

fn full_is_none(added: Result<bool, TableError>) -> Result<Option<bool>, TableError> {
    match added {
        Err(TableError::Full { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether `flow` carried a packet after `there` did.
fn is_newer(flow: &Flow, there: &Flow) -> bool {
    flow.seen.since(there.seen) > 0
}

#[cfg(test)]
mod tests {
    use gateway_common::{Ticks, map::layout::COMMITTED};

    use super::*;

    #[test]
    fn every_known_layout_can_be_read() {
        for (number, _) in COMMITTED {
            let Some(descriptor) = Descriptor::of(*number) else { continue };
            let maps = [Flows::NAME, Nats::NAME, Openings::NAME, OpeningNats::NAME];
            for layout in maps.into_iter().filter_map(|map| descriptor.map(map)) {
                assert!(raw::is_readable(layout), "abi {number}: {layout:?}");
            }
        }
    }

    #[test]
    fn the_later_of_two_flows_is_told_across_the_clocks_end() {
        let at = |ticks: u32| {
            let mut flow = Flow::default();
            flow.seen = Ticks(ticks);
            flow
        };
        assert!(is_newer(&at(5), &at(4)) && !is_newer(&at(4), &at(5)));
        assert!(!is_newer(&at(5), &at(5)));
        assert!(is_newer(&at(3), &at(u32::MAX - 3)) && !is_newer(&at(u32::MAX - 3), &at(3)));
    }
}
