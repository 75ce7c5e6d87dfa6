//! Whether a packet's flow may be: found in the table and still allowed, or judged against services,
//! permissions and ports, and opened.

use super::{
    Arrival, Packet, Transport, flow,
    open::{confirm, open},
};
use crate::{
    Ipv4, LocalAddress, Port, Reason,
    map::{
        Allow, AllowKey, BackendKey, Counter, Direction, Endpoints, Flow, FlowKey, Outcome,
        PortKey, ServiceKind, Settings, SiteNumber,
    },
    tables::{FlowSlot, Stage, Tables},
};

/// Where a packet came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// A host of this site.
    Lan,
    /// This site's gateway.
    Link(SiteNumber),
}

impl From {
    #[inline(always)]
    pub(super) const fn is_link(self) -> bool {
        matches!(self, Self::Link(_))
    }
}

/// A packet's way through the gateway, granted.
#[derive(Clone, Copy)]
pub(super) struct Passage {
    /// The flow as this site's LAN names it.
    pub(super) ends: Endpoints<LocalAddress>,
    /// The rule that allowed the flow, if it was judged just now; else 0.
    pub(super) rule: u32,
}

/// Lets the flow `key` carry `packet`: a known flow (judged anew if the tables changed since), or one
/// that the packet opens now.
#[inline(always)]
pub(super) fn admit<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    packet: &Packet,
    direction: Direction,
    arrival: Arrival,
    from: From,
) -> Result<Passage, Reason> {
    let (stage, slot) = find(tables, settings, key, arrival);
    if let Some(slot) = slot {
        let flow = slot.read();
        check_reply(&flow, packet, direction, from)?;
        let rule = if flow.generation == settings.generation {
            0
        } else {
            judge_anew(tables, settings, stage, key, &flow, &slot)?
        };
        // An error keeps nothing alive (RFC 5508 section 4.3, REQ-6, asks that of a NAT) and counts for
        // nothing: a router may have sent it, not the flow's other end.
        if packet.transport != Transport::Error {
            let carried = flow::carried(packet, flow.state(), direction, arrival);
            slot.carried(carried);
            if stage == Stage::Opening && flow::is_wanted(&flow, carried.state) {
                let here = from.is_link() == (direction == Direction::Forward);
                confirm(tables, key, &slot.read(), here)?;
            }
        }
        return Ok(Passage { ends: flow.endpoints(), rule });
    }
    if direction == Direction::Reverse {
        return Err(Reason::NoFlow);
    }
    let judgement = judge(tables, key)?;
    packet.opens(settings.adopt != 0)?;
    let ends = open(tables, settings, key, judgement, packet, arrival, from)?;
    tables.count(Counter::Outcome(Outcome::Opened));
    Ok(Passage { ends, rule: judgement.allow.rule })
}

/// Whether [`admit`] would let the flow `key` carry `packet`, as far as that can be told without
/// changing anything.
#[inline(always)]
pub(super) fn would_admit<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    packet: &Packet,
    direction: Direction,
    arrival: Arrival,
) -> Result<(), Reason> {
    let (_, slot) = find(tables, settings, key, arrival);
    if let Some(slot) = slot {
        let flow = slot.read();
        check_reply(&flow, packet, direction, From::Lan)?;
        if flow.generation != settings.generation {
            judge_known(tables, key, &flow)?;
        }
        return Ok(());
    }
    if direction == Direction::Reverse {
        return Err(Reason::NoFlow);
    }
    judge(tables, key)?;
    packet.opens(settings.adopt != 0)
}

/// The flow with this key, if it has not timed out.
#[inline(always)]
fn find<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    arrival: Arrival,
) -> (Stage, Option<T::Slot>) {
    if let Some(slot) = tables.flow(Stage::Confirmed, key)
        && flow::is_alive(&slot.read(), settings, arrival)
    {
        return (Stage::Confirmed, Some(slot));
    }
    if let Some(slot) = tables.flow(Stage::Opening, key)
        && flow::is_alive(&slot.read(), settings, arrival)
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
    packet: &Packet,
    direction: Direction,
    from: From,
) -> Result<(), Reason> {
    let replies = direction == Direction::Reverse && !from.is_link();
    if replies && flow.client_port != packet.destination_port {
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
