//! The packet path in ordinary memory: tables, frames and an executor for tests and tools. What the
//! kernel half does with maps and helpers, done with a `BTreeMap` and a byte slice.

use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use core::cell::{Cell, RefCell};

use zerocopy::{FromBytes, IntoBytes};

use crate::{
    LocalAddress, Protocol, Reason, TransitAddress, desired,
    frame::{Frame, HEADERS},
    map::{
        Allow, AllowKey, BackendKey, Counter, Flow, FlowKey, FragmentHead, FragmentKey, Fragmented,
        Fragments, Map, NatKey, PortKey, PortMapping, Presence, Route, Service, Settings, UsageKey,
    },
    path::{self, Arrival, Parts},
    tables::{Carried, FlowSlot, FragmentSlot, Insertion, Stage, Tables},
    verdict::{ArpReply, ChecksumEdit, Executor, Forward, PortEdit, Rewrite, Tell, Verdict},
    wire::{IcmpEcho, IcmpError, Ipv4Header},
};

/// A frame in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Frame for Bytes<'_> {
    fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn load<T: FromBytes + Copy>(&self, offset: u32) -> Option<T> {
        if offset >= HEADERS {
            return None;
        }
        let rest = self.0.get(offset as usize..)?;
        T::read_from_prefix(rest).ok().map(|(value, _)| value)
    }
}

/// The maps in memory.
#[derive(Debug, Default)]
pub struct MemoryTables {
    /// What configuration determines. `settings.generation` must not be 0 for the path to work.
    pub desired: desired::Tables,
    /// Most confirmed flows, and ports that they reserve.
    pub capacity: usize,
    /// Most unconfirmed flows, and ports that they reserve; the oldest make room.
    pub opening_capacity: usize,
    opening: Flows,
    confirmed: Flows,
    usages: RefCell<BTreeMap<[u8; 8], u64>>,
    fragments: RefCell<Vec<(FragmentKey, Rc<Cell<Fragmented>>)>>,
    counts: RefCell<BTreeMap<u32, u64>>,
}

/// The flows at one stage, and the ports they reserve.
#[derive(Debug, Default)]
struct Flows {
    flows: RefCell<BTreeMap<[u8; 16], Rc<Cell<Flow>>>>,
    nats: RefCell<BTreeMap<[u8; 16], FlowKey>>,
}

impl MemoryTables {
    /// Tables with this content under generation 1, without flows, for at most `capacity` of them.
    pub fn new(mut desired: desired::Tables, capacity: usize) -> Self {
        desired.settings.generation = 1;
        Self {
            desired,
            capacity,
            opening_capacity: (capacity / 4).clamp(4096, 16_384),
            ..Self::default()
        }
    }

    /// Replaces the content under the next generation; flows stay.
    pub fn replace(&mut self, mut desired: desired::Tables) {
        desired.settings.generation = self.desired.settings.generation + 1;
        self.desired = desired;
    }

    /// All flows, confirmed or not, ordered by the bytes of their keys.
    pub fn flows(&self) -> Vec<(FlowKey, Flow)> {
        let mut all: BTreeMap<[u8; 16], Flow> = BTreeMap::new();
        for stage in [&self.opening, &self.confirmed] {
            all.extend(stage.flows.borrow().iter().map(|(key, flow)| (*key, flow.get())));
        }
        all.into_iter().map(|(key, flow)| (zerocopy::transmute!(key), flow)).collect()
    }

    /// All reserved ports, likewise.
    pub fn nats(&self) -> Vec<(NatKey, FlowKey)> {
        let mut all: BTreeMap<[u8; 16], FlowKey> = BTreeMap::new();
        for stage in [&self.opening, &self.confirmed] {
            all.extend(stage.nats.borrow().iter().map(|(key, flow)| (*key, *flow)));
        }
        all.into_iter().map(|(key, flow)| (zerocopy::transmute!(key), flow)).collect()
    }

    /// How many flows are confirmed.
    pub fn confirmed(&self) -> usize {
        self.confirmed.flows.borrow().len()
    }

    /// Sets how many flows somebody has, as a sweep does.
    pub fn set_usage(&mut self, of: UsageKey, flows: u64) {
        self.usages.get_mut().insert(zerocopy::transmute!(of), flows);
    }

    fn room(&self, stage: Stage) -> usize {
        match stage {
            Stage::Opening => self.opening_capacity,
            Stage::Confirmed => self.capacity,
        }
    }

