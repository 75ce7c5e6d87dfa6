//! The kernel decides and edits as the host does: the same frames through the loaded programs, by
//! `BPF_PROG_TEST_RUN` on devices of a namespace, and through `gateway_common::host`. Compared are what
//! becomes of each frame, every octet of it, and at the end every flow, reserved port and counter.
//!
//! The frames are traffic of several clients, services and protocols, with replies made of what came
//! out before; a part of them is then damaged. Each is first run dry, which has to report the verdict
//! and change nothing. Needs root; the kernel needs no link for traffic control.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "lifecycle uses the rest")]
mod bench;
mod traffic;

use std::{
    collections::{BTreeMap, HashMap},
    thread,
    time::{Duration, Instant},
};

use bench::{Bench, Devices, MAC, ack, chain, index, site, syn};
use gateway_common::{
    LocalAddress, Reason,
    desired::Tables,
    host::{self, MemoryTables},
    map::{BackendKey, Counter, Flow, FlowKey, Fragments, Map, Outcome, Presence, PresenceKind},
    path::Arrival,
    report::Report,
    time::Ticks,
    verdict::Verdict,
};
use gateway_dataplane::{
    DataPlane, Inspector, Mode, Options, Place, Program, Run, Runner, WantedAttachment, now,
};
use traffic::{Frame, Random, Side, Traffic};

const INSTANCE: &str = "path";
/// Frames of each side; those of the LAN side go through two programs.
const FRAMES: usize = 100_000;
/// The tables change whenever so many frames have passed.
const BETWEEN_CHANGES: usize = 7_001;

#[test]
fn the_kernel_does_as_the_host_does() {
    let seen = compare(0x5eed_0001, 1 << 16, FRAMES, Dry::Compared);
    for outcome in Outcome::ALL {
        let least = if *outcome == Outcome::Answered { 500 } else { 5_000 };
        let count = seen.counted(Counter::Outcome(*outcome));
        assert!(count >= least, "only {count} times {}", outcome.label());
    }
    for reason in Reason::ALL {
        let elsewhere = matches!(
            reason,
            Reason::NotConfigured
                | Reason::KernelRefused
                | Reason::FlowTableFull
                | Reason::ClientQuota
        );
        let count = seen.counted(Counter::Refused(*reason));
        assert!(elsewhere || count > 0, "never {}", reason.label());
    }
    assert!(seen.flows > 1_000, "{} flows", seen.flows);
}

#[test]
fn full_tables_refuse_the_same() {
    // A dry run adds nothing and so never finds a table full.
    let seen = compare(0x5eed_0002, 256, FRAMES / 5, Dry::Left);
    assert_eq!(seen.confirmed, 256);
    let full = seen.counted(Counter::Refused(Reason::FlowTableFull));
    assert!(full > 100, "only {full} times full");
}

#[test]
fn without_settings_nothing_enters_from_a_link_and_the_lan_is_left_alone() {
    let bench = Bench::new("unconfigured");
    bench.run(|| {
        let stand = Stand::new(&bench, 1024);
        let mut traffic = Traffic::new(stand.devices, Random::new(0x5eed_0003));
        for _ in 0..2_000 {
            let frame = traffic.next();
            match frame.side {
                _ if stand.refuses(&frame) => {}
                Side::Lan => {
                    for (runner, pass) in [(&stand.guard, XDP_PASS), (&stand.lan, TC_ACT_UNSPEC)] {
                        let (action, after) = stand.run_live(runner, &frame);
                        assert_eq!((action, &after), (pass, &frame.bytes));
                    }
                }
                Side::Link => {
                    let (action, after) = stand.run_live(&stand.link, &frame);
                    assert_eq!((action, &after), (TC_ACT_SHOT, &frame.bytes));
                }
            }
        }
        let counters: HashMap<u32, u64> = stand.counters().into_iter().collect();
        assert!(counters[&Counter::Refused(Reason::NotConfigured).index()] > 500);
        assert_eq!(stand.inspector.flows().expect("readable"), []);
    });
}

