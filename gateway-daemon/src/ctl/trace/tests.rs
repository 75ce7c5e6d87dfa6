//! Tests of the answer as a whole, on the sample site: the packet path in memory stands for the kernel.

use std::time::Duration;

use clap::Parser as _;
use gateway_common::host::{self, MemoryTables};
use gateway_common::map::{
    Allow, ClientAddress, Flow, FlowKey, FragmentKey, Fragmented, NatKey, UsageKey,
};
use gateway_common::report::Report;
use gateway_common::tables::{FlowSlot as _, Stage, Tables as _};
use gateway_common::verdict::Verdict;
use gateway_common::{LocalAddress, Reason};
use gateway_dataplane::Hook;
use serde_json::Value;

use super::super::arguments::{Arguments, Command};
use super::super::links::FoundDevice;
use super::super::sample::{self, LAN, LINK};
use super::*;
use crate::config::link_key;
use crate::link::{PeerHealth, PeerState};

/// The entries of tables in memory.
struct Memory<'a>(&'a MemoryTables);

impl Live for Memory<'_> {
    fn flow(&self, stage: Stage, key: &FlowKey) -> Result<Option<Flow>, InspectError> {
        Ok(self.0.flow(stage, key).map(|slot| slot.read()))
    }

    fn nat(&self, stage: Stage, key: &NatKey) -> Result<Option<FlowKey>, InspectError> {
        Ok(self.0.nat(stage, key))
    }

    fn usage(&self, of: &UsageKey) -> Result<u64, InspectError> {
        Ok(self.0.usage(of))
    }

    fn fragments(&self, key: &FragmentKey) -> Result<Option<Fragmented>, InspectError> {
        let mut all = self.0.fragmented().into_iter();
        Ok(all.find(|(candidate, _)| candidate == key).map(|(_, found)| found))
    }
}

fn arguments(words: &str) -> TraceArguments {
    let words = words.strip_prefix("gatewayctl trace ").unwrap_or(words);
    let line = format!("gatewayctl trace {words}");
    match Arguments::try_parse_from(line.split_whitespace()) {
        Ok(Arguments { command: Command::Trace(arguments), .. }) => arguments,
        Ok(other) => panic!("{other:?}"),
        Err(error) => panic!("{error}"),
    }
}

/// A site whose gateway has carried something already.
struct Gateway {
    memory: MemoryTables,
    attached: Vec<FoundAttachment>,
    links: Links,
}

impl Gateway {
    /// The sample's, which also lets clients of edge-b use the agent.
    fn new() -> Self {
        let mut tables = sample::tables();
        let agent = *tables.services.keys().max().unwrap();
        let clients = Ipv4Addr::new(240, 0, 32, 0).into();
        let presence = LocalAddress::from(Ipv4Addr::new(10, 0, 0, 250));
        let allow = Allow::new(1, ClientAddress::Shared(presence));
        tables.allows.insert(AllowKey::clients(agent, clients, 20), allow);
        tables.settings.client_flows = 100;
        tables.settings.site_flows = 200;
        let attached =
            [(Program::LanIngress, LAN, Hook::Tcx), (Program::LinkIngress, LINK, Hook::Tcx)];
        Self {
            memory: MemoryTables::new(tables, 1024),
            attached: attached.map(|(program, index, hook)| found(program, index, hook)).into(),
            links: links(),
        }
    }

    /// What it does with a packet, which it carries.
    fn carry(&self, words: &str) -> Traced {
        let described = arguments(words);
        let tables = &self.memory.desired;
        let (point, packet) = resolve(&described, tables, Some(&sample::model())).unwrap();
        let before = packet.frame().unwrap();
        let scene = Scene {
            tables,
            interface: &|index| format!("if{index}"),
            attached: &self.attached,
            links: Some(&self.links),
            now: Ticks(0),
        };
        let replays = Replays::run(point, &before, &scene, &Memory(&self.memory)).unwrap();
        let interface = point.interface;
        let arrival =
            Arrival { interface, ip: 14, for_us: true, tagged: false, packets: 1, now: Ticks(0) };
        let verdict = match point.program {
            Program::LinkIngress => host::link(&before, &self.memory, arrival),
            Program::LanIngress | Program::Guard => host::lan(&before, &self.memory, arrival),
        };
        let mut after = before.clone();
        host::execute(&mut after, &verdict);
        let report = match &verdict {
            Verdict::Forward(forward) => Report::of_forward(forward),
            other => Report::of(other.counter()),
        };
        let trace = Trace { report, before, after };
        assert!(replays.agrees(&trace), "{words}: {:?}", replays.asked);
        Traced::of(&described, point, &trace, &replays, &scene)
    }
}

