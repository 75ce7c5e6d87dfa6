//! Whether a flow may be: found in the table and still allowed, or judged against services, ports and
//! permissions. `guard` asks the same questions without changing anything.

use super::{Arrival, Packet, flow, nat};
use crate::{
    LocalAddress, Port, Reason, TransitAddress,
    map::{AllowKey, Direction, Endpoints, Flow, FlowKey, PortKey, Route, ServiceKind, Settings},
    tables::{FlowSlot, Insertion, Tables},
};

/// A flow that is in the table.
pub(super) struct Known<S> {
    pub(super) slot: S,
    pub(super) flow: Flow,
    /// The settings' generation is newer than the flow's last judgement.
    pub(super) stale: bool,
}

/// The live flow with this key. One that timed out counts as gone.
#[inline(always)]
pub(super) fn known<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    arrival: Arrival,
) -> Option<Known<T::Slot>> {
    let slot = tables.flow(key)?;
    let flow = slot.read();
    let stale = flow.generation != settings.generation;
    flow::is_alive(&flow, settings, arrival).then_some(Known { slot, flow, stale })
}

/// A permission, and how the service is reached at this site.
#[derive(Clone, Copy)]
pub(super) struct Judgement {
    pub(super) rule: u32,
    local: Local,
}

#[derive(Clone, Copy)]
enum Local {
    /// The service is elsewhere; the client here sees this presence.
    Presence(LocalAddress),
    /// The service is here.
    Backend { backend: LocalAddress, port: Port, clients: LocalAddress },
}

/// Judges the flow `key` by the tables alone.
#[inline(always)]
pub(super) fn judge<T: Tables>(tables: &T, key: &FlowKey) -> Result<Judgement, Reason> {
    let Some(service) = tables.service(key.service) else { return Err(Reason::NoService) };
    let Some(allow) = tables.allow(&AllowKey::exact(key.service, key.client)) else {
        return Err(Reason::NoPolicy);
    };
    let port = PortKey::exact(key.service, key.protocol, key.service_port);
    let Some(mapping) = tables.port(&port) else { return Err(Reason::PortNotServed) };
    let local = match service.kind() {
        ServiceKind::Elsewhere { presence } => Local::Presence(presence),
        ServiceKind::Here { backend, clients } => {
            let same = mapping.backend.word() == 0;
            let port = if same { key.service_port } else { mapping.backend };
            Local::Backend { backend, port, clients }
        }
        ServiceKind::Unknown => return Err(Reason::NoService),
    };
    Ok(Judgement { rule: allow.rule, local })
}

/// Judges a known flow anew after a change of the tables. A refused flow is forgotten.
#[inline(always)]
pub(super) fn judge_anew<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    known: &Known<T::Slot>,
) -> Result<u32, Reason> {
    match judge_known(tables, key, &known.flow) {
        Ok(rule) => {
            known.slot.judged(settings.generation);
            Ok(rule)
        }
        Err(reason) => {
            tables.remove_flow(key);
            Err(reason)
        }
    }
}

/// Judges a known flow without changing it: allowed still, and translated to the same ends.
#[inline(always)]
pub(super) fn judge_known<T: Tables>(
    tables: &T,
    key: &FlowKey,
    flow: &Flow,
) -> Result<u32, Reason> {
    let judgement = judge(tables, key)?;
    let same = match judgement.local {
        Local::Presence(presence) => flow.service == presence,
        Local::Backend { backend, port, clients } => {
            flow.service == backend && flow.service_port == port && flow.client == clients
        }
    };
    if same { Ok(judgement.rule) } else { Err(Reason::BackendMoved) }
}

/// Opens the flow `key`, judged by `judgement`, for the client's first packet. `client` is who sent it
/// when it came from the LAN.
#[inline(always)]
pub(super) fn open<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    judgement: Judgement,
    client: Option<LocalAddress>,
    packet: &Packet,
    arrival: Arrival,
) -> Result<Flow, Reason> {
    let state = flow::first_state(packet);
    let (generation, now) = (settings.generation, arrival.now);
    let (ends, fresh) = match (judgement.local, client) {
        (Local::Presence(service), Some(client)) => {
            let Endpoints { client_port, service_port, .. } = key.endpoints();
            (Endpoints { client, client_port, service, service_port }, None)
        }
        (Local::Backend { backend, port, clients }, None) => {
            let reserved = nat::reserve(tables, key, clients, backend, port)?;
            let client_port = reserved.port;
            let ends =
                Endpoints { client: clients, client_port, service: backend, service_port: port };
            (ends, reserved.fresh)
        }
        (Local::Presence(_), None) | (Local::Backend { .. }, Some(_)) => {
            return Err(Reason::NoService);
        }
    };
    let mut opened = Flow::opening(ends, generation, now, state);
    opened.packets[Direction::Forward as usize] = arrival.packets;
    opened.bytes[Direction::Forward as usize] = u64::from(packet.header.total());
    match insert(tables, key, &opened) {
        Insertion::Inserted | Insertion::Exists => Ok(opened),
        Insertion::Full => {
            if let Some(fresh) = fresh {
                tables.remove_nat(&fresh);
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

/// The link that reaches a transit address of another site.
#[inline(always)]
pub(super) fn link_to<T: Tables>(
    tables: &T,
    settings: &Settings,
    address: TransitAddress,
) -> Result<u32, Reason> {
    let granule = Route::granule(&settings.transit, address);
    match tables.route(granule) {
        Some(route) if route.is_set() && !route.is_own() => Ok(route.link),
        Some(_) | None => Err(Reason::NoRoute),
    }
}
