//! The maps as `gateway_common::tables::Tables`. One of the two files with `unsafe`: what is behind a
//! pointer that the kernel returned stays mapped until the program ends (maps are never freed under a
//! running program), is aligned for its type, and is plain data of which any bytes are valid.

use core::ptr::NonNull;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns},
    maps::lpm_trie::Key,
};
use gateway_common::{
    LocalAddress, Ticks, TransitAddress,
    map::{
        Allow, AllowKey, BackendKey, ClockTick, Counter, Flow, FlowCount, FlowKey, FragmentHead,
        FragmentKey, Fragmented, NatKey, PortKey, PortMapping, Presence, Route, Service, Settings,
        UsageKey,
    },
    path::Passage,
    tables::{Carried, FlowSlot, FragmentSlot, Insertion, Stage, Tables},
};
use zerocopy::transmute;

use crate::maps::{
    ALLOWS, BACKENDS, CLOCK, COUNTERS, CURRENT, FLOWS, FRAGMENTS, NATS, OPENING_NATS, OPENINGS,
    PORTS, PRESENCES, ROUTES, SERVICES, SETTINGS, SLOTS, USAGES,
};

/// Where a packet is handled.
pub(crate) trait Hook: Copy {
    /// Whether the packet comes from `BPF_PROG_TEST_RUN` without a device, so that nothing may change. Asked
    /// anew each time: the verifier follows all that comes after an answer once for each that it has.
    fn is_dry_run(self) -> bool;
}

/// The pinned maps, as a program at `hook` may use them.
#[derive(Clone, Copy)]
pub(crate) struct KernelTables<H> {
    pub(crate) hook: H,
}

/// The moment. The tick counter is a plain load (jited so since 5.6, commit 5576b991e9c1); the clock is
/// read when the counter has moved.
#[inline(always)]
pub(crate) fn now() -> Ticks {
    // SAFETY: takes nothing and returns a number.
    let counter = unsafe { bpf_jiffies64() };
    let Some(clock) = CLOCK.get_ptr_mut(0) else { return Ticks(0) };
    // SAFETY: the kernel returned it. Other CPUs may write meanwhile; each word is read whole, and a
    // mixture is off by what `ClockTick` says.
    let last = unsafe { clock.read() };
    if last.counter == counter {
        return last.now;
    }
    // SAFETY: takes nothing and returns a number (5.11, commit d05512618056).
    let now = Ticks::from_nanoseconds(unsafe { bpf_ktime_get_coarse_ns() });
    // SAFETY: as for the read.
    unsafe { clock.write(ClockTick { counter, now, padding: 0 }) };
    now
}

