//! The LAN side: packets from this site's hosts to presences, into a link.

use super::{
    Arrival, Origin, Packet, Parts, Passage, Refusal,
    admit::go_on,
    approach::{Approach, approach},
    arp, translate,
};
use crate::{
    Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, FlowKey, Outcome, Route, Settings, Side, SiteNumber},
    tables::Tables,
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
    let lan = Lan { frame, tables, settings, arrival, executor };
    match approach(frame, tables, settings, arrival, &lan) {
        Ok(action) => action,
        Err(reason) => lan.turn_down(reason, 0),
    }
}

/// What is at hand while one frame is handled.
struct Lan<'a, F, T, E> {
    frame: &'a F,
    tables: &'a T,
    settings: &'a Settings,
    arrival: Arrival,
    executor: &'a E,
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
    fn of_flow(&self, packet: &Packet, key: &FlowKey, direction: Direction) -> E::Action {
        let Self { frame, tables, settings, arrival, executor } = *self;
        let receiver = match direction {
            Direction::Forward => key.service,
            Direction::Reverse => key.client,
        };
        let mut passage = Passage::new(packet, key, direction, arrival, Origin::Lan, SiteNumber(0));
        if go_on(tables, settings, key, &mut passage) {
            let Some(route) = link_to(tables, settings, receiver) else {
                return self.turn_down(Reason::NoRoute, 0);
            };
            passage.leave_by(route);
            if passage.is_too_big(passage.mtu) {
                return self.turn_down(Reason::TooBig, passage.mtu);
            }
            return translate::send(frame, tables, arrival.ip, &passage, executor);
        }
        let Some(route) = link_to(tables, settings, receiver) else {
            return self.turn_down(Reason::NoRoute, 0);
        };
        passage.leave_by(route);
        // A copy: what is given to another function has to lie in memory, and the rest need not.
        let mut given = passage;
        if let Err(reason) = executor.admit(tables, settings, key, &mut given) {
            return self.turn_down(reason, 0);
        }
        if given.is_too_big(given.mtu) {
            return self.turn_down(Reason::TooBig, given.mtu);
        }
        executor.send(frame, tables, arrival, &given)
    }
}

impl<F: Frame, T: Tables, E: Parts> Lan<'_, F, T, E> {
    /// Refuses the packet, which is too big for a link that carries `mtu` octets if that is not 0.
    #[inline(always)]
    fn turn_down(&self, reason: Reason, mtu: u32) -> E::Action {
        let refusal = Refusal { reason, side: Side::LAN, mtu };
        self.executor.turn_down(self.frame, self.tables, self.arrival, refusal)
    }
}

/// The link that reaches a transit address of another site.
#[inline(always)]
fn link_to<T: Tables>(tables: &T, settings: &Settings, address: TransitAddress) -> Option<Route> {
    let route = tables.route(Route::granule(&settings.transit, address))?;
    (route.is_set() && !route.is_own()).then_some(route)
}