/// The sample's one peer, which is a hub for edge-b.
fn links() -> Links {
    let model = sample::model();
    let peer = PeerHealth {
        public_key: link_key(&model.peers()[0].public_key),
        endpoint: "192.0.2.1:51820".parse().ok(),
        last_handshake: Some(Duration::from_secs(5)),
        received: 1,
        sent: 1,
        state: PeerState::Up,
    };
    let device = FoundDevice { interface: "if3".into(), peers: Some(vec![peer]) };
    Links::of(&[device], None, Some(&model), 1_000_000)
}

fn found(program: Program, index: u32, hook: Hook) -> FoundAttachment {
    let interface = format!("if{index}");
    let (before, after) = (Vec::new(), Vec::new());
    FoundAttachment { interface, index, program, hook, program_id: 1, active: true, before, after }
}

/// What the last program asked about, and what it found.
fn checks(traced: &Traced) -> Vec<(&str, Option<&str>)> {
    let mut programs = traced.hops.iter().filter_map(|hop| match hop {
        Hop::Program(seen) => Some(seen),
        Hop::Out(_) | Hop::Gateway(_) | Hop::Host { .. } => None,
    });
    let last = programs.next_back().expect("a program was asked");
    last.checks.iter().map(|step| (step.check, step.found.as_deref())).collect()
}

const RABBITMQ: &str = "--from 10.0.0.5 --to rabbitmq.cloud --port 5672";

#[test]
fn a_new_flow_is_told_from_presence_to_peer() {
    let traced = Gateway::new().carry(RABBITMQ);
    assert_eq!(
        checks(&traced),
        [
            ("presence", Some("rabbitmq.cloud (240.0.8.1)")),
            ("client", Some("10.0.0.0/24 on if2, 240.0.16.5")),
            ("route", Some("cloud by if3, MTU 1420")),
            ("flow", None),
            ("service", Some("of cloud, here 10.0.0.200")),
            ("rule", Some("edge-a-rabbitmq")),
            ("port", Some("declared")),
            ("quota", Some("0 flows of at most 100")),
            ("opens", Some("a flow, opening")),
        ]
    );
    let json = serde_json::to_value(&traced).unwrap();
    assert_eq!((&json["verdict"], &json["flow"]), (&"forward".into(), &"new".into()));
    assert_eq!(json["rule"]["id"], "edge-a-rabbitmq");
    assert_eq!(json["egress"]["interface"], "if3");
    let hops = json["hops"].as_array().unwrap();
    let kinds: Vec<&str> = hops.iter().filter_map(|hop| hop["hop"].as_str()).collect();
    assert_eq!(kinds, ["program", "out", "gateway"]);
    assert_eq!((&hops[0]["hook"], &hops[0]["answered_by"]), (&"tcx".into(), &"kernel".into()));
    let changed = |number: usize| {
        let change = &hops[0]["changes"][number];
        ["field", "before", "after"].map(|name| change[name].as_str().unwrap().to_owned())
    };
    assert_eq!(changed(0), ["source", "10.0.0.5:40000", "240.0.16.5:40000"]);
    assert_eq!(changed(1), ["destination", "10.0.0.200:5672", "240.0.8.1:5672"]);
    assert_eq!(changed(2), ["ttl", "64", "63"]);
    assert_eq!((&hops[1]["way"], &hops[1]["site"]), (&"link".into(), &"cloud".into()));
    assert_eq!((&hops[1]["mtu"], &hops[1]["fits"]), (&1420.into(), &true.into()));
    assert_eq!(hops[2]["site"], "cloud");
    assert_eq!(
        hops[2]["trace"],
        "gatewayctl trace --link --from 240.0.16.5 --to 240.0.8.1 --protocol tcp --port 5672 \
         --from-port 40000 --flags syn --ttl 63 --size 0"
    );
}

