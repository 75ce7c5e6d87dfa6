//! ARP on the LAN: the gateway answers for what stands for something, with its own address.

use super::{gateway::OTHER_LAN, *};

/// A message from `CLIENT`.
fn arp(operation: u8, target: [u8; 4]) -> Vec<u8> {
    let mut bytes = [[0xff; 6], HOST_MAC].concat();
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    bytes.extend(HOST_MAC);
    bytes.extend(CLIENT);
    bytes.extend([0; 6]);
    bytes.extend(target);
    bytes
}

/// Likewise, with another octet in one place.
fn odd(at: usize, octet: u8) -> Vec<u8> {
    let mut bytes = arp(1, PRESENCE);
    bytes[at] = octet;
    bytes
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        edge_lan("arp for a service's presence", arp(1, PRESENCE))
            .answered("10.0.0.200 at 020000000001 > 10.0.0.5 at 020000000005"),
        cloud_lan("arp for a client presence", arp(1, CLIENTS))
            .answered("10.0.0.250 at 020000000001 > 10.0.0.5 at 020000000005"),
        edge_lan("arp to one host alone", {
            let mut bytes = arp(1, PRESENCE);
            bytes[..6].copy_from_slice(&GATEWAY_MAC);
            bytes
        })
        .answered("10.0.0.200 at 020000000001 > 10.0.0.5 at 020000000005"),
        edge_lan("arp probe for an address in use", {
            let mut bytes = arp(1, PRESENCE);
            bytes[28..32].fill(0);
            bytes
        })
        .answered("10.0.0.200 at 020000000001 > 0.0.0.0 at 020000000005"),
        edge_lan("arp behind a second lan", arp(1, PRESENCE))
            .given(|gateway| {
                gateway.has_other_lan();
                gateway.tables.desired.settings.networks[0].mac = [2, 0, 0, 0, 0, 2];
                gateway.arrival.interface = OTHER_LAN;
            })
            .answered("10.0.0.200 at 020000000002 > 10.0.0.5 at 020000000005"),
        edge_lan("arp for an unassigned presence", arp(1, UNASSIGNED)).passes(),
        edge_lan("arp for a host", arp(1, [10, 0, 0, 77])).passes(),
        edge_lan("arp for the gateway", arp(1, [10, 0, 0, 1])).passes(),
        edge_lan("arp for a transit address", arp(1, SERVICE)).passes(),
        edge_lan("an arp reply", arp(2, PRESENCE)).passes(),
        edge_lan("arp of another kind of network", odd(15, 6)).passes(),
        edge_lan("arp about another kind of address", odd(16, 0x86)).passes(),
        edge_lan("arp with another length of hardware address", odd(18, 8)).passes(),
        edge_lan("a short arp message", arp(1, PRESENCE)[..41].to_vec()).passes(),
        edge_lan("arp on an interface without client networks", arp(1, PRESENCE))
            .given(|gateway| gateway.arrival.interface = OTHER_LAN)
            .passes(),
        edge_lan("arp before any settings", arp(1, PRESENCE))
            .given(|gateway| gateway.tables.desired.settings.generation = 0)
            .passes(),
    ]
}
