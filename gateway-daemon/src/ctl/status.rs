//! `gatewayctl status`: what is in force, what runs, and what is wrong with it. Pure.

use serde::Serialize;

use super::backends::Backends;
use super::links::Links;
use super::print::{Answer, or_dash, pairs, table};
use crate::instance::Repairs;
use crate::sandbox::Confinement;

/// A gateway as a whole.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// The instance.
    pub instance: String,
    /// The gateway's name, where the record of what is in force tells it.
    pub gateway: Option<String>,
    /// Its site.
    pub site: Option<String>,
    /// Number of the map layouts.
    pub abi: u32,
    /// Which change of the tables is in force; 0 before the first.
    pub generation: u32,
    /// Whether TCP connections without a flow may go on.
    pub grace: Grace,
    /// Whether gatewayd runs.
    pub daemon: Daemon,
    /// Programs on interfaces.
    pub attachments: Vec<Attached>,
    /// LAN interfaces of the site that no program is on.
    pub unserved: Vec<String>,
    /// The link device.
    pub link: Link,
    /// How many things there are.
    pub counts: Counts,
    /// How full the tables are that can be full.
    pub tables: Vec<Fill>,
    /// What the daemon has put back in place.
    pub repairs: Repairs,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// How full a table is.
#[derive(Debug, Serialize)]
pub(crate) struct Fill {
    /// What is in it.
    pub table: &'static str,
    /// Entries.
    pub used: usize,
    /// Most entries.
    pub capacity: u32,
}

/// The daemon of an instance.
#[derive(Debug, Serialize)]
pub(crate) struct Daemon {
    /// Whether it runs.
    pub running: bool,
    /// Its process id.
    pub pid: Option<u32>,
    /// What it has given up; none if it runs with all rights.
    pub confinement: Option<Confinement>,
}

/// The time of grace after a start without flows.
#[derive(Debug, Serialize)]
pub(crate) struct Grace {
    /// Whether TCP connections without a flow may go on now.
    pub on: bool,
    /// How long they may after such a start, where the record of what is in force tells it.
    pub seconds: Option<u32>,
}

/// A program on an interface.
#[derive(Debug, Serialize)]
pub(crate) struct Attached {
    /// The interface.
    pub interface: String,
    /// The program.
    pub program: String,
    /// Where it is called: `xdp`, `tcx` or `clsact`.
    pub hook: String,
    /// `xdp` or `tc`.
    pub mode: String,
    /// Why that mode.
    pub why: String,
    /// Whether the kernel calls it.
    pub active: bool,
    /// Programs of others that are called before it.
    pub before: Vec<String>,
    /// Programs of others that are called after it.
    pub after: Vec<String>,
}

/// The link device.
#[derive(Debug, Serialize)]
pub(crate) struct Link {
    /// Its name.
    pub interface: Option<String>,
    /// Whether it exists and is up.
    pub up: bool,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// How many peers it has.
    pub peers: usize,
    /// How many of them have a session.
    pub peers_up: usize,
}

/// How many things there are.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Addresses that stand for something.
    pub presences: usize,
    /// Services of this site and others.
    pub services: usize,
    /// Allow rules with a part here.
    pub rules: usize,
    /// Back ends of this site's services.
    pub backends: usize,
    /// How many of them get new flows, and are not known to be unreachable.
    pub backends_active: usize,
    /// Flows.
    pub flows: usize,
    /// Room for flows.
    pub flow_capacity: u32,
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// What.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Fill {
    fn is_nearly_full(&self) -> bool {
        self.used as u64 * 10 >= u64::from(self.capacity) * 9
    }
}