impl<H: Hook> Tables for KernelTables<H> {
    type Slot = KernelSlot<H>;
    type Fragments = KernelFragments<H>;

    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        let generation = *CURRENT.get(0)?;
        if generation == 0 {
            return None;
        }
        // The user half writes only to the slot that is not in force.
        SETTINGS.get(generation & 1)
    }

    #[inline(always)]
    fn presence(&self, offset: u32) -> Option<Presence> {
        PRESENCES.get(offset).copied()
    }

    #[inline(always)]
    fn route(&self, granule: u32) -> Option<Route> {
        ROUTES.get(granule).copied()
    }

    #[inline(always)]
    fn service(&self, address: TransitAddress) -> Option<Service> {
        read(SERVICES.get_ptr(address))
    }

    #[inline(always)]
    fn slot(&self, number: u32) -> Option<LocalAddress> {
        SLOTS.get(number).copied()
    }

    #[inline(always)]
    fn keeps_flows(&self, backend: &BackendKey) -> bool {
        BACKENDS.get_ptr(backend).is_some()
    }

    #[inline(always)]
    fn port(&self, key: &PortKey) -> Option<PortMapping> {
        PORTS.get(&Key::new(key.bits(), key.data())).copied()
    }

    #[inline(always)]
    fn allow(&self, key: &AllowKey) -> Option<Allow> {
        ALLOWS.get(&Key::new(key.bits(), key.data())).copied()
    }

    #[inline(always)]
    fn flow(&self, stage: Stage, key: &FlowKey) -> Option<KernelSlot<H>> {
        let entry = match stage {
            Stage::Opening => OPENINGS.get_ptr_mut(key)?,
            Stage::Confirmed => FLOWS.get_ptr_mut(key)?,
        };
        Some(KernelSlot { entry: NonNull::new(entry)?, hook: self.hook })
    }

    #[inline(always)]
    fn insert_flow(&self, stage: Stage, key: &FlowKey, flow: &Flow) -> Insertion {
        if self.hook.is_dry_run() {
            return Insertion::Inserted;
        }
        match stage {
            Stage::Opening => inserted(OPENINGS.insert(key, flow, NEW)),
            Stage::Confirmed => inserted(FLOWS.insert(key, flow, NEW)),
        }
    }

    #[inline(always)]
    fn remove_flow(&self, stage: Stage, key: &FlowKey) {
        if self.hook.is_dry_run() {
            return;
        }
        let _ = match stage {
            Stage::Opening => OPENINGS.remove(key),
            Stage::Confirmed => FLOWS.remove(key),
        };
    }

    #[inline(always)]
    fn nat(&self, stage: Stage, key: &NatKey) -> Option<FlowKey> {
        match stage {
            Stage::Opening => read(OPENING_NATS.get_ptr(key)),
            Stage::Confirmed => read(NATS.get_ptr(key)),
        }
    }

    #[inline(always)]
    fn insert_nat(&self, stage: Stage, key: &NatKey, flow: &FlowKey) -> Insertion {
        if self.hook.is_dry_run() {
            return Insertion::Inserted;
        }
        match stage {
            Stage::Opening => inserted(OPENING_NATS.insert(key, flow, NEW)),
            Stage::Confirmed => inserted(NATS.insert(key, flow, NEW)),
        }
    }

    #[inline(always)]
    fn remove_nat(&self, stage: Stage, key: &NatKey) {
        if self.hook.is_dry_run() {
            return;
        }
        let _ = match stage {
            Stage::Opening => OPENING_NATS.remove(key),
            Stage::Confirmed => NATS.remove(key),
        };
    }

    #[inline(always)]
    fn usage(&self, of: &UsageKey) -> u64 {
        read(USAGES.get_ptr(of)).map_or(0, |count| count.0)
    }

    #[inline(always)]
    fn use_more(&self, of: &UsageKey) {
        if self.hook.is_dry_run() {
            return;
        }
        match USAGES.get_ptr_mut(of) {
            // SAFETY: the kernel returned it; an aligned word. Two CPUs that add at once may lose one; the
            // next sweep puts that right.
            Some(count) => unsafe { (*count).0 = (*count).0.wrapping_add(1) },
            None => {
                let _ = USAGES.insert(of, FlowCount(1), NEW);
            }
        }
    }

    #[inline(always)]
    fn fragments(&self, key: &FragmentKey) -> Option<KernelFragments<H>> {
        let entry = NonNull::new(FRAGMENTS.get_ptr_mut(key)?)?;
        Some(KernelFragments { entry, hook: self.hook })
    }

    #[inline(always)]
    fn add_fragments(&self, key: &FragmentKey) -> Insertion {
        // In the object's read-only data: there is no room for it on the stack.
        static NOTHING: Fragmented = Fragmented::NOTHING;
        let nothing = &NOTHING;
        if self.hook.is_dry_run() {
            Insertion::Inserted
        } else {
            inserted(FRAGMENTS.insert(key, nothing, NEW))
        }
    }

    #[inline(always)]
    fn remove_fragments(&self, key: &FragmentKey) {
        if !self.hook.is_dry_run() {
            let _ = FRAGMENTS.remove(key);
        }
    }

    #[inline(always)]
    fn count(&self, counter: Counter) {
        if self.hook.is_dry_run() {
            return;
        }
        if let Some(count) = COUNTERS.get_ptr_mut(counter.index()) {
            // SAFETY: the kernel returned it; this CPU's own copy, and programs at these hooks do not
            // interrupt each other on one CPU.
            unsafe { *count = (*count).wrapping_add(1) };
        }
    }
}

/// A flow's entry in the map.
#[derive(Clone, Copy)]
pub(crate) struct KernelSlot<H> {
    entry: NonNull<Flow>,
    hook: H,
}

impl<H: Hook> FlowSlot for KernelSlot<H> {
    #[inline(always)]
    fn read(&self) -> Flow {
        // SAFETY: the kernel returned it. Another CPU may write the counting fields meanwhile; each
        // is read whole, as the processors that BPF runs on do for aligned words.
        unsafe { self.entry.as_ptr().read() }
    }

