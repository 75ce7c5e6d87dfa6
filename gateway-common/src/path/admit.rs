//! Whether a packet's flow may be: found in the table and still allowed, or judged against services,
//! permissions and ports, and opened.

use super::{
    Content, Origin, Packet, Passage, Transport, flow,
    open::{self, confirm},
};
use crate::{
    Ipv4, LocalAddress, Port, Reason, Ticks,
    map::{
        Allow, AllowKey, BackendKey, Counter, Direction, Flow, FlowKey, Outcome, PortKey,
        ServiceKind, Settings,
    },
    tables::{FlowSlot, Stage, Tables},
};

/// Lets a flow that is confirmed, and was judged since the tables changed, carry a packet: what [`carry`] does,
/// for nearly all packets there are. `false` for any other, or if it is to be refused: ask [`carry`].
#[inline(always)]
pub(super) fn go_on<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    passage: &mut Passage,
) -> bool {
    let content = &passage.content;
    if !content.is_plain() {
        return false;
    }
    let Some(slot) = tables.flow(Stage::Confirmed, key) else { return false };
    let flow = slot.read();
    if flow.generation != settings.generation
        || !flow::is_alive(&flow, settings, passage.now)
        || check_reply(&flow, content, passage.direction, passage.origin).is_err()
    {
        return false;
    }
    slot.carried(flow::carried(passage, flow.state()));
    passage.granted(flow.endpoints(), 0);
    true
}

/// Lets the flow `key`, judged anew if the tables changed since, carry a packet. `false` if it is not known.
#[inline(always)]
pub fn carry<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    passage: &mut Passage,
) -> Result<bool, Reason> {
    let content = &passage.content;
    let direction = passage.direction;
    let (stage, slot) = find(tables, settings, key, passage.now);
    let Some(slot) = slot else { return Ok(false) };
    let flow = slot.read();
    check_reply(&flow, content, direction, passage.origin)?;
    let rule = if flow.generation == settings.generation {
        0
    } else {
        judge_anew(tables, settings, stage, key, &flow, &slot)?
    };
    // An error keeps nothing alive (RFC 5508 section 4.3, REQ-6, asks that of a NAT) and counts for
    // nothing: a router may have sent it, not the flow's other end.
    if content.transport != Transport::Error {
        let carried = flow::carried(passage, flow.state());
        slot.carried(carried);
        if stage == Stage::Opening && flow::is_wanted(&flow, carried.state) {
            let here = (passage.origin == Origin::Link) == (direction == Direction::Forward);
            confirm(tables, key, &slot.read(), here)?;
        }
    }
    passage.granted(flow.endpoints(), rule);
    Ok(true)
}

/// Opens the flow `key` for its first packet, if the tables allow it.
#[inline(always)]
pub fn open<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    passage: &mut Passage,
) -> Result<(), Reason> {
    if passage.direction == Direction::Reverse {
        return Err(Reason::NoFlow);
    }
    let judgement = judge(tables, key)?;
    passage.content.opens(settings.adopt != 0)?;
    let ends = open::enter(tables, settings, key, judgement, passage)?;
    passage.granted(ends, judgement.allow.rule);
    tables.count(Counter::Outcome(Outcome::Opened));
    Ok(())
}

/// Whether [`carry`] or [`open`] would let the flow `key` carry `packet`, as far as that can be told without
/// changing anything.
#[inline(always)]
pub(super) fn would_admit<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    packet: &Packet,
    direction: Direction,
    now: Ticks,
) -> Result<(), Reason> {
    let (_, slot) = find(tables, settings, key, now);
    if let Some(slot) = slot {
        let flow = slot.read();
        check_reply(&flow, &packet.content, direction, Origin::Lan)?;
        if flow.generation != settings.generation {
            judge_known(tables, key, &flow)?;
        }
        return Ok(());
    }
    if direction == Direction::Reverse {
        return Err(Reason::NoFlow);
    }
    judge(tables, key)?;
    packet.content.opens(settings.adopt != 0)
}