    fn at(&self, stage: Stage) -> &Flows {
        match stage {
            Stage::Opening => &self.opening,
            Stage::Confirmed => &self.confirmed,
        }
    }

    /// All datagrams in fragments, the least recently used first.
    pub fn fragmented(&self) -> Vec<(FragmentKey, Fragmented)> {
        let fragments = self.fragments.borrow();
        fragments.iter().map(|(key, fragmented)| (*key, fragmented.get())).collect()
    }

    /// How often something was counted.
    pub fn counted(&self, counter: Counter) -> u64 {
        self.counts.borrow().get(&counter.index()).copied().unwrap_or(0)
    }
}

impl Tables for MemoryTables {
    type Slot = MemorySlot;
    type Fragments = MemoryFragments;

    fn settings(&self) -> Option<&Settings> {
        (self.desired.settings.generation != 0).then_some(&self.desired.settings)
    }

    fn presence(&self, offset: u32) -> Option<Presence> {
        Some(self.desired.presences.get(&offset).copied().unwrap_or_default())
    }

    fn route(&self, granule: u32) -> Option<Route> {
        Some(self.desired.routes.get(&granule).copied().unwrap_or_default())
    }

    fn service(&self, address: TransitAddress) -> Option<Service> {
        self.desired.services.get(&address).copied()
    }

    fn slot(&self, number: u32) -> Option<LocalAddress> {
        self.desired.slots.get(&number).copied()
    }

    fn keeps_flows(&self, backend: &BackendKey) -> bool {
        self.desired.backends.contains_key(backend)
    }

    fn port(&self, key: &PortKey) -> Option<PortMapping> {
        let covering = self.desired.ports.iter().filter(|(candidate, _)| candidate.covers(key));
        covering.max_by_key(|(candidate, _)| candidate.bits()).map(|(_, mapping)| *mapping)
    }

    fn allow(&self, key: &AllowKey) -> Option<Allow> {
        let covering = self.desired.allows.iter().filter(|(candidate, _)| candidate.covers(key));
        covering.max_by_key(|(candidate, _)| candidate.bits()).map(|(_, allow)| *allow)
    }

    fn flow(&self, stage: Stage, key: &FlowKey) -> Option<MemorySlot> {
        let key: [u8; 16] = zerocopy::transmute!(*key);
        self.at(stage).flows.borrow().get(&key).map(|flow| MemorySlot(Rc::clone(flow)))
    }

    fn insert_flow(&self, stage: Stage, key: &FlowKey, flow: &Flow) -> Insertion {
        let key: [u8; 16] = zerocopy::transmute!(*key);
        let mut flows = self.at(stage).flows.borrow_mut();
        let room = self.room(stage);
        if stage == Stage::Opening && flows.len() >= room && !flows.contains_key(&key) {
            let oldest = flows.iter().min_by_key(|(_, flow)| flow.get().seen.0);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|oldest| flows.remove(&oldest));
        }
        insert(&mut flows, room, key, || Rc::new(Cell::new(*flow)))
    }

    fn remove_flow(&self, stage: Stage, key: &FlowKey) {
        let key: [u8; 16] = zerocopy::transmute!(*key);
        self.at(stage).flows.borrow_mut().remove(&key);
    }

    fn nat(&self, stage: Stage, key: &NatKey) -> Option<FlowKey> {
        let key: [u8; 16] = zerocopy::transmute!(*key);
        self.at(stage).nats.borrow().get(&key).copied()
    }

    fn insert_nat(&self, stage: Stage, key: &NatKey, flow: &FlowKey) -> Insertion {
        let key: [u8; 16] = zerocopy::transmute!(*key);
        let mut nats = self.at(stage).nats.borrow_mut();
        let room = self.room(stage);
        if stage == Stage::Opening && nats.len() >= room && !nats.contains_key(&key) {
            nats.pop_first();
        }
        insert(&mut nats, room, key, || *flow)
    }

    fn remove_nat(&self, stage: Stage, key: &NatKey) {
        let key: [u8; 16] = zerocopy::transmute!(*key);
        self.at(stage).nats.borrow_mut().remove(&key);
    }

    fn usage(&self, of: &UsageKey) -> u64 {
        let of: [u8; 8] = zerocopy::transmute!(*of);
        self.usages.borrow().get(&of).copied().unwrap_or(0)
    }

    fn use_more(&self, of: &UsageKey) {
        let of: [u8; 8] = zerocopy::transmute!(*of);
        *self.usages.borrow_mut().entry(of).or_default() += 1;
    }

    fn fragments(&self, key: &FragmentKey) -> Option<MemoryFragments> {
        let mut fragments = self.fragments.borrow_mut();
        let place = fragments.iter().position(|(candidate, _)| candidate == key)?;
        let used = fragments.remove(place);
        let slot = MemoryFragments(Rc::clone(&used.1));
        fragments.push(used);
        Some(slot)
    }

    fn add_fragments(&self, key: &FragmentKey) -> Insertion {
        let mut fragments = self.fragments.borrow_mut();
        if fragments.iter().any(|(candidate, _)| candidate == key) {
            return Insertion::Exists;
        }
        if fragments.len() >= Fragments::CAPACITY as usize {
            fragments.remove(0);
        }
        fragments.push((*key, Rc::default()));
        Insertion::Inserted
    }

    fn remove_fragments(&self, key: &FragmentKey) {
        self.fragments.borrow_mut().retain(|(candidate, _)| candidate != key);
    }

    fn count(&self, counter: Counter) {
        *self.counts.borrow_mut().entry(counter.index()).or_default() += 1;
    }
}

