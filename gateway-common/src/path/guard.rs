//! The guard: the LAN side's refusals, asked before the kernel makes a packet of the frame. It refuses
//! what `lan` would refuse for reasons that need no change of any table; everything else passes
//! untouched, and `lan` decides. ARP too: an answer from here would not arrive everywhere (a veth's far
//! end takes what XDP sends back only if it runs a program of its own).

use super::{
    Arrival, Packet,
    admit::would_admit,
    approach::{Approach, approach},
};
use crate::{
    Reason,
    frame::Frame,
    map::{Counter, Direction, FlowKey, Settings},
    tables::Tables,
    verdict::Executor,
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
    approach(frame, tables, settings, arrival, &guard).unwrap_or_else(|reason| guard.refuse(reason))
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
    fn arp(&self) -> E::Action {
        self.executor.pass()
    }

    /// That would change what is known of the datagram.
    #[inline(always)]
    fn follow(&self, packet: &mut Packet) -> Result<bool, Reason> {
        Ok(!packet.header.is_later_fragment())
    }

    #[inline(always)]
    fn of_flow(&self, packet: &Packet, key: &FlowKey, direction: Direction) -> E::Action {
        let Self { tables, settings, arrival, executor } = *self;
        match would_admit(tables, settings, key, packet, direction, arrival.now) {
            Ok(()) => executor.pass(),
            Err(reason) => self.refuse(reason),
        }
    }
}

impl<T: Tables, E: Executor> Guard<'_, T, E> {
    #[inline(always)]
    fn refuse(&self, reason: Reason) -> E::Action {
        // `lan` tells the sender.
        if reason == Reason::TtlExpired {
            return self.executor.pass();
        }
        self.tables.count(Counter::Refused(reason));
        self.executor.refuse(reason)
    }
}
