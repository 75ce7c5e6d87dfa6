//! The stations of a traced packet: programs that see it, the way out, and who gets it next. Pure.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use gateway_common::TransitAddress;
use gateway_common::map::{Counter, Outcome};
use gateway_common::verdict::Way;
use gateway_dataplane::Program;
use serde::Serialize;

use super::super::arguments::TraceArguments;
use super::super::names::{route_to, site_name};
use super::super::packet::Summary;
use super::super::print::{or_dash, rows};
use super::Scene;
use super::steps::Step;

/// A station of a packet.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "hop", rename_all = "lowercase")]
pub(crate) enum Hop {
    /// A program sees it.
    Program(Seen),
    /// It leaves the gateway.
    Out(Out),
    /// Another gateway gets it.
    Gateway(Next),
    /// A host of this site gets it.
    Host {
        /// Which.
        address: Ipv4Addr,
        /// As what.
        packet: Summary,
    },
}

/// A program that sees a packet.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Seen {
    /// The interface that the packet comes in by.
    pub interface: String,
    /// The program.
    pub program: &'static str,
    /// Where it is called; nothing if it is not on the interface, so that packets pass it by.
    pub hook: Option<&'static str>,
    /// Who said what it does: the program itself (`kernel`), or its code run here (`computed`).
    pub answered_by: &'static str,
    /// What it wanted to know, in order.
    pub checks: Vec<Step>,
    /// `forward`, `refuse`, `pass` or `answer`.
    pub verdict: &'static str,
    /// What the packet is counted as.
    pub counter: &'static str,
    /// What it changes.
    pub changes: Vec<FieldChange>,
}

/// A field of a packet that a program changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldChange {
    /// `source`, `destination` or `ttl`.
    pub field: &'static str,
    /// What it was.
    pub before: String,
    /// What it is from then on.
    pub after: String,
}

/// A way out of the gateway.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Out {
    /// The interface.
    pub interface: String,
    /// `link`, `relay`, `lan` or `host`.
    pub way: &'static str,
    /// The site that the packet is for, if it leaves by a link.
    pub site: Option<String>,
    /// The site of the peer that gets it: the same, or a hub.
    pub peer: Option<String>,
    /// Where the peer is reached.
    pub endpoint: Option<String>,
    /// How the link to it fares, as `gatewayctl link list` has it.
    pub state: Option<&'static str>,
    /// Octets that a packet may have there.
    pub mtu: Option<u32>,
    /// Octets that this one has.
    pub length: u16,
    /// Whether it is no longer than that.
    pub fits: Option<bool>,
}

/// A gateway that gets a packet.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Next {
    /// Its site.
    pub site: String,
    /// What arrives there.
    pub packet: Summary,
    /// What to run there to see what it does.
    pub trace: String,
}

impl Scene<'_> {
    /// Where a program is called on an interface.
    pub(super) fn hook(&self, program: Program, interface: u32) -> Option<&'static str> {
        let mut attached = self.attached.iter();
        let found = attached.find(|it| it.program == program && it.index == interface);
        found.filter(|it| it.active).map(|it| it.hook.label())
    }

    /// The stations behind the programs, of a packet that goes on as `packet` out of interface number
    /// `interface`.
    pub(super) fn beyond(
        &self,
        described: &TraceArguments,
        packet: &Summary,
        interface: u32,
        way: Way,
    ) -> Vec<Hop> {
        let receiver = TransitAddress::from(packet.destination);
        let route = route_to(self.tables, receiver);
        let (kind, is_link) = match way {
            Way::Link => ("link", true),
            Way::Relay => ("relay", true),
            Way::Lan | Way::Neighbour => ("lan", false),
            Way::Host => ("host", false),
        };
        let site = route.filter(|_| is_link).map(|route| site_name(self.tables, route));
        let peer = site.as_ref().and_then(|site| self.links?.towards(site));
        let of_network = || {
            let networks = self.tables.settings.networks.iter();
            networks.into_iter().find(|network| network.interface == interface)
        };
        let mtu = match is_link {
            true => route.map(|route| route.mtu),
            false => of_network().map(|network| network.mtu),
        };
        let mtu = mtu.filter(|mtu| *mtu != 0);
        let mut hops = vec![Hop::Out(Out {
            interface: (self.interface)(interface),
            way: kind,
            site: site.clone(),
            peer: peer.and_then(|peer| peer.site.clone()),
            endpoint: peer.and_then(|peer| peer.endpoint.clone()),
            state: peer.map(|peer| peer.state),
            mtu,
            length: packet.length,
            fits: mtu.map(|mtu| u32::from(packet.length) <= mtu),
        })];
        let Some(site) = site else {
            hops.push(Hop::Host { address: packet.destination, packet: packet.clone() });
            return hops;
        };
        let hub = peer.and_then(|peer| peer.site.clone()).filter(|hub| *hub != site);
        let mut packet = packet.clone();
        if let Some(hub) = hub {
            hops.push(next(hub, &packet, described));
            packet.ttl = packet.ttl.saturating_sub(1);
        }
        hops.push(next(site, &packet, described));
        hops
    }
}

