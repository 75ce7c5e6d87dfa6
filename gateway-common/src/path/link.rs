//! The link side: packets from another gateway, to this site's hosts or on to a third site.

use super::{Arrival, Origin, Packet, Parts, Passage, Refusal, admit::go_on};
use crate::{
    Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, FlowKey, Network, NetworkFlags, Route, Settings, Side},
    tables::Tables,
    verdict::{Egress, Way},
    wire::Ipv4Header,
};

/// Handles a packet that came out of a link, and counts it. Nothing passes: what is not forwarded is
/// refused.
#[inline(always)]
pub fn link<F: Frame, T: Tables, E: Parts>(
    frame: &F,
    tables: &T,
    arrival: Arrival,
    executor: &E,
) -> E::Action {
    let Some(settings) = tables.settings() else {
        tables.count(Counter::Refused(Reason::NotConfigured));
        return executor.refuse(Reason::NotConfigured);
    };
    let link = Link { frame, tables, settings, arrival, executor };
    match link.identify() {
        Ok((packet, from, to)) if to.is_own() => link.deliver(packet, from),
        Ok((packet, from, to)) => link.relay(&packet, from, to),
        Err(reason) => link.turn_down(reason, 0),
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

impl<F: Frame, T: Tables, E: Parts> Link<'_, F, T, E> {
    /// The packet, and the routes to its sender and its receiver.
    #[inline(always)]
    fn identify(&self) -> Result<(Packet, Route, Route), Reason> {
        let Self { frame, tables, settings, arrival, .. } = *self;
        let Some(header) = frame.load::<Ipv4Header>(arrival.ip) else {
            return Err(Reason::Truncated);
        };
        let packet = Packet::parse(frame, arrival.ip, header)?;
        // Between gateways an error comes from the end that the quoted packet was going to, or it was
        // not translated by the gateway that is there.
        let source = TransitAddress(packet.header.source);
        if source.0 != packet.content.source {
            return Err(Reason::SpoofedSource);
        }
        let destination = TransitAddress(packet.destination());
        if !settings.transit.contains(source.0) || !settings.transit.contains(destination.0) {
            return Err(Reason::NotTransit);
        }
        // The link's key vouches for the sender: WireGuard delivers a packet only if its source is
        // among the addresses of the peer that sent it. Here the link itself must be that site's.
        let Some(from) = tables.route(Route::granule(&settings.transit, source)) else {
            return Err(Reason::SpoofedSource);
        };
        if !from.comes_by(arrival.interface) {
            return Err(Reason::SpoofedSource);
        }
        let Some(to) = tables.route(Route::granule(&settings.transit, destination)) else {
            return Err(Reason::NoRoute);
        };
        if !to.is_set() {
            return Err(Reason::NoRoute);
        }
        // Now that its sender is known: it is told.
        packet.next_ttl()?;
        Ok((packet, from, to))
    }

    /// A packet to a third site.
    #[inline(always)]
    fn relay(&self, packet: &Packet, from: Route, to: Route) -> E::Action {
        let Self { frame, tables, settings, arrival, executor } = *self;
        if settings.relay == 0 {
            return self.turn_down(Reason::RelayOff, 0);
        }
        let direction = Direction::Forward;
        let key = FlowKey::new(packet.transit_ends(direction), packet.content.protocol);
        let mut passage = Passage::new(packet, &key, direction, arrival, Origin::Relay, from.site);
        passage.egress = Egress { interface: to.link, way: Way::Relay };
        passage.mtu = from.mtu;
        // What fits both links.
        let mtu = if from.mtu < to.mtu { from.mtu } else { to.mtu };
        if passage.is_too_big(mtu) {
            return self.turn_down(Reason::TooBig, mtu);
        }
        executor.send(frame, tables, arrival, &passage)
    }

    /// A packet to a host of this site.
    #[inline(always)]
    fn deliver(&self, mut packet: Packet, from: Route) -> E::Action {
        let Self { frame, tables, settings, arrival, executor } = *self;
        if packet.header.is_fragment()
            && let Err(reason) = executor.follow(tables, &mut packet, arrival, Side::LINK)
        {
            return self.turn_down(reason, 0);
        }
        let to_service = settings.is_service(TransitAddress(packet.destination()));
        let direction = if to_service { Direction::Forward } else { Direction::Reverse };
        let key = FlowKey::new(packet.transit_ends(direction), packet.content.protocol);
        let mut passage = Passage::new(&packet, &key, direction, arrival, Origin::Link, from.site);
        passage.mtu = from.mtu;
        if !go_on(tables, settings, &key, &mut passage)
            && let Err(reason) = executor.admit(tables, settings, &key, &mut passage)
        {
            return self.turn_down(reason, 0);
        }
        let Some(network) = settings.network(passage.receiver()) else {
            return self.turn_down(Reason::BackendMoved, 0);
        };
        if passage.is_too_big(network.mtu) {
            return self.turn_down(Reason::TooBig, network.mtu);
        }
        passage.egress = to_lan(network);
        executor.send(frame, tables, arrival, &passage)
    }

    /// Refuses the packet, which is too big for what carries `mtu` octets if that is not 0.
    #[inline(always)]
    fn turn_down(&self, reason: Reason, mtu: u32) -> E::Action {
        let refusal = Refusal { reason, side: Side::LINK, mtu };
        self.executor.turn_down(self.frame, self.tables, self.arrival, refusal)
    }
}

/// The way to the hosts of a client network of this site, out of the interface behind which that is.
#[inline(always)]
const fn to_lan(network: &Network) -> Egress {
    let way = if network.flags.has(NetworkFlags::HOST) {
        Way::Host
    } else if network.flags.has(NetworkFlags::ON_LINK) {
        Way::Neighbour
    } else {
        Way::Lan
    };
    Egress { interface: network.interface, way }
}
