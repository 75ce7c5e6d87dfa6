//! `gatewayctl trace`: names resolved to addresses before, and the programs' answer put in words
//! after. Pure; the programs are asked by [`super::run`].

use std::net::Ipv4Addr;

use gateway_common::desired::Tables;
use gateway_common::map::{AllowKey, Counter, NameKey, NameKind, Outcome, ServiceKind};
use gateway_common::{LocalAddress, Protocol, TransitAddress};
use gateway_control::model::{SiteModel, SiteName};
use gateway_dataplane::{
    PacketDescription, Part, Program, Trace, TracePoint, TransportDescription,
};
use serde::Serialize;

use super::arguments::TraceArguments;
use super::entry::label;
use super::explain::Words;
use super::names::{service_named, services};
use super::packet::{Flags, Summary, TraceProtocol};
use super::print::{Answer, pairs};

/// Why a packet cannot be traced as it was described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TraceError {
    /// No such service.
    #[error("--to {0}: there is no such service here; give an address, or one of: {1}")]
    NoService(String, String),
    /// A service of this site has no presence here.
    #[error(
        "service {0} is at this site, so its clients come from links; name one with --from-site, \
         or use --link with a transit address"
    )]
    ServiceIsHere(String),
    /// The site is not known.
    #[error("there is no remote site {0} in force here; sites: {1}")]
    NoSite(SiteName, String),
    /// The client is in none of that site's networks.
    #[error(
        "{client} is in none of the client networks of {site} that are known here ({known}); add \
         them to client_networks of its [[remote_site]], or use --link with the client's transit \
         address"
    )]
    NotAClient {
        /// The address.
        client: Ipv4Addr,
        /// The site.
        site: SiteName,
        /// Its networks.
        known: String,
    },
    /// What is in force was not recorded.
    #[error(
        "which networks other sites have is not recorded in this instance's run directory; use \
         --link with the client's transit address, or start gatewayd once"
    )]
    NoRecord,
    /// A packet on a link has transit addresses.
    #[error(
        "{0} is no transit address, and a packet on a link is from one; name the client's site \
         with --from-site"
    )]
    NotTransit(Ipv4Addr),
    /// TCP and UDP need a port.
    #[error("--protocol {0} needs --port")]
    NoPort(Protocol),
    /// The gateway has no LAN or no link.
    #[error("this gateway has no {0} in force, so nothing can come in there")]
    NoInterface(&'static str),
}

impl TraceError {
    /// Whether the command line is at fault: not if what it needs is missing here.
    pub(crate) fn is_usage(&self) -> bool {
        !matches!(self, Self::NoRecord | Self::NoInterface(_))
    }
}

/// What the programs would do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Traced {
    /// The program that was asked.
    pub program: &'static str,
    /// The packet.
    pub packet: Option<Summary>,
    /// `forward`, `refuse`, `pass` or `answer`.
    pub verdict: &'static str,
    /// What it is counted as.
    pub counter: &'static str,
    /// Why it is refused.
    pub reason: Option<Why>,
    /// Whether it belongs to a flow that is open already (`known`) or would open one (`new`).
    pub flow: Option<&'static str>,
    /// The rule that allows it.
    pub rule: Option<Rule>,
    /// The packet as it goes on.
    pub rewritten: Option<Summary>,
    /// Where it goes.
    pub egress: Option<Egress>,
}

/// Why a packet is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Why {
    /// The reason's label.
    pub label: &'static str,
    /// Its number.
    pub number: u8,
    /// What is to be said of it.
    #[serde(flatten)]
    pub words: Words,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Rule {
    /// Its number in the tables.
    pub number: u32,
    /// Its id.
    pub id: String,
}

/// An interface that a packet goes out of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Egress {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub interface: String,
}

/// The packet that `arguments` describe and where it comes in.
pub(crate) fn resolve(
    arguments: &TraceArguments,
    tables: &Tables,
    in_force: Option<&SiteModel>,
) -> Result<(TracePoint, PacketDescription), TraceError> {
    let transport = transport(arguments)?;
    let from_link = arguments.link || arguments.from_site.is_some();
    let (program, interface, source, destination) = if from_link {
        let source = match &arguments.from_site {
            Some(site) => remote_client(arguments.from, site, in_force)?,
            None if tables.settings.transit.contains(arguments.from.into()) => arguments.from,
            None => return Err(TraceError::NotTransit(arguments.from)),
        };
        (Program::LinkIngress, link(tables)?, source, on_link(tables, &arguments.to)?)
    } else {
        let (interface, destination) =
            (lan_of(tables, arguments.from)?, on_lan(tables, &arguments.to)?);
        (Program::LanIngress, interface, arguments.from, destination)
    };
    let packet = PacketDescription {
        source,
        destination,
        ttl: 64,
        part: Part::default(),
        transport,
        payload: arguments.size,
    };
    Ok((TracePoint { program, interface }, packet))
}

