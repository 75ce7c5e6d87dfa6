//! The packet that an operator describes: names resolved to addresses, and where it comes in. Pure.

use std::net::Ipv4Addr;

use gateway_common::desired::Tables;
use gateway_common::map::ServiceKind;
use gateway_common::{LocalAddress, Protocol, TransitAddress};
use gateway_control::model::{SiteModel, SiteName};
use gateway_dataplane::{PacketDescription, Part, Program, TracePoint, TransportDescription};

use super::super::arguments::{ChunkArgument, FragmentArgument, TraceArguments};
use super::super::names::{service_named, services};
use super::super::packet::{Flags, TraceProtocol};

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
        ttl: arguments.ttl,
        part: part(arguments),
        transport,
        payload: payload(arguments),
    };
    Ok((TracePoint { program, interface }, packet))
}

fn part(arguments: &TraceArguments) -> Part {
    /// What a datagram's first fragment carries on an Ethernet, in units of 8 octets.
    const SECOND: u16 = 185;
    let identification = arguments.identification;
    match arguments.fragment {
        None => Part::Whole { dont_fragment: arguments.dont_fragment },
        Some(FragmentArgument::First) => Part::First { identification },
        Some(FragmentArgument::Later) => Part::Last { identification, offset: SECOND },
    }
}

fn payload(arguments: &TraceArguments) -> u16 {
    match arguments.fragment {
        // An empty one is no part of anything.
        Some(FragmentArgument::Later) => arguments.size.max(8),
        Some(FragmentArgument::First) | None => arguments.size,
    }
}

fn transport(arguments: &TraceArguments) -> Result<TransportDescription, TraceError> {
    let protocol = arguments.protocol.number();
    let source = arguments.from_port;
    // What is no first fragment has no ports.
    let without = (arguments.fragment == Some(FragmentArgument::Later)).then_some(0);
    let destination = || arguments.port.or(without).ok_or(TraceError::NoPort(protocol));
    Ok(match protocol {
        Protocol::TCP => {
            let (Flags(flags), destination) = (arguments.flags, destination()?);
            TransportDescription::Tcp { source, destination, flags }
        }
        Protocol::UDP => TransportDescription::Udp { source, destination: destination()? },
        Protocol::SCTP => TransportDescription::Sctp {
            source,
            destination: destination()?,
            opens: arguments.chunk == ChunkArgument::Init,
        },
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

    use super::super::super::arguments::{Arguments, Command};
    use super::super::super::packet::Summary;
    use super::super::super::sample::{self, LAN, LINK};
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
                lan("tcp 10.0.0.5:40000 -> 10.0.0.200:5672 ttl 64 length 40 syn"),
            ),
            (
                "--from 10.0.0.5 --to rabbitmq.cloud --protocol udp --port 5000 --from-port 7 --size 2",
                lan("udp 10.0.0.5:7 -> 10.0.0.200:5000 ttl 64 length 30"),
            ),
            (
                "--from 172.16.0.1 --to rabbitmq.cloud --protocol icmp",
                lan("icmp 172.16.0.1:40000 -> 10.0.0.200 ttl 64 length 28 echo-request"),
            ),
            (
                "--from 10.0.0.7 --from-site cloud --to agent.edge-a --port 80",
                link("tcp 240.0.0.7:40000 -> 240.0.24.1:80 ttl 64 length 40 syn"),
            ),
            (
                "--link --from 240.0.0.9 --to 240.0.24.1 --protocol 47",
                link("ip/47 240.0.0.9 -> 240.0.24.1 ttl 64 length 20"),
            ),
            (
                "--from 10.0.0.5 --to 10.0.0.200 --port 1 --flags syn,ack --ttl 9 --dont-fragment",
                lan("tcp 10.0.0.5:40000 -> 10.0.0.200:1 ttl 9 length 40 syn,ack DF"),
            ),
            (
                "--from 10.0.0.10 --to 10.0.0.250 --protocol icmp-reply --from-port 7",
                lan("icmp 10.0.0.10:7 -> 10.0.0.250 ttl 64 length 28 echo-reply"),
            ),
            (
                "--from 10.0.0.5 --to 10.0.0.200 --protocol udp --port 5000 --fragment first --size 1",
                lan("udp 10.0.0.5:40000 -> 10.0.0.200:5000 ttl 64 length 36 fragment 1@0+"),
            ),
            (
                "--from 10.0.0.5 --to 10.0.0.200 --protocol udp --fragment later --identification 7",
                lan("udp 10.0.0.5 -> 10.0.0.200 ttl 64 length 28 fragment 7@1480"),
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
        let nothing = resolve(&arguments(cases[1].0), &sample::tables(), None).unwrap_err();
        assert!(nothing.is_usage() && !TraceError::NoRecord.is_usage());
        let words = "--from 10.0.0.5 --from-site cloud --to agent.edge-a --port 1";
        let unrecorded = resolve(&arguments(words), &sample::tables(), None).unwrap_err();
        assert_eq!(unrecorded, TraceError::NoRecord);
    }
}
