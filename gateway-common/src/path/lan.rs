//! The LAN side: packets from this site's hosts to presences, into a link.

use super::{
    Arrival, Packet,
    admit::{self, Known},
    approach::{Approach, approach},
    flow,
    translate::translate,
};
use crate::{
    LocalAddress, Reason,
    frame::Frame,
    map::{Counter, Direction, FlowKey, NatKey, Outcome, Settings},
    tables::{FlowSlot, Tables},
    verdict::{ArpReply, Egress, Executor, Forward, Rewrite, Way},
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

    #[inline(always)]
    fn elsewhere(&self) -> E::Action {
        self.tables.count(Counter::Outcome(Outcome::Passed));
        self.executor.pass()
    }

    #[inline(always)]
    fn arp(&self, reply: &ArpReply) -> E::Action {
        self.tables.count(Counter::Outcome(Outcome::Answered));
        self.executor.answer(reply)
    }

    /// A client's packet to a service: known flow, or opened now.
    #[inline(always)]
    fn to_service(
        &self,
        packet: &Packet,
        client: LocalAddress,
        key: &FlowKey,
    ) -> Result<E::Action, Reason> {
        let Self { frame, tables, settings, arrival, .. } = *self;
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
        Ok(self.hand_to_link(rewrite, interface, rule))
    }

    /// A back end's packet to a client presence: the reverse of a known flow, or nothing.
    #[inline(always)]
    fn to_client(&self, packet: &Packet, nat: &NatKey) -> Result<E::Action, Reason> {
        let Self { frame, tables, settings, arrival, .. } = *self;
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
        Ok(self.hand_to_link(rewrite, interface, rule))
    }
}

impl<F: Frame, T: Tables, E: Executor> Lan<'_, F, T, E> {
    #[inline(always)]
    fn hand_to_link(&self, rewrite: Rewrite, interface: u32, rule: u32) -> E::Action {
        self.tables.count(Counter::Outcome(Outcome::ToLink));
        let egress = Egress { interface, way: Way::Link };
        self.executor.forward(&Forward { rewrite, egress, rule })
    }
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