#[test]
fn a_known_flow_is_found_and_its_rule_with_it() {
    let gateway = Gateway::new();
    gateway.carry(RABBITMQ);
    let traced = gateway.carry(RABBITMQ);
    assert_eq!(traced.flow, Some("known"));
    assert_eq!(traced.rule, Some(Rule { number: 1, id: "edge-a-rabbitmq".into() }));
    let checks = checks(&traced);
    assert_eq!(checks.last(), Some(&("flow", Some("opening, 1 packets, 40 B, idle 0s"))));
}

#[test]
fn a_packet_from_a_link_is_told_to_its_back_end() {
    let gateway = Gateway::new();
    let words = "--link --from 240.0.32.7 --to agent.edge-a --port 80";
    let traced = gateway.carry(words);
    let checks = checks(&traced);
    let names: Vec<&str> = checks.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "sender",
            "route",
            "flow",
            "service",
            "rule",
            "port",
            "quota",
            "quota",
            "backend",
            "client-port",
            "opens"
        ]
    );
    assert_eq!(checks[0].1, Some("edge-b by if3, MTU 1420"));
    assert_eq!(checks[1].1, Some("edge-a, this site"));
    assert_eq!(checks[7].1, Some("0 flows of at most 200"));
    assert_eq!(checks[8].1, Some("10.0.0.10"));
    let json = serde_json::to_value(&traced).unwrap();
    assert_eq!(json["hops"][1]["way"], "lan");
    assert_eq!(json["hops"][2]["hop"], "host");
    assert_eq!(json["hops"][2]["address"], "10.0.0.10");
    assert_eq!(json["hops"][2]["packet"]["source"], "10.0.0.250");

    let port = traced.rewritten.unwrap().source_port.unwrap();
    let reply =
        format!("--from 10.0.0.10 --to 10.0.0.250 --from-port 80 --port {port} --flags syn,ack");
    let reply = gateway.carry(&reply);
    let back = serde_json::to_value(&reply).unwrap();
    assert_eq!((&back["verdict"], &back["flow"]), (&"forward".into(), &"known".into()));
    assert_eq!(back["hops"][0]["checks"][1]["check"], "reply");
    let out = &back["hops"][1];
    assert_eq!((&out["site"], &out["peer"]), (&"edge-b".into(), &"cloud".into()), "by a hub");
    assert_eq!((&out["endpoint"], &out["state"]), (&"192.0.2.1:51820".into(), &"up".into()));
    let gateways = [&back["hops"][2], &back["hops"][3]];
    assert_eq!(gateways.map(|next| next["site"].as_str()), [Some("cloud"), Some("edge-b")]);
    assert_eq!(gateways.map(|next| next["packet"]["ttl"].as_u64()), [Some(63), Some(62)]);
}

#[test]
fn refusals_name_what_was_missing_and_what_to_do() {
    let gateway = Gateway::new();
    let cases = [
        ("--from 10.0.0.6 --to rabbitmq.cloud --port 5672", Reason::NoPolicy, Some(("rule", None))),
        (
            "--from 10.0.0.5 --to rabbitmq.cloud --port 1",
            Reason::PortNotServed,
            Some(("port", None)),
        ),
        ("--from 10.0.0.5 --to 10.0.0.201 --port 1", Reason::NoPresence, Some(("presence", None))),
        (
            "--from 172.16.0.1 --to rabbitmq.cloud --port 1",
            Reason::NotAClient,
            Some(("client", None)),
        ),
        (
            "--from 10.0.0.200 --to rabbitmq.cloud --port 1",
            Reason::SpoofedSource,
            Some(("client", None)),
        ),
        ("--from 10.0.0.10 --to 10.0.0.250 --port 1", Reason::NotAReply, Some(("reply", None))),
        (
            "--from 10.0.0.5 --to rabbitmq.cloud --port 5672 --flags ack",
            Reason::NoFlow,
            Some(("port", Some("declared"))),
        ),
        ("--from 10.0.0.5 --to 240.0.8.1 --port 1", Reason::TransitOnLan, None),
        (
            "--from 10.0.0.5 --to rabbitmq.cloud --port 5672 --ttl 1",
            Reason::TtlExpired,
            Some(("presence", Some("rabbitmq.cloud (240.0.8.1)"))),
        ),
        (
            "--from 10.0.0.5 --to rabbitmq.cloud --protocol udp --fragment later",
            Reason::FragmentUnknown,
            Some(("fragments", None)),
        ),
        (
            "--link --from 240.0.48.1 --to agent.edge-a --port 80",
            Reason::SpoofedSource,
            Some(("sender", None)),
        ),
        (
            "--link --from 240.0.32.1 --to 240.0.0.7 --port 80",
            Reason::RelayOff,
            Some(("route", Some("cloud by if3, MTU 1420"))),
        ),
    ];
    for (words, reason, last) in cases {
        let traced = gateway.carry(words);
        assert_eq!(traced.reason.as_ref().map(|why| why.label), Some(reason.label()), "{words}");
        assert_eq!(checks(&traced).last().copied(), last, "{words}");
        assert_eq!(traced.hops.len(), 1, "{words}");
        let text = traced.text();
        for part in [reason.meaning(), reason.causes(), reason.remedy(), reason.look()[0]] {
            assert!(text.contains(part), "{part:?}: {text}");
        }
        assert!(text.contains(&format!("verdict  refuse ({})\n", reason.label())), "{text}");
        assert!(!text.contains("rewritten") && !text.contains("leaves by"), "{text}");
    }
}

