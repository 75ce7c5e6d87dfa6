//! What a program asked its maps about a packet, in order: the same packet path, run here on the same
//! frame, with the entries that the kernel has now, and every question noted. The kernel's own answer
//! stays what counts; this tells how it came about.
//!
//! Nothing is written: as in the kernel's dry run, what would be added counts as added.

use std::cell::RefCell;

use gateway_common::desired::Tables;
use gateway_common::host::{Bytes, Verdicts};
use gateway_common::map::{
    Allow, AllowKey, BackendKey, Counter, Flow, FlowCount, FlowKey, Flows, FragmentHead,
    FragmentKey, Fragmented, Fragments, NatKey, Nats, OpeningNats, Openings, PortKey, PortMapping,
    Presence, Route, Service, Settings, UsageKey, Usages,
};
use gateway_common::path::{self, Arrival};
use gateway_common::tables::{self, Carried, FlowSlot, FragmentSlot, Insertion, Stage};
use gateway_common::verdict::{ErrorMessage, Verdict, Way};
use gateway_common::{LocalAddress, TransitAddress};
use gateway_dataplane::{InspectError, Inspector, Program};

/// The entries that programs write, as they are now.
pub(crate) trait Live {
    /// The flow with this key, at this stage.
    fn flow(&self, stage: Stage, key: &FlowKey) -> Result<Option<Flow>, InspectError>;
    /// The flow that a back end's reply belongs to.
    fn nat(&self, stage: Stage, key: &NatKey) -> Result<Option<FlowKey>, InspectError>;
    /// How many flows somebody has.
    fn usage(&self, of: &UsageKey) -> Result<u64, InspectError>;
    /// The datagram in fragments with this key.
    fn fragments(&self, key: &FragmentKey) -> Result<Option<Fragmented>, InspectError>;
}

impl Live for Inspector {
    fn flow(&self, stage: Stage, key: &FlowKey) -> Result<Option<Flow>, InspectError> {
        match stage {
            Stage::Opening => self.entry::<Openings>(key),
            Stage::Confirmed => self.entry::<Flows>(key),
        }
    }

    fn nat(&self, stage: Stage, key: &NatKey) -> Result<Option<FlowKey>, InspectError> {
        match stage {
            Stage::Opening => self.entry::<OpeningNats>(key),
            Stage::Confirmed => self.entry::<Nats>(key),
        }
    }

    fn usage(&self, of: &UsageKey) -> Result<u64, InspectError> {
        Ok(self.entry::<Usages>(of)?.map_or(0, |FlowCount(count)| count))
    }

    fn fragments(&self, key: &FragmentKey) -> Result<Option<Fragmented>, InspectError> {
        self.entry::<Fragments>(key)
    }
}

/// A question to the maps, and what they held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    /// What an address of the presence pool stands for, by its offset.
    Presence(u32, Option<Presence>),
    /// Who owns a granule of the transit pool.
    Route(u32, Option<Route>),
    /// The service with a transit address.
    Service(TransitAddress, Option<Service>),
    /// The back end for a new flow.
    Slot(Option<LocalAddress>),
    /// Whether a flow may stay on a back end.
    Backend(BackendKey, bool),
    /// Whether a port is declared.
    Port(PortKey, Option<PortMapping>),
    /// Whether a client may use a service.
    Allow(AllowKey, Option<Allow>),
    /// A flow.
    Flow(FlowKey, Option<Flow>),
    /// A flow would be added.
    Opened(FlowKey, Flow),
    /// The flow that a reply of a back end belongs to, or that holds a port.
    Nat(NatKey, Option<FlowKey>),
    /// A port would be reserved.
    Reserved(NatKey),
    /// How many flows somebody has.
    Usage(UsageKey, u64),
    /// A datagram in fragments.
    Fragments(FragmentKey, Option<Fragmented>),
}

/// How a verdict came about.
#[derive(Clone, Debug)]
pub(crate) struct Replayed {
    /// The verdict.
    pub counter: Counter,
    /// The way out, if it is forwarded.
    pub way: Option<Way>,
    /// What its sender is told, if it is refused and the sender told why.
    pub told: Option<ErrorMessage>,
    /// What was asked, in order.
    pub asked: Vec<Asked>,
}

/// Runs the path of `program` on `frame`.
pub(crate) fn replay(
    program: Program,
    frame: &[u8],
    arrival: Arrival,
    tables: &Tables,
    live: &impl Live,
) -> Result<Replayed, InspectError> {
    let (asked, failed) = (RefCell::default(), RefCell::default());
    let notes = Notes { tables, live, asked, failed };
    let frame = Bytes(frame);
    let verdict = match program {
        Program::Guard => path::guard(&frame, &notes, arrival, &Verdicts),
        Program::LanIngress => path::lan(&frame, &notes, arrival, &Verdicts),
        Program::LinkIngress => path::link(&frame, &notes, arrival, &Verdicts),
    };
    if let Some(error) = notes.failed.into_inner() {
        return Err(error);
    }
    let (way, told) = match verdict {
        Verdict::Forward(forward) => (Some(forward.egress.way), None),
        Verdict::Tell(tell) => (None, Some(tell.message)),
        Verdict::Pass | Verdict::Refuse(_) | Verdict::Answer(_) => (None, None),
    };
    let counter = verdict.counter();
    Ok(Replayed { counter, way, told, asked: notes.asked.into_inner() })
}

