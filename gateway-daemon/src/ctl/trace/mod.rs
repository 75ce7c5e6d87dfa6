//! `gatewayctl trace`: what the programs in force would do with a described packet, hop by hop.
//!
//! | file | holds |
//! |---|---|
//! | describe | the packet, from the command line |
//! | replay | the packet path run here once more, to see what it asks |
//! | steps | what it asked, in words |
//! | hops | programs, ways out and who gets the packet next |
//!
//! Verdict and frame are the kernel's, by a dry run of the live program. Pure but for the entries that
//! `replay` reads; [`super::run`] asks the kernel.

mod describe;
mod hops;
mod replay;
mod steps;

use std::fmt;
use std::net::Ipv4Addr;

use gateway_common::desired::Tables;
use gateway_common::map::{AllowKey, Counter, NameKey, NameKind, Outcome};
use gateway_common::path::Arrival;
use gateway_common::verdict::{ErrorMessage, Way};
use gateway_common::wire::{IcmpError, IcmpType};
use gateway_common::{Ticks, TransitAddress};
use gateway_dataplane::{FoundAttachment, InspectError, Program, Trace, TracePoint};
use serde::Serialize;

pub(crate) use self::describe::{TraceError, resolve};
use self::hops::{Hop, Seen, changes, verdict};
pub(crate) use self::replay::Live;
use self::replay::{Asked, Replayed, replay};
use super::arguments::TraceArguments;
use super::entry::label;
use super::explain::Words;
use super::links::Links;
use super::packet::Summary;
use super::print::{Answer, pairs};

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
    /// What its sender is told then, if anything.
    pub told: Option<Told>,
    /// Whether it belongs to a flow that is open already (`known`) or would open one (`new`).
    pub flow: Option<&'static str>,
    /// The rule that allows it.
    pub rule: Option<Rule>,
    /// The packet as it goes on.
    pub rewritten: Option<Summary>,
    /// Where it goes.
    pub egress: Option<Egress>,
    /// Its stations, from the interface that it comes in by.
    pub hops: Vec<Hop>,
    /// What to know about this answer.
    pub note: Option<&'static str>,
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

/// An ICMP error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    /// Who it comes from: the address that the packet was sent to.
    pub from: Ipv4Addr,
    /// Who is told.
    pub to: Ipv4Addr,
    /// Its type.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// The MTU that it names, in octets.
    pub mtu: Option<u32>,
}

impl From<ErrorMessage> for Told {
    fn from(message: ErrorMessage) -> Self {
        let mtu = Some(u32::from_be(message.rest)).filter(|mtu| *mtu != 0);
        let (from, to) = (message.ip.source.into(), message.ip.destination.into());
        Self { from, to, icmp_type: message.icmp_type.0, code: message.code, mtu }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, icmp_type, code, mtu } = self;
        write!(f, "{to}, by an ICMP error from {from}: ")?;
        match (IcmpType(*icmp_type), code, mtu) {
            (IcmpType::TIME_EXCEEDED, ..) => f.write_str("no hops left"),
            (IcmpType::UNREACHABLE, &IcmpError::FRAGMENTATION_NEEDED, Some(mtu)) => {
                write!(f, "fragmentation needed, the MTU is {mtu}")
            }
            _ => write!(f, "type {icmp_type}, code {code}"),
        }
    }
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

/// What a packet meets, beside the programs.
pub(crate) struct Scene<'a> {
    /// The tables in force, under the generation in force.
    pub tables: &'a Tables,
    /// Names of interfaces.
    pub interface: &'a dyn Fn(u32) -> String,
    /// Programs on interfaces.
    pub attached: &'a [FoundAttachment],
    /// The peers, if they can be read.
    pub links: Option<&'a Links>,
    /// The moment.
    pub now: Ticks,
}

/// The packet path run once more.
pub(crate) struct Replays {
    guard: Option<Replayed>,
    asked: Replayed,
}

impl Replays {
    /// Runs the path of the program at `point`, and of the guard where there is one before it.
    pub(crate) fn run(
        point: TracePoint,
        frame: &[u8],
        scene: &Scene<'_>,
        live: &impl Live,
    ) -> Result<Self, InspectError> {
        let arrival = Arrival {
            interface: point.interface,
            ip: 14,
            for_us: true,
            tagged: false,
            packets: 1,
            now: scene.now,
        };
        let run = |program| replay(program, frame, arrival, scene.tables, live);
        let has_guard = point.program == Program::LanIngress
            && scene.hook(Program::Guard, point.interface).is_some();
        let guard = has_guard.then(|| run(Program::Guard)).transpose()?;
        Ok(Self { guard, asked: run(point.program)? })
    }

    /// Whether it came to the kernel's verdict: not if something changed in between.
    pub(crate) fn agrees(&self, trace: &Trace) -> bool {
        self.asked.counter == trace.report.counter
    }
}

