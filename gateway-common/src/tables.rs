//! How the packet path reads and changes the maps, wherever they lie.

use crate::{
    LocalAddress, Ticks, TransitAddress,
    map::{
        Allow, AllowKey, BackendKey, Counter, Direction, Flow, FlowKey, FlowState, FragmentHead,
        FragmentKey, NatKey, PortKey, PortMapping, Presence, Route, Service, Settings, UsageKey,
    },
};

/// The maps, as the packet path sees them. A dry run may ignore every change: the path never reads
/// back what it wrote for the same packet.
pub trait Tables {
    /// A flow's place in the table.
    type Slot: FlowSlot;
    /// The place of a datagram in fragments.
    type Fragments: FragmentSlot;

    /// The settings in force; `None` before the first were applied.
    fn settings(&self) -> Option<&Settings>;
    /// What an address of the presence pool stands for.
    fn presence(&self, offset: u32) -> Option<Presence>;
    /// Who owns a granule of the transit pool.
    fn route(&self, granule: u32) -> Option<Route>;
    /// The service with this transit address.
    fn service(&self, address: TransitAddress) -> Option<Service>;
    /// The back end in this slot; none past the end.
    fn slot(&self, number: u32) -> Option<LocalAddress>;
    /// Whether flows may stay on a back end.
    fn keeps_flows(&self, backend: &BackendKey) -> bool;
    /// The longest match among declared ports.
    fn port(&self, key: &PortKey) -> Option<PortMapping>;
    /// The longest match among permissions.
    fn allow(&self, key: &AllowKey) -> Option<Allow>;
    /// The flow with this key, at this stage.
    fn flow(&self, stage: Stage, key: &FlowKey) -> Option<Self::Slot>;
    /// Adds a flow.
    fn insert_flow(&self, stage: Stage, key: &FlowKey, flow: &Flow) -> Insertion;
    /// Forgets a flow.
    fn remove_flow(&self, stage: Stage, key: &FlowKey);
    /// The flow that a back end's reply belongs to.
    fn nat(&self, stage: Stage, key: &NatKey) -> Option<FlowKey>;
    /// Reserves a port of a client presence for a flow.
    fn insert_nat(&self, stage: Stage, key: &NatKey, flow: &FlowKey) -> Insertion;
    /// Gives a port back.
    fn remove_nat(&self, stage: Stage, key: &NatKey);
    /// How many flows somebody has.
    fn usage(&self, of: &UsageKey) -> u64;
    /// Counts one flow more.
    fn use_more(&self, of: &UsageKey);
    /// The datagram in fragments with this key.
    fn fragments(&self, key: &FragmentKey) -> Option<Self::Fragments>;
    /// Adds a datagram of which nothing is known; the least recently used makes room.
    fn add_fragments(&self, key: &FragmentKey) -> Insertion;
    /// Forgets a datagram in fragments.
    fn remove_fragments(&self, key: &FragmentKey);
    /// Counts a packet.
    fn count(&self, counter: Counter);
}

/// Which of the two flow tables: an unconfirmed flow gives way to others, a confirmed one never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not confirmed by both ends yet: [`crate::map::Openings`], [`crate::map::OpeningNats`].
    Opening,
    /// Confirmed: [`crate::map::Flows`], [`crate::map::Nats`].
    Confirmed,
}

/// What became of an attempt to add an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// It is there now.
    Inserted,
    /// An entry with this key was there and is unchanged.
    Exists,
    /// There is no room.
    Full,
}

/// A flow's place in the table. Other CPUs may change the entry between calls.
pub trait FlowSlot {
    /// The flow as it stands.
    fn read(&self) -> Flow;
    /// Notes that the flow carried a packet.
    fn carried(&self, packet: Carried);
    /// Notes that the flow was judged anew under `generation` and may go on.
    fn judged(&self, generation: u32);
}

/// The place of a datagram in fragments. Other CPUs may change the entry between calls, or use it for
/// another datagram.
pub trait FragmentSlot {
    /// What the first fragment said.
    fn head(&self) -> FragmentHead;
    /// Whether it may be changed: not in a dry run.
    fn may_change(&self) -> bool;
    /// Writes what the first fragment says.
    fn set_head(&self, head: FragmentHead);
    /// A word of what has come; `place` is below [`crate::map::Fragmented::SPANS`].
    fn seen(&self, place: usize) -> u32;
    /// Writes a word of what has come.
    fn set_seen(&self, place: usize, word: u32);
}

/// What a packet changes in its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Which way it went.
    pub direction: Direction,
    /// How many packets of the wire it is (more than one with segmentation offload).
    pub packets: u32,
    /// Octets from the IP header on.
    pub bytes: u32,
    /// When.
    pub seen: Ticks,
    /// How far the flow has come with it.
    pub state: FlowState,
}
