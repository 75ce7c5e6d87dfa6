//! Open flows after the tables changed: judged anew at their next packet, whoever sends it.

use super::*;
use crate::frames::error;
use gateway_common::{
    Port, Protocol, desired,
    map::{
        Allow, AllowKey, Backend, BackendKey, BackendState, ClientAddress, PortKey, PortMapping,
        Presence, PresenceKind, Service, ServiceKind,
    },
};

fn reply() -> Vec<u8> {
    at_cloud(Load::Tcp(5672, SYN_PORT, Bits::Ack), b"more")
}

fn answer() -> Vec<u8> {
    to_edge(Load::Tcp(5672, 40_000, Bits::Ack), b"more")
}

fn data_at_edge() -> Vec<u8> {
    at_edge(DATA, b"data")
}

fn data_at_cloud() -> Vec<u8> {
    to_cloud(DATA, b"data")
}

/// After a connection was opened, a reload.
fn reload(gateway: &mut Gateway, change: fn(&mut desired::Tables)) {
    gateway.open();
    gateway.reload(change);
}

/// Another permission for the client.
fn allow(tables: &mut desired::Tables, rule: u32, clients: ClientAddress) {
    let key = AllowKey::clients(service(), transit(EDGE_CLIENT), 32);
    tables.allows.insert(key, Allow::new(rule, clients));
}

/// What becomes of tcp/5672 at the back end.
fn map_port(tables: &mut desired::Tables, mapping: PortMapping) {
    let key = PortKey::ports(service(), Protocol::TCP, 5672, 16);
    tables.ports.insert(key, mapping);
}

pub(super) fn cases() -> Vec<Case> {
    [permissions(), services(), back_ends()].into_iter().flatten().collect()
}

fn permissions() -> Vec<Case> {
    vec![
        edge_lan("data after a reload that changed nothing of it", data_at_edge())
            .given(|gateway| reload(gateway, |_| {}))
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 'data'"),
        cloud_lan("a reply after a reload that changed nothing of it", reply())
            .given(|gateway| reload(gateway, |_| {}))
            .into_link("tcp 240.0.8.1:5672 > 240.0.16.5:40000 ttl 63 'more'"),
        cloud_link("data after another rule allows it", data_at_cloud())
            .given(|gateway| {
                reload(gateway, |tables| {
                    allow(tables, RULE + 1, ClientAddress::Shared(address(CLIENTS)));
                });
            })
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 'data'"),
        edge_lan("data after its permission was withdrawn", data_at_edge())
            .given(|gateway| reload(gateway, |tables| tables.allows.clear()))
            .refused(Reason::NoPolicy),
        edge_link("an answer after the permission was withdrawn", answer())
            .given(|gateway| reload(gateway, |tables| tables.allows.clear()))
            .refused(Reason::NoPolicy),
        cloud_link("data after its permission was withdrawn", data_at_cloud())
            .given(|gateway| reload(gateway, |tables| tables.allows.clear()))
            .refused(Reason::NoPolicy),
        cloud_lan("a reply after the permission was withdrawn", reply())
            .given(|gateway| reload(gateway, |tables| tables.allows.clear()))
            .refused(Reason::NoPolicy),
        edge_lan("data after its permission was withdrawn and given back", data_at_edge())
            .given(|gateway| {
                reload(gateway, |tables| tables.allows.clear());
                gateway.reload(|tables| allow(tables, RULE, ClientAddress::Elsewhere));
            })
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 'data'"),
        edge_lan("data that was refused once, its permission given back", data_at_edge())
            .given(|gateway| {
                reload(gateway, |tables| tables.allows.clear());
                let refused = host::lan(&data_at_edge(), &gateway.tables, from_lan());
                assert_eq!(refused, Verdict::Refuse(Reason::NoPolicy));
                gateway.reload(|tables| allow(tables, RULE, ClientAddress::Elsewhere));
            })
            .refused(Reason::NoFlow),
        edge_link("an icmp error after the permission was withdrawn", {
            error(SERVICE, 3, 1, &to_cloud(DATA, b"")[ETHERNET..])
        })
        .given(|gateway| reload(gateway, |tables| tables.allows.clear()))
        .refused(Reason::NoPolicy),
    ]
}