impl Problem {
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

impl Status {
    /// Finds what is wrong, and notes it. `links` are the link's peers, or why they cannot be read.
    pub(crate) fn judged(mut self, links: Result<&Links, String>, backends: &Backends) -> Self {
        let mut problems = Vec::new();
        if self.generation == 0 {
            problems.push(Problem::new(
                "nothing is in force: every packet for a presence passes by or is refused",
                "start gatewayd, or look into its log",
            ));
        }
        if !self.daemon.running {
            problems.push(Problem::new(
                "gatewayd does not run: traffic goes on, but nothing follows changes and flows are \
                 not swept",
                "start it with the instance's site file",
            ));
        }
        if self.daemon.running && self.daemon.confinement.is_none() {
            problems.push(Problem::new(
                "gatewayd runs with all rights that it was started with",
                "start it without --sandbox off",
            ));
        }
        if self.grace.on && !self.daemon.running {
            problems.push(Problem::new(
                "gatewayd ended in the time of grace: TCP connections without a flow may go on until \
                 it is started again",
                "start it, which ends that time",
            ));
        }
        for attached in self.attachments.iter().filter(|attached| !attached.active) {
            problems.push(Problem::new(
                format!("{} is not on interface {}", attached.program, attached.interface),
                "make the interface again if it is gone; gatewayd attaches to it as soon as it is there",
            ));
        }
        for interface in &self.unserved {
            problems.push(Problem::new(
                format!("LAN interface {interface} is not served: its hosts are cut off"),
                "make it again if it is gone; gatewayd attaches to it as soon as it is there",
            ));
        }
        for attached in &self.attachments {
            for other in &attached.before {
                problems.push(Problem::new(
                    format!(
                        "{other} of somebody else sees the packets of interface {} before {} does, and \
                         may take them",
                        attached.interface, attached.program
                    ),
                    "take it away, or attach it behind, unless it is meant to be there",
                ));
            }
        }
        if !self.link.up {
            let name = or_dash(self.link.interface.as_ref());
            problems.push(Problem::new(
                format!("link device {name} is gone or down"),
                "start gatewayd, which makes it; if it runs, look into its log",
            ));
        }
        if let (Err(error), true) = (&links, self.link.up) {
            problems.push(Problem::new(
                format!("the link's peers cannot be read: {error}"),
                "restart gatewayd, which looks after the link device",
            ));
        }
        for row in links.iter().flat_map(|links| links.troubled()) {
            let peer = row.site.as_ref().unwrap_or(&row.public_key);
            problems.push(Problem::new(
                format!("the link to {peer} is not up: {}", row.reason),
                row.remedy.unwrap_or_default(),
            ));
        }
        problems.extend(of_backends(backends));
        if self.counts.flows >= usize::try_from(self.counts.flow_capacity).unwrap_or(usize::MAX) {
            problems.push(Problem::new(
                "the flow table is full: new flows are refused",
                "raise flows.capacity, or find who opens so many (`gatewayctl flow list`)",
            ));
        }
        for fill in self.tables.iter().filter(|fill| fill.is_nearly_full()) {
            problems.push(Problem::new(
                format!(
                    "the table of {} is nearly full: {} of {}",
                    fill.table, fill.used, fill.capacity
                ),
                "a change that does not fit is refused as a whole: configure less",
            ));
        }
        self.problems = problems;
        self
    }
}

fn of_backends(backends: &Backends) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((address, state, why), services) in backends.troubled() {
        problems.push(Problem::new(
            format!("back end {address} of {} is {state}: {why}", services.join(", ")),
            match state {
                "unreachable" => {
                    "see whether the host is up, on this LAN, and has that address; until then new \
                     flows to it are lost, so drain it in the site file if others can serve"
                }
                _ => "mend it, or drain and remove it in the site file; `gatewayctl backend list` has more",
            },
        ));
    }
    for service in backends.unserved() {
        problems.push(Problem::new(
            format!("no back end of {service} serves: its new flows are refused (no-backend)"),
            "bring one of them back; `gatewayctl backend list` says how each of them is",
        ));
    }
    problems
}

impl Answer for Status {
    fn text(&self) -> String {
        let daemon = match (self.daemon.running, self.daemon.pid) {
            (true, Some(pid)) => format!("running (process {pid})"),
            (true, None) => "running".into(),
            (false, _) => "not running".into(),
        };
        let link = &self.link;
        let counts = &self.counts;
        let head = pairs([
            ("site", or_dash(self.site.as_ref())),
            ("gateway", or_dash(self.gateway.as_ref())),
            ("instance", self.instance.clone()),
            ("gatewayd", daemon),
            ("confined", or_dash(self.daemon.confinement.as_ref())),
            ("map abi", self.abi.to_string()),
            ("generation", self.generation.to_string()),
            (
                "link",
                format!(
                    "{} {}, mtu {}, {} of {} peers up",
                    or_dash(link.interface.as_ref()),
                    if link.up { "up" } else { "down" },
                    or_dash(link.mtu),
                    link.peers_up,
                    link.peers
                ),
            ),
            ("presences", counts.presences.to_string()),
            ("services", counts.services.to_string()),
            ("back ends", format!("{} of {} active", counts.backends_active, counts.backends)),
            ("rules", counts.rules.to_string()),
            ("flows", format!("{} of {}", counts.flows, counts.flow_capacity)),
            ("grace", self.grace()),
            ("tables", self.fills()),
            ("put back", self.put_back()),
        ]);
        let rows = self.attachments.iter().map(|it| {
            [
                it.interface.clone(),
                it.program.clone(),
                it.hook.clone(),
                it.mode.clone(),
                if it.active { "yes" } else { "NO" }.to_owned(),
                others(it),
                it.why.clone(),
            ]
        });
        let heading = ["interface", "program", "hook", "mode", "active", "others", "why"];
        let attachments = table(heading, rows, "no program is attached");
        let problems: String = match self.problems.as_slice() {
            [] => "no problems\n".into(),
            problems => problems
                .iter()
                .map(|it| format!("problem: {}\n remedy: {}\n", it.problem, it.remedy))
                .collect(),
        };
        format!("{head}\n{attachments}\n{problems}")
    }
}

impl Status {
    fn fills(&self) -> String {
        let fills = self.tables.iter();
        let fills = fills.map(|it| format!("{} {} of {}", it.table, it.used, it.capacity));
        fills.collect::<Vec<_>>().join(", ")
    }