impl Traced {
    /// What the answer of the program at `point` means, `replays` telling how it came about.
    pub(crate) fn of(
        described: &TraceArguments,
        point: TracePoint,
        trace: &Trace,
        replays: &Replays,
        scene: &Scene<'_>,
    ) -> Self {
        let Scene { tables, interface, .. } = scene;
        let report = trace.report;
        let verdict = verdict(report.counter);
        let forwarded = verdict == "forward";
        let reason = match report.counter {
            Counter::Refused(reason) => {
                Some(Why { label: reason.label(), number: reason as u8, words: reason.into() })
            }
            Counter::Outcome(_) => None,
        };
        let replayed = replays.agrees(trace).then_some(&replays.asked);
        let before = Summary::of(&trace.before);
        let after = if forwarded { Summary::of(&trace.after) } else { None };
        let is_ours = forwarded && report.counter != Counter::Outcome(Outcome::Relayed);
        let on_link = if point.program == Program::LinkIngress { &before } else { &after };
        let rule = match report.rule {
            0 if is_ours => on_link.as_ref().and_then(|packet| rule_of(tables, packet)),
            0 => None,
            judged => Some(judged),
        };
        let is_new = replayed.map_or(report.rule != 0, |replayed| {
            replayed.asked.iter().any(|asked| matches!(asked, Asked::Opened(..)))
        });
        let seen = |program: Program, replayed: Option<&Replayed>, counter, answered_by| Seen {
            interface: interface(point.interface),
            program: program.name(),
            hook: scene.hook(program, point.interface),
            answered_by,
            checks: match (replayed, &before) {
                (Some(replayed), Some(packet)) => scene.steps(program, packet.source, replayed),
                _ => Vec::new(),
            },
            verdict: hops::verdict(counter),
            counter: label(counter),
            changes: Vec::new(),
        };
        let mut hops = Vec::new();
        let mut is_over = false;
        if let Some(guard) = &replays.guard {
            is_over = matches!(guard.counter, Counter::Refused(_));
            // What it passes, the program behind it asks again.
            let told = is_over.then_some(guard);
            hops.push(Hop::Program(seen(Program::Guard, told, guard.counter, "computed")));
        }
        if !is_over {
            let mut asked = seen(point.program, replayed, report.counter, "kernel");
            asked.changes = changes(before.as_ref(), after.as_ref());
            hops.push(Hop::Program(asked));
        }
        if let (Some(packet), false) = (&after, is_over) {
            let way = replayed.and_then(|replayed| replayed.way).unwrap_or(way(report.counter));
            hops.extend(scene.beyond(described, packet, report.interface, way));
        }
        Self {
            program: point.program.name(),
            packet: before,
            verdict,
            counter: label(report.counter),
            reason,
            told: replayed.filter(|_| !is_over).and_then(|it| it.told).map(Told::from),
            flow: is_ours.then_some(if is_new { "new" } else { "known" }),
            rule: rule.map(|number| Rule {
                number,
                id: tables.name(NameKey::new(NameKind::Rule, number)),
            }),
            rewritten: after,
            egress: forwarded.then(|| Egress {
                index: report.interface,
                interface: interface(report.interface),
            }),
            hops,
            note: replayed.is_none().then_some(
                "flows or tables changed while the packet was traced, so what was asked is not shown; \
                 ask again",
            ),
        }
    }
}

/// The way out, as far as the counter tells.
fn way(counter: Counter) -> Way {
    match counter {
        Counter::Outcome(Outcome::Relayed) => Way::Relay,
        Counter::Outcome(Outcome::ToLan) => Way::Lan,
        Counter::Outcome(
            Outcome::ToLink | Outcome::Opened | Outcome::Passed | Outcome::Answered,
        )
        | Counter::Refused(_) => Way::Link,
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
        let why = self.reason.as_ref().map(|why| &why.words);
        let lines = [
            ("packet", shown(&self.packet)),
            ("verdict", Some(verdict)),
            ("reason", why.map(|words| words.meaning.to_owned())),
            ("told", self.told.as_ref().map(ToString::to_string)),
            ("causes", why.map(|words| words.causes.to_owned())),
            ("remedy", why.map(|words| words.remedy.to_owned())),
            ("look at", why.map(|words| words.look.join("\n"))),
            ("flow", self.flow.map(str::to_owned)),
            ("rule", rule),
            ("rewritten", shown(&self.rewritten)),
            ("leaves by", self.egress.as_ref().map(|it| it.interface.clone())),
            ("note", self.note.map(str::to_owned)),
        ];
        let head = pairs(lines.into_iter().filter_map(|(name, value)| Some((name, value?))));
        head + &hops::text(&self.hops)
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

#[cfg(test)]
mod tests;