fn insert<V>(
    map: &mut BTreeMap<[u8; 16], V>,
    capacity: usize,
    key: [u8; 16],
    value: impl FnOnce() -> V,
) -> Insertion {
    if map.contains_key(&key) {
        Insertion::Exists
    } else if map.len() >= capacity {
        Insertion::Full
    } else {
        map.insert(key, value());
        Insertion::Inserted
    }
}

/// A flow's place in [`MemoryTables`].
#[derive(Clone, Debug)]
pub struct MemorySlot(Rc<Cell<Flow>>);

impl FlowSlot for MemorySlot {
    fn read(&self) -> Flow {
        self.0.get()
    }

    fn carried(&self, packet: Carried) {
        let mut flow = self.0.get();
        let direction = packet.direction as usize;
        flow.seen = packet.seen;
        flow.set_state(packet.state);
        flow.packets[direction] = flow.packets[direction].wrapping_add(packet.packets);
        flow.bytes[direction] = flow.bytes[direction].wrapping_add(u64::from(packet.bytes));
        self.0.set(flow);
    }

    fn judged(&self, generation: u32) {
        let mut flow = self.0.get();
        flow.generation = generation;
        self.0.set(flow);
    }
}

/// The place of a datagram in fragments in [`MemoryTables`].
#[derive(Clone, Debug)]
pub struct MemoryFragments(Rc<Cell<Fragmented>>);

impl FragmentSlot for MemoryFragments {
    fn head(&self) -> FragmentHead {
        self.0.get().head
    }

    fn may_change(&self) -> bool {
        true
    }

    fn set_head(&self, head: FragmentHead) {
        self.0.set(Fragmented { head, ..self.0.get() });
    }

    fn seen(&self, place: usize) -> u32 {
        self.0.get().seen[place]
    }

    fn set_seen(&self, place: usize, word: u32) {
        let mut fragmented = self.0.get();
        fragmented.seen[place] = word;
        self.0.set(fragmented);
    }
}

/// What to do with a frame that came in on a LAN interface; see [`path::lan`].
pub fn lan(frame: &[u8], tables: &MemoryTables, arrival: Arrival) -> Verdict {
    path::lan(&Bytes(frame), tables, arrival, &Verdicts)
}

/// What to do with a packet that came out of a link; see [`path::link`].
pub fn link(frame: &[u8], tables: &MemoryTables, arrival: Arrival) -> Verdict {
    path::link(&Bytes(frame), tables, arrival, &Verdicts)
}

/// What to do with a frame before it enters the stack; see [`path::guard`].
pub fn guard(frame: &[u8], tables: &MemoryTables, arrival: Arrival) -> Verdict {
    path::guard(&Bytes(frame), tables, arrival, &Verdicts)
}

/// Gives the verdict back instead of carrying it out.
#[derive(Clone, Copy, Debug)]
pub struct Verdicts;

impl Executor for Verdicts {
    type Action = Verdict;

    fn pass(&self) -> Verdict {
        Verdict::Pass
    }

    fn refuse(&self, reason: Reason) -> Verdict {
        Verdict::Refuse(reason)
    }

    fn answer(&self, reply: &ArpReply) -> Verdict {
        Verdict::Answer(*reply)
    }

    fn tell(&self, tell: &Tell) -> Verdict {
        Verdict::Tell(*tell)
    }

    fn forward(&self, forward: &Forward) -> Verdict {
        Verdict::Forward(*forward)
    }
}