fn services() -> Vec<Case> {
    vec![
        edge_lan("data after its port was withdrawn", data_at_edge())
            .given(|gateway| reload(gateway, |tables| tables.ports.clear()))
            .refused(Reason::PortNotServed),
        cloud_lan("a reply after its port was withdrawn", reply())
            .given(|gateway| reload(gateway, |tables| tables.ports.clear()))
            .refused(Reason::PortNotServed),
        edge_link("an answer after the service was withdrawn", answer())
            .given(|gateway| reload(gateway, |tables| tables.services.clear()))
            .refused(Reason::NoService),
        edge_lan("data to a presence that was taken back", data_at_edge())
            .given(|gateway| reload(gateway, |tables| tables.presences.clear()))
            .refused(Reason::NoPresence),
        cloud_lan("a reply to a client presence that was taken back", reply())
            .given(|gateway| reload(gateway, |tables| tables.presences.clear()))
            .refused(Reason::NoPresence),
        edge_link("an answer after the service got another presence", answer())
            .given(|gateway| {
                reload(gateway, |tables| {
                    let elsewhere = ServiceKind::Elsewhere { presence: address(UNASSIGNED) };
                    tables.services.insert(service(), Service::new(elsewhere));
                });
            })
            .refused(Reason::BackendMoved),
        edge_lan("data to the service's other presence", frame(CLIENT, UNASSIGNED, &DATA, b""))
            .given(|gateway| {
                reload(gateway, |tables| {
                    let presence = Presence::new(PresenceKind::Service(service()));
                    tables.presences.insert(9, presence);
                    let elsewhere = ServiceKind::Elsewhere { presence: address(UNASSIGNED) };
                    tables.services.insert(service(), Service::new(elsewhere));
                });
            })
            .refused(Reason::BackendMoved),
        cloud_lan("a reply after the client got another presence", reply())
            .given(|gateway| {
                reload(gateway, |tables| {
                    allow(tables, RULE, ClientAddress::Shared(address([10, 0, 0, 251])));
                });
            })
            .refused(Reason::BackendMoved),
        cloud_lan("a reply after the client got a presence of its own", reply())
            .given(|gateway| {
                reload(gateway, |tables| {
                    let own = ClientAddress::Own { first: address(CLIENTS), hosts: 0 };
                    allow(tables, RULE, own);
                });
            })
            .refused(Reason::BackendMoved),
    ]
}

fn back_ends() -> Vec<Case> {
    vec![
        cloud_link("data after its back end was removed", data_at_cloud())
            .given(|gateway| {
                reload(gateway, |tables| tables.serve(service(), &[address([10, 0, 0, 11])]));
            })
            .refused(Reason::BackendMoved),
        cloud_lan("a reply of a back end that was removed", reply())
            .given(|gateway| {
                reload(gateway, |tables| tables.serve(service(), &[address([10, 0, 0, 11])]));
            })
            .refused(Reason::BackendMoved),
        cloud_link("data to a back end that is drained", data_at_cloud())
            .given(|gateway| {
                reload(gateway, |tables| {
                    tables.serve(service(), &[address([10, 0, 0, 11])]);
                    let key = BackendKey { service: service(), address: address(SERVER) };
                    tables.backends.insert(key, Backend::new(BackendState::Draining));
                });
            })
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 'data'"),
        cloud_link("data to the only back end, which is down", data_at_cloud())
            .given(|gateway| {
                reload(gateway, |tables| {
                    tables.serve(service(), &[]);
                    let key = BackendKey { service: service(), address: address(SERVER) };
                    tables.backends.insert(key, Backend::new(BackendState::Down));
                });
            })
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 'data'"),
        cloud_link("a syn again after its back end was removed", to_cloud(SYN, b""))
            .given(|gateway| {
                reload(gateway, |tables| tables.serve(service(), &[address([10, 0, 0, 11])]));
                let refused =
                    host::link(&to_cloud(SYN, b"")[ETHERNET..], &gateway.tables, from_link());
                assert_eq!(refused, Verdict::Refuse(Reason::BackendMoved));
            })
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.11:5672 ttl 63 mss 1380"),
        cloud_link("data after its port was given another at the back end", data_at_cloud())
            .given(|gateway| {
                reload(gateway, |tables| map_port(tables, PortMapping::to(Port::new(5673))));
            })
            .refused(Reason::BackendMoved),
        cloud_link("data after its port was given the same by name", data_at_cloud())
            .given(|gateway| {
                reload(gateway, |tables| map_port(tables, PortMapping::to(Port::new(5672))));
            })
            .onto_lan("tcp 10.0.0.250:6547 > 10.0.0.10:5672 ttl 63 'data'"),
    ]
}
