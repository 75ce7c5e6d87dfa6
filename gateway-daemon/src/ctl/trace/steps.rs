//! What a program asked its maps, in words: a line for each thing that it wanted to know. Pure.

use std::net::Ipv4Addr;

use gateway_common::map::{
    Counter, Flow, FlowKey, NameKey, NameKind, NatKey, Owner, PortKey, PortMapping, PresenceKind,
    Route, Service, ServiceKind, Settings, UsageKey,
};
use gateway_common::{LocalAddress, Port, Reason, Ticks, TransitAddress};
use gateway_dataplane::Program;
use serde::Serialize;

use super::super::entry::{KeyText as _, port_text};
use super::super::names::{route_to, service_name, site_name};
use super::super::print::{octets, seconds};
use super::Scene;
use super::replay::{Asked, Replayed};

/// A thing that a program wanted to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// `presence`, `client`, `sender`, `route`, `fragments`, `flow`, `service`, `rule`, `port`, `quota`,
    /// `backend`, `reply`, `client-port` or `opens`.
    pub check: &'static str,
    /// About what.
    pub of: String,
    /// What there was; nothing where nothing was found.
    pub found: Option<String>,
}

impl Scene<'_> {
    /// What `program` wanted to know of a packet from `source`.
    pub(super) fn steps(
        &self,
        program: Program,
        source: Ipv4Addr,
        replayed: &Replayed,
    ) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut asked = replayed.asked.iter().peekable();
        let mut is_first_route = true;
        while let Some(one) = asked.next() {
            // Each flow and each reply is looked for among confirmed ones first, then among the others; a
            // flow that is not simply gone on with is looked for again. The last answer counts.
            let next = asked.peek().copied();
            let step = match (one, next) {
                (Asked::Flow(key, _), Some(Asked::Flow(same, _))) if key == same => continue,
                (Asked::Nat(key, None), Some(Asked::Nat(same, _))) if key == same => continue,
                (Asked::Presence(offset, found), _) => {
                    steps.push(self.presence(*offset, found.map(|it| it.kind())));
                    let is_service =
                        matches!(found.map(|it| it.kind()), Some(PresenceKind::Service(_)));
                    let is_refused = is_about_sender(replayed.counter);
                    if is_service && (next.is_some() || is_refused) {
                        steps.push(self.client(source));
                    }
                    continue;
                }
                (Asked::Route(granule, found), _) => {
                    let is_sender = program == Program::LinkIngress && is_first_route;
                    is_first_route = false;
                    self.route(*granule, *found, if is_sender { "sender" } else { "route" })
                }
                (Asked::Service(address, found), _) => self.service(*address, *found),
                (Asked::Slot(found), _) => {
                    let of = "a flow that is opened".to_owned();
                    Step { check: "backend", of, found: found.map(|it| it.to_string()) }
                }
                (Asked::Backend(key, found), _) => Step {
                    check: "backend",
                    of: key.address.to_string(),
                    found: found.then(|| "flows may stay on it".into()),
                },
                (Asked::Port(key, found), _) => port(key, *found),
                (Asked::Allow(key, found), _) => {
                    let (client, _) = key.client_prefix();
                    let of = format!("{client} at {}", service_name(self.tables, key.service()));
                    let found =
                        found.map(|it| self.tables.name(NameKey::new(NameKind::Rule, it.rule)));
                    Step { check: "rule", of, found }
                }
                (Asked::Flow(key, found), _) => Step {
                    check: "flow",
                    of: key.write(),
                    found: found.as_ref().map(|flow| self.flow(flow)),
                },
                (Asked::Opened(key, flow), _) => opened(key, flow),
                // Ports are tried until one is free, which is then reserved.
                (Asked::Nat(_, None), _) if program == Program::LinkIngress => continue,
                (Asked::Nat(key, Some(flow)), _) if program == Program::LinkIngress => Step {
                    check: "client-port",
                    of: client_port(key),
                    found: Some(format!("used by {}", flow.write())),
                },
                (Asked::Nat(key, found), _) => {
                    Step { check: "reply", of: key.write(), found: found.map(|flow| flow.write()) }
                }
                (Asked::Reserved(key), _) => reserved(key),
                (Asked::Usage(of, count), _) => self.quota(of, *count),
                (Asked::Fragments(key, found), _) => Step {
                    check: "fragments",
                    of: key.write(),
                    found: found.map(|it| format!("began {} ago", self.ago(it.head.since))),
                },
            };
            steps.push(step);
        }
        steps
    }
}

