//! Who may use what: the compiled policy.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{map, port::leading_bits_agree};
use crate::address::{Ipv4, LocalAddress, TransitAddress};

map! {
    /// Service and client prefix to the rule that allows it. What is not here is refused. Read only
    /// when a flow is opened or judged anew; keyed by transit addresses, so the gateways at both ends
    /// hold the same entries for the same rule.
    Allows = "allows4": LpmTrie, AllowKey => Allow, 1 << 18
}

/// One service and a prefix of clients' transit addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AllowKey {
    bits: u32,
    service: TransitAddress,
    client: TransitAddress,
}

impl AllowKey {
    /// The clients that agree with `client` in the first `client_bits` (0 to 32) bits.
    pub const fn clients(
        service: TransitAddress,
        client: TransitAddress,
        client_bits: u32,
    ) -> Self {
        Self { bits: 32 + client_bits, service, client }
    }

    /// The key to look one client up by.
    #[inline(always)]
    pub const fn exact(service: TransitAddress, client: TransitAddress) -> Self {
        Self::clients(service, client, 32)
    }

    /// The service.
    pub const fn service(&self) -> TransitAddress {
        self.service
    }

    /// First client of the prefix and its length.
    pub const fn client_prefix(&self) -> (TransitAddress, u32) {
        (self.client, self.bits.saturating_sub(32))
    }

    /// Whether the prefix holds `key`, as the kernel's trie would say.
    pub fn covers(&self, key: &Self) -> bool {
        self.bits <= key.bits
            && leading_bits_agree(&self.as_bytes()[4..], &key.as_bytes()[4..], self.bits)
    }

    /// Service and client as words in memory order: what the trie compares.
    #[inline(always)]
    pub const fn data(&self) -> [u32; 2] {
        [self.service.0.word(), self.client.0.word()]
    }

    /// Number of bits that are fixed; the largest among the keys that cover another wins.
    pub const fn bits(&self) -> u32 {
        self.bits
    }
}

impl Default for AllowKey {
    fn default() -> Self {
        Self::clients(TransitAddress(Ipv4::NONE), TransitAddress(Ipv4::NONE), 0)
    }
}

/// A permission, and what its clients appear as at the service's site.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Allow {
    /// Number of the rule that grants it, with a name in [`super::Names`].
    pub rule: u32,
    kind: u32,
    presence: LocalAddress,
    hosts: u32,
}

/// What the back end sees as the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// Nothing here: the service is at another site.
    Elsewhere,
    /// One client presence for all clients; ports are translated.
    Shared(LocalAddress),
    /// A client presence for each client; ports stay. Presences follow each other as transit addresses
    /// do.
    Own {
        /// The presence of the client whose `hosts` bits are all zero.
        first: LocalAddress,
        /// The bits of a transit address that tell the clients apart.
        hosts: u32,
    },
}

impl Allow {
    /// The permission that rule number `rule` grants.
    pub const fn new(rule: u32, clients: ClientAddress) -> Self {
        match clients {
            ClientAddress::Elsewhere => {
                Self { rule, kind: 0, presence: LocalAddress(Ipv4::NONE), hosts: 0 }
            }
            ClientAddress::Shared(presence) => Self { rule, kind: 1, presence, hosts: 0 },
            ClientAddress::Own { first, hosts } => Self { rule, kind: 2, presence: first, hosts },
        }
    }

    /// What its clients appear as; unknown numbers appear nowhere.
    pub const fn clients(self) -> ClientAddress {
        match self.kind {
            1 => ClientAddress::Shared(self.presence),
            2 => ClientAddress::Own { first: self.presence, hosts: self.hosts },
            _ => ClientAddress::Elsewhere,
        }
    }

    /// The client presence of `client`; none where the service is at another site.
    #[inline(always)]
    pub const fn presence(&self, client: TransitAddress) -> LocalAddress {
        LocalAddress(Ipv4::from_number(
            self.presence.0.number().wrapping_add(client.0.number() & self.hosts),
        ))
    }

    /// Whether clients keep their ports at the back end.
    #[inline(always)]
    pub const fn keeps_ports(&self) -> bool {
        self.kind == 2
    }
}
