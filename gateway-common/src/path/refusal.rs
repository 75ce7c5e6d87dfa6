//! What comes after a packet was refused: it is counted, forgotten if it was the first of several fragments, and
//! its sender may be told. Called by `lan` and `link`.

use super::{Arrival, fragment, icmp_error};
use crate::{
    LocalAddress, Reason,
    frame::Frame,
    map::{Counter, Side},
    tables::Tables,
    verdict::{Executor, Tell},
};

/// A packet that goes no further.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Where it came in.
    pub side: Side,
    /// If it was too big: the largest that would have fitted.
    pub mtu: u32,
}

/// Refuses a packet.
#[inline(always)]
pub fn refuse<F: Frame, T: Tables, E: Executor>(
    frame: &F,
    tables: &T,
    arrival: Arrival,
    refusal: Refusal,
    executor: &E,
) -> E::Action {
    fragment::forget(frame, tables, arrival, refusal);
    tables.count(Counter::Refused(refusal.reason));
    match message(frame, tables, arrival, refusal) {
        Some(tell) => executor.tell(&tell),
        None => executor.refuse(refusal.reason),
    }
}

/// What to tell the sender. On the LAN only a host of this site is told.
#[inline(always)]
fn message<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    arrival: Arrival,
    refusal: Refusal,
) -> Option<Tell> {
    let tell = icmp_error::message(frame, arrival, refusal.reason, refusal.mtu)?;
    if refusal.side == Side::LINK {
        return Some(tell);
    }
    let settings = tables.settings()?;
    let sender = LocalAddress(tell.message.ip.destination);
    let network = settings.network(sender)?;
    let is_there = network.interface == arrival.interface && !settings.pool.contains(sender.0);
    is_there.then_some(tell)
}
