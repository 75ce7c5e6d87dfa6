//! The link side: packets from another gateway, to this site's hosts or on to a third site.

use super::{
    Arrival, Packet, admit,
    lan::go_on,
    translate::{relay, translate},
};
use crate::{
    LocalAddress, Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, Flow, FlowKey, Outcome, Route, Settings},
    tables::Tables,
    verdict::{Egress, Forward, Rewrite, Verdict},
    wire::Ipv4Header,
};

/// What to do with a packet that came out of a link, counted. Nothing passes: what is not forwarded is
/// refused.
#[inline(always)]
pub fn link<F: Frame, T: Tables>(frame: &F, tables: &T, arrival: Arrival) -> Verdict {
    let verdict = decide(frame, tables, arrival).map_or_else(Verdict::Refuse, Verdict::Forward);
    tables.count(verdict.counter());
    verdict
}

#[inline(always)]
fn decide<F: Frame, T: Tables>(frame: &F, tables: &T, arrival: Arrival) -> Result<Forward, Reason> {
    let Some(settings) = tables.settings() else { return Err(Reason::NotConfigured) };
    let Some(header) = frame.load::<Ipv4Header>(arrival.ip) else { return Err(Reason::Truncated) };
    let packet = Packet::parse(frame, arrival.ip, header)?;
    let source = TransitAddress(packet.source());
    let destination = TransitAddress(packet.destination());
    if !settings.transit.contains(source.0) || !settings.transit.contains(destination.0) {
        return Err(Reason::NotTransit);
    }
    // The link's key vouches for the sender: WireGuard delivers a packet only if its source is among
    // the addresses of the peer that sent it. Here the link itself must be the one of that site.
    if admit::link_to(tables, settings, source) != Ok(arrival.interface) {
        return Err(Reason::SpoofedSource);
    }
    match tables.route(Route::granule(&settings.transit, destination)) {
        Some(route) if route.is_own() => {}
        Some(route) if route.is_set() => return pass_on(settings, &packet, route),
        Some(_) | None => return Err(Reason::NoRoute),
    }
    if settings.is_service(destination) {
        to_service(frame, tables, settings, &packet, source, destination, arrival)
    } else {
        to_client(frame, tables, settings, &packet, source, destination, arrival)
    }
}

/// A packet between two other sites.
#[inline(always)]
fn pass_on(settings: &Settings, packet: &Packet, route: Route) -> Result<Forward, Reason> {
    if settings.relay == 0 {
        return Err(Reason::RelayOff);
    }
    let egress = Egress::Link { interface: route.link, relayed: true };
    Ok(Forward { rewrite: relay(packet)?, egress, rule: 0 })
}

/// A remote client's packet to one of this site's services: known flow, or opened now.
#[inline(always)]
fn to_service<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
    client: TransitAddress,
    service: TransitAddress,
    arrival: Arrival,
) -> Result<Forward, Reason> {
    let direction = Direction::Forward;
    let key = FlowKey {
        client,
        service,
        client_port: packet.source_port,
        service_port: packet.destination_port,
        protocol: packet.protocol(),
        padding: [0; 3],
    };
    packet.next_ttl()?;
    let (flow, rule) = match admit::known(tables, settings, &key, arrival) {
        Some(known) => {
            let rule = go_on(tables, settings, &key, &known, packet, direction, arrival)?;
            (known.flow, rule)
        }
        None => {
            let judgement = admit::judge(tables, &key)?;
            packet.opens()?;
            let flow = admit::open(tables, settings, &key, judgement, None, packet, arrival)?;
            tables.count(Counter::Outcome(Outcome::Opened));
            (flow, judgement.rule)
        }
    };
    let rewrite = translate(frame, packet, settings, flow.endpoints(), direction)?;
    to_lan(settings, rewrite, &flow, direction, rule)
}

/// A remote service's packet to one of this site's clients: the reverse of a known flow, or nothing.
#[inline(always)]
fn to_client<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
    service: TransitAddress,
    client: TransitAddress,
    arrival: Arrival,
) -> Result<Forward, Reason> {
    let direction = Direction::Reverse;
    let key = FlowKey {
        client,
        service,
        client_port: packet.destination_port,
        service_port: packet.source_port,
        protocol: packet.protocol(),
        padding: [0; 3],
    };
    let Some(known) = admit::known(tables, settings, &key, arrival) else {
        return Err(Reason::NoFlow);
    };
    let rewrite = translate(frame, packet, settings, known.flow.endpoints(), direction)?;
    let rule = go_on(tables, settings, &key, &known, packet, direction, arrival)?;
    to_lan(settings, rewrite, &known.flow, direction, rule)
}

/// Sends a translated packet out of the interface behind which its receiver is.
#[inline(always)]
fn to_lan(
    settings: &Settings,
    rewrite: Rewrite,
    flow: &Flow,
    direction: Direction,
    rule: u32,
) -> Result<Forward, Reason> {
    let receiver: LocalAddress = match direction {
        Direction::Forward => flow.service,
        Direction::Reverse => flow.client,
    };
    let Some(network) = settings.network(receiver) else { return Err(Reason::BackendMoved) };
    let egress = Egress::Lan { interface: network.interface };
    Ok(Forward { rewrite, egress, rule })
}