    fn grace(&self) -> String {
        match (self.grace.on, self.grace.seconds) {
            (false, _) => "off".into(),
            (true, None) => "on: TCP connections without a flow may go on".into(),
            (true, Some(seconds)) => {
                format!(
                    "on, for {seconds}s from the start: TCP connections without a flow may go on"
                )
            }
        }
    }

    fn put_back(&self) -> String {
        match self.repairs.count {
            0 => "nothing".into(),
            1 => format!("once: {}", self.repairs.last),
            count => format!("{count} times, last: {}", self.repairs.last),
        }
    }
}

fn others(attached: &Attached) -> String {
    let before = attached.before.iter().map(|it| format!("before it {it}"));
    let all: Vec<String> =
        before.chain(attached.after.iter().map(|it| format!("after it {it}"))).collect();
    if all.is_empty() { "-".into() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use gateway_common::map::{Service, ServiceKind};

    use super::super::backends::Known;
    use super::super::sample;
    use super::*;
    use crate::health::Account;

    /// The sample's only back end, which nobody answers for and which gets nothing.
    fn cut_off() -> (Ipv4Addr, Backends) {
        let mut tables = sample::tables();
        let key = *tables.backends.keys().next().unwrap();
        tables.services.insert(key.service, Service::new(ServiceKind::Here { first: 0, count: 0 }));
        let (address, account) = (Ipv4Addr::from(key.address), Account::default());
        let unresolved = [address].into();
        let known = Known { model: None, account: &account, unresolved: &unresolved, now: 0 };
        (address, Backends::of(&tables, &[], &known))
    }

    fn confinement() -> Confinement {
        let capabilities = vec!["CAP_BPF".into(), "CAP_NET_ADMIN".into()];
        Confinement { capabilities, landlock: Some(7), seccomp: true }
    }

    fn status() -> Status {
        Status {
            instance: "edge-a".into(),
            gateway: Some("edge-a-gw".into()),
            site: Some("edge-a".into()),
            abi: 4,
            generation: 3,
            grace: Grace { on: false, seconds: Some(120) },
            daemon: Daemon { running: true, pid: Some(77), confinement: Some(confinement()) },
            attachments: vec![Attached {
                interface: "lan0".into(),
                program: "lan_ingress".into(),
                hook: "tcx".into(),
                mode: "tc".into(),
                why: "it says so".into(),
                active: true,
                before: Vec::new(),
                after: vec!["watcher (tcx, program 9)".into()],
            }],
            unserved: Vec::new(),
            link: Link {
                interface: Some("presence".into()),
                up: true,
                mtu: Some(1420),
                peers: 1,
                peers_up: 1,
            },
            counts: Counts { flow_capacity: 1024, ..Counts::default() },
            tables: vec![Fill { table: "permissions", used: 1, capacity: 10 }],
            repairs: Repairs::default(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_sound_gateway_has_no_problems() {
        let text = status().judged(Ok(&Links::of(&[], None, None, 0)), &Backends::default()).text();
        assert!(text.ends_with("no problems\n"), "{text}");
        assert!(text.contains("gatewayd    running (process 77)\n"), "{text}");
        let confined = "files by Landlock 7, calls by seccomp, CAP_BPF CAP_NET_ADMIN";
        assert!(text.contains(&format!("confined    {confined}\n")), "{text}");
        assert!(text.contains("grace       off\n"), "{text}");
        assert!(text.contains("presence up, mtu 1420, 1 of 1 peers up"), "{text}");
        assert!(text.contains("yes     after it watcher (tcx, program 9)  it says so"), "{text}");
    }

    #[test]
    fn every_problem_comes_with_a_remedy() {
        let mut status = status();
        status.generation = 0;
        status.grace.on = true;
        status.daemon = Daemon { running: false, pid: None, confinement: None };
        status.attachments[0].active = false;
        status.link.up = false;
        status.counts.flows = 1024;
        status.unserved = vec!["lan1".into()];
        status.attachments[0].before = vec!["taker (tcx, program 8)".into()];
        status.tables[0].used = 9;
        status.repairs = Repairs { count: 2, last: "guard on lan0".into(), at: 0 };
        let (address, backends) = cut_off();
        let judged = status.judged(Err(String::new()), &backends);
        assert_eq!(judged.problems.len(), 11);
        assert!(judged.problems.iter().all(|it| !it.problem.is_empty() && !it.remedy.is_empty()));
        let text = judged.text();
        assert_eq!(text.matches("problem: ").count(), 11);
        assert!(text.contains("grace       on, for 120s from the start: TCP"), "{text}");
        assert!(text.contains(&format!("{address} of agent.edge-a is unreachable: nob")), "{text}");
        assert!(text.contains("no back end of agent.edge-a serves"), "{text}");
        assert!(text.contains("taker (tcx, program 8) of somebody else"), "{text}");
        assert!(text.contains("2 times, last: guard on lan0"), "{text}");
        assert!(text.contains("lan_ingress is not on interface lan0"), "{text}");
        assert!(text.contains("gatewayd    not running"), "{text}");
    }
}
