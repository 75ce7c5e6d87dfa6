//! `gatewayctl trace`: names resolved to addresses before, and the programs' answer put in words
//! after. Pure; the programs are asked by [`super::run`].

use std::net::Ipv4Addr;

use gateway_common::desired::Tables;
use gateway_common::map::{Counter, NameKey, NameKind, Outcome, ServiceKind};
use gateway_common::{LocalAddress, Protocol, TransitAddress};
use gateway_control::model::{SiteModel, SiteName};
use gateway_dataplane::{PacketDescription, Program, Trace, TracePoint, TransportDescription};
use serde::Serialize;

use super::arguments::TraceArguments;
use super::entry::label;
use super::packet::{Flags, Summary, TraceProtocol};
use super::presences::service_name;
use super::print::{Answer, pairs};

/// Why a packet cannot be traced as it was described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TraceError {
    /// No such service.
    #[error("there is no service {0} here; `gatewayctl map dump names` lists services")]
    NoService(String),
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
    /// What it means and what to do.
    pub help: &'static str,
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
    let packet =
        PacketDescription { source, destination, ttl: 64, transport, payload: arguments.size };
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
                Some(Why { label: reason.label(), number: reason as u8, help: reason.help() })
            }
            Counter::Outcome(_) => None,
        };
        Self {
            program: program.name(),
            packet: Summary::of(&trace.before),
            verdict,
            counter: label(report.counter),
            reason,
            rule: (report.rule != 0).then(|| Rule {
                number: report.rule,
                id: tables.name(NameKey::new(NameKind::Rule, report.rule)),
            }),
            rewritten: if forwarded { Summary::of(&trace.after) } else { None },
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
            (None, "forward") => Some("of a flow that is already open".into()),
            (None, _) => None,
        };
        let verdict = format!("{} ({})", self.verdict, self.counter);
        let lines = [
            ("packet", shown(&self.packet)),
            ("program", Some(self.program.to_owned())),
            ("verdict", Some(verdict)),
            ("reason", self.reason.as_ref().map(|why| why.help.to_owned())),
            ("rule", rule),
            ("rewritten", shown(&self.rewritten)),
            ("leaves by", self.egress.as_ref().map(|it| it.interface.clone())),
        ];
        pairs(lines.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

fn transport(arguments: &TraceArguments) -> Result<TransportDescription, TraceError> {
    let TraceProtocol(protocol) = arguments.protocol;
    let source = arguments.from_port;
    let destination = || arguments.port.ok_or(TraceError::NoPort(protocol));
    Ok(match protocol {
        Protocol::TCP => {
            let (Flags(flags), destination) = (arguments.flags, destination()?);
            TransportDescription::Tcp { source, destination, flags }
        }
        Protocol::UDP => TransportDescription::Udp { source, destination: destination()? },
        Protocol::ICMP => TransportDescription::EchoRequest { identifier: source },
        other => TransportDescription::Other(other),
    })
}

/// What a client of this site sends to: an address as it is, a service by its presence.
fn on_lan(tables: &Tables, to: &str) -> Result<Ipv4Addr, TraceError> {
    if let Ok(address) = to.parse() {
        return Ok(address);
    }
    let service = service_named(tables, to)?;
    match tables.services.get(&service).map(|service| service.kind()) {
        Some(ServiceKind::Elsewhere { presence }) => Ok(presence.into()),
        Some(ServiceKind::Here { .. }) => Err(TraceError::ServiceIsHere(to.into())),
        Some(ServiceKind::Unknown) | None => Err(TraceError::NoService(to.into())),
    }
}

/// What a packet on a link is sent to: a transit address as it is, a service by its own.
fn on_link(tables: &Tables, to: &str) -> Result<Ipv4Addr, TraceError> {
    match to.parse() {
        Ok(address) => Ok(address),
        Err(_) => service_named(tables, to).map(Ipv4Addr::from),
    }
}

fn service_named(tables: &Tables, name: &str) -> Result<TransitAddress, TraceError> {
    let mut services = tables.services.keys().copied();
    services
        .find(|service| service_name(tables, *service) == name)
        .ok_or_else(|| TraceError::NoService(name.into()))
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
