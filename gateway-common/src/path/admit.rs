//! Whether a packet's flow may be: found in the table and still allowed, or judged against services,
//! permissions and ports, and opened.

use super::{
    Arrival, Packet, Transport, flow,
    nat::{self, Reserved},
};
use crate::{
    LocalAddress, Port, Reason,
    map::{
        AllowKey, Counter, Direction, Endpoints, Flow, FlowKey, Outcome, PortKey, ServiceKind,
        Settings,
    },
    tables::{FlowSlot, Insertion, Tables},
};

/// Where a packet came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Lan,
    Link,
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
    if let Some(slot) = tables.flow(key) {
        let flow = slot.read();
        if flow::is_alive(&flow, settings, arrival) {
            check_reply(&flow, packet, direction, from)?;
            let rule = if flow.generation == settings.generation {
                0
            } else {
                judge_anew(tables, settings, key, &flow, &slot)?
            };
            // An error keeps nothing alive (RFC 5508 section 4.3, REQ-6, asks that of a NAT) and
            // counts for nothing: a router may have sent it, not the flow's other end.
            if packet.transport != Transport::Error {
                slot.carried(flow::carried(packet, flow.state(), direction, arrival));
            }
            return Ok(Passage { ends: flow.endpoints(), rule });
        }
    }
    if direction == Direction::Reverse {
        return Err(Reason::NoFlow);
    }
    let judgement = judge(tables, key)?;
    packet.opens()?;
    let ends = open(tables, settings, key, judgement, packet, arrival, from)?;
    tables.count(Counter::Outcome(Outcome::Opened));
    Ok(Passage { ends, rule: judgement.rule })
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
    if let Some(slot) = tables.flow(key) {
        let flow = slot.read();
        if flow::is_alive(&flow, settings, arrival) {
            check_reply(&flow, packet, direction, From::Lan)?;
            if flow.generation != settings.generation {
                judge_known(tables, key, &flow)?;
            }
            return Ok(());
        }
    }
    if direction == Direction::Reverse {
        return Err(Reason::NoFlow);
    }
    judge(tables, key)?;
    packet.opens()
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
    let replies = direction == Direction::Reverse && from == From::Lan;
    if replies && flow.client_port != packet.destination_port {
        return Err(Reason::NoFlow);
    }
    Ok(())
}

/// A permission, and how the service is reached at this site.
#[derive(Clone, Copy)]
struct Judgement {
    rule: u32,
    /// The service is at this site.
    is_here: bool,
    /// What it is called on this site's LAN: its presence, or the back end.
    service: LocalAddress,
    /// Its port there.
    port: Port,
    /// What remote clients are called on this site's LAN, if the service is here.
    clients: LocalAddress,
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
    let rule = allow.rule;
    match service.kind() {
        ServiceKind::Elsewhere { presence } => Ok(Judgement {
            rule,
            is_here: false,
            service: presence,
            port: key.service_port,
            clients: LocalAddress::default(),
        }),
        ServiceKind::Here { backend, clients } => {
            let same = mapping.backend == Port::NONE;
            let port = if same { key.service_port } else { mapping.backend };
            Ok(Judgement { rule, is_here: true, service: backend, port, clients })
        }
        ServiceKind::Unknown => Err(Reason::NoService),
    }
}

/// Judges a known flow anew after a change of the tables. A refused flow is forgotten.
#[inline(always)]
fn judge_anew<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    flow: &Flow,
    slot: &T::Slot,
) -> Result<u32, Reason> {
    let judged = judge_known(tables, key, flow);
    match judged {
        Ok(_) => slot.judged(settings.generation),
        Err(_) => tables.remove_flow(key),
    }
    judged
}

/// Judges a known flow without changing it: allowed still, and translated to the same ends.
#[inline(always)]
fn judge_known<T: Tables>(tables: &T, key: &FlowKey, flow: &Flow) -> Result<u32, Reason> {
    let judgement = judge(tables, key)?;
    let same = flow.service == judgement.service
        && flow.service_port == judgement.port
        && (!judgement.is_here || flow.client == judgement.clients);
    if same { Ok(judgement.rule) } else { Err(Reason::BackendMoved) }
}

/// Opens the flow `key` for the client's first packet.
#[inline(always)]
fn open<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    judgement: Judgement,
    packet: &Packet,
    arrival: Arrival,
    from: From,
) -> Result<Endpoints<LocalAddress>, Reason> {
    if judgement.is_here != (from == From::Link) {
        return Err(Reason::NoService);
    }
    let mut client = LocalAddress(packet.source);
    let mut client_port = key.client_port;
    let mut reserved = Reserved::default();
    if from == From::Link {
        let Judgement { clients, service, port, .. } = judgement;
        reserved = nat::reserve(tables, key, clients, service, port)?;
        client = clients;
        client_port = reserved.nat.client_port;
    }
    let (service, service_port) = (judgement.service, judgement.port);
    let ends = Endpoints { client, client_port, service, service_port };
    let mut opened =
        Flow::opening(ends, settings.generation, arrival.now, flow::first_state(packet));
    opened.packets[Direction::Forward as usize] = arrival.packets;
    opened.bytes[Direction::Forward as usize] = u64::from(packet.header.total());
    match insert(tables, key, &opened) {
        Insertion::Inserted | Insertion::Exists => Ok(ends),
        Insertion::Full => {
            if reserved.is_fresh {
                tables.remove_nat(&reserved.nat);
            }
            Err(Reason::FlowTableFull)
        }
    }
}

/// Adds a flow in place of one that timed out. Should another CPU have opened the same flow this
/// moment, either entry will do: both chose the same ends.
#[inline(always)]
fn insert<T: Tables>(tables: &T, key: &FlowKey, flow: &Flow) -> Insertion {
    match tables.insert_flow(key, flow) {
        Insertion::Exists => {
            tables.remove_flow(key);
            tables.insert_flow(key, flow)
        }
        Insertion::Inserted => Insertion::Inserted,
        Insertion::Full => Insertion::Full,
    }
}
