//! The maps' kernel-side statics. Names, types and capacities are those of `gateway_common::map`; the
//! user half checks that before it loads the object.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray},
    macros::btf_map,
};
use gateway_common::{
    LocalAddress, TransitAddress,
    map::{
        Allow, Allows, Backend, BackendKey, Backends, Clock, ClockTick, Counters, Flow, FlowCount,
        FlowKey, Flows, FragmentKey, Fragmented, Fragments, Map, Name, NameKey, Names, NatKey,
        Nats, OpeningNats, Openings, PortMapping, Ports, Presence, Presences, Route, Routes,
        Service, Services, Settings, SettingsSlots, Slots, UsageKey, Usages,
    },
};

/// Flags of a `Kind::SparseHash`.
const SPARSE: usize = BPF_F_NO_PREALLOC as usize;

const fn capacity<M: Map>() -> usize {
    M::CAPACITY as usize
}

#[btf_map(name = "allows4")]
pub(crate) static ALLOWS: LpmTrie<[u32; 2], Allow, { capacity::<Allows>() }> = LpmTrie::new();
#[btf_map(name = "backends4")]
pub(crate) static BACKENDS: HashMap<BackendKey, Backend, { capacity::<Backends>() }, SPARSE> =
    HashMap::new();
#[btf_map(name = "clock")]
pub(crate) static CLOCK: Array<ClockTick, { capacity::<Clock>() }> = Array::new();
#[btf_map(name = "counters")]
pub(crate) static COUNTERS: PerCpuArray<u64, { capacity::<Counters>() }> = PerCpuArray::new();
#[btf_map(name = "current")]
pub(crate) static CURRENT: Array<u32, 1> = Array::new();
#[btf_map(name = "flows4")]
pub(crate) static FLOWS: HashMap<FlowKey, Flow, { capacity::<Flows>() }> = HashMap::new();
#[btf_map(name = "fragments4")]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, Fragmented, { capacity::<Fragments>() }> =
    LruHashMap::new();
#[btf_map(name = "names")]
pub(crate) static NAMES: HashMap<NameKey, Name, { capacity::<Names>() }, SPARSE> = HashMap::new();
#[btf_map(name = "nats4")]
pub(crate) static NATS: HashMap<NatKey, FlowKey, { capacity::<Nats>() }> = HashMap::new();
#[btf_map(name = "opening4")]
pub(crate) static OPENINGS: LruHashMap<FlowKey, Flow, { capacity::<Openings>() }> =
    LruHashMap::new();
#[btf_map(name = "opening_nats4")]
pub(crate) static OPENING_NATS: LruHashMap<NatKey, FlowKey, { capacity::<OpeningNats>() }> =
    LruHashMap::new();
#[btf_map(name = "ports4")]
pub(crate) static PORTS: LpmTrie<[u32; 2], PortMapping, { capacity::<Ports>() }> = LpmTrie::new();
#[btf_map(name = "presences4")]
pub(crate) static PRESENCES: Array<Presence, { capacity::<Presences>() }> = Array::new();
#[btf_map(name = "routes4")]
pub(crate) static ROUTES: Array<Route, { capacity::<Routes>() }> = Array::new();
#[btf_map(name = "services4")]
pub(crate) static SERVICES: HashMap<TransitAddress, Service, { capacity::<Services>() }, SPARSE> =
    HashMap::new();
#[btf_map(name = "settings")]
pub(crate) static SETTINGS: Array<Settings, { capacity::<SettingsSlots>() }> = Array::new();
#[btf_map(name = "slots4")]
pub(crate) static SLOTS: Array<LocalAddress, { capacity::<Slots>() }> = Array::new();
#[btf_map(name = "usage4")]
pub(crate) static USAGES: LruHashMap<UsageKey, FlowCount, { capacity::<Usages>() }> =
    LruHashMap::new();