impl Traced {
    /// What the answer of `program` means; `interface` names interfaces.
    pub(crate) fn of(
        program: Program,
        trace: &Trace,
        tables: &Tables,
        interface: impl Fn(u32) -> String,
    ) -> Self {
        let report = trace.report;
        let (verdict, forwarded) = match report.counter {
            Counter::Refused(_) => ("refuse", false),
            Counter::Outcome(Outcome::Passed) => ("pass", false),
            Counter::Outcome(Outcome::Answered) => ("answer", false),
            Counter::Outcome(
                Outcome::ToLink | Outcome::ToLan | Outcome::Relayed | Outcome::Opened,
            ) => ("forward", true),
        };
        let reason = match report.counter {
            Counter::Refused(reason) => {
                Some(Why { label: reason.label(), number: reason as u8, words: reason.into() })
            }
            Counter::Outcome(_) => None,
        };
        let before = Summary::of(&trace.before);
        let after = if forwarded { Summary::of(&trace.after) } else { None };
        let is_ours = forwarded && report.counter != Counter::Outcome(Outcome::Relayed);
        let on_link = if program == Program::LinkIngress { &before } else { &after };
        let rule = match report.rule {
            0 if is_ours => on_link.as_ref().and_then(|packet| rule_of(tables, packet)),
            0 => None,
            judged => Some(judged),
        };
        Self {
            program: program.name(),
            packet: before,
            verdict,
            counter: label(report.counter),
            reason,
            flow: is_ours.then_some(if report.rule == 0 { "known" } else { "new" }),
            rule: rule.map(|number| Rule {
                number,
                id: tables.name(NameKey::new(NameKind::Rule, number)),
            }),
            rewritten: after,
            egress: forwarded.then(|| Egress {
                index: report.interface,
                interface: interface(report.interface),
            }),
        }
    }
}