/// The flow with this key, if it has not timed out.
#[inline(always)]
fn find<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    now: Ticks,
) -> (Stage, Option<T::Slot>) {
    if let Some(slot) = tables.flow(Stage::Confirmed, key)
        && flow::is_alive(&slot.read(), settings, now)
    {
        return (Stage::Confirmed, Some(slot));
    }
    if let Some(slot) = tables.flow(Stage::Opening, key)
        && flow::is_alive(&slot.read(), settings, now)
    {
        return (Stage::Opening, Some(slot));
    }
    (Stage::Opening, None)
}

/// A back end's reply found its flow by a reserved port. The reservation may outlive the flow, and the
/// flow may have been opened anew with another port.
#[inline(always)]
fn check_reply(
    flow: &Flow,
    content: &Content,
    direction: Direction,
    origin: Origin,
) -> Result<(), Reason> {
    let replies = direction == Direction::Reverse && origin == Origin::Lan;
    if replies && flow.client_port != content.destination_port {
        return Err(Reason::NoFlow);
    }
    Ok(())
}

/// A permission, and how the service is reached at this site.
#[derive(Clone, Copy)]
pub(super) struct Judgement {
    pub(super) allow: Allow,
    /// The service is at this site.
    pub(super) is_here: bool,
    /// Its presence, if it is at another.
    pub(super) presence: LocalAddress,
    /// Its back ends' first slot, if it is here.
    pub(super) first: u32,
    /// How many slots they have.
    pub(super) count: u32,
    /// Its port at this site.
    pub(super) port: Port,
}

/// Judges the flow `key` by the tables alone.
#[inline(always)]
fn judge<T: Tables>(tables: &T, key: &FlowKey) -> Result<Judgement, Reason> {
    let Some(service) = tables.service(key.service) else { return Err(Reason::NoService) };
    let Some(allow) = tables.allow(&AllowKey::exact(key.service, key.client)) else {
        return Err(Reason::NoPolicy);
    };
    let port = PortKey::exact(key.service, key.protocol, key.service_port);
    let Some(mapping) = tables.port(&port) else { return Err(Reason::PortNotServed) };
    let mut judgement = Judgement {
        allow,
        is_here: false,
        presence: LocalAddress(Ipv4::NONE),
        first: 0,
        count: 0,
        port: key.service_port,
    };
    match service.kind() {
        ServiceKind::Elsewhere { presence } => judgement.presence = presence,
        ServiceKind::Here { first, count } => {
            judgement.is_here = true;
            judgement.first = first;
            judgement.count = count;
            if mapping.backend != Port::NONE {
                judgement.port = mapping.backend;
            }
        }
        ServiceKind::Unknown => return Err(Reason::NoService),
    }
    Ok(judgement)
}

/// Judges a known flow anew after a change of the tables. A refused flow is forgotten.
#[inline(always)]
fn judge_anew<T: Tables>(
    tables: &T,
    settings: &Settings,
    stage: Stage,
    key: &FlowKey,
    flow: &Flow,
    slot: &T::Slot,
) -> Result<u32, Reason> {
    let judged = judge_known(tables, key, flow);
    match judged {
        Ok(_) => slot.judged(settings.generation),
        Err(_) => tables.remove_flow(stage, key),
    }
    judged
}

/// Judges a known flow without changing it: allowed still, and translated to ends that it may keep.
#[inline(always)]
fn judge_known<T: Tables>(tables: &T, key: &FlowKey, flow: &Flow) -> Result<u32, Reason> {
    let judgement = judge(tables, key)?;
    let same = flow.service_port == judgement.port
        && if judgement.is_here {
            let backend = BackendKey { service: key.service, address: flow.service };
            flow.client == judgement.allow.presence(key.client)
                && (!judgement.allow.keeps_ports() || flow.client_port == key.client_port)
                && tables.keeps_flows(&backend)
        } else {
            flow.service == judgement.presence
        };
    if same { Ok(judgement.allow.rule) } else { Err(Reason::BackendMoved) }
}
