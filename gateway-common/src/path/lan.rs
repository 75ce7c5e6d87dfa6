//! The LAN side: packets from this site's hosts to presences, into a link.

use core::cell::Cell;

use super::{
    Arrival, Origin, Packet, Parts, Passage, Refusal,
    approach::{Approach, approach},
    arp,
};
use crate::{
    Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, FlowKey, Outcome, Route, Settings, Side, SiteNumber},
    tables::Tables,
    verdict::{Egress, Way},
};

/// Handles a frame that came in on a LAN interface, and counts it.
#[inline(always)]
pub fn lan<F: Frame, T: Tables, E: Parts>(
    frame: &F,
    tables: &T,
    arrival: Arrival,
    executor: &E,
) -> E::Action {
    let Some(settings) = tables.settings() else {
        tables.count(Counter::Outcome(Outcome::Passed));
        return executor.pass();
    };
    let lan = Lan { frame, tables, settings, arrival, executor, mtu: Cell::new(0) };
    match approach(frame, tables, settings, arrival, &lan) {
        Ok(action) => action,
        Err(reason) => {
            let refusal = Refusal { reason, side: Side::LAN, mtu: lan.mtu.get() };
            executor.turn_down(frame, tables, arrival, refusal)
        }
    }
}

/// What is at hand while one frame is handled.
struct Lan<'a, F, T, E> {
    frame: &'a F,
    tables: &'a T,
    settings: &'a Settings,
    arrival: Arrival,
    executor: &'a E,
    /// Of the link that the packet is too big for.
    mtu: Cell<u32>,
}

impl<F: Frame, T: Tables, E: Parts> Approach for Lan<'_, F, T, E> {
    type Action = E::Action;

    #[inline(always)]
    fn elsewhere(&self) -> E::Action {
        self.tables.count(Counter::Outcome(Outcome::Passed));
        self.executor.pass()
    }

    #[inline(always)]
    fn arp(&self) -> E::Action {
        match arp::reply(self.frame, self.tables, self.settings, self.arrival) {
            Some(reply) => {
                self.tables.count(Counter::Outcome(Outcome::Answered));
                self.executor.answer(&reply)
            }
            None => self.elsewhere(),
        }
    }

    #[inline(always)]
    fn follow(&self, packet: &mut Packet) -> Result<bool, Reason> {
        let Self { tables, arrival, .. } = *self;
        self.executor.follow(tables, packet, arrival, Side::LAN)?;
        Ok(true)
    }

    #[inline(always)]
    fn of_flow(
        &self,
        packet: &Packet,
        key: &FlowKey,
        direction: Direction,
    ) -> Result<E::Action, Reason> {
        let Self { frame, tables, settings, arrival, .. } = *self;
        let receiver = match direction {
            Direction::Forward => key.service,
            Direction::Reverse => key.client,
        };
        let route = link_to(tables, settings, receiver)?;
        let mut passage = Passage::new(packet, key, direction, arrival, Origin::Lan, SiteNumber(0));
        self.executor.admit(tables, settings, key, &mut passage)?;
        if passage.is_too_big(route.mtu) {
            self.mtu.set(route.mtu);
            return Err(Reason::TooBig);
        }
        passage.egress = Egress { interface: route.link, way: Way::Link };
        passage.mtu = route.mtu;
        Ok(self.executor.send(frame, tables, arrival, &passage))
    }
}

/// The link that reaches a transit address of another site.
#[inline(always)]
fn link_to<T: Tables>(
    tables: &T,
    settings: &Settings,
    address: TransitAddress,
) -> Result<Route, Reason> {
    match tables.route(Route::granule(&settings.transit, address)) {
        Some(route) if route.is_set() && !route.is_own() => Ok(route),
        Some(_) | None => Err(Reason::NoRoute),
    }
}