#[test]
fn the_guard_comes_first_where_there_is_one() {
    let mut gateway = Gateway::new();
    gateway.attached.push(found(Program::Guard, LAN, Hook::Xdp));
    let refused = gateway.carry("--from 10.0.0.6 --to rabbitmq.cloud --port 5672");
    let json = serde_json::to_value(&refused).unwrap();
    assert_eq!(json["hops"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&json["hops"][0]["program"], &json["hops"][0]["hook"]),
        (&"guard".into(), &"xdp".into())
    );
    assert_eq!(json["hops"][0]["answered_by"], "computed");
    assert_eq!(json["hops"][0]["counter"], "no-policy");
    assert_eq!(checks(&refused).last(), Some(&("rule", None)));
    let passed = serde_json::to_value(gateway.carry(RABBITMQ)).unwrap();
    assert_eq!(
        (&passed["hops"][0]["verdict"], &passed["hops"][1]["verdict"]),
        (&"pass".into(), &"forward".into())
    );
}

#[test]
fn a_program_that_is_not_attached_is_told() {
    let mut gateway = Gateway::new();
    gateway.attached.clear();
    let traced = gateway.carry(RABBITMQ);
    assert!(traced.text().contains("(not there, so packets pass it by)"), "{}", traced.text());
}

/// Packets of each kind that get to the next gateway.
const FORWARDED: [&str; 9] = [
    RABBITMQ,
    "--from 10.0.0.5 --to rabbitmq.cloud --port 80 --from-port 7 --flags syn --size 1500",
    "--from 10.0.0.5 --to rabbitmq.cloud --protocol udp --port 5000 --size 1000 --dont-fragment",
    "--from 10.0.0.5 --to 10.0.0.200 --protocol icmp --from-port 9 --size 56 --ttl 3",
    "--from 10.0.0.5 --to rabbitmq.cloud --protocol 47 --size 100",
    "--from 10.0.0.5 --to rabbitmq.cloud --protocol udp --port 5001 --fragment first --size 8",
    "--from 10.0.0.5 --to rabbitmq.cloud --protocol udp --fragment later",
    "--from 10.0.0.5 --to rabbitmq.cloud --protocol udp --port 5002 --fragment first --size 1001 \
     --identification 2",
    "--from 10.0.0.5 --to rabbitmq.cloud --protocol udp --fragment later --identification 2 --size 7",
];

#[test]
fn what_to_run_at_the_next_gateway_describes_what_arrives_there() {
    let gateway = Gateway::new();
    for words in FORWARDED {
        let traced = gateway.carry(words);
        let Some(Hop::Gateway(next)) = traced.hops.last() else { panic!("{words}: {traced:?}") };
        let described = arguments(&next.trace);
        assert!(described.link);
        let (point, packet) = resolve(&described, &gateway.memory.desired, None).unwrap();
        assert_eq!(point.program, Program::LinkIngress);
        let again = Summary::of(&packet.frame().unwrap()).unwrap();
        assert_eq!(again, next.packet, "{words}: {}", next.trace);
    }
}

#[test]
fn what_is_longer_than_the_link_takes_is_told() {
    let gateway = Gateway::new();
    for (size, fits) in [(1380, true), (1381, false)] {
        let traced = gateway.carry(&format!("{RABBITMQ} --size {size}"));
        let text = traced.text();
        let judged = if fits { ", within the MTU of 1420" } else { ", more than the MTU of 1420" };
        assert!(text.contains(judged), "{text}");
    }
}

