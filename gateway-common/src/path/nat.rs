//! Which port of the client presence a flow gets at the service's site.
//!
//! The choice is a function of the flow's transit identity, with probing on collision, so that another
//! gateway of the same site would choose the same. A port is taken per back end and back-end port: as
//! many flows as there are ports can go to each back end.

use super::hash::hash;
use crate::{
    LocalAddress, Port, Reason,
    map::{Endpoints, FlowKey, NatKey},
    tables::{Insertion, Stage, Tables},
};

/// First port handed out: those below are never a client's.
const FIRST: u32 = 1024;
const PORTS: u32 = 65_536 - FIRST;
/// How many ports are tried. At half of all ports in use towards one back end, one flow in 65,536 is
/// refused; below a quarter, one in four thousand million.
const PROBES: u32 = 16;

/// A reserved port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    /// The entry that reserves it.
    pub(super) nat: NatKey,
    /// Whether it was made just now.
    pub(super) age: Age,
}

/// How long a port has been reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Age {
    /// Since an earlier packet, or not at all.
    Known,
    /// Since this packet: it is given back if the flow cannot be opened after all.
    Fresh,
}

/// How the client's port is chosen at the back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortChoice {
    /// Clients share a client presence: any free port of it.
    Any,
    /// The client's own: it has a client presence to itself, or the protocol has no ports.
    Same,
}

/// Reserves a port of the client presence `ends.client` towards the back end `ends.service` for the flow
/// `key`, which is at `stage`. A protocol without ports has one place for each back end.
#[inline(always)]
pub(super) fn reserve<T: Tables>(
    tables: &T,
    stage: Stage,
    key: &FlowKey,
    ends: Endpoints<LocalAddress>,
    choice: PortChoice,
) -> Result<Reserved, Reason> {
    let mut nat = NatKey::new(ends, key.protocol);
    nat.client_port = key.client_port;
    if choice == PortChoice::Any {
        nat.client_port = first_free(tables, key, nat)?;
    } else if !is_free(tables, key, &nat) {
        return Err(Reason::PortsExhausted);
    }
    if let Some(owner) = tables.nat(stage, &nat)
        && owner == *key
    {
        return Ok(Reserved { nat, age: Age::Known });
    }
    match tables.insert_nat(stage, &nat, key) {
        Insertion::Inserted => Ok(Reserved { nat, age: Age::Fresh }),
        // Another CPU took it this moment; the client will try again.
        Insertion::Exists => Err(Reason::PortsExhausted),
        Insertion::Full => Err(Reason::FlowTableFull),
    }
}

/// The first of the flow's candidates that nobody holds, or that the flow holds already.
#[inline(always)]
fn first_free<T: Tables>(tables: &T, key: &FlowKey, mut nat: NatKey) -> Result<Port, Reason> {
    let hash = hash(key);
    for probe in 0..PROBES {
        nat.client_port = candidate(hash, probe);
        if is_free(tables, key, &nat) {
            return Ok(nat.client_port);
        }
    }
    Err(Reason::PortsExhausted)
}

/// Whether no other flow than `key` holds the port.
#[inline(always)]
fn is_free<T: Tables>(tables: &T, key: &FlowKey, nat: &NatKey) -> bool {
    if let Some(owner) = tables.nat(Stage::Confirmed, nat)
        && owner != *key
    {
        return false;
    }
    if let Some(owner) = tables.nat(Stage::Opening, nat)
        && owner != *key
    {
        return false;
    }
    true
}

#[inline(always)]
const fn candidate(hash: u32, probe: u32) -> Port {
    // 25,667 shares no factor with the number of ports, so that all probes differ.
    let offset = (hash % PORTS + probe * 25_667) % PORTS;
    Port::new((FIRST + offset) as u16)
}

#[cfg(test)]
mod tests {
    use super::{super::hash::tests::key, *};

    #[test]
    fn probes_differ_and_stay_in_range() {
        let ports: std::collections::BTreeSet<u16> =
            (0..PROBES).map(|probe| candidate(u32::MAX, probe).number()).collect();
        assert_eq!(ports.len(), PROBES as usize);
        assert!(ports.iter().all(|port| u32::from(*port) >= FIRST));
    }

    #[test]
    fn neighbouring_flows_spread() {
        let ports: std::collections::BTreeSet<u16> =
            (1024..5120).map(|port| candidate(hash(&key(port)), 0).number()).collect();
        // 4096 draws out of 64,512 leave 3,969 distinct ones on average.
        assert!(ports.len() > 3900, "{}", ports.len());
    }
}
