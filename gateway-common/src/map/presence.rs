//! What each address of the presence pool stands for.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::map;
use crate::address::TransitAddress;

map! {
    /// Offset in the presence pool to what that address stands for; zero-filled, so an address that
    /// was never assigned stands for nothing.
    Presences = "presences4": Array, u32 => Presence, 1 << 17
}

/// What one address of the pool stands for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Presence {
    kind: u32,
    service: TransitAddress,
}

/// The meaning of a [`Presence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceKind {
    /// Nothing: packets to it are refused, ARP for it is not answered.
    Nothing,
    /// The service with this transit address, at another site.
    Service(TransitAddress),
    /// Remote clients of this site's services.
    Client,
}

impl Presence {
    /// The value that means `kind`.
    pub const fn new(kind: PresenceKind) -> Self {
        match kind {
            PresenceKind::Nothing => Self { kind: 0, service: TransitAddress(crate::Ipv4::NONE) },
            PresenceKind::Service(service) => Self { kind: 1, service },
            PresenceKind::Client => Self { kind: 2, service: TransitAddress(crate::Ipv4::NONE) },
        }
    }

    /// What it stands for; unknown numbers stand for nothing.
    #[inline(always)]
    pub const fn kind(self) -> PresenceKind {
        match self.kind {
            1 => PresenceKind::Service(self.service),
            2 => PresenceKind::Client,
            _ => PresenceKind::Nothing,
        }
    }
}
