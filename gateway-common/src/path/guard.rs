//! The guard: the LAN side's refusals, asked before the kernel makes a packet of the frame. It answers
//! ARP and refuses what `lan` would refuse for reasons that need no change of any table; everything
//! else passes untouched, and `lan` decides.

use super::{
    Arrival, Packet,
    admit::{self, Known},
    arp::arp,
    lan::{Approach, approach},
};
use crate::{
    Reason,
    frame::Frame,
    map::{Direction, FlowKey, Settings},
    tables::Tables,
    verdict::Verdict,
};

/// What to do with a frame before it enters the stack. What passes is not counted here.
#[inline(always)]
pub fn guard<F: Frame, T: Tables>(frame: &F, tables: &T, arrival: Arrival) -> Verdict {
    let verdict = decide(frame, tables, arrival).unwrap_or_else(Verdict::Refuse);
    match verdict {
        Verdict::Pass => {}
        Verdict::Refuse(_) | Verdict::Answer(_) | Verdict::Forward(_) => {
            tables.count(verdict.counter());
        }
    }
    verdict
}

#[inline(always)]
fn decide<F: Frame, T: Tables>(frame: &F, tables: &T, arrival: Arrival) -> Result<Verdict, Reason> {
    let Some(settings) = tables.settings() else { return Ok(Verdict::Pass) };
    match approach(frame, tables, settings, arrival)? {
        Approach::Pass => {}
        Approach::Arp => return Ok(arp(frame, tables, settings, arrival)),
        Approach::ToService { packet, key, .. } => {
            let direction = Direction::Forward;
            may_go_on(tables, settings, &key, &packet, direction, arrival)?;
        }
        Approach::ToClient { packet, nat } => {
            let Some(key) = tables.nat(&nat) else { return Err(Reason::NoFlow) };
            let direction = Direction::Reverse;
            may_go_on(tables, settings, &key, &packet, direction, arrival)?;
        }
    }
    Ok(Verdict::Pass)
}

/// Whether the flow `key` may carry `packet`, or be opened by it.
#[inline(always)]
fn may_go_on<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    packet: &Packet,
    direction: Direction,
    arrival: Arrival,
) -> Result<(), Reason> {
    packet.next_ttl()?;
    match (admit::known(tables, settings, key, arrival), direction) {
        (Some(Known { stale: false, .. }), _) => Ok(()),
        (Some(known), _) => admit::judge_known(tables, key, &known.flow).map(|_| ()),
        (None, Direction::Forward) => {
            admit::judge(tables, key)?;
            packet.opens()
        }
        (None, Direction::Reverse) => Err(Reason::NoFlow),
    }
}
