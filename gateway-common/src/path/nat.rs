//! Which port of the client presence a flow gets at the service's site.
//!
//! The choice is a function of the flow's transit identity, with probing on collision, so that another
//! gateway of the same site would choose the same. A port is taken per back end and back-end port: as
//! many flows as there are ports can go to each back end.

use crate::{
    LocalAddress, Port, Protocol, Reason,
    map::{Endpoints, FlowKey, NatKey},
    tables::{Insertion, Tables},
};

/// First port handed out: those below are never a client's.
const FIRST: u32 = 1024;
const PORTS: u32 = 65_536 - FIRST;
/// How many ports are tried. At half of all ports in use towards one back end, one flow in 65,536 is
/// refused; below a quarter, one in four thousand million.
const PROBES: u32 = 16;

/// A reserved port.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reserved {
    /// The entry that reserves it.
    pub(super) nat: NatKey,
    /// Made just now, to be given back if the flow cannot be opened after all.
    pub(super) is_fresh: bool,
}

/// Reserves a port of `clients` towards `backend` for the flow `key`. A protocol without ports has one
/// place for each back end.
#[inline(always)]
pub(super) fn reserve<T: Tables>(
    tables: &T,
    key: &FlowKey,
    clients: LocalAddress,
    backend: LocalAddress,
    backend_port: Port,
) -> Result<Reserved, Reason> {
    let ends = Endpoints {
        client: clients,
        client_port: Port::NONE,
        service: backend,
        service_port: backend_port,
    };
    let mut nat = NatKey::new(ends, key.protocol);
    if has_ports(key.protocol) {
        nat.client_port = first_free(tables, key, nat)?;
    }
    match tables.nat(&nat) {
        Some(owner) if owner == *key => Ok(Reserved { nat, is_fresh: false }),
        Some(_) => Err(Reason::PortsExhausted),
        None => match tables.insert_nat(&nat, key) {
            Insertion::Inserted => Ok(Reserved { nat, is_fresh: true }),
            // Another CPU took it this moment; the client will try again.
            Insertion::Exists => Err(Reason::PortsExhausted),
            Insertion::Full => Err(Reason::FlowTableFull),
        },
    }
}

/// The first of the flow's candidates that nobody holds, or that the flow holds already.
#[inline(always)]
fn first_free<T: Tables>(tables: &T, key: &FlowKey, mut nat: NatKey) -> Result<Port, Reason> {
    let hash = hash(key);
    for probe in 0..PROBES {
        nat.client_port = candidate(hash, probe);
        match tables.nat(&nat) {
            Some(owner) if owner != *key => {}
            Some(_) | None => return Ok(nat.client_port),
        }
    }
    Err(Reason::PortsExhausted)
}

/// Whether flows of a protocol can be told apart by a port or an identifier.
#[inline(always)]
const fn has_ports(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::ICMP)
}

#[inline(always)]
const fn candidate(hash: u32, probe: u32) -> Port {
    // 25,667 shares no factor with the number of ports, so that all probes differ.
    let offset = (hash % PORTS + probe * 25_667) % PORTS;
    Port::new((FIRST + offset) as u16)
}

/// A well-mixed number from a flow's identity: each word multiplied in, then the finaliser of
/// MurmurHash3, whose every input bit reaches every output bit.
#[inline(always)]
const fn hash(key: &FlowKey) -> u32 {
    let ports = ((key.client_port.number() as u32) << 16) | key.service_port.number() as u32;
    let mut hash = key.client.0.number();
    hash = hash.rotate_left(13).wrapping_mul(5) ^ key.service.0.number().wrapping_mul(0xcc9e_2d51);
    hash = hash.rotate_left(13).wrapping_mul(5) ^ ports.wrapping_mul(0x1b87_3593);
    hash ^= key.protocol.0 as u32;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ipv4, TransitAddress};

    fn key(client_port: u16) -> FlowKey {
        let ends = Endpoints {
            client: TransitAddress(Ipv4::from_number(0xf000_1005)),
            client_port: Port::new(client_port),
            service: TransitAddress(Ipv4::from_number(0xf000_0801)),
            service_port: Port::new(5672),
        };
        FlowKey::new(ends, Protocol::TCP)
    }

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