/// What a counter says became of a packet.
pub(super) fn verdict(counter: Counter) -> &'static str {
    match counter {
        Counter::Refused(_) => "refuse",
        Counter::Outcome(Outcome::Passed) => "pass",
        Counter::Outcome(Outcome::Answered) => "answer",
        Counter::Outcome(Outcome::ToLink | Outcome::ToLan | Outcome::Relayed | Outcome::Opened) => {
            "forward"
        }
    }
}

/// What a program changed.
pub(super) fn changes(before: Option<&Summary>, after: Option<&Summary>) -> Vec<FieldChange> {
    let (Some(before), Some(after)) = (before, after) else { return Vec::new() };
    let fields = [
        ("source", before.sender(), after.sender()),
        ("destination", before.receiver(), after.receiver()),
        ("ttl", before.ttl.to_string(), after.ttl.to_string()),
    ];
    let changed = fields.into_iter().filter(|(_, before, after)| before != after);
    changed.map(|(field, before, after)| FieldChange { field, before, after }).collect()
}

fn next(site: String, packet: &Summary, described: &TraceArguments) -> Hop {
    let mut trace = format!("gatewayctl trace --link {}", packet.arguments());
    let _ = write!(trace, " --size {}", described.size);
    Hop::Gateway(Next { site, packet: packet.clone(), trace })
}

/// The stations, for people.
pub(super) fn text(hops: &[Hop]) -> String {
    let mut text = String::new();
    for (number, hop) in (1..).zip(hops) {
        let _ = write!(text, "\n{number}. ");
        text.push_str(&match hop {
            Hop::Program(seen) => seen.text(),
            Hop::Out(out) => out.text(),
            Hop::Gateway(next) => format!(
                "the gateway of {} gets\n   {}\n   there: {}\n",
                next.site, next.packet, next.trace
            ),
            Hop::Host { address, packet } => format!("host {address} gets\n   {packet}\n"),
        });
    }
    text
}

impl Seen {
    fn text(&self) -> String {
        let hook = self.hook.map_or("not there, so packets pass it by".into(), |hook| {
            format!("at {hook}{}", if self.answered_by == "computed" { ", computed" } else { "" })
        });
        let mut text = format!("{} on {} ({hook})\n", self.program, self.interface);
        let checks = self.checks.iter().map(|step| {
            let found = or_dash(step.found.as_ref());
            [" ".into(), step.check.to_owned(), step.of.clone(), found]
        });
        text.push_str(&rows(checks));
        let changes = self.changes.iter().map(|change| {
            let FieldChange { field, before, after } = change;
            [" ".into(), (*field).to_owned(), format!("{before} -> {after}")]
        });
        text.push_str(&rows(changes));
        let _ = writeln!(text, "   => {} ({})", self.verdict, self.counter);
        text
    }
}

impl Out {
    fn text(&self) -> String {
        let mut text = format!("out of {} ({}", self.interface, self.way);
        if let Some(site) = &self.site {
            let _ = write!(text, " to {site}");
        }
        text.push_str(")\n");
        if let Some(peer) = &self.peer {
            let endpoint = or_dash(self.endpoint.as_ref());
            let state = self.state.unwrap_or("-");
            let _ = writeln!(text, "   peer {peer} at {endpoint}, {state}");
        }
        if let (Some(mtu), Some(fits)) = (self.mtu, self.fits) {
            let judged = if fits { "within" } else { "more than" };
            let _ = writeln!(text, "   {} octets, {judged} the MTU of {mtu}", self.length);
        }
        text
    }
}
