//! Opening a flow for a client's first packet, and keeping it once both ends want it.

use super::{
    Origin, Passage, Transport,
    admit::Judgement,
    flow,
    hash::{hash, place},
    nat::{self, Age, PortChoice, Reserved},
};
use crate::{
    LocalAddress, Reason,
    map::{Direction, Endpoints, Flow, FlowKey, NatKey, Settings, UsageKey},
    tables::{Insertion, Stage, Tables},
};

/// Enters a flow for the client's first packet, which is allowed.
#[inline(always)]
pub(super) fn enter<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    judgement: Judgement,
    passage: &Passage,
) -> Result<Endpoints<LocalAddress>, Reason> {
    let content = &passage.content;
    if judgement.is_here != (passage.origin == Origin::Link) {
        return Err(Reason::NoService);
    }
    check_quotas(tables, settings, key, passage)?;
    let state = flow::first_state(content);
    let stage = if state.is_confirmed() { Stage::Confirmed } else { Stage::Opening };
    let mut ends = Endpoints {
        client: LocalAddress(content.source),
        client_port: key.client_port,
        service: judgement.presence,
        service_port: judgement.port,
    };
    let mut reserved = Reserved { nat: NatKey::new(ends, key.protocol), age: Age::Known };
    if judgement.is_here {
        ends.client = judgement.allow.presence(key.client);
        ends.service = backend(tables, key, &judgement)?;
        let is_kept = judgement.allow.keeps_ports()
            || matches!(content.transport, Transport::SctpInit | Transport::Other);
        let choice = if is_kept { PortChoice::Same } else { PortChoice::Any };
        reserved = nat::reserve(tables, stage, key, ends, choice)?;
        ends.client_port = reserved.nat.client_port;
    }
    let mut opened = Flow::opening(ends, settings.generation, passage.now, state);
    opened.packets[Direction::Forward as usize] = passage.packets;
    opened.bytes[Direction::Forward as usize] = u64::from(passage.total);
    match insert(tables, stage, key, &opened) {
        Insertion::Inserted | Insertion::Exists => {}
        Insertion::Full => {
            if reserved.age == Age::Fresh {
                tables.remove_nat(stage, &reserved.nat);
            }
            return Err(Reason::FlowTableFull);
        }
    }
    count_usage(tables, settings, key, passage);
    Ok(ends)
}

/// The back end for a new flow.
#[inline(always)]
fn backend<T: Tables>(
    tables: &T,
    key: &FlowKey,
    judgement: &Judgement,
) -> Result<LocalAddress, Reason> {
    if judgement.count == 0 {
        return Err(Reason::NoBackend);
    }
    let number = judgement.first + place(hash(key), judgement.count);
    tables.slot(number).ok_or(Reason::NoBackend)
}

/// Keeps a flow that both ends want now, `here` at the service's site: it moves to the table whose
/// entries never make room for others.
#[inline(always)]
pub(super) fn confirm<T: Tables>(
    tables: &T,
    key: &FlowKey,
    flow: &Flow,
    here: bool,
) -> Result<(), Reason> {
    let nat = NatKey::new(flow.endpoints(), key.protocol);
    if here {
        match tables.insert_nat(Stage::Confirmed, &nat, key) {
            Insertion::Inserted => {}
            // Its own, left over; or another flow's, if this one lost its place meanwhile.
            Insertion::Exists => {
                if tables.nat(Stage::Confirmed, &nat) != Some(*key) {
                    return Err(Reason::PortsExhausted);
                }
            }
            Insertion::Full => return Err(Reason::FlowTableFull),
        }
    }
    match insert(tables, Stage::Confirmed, key, flow) {
        Insertion::Inserted | Insertion::Exists => {}
        Insertion::Full => {
            if here {
                tables.remove_nat(Stage::Confirmed, &nat);
            }
            return Err(Reason::FlowTableFull);
        }
    }
    tables.remove_flow(Stage::Opening, key);
    if here {
        tables.remove_nat(Stage::Opening, &nat);
    }
    Ok(())
}

/// Adds a flow in place of one that timed out. Should another CPU have opened the same flow this
/// moment, either entry will do: both chose the same ends.
#[inline(always)]
fn insert<T: Tables>(tables: &T, stage: Stage, key: &FlowKey, flow: &Flow) -> Insertion {
    match tables.insert_flow(stage, key, flow) {
        Insertion::Exists => {
            tables.remove_flow(stage, key);
            tables.insert_flow(stage, key, flow)
        }
        Insertion::Inserted => Insertion::Inserted,
        Insertion::Full => Insertion::Full,
    }
}

/// Whether client and site may open one flow more.
#[inline(always)]
fn check_quotas<T: Tables>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    passage: &Passage,
) -> Result<(), Reason> {
    let limit = settings.client_flows;
    if limit != 0 && tables.usage(&UsageKey::client(key.client)) >= u64::from(limit) {
        return Err(Reason::ClientQuota);
    }
    if passage.origin == Origin::Link {
        let limit = settings.site_flows;
        if limit != 0 && tables.usage(&UsageKey::site(passage.site)) >= u64::from(limit) {
            return Err(Reason::SiteQuota);
        }
    }
    Ok(())
}

#[inline(always)]
fn count_usage<T: Tables>(tables: &T, settings: &Settings, key: &FlowKey, passage: &Passage) {
    if settings.client_flows != 0 {
        tables.use_more(&UsageKey::client(key.client));
    }
    if passage.origin == Origin::Link && settings.site_flows != 0 {
        tables.use_more(&UsageKey::site(passage.site));
    }
}
