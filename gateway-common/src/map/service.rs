//! The services a gateway knows, by transit address.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::map;
use crate::address::{LocalAddress, TransitAddress};

map! {
    /// Transit address to the service. Read only when a flow is opened or judged anew.
    Services = "services4": SparseHash, TransitAddress => Service, 1 << 17
}

/// A service as this gateway sees it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Service {
    kind: u32,
    address: LocalAddress,
    clients: LocalAddress,
}

/// The meaning of a [`Service`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// At this site.
    Here {
        /// The host that serves it.
        backend: LocalAddress,
        /// What the back end sees as the client: the site's client presence.
        clients: LocalAddress,
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
            ServiceKind::Here { backend, clients } => Self { kind: 1, address: backend, clients },
            ServiceKind::Elsewhere { presence } => {
                Self { kind: 2, address: presence, clients: none }
            }
            ServiceKind::Unknown => Self { kind: 0, address: none, clients: none },
        }
    }

    /// What it is.
    #[inline(always)]
    pub const fn kind(self) -> ServiceKind {
        match self.kind {
            1 => ServiceKind::Here { backend: self.address, clients: self.clients },
            2 => ServiceKind::Elsewhere { presence: self.address },
            _ => ServiceKind::Unknown,
        }
    }
}
