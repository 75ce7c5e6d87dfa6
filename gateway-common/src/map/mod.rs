//! The maps, each declared once: name, kind, key, value, capacity. The kernel half's statics and the
//! user half's typed tables both take them from here, so they cannot disagree.
//!
//! Layouts have no implicit padding, no enums, no options (zerocopy proves it). Any change of a
//! layout, a name, a kind or a capacity needs a new [`ABI`] number and a file of that number in `abi/`;
//! a test compares.

mod allow;
mod clock;
mod counter;
mod flow;
mod fragment;
pub mod layout;
mod name;
mod nat;
mod port;
mod presence;
mod route;
mod service;
mod settings;
mod usage;

pub use allow::{Allow, AllowKey, Allows, ClientAddress};
pub use clock::{Clock, ClockTick};
pub use counter::{Counter, Counters, Outcome};
pub use flow::{Direction, Endpoints, Flow, FlowKey, FlowState, Flows, Openings};
pub use fragment::{FragmentHead, FragmentKey, Fragmented, Fragments, Side, Span};
pub use name::{Name, NameKey, NameKind, Names};
pub use nat::{NatKey, Nats, OpeningNats};
pub use port::{PortKey, PortMapping, Ports};
pub use presence::{Presence, PresenceKind, Presences};
pub use route::{Route, Routes, SiteNumber};
pub use service::{
    Backend, BackendKey, BackendState, Backends, Service, ServiceKind, Services, Slots,
};
pub use settings::{Current, Network, NetworkFlags, Settings, SettingsSlots, Timeouts};
pub use usage::{FlowCount, Owner, UsageKey, Usages};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of the map layouts that are committed last.
const COMMITTED: u32 = 4;

/// Number of the map layouts below. Pins live in a directory named by it. A build that rehearses an
/// upgrade has the number that comes next.
pub const ABI: u32 = COMMITTED + cfg!(feature = "rehearsal") as u32;

/// What a map's keys and values are made of: plain bytes, any of which is valid.
pub trait Plain: Copy + FromBytes + IntoBytes + Immutable + KnownLayout + 'static {}

impl<T: Copy + FromBytes + IntoBytes + Immutable + KnownLayout + 'static> Plain for T {}

/// The kernel's map types in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `BPF_MAP_TYPE_ARRAY`, zero-filled, indexed from 0.
    Array,
    /// `BPF_MAP_TYPE_HASH`, preallocated: entries come and go at packet rates.
    Hash,
    /// `BPF_MAP_TYPE_HASH` with `BPF_F_NO_PREALLOC`: filled by configuration, costs what it holds.
    SparseHash,
    /// `BPF_MAP_TYPE_LRU_HASH`: when it is full, the entry longest out of use makes room.
    LruHash,
    /// `BPF_MAP_TYPE_LPM_TRIE`: keys begin with a prefix length, the longest match wins.
    LpmTrie,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
    PerCpuArray,
}

/// A map that both halves know.
pub trait Map {
    /// Its name in the object, in the kernel and in bpffs.
    const NAME: &'static str;
    /// Its type.
    const KIND: Kind;
    /// Most entries it holds; for [`Flows`], [`Nats`], [`Openings`] and [`OpeningNats`] the default, chosen
    /// anew at load.
    const CAPACITY: u32;
    /// What it is looked up by.
    type Key: Plain;
    /// What it holds.
    type Value: Plain;
}

macro_rules! map {
    ($(#[$doc:meta])* $name:ident = $kernel_name:literal: $kind:ident, $key:ty => $value:ty, $capacity:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl $crate::map::Map for $name {
            const NAME: &'static str = $kernel_name;
            const KIND: $crate::map::Kind = $crate::map::Kind::$kind;
            const CAPACITY: u32 = $capacity;
            type Key = $key;
            type Value = $value;
        }
    };
}
pub(crate) use map;

/// Calls a macro with the list of all maps, so that nothing has to repeat it.
#[macro_export]
macro_rules! for_each_map {
    ($callback:ident) => {
        $callback! {
            Allows, Backends, Clock, Counters, Current, Flows, Fragments, Names, Nats, OpeningNats, Openings, Ports,
            Presences, Routes, Services, SettingsSlots, Slots, Usages
        }
    };
}
