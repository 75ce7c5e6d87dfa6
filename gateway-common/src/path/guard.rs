//! The guard: the LAN side's refusals, asked before the kernel makes a packet of the frame. It answers
//! ARP and refuses what `lan` would refuse for reasons that need no change of any table; everything
//! else passes untouched, and `lan` decides.

use super::{
    Arrival, Packet,
    admit::{self, Known},
    approach::{Approach, approach},
};
use crate::{
    LocalAddress, Reason,
    frame::Frame,
    map::{Counter, Direction, FlowKey, NatKey, Outcome, Settings},
    tables::Tables,
    verdict::{ArpReply, Executor},
};

/// Handles a frame before it enters the stack. What passes is not counted here.
#[inline(always)]
pub fn guard<F: Frame, T: Tables, E: Executor>(
    frame: &F,
    tables: &T,
    arrival: Arrival,
    executor: &E,
) -> E::Action {
    let Some(settings) = tables.settings() else { return executor.pass() };
    let guard = Guard { tables, settings, arrival, executor };
    match approach(frame, tables, settings, arrival, &guard) {
        Ok(action) => action,
        Err(reason) => {
            tables.count(Counter::Refused(reason));
            executor.refuse(reason)
        }
    }
}

/// What is at hand while one frame is handled.
struct Guard<'a, T, E> {
    tables: &'a T,
    settings: &'a Settings,
    arrival: Arrival,
    executor: &'a E,
}

impl<T: Tables, E: Executor> Approach for Guard<'_, T, E> {
    type Action = E::Action;

    #[inline(always)]
    fn elsewhere(&self) -> E::Action {
        self.executor.pass()
    }

    #[inline(always)]
    fn arp(&self, reply: &ArpReply) -> E::Action {
        self.tables.count(Counter::Outcome(Outcome::Answered));
        self.executor.answer(reply)
    }

    #[inline(always)]
    fn to_service(
        &self,
        packet: &Packet,
        _: LocalAddress,
        key: &FlowKey,
    ) -> Result<E::Action, Reason> {
        self.may_go_on(packet, key, Direction::Forward)
    }

    #[inline(always)]
    fn to_client(&self, packet: &Packet, nat: &NatKey) -> Result<E::Action, Reason> {
        match self.tables.nat(nat) {
            Some(key) => self.may_go_on(packet, &key, Direction::Reverse),
            None => Err(Reason::NoFlow),
        }
    }
}

impl<T: Tables, E: Executor> Guard<'_, T, E> {
    /// Passes a packet that its flow may carry, or that may open it.
    #[inline(always)]
    fn may_go_on(
        &self,
        packet: &Packet,
        key: &FlowKey,
        direction: Direction,
    ) -> Result<E::Action, Reason> {
        packet.next_ttl()?;
        match admit::known(self.tables, self.settings, key, self.arrival) {
            Some(Known { stale: false, .. }) => {}
            Some(known) => {
                admit::judge_known(self.tables, key, &known.flow)?;
            }
            None => match direction {
                Direction::Forward => {
                    admit::judge(self.tables, key)?;
                    packet.opens()?;
                }
                Direction::Reverse => return Err(Reason::NoFlow),
            },
        }
        Ok(self.executor.pass())
    }
}
