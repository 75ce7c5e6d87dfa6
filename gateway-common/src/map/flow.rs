//! The flow table: one entry a flow, both directions, at every gateway that translates it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use super::{layout::layout, map};
use crate::{
    address::{Ipv4, LocalAddress, Port, Protocol, TransitAddress},
    time::Ticks,
};

map! {
    /// A flow's transit identity to how it is translated here.
    Flows = "flows4": Hash, FlowKey => Flow, 1 << 16
}

map! {
    /// Flows that are not confirmed by both ends yet. They make room for each other when there are too
    /// many, and take none from those in [`Flows`], where they go when they are confirmed or carry a
    /// steady stream.
    Openings = "opening4": LruHash, FlowKey => Flow, 1 << 14
}

/// What a flow is called between gateways. Both gateways, and both directions at each of them,
/// derive the same key from a packet.
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct FlowKey {
    /// Stands for the client.
    pub client: TransitAddress,
    /// Stands for the service.
    pub service: TransitAddress,
    /// The client's port, or the identifier of ICMP echo.
    pub client_port: Port,
    /// The service's port; none for ICMP echo.
    pub service_port: Port,
    /// The protocol.
    pub protocol: Protocol,
    padding: [u8; 3],
}

layout!(FlowKey { client, service, client_port, service_port, protocol, padding });

/// As two words: field by field would be a branch each, on the way of every probe for a port.
impl PartialEq for FlowKey {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let a: [u64; 2] = transmute!(*self);
        let b: [u64; 2] = transmute!(*other);
        (a[0] ^ b[0]) | (a[1] ^ b[1]) == 0
    }
}

impl FlowKey {
    /// The flow of `protocol` between these ends.
    #[inline(always)]
    pub const fn new(ends: Endpoints<TransitAddress>, protocol: Protocol) -> Self {
        let addresses = [ends.client.0.word(), ends.service.0.word()];
        transmute!(words(addresses, [ends.client_port, ends.service_port], protocol))
    }

    /// The ends as links name them.
    #[inline(always)]
    pub const fn endpoints(&self) -> Endpoints<TransitAddress> {
        Endpoints {
            client: self.client,
            client_port: self.client_port,
            service: self.service,
            service_port: self.service_port,
        }
    }
}

/// Two addresses, two ports, a protocol and zeros as they lie in memory, in two words: field by field, the
/// compiler clears the padding by a call for each key.
#[inline(always)]
pub(super) const fn words(addresses: [u32; 2], ports: [Port; 2], protocol: Protocol) -> [u64; 2] {
    const fn pair(first: u32, second: u32) -> u64 {
        if cfg!(target_endian = "little") {
            first as u64 | (second as u64) << 32
        } else {
            (first as u64) << 32 | second as u64
        }
    }
    const fn half(first: u16, second: u16) -> u32 {
        if cfg!(target_endian = "little") {
            first as u32 | (second as u32) << 16
        } else {
            (first as u32) << 16 | second as u32
        }
    }
    let protocol = (protocol.0 as u32).to_le();
    [pair(addresses[0], addresses[1]), pair(half(ports[0].word(), ports[1].word()), protocol)]
}

/// How a flow is translated here, and how it is doing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Flow {
    /// In the place of whatever a later layout may add: see the feature `rehearsal`.
    #[cfg(feature = "rehearsal")]
    pub rehearsed: [u32; 2],
    /// What the client is called on this site's LAN: itself, or the client presence.
    pub client: LocalAddress,
    /// What the service is called on this site's LAN: its presence, or the back end.
    pub service: LocalAddress,
    /// The client's port on this site's LAN.
    pub client_port: Port,
    /// The service's port on this site's LAN.
    pub service_port: Port,
    /// The settings' generation that last judged it.
    pub generation: u32,
    /// When it last carried a packet.
    pub seen: Ticks,
    state: u8,
    padding: [u8; 3],
    /// Packets, by [`Direction`]. Counts may be lost when two CPUs carry one direction at once.
    pub packets: [u32; 2],
    /// Octets from the IP header on, by [`Direction`].
    pub bytes: [u64; 2],
}

#[cfg(not(feature = "rehearsal"))]
layout!(Flow {
    client,
    service,
    client_port,
    service_port,
    generation,
    seen,
    state,
    padding,
    packets,
    bytes
});
#[cfg(feature = "rehearsal")]
layout!(Flow {
    rehearsed,
    client,
    service,
    client_port,
    service_port,
    generation,
    seen,
    state,
    padding,
    packets,
    bytes
});