impl Answer for Traced {
    fn text(&self) -> String {
        let shown = |summary: &Option<Summary>| summary.as_ref().map(ToString::to_string);
        let rule = match (&self.rule, self.verdict) {
            (Some(rule), _) => Some(rule.id.clone()),
            (None, "forward") if self.counter == Outcome::Relayed.label() => {
                Some("none: the gateways at both ends decide".into())
            }
            (None, _) => None,
        };
        let verdict = format!("{} ({})", self.verdict, self.counter);
        let lines = [
            ("packet", shown(&self.packet)),
            ("program", Some(self.program.to_owned())),
            ("verdict", Some(verdict)),
            ("reason", self.reason.as_ref().map(|why| why.words.meaning.to_owned())),
            ("remedy", self.reason.as_ref().map(|why| why.words.remedy.to_owned())),
            ("flow", self.flow.map(str::to_owned)),
            ("rule", rule),
            ("rewritten", shown(&self.rewritten)),
            ("leaves by", self.egress.as_ref().map(|it| it.interface.clone())),
        ];
        pairs(lines.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

/// The rule that allows the flow of a packet between transit addresses. The programs name it only when
/// they judge a flow, which for a known one was earlier, under the same tables.
fn rule_of(tables: &Tables, packet: &Summary) -> Option<u32> {
    let (source, destination) =
        (TransitAddress::from(packet.source), TransitAddress::from(packet.destination));
    let held = |service, client| {
        let key = AllowKey::exact(service, client);
        let covering = tables.allows.iter().filter(|(allow, _)| allow.covers(&key));
        covering.max_by_key(|(allow, _)| allow.bits()).map(|(_, allow)| allow.rule)
    };
    held(destination, source).or_else(|| held(source, destination))
}

fn transport(arguments: &TraceArguments) -> Result<TransportDescription, TraceError> {
    let protocol = arguments.protocol.number();
    let source = arguments.from_port;
    let destination = || arguments.port.ok_or(TraceError::NoPort(protocol));
    Ok(match protocol {
        Protocol::TCP => {
            let (Flags(flags), destination) = (arguments.flags, destination()?);
            TransportDescription::Tcp { source, destination, flags }
        }
        Protocol::UDP => TransportDescription::Udp { source, destination: destination()? },
        _ if arguments.protocol == TraceProtocol::EchoReply => {
            TransportDescription::EchoReply { identifier: source }
        }
        Protocol::ICMP => TransportDescription::EchoRequest { identifier: source },
        other => TransportDescription::Other(other),
    })
}

/// What a client of this site sends to: an address as it is, a service by its presence.
fn on_lan(tables: &Tables, to: &str) -> Result<Ipv4Addr, TraceError> {
    if let Ok(address) = to.parse() {
        return Ok(address);
    }
    let service = service(tables, to)?;
    match tables.services.get(&service).map(|service| service.kind()) {
        Some(ServiceKind::Elsewhere { presence }) => Ok(presence.into()),
        Some(ServiceKind::Here { .. }) => Err(TraceError::ServiceIsHere(to.into())),
        Some(ServiceKind::Unknown) | None => {
            Err(TraceError::NoService(to.into(), services(tables)))
        }
    }
}

/// What a packet on a link is sent to: a transit address as it is, a service by its own.
fn on_link(tables: &Tables, to: &str) -> Result<Ipv4Addr, TraceError> {
    match to.parse() {
        Ok(address) => Ok(address),
        Err(_) => service(tables, to).map(Ipv4Addr::from),
    }
}

fn service(tables: &Tables, name: &str) -> Result<TransitAddress, TraceError> {
    service_named(tables, name).ok_or_else(|| TraceError::NoService(name.into(), services(tables)))
}

/// The interface behind which a client is; for an address that is behind none, the first.
fn lan_of(tables: &Tables, client: Ipv4Addr) -> Result<u32, TraceError> {
    let settings = &tables.settings;
    let network = settings
        .network(LocalAddress::from(client))
        .or_else(|| settings.networks.first().filter(|_| settings.network_count > 0));
    network.map(|network| network.interface).ok_or(TraceError::NoInterface("LAN interface"))
}

/// The link device, which all routes to other sites name.
fn link(tables: &Tables) -> Result<u32, TraceError> {
    let mut routes = tables.routes.values();
    routes.find(|route| !route.is_own()).map(|it| it.link).ok_or(TraceError::NoInterface("link"))
}

fn remote_client(
    client: Ipv4Addr,
    site: &SiteName,
    in_force: Option<&SiteModel>,
) -> Result<Ipv4Addr, TraceError> {
    let model = in_force.ok_or(TraceError::NoRecord)?;
    let Some(remote) = model.remote_site(site) else {
        let sites: Vec<_> = model.remote_sites().iter().map(|it| it.name.as_str()).collect();
        return Err(TraceError::NoSite(site.clone(), sites.join(", ")));
    };
    let index = remote.client_networks.index(client).and_then(|index| u32::try_from(index).ok());
    index.and_then(|index| remote.transit.client(index)).ok_or_else(|| TraceError::NotAClient {
        client,
        site: site.clone(),
        known: match remote.client_networks.count() {
            0 => "none".into(),
            _ => remote.client_networks.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use gateway_common::Reason;
    use gateway_common::report::Report;

    use super::super::arguments::{Arguments, Command};
    use super::super::sample::{self, LAN, LINK};
    use super::*;

    fn arguments(words: &str) -> TraceArguments {
        let line = format!("gatewayctl trace {words}");
        match Arguments::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Trace(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    fn resolved(words: &str) -> Result<String, TraceError> {
        let model = sample::model();
        let (point, packet) = resolve(&arguments(words), &sample::tables(), Some(&model))?;
        let summary = Summary::of(&packet.frame().unwrap()).unwrap();
        Ok(format!("{} #{}: {summary}", point.program, point.interface))
    }

    #[test]
    fn services_and_clients_are_found_by_name() {
        let lan = |rest: &str| format!("lan_ingress #{LAN}: {rest}");
        let link = |rest: &str| format!("link_ingress #{LINK}: {rest}");
        let cases = [
            (
                "--from 10.0.0.5 --to 10.0.0.200 --port 5672",
                lan("tcp 10.0.0.5:40000 -> 10.0.0.200:5672 ttl 64 length 40"),
            ),
            (
                "--from 10.0.0.5 --to rabbitmq.cloud --protocol udp --port 5000 --from-port 7 --size 2",
                lan("udp 10.0.0.5:7 -> 10.0.0.200:5000 ttl 64 length 30"),
            ),
            (
                "--from 172.16.0.1 --to rabbitmq.cloud --protocol icmp",
                lan("icmp 172.16.0.1:40000 -> 10.0.0.200 ttl 64 length 28"),
            ),
            (
                "--from 10.0.0.7 --from-site cloud --to agent.edge-a --port 80",
                link("tcp 240.0.0.7:40000 -> 240.0.24.1:80 ttl 64 length 40"),
            ),
            (
                "--link --from 240.0.0.9 --to 240.0.24.1 --protocol 132",
                link("ip/132 240.0.0.9 -> 240.0.24.1 ttl 64 length 20"),
            ),
        ];
        for (words, expected) in cases {
            assert_eq!(resolved(words), Ok(expected), "{words}");
        }
    }

    #[test]
    fn what_cannot_be_traced_is_told_with_a_remedy() {
        let cases = [
            ("--from 10.0.0.5 --to rabbitmq.cloud", "--port"),
            (
                "--from 10.0.0.5 --to nothing.cloud --port 1",
                "--to nothing.cloud: there is no such service",
            ),
            ("--from 10.0.0.5 --to agent.edge-a --port 1", "--from-site"),
            ("--from 10.9.0.5 --from-site cloud --to agent.edge-a --port 1", "client_networks"),
            ("--from 10.0.0.5 --from-site edge-b --to agent.edge-a --port 1", "(none)"),
            ("--from 10.0.0.5 --from-site edge-c --to agent.edge-a --port 1", "cloud, edge-b"),
            ("--from 10.0.0.5 --link --to agent.edge-a --port 1", "--from-site"),
        ];
        for (words, expected) in cases {
            let error = resolved(words).unwrap_err().to_string();
            assert!(error.contains(expected), "{words}: {error}");
        }
        let words = "--from 10.0.0.5 --from-site cloud --to agent.edge-a --port 1";
        let unrecorded = resolve(&arguments(words), &sample::tables(), None).unwrap_err();
        assert_eq!(unrecorded, TraceError::NoRecord);
    }

    fn traced(counter: Counter, rule: u32) -> Traced {
        let tables = sample::tables();
        let words = "--from 10.0.0.5 --to 10.0.0.200 --port 5672";
        let (point, packet) = resolve(&arguments(words), &tables, None).unwrap();
        let before = packet.frame().unwrap();
        let (after, report) = (before.clone(), Report { counter, rule, interface: LINK });
        let trace = Trace { report, before, after };
        Traced::of(point.program, &trace, &tables, |index| format!("if{index}"))
    }

    #[test]
    fn a_forwarded_packet_names_its_rule_and_its_way() {
        let text = traced(Counter::Outcome(Outcome::ToLink), 1).text();
        assert!(text.contains("verdict    forward (to-link)\n"), "{text}");
        assert!(text.contains("rule       edge-a-rabbitmq\n"), "{text}");
        assert!(text.contains("leaves by  if3\n"), "{text}");
        assert!(text.contains("rewritten  tcp 10.0.0.5:40000"), "{text}");
        assert!(text.contains("flow       new\n"), "{text}");
    }

    #[test]
    fn the_rule_of_a_known_flow_is_found_in_the_tables() {
        let tables = sample::tables();
        let words = "--from 240.0.16.5 --link --to 240.0.8.1 --port 5672";
        let (point, packet) = resolve(&arguments(words), &tables, None).unwrap();
        let report = Report { counter: Counter::Outcome(Outcome::ToLan), rule: 0, interface: LAN };
        let before = packet.frame().unwrap();
        let trace = Trace { report, after: before.clone(), before };
        let known = Traced::of(point.program, &trace, &tables, |index| format!("if{index}"));
        assert_eq!(known.flow, Some("known"));
        assert_eq!(known.rule, Some(Rule { number: 1, id: "edge-a-rabbitmq".into() }));
    }

    #[test]
    fn a_refused_packet_names_its_reason() {
        let refused = traced(Counter::Refused(Reason::NoPolicy), 0);
        let text = refused.text();
        assert!(text.contains("verdict  refuse (no-policy)\n"), "{text}");
        assert!(text.contains(Reason::NoPolicy.meaning()), "{text}");
        assert!(text.contains(Reason::NoPolicy.remedy()), "{text}");
        assert!(!text.contains("rewritten") && !text.contains("leaves by"), "{text}");
        let json = serde_json::to_value(&refused).unwrap();
        assert_eq!(json["verdict"], "refuse");
        assert_eq!(json["reason"]["label"], "no-policy");
        assert_eq!(json["rule"], serde_json::Value::Null);
        assert_eq!(json["egress"], serde_json::Value::Null);
    }
}
