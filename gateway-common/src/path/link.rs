//! The link side: packets from another gateway, to this site's hosts or on to a third site.

use super::{
    Arrival, Packet,
    admit::{From, admit},
    fragment,
    packet::address,
    translate::translate,
};
use crate::{
    Ipv4, LocalAddress, Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, Endpoints, FlowKey, NetworkFlags, Route, Settings, Side},
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
            fragment::forget(frame, tables, arrival, Side::LINK, reason);
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
        let mut packet = Packet::parse(frame, arrival.ip, header)?;
        packet.next_ttl()?;
        // Between gateways an error comes from the end that the quoted packet was going to, or it was
        // not translated by the gateway that is there.
        let source = TransitAddress(address(packet.header.source));
        if source.0 != packet.source {
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
        let onward = if to.is_own() {
            self.to_lan(&mut packet, from)?
        } else {
            self.to_link(&packet, from, to)?
        };
        let Onward { ends, direction, link, mtu, rule } = onward;
        let rewrite = translate(frame, &packet, mtu, ends, direction)?;
        // Last: the verifier follows what comes after once for every way that is known before.
        let egress = match link {
            0 => self.egress(address(rewrite.header.destination))?,
            interface => Egress { interface, way: Way::Relay },
        };
        let forward = Forward { rewrite, egress, rule };
        tables.count(forward.counter());
        Ok(self.executor.forward(&forward))
    }

    /// A packet between two other sites: its ends stay.
    #[inline(always)]
    fn to_link(&self, packet: &Packet, from: Route, to: Route) -> Result<Onward, Reason> {
        if self.settings.relay == 0 {
            return Err(Reason::RelayOff);
        }
        let direction = Direction::Forward;
        let mtu = if from.mtu < to.mtu { from.mtu } else { to.mtu };
        Ok(Onward {
            ends: packet.transit_ends(direction).untyped(),
            direction,
            link: to.link,
            mtu,
            rule: 0,
        })
    }

    /// A packet to one of this site's services, or the reply to one of its clients: out of the
    /// interface behind which its receiver is.
    #[inline(always)]
    fn to_lan(&self, packet: &mut Packet, from: Route) -> Result<Onward, Reason> {
        let Self { tables, settings, arrival, .. } = *self;
        if packet.header.is_fragment() {
            fragment::follow(tables, packet, arrival, Side::LINK)?;
        }
        let to_service = settings.is_service(TransitAddress(packet.destination()));
        let direction = if to_service { Direction::Forward } else { Direction::Reverse };
        let key = FlowKey::new(packet.transit_ends(direction), packet.protocol);
        let origin = From::Link(from.site);
        let passage = admit(tables, settings, &key, packet, direction, arrival, origin)?;
        let (ends, rule) = (passage.ends.untyped(), passage.rule);
        Ok(Onward { ends, direction, link: 0, mtu: from.mtu, rule })
    }

    /// The way to a host of this site: out of the interface behind which its client network is.
    #[inline(always)]
    fn egress(&self, receiver: Ipv4) -> Result<Egress, Reason> {
        let Some(network) = self.settings.network(LocalAddress(receiver)) else {
            return Err(Reason::BackendMoved);
        };
        let way = if network.flags.has(NetworkFlags::HOST) {
            Way::Host
        } else if network.flags.has(NetworkFlags::ON_LINK) {
            Way::Neighbour
        } else {
            Way::Lan
        };
        Ok(Egress { interface: network.interface, way })
    }
}

/// How a packet goes on.
#[derive(Clone, Copy)]
struct Onward {
    ends: Endpoints<Ipv4>,
    direction: Direction,
    /// Index of the link to a third site; 0 to a host of this one.
    link: u32,
    /// Of the links it goes through, the smaller.
    mtu: u32,
    rule: u32,
}