/// A CPU that is held up between the clock and the flow meets what another wrote at a later tick. That takes
/// some millions of packets: the tick itself has to fall in between.
#[test]
fn two_cpus_that_carry_one_flow_refuse_none_of_it() {
    const TIME: Duration = Duration::from_secs(20);
    let bench = Bench::new("two-cpus");
    bench.run(|| {
        let mut stand = Stand::new(&bench, 1024);
        stand.dataplane.apply(&site(stand.devices)).expect("it fits");
        let [syn, ack] = [syn, ack].map(|tcp| Frame {
            side: Side::Lan,
            device: stand.devices.lan,
            bytes: bench::frame(&tcp([10, 0, 0, 5], [10, 0, 0, 200], 5672)),
        });
        assert_eq!(stand.run_live(&stand.lan, &syn).0, TC_ACT_REDIRECT);
        let carry = || {
            let end = Instant::now() + TIME;
            let mut actions = BTreeMap::new();
            while Instant::now() < end {
                *actions.entry(stand.run_live(&stand.lan, &ack).0).or_insert(0_u32) += 1;
            }
            actions
        };
        let on_each = thread::scope(|scope| {
            [scope.spawn(carry), scope.spawn(carry)].map(|it| it.join().expect("it runs"))
        });
        println!("{on_each:?}");
        assert!(on_each.iter().all(|actions| actions.keys().eq([&TC_ACT_REDIRECT])), "{on_each:?}");
    });
}

// linux/pkt_cls.h and linux/bpf.h
const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dry {
    Compared,
    Left,
}

/// What the host saw.
struct Seen {
    counts: HashMap<u32, u64>,
    flows: usize,
    confirmed: usize,
}

impl Seen {
    fn counted(&self, counter: Counter) -> u64 {
        self.counts.get(&counter.index()).copied().unwrap_or(0)
    }
}

/// Runs at least `frames` frames of each side through kernel and host.
fn compare(seed: u64, capacity: u32, frames: usize, dry: Dry) -> Seen {
    println!("seed {seed:#x}, {frames} frames a side, room for {capacity} flows");
    let bench = Bench::new("path");
    let mut seen = None;
    bench.run(|| {
        let mut stand = Stand::new(&bench, capacity);
        let variants = variants(stand.devices);
        let mut tables = MemoryTables::new(variants[0].clone(), capacity as usize);
        stand.dataplane.apply(&variants[0]).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let mut traffic = Traffic::new(stand.devices, Random::new(seed));
        let mut counts = [0; 2];
        let mut number = 0;
        while counts.iter().any(|count| *count < frames) {
            number += 1;
            if number % BETWEEN_CHANGES == 0 {
                let variant = &variants[number / BETWEEN_CHANGES % variants.len()];
                tables.replace(variant.clone());
                // No new one where only the way of new flows changed: the dataplane's own tests say when.
                let applied = stand.dataplane.apply(variant).expect("it fits");
                tables.desired.settings.generation = applied.generation;
            }
            let frame = traffic.next();
            let context = format!("seed {seed:#x}, frame {number}: {frame:02x?}");
            if let Some((verdict, after)) = step(&stand, &tables, &frame, dry, &context) {
                counts[frame.side as usize] += 1;
                traffic.saw(&frame, &verdict, &after);
            }
        }
        stand.compare_tables(&tables);
        let counts = stand.counters().into_iter().collect();
        let (flows, confirmed) = (tables.flows().len(), tables.confirmed());
        seen = Some(Seen { counts, flows, confirmed });
    });
    seen.expect("the body ran")
}

/// One side of the host's packet path.
type Decide = fn(&[u8], &MemoryTables, Arrival) -> Verdict;

/// One frame through everything it would meet. `None` if the kernel runs no program of traffic control
/// on such a frame.
fn step(
    stand: &Stand,
    tables: &MemoryTables,
    frame: &Frame,
    dry: Dry,
    context: &str,
) -> Option<(Verdict, Vec<u8>)> {
    let (runner, decide): (_, Decide) = match frame.side {
        Side::Lan => {
            let arrival = Arrival { for_us: true, ..frame.arrival(now()) };
            let verdict = host::guard(&frame.bytes, tables, arrival);
            let ran = stand.run_live(&stand.guard, frame);
            assert_eq!(ran, (xdp_action(&verdict), edited(frame, &verdict)), "guard, {context}");
            (&stand.lan, host::lan)
        }
        Side::Link => (&stand.link, host::link),
    };
    if stand.refuses(frame) {
        let run = Run { frame: &frame.bytes, device: frame.device, ingress: frame.device };
        assert!(runner.run(&run).is_err(), "{context}");
        return None;
    }
    let reported = (dry == Dry::Compared).then(|| stand.run_dry(runner, frame));
    let verdict = decide(&frame.bytes, tables, frame.arrival(now()));
    let (action, after) = stand.run_live(runner, frame);
    assert_eq!(action, tc_action(&verdict), "{verdict:?}, {context}");
    assert_eq!(after, edited(frame, &verdict), "{verdict:?}, {context}");
    if let Some((report, dry_after)) = reported {
        assert_eq!(report, report_of(&verdict), "{context}");
        let wanted = edited(&dry_frame(frame), &verdict);
        assert_eq!(dry_after[6..], wanted[6..], "dry, {context}");
    }
    Some((verdict, after))
}

