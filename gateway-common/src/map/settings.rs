//! What the programs need to know of their site, switched as a whole.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Flow, FlowState, map};
use crate::{
    address::{LocalAddress, Prefix, TransitAddress},
    time::ticks,
};

map! {
    /// Two sets of settings; the generation in force, taken modulo two, selects one. A change is
    /// written to the other and comes into force with [`Current`].
    SettingsSlots = "settings": Array, u32 => Settings, 2
}

map! {
    /// The generation in force: one number. 0 means that nothing is in force.
    Current = "current": Array, u32 => u32, 1
}

/// What the programs need to know of their site.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Settings {
    /// Which change of the tables this is. A flow of another generation is judged anew.
    pub generation: u32,
    /// Not zero on a hub: packets between two other sites are relayed.
    pub relay: u32,
    /// The site's presence pool.
    pub pool: Prefix,
    /// Where every transit address of the deployment comes from.
    pub transit: Prefix,
    /// This site's own part of it. Clients are in the lower half, services in the upper.
    pub block: Prefix,
    /// Most flows of one client; 0 for no limit.
    pub client_flows: u32,
    /// Most flows of one other site's clients here; 0 for no limit.
    pub site_flows: u32,
    /// Not zero while TCP connections that nobody here knows may go on without a new SYN.
    pub adopt: u32,
    /// How many of `networks` are in use.
    pub network_count: u32,
    /// The client networks.
    pub networks: [Network; Self::NETWORKS],
    /// How long an idle flow lives.
    pub timeouts: Timeouts,
}

/// Layout of the structs here, for the committed layouts.
#[cfg(test)]
pub(super) const LAYOUT: &str = "settings: generation4 relay4 pool8 transit8 block8 client_flows4 site_flows4 adopt4 network_count4 networks[prefix8 first4 interface4 mtu4 mac6 flags2]x16 timeouts4x8\n";

impl Settings {
    /// Room for client networks and for networks of the gateway host.
    pub const NETWORKS: usize = 16;
    /// Most client networks behind LAN interfaces.
    pub const LAN_NETWORKS: usize = 8;

    /// The client network that holds `address`.
    #[inline(always)]
    pub fn network(&self, address: LocalAddress) -> Option<&Network> {
        for (index, network) in self.networks.iter().enumerate() {
            if index as u32 >= self.network_count {
                return None;
            }
            if network.prefix.contains(address.0) {
                return Some(network);
            }
        }
        None
    }

    /// Whether `address`, of this site's block, stands for a service rather than a client.
    #[inline(always)]
    pub const fn is_service(&self, address: TransitAddress) -> bool {
        self.block.offset(address.0) > self.block.last_offset() / 2
    }

    /// The transit address of the client `address` in `network`.
    #[inline(always)]
    pub const fn client(&self, network: &Network, address: LocalAddress) -> TransitAddress {
        TransitAddress(self.block.at(network.first + network.prefix.offset(address.0)))
    }

    /// The transit address of service number `number` of the site with this block.
    pub const fn service_address(block: &Prefix, number: u32) -> TransitAddress {
        TransitAddress(block.at(block.last_offset() / 2 + 1 + number))
    }
}

/// A client network and the interface it is behind. The first that holds an address counts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Network {
    /// Its addresses.
    pub prefix: Prefix,
    /// Offset in the site's transit block of its first address.
    pub first: u32,
    /// Index of the interface.
    pub interface: u32,
    /// Octets that an IP packet out of the interface may have.
    pub mtu: u32,
    /// The interface's hardware address, for answers to ARP.
    pub mac: [u8; 6],
    /// What is particular about it.
    pub flags: NetworkFlags,
}

/// What is particular about a client network.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct NetworkFlags(pub u16);

impl NetworkFlags {
    /// Its addresses are the gateway host's own, or routed by it: the interface is the far end of
    /// `presence0`.
    pub const HOST: Self = Self(1);
    /// Each of its hosts is on the interface's own network, without a router in between.
    pub const ON_LINK: Self = Self(2);

    /// Whether all of `flags` are set.
    #[inline(always)]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

/// How long an idle flow lives, by [`FlowState`], in ticks of [`crate::Ticks`], at most
/// [`crate::Ticks::HORIZON`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timeouts([u32; Self::SLOTS]);

impl Timeouts {
    /// A power of two, so that masking a number keeps it inside, which the verifier can see.
    const SLOTS: usize = FlowState::COUNT.next_power_of_two();

    /// Time-outs by state, in milliseconds.
    pub const fn from_milliseconds(milliseconds: [u64; FlowState::COUNT]) -> Self {
        let mut slots = [0; Self::SLOTS];
        let mut state = 0;
        while state < FlowState::COUNT {
            slots[state] = ticks(milliseconds[state]);
            state += 1;
        }
        Self(slots)
    }

    /// Time-out of `flow` as it stands, in ticks.
    #[inline(always)]
    pub const fn of(&self, flow: &Flow) -> u32 {
        self.0[flow.state_number() as usize & (Self::SLOTS - 1)]
    }
}

impl Default for Timeouts {
    /// Opening: RFC 5382 REQ-5 asks a NAT for at least 4 minutes for partly open connections that
    /// were answered; an unanswered SYN may go sooner. Open: REQ-5, 2 hours 4 minutes. UDP: RFC 4787
    /// REQ-5, at least 2 minutes. ICMP: RFC 5508 REQ-2, at least 60 seconds.
    fn default() -> Self {
        Self::from_milliseconds([
            30_000, 7_440_000, 300_000, 300_000, 10_000, 120_000, 180_000, 30_000,
        ])
    }
}
