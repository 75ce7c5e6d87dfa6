//! `gatewayctl presence list`: what each assigned address of the presence pool stands for. Pure.

use std::net::Ipv4Addr;

use gateway_common::desired::Tables;
use gateway_common::map::{PortKey, PortMapping, PresenceKind};
use gateway_common::{Port, TransitAddress};
use serde::Serialize;

use super::entry::port_text;
use super::names::{route_to, service_name, site_name};
use super::print::{Answer, or_dash, table};

/// The presences, by address.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Presences(Vec<Row>);

/// One presence.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Its address.
    pub address: Ipv4Addr,
    /// `service` or `client`.
    pub kind: &'static str,
    /// The service it stands for, as `SERVICE.SITE`.
    pub service: Option<String>,
    /// What of the service is open.
    pub ports: Vec<String>,
    /// The site of the service.
    pub site: Option<String>,
    /// The service's transit address.
    pub transit: Option<Ipv4Addr>,
    /// The link that leads there, by interface.
    pub link: Option<String>,
}

impl Presences {
    /// Those in `tables`; `interface` names interfaces.
    pub(crate) fn of(tables: &Tables, interface: impl Fn(u32) -> String) -> Self {
        let rows = tables.presences.iter().filter_map(|(offset, presence)| {
            let address = tables.settings.pool.at(*offset).into();
            match presence.kind() {
                PresenceKind::Nothing => None,
                PresenceKind::Client => Some(Row {
                    address,
                    kind: "client",
                    service: None,
                    ports: Vec::new(),
                    site: None,
                    transit: None,
                    link: None,
                }),
                PresenceKind::Service(service) => {
                    let route = route_to(tables, service);
                    Some(Row {
                        address,
                        kind: "service",
                        service: Some(service_name(tables, service)),
                        ports: ports_of(tables, service),
                        site: route.map(|route| site_name(tables, route)),
                        transit: Some(service.into()),
                        link: route.map(|route| interface(route.link)),
                    })
                }
            }
        });
        Self(rows.collect())
    }
}

impl Answer for Presences {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|row| {
            [
                row.address.to_string(),
                match row.kind {
                    "client" => "(remote clients)".into(),
                    _ => or_dash(row.service.as_ref()),
                },
                if row.ports.is_empty() { "-".into() } else { row.ports.join(" ") },
                or_dash(row.site.as_ref()),
                or_dash(row.link.as_ref()),
            ]
        });
        table(["address", "stands for", "ports", "site", "link"], rows, "no presences")
    }
}

/// The ports of a service as a site file writes them: ranges, which tables hold in parts, joined.
pub(crate) fn ports_of(tables: &Tables, service: TransitAddress) -> Vec<String> {
    let mut sets: Vec<_> = tables
        .ports
        .iter()
        .filter(|(key, _)| key.service() == service)
        .map(|(key, mapping)| (key.protocol().0, key.range(), *key, *mapping))
        .collect();
    sets.sort_by_key(|(protocol, range, ..)| (*protocol, *range));
    let mut texts: Vec<String> = Vec::new();
    let mut open: Option<(PortKey, u16, u16)> = None;
    let close = |open: Option<(PortKey, u16, u16)>, texts: &mut Vec<String>| {
        if let Some((key, low, high)) = open {
            texts.push(port_text(key.protocol(), Some((low, high))));
        }
    };
    for (_, range, key, mapping) in sets {
        match (open, range) {
            (Some((first, low, high)), Some((next, last)))
                if first.protocol() == key.protocol()
                    && mapping == PortMapping::SAME
                    && high.checked_add(1) == Some(next) =>
            {
                open = Some((first, low, last));
            }
            (_, Some((low, high))) if mapping == PortMapping::SAME => {
                close(open.take(), &mut texts);
                open = Some((key, low, high));
            }
            _ => {
                close(open.take(), &mut texts);
                let text = port_text(key.protocol(), range);
                texts.push(match mapping.backend {
                    Port::NONE => text,
                    backend => format!("{text}->{backend}"),
                });
            }
        }
    }
    close(open, &mut texts);
    texts
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn presences() -> Presences {
        Presences::of(&sample::tables(), |index| format!("if{index}"))
    }

    #[test]
    fn presences_are_named_and_their_ports_joined() {
        let ports = "icmp-echo tcp/80->8080 tcp/81-82 tcp/5672 udp/5000-5999 ip/47";
        let text = presences().text();
        let row = text.lines().find(|line| line.starts_with("10.0.0.200")).unwrap();
        assert!(row.contains("rabbitmq.cloud") && row.contains(ports), "{text}");
        assert!(row.ends_with("cloud  if3"), "{text}");
        assert!(
            text.lines().any(|line| line.starts_with("10.0.0.250  (remote clients)")),
            "{text}"
        );
    }

    #[test]
    fn programs_get_the_same() {
        let json = serde_json::to_value(presences()).unwrap();
        assert_eq!(json[0]["address"], "10.0.0.200");
        assert_eq!(json[0]["kind"], "service");
        assert_eq!(json[0]["service"], "rabbitmq.cloud");
        assert_eq!(json[0]["site"], "cloud");
        assert_eq!(json[0]["transit"], "240.0.8.1");
        assert_eq!(json[0]["ports"].as_array().unwrap().len(), 6);
        assert_eq!(json[1]["kind"], "client");
        assert_eq!(json[1]["service"], serde_json::Value::Null);
    }

    #[test]
    fn a_whole_protocol_is_one_entry() {
        let agent = sample::tables().services.keys().copied().max().unwrap();
        assert_eq!(ports_of(&sample::tables(), agent), ["tcp/*"]);
    }
}
