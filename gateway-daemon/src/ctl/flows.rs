//! `gatewayctl flow list`: the flows in the table, each with its ends named. Pure.

use std::cmp::Reverse;
use std::net::Ipv4Addr;

use gateway_common::Ticks;
use gateway_common::desired::Tables;
use gateway_common::map::{Direction, Flow, FlowKey};
use serde::Serialize;

use super::names::{route_to, service_name, site_name};
use super::print::{Answer, octets, or_dash, seconds, table};

/// Flows, those that carried most first.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Flows(Vec<Row>);

/// One flow.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// The protocol.
    pub protocol: String,
    /// The client's transit address.
    pub client: Ipv4Addr,
    /// The client's port; of an ICMP echo, its identifier.
    pub client_port: u16,
    /// The client's site.
    pub client_site: Option<String>,
    /// What the client is called on this site's LAN: itself, or the client presence.
    pub local_client: Ipv4Addr,
    /// Its port there.
    pub local_client_port: u16,
    /// The service, as `SERVICE.SITE`.
    pub service: String,
    /// The port that the client uses of it.
    pub service_port: u16,
    /// What the service is called on this site's LAN: its presence, or the back end.
    pub local_service: Ipv4Addr,
    /// Its port there.
    pub local_service_port: u16,
    /// How far it has come.
    pub state: &'static str,
    /// How long it has carried nothing, in seconds.
    pub idle_seconds: u64,
    /// Packets to the service.
    pub packets_to_service: u32,
    /// Packets to the client.
    pub packets_to_client: u32,
    /// Octets to the service.
    pub bytes_to_service: u64,
    /// Octets to the client.
    pub bytes_to_client: u64,
    /// Whether it was judged under the tables now in force.
    pub current: bool,
}

impl Flows {
    /// At most `limit` of these flows at the moment `now`, their ends named by `tables` of this
    /// generation.
    pub(crate) fn of(
        tables: &Tables,
        generation: u32,
        flows: &[(FlowKey, Flow)],
        now: Ticks,
        limit: Option<usize>,
    ) -> Self {
        let mut busiest: Vec<&(FlowKey, Flow)> = flows.iter().collect();
        busiest.sort_by_key(|(key, flow)| {
            let octets: u64 = flow.bytes.iter().sum();
            (Reverse(octets), Ipv4Addr::from(key.client), key.client_port.number())
        });
        let rows = busiest.into_iter().take(limit.unwrap_or(usize::MAX));
        Self(rows.map(|(key, flow)| Row::of(tables, generation, key, flow, now)).collect())
    }
}

impl Row {
    /// A flow at the moment `now`, its ends named by `tables` of this generation.
    pub(crate) fn of(
        tables: &Tables,
        generation: u32,
        key: &FlowKey,
        flow: &Flow,
        now: Ticks,
    ) -> Self {
        let [packets_to_service, packets_to_client] =
            [Direction::Forward, Direction::Reverse].map(|way| flow.packets[way as usize]);
        let [bytes_to_service, bytes_to_client] =
            [Direction::Forward, Direction::Reverse].map(|way| flow.bytes[way as usize]);
        Self {
            protocol: key.protocol.to_string(),
            client: key.client.into(),
            client_port: key.client_port.number(),
            client_site: route_to(tables, key.client).map(|route| site_name(tables, route)),
            local_client: flow.client.into(),
            local_client_port: flow.client_port.number(),
            service: service_name(tables, key.service),
            service_port: key.service_port.number(),
            local_service: flow.service.into(),
            local_service_port: flow.service_port.number(),
            state: flow.state().label(),
            idle_seconds: idle(now, flow.seen),
            packets_to_service,
            packets_to_client,
            bytes_to_service,
            bytes_to_client,
            current: flow.generation == generation,
        }
    }
}

impl Answer for Flows {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|row| {
            [
                row.protocol.clone(),
                format!("{}:{}", row.client, row.client_port),
                or_dash(row.client_site.as_ref()),
                format!("{}:{}", row.local_client, row.local_client_port),
                format!("{}:{}", row.service, row.service_port),
                format!("{}:{}", row.local_service, row.local_service_port),
                row.state.to_owned(),
                seconds(row.idle_seconds),
                format!("{} / {}", row.packets_to_service, octets(row.bytes_to_service)),
                format!("{} / {}", row.packets_to_client, octets(row.bytes_to_client)),
            ]
        });
        let heading = [
            "proto",
            "client",
            "of site",
            "here",
            "service",
            "here",
            "state",
            "idle",
            "to service",
            "to client",
        ];
        table(heading, rows, "no flows")
    }
}

/// Seconds from `seen` to `now`.
fn idle(now: Ticks, seen: Ticks) -> u64 {
    (u64::from(now.since(seen)) << 24) / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use gateway_common::map::{Endpoints, FlowState};
    use gateway_common::{LocalAddress, Port, Protocol, TransitAddress};

    use super::super::sample;
    use super::*;

    fn flow(octets: u64, port: u16) -> (FlowKey, Flow) {
        let key = FlowKey::new(
            Endpoints {
                client: TransitAddress::from(Ipv4Addr::new(240, 0, 16, 5)),
                client_port: Port::new(port),
                service: TransitAddress::from(Ipv4Addr::new(240, 0, 8, 1)),
                service_port: Port::new(5672),
            },
            Protocol::TCP,
        );
        let ends = Endpoints {
            client: LocalAddress::from(Ipv4Addr::new(10, 0, 0, 5)),
            client_port: Port::new(port),
            service: LocalAddress::from(Ipv4Addr::new(10, 0, 0, 200)),
            service_port: Port::new(5672),
        };
        let mut flow = Flow::opening(ends, 7, Ticks(0), FlowState::Open);
        flow.packets = [2, 1];
        flow.bytes = [octets, 60];
        (key, flow)
    }

    #[test]
    fn flows_have_named_ends_and_the_busiest_comes_first() {
        let flows = [flow(100, 40000), flow(5000, 40001)];
        let answer = Flows::of(&sample::tables(), 7, &flows, Ticks(600), None);
        let text = answer.text();
        let rows: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert_eq!(
            rows[0].join(" "),
            "tcp 240.0.16.5:40001 edge-a 10.0.0.5:40001 rabbitmq.cloud:5672 10.0.0.200:5672 open \
             10s 2 / 4.8 KiB 1 / 60 B"
        );
        let json = serde_json::to_value(&answer).unwrap();
        assert_eq!(json[1]["client_port"], 40000);
        assert_eq!(json[1]["bytes_to_service"], 100);
        assert_eq!(json[1]["current"], true);
        let busiest = Flows::of(&sample::tables(), 7, &flows, Ticks(600), Some(1));
        assert_eq!(serde_json::to_value(&busiest).unwrap()[0], json[0]);
        assert_eq!(busiest.0.len(), 1);
        assert_eq!(Flows::of(&sample::tables(), 7, &[], Ticks(0), None).text(), "no flows\n");
    }

    #[test]
    fn idleness_is_never_negative() {
        assert_eq!(idle(Ticks(600), Ticks(600)), 0);
        assert_eq!(idle(Ticks(600), Ticks(603)), 0);
        assert_eq!(idle(Ticks(600), Ticks(0)), 10);
        assert_eq!(idle(Ticks(5), Ticks(u32::MAX - 594)), 10);
    }
}
