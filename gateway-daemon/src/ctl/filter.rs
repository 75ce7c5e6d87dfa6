//! Which flows `gatewayctl flow list` shows: the words of the command line, parsed, and resolved against
//! the tables in force. Pure.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use gateway_common::desired::Tables;
use gateway_common::map::{Flow, FlowKey, FlowState, SiteNumber};
use gateway_common::{Protocol, TransitAddress};
use ipnet::Ipv4Net;

use super::arguments::FlowListArguments;
use super::names::{route_to, service_named, services, site_named, sites};
use super::packet::TraceProtocol;

/// A client, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clients(Ipv4Net);

/// A port, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange(RangeInclusive<u16>);

/// How often flows are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub Duration);

/// A value that fits nothing at this gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    /// No such service.
    #[error("--service {name}: there is no such service here; give one of: {known}")]
    Service {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No such site.
    #[error("--site {name}: there is no such site here; give one of: {known}")]
    Site {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

/// Which flows are wanted: those that all of it holds for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    service: Option<TransitAddress>,
    site: Option<SiteNumber>,
    clients: Option<Ipv4Net>,
    protocol: Option<Protocol>,
    ports: Option<RangeInclusive<u16>>,
    states: Vec<FlowState>,
}

impl Filter {
    /// What the command line asks for, under these tables.
    pub(crate) fn resolve(
        arguments: &FlowListArguments,
        tables: &Tables,
    ) -> Result<Self, FilterError> {
        let service = |name: &String| {
            let known = || FilterError::Service { name: name.clone(), known: services(tables) };
            service_named(tables, name).ok_or_else(known)
        };
        let site = |name: &String| {
            let known = || FilterError::Site { name: name.clone(), known: sites(tables) };
            site_named(tables, name).ok_or_else(known)
        };
        Ok(Self {
            service: arguments.service.as_ref().map(service).transpose()?,
            site: arguments.site.as_ref().map(site).transpose()?,
            clients: arguments.client.map(|Clients(network)| network),
            protocol: arguments.protocol.map(TraceProtocol::number),
            ports: arguments.port.clone().map(|PortRange(range)| range),
            states: arguments.state.clone(),
        })
    }

    /// Whether the flow is wanted, whatever its state.
    pub(crate) fn wants(&self, tables: &Tables, key: &FlowKey, flow: &Flow) -> bool {
        let of_site =
            |number, address| route_to(tables, address).is_some_and(|route| route.site == number);
        let holds = |network: &Ipv4Net, address: Ipv4Addr| network.contains(&address);
        self.service.is_none_or(|service| key.service == service)
            && self.site.is_none_or(|it| of_site(it, key.client) || of_site(it, key.service))
            && self.clients.is_none_or(|network| {
                holds(&network, key.client.into()) || holds(&network, flow.client.into())
            })
            && self.protocol.is_none_or(|protocol| key.protocol == protocol)
            && self.ports.as_ref().is_none_or(|ports| {
                ports.contains(&key.service_port.number())
                    || ports.contains(&flow.service_port.number())
            })
    }

    /// Whether flows in this state are wanted.
    pub(crate) fn wants_state(&self, state: FlowState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }
}

/// What a state means, for an operator.
pub(crate) fn meaning(state: FlowState) -> &'static str {
    match state {
        FlowState::Opening => "TCP: the client's SYN is unanswered",
        FlowState::Accepted => "TCP: the service took the SYN, the client has not confirmed",
        FlowState::Open => "TCP: both sides spoke",
        FlowState::ClientClosed => "TCP: the client has finished sending",
        FlowState::ServiceClosed => "TCP: the service has finished sending",
        FlowState::Closed => "TCP: both have finished, or one reset",
        FlowState::Asked => "not TCP: only the client spoke",
        FlowState::Answered => "not TCP: both sides spoke",
    }
}

/// The state with this label; the command line offers no other.
pub(crate) fn state(label: &str) -> Result<FlowState, String> {
    let mut states = FlowState::ALL.into_iter();
    states.find(|state| state.label() == label).ok_or_else(|| {
        let labels = FlowState::ALL.map(FlowState::label).join(", ");
        format!("{label:?} is no state: write some of {labels}")
    })
}

impl FromStr for Clients {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = match text.parse::<Ipv4Addr>() {
            Ok(address) => Some(address.into()),
            Err(_) => text.parse().ok(),
        };
        network.map(Self).ok_or_else(|| {
            format!("{text:?} is neither an address nor a prefix: write 10.0.0.5 or 10.0.0.0/24")
        })
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let range = low.parse().ok().zip(high.parse().ok()).map(|(low, high)| low..=high);
        range.filter(|range| !range.is_empty()).map(Self).ok_or_else(|| {
            format!("{text:?} is neither a port nor a range of ports: write 5672 or 5000-5999")
        })
    }
}

