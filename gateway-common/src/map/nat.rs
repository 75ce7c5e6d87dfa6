//! Back ends' replies to the shared client presence, traced to their flow.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use super::{Endpoints, FlowKey, flow::words, layout::layout, map};
use crate::address::{LocalAddress, Port, Protocol};

map! {
    /// What a back end's reply looks like, to the flow it belongs to. Each entry also reserves the
    /// port it names. An entry whose flow is gone is free to be taken over.
    Nats = "nats4": Hash, NatKey => FlowKey, 1 << 16
}

map! {
    /// Likewise, of flows in [`super::Openings`].
    OpeningNats = "opening_nats4": LruHash, NatKey => FlowKey, 1 << 14
}

/// A back end's reply as it arrives from the LAN.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct NatKey {
    /// Its source.
    pub backend: LocalAddress,
    /// Its destination, a client presence.
    pub clients: LocalAddress,
    /// Its source port; none for ICMP echo.
    pub backend_port: Port,
    /// Its destination port, or the identifier of ICMP echo: the port chosen for the flow.
    pub client_port: Port,
    /// Its protocol.
    pub protocol: Protocol,
    padding: [u8; 3],
}

layout!(NatKey { backend, clients, backend_port, client_port, protocol, padding });

impl NatKey {
    /// A reply of `protocol` between these ends.
    #[inline(always)]
    pub const fn new(ends: Endpoints<LocalAddress>, protocol: Protocol) -> Self {
        let addresses = [ends.service.0.word(), ends.client.0.word()];
        transmute!(words(addresses, [ends.service_port, ends.client_port], protocol))
    }
}