/// Tables that note what they are asked.
struct Notes<'a, L> {
    tables: &'a Tables,
    live: &'a L,
    asked: RefCell<Vec<Asked>>,
    /// The first error of `live`.
    failed: RefCell<Option<InspectError>>,
}

impl<L: Live> Notes<'_, L> {
    fn note(&self, asked: Asked) {
        self.asked.borrow_mut().push(asked);
    }

    /// What is there now; nothing if it cannot be read, which fails the whole replay.
    fn read<T: Default>(&self, found: Result<T, InspectError>) -> T {
        found.unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            T::default()
        })
    }
}

impl<L: Live> tables::Tables for Notes<'_, L> {
    type Slot = Slot;
    type Fragments = Datagram;

    fn settings(&self) -> Option<&Settings> {
        (self.tables.settings.generation != 0).then_some(&self.tables.settings)
    }

    fn presence(&self, offset: u32) -> Option<Presence> {
        let found = self.tables.presences.get(&offset).copied();
        self.note(Asked::Presence(offset, found));
        Some(found.unwrap_or_default())
    }

    fn route(&self, granule: u32) -> Option<Route> {
        let found = self.tables.routes.get(&granule).copied();
        self.note(Asked::Route(granule, found));
        Some(found.unwrap_or_default())
    }

    fn service(&self, address: TransitAddress) -> Option<Service> {
        let found = self.tables.services.get(&address).copied();
        self.note(Asked::Service(address, found));
        found
    }

    fn slot(&self, number: u32) -> Option<LocalAddress> {
        let found = self.tables.slots.get(&number).copied();
        self.note(Asked::Slot(found));
        found
    }

    fn keeps_flows(&self, backend: &BackendKey) -> bool {
        let found = self.tables.backends.contains_key(backend);
        self.note(Asked::Backend(*backend, found));
        found
    }

    fn port(&self, key: &PortKey) -> Option<PortMapping> {
        let covering = self.tables.ports.iter().filter(|(candidate, _)| candidate.covers(key));
        let longest = covering.max_by_key(|(candidate, _)| candidate.bits());
        let found = longest.map(|(_, mapping)| *mapping);
        self.note(Asked::Port(*key, found));
        found
    }

    fn allow(&self, key: &AllowKey) -> Option<Allow> {
        let covering = self.tables.allows.iter().filter(|(candidate, _)| candidate.covers(key));
        let longest = covering.max_by_key(|(candidate, _)| candidate.bits());
        let found = longest.map(|(_, allow)| *allow);
        self.note(Asked::Allow(*key, found));
        found
    }

    fn flow(&self, stage: Stage, key: &FlowKey) -> Option<Slot> {
        let found = self.read(self.live.flow(stage, key));
        self.note(Asked::Flow(*key, found));
        found.map(Slot)
    }

    fn insert_flow(&self, _: Stage, key: &FlowKey, flow: &Flow) -> Insertion {
        self.note(Asked::Opened(*key, *flow));
        Insertion::Inserted
    }

    fn remove_flow(&self, _: Stage, _: &FlowKey) {}

    fn nat(&self, stage: Stage, key: &NatKey) -> Option<FlowKey> {
        let found = self.read(self.live.nat(stage, key));
        self.note(Asked::Nat(*key, found));
        found
    }

    fn insert_nat(&self, _: Stage, key: &NatKey, _: &FlowKey) -> Insertion {
        self.note(Asked::Reserved(*key));
        Insertion::Inserted
    }

    fn remove_nat(&self, _: Stage, _: &NatKey) {}

    fn usage(&self, of: &UsageKey) -> u64 {
        let found = self.read(self.live.usage(of));
        self.note(Asked::Usage(*of, found));
        found
    }

    fn use_more(&self, _: &UsageKey) {}

    fn fragments(&self, key: &FragmentKey) -> Option<Datagram> {
        let found = self.read(self.live.fragments(key));
        self.note(Asked::Fragments(*key, found));
        found.map(Datagram)
    }

    fn add_fragments(&self, _: &FragmentKey) -> Insertion {
        Insertion::Inserted
    }

    fn remove_fragments(&self, _: &FragmentKey) {}

    fn count(&self, _: Counter) {}
}

/// A flow as it was found.
struct Slot(Flow);

impl FlowSlot for Slot {
    fn read(&self) -> Flow {
        self.0
    }

    fn carried(&self, _: Carried) {}

    fn judged(&self, _: u32) {}
}

/// A datagram in fragments as it was found.
struct Datagram(Fragmented);

impl FragmentSlot for Datagram {
    fn head(&self) -> FragmentHead {
        self.0.head
    }

    fn may_change(&self) -> bool {
        false
    }

    fn set_head(&self, _: FragmentHead) {}

    fn seen(&self, place: usize) -> u32 {
        self.0.seen.get(place).copied().unwrap_or(0)
    }

    fn set_seen(&self, _: usize, _: u32) {}
}