/// The frame as the host leaves it.
fn edited(frame: &Frame, verdict: &Verdict) -> Vec<u8> {
    let mut bytes = frame.bytes.clone();
    host::execute(&mut bytes, verdict);
    bytes
}

/// The frame as it is addressed in a dry run, where the device is the loopback.
fn dry_frame(frame: &Frame) -> Frame {
    let mut dry = frame.clone();
    dry.bytes[..6].copy_from_slice(&if frame.is_for_us() { [0; 6] } else { [2, 9, 9, 9, 9, 9] });
    dry
}

fn report_of(verdict: &Verdict) -> Report {
    match verdict {
        Verdict::Forward(forward) => Report::of_forward(forward),
        Verdict::Pass | Verdict::Refuse(_) | Verdict::Answer(_) | Verdict::Tell(_) => {
            Report::of(verdict.counter())
        }
    }
}

fn tc_action(verdict: &Verdict) -> u32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Refuse(_) => TC_ACT_SHOT,
        Verdict::Answer(_) | Verdict::Tell(_) | Verdict::Forward(_) => TC_ACT_REDIRECT,
    }
}

fn xdp_action(verdict: &Verdict) -> u32 {
    match verdict {
        Verdict::Pass | Verdict::Answer(_) | Verdict::Tell(_) | Verdict::Forward(_) => XDP_PASS,
        Verdict::Refuse(_) => XDP_DROP,
    }
}

/// The loaded programs with the devices they run on.
struct Stand {
    dataplane: DataPlane,
    inspector: Inspector,
    devices: Devices,
    guard: Runner,
    lan: Runner,
    link: Runner,
    /// Whether the kernel runs programs of traffic control on frames that end within the IP header that
    /// they announce. Newer ones do not (`bpf_prog_test_run_skb`); the guard gets those frames anyway.
    runs_cut_off: bool,
}

impl Stand {
    fn new(bench: &Bench, capacity: u32) -> Self {
        for device in ["site0", "site1", "link0", "link1"] {
            bench.ip(&format!(
                "link add {device} address 02:00:00:00:00:01 type veth peer name {device}-peer"
            ));
            bench.ip(&format!("link set {device} up"));
            bench.ip(&format!("link set {device}-peer up"));
        }
        let devices = Devices {
            lan: index("site0"),
            second_lan: index("site1"),
            link: index("link0"),
            second_link: index("link1"),
        };
        let options = Options { flow_capacity: capacity, link_header: 14, ..bench.options() };
        let mut dataplane =
            DataPlane::open(INSTANCE, &options).unwrap_or_else(|error| panic!("{}", chain(&error)));
        // A run of an XDP program names a receive queue, which veth has while one is attached.
        let wanted = ["site0", "site1"].map(|interface| WantedAttachment {
            interface: interface.to_owned(),
            place: Place::Lan(Mode::Xdp),
        });
        dataplane.attach(&wanted).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let runner = |program| dataplane.runner(program).expect("it is pinned");
        let mut cut_off = [0; 20];
        cut_off[12] = 8;
        let run = Run { frame: &cut_off, device: 0, ingress: 0 };
        Self {
            runs_cut_off: runner(Program::LanIngress).run(&run).is_ok(),
            inspector: bench.inspect(INSTANCE),
            devices,
            guard: runner(Program::Guard),
            lan: runner(Program::LanIngress),
            link: runner(Program::LinkIngress),
            dataplane,
        }
    }

    fn refuses(&self, frame: &Frame) -> bool {
        let least = match frame.bytes[12..14] {
            [0x08, 0x00] => 34,
            [0x86, 0xdd] => 54,
            _ => 0,
        };
        !self.runs_cut_off && frame.bytes.len() < least
    }

    /// Runs a frame for good: on a device, so that flows are opened and packets counted.
    fn run_live(&self, runner: &Runner, frame: &Frame) -> (u32, Vec<u8>) {
        let run = Run { frame: &frame.bytes, device: frame.device, ingress: frame.device };
        let ran =
            runner.run(&run).unwrap_or_else(|error| panic!("{}: {frame:02x?}", chain(&error)));
        (ran.action, ran.frame)
    }

    /// Runs a frame dry. Loopback has no hardware address, so the receiver is that where it was ours.
    fn run_dry(&self, runner: &Runner, frame: &Frame) -> (Report, Vec<u8>) {
        let bytes = dry_frame(frame).bytes;
        let run = Run { frame: &bytes, device: 0, ingress: frame.device };
        let ran =
            runner.run(&run).unwrap_or_else(|error| panic!("{}: {frame:02x?}", chain(&error)));
        (Report::from_words(ran.scratch).expect("a report"), ran.frame)
    }