/// Whether a packet was refused for who its sender is, on the LAN.
fn is_about_sender(counter: Counter) -> bool {
    match counter {
        Counter::Refused(reason) => {
            matches!(reason, Reason::NotAClient | Reason::WrongInterface | Reason::SpoofedSource)
        }
        Counter::Outcome(_) => false,
    }
}

impl Scene<'_> {
    fn settings(&self) -> &Settings {
        &self.tables.settings
    }

    fn presence(&self, offset: u32, found: Option<PresenceKind>) -> Step {
        let found = match found.unwrap_or(PresenceKind::Nothing) {
            PresenceKind::Nothing => None,
            PresenceKind::Client => Some("remote clients".into()),
            PresenceKind::Service(service) => {
                Some(format!("{} ({service})", service_name(self.tables, service)))
            }
        };
        Step { check: "presence", of: self.settings().pool.at(offset).to_string(), found }
    }

    /// The client network that a sender on the LAN is of.
    fn client(&self, source: Ipv4Addr) -> Step {
        let address = LocalAddress::from(source);
        let network = self.settings().network(address);
        let found = network.filter(|_| !self.settings().pool.contains(address.0)).map(|network| {
            let transit = self.settings().client(network, address);
            format!("{} on {}, {transit}", network.prefix, (self.interface)(network.interface))
        });
        Step { check: "client", of: source.to_string(), found }
    }

    fn route(&self, granule: u32, found: Option<Route>, check: &'static str) -> Step {
        let pool = &self.settings().transit;
        let first = pool.at(granule << Route::GRANULE_BITS);
        let bits = 32 - Route::GRANULE_BITS;
        let found = found.filter(|route| route.is_set()).map(|route| {
            let site = site_name(self.tables, route);
            if route.is_own() {
                format!("{site}, this site")
            } else {
                format!("{site} by {}, MTU {}", (self.interface)(route.link), route.mtu)
            }
        });
        Step { check, of: format!("{first}/{bits}"), found }
    }

    fn service(&self, address: TransitAddress, found: Option<Service>) -> Step {
        let found = found.and_then(|service| match service.kind() {
            ServiceKind::Here { count: 0, .. } => Some("of this site, without back ends".into()),
            ServiceKind::Here { .. } => Some("of this site".into()),
            ServiceKind::Elsewhere { presence } => {
                let route = route_to(self.tables, address);
                let site = route.map_or("another site".into(), |it| site_name(self.tables, it));
                Some(format!("of {site}, here {presence}"))
            }
            ServiceKind::Unknown => None,
        });
        Step { check: "service", of: service_name(self.tables, address), found }
    }

    fn flow(&self, flow: &Flow) -> String {
        let is_over = self.now.is_past(flow.seen, self.settings().timeouts.of(flow));
        let packets = u64::from(flow.packets[0]) + u64::from(flow.packets[1]);
        format!(
            "{}, {packets} packets, {}, idle {}{}",
            flow.state().label(),
            octets(flow.bytes.iter().sum()),
            self.ago(flow.seen),
            if is_over { ": timed out" } else { "" },
        )
    }

    fn ago(&self, then: Ticks) -> String {
        seconds(u64::from(self.now.since(then) / Ticks::PER_SECOND))
    }

    fn quota(&self, of: &UsageKey, count: u64) -> Step {
        let (of, limit) = match of.owner() {
            Owner::Client(client) => (format!("client {client}"), self.settings().client_flows),
            Owner::Site(number) => {
                let name = self.tables.name(NameKey::new(NameKind::Site, number.0));
                (format!("site {name}"), self.settings().site_flows)
            }
        };
        Step { check: "quota", of, found: Some(format!("{count} flows of at most {limit}")) }
    }
}

fn port(key: &PortKey, found: Option<PortMapping>) -> Step {
    let found = found.map(|mapping| match mapping.backend {
        Port::NONE => "declared".to_owned(),
        port => format!("declared, {port} at the back end"),
    });
    Step { check: "port", of: port_text(key.protocol(), key.range()), found }
}

fn opened(key: &FlowKey, flow: &Flow) -> Step {
    let found = format!("a flow, {}", flow.state().label());
    Step { check: "opens", of: key.write(), found: Some(found) }
}

fn reserved(key: &NatKey) -> Step {
    Step { check: "client-port", of: client_port(key), found: Some("reserved".into()) }
}

fn client_port(key: &NatKey) -> String {
    format!("{}:{} at {}:{}", key.clients, key.client_port, key.backend, key.backend_port)
}
