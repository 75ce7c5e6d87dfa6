//! The link side: packets from another gateway, to this site's hosts or on to a third site.

use super::{
    Arrival, Packet, admit,
    lan::go_on,
    translate::{relay, translate},
};
use crate::{
    LocalAddress, Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, Endpoints, FlowKey, Outcome, Route, Settings},
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
        let carried = if settings.is_service(destination) {
            self.to_service(&packet, source, destination)?
        } else {
            self.to_client(&packet, source, destination)?
        };
        self.to_lan(&packet, carried)
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

    /// A remote client's packet to one of this site's services: known flow, or opened now.
    #[inline(always)]
    fn to_service(
        &self,
        packet: &Packet,
        client: TransitAddress,
        service: TransitAddress,
    ) -> Result<OnLan, Reason> {
        let Self { tables, settings, arrival, .. } = *self;
        let direction = Direction::Forward;
        let ends = Endpoints {
            client,
            client_port: packet.source_port,
            service,
            service_port: packet.destination_port,
        };
        let key = FlowKey::new(ends, packet.protocol());
        match admit::known(tables, settings, &key, arrival) {
            Some(known) => {
                let rule = go_on(tables, settings, &key, &known, packet, direction, arrival)?;
                Ok(OnLan { ends: known.flow.endpoints(), direction, rule })
            }
            None => {
                let judgement = admit::judge(tables, &key)?;
                packet.opens()?;
                let flow = admit::open(tables, settings, &key, judgement, None, packet, arrival)?;
                tables.count(Counter::Outcome(Outcome::Opened));
                Ok(OnLan { ends: flow.endpoints(), direction, rule: judgement.rule })
            }
        }
    }

    /// A remote service's packet to one of this site's clients: the reverse of a known flow, or
    /// nothing.
    #[inline(always)]
    fn to_client(
        &self,
        packet: &Packet,
        service: TransitAddress,
        client: TransitAddress,
    ) -> Result<OnLan, Reason> {
        let Self { tables, settings, arrival, .. } = *self;
        let direction = Direction::Reverse;
        let ends = Endpoints {
            client,
            client_port: packet.destination_port,
            service,
            service_port: packet.source_port,
        };
        let key = FlowKey::new(ends, packet.protocol());
        let Some(known) = admit::known(tables, settings, &key, arrival) else {
            return Err(Reason::NoFlow);
        };
        let rule = go_on(tables, settings, &key, &known, packet, direction, arrival)?;
        Ok(OnLan { ends: known.flow.endpoints(), direction, rule })
    }

    /// Translates a packet and sends it out of the interface behind which its receiver is.
    #[inline(always)]
    fn to_lan(&self, packet: &Packet, to: OnLan) -> Result<E::Action, Reason> {
        let receiver = match to.direction {
            Direction::Forward => to.ends.service,
            Direction::Reverse => to.ends.client,
        };
        let Some(network) = self.settings.network(receiver) else {
            return Err(Reason::BackendMoved);
        };
        let rewrite = translate(self.frame, packet, self.settings, to.ends, to.direction)?;
        self.tables.count(Counter::Outcome(Outcome::ToLan));
        let egress = Egress { interface: network.interface, way: Way::Lan };
        Ok(self.executor.forward(&Forward { rewrite, egress, rule: to.rule }))
    }
}

/// A packet's flow as this site's LAN is to see it.
#[derive(Clone, Copy)]
struct OnLan {
    ends: Endpoints<LocalAddress>,
    direction: Direction,
    rule: u32,
}
