//! The LAN side: packets from this site's hosts to presences, into a link.

use super::{
    Arrival, Packet,
    admit::{self, Known},
    arp::arp,
    flow, packet,
    translate::translate,
};
use crate::{
    LocalAddress, Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, FlowKey, NatKey, Outcome, PresenceKind, Settings},
    tables::{FlowSlot, Tables},
    verdict::{Egress, Forward, Verdict},
    wire::{EtherType, Ethernet, Ipv4Header},
};

/// What to do with a frame that came in on a LAN interface, counted.
#[inline(always)]
pub fn lan<F: Frame, T: Tables>(frame: &F, tables: &T, arrival: Arrival) -> Verdict {
    let verdict = decide(frame, tables, arrival).unwrap_or_else(Verdict::Refuse);
    tables.count(verdict.counter());
    verdict
}

#[inline(always)]
fn decide<F: Frame, T: Tables>(frame: &F, tables: &T, arrival: Arrival) -> Result<Verdict, Reason> {
    let Some(settings) = tables.settings() else { return Ok(Verdict::Pass) };
    match approach(frame, tables, settings, arrival)? {
        Approach::Pass => Ok(Verdict::Pass),
        Approach::Arp => Ok(arp(frame, tables, settings, arrival)),
        Approach::ToService { packet, client, key } => {
            to_service(frame, tables, settings, &packet, client, &key, arrival)
        }
        Approach::ToClient { packet, nat } => {
            to_client(frame, tables, settings, &packet, &nat, arrival)
        }
    }
}

/// What a frame on the LAN is, as far as this site's addresses tell.
pub(super) enum Approach {
    /// Not for a presence.
    Pass,
    /// An ARP message.
    Arp,
    /// From one of this site's clients to the presence of a service.
    ToService { packet: Packet, client: LocalAddress, key: FlowKey },
    /// From a back end to a client presence.
    ToClient { packet: Packet, nat: NatKey },
}

/// Finds out what a frame on the LAN is. Packets that are not for the pool or the transit range pass
/// whatever they look like; the host's stack is the judge of those.
#[inline(always)]
pub(super) fn approach<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    settings: &Settings,
    arrival: Arrival,
) -> Result<Approach, Reason> {
    let Some(ethernet) = frame.load::<Ethernet>(0) else { return Ok(Approach::Pass) };
    match ethernet.ether_type {
        EtherType::ARP => return Ok(Approach::Arp),
        EtherType::IPV4 if arrival.for_us => {}
        _ => return Ok(Approach::Pass),
    }
    let Some(header) = frame.load::<Ipv4Header>(arrival.ip) else { return Ok(Approach::Pass) };
    let destination = packet::address(header.destination);
    if !settings.pool.contains(destination) {
        let transit = settings.transit.contains(destination);
        return if transit { Err(Reason::TransitOnLan) } else { Ok(Approach::Pass) };
    }
    let Some(presence) = tables.presence(settings.pool.offset(destination)) else {
        return Err(Reason::NoPresence);
    };
    match presence.kind() {
        PresenceKind::Nothing => Err(Reason::NoPresence),
        PresenceKind::Service(service) => {
            let packet = Packet::parse(frame, arrival.ip, header)?;
            to_service_key(settings, packet, service, arrival)
        }
        PresenceKind::Client => {
            let packet = Packet::parse(frame, arrival.ip, header)?;
            let nat = NatKey {
                backend: LocalAddress(packet.source()),
                clients: LocalAddress(destination),
                backend_port: packet.source_port,
                client_port: packet.destination_port,
                protocol: packet.protocol(),
                padding: [0; 3],
            };
            Ok(Approach::ToClient { packet, nat })
        }
    }
}

/// Names the flow of a packet from the LAN to a service, if its sender is one of the site's clients.
#[inline(always)]
fn to_service_key(
    settings: &Settings,
    packet: Packet,
    service: TransitAddress,
    arrival: Arrival,
) -> Result<Approach, Reason> {
    let client = LocalAddress(packet.source());
    if settings.pool.contains(client.0) {
        return Err(Reason::SpoofedSource);
    }
    let Some(network) = settings.network(client) else { return Err(Reason::NotAClient) };
    if network.interface != arrival.interface {
        return Err(Reason::WrongInterface);
    }
    let key = FlowKey {
        client: settings.client(network, client),
        service,
        client_port: packet.source_port,
        service_port: packet.destination_port,
        protocol: packet.protocol(),
        padding: [0; 3],
    };
    Ok(Approach::ToService { packet, client, key })
}

/// A client's packet to a service: known flow, or opened now.
#[inline(always)]
fn to_service<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
    client: LocalAddress,
    key: &FlowKey,
    arrival: Arrival,
) -> Result<Verdict, Reason> {
    let direction = Direction::Forward;
    let interface = admit::link_to(tables, settings, key.service)?;
    let rewrite = translate(frame, packet, settings, key.endpoints(), direction)?;
    let rule = match admit::known(tables, settings, key, arrival) {
        Some(known) => go_on(tables, settings, key, &known, packet, direction, arrival)?,
        None => {
            let judgement = admit::judge(tables, key)?;
            packet.opens()?;
            admit::open(tables, settings, key, judgement, Some(client), packet, arrival)?;
            tables.count(Counter::Outcome(Outcome::Opened));
            judgement.rule
        }
    };
    let egress = Egress::Link { interface, relayed: false };
    Ok(Verdict::Forward(Forward { rewrite, egress, rule }))
}

/// A back end's packet to a client presence: the reverse of a known flow, or nothing.
#[inline(always)]
fn to_client<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
    nat: &NatKey,
    arrival: Arrival,
) -> Result<Verdict, Reason> {
    let direction = Direction::Reverse;
    let Some(key) = tables.nat(nat) else { return Err(Reason::NoFlow) };
    let interface = admit::link_to(tables, settings, key.client)?;
    let rewrite = translate(frame, packet, settings, key.endpoints(), direction)?;
    let Some(known) = admit::known(tables, settings, &key, arrival) else {
        return Err(Reason::NoFlow);
    };
    // The entry may outlive its flow and the flow may have been opened anew with another port.
    if known.flow.client_port != nat.client_port || known.flow.service != nat.backend {
        return Err(Reason::NoFlow);
    }
    let rule = go_on(tables, settings, &key, &known, packet, direction, arrival)?;
    let egress = Egress::Link { interface, relayed: false };
    Ok(Verdict::Forward(Forward { rewrite, egress, rule }))
}

/// Lets a known flow carry `packet`, judged anew if the tables changed since.
#[inline(always)]
pub(super) fn go_on<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    known: &Known<T::Slot>,
    packet: &Packet,
    direction: Direction,
    arrival: Arrival,
) -> Result<u32, Reason> {
    let rule = if known.stale { admit::judge_anew(tables, settings, key, known)? } else { 0 };
    known.slot.carried(flow::carried(packet, known.flow.state(), direction, arrival));
    Ok(rule)
}
