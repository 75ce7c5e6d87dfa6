//! The parts of the path that the kernel makes functions of their own. Its verifier follows such a part once,
//! for whatever it may be given, and not once for each way to it; and what comes after it once for all.
//!
//! `lan` and `link` call them through [`Parts`]; anywhere but in the kernel they are plain calls.

use super::{Arrival, Packet, Passage, Refusal, admit, fragment, refusal, translate};
use crate::{
    Reason,
    frame::Frame,
    map::{FlowKey, Settings, Side},
    tables::Tables,
    verdict::Executor,
};

/// How the parts are reached.
pub trait Parts: Executor + Sized {
    /// [`super::follow`].
    #[inline(always)]
    fn follow<T: Tables>(
        &self,
        tables: &T,
        packet: &mut Packet,
        arrival: Arrival,
        side: Side,
    ) -> Result<(), Reason> {
        let content = &mut packet.content;
        let ports = [content.source_port, content.destination_port];
        let ports = fragment::follow(tables, &packet.header, ports, arrival.now, side)?;
        [content.source_port, content.destination_port] = ports;
        Ok(())
    }

    /// [`super::carry`].
    #[inline(always)]
    fn carry<T: Tables>(
        &self,
        tables: &T,
        settings: &Settings,
        key: &FlowKey,
        passage: &mut Passage,
    ) -> Result<bool, Reason> {
        admit::carry(tables, settings, key, passage)
    }

    /// [`super::open`].
    #[inline(always)]
    fn open<T: Tables>(
        &self,
        tables: &T,
        settings: &Settings,
        key: &FlowKey,
        passage: &mut Passage,
    ) -> Result<(), Reason> {
        admit::open(tables, settings, key, passage)
    }

    /// Lets the flow `key` carry a packet: a known flow, or one that the packet opens now.
    #[inline(always)]
    fn admit<T: Tables>(
        &self,
        tables: &T,
        settings: &Settings,
        key: &FlowKey,
        passage: &mut Passage,
    ) -> Result<(), Reason> {
        if self.carry(tables, settings, key, passage)? {
            return Ok(());
        }
        self.open(tables, settings, key, passage)
    }

    /// [`super::send`].
    #[inline(always)]
    fn send<F: Frame, T: Tables>(
        &self,
        frame: &F,
        tables: &T,
        arrival: Arrival,
        passage: &Passage,
    ) -> Self::Action {
        translate::send(frame, tables, arrival.ip, passage, self)
    }

    /// [`super::refuse`].
    #[inline(always)]
    fn turn_down<F: Frame, T: Tables>(
        &self,
        frame: &F,
        tables: &T,
        arrival: Arrival,
        refusal: Refusal,
    ) -> Self::Action {
        refusal::refuse(frame, tables, arrival, refusal, self)
    }
}
