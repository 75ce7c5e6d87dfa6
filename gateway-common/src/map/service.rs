//! The services a gateway knows, by transit address, and the back ends of those at its site.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::map;
use crate::address::{LocalAddress, TransitAddress};

map! {
    /// Transit address to the service. Read only when a flow is opened or judged anew.
    Services = "services4": SparseHash, TransitAddress => Service, 1 << 17
}

map! {
    /// Which back end a new flow goes to: each service at this site has a run of slots, and the flow's
    /// hash picks one of them. Read only when a flow is opened.
    Slots = "slots4": Array, u32 => LocalAddress, 1 << 18
}

map! {
    /// The back ends that flows of a service may stay on, those included that get no new ones. Read only
    /// when a flow is judged anew.
    Backends = "backends4": SparseHash, BackendKey => Backend, 1 << 17
}

/// A service as this gateway sees it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Service {
    kind: u32,
    presence: LocalAddress,
    first: u32,
    count: u32,
}

/// The meaning of a [`Service`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// At this site.
    Here {
        /// Its first entry in [`Slots`].
        first: u32,
        /// How many entries it has there; none if no back end takes new flows.
        count: u32,
    },
    /// At another site, exposed here.
    Elsewhere {
        /// Its presence at this site.
        presence: LocalAddress,
    },
    /// A number this build does not know.
    Unknown,
}

impl Service {
    /// The value that means `kind`.
    pub const fn new(kind: ServiceKind) -> Self {
        let none = LocalAddress(crate::Ipv4::NONE);
        match kind {
            ServiceKind::Here { first, count } => Self { kind: 1, presence: none, first, count },
            ServiceKind::Elsewhere { presence } => Self { kind: 2, presence, first: 0, count: 0 },
            ServiceKind::Unknown => Self { kind: 0, presence: none, first: 0, count: 0 },
        }
    }

    /// What it is.
    #[inline(always)]
    pub const fn kind(self) -> ServiceKind {
        match self.kind {
            1 => ServiceKind::Here { first: self.first, count: self.count },
            2 => ServiceKind::Elsewhere { presence: self.presence },
            _ => ServiceKind::Unknown,
        }
    }
}

/// A service and one of its back ends.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct BackendKey {
    /// The service.
    pub service: TransitAddress,
    /// The host.
    pub address: LocalAddress,
}

/// How a back end is used.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Backend {
    state: u32,
}

/// The meaning of a [`Backend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// It gets its share of new flows.
    Active,
    /// It is about to be removed: it keeps its flows and gets no new ones.
    Draining,
    /// Its health check fails: likewise.
    Down,
}

impl Backend {
    /// The value that means `state`.
    pub const fn new(state: BackendState) -> Self {
        Self { state: state as u32 }
    }

    /// How it is used; unknown numbers mean down.
    pub const fn state(self) -> BackendState {
        match self.state {
            0 => BackendState::Active,
            1 => BackendState::Draining,
            _ => BackendState::Down,
        }
    }
}
