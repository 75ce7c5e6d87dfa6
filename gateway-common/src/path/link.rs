//! The link side: packets from another gateway, to this site's hosts or on to a third site.

use core::cell::Cell;

use super::{Arrival, Origin, Packet, Parts, Passage, Refusal};
use crate::{
    LocalAddress, Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, FlowKey, NetworkFlags, Route, Settings, Side},
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
    let link = Link { frame, tables, settings, arrival, executor, mtu: Cell::new(0) };
    match link.decide() {
        Ok(action) => action,
        Err(reason) => {
            let refusal = Refusal { reason, side: Side::LINK, mtu: link.mtu.get() };
            executor.turn_down(frame, tables, arrival, refusal)
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
    /// Of what the packet is too big for.
    mtu: Cell<u32>,
}

impl<F: Frame, T: Tables, E: Parts> Link<'_, F, T, E> {
    #[inline(always)]
    fn decide(&self) -> Result<E::Action, Reason> {
        let Self { frame, tables, settings, arrival, .. } = *self;
        let Some(header) = frame.load::<Ipv4Header>(arrival.ip) else {
            return Err(Reason::Truncated);
        };
        let mut packet = Packet::parse(frame, arrival.ip, header)?;
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
        if packet.header.is_fragment() && to.is_own() {
            self.executor.follow(tables, &mut packet, arrival, Side::LINK)?;
        }
        if !to.is_own() && settings.relay == 0 {
            return Err(Reason::RelayOff);
        }
        let is_relayed = !to.is_own();
        let to_service = settings.is_service(destination);
        let direction =
            if is_relayed || to_service { Direction::Forward } else { Direction::Reverse };
        let origin = if is_relayed { Origin::Relay } else { Origin::Link };
        let key = FlowKey::new(packet.transit_ends(direction), packet.content.protocol);
        let mut passage = Passage::new(&packet, &key, direction, arrival, origin, from.site);
        let (egress, mtu) = if is_relayed {
            onward(from, to)
        } else {
            self.executor.admit(tables, settings, &key, &mut passage)?;
            self.to_lan(passage.receiver())?
        };
        if passage.is_too_big(mtu) {
            self.mtu.set(mtu);
            return Err(Reason::TooBig);
        }
        passage.egress = egress;
        passage.mtu = from.mtu;
        Ok(self.executor.send(frame, tables, arrival, &passage))
    }

    /// The way to a host of this site, out of the interface behind which its client network is, and what
    /// fits there.
    #[inline(always)]
    fn to_lan(&self, receiver: LocalAddress) -> Result<(Egress, u32), Reason> {
        let Some(network) = self.settings.network(receiver) else {
            return Err(Reason::BackendMoved);
        };
        let way = if network.flags.has(NetworkFlags::HOST) {
            Way::Host
        } else if network.flags.has(NetworkFlags::ON_LINK) {
            Way::Neighbour
        } else {
            Way::Lan
        };
        Ok((Egress { interface: network.interface, way }, network.mtu))
    }
}

/// The way to a third site, and what fits both links.
#[inline(always)]
fn onward(from: Route, to: Route) -> (Egress, u32) {
    let mtu = if from.mtu < to.mtu { from.mtu } else { to.mtu };
    (Egress { interface: to.link, way: Way::Relay }, mtu)
}
