//! What a frame on the LAN is, as far as this site's addresses tell. Shared by `guard` and `lan`.

use super::{Arrival, Packet, arp, packet};
use crate::{
    LocalAddress, Reason, TransitAddress,
    frame::Frame,
    map::{Endpoints, FlowKey, NatKey, PresenceKind, Settings},
    tables::Tables,
    verdict::ArpReply,
    wire::{EtherType, Ethernet, Ipv4Header},
};

/// What to do with each kind of frame on the LAN.
pub(super) trait Approach {
    /// What the hook returns.
    type Action;

    /// Not for a presence.
    fn elsewhere(&self) -> Self::Action;
    /// Somebody asked who has a presence's address.
    fn arp(&self, reply: &ArpReply) -> Self::Action;
    /// From one of this site's clients to the presence of a service.
    fn to_service(
        &self,
        packet: &Packet,
        client: LocalAddress,
        key: &FlowKey,
    ) -> Result<Self::Action, Reason>;
    /// From a back end to a client presence.
    fn to_client(&self, packet: &Packet, nat: &NatKey) -> Result<Self::Action, Reason>;
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
    let Some(ethernet) = frame.load::<Ethernet>(0) else { return Ok(then.elsewhere()) };
    if ethernet.ether_type == EtherType::ARP {
        return Ok(match arp::reply(frame, tables, settings, arrival) {
            Some(reply) => then.arp(&reply),
            None => then.elsewhere(),
        });
    }
    if ethernet.ether_type != EtherType::IPV4 || !arrival.for_us {
        return Ok(then.elsewhere());
    }
    let Some(header) = frame.load::<Ipv4Header>(arrival.ip) else { return Ok(then.elsewhere()) };
    let destination = packet::address(header.destination);
    if !settings.pool.contains(destination) {
        let transit = settings.transit.contains(destination);
        return if transit { Err(Reason::TransitOnLan) } else { Ok(then.elsewhere()) };
    }
    let Some(presence) = tables.presence(settings.pool.offset(destination)) else {
        return Err(Reason::NoPresence);
    };
    match presence.kind() {
        PresenceKind::Nothing => Err(Reason::NoPresence),
        PresenceKind::Service(service) => {
            let packet = Packet::parse(frame, arrival.ip, header)?;
            let client = LocalAddress(packet.source());
            let key = to_service_key(settings, &packet, client, service, arrival)?;
            then.to_service(&packet, client, &key)
        }
        PresenceKind::Client => {
            let packet = Packet::parse(frame, arrival.ip, header)?;
            let ends = Endpoints {
                client: LocalAddress(destination),
                client_port: packet.destination_port,
                service: LocalAddress(packet.source()),
                service_port: packet.source_port,
            };
            let nat = NatKey::new(ends, packet.protocol());
            then.to_client(&packet, &nat)
        }
    }
}

/// Names the flow of a packet from the LAN to a service, if its sender is one of the site's clients.
#[inline(always)]
fn to_service_key(
    settings: &Settings,
    packet: &Packet,
    client: LocalAddress,
    service: TransitAddress,
    arrival: Arrival,
) -> Result<FlowKey, Reason> {
    if settings.pool.contains(client.0) {
        return Err(Reason::SpoofedSource);
    }
    let Some(network) = settings.network(client) else { return Err(Reason::NotAClient) };
    if network.interface != arrival.interface {
        return Err(Reason::WrongInterface);
    }
    let ends = Endpoints {
        client: settings.client(network, client),
        client_port: packet.source_port,
        service,
        service_port: packet.destination_port,
    };
    Ok(FlowKey::new(ends, packet.protocol()))
}
