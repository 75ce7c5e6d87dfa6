//! The LAN side: packets from this site's hosts to presences, into a link.

use super::{
    Arrival, Packet,
    admit::{From, admit},
    approach::{Approach, approach},
    arp, fragment,
    translate::translate,
};
use crate::{
    Reason, TransitAddress,
    frame::Frame,
    map::{Counter, Direction, FlowKey, Outcome, Route, Settings, Side},
    tables::Tables,
    verdict::{Egress, Executor, Forward, Way},
};

/// Handles a frame that came in on a LAN interface, and counts it.
#[inline(always)]
pub fn lan<F: Frame, T: Tables, E: Executor>(
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
        Err(reason) => {
            fragment::forget(frame, tables, arrival, Side::LAN, reason);
            tables.count(Counter::Refused(reason));
            executor.refuse(reason)
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
}

impl<F: Frame, T: Tables, E: Executor> Approach for Lan<'_, F, T, E> {
    type Action = E::Action;
    const FOLLOWS_FRAGMENTS: bool = true;

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
        let from = From::Lan;
        let passage = admit(tables, settings, key, packet, direction, arrival, from)?;
        let rewrite = translate(frame, packet, route.mtu, key.endpoints().untyped(), direction)?;
        tables.count(Counter::Outcome(Outcome::ToLink));
        let egress = Egress { interface: route.link, way: Way::Link };
        Ok(self.executor.forward(&Forward { rewrite, egress, rule: passage.rule }))
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