    fn counters(&self) -> Vec<(u32, u64)> {
        let counters = self.inspector.counters().expect("readable");
        counters.into_iter().map(|(counter, count)| (counter.index(), count)).collect()
    }

    fn fragments(&self) -> Vec<String> {
        let entries = self.inspector.dump(Fragments::NAME).expect("readable").into_iter();
        let mut all: Vec<String> =
            entries.map(|it| without_ticks(&format!("{} {}", it.key, it.value))).collect();
        all.sort_unstable();
        all
    }

    fn compare_tables(&self, tables: &MemoryTables) {
        // Both are ordered by the bytes of their keys.
        let without_time = |flows: Vec<(FlowKey, Flow)>| -> Vec<(FlowKey, Flow)> {
            let flows = flows.into_iter();
            flows
                .map(|(key, flow)| {
                    let mut flow = flow;
                    flow.seen = Ticks(0);
                    (key, flow)
                })
                .collect()
        };
        let kernel = without_time(self.inspector.flows().expect("readable"));
        let host = without_time(tables.flows());
        assert_eq!(kernel.len(), host.len(), "as many flows");
        for (kernel, host) in kernel.iter().zip(&host) {
            assert_eq!(kernel, host);
        }
        assert_eq!(self.inspector.nats().expect("readable"), tables.nats(), "the same ports");
        assert_eq!(self.fragments(), fragments_of(tables), "the same datagrams in fragments");
        for (counter, count) in self.inspector.counters().expect("readable") {
            assert_eq!(count, tables.counted(counter), "{counter:?}");
        }
        println!("{} flows, {} ports", tables.flows().len(), tables.nats().len());
    }
}

/// Datagrams in fragments as text, without the time of their first, in order.
fn fragments_of(tables: &MemoryTables) -> Vec<String> {
    let fragmented = tables.fragmented().into_iter();
    let mut all: Vec<String> =
        fragmented.map(|(key, value)| without_ticks(&format!("{key:?} {value:?}"))).collect();
    all.sort_unstable();
    all
}

fn without_ticks(text: &str) -> String {
    let (before, rest) = text.split_once("Ticks(").expect("every entry has a time");
    let (_, after) = rest.split_once(')').expect("a bracket that closes");
    format!("{before}{after}")
}

/// Tables that follow each other; each differs from the next.
fn variants(devices: Devices) -> Vec<Tables> {
    let base = site(devices);
    let mut withdrawn = base.clone();
    withdrawn.allows.pop_first();
    withdrawn.allows.pop_last();
    let mut moved = base.clone();
    let backends: Vec<BackendKey> = base.backends.keys().copied().collect();
    for BackendKey { service, address } in backends {
        let next = LocalAddress(gateway_common::Ipv4::from_number(address.0.number() + 1));
        moved.serve(service, &[address, next, next]);
    }
    let mut poorer = base.clone();
    poorer.settings.relay = 0;
    poorer.ports.pop_first();
    let first = poorer.services.pop_first();
    poorer.presences.retain(|_, presence| match presence.kind() {
        PresenceKind::Service(service) => first.is_none_or(|(gone, _)| service != gone),
        PresenceKind::Nothing | PresenceKind::Client => true,
    });
    poorer.presences.insert(60, Presence::new(PresenceKind::Client));
    let mut smaller = base.clone();
    for route in smaller.routes.values_mut() {
        route.mtu = 1040;
    }
    smaller.settings.network_count = 1;
    // Room for a few flows of the sites whose clients have some already, and no back end for some.
    smaller.settings.site_flows = 40;
    let served = smaller.backends.keys().next().map(|key| key.service);
    if let Some(service) = served {
        smaller.serve(service, &[]);
    }
    let variants = [&base, &withdrawn, &base, &moved, &base, &poorer, &base, &smaller];
    // Nothing times out while the test runs, however slow the machine.
    let day = gateway_common::map::Timeouts::from_milliseconds(
        [86_400_000; gateway_common::map::FlowState::COUNT],
    );
    variants
        .into_iter()
        .map(|tables| {
            let mut tables = tables.clone();
            tables.settings.timeouts = day;
            tables
        })
        .collect()
}

impl Frame {
    fn is_for_us(&self) -> bool {
        self.bytes[..6] == MAC
    }

    fn arrival(&self, now: Ticks) -> Arrival {
        Arrival {
            interface: self.device,
            ip: 14,
            for_us: self.is_for_us(),
            tagged: false,
            packets: 1,
            now,
        }
    }
}