    #[inline(always)]
    fn carried(&self, packet: Carried) {
        if self.hook.is_dry_run() {
            return;
        }
        let flow = self.entry.as_ptr();
        // The compiler knows that it is 0 or 1, the verifier has to be shown.
        let direction = core::hint::black_box(packet.direction as usize) & 1;
        // SAFETY: as for `read`. Two CPUs that carry one direction at once may lose counts; nothing
        // is decided by them. Writing `state` back from a copy is what `set_state` does in place.
        unsafe {
            (*flow).seen = packet.seen;
            if (*flow).state() != packet.state {
                (*flow).set_state(packet.state);
            }
            (*flow).packets[direction] = (*flow).packets[direction].wrapping_add(packet.packets);
            (*flow).bytes[direction] =
                (*flow).bytes[direction].wrapping_add(u64::from(packet.bytes));
        }
    }

    #[inline(always)]
    fn judged(&self, generation: u32) {
        if !self.hook.is_dry_run() {
            // SAFETY: as for `read`; an aligned word.
            unsafe { (*self.entry.as_ptr()).generation = generation };
        }
    }
}

/// The entry of a datagram in fragments.
pub(crate) struct KernelFragments<H> {
    entry: NonNull<Fragmented>,
    hook: H,
}

impl<H> KernelFragments<H> {
    #[inline(always)]
    fn place(&self, place: usize) -> *mut u32 {
        // SAFETY: the kernel returned the entry; the index is masked to the array.
        unsafe { &raw mut (*self.entry.as_ptr()).seen[place & (Fragmented::SPANS - 1)] }
    }
}

impl<H: Hook> FragmentSlot for KernelFragments<H> {
    #[inline(always)]
    fn head(&self) -> FragmentHead {
        // SAFETY: the kernel returned it, and the head is as large and as aligned as the word. Another CPU
        // may use the entry for another datagram meanwhile; an aligned word is read whole.
        let word =
            unsafe { (&raw const (*self.entry.as_ptr()).head).cast::<u64>().read_volatile() };
        transmute!(word)
    }

    #[inline(always)]
    fn may_change(&self) -> bool {
        !self.hook.is_dry_run()
    }

    #[inline(always)]
    fn set_head(&self, head: FragmentHead) {
        let word: u64 = transmute!(head);
        // SAFETY: as for `head`; it is as large and as aligned as the word.
        unsafe { (&raw mut (*self.entry.as_ptr()).head).cast::<u64>().write_volatile(word) };
    }

    #[inline(always)]
    fn seen(&self, place: usize) -> u32 {
        // SAFETY: as for `head`. Volatile, since keeping all of them at hand takes a stack.
        unsafe { self.place(place).read_volatile() }
    }

    #[inline(always)]
    fn set_seen(&self, place: usize, word: u32) {
        // SAFETY: as for `head`.
        unsafe { self.place(place).write_volatile(word) };
    }
}

/// A copy of what a map holds.
#[inline(always)]
fn read<V: Copy>(entry: Option<*const V>) -> Option<V> {
    // SAFETY: a pointer that a lookup just returned.
    entry.map(|entry| unsafe { entry.read() })
}

/// The flag for entries that must not be there yet.
const NEW: u64 = BPF_NOEXIST as u64;

/// The return code becomes a plain value at once: verifiers of kernels 5.10 to 6.7 can prune a live
/// branch behind a match on a helper's result (mended by d028f87517d6 in 6.8).
#[inline(always)]
fn inserted(result: Result<(), i32>) -> Insertion {
    const EEXIST: i32 = -17;
    let code = result.err().unwrap_or(0);
    if code == 0 {
        Insertion::Inserted
    } else if code == EEXIST {
        Insertion::Exists
    } else {
        Insertion::Full
    }
}

/// What a function that the verifier follows by itself was given. To such a function the kernel passes nothing
/// else than null or what is there in whole.
#[inline(always)]
pub(crate) fn given<'a>(
    settings: *const Settings,
    passage: *mut Numbers,
) -> Option<(&'a Settings, &'a mut Passage)> {
    // SAFETY: see above; the numbers are those of a `Passage`, for which alone there is a caller.
    unsafe { Some((settings.as_ref()?, passage.cast::<Passage>().as_mut()?)) }
}

/// A [`Passage`] in words, which the verifier can take for an argument.
pub(crate) type Numbers = [u64; size_of::<Passage>() / size_of::<u64>()];

/// Likewise.
#[inline(always)]
pub(crate) fn passing<'a>(passage: *const Numbers) -> Option<&'a Passage> {
    // SAFETY: as for `given`.
    unsafe { passage.cast::<Passage>().as_ref() }
}
