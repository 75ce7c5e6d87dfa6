//! The link side: packets from another gateway, to this site's hosts or on to a third site.

use super::{
    Arrival, Packet,
    admit::{From, admit},
    translate::{relay, translate},
};
use crate::{
    Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, FlowKey, Outcome, Route, Settings},
    tables::Tables,
    verdict::{Egress, Executor, Forward, Way},
    wire::Ipv4Header,
};

/// Handles a packet that came out of a link, and counts it. Nothing passes: what is not forwarded is
/// refused.
#[inline(always)]
pub fn link<F: Frame, T: Tables, E: Executor>(
    frame: &F,
    tables: &T,
    arrival: Arrival,
    executor: &E,
) -> E::Action {
    let done = match tables.settings() {
        Some(settings) => Link { frame, tables, settings, arrival, executor }.decide(),
        None => Err(Reason::NotConfigured),
    };
    match done {
        Ok(action) => action,
        Err(reason) => {
            tables.count(Counter::Refused(reason));
            executor.refuse(reason)
        }
    }
}

/// What is at hand while one packet is handled.
struct Link<'a, F, T, E> {
    frame: &'a F,
    tables: &'a T,
    settings: &'a Settings,
    arrival: Arrival,
    executor: &'a E,
}

impl<F: Frame, T: Tables, E: Executor> Link<'_, F, T, E> {
    #[inline(always)]
    fn decide(&self) -> Result<E::Action, Reason> {
        let Self { frame, tables, settings, arrival, .. } = *self;
        let Some(header) = frame.load::<Ipv4Header>(arrival.ip) else {
            return Err(Reason::Truncated);
        };
        let packet = Packet::parse(frame, arrival.ip, header)?;
        packet.next_ttl()?;
        let source = TransitAddress(packet.source());
        let destination = TransitAddress(packet.destination());
        if !settings.transit.contains(source.0) || !settings.transit.contains(destination.0) {
            return Err(Reason::NotTransit);
        }
        // The link's key vouches for the sender: WireGuard delivers a packet only if its source is
        // among the addresses of the peer that sent it. Here the link itself must be that site's.
        let Some(from) = tables.route(Route::granule(&settings.transit, source)) else {
            return Err(Reason::SpoofedSource);
        };
        if !from.is_set() || from.is_own() || from.link != arrival.interface {
            return Err(Reason::SpoofedSource);
        }
        let Some(to) = tables.route(Route::granule(&settings.transit, destination)) else {
            return Err(Reason::NoRoute);
        };
        if !to.is_set() {
            return Err(Reason::NoRoute);
        }
        if !to.is_own() {
            return self.pass_on(&packet, to);
        }
        let direction =
            if settings.is_service(destination) { Direction::Forward } else { Direction::Reverse };
        let key = FlowKey::new(packet.transit_ends(direction), packet.protocol());
        self.to_lan(&packet, &key, direction)
    }

    /// A packet between two other sites.
    #[inline(always)]
    fn pass_on(&self, packet: &Packet, route: Route) -> Result<E::Action, Reason> {
        if self.settings.relay == 0 {
            return Err(Reason::RelayOff);
        }
        let rewrite = relay(packet)?;
        self.tables.count(Counter::Outcome(Outcome::Relayed));
        let egress = Egress { interface: route.link, way: Way::Relay };
        Ok(self.executor.forward(&Forward { rewrite, egress, rule: 0 }))
    }

    /// A packet to one of this site's services, or the reply to one of its clients, translated and
    /// sent out of the interface behind which its receiver is.
    #[inline(always)]
    fn to_lan(
        &self,
        packet: &Packet,
        key: &FlowKey,
        direction: Direction,
    ) -> Result<E::Action, Reason> {
        let Self { frame, tables, settings, arrival, .. } = *self;
        let passage = admit(tables, settings, key, packet, direction, arrival, From::Link)?;
        let receiver = match direction {
            Direction::Forward => passage.ends.service,
            Direction::Reverse => passage.ends.client,
        };
        let Some(network) = settings.network(receiver) else { return Err(Reason::BackendMoved) };
        let rewrite = translate(frame, packet, settings, passage.ends, direction)?;
        tables.count(Counter::Outcome(Outcome::ToLan));
        let egress = Egress { interface: network.interface, way: Way::Lan };
        Ok(self.executor.forward(&Forward { rewrite, egress, rule: passage.rule }))
    }
}