impl Interval {
    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(3600);
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().ok();
        let duration = match text.strip_suffix("ms") {
            Some(count) => number(count).map(Duration::from_millis),
            None => text.strip_suffix('s').and_then(number).map(Duration::from_secs),
        };
        let fits = |duration: &Duration| (Self::LEAST..=Self::MOST).contains(duration);
        duration.filter(fits).map(Self).ok_or_else(|| {
            format!("{text:?} is no interval from 100ms to 3600s: write 500ms or 2s")
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use gateway_common::map::Endpoints;
    use gateway_common::{LocalAddress, Port, Ticks};

    use super::super::arguments::{Arguments, Command, FlowCommand};
    use super::super::sample;
    use super::*;

    fn arguments(words: &str) -> Result<FlowListArguments, String> {
        let line = format!("gatewayctl flow list {words}");
        let parsed = Arguments::try_parse_from(line.split_whitespace());
        match parsed.map_err(|error| error.to_string())?.command {
            Command::Flow(FlowCommand::List(arguments)) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    /// 10.0.0.5 at rabbitmq.cloud, tcp/5672; and cloud's 10.0.0.7 at agent.edge-a, udp/80 as 8080.
    fn flows() -> [(FlowKey, Flow); 2] {
        let address = |last: [u8; 4]| Ipv4Addr::from(last);
        let flow = |client, service, port, here: ([u8; 4], [u8; 4], u16), protocol| {
            let key = Endpoints {
                client: TransitAddress::from(address(client)),
                client_port: Port::new(40000),
                service: TransitAddress::from(address(service)),
                service_port: Port::new(port),
            };
            let ends = Endpoints {
                client: LocalAddress::from(address(here.0)),
                client_port: Port::new(40000),
                service: LocalAddress::from(address(here.1)),
                service_port: Port::new(here.2),
            };
            let flow = Flow::opening(ends, 1, Ticks(0), FlowState::Open);
            (FlowKey::new(key, protocol), flow)
        };
        [
            flow(
                [240, 0, 16, 5],
                [240, 0, 8, 1],
                5672,
                ([10, 0, 0, 5], [10, 0, 0, 200], 5672),
                Protocol::TCP,
            ),
            flow(
                [240, 0, 0, 7],
                [240, 0, 24, 1],
                80,
                ([10, 0, 0, 250], [10, 0, 0, 10], 8080),
                Protocol::UDP,
            ),
        ]
    }

    #[test]
    fn flows_are_chosen_by_each_of_their_ends() {
        let tables = sample::tables();
        let cases = [
            ("", [true, true]),
            ("--service rabbitmq.cloud", [true, false]),
            ("--service 240.0.24.1", [false, true]),
            ("--site cloud", [true, true]),
            ("--site edge-b", [false, false]),
            ("--client 10.0.0.5", [true, false]),
            ("--client 10.0.0.0/24", [true, true]),
            ("--client 240.0.0.7", [false, true]),
            ("--client 10.0.0.250/32 --protocol udp", [false, true]),
            ("--protocol tcp", [true, false]),
            ("--protocol 17", [false, true]),
            ("--port 5672", [true, false]),
            ("--port 80", [false, true]),
            ("--port 8000-9000", [false, true]),
            ("--protocol tcp --port 80", [false, false]),
        ];
        for (words, expected) in cases {
            let filter = Filter::resolve(&arguments(words).unwrap(), &tables).unwrap();
            let found = flows().map(|(key, flow)| filter.wants(&tables, &key, &flow));
            assert_eq!(found, expected, "{words}");
        }
        let filter = arguments("--state open,closed").unwrap();
        let filter = Filter::resolve(&filter, &tables).unwrap();
        assert!(filter.wants_state(FlowState::Open) && filter.wants_state(FlowState::Closed));
        assert!(!filter.wants_state(FlowState::Asked));
        assert!(Filter::default().wants_state(FlowState::Asked));
    }

    #[test]
    fn values_that_make_no_sense_are_named_with_flag_and_remedy() {
        for (flag, value, remedy) in [
            ("--client", "10.0.0", "10.0.0.0/24"),
            ("--client", "10.0.0.5/33", "10.0.0.0/24"),
            ("--protocol", "dccp", "a number from 0 to 255"),
            ("--port", "65536", "5000-5999"),
            ("--port", "9-3", "5000-5999"),
            ("--state", "half", "client-closed"),
            ("--limit", "0", "1"),
            ("--interval", "1ms", "500ms"),
            ("--interval", "4h", "500ms"),
        ] {
            let follow = if flag == "--interval" { "--follow" } else { "" };
            let error = arguments(&format!("{follow} {flag} {value}")).unwrap_err();
            for part in [flag, value, remedy] {
                assert!(error.contains(part), "{flag} {value}: {error}");
            }
        }
        assert!(arguments("--interval 1s").unwrap_err().contains("--follow"));
        let tables = sample::tables();
        for (words, parts) in [
            ("--service web.cloud", ["--service web.cloud", "rabbitmq.cloud, agent.edge-a"]),
            ("--site moon", ["--site moon", "edge-a, cloud, edge-b"]),
        ] {
            let error = Filter::resolve(&arguments(words).unwrap(), &tables).unwrap_err();
            assert!(crate::ctl::is_usage(&error));
            for part in parts {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
    }
}