impl Parts for Verdicts {}

/// Carries a verdict out on a frame in memory, as the kernel half does on a packet. The frame of a
/// verdict made for other bytes may come out wrong but never panics.
pub fn execute(frame: &mut Vec<u8>, verdict: &Verdict) {
    match verdict {
        Verdict::Pass | Verdict::Refuse(_) => {}
        Verdict::Answer(reply) => write(frame, 0, reply.as_bytes()),
        Verdict::Tell(tell) => send_back(frame, tell),
        Verdict::Forward(Forward { rewrite, .. }) => edit(frame, rewrite),
    }
}

fn send_back(frame: &mut Vec<u8>, tell: &Tell) {
    frame.truncate(tell.ip as usize);
    if let Some((destination, source)) =
        frame.get_mut(..12).and_then(|it| it.split_at_mut_checked(6))
    {
        destination.swap_with_slice(source);
    }
    frame.extend_from_slice(tell.message.as_bytes());
}

fn edit(frame: &mut [u8], rewrite: &Rewrite) {
    let transport = rewrite.ip + Ipv4Header::LENGTH;
    write(frame, rewrite.ip + Ipv4Header::TTL_OFFSET, rewrite.header.as_bytes());
    let identifier = transport + IcmpEcho::IDENTIFIER_OFFSET;
    match rewrite.ports {
        PortEdit::Keep => {}
        PortEdit::Both => {
            write(frame, transport, rewrite.source_port.as_bytes());
            write(frame, transport + 2, rewrite.destination_port.as_bytes());
        }
        PortEdit::RequestIdentifier => write(frame, identifier, rewrite.source_port.as_bytes()),
        PortEdit::ReplyIdentifier => write(frame, identifier, rewrite.destination_port.as_bytes()),
        PortEdit::QuotedKeep
        | PortEdit::QuotedBoth
        | PortEdit::QuotedRequestIdentifier
        | PortEdit::QuotedReplyIdentifier => edit_quote(frame, rewrite),
    }
    if rewrite.segment_size.offset != 0 {
        write(frame, rewrite.segment_size.offset, rewrite.segment_size.size.as_bytes());
    }
    match rewrite.checksum {
        ChecksumEdit::Keep => {}
        ChecksumEdit::Write => {
            write(frame, rewrite.checksum_offset, rewrite.new_checksum.as_bytes());
        }
        ChecksumEdit::Ask => ask(frame, rewrite),
    }
}

/// What the kernel's helper makes of a checksum. In memory all checksums are finished.
fn ask(frame: &mut [u8], rewrite: &Rewrite) {
    let Some(old) = Bytes(frame).load::<[u8; 2]>(rewrite.checksum_offset) else { return };
    let udp = Protocol(rewrite.header.protocol) == Protocol::UDP;
    let mut new = old;
    for delta in [rewrite.pseudo, rewrite.own] {
        if !delta.is_none() {
            new = not_zero(udp, delta.apply(new));
        }
    }
    write(frame, rewrite.checksum_offset, &new);
}

fn edit_quote(frame: &mut [u8], rewrite: &Rewrite) {
    let quoted = rewrite.ip + Ipv4Header::LENGTH + IcmpError::LENGTH;
    write(frame, quoted + Ipv4Header::CHECKSUM_OFFSET, rewrite.quote_tail().as_bytes());
    let transport = quoted + Ipv4Header::LENGTH;
    let identifier = transport + IcmpEcho::IDENTIFIER_OFFSET;
    match rewrite.ports {
        PortEdit::QuotedBoth => {
            write(frame, transport, rewrite.destination_port.as_bytes());
            write(frame, transport + 2, rewrite.source_port.as_bytes());
        }
        PortEdit::QuotedRequestIdentifier => {
            write(frame, identifier, rewrite.destination_port.as_bytes());
        }
        PortEdit::QuotedReplyIdentifier => {
            write(frame, identifier, rewrite.source_port.as_bytes());
        }
        PortEdit::Keep
        | PortEdit::Both
        | PortEdit::RequestIdentifier
        | PortEdit::ReplyIdentifier
        | PortEdit::QuotedKeep => {}
    }
}

/// A UDP checksum that comes out as zero is sent as its other representation (RFC 768).
fn not_zero(udp: bool, checksum: [u8; 2]) -> [u8; 2] {
    if udp && checksum == [0; 2] { [0xff; 2] } else { checksum }
}

fn write(frame: &mut [u8], offset: u32, bytes: &[u8]) {
    let at = offset as usize;
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