impl Flow {
    /// A flow that has carried nothing yet.
    #[inline(always)]
    pub const fn opening(
        ends: Endpoints<LocalAddress>,
        generation: u32,
        seen: Ticks,
        state: FlowState,
    ) -> Self {
        transmute!(Opening {
            #[cfg(feature = "rehearsal")]
            rehearsed: [0; 2],
            client: ends.client,
            service: ends.service,
            client_port: ends.client_port,
            service_port: ends.service_port,
            generation,
            seen,
            state: (state as u32).to_le(),
            packets: [0; 2],
            bytes: [0; 2],
        })
    }

    /// The ends as this site's LAN names them.
    #[inline(always)]
    pub const fn endpoints(&self) -> Endpoints<LocalAddress> {
        Endpoints {
            client: self.client,
            client_port: self.client_port,
            service: self.service,
            service_port: self.service_port,
        }
    }

    /// How far it has come.
    #[inline(always)]
    pub const fn state(&self) -> FlowState {
        FlowState::from_number(self.state)
    }

    /// The number of [`Self::state`] as it is stored.
    #[inline(always)]
    pub const fn state_number(&self) -> u8 {
        self.state
    }

    /// Sets how far it has come.
    #[inline(always)]
    pub const fn set_state(&mut self, state: FlowState) {
        self.state = state as u8;
    }
}

/// A [`Flow`] with its padding in one word with its state: by itself, the compiler clears the padding by a call.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Opening {
    #[cfg(feature = "rehearsal")]
    rehearsed: [u32; 2],
    client: LocalAddress,
    service: LocalAddress,
    client_port: Port,
    service_port: Port,
    generation: u32,
    seen: Ticks,
    state: u32,
    packets: [u32; 2],
    bytes: [u64; 2],
}

/// Both ends of a flow as one side names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Endpoints<A> {
    /// Who opened it.
    pub client: A,
    /// Who answers.
    pub service: A,
    /// The client's port, or the identifier of ICMP echo.
    pub client_port: Port,
    /// The service's port.
    pub service_port: Port,
}

impl<A: Into<Ipv4>> Endpoints<A> {
    /// The same ends, about to be written into a packet, which does not tell kinds of address apart.
    #[inline(always)]
    pub fn untyped(self) -> Endpoints<Ipv4> {
        Endpoints {
            client: self.client.into(),
            client_port: self.client_port,
            service: self.service.into(),
            service_port: self.service_port,
        }
    }
}

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u32)]
pub enum Direction {
    /// From the client to the service.
    Forward = 0,
    /// From the service to the client.
    Reverse = 1,
}

/// How far a flow has come; each state has a time-out of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FlowState {
    /// TCP: the client's SYN, unanswered.
    #[default]
    Opening = 0,
    /// TCP: both sides spoke.
    Open = 1,
    /// TCP: the client has finished sending.
    ClientClosed = 2,
    /// TCP: the service has finished sending.
    ServiceClosed = 3,
    /// TCP: both have finished, or one reset.
    Closed = 4,
    /// Not TCP: only the client spoke.
    Asked = 5,
    /// Not TCP: both sides spoke.
    Answered = 6,
    /// TCP: the service took the SYN, the client has not confirmed.
    Accepted = 7,
}

impl FlowState {
    /// Number of states.
    pub const COUNT: usize = 8;

    /// All of them, by number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Opening,
        Self::Open,
        Self::ClientClosed,
        Self::ServiceClosed,
        Self::Closed,
        Self::Asked,
        Self::Answered,
        Self::Accepted,
    ];

    /// The state with this number; numbers out of range, which nothing writes, are the one that
    /// times out first.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Opening,
            1 => Self::Open,
            2 => Self::ClientClosed,
            3 => Self::ServiceClosed,
            5 => Self::Asked,
            6 => Self::Answered,
            7 => Self::Accepted,
            _ => Self::Closed,
        }
    }

    /// Whether both ends want the flow: from then on it never makes room for others.
    #[inline(always)]
    pub const fn is_confirmed(self) -> bool {
        match self {
            Self::Open | Self::ClientClosed | Self::ServiceClosed | Self::Answered => true,
            Self::Opening | Self::Accepted | Self::Asked | Self::Closed => false,
        }
    }

    /// The stable short name that operators see.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Open => "open",
            Self::ClientClosed => "client-closed",
            Self::ServiceClosed => "service-closed",
            Self::Closed => "closed",
            Self::Asked => "asked",
            Self::Answered => "answered",
            Self::Accepted => "accepted",
        }
    }
}
