//! What a frame on the LAN is, as far as this site's addresses tell. Shared by `guard` and `lan`.

use super::{Arrival, Packet};
use crate::{
    LocalAddress, Reason, TransitAddress,
    frame::Frame,
    map::{Direction, Endpoints, FlowKey, NatKey, Network, PresenceKind, Settings},
    tables::{Stage, Tables},
    wire::{EtherType, Ethernet, Ipv4Header},
};

/// What to do with each kind of frame on the LAN.
pub(super) trait Approach {
    /// What the hook returns.
    type Action;

    /// Not for a presence.
    fn elsewhere(&self) -> Self::Action;
    /// An ARP message.
    fn arp(&self) -> Self::Action;
    /// A fragment: gives a later one the ports of its first. `false` if they cannot be found out here.
    fn follow(&self, packet: &mut Packet) -> Result<bool, Reason>;
    /// A packet of the flow `key`: from one of this site's clients to the presence of a service, or
    /// from a back end to a client presence.
    fn of_flow(&self, packet: &Packet, key: &FlowKey, direction: Direction) -> Self::Action;
}

/// Finds out what a frame on the LAN is. Packets that are not for the pool or the transit range pass
/// whatever they look like; the host's stack is the judge of those.
#[inline(always)]
pub(super) fn approach<F: Frame, T: Tables, A: Approach>(
    frame: &F,
    tables: &T,
    settings: &Settings,
    arrival: Arrival,
    then: &A,
) -> Result<A::Action, Reason> {
    if arrival.tagged {
        return Ok(then.elsewhere());
    }
    let Some(ethernet) = frame.load::<Ethernet>(0) else { return Ok(then.elsewhere()) };
    if ethernet.ether_type == EtherType::ARP {
        return Ok(then.arp());
    }
    if ethernet.ether_type != EtherType::IPV4 || !arrival.for_us {
        return Ok(then.elsewhere());
    }
    let Some(header) = frame.load::<Ipv4Header>(arrival.ip) else { return Ok(then.elsewhere()) };
    let destination = header.destination;
    if !settings.pool.contains(destination) {
        let transit = settings.transit.contains(destination);
        return if transit { Err(Reason::TransitOnLan) } else { Ok(then.elsewhere()) };
    }
    let Some(presence) = tables.presence(settings.pool.offset(destination)) else {
        return Err(Reason::NoPresence);
    };
    let kind = presence.kind();
    if kind == PresenceKind::Nothing {
        return Err(Reason::NoPresence);
    }
    let mut packet = Packet::parse(frame, arrival.ip, header)?;
    packet.next_ttl()?;
    if packet.header.is_fragment() && !then.follow(&mut packet)? {
        return Ok(then.elsewhere());
    }
    let network = settings.network(LocalAddress(packet.content.source));
    let (key, direction) = match kind {
        PresenceKind::Nothing => return Err(Reason::NoPresence),
        PresenceKind::Service(service) => {
            (to_service(settings, &packet, network, service, arrival)?, Direction::Forward)
        }
        PresenceKind::Client => {
            let nat = NatKey::new(packet.local_ends(Direction::Reverse), packet.content.protocol);
            let mut key = tables.nat(Stage::Confirmed, &nat);
            if key.is_none() {
                key = tables.nat(Stage::Opening, &nat);
            }
            let Some(key) = key else { return Err(Reason::NotAReply) };
            its_own(network, arrival)?;
            (key, Direction::Reverse)
        }
    };
    Ok(then.of_flow(&packet, &key, direction))
}

/// Names the flow of a packet from the LAN to a service, if its sender is one of the site's clients.
#[inline(always)]
fn to_service(
    settings: &Settings,
    packet: &Packet,
    network: Option<&Network>,
    service: TransitAddress,
    arrival: Arrival,
) -> Result<FlowKey, Reason> {
    let client = LocalAddress(packet.content.source);
    if settings.pool.contains(client.0) {
        return Err(Reason::SpoofedSource);
    }
    let network = its_own(network, arrival)?;
    let ends = Endpoints {
        client: settings.client(network, client),
        client_port: packet.content.source_port,
        service,
        service_port: packet.content.destination_port,
    };
    Ok(FlowKey::new(ends, packet.content.protocol))
}

/// The network that a sender is in, if that is behind the interface which its packet came in by.
#[inline(always)]
fn its_own(network: Option<&Network>, arrival: Arrival) -> Result<&Network, Reason> {
    let Some(network) = network else { return Err(Reason::NotAClient) };
    if network.interface != arrival.interface {
        return Err(Reason::WrongInterface);
    }
    Ok(network)
}