#[test]
fn what_a_sender_is_told_is_said() {
    let gateway = Gateway::new();
    let line = |words: &str| {
        let text = gateway.carry(&format!("{RABBITMQ} {words}")).text();
        text.lines().find_map(|line| line.strip_prefix("told")).map(|line| line.trim().to_owned())
    };
    let by = "10.0.0.5, by an ICMP error from 10.0.0.200: ";
    assert_eq!(line("--ttl 1"), Some(format!("{by}no hops left")));
    let too_big = format!("{by}fragmentation needed, the MTU is 1420");
    assert_eq!(line("--size 1381 --dont-fragment"), Some(too_big));
    assert_eq!(line("--size 1380 --dont-fragment"), None);
}

#[test]
fn fields_have_the_names_that_programs_know() {
    let names = |value: &Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let traced = serde_json::to_value(Gateway::new().carry(RABBITMQ)).unwrap();
    assert_eq!(
        names(&traced),
        [
            "counter",
            "egress",
            "flow",
            "hops",
            "note",
            "packet",
            "program",
            "reason",
            "rewritten",
            "rule",
            "told",
            "verdict"
        ]
    );
    assert_eq!(
        names(&traced["packet"]),
        [
            "chunk",
            "destination",
            "destination_port",
            "dont_fragment",
            "flags",
            "fragment",
            "icmp",
            "length",
            "protocol",
            "source",
            "source_port",
            "ttl"
        ]
    );
    let hops = traced["hops"].as_array().unwrap();
    let expected: [&[&str]; 3] = [
        &[
            "answered_by",
            "changes",
            "checks",
            "counter",
            "hook",
            "hop",
            "interface",
            "program",
            "verdict",
        ],
        &["endpoint", "fits", "hop", "interface", "length", "mtu", "peer", "site", "state", "way"],
        &["hop", "packet", "site", "trace"],
    ];
    for (hop, expected) in hops.iter().zip(expected) {
        assert_eq!(names(hop), expected);
    }
    let refused = Gateway::new().carry("--from 10.0.0.6 --to rabbitmq.cloud --port 5672");
    let refused = serde_json::to_value(refused).unwrap();
    assert_eq!(
        names(&refused["reason"]),
        ["causes", "label", "look", "meaning", "number", "remedy"]
    );
    for answer in [&traced, &refused] {
        let yaml: Value =
            yaml_serde::from_str(&super::super::print::yaml(answer).unwrap()).unwrap();
        assert_eq!(yaml, *answer);
    }
}

#[test]
fn the_text_goes_hop_by_hop() {
    let text = Gateway::new().carry(RABBITMQ).text();
    for part in [
        "verdict    forward (to-link)\n",
        "rule       edge-a-rabbitmq\n",
        "flow       new\n",
        "leaves by  if3\n",
        "\n1. lan_ingress on if2 (at tcx)\n",
        "   => forward (to-link)\n",
        "\n2. out of if3 (link to cloud)\n   peer cloud at 192.0.2.1:51820, up\n   40 octets, within",
        "\n3. the gateway of cloud gets\n   tcp 240.0.16.5:40000 -> 240.0.8.1:5672 ttl 63 length 40 syn\n",
        "   there: gatewayctl trace --link --from 240.0.16.5 ",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
}

#[test]
fn a_changed_table_is_told_instead_of_guessed_at() {
    let gateway = Gateway::new();
    let described = arguments(RABBITMQ);
    let tables = &gateway.memory.desired;
    let (point, packet) = resolve(&described, tables, None).unwrap();
    let before = packet.frame().unwrap();
    let interface = |index: u32| format!("if{index}");
    let scene = Scene { tables, interface: &interface, attached: &[], links: None, now: Ticks(0) };
    let replays = Replays::run(point, &before, &scene, &Memory(&gateway.memory)).unwrap();
    let report = Report::of(Counter::Refused(Reason::NoPolicy));
    let trace = Trace { report, after: before.clone(), before };
    let traced = Traced::of(&described, point, &trace, &replays, &scene);
    assert_eq!((traced.verdict, traced.counter), ("refuse", "no-policy"), "the kernel's");
    assert!(traced.note.is_some_and(|note| note.contains("ask again")));
    assert_eq!(checks(&traced), []);
}
