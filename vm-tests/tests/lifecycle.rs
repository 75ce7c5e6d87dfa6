//! A data path's life: loaded, filled, found again, refused where something else is, read, swept. Needs
//! root; makes namespaces and pins of its own.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "the other tests use the rest")]
mod bench;

use std::{fs, time::Duration};

use bench::{Bench, Devices, INSTANCE, ack, bpftool, chain, frame, lan_and_links, pin, site, syn};
use gateway_common::{
    Protocol,
    desired::Tables,
    map::{ABI, AllowKey, Counter, FlowState, Outcome, Timeouts},
    wire::TcpFlags,
};
use gateway_dataplane::{
    ApplyError, DataPlane, Inspector, Mode, PacketDescription, Place, Program, Run, TracePoint,
    TransportDescription, WantedAttachment, detach_at, map_names,
};
use vm_tests::lab::wait::wait_for;

#[test]
fn pins_are_under_instance_and_version() {
    let bench = Bench::new("pins");
    bench.run(|| {
        let _dataplane = bench.open(INSTANCE);
        for map in map_names() {
            assert!(pin(&bench, "maps", map).exists(), "{map}");
        }
        for program in Program::ALL {
            assert!(pin(&bench, "programs", program.name()).exists(), "{program}");
        }
        let left = fs::read_dir(pin(&bench, "programs", "")).expect("listable").count();
        assert_eq!(left, Program::ALL.len(), "nothing but the programs");
    });
}

#[test]
fn a_second_load_finds_maps_and_flows_and_changes_nothing() {
    let bench = Bench::new("adopt");
    bench.run(|| {
        let devices = lan_and_links(&bench);
        let tables = site(devices);
        let mut first = bench.open(INSTANCE);
        let applied = first.apply(&tables).expect("it fits");
        assert_eq!(applied.generation, 1);
        assert!(applied.changes > 20, "{applied:?}");
        open_flow(&first, devices, 40000);
        drop(first);

        let inspector = bench.inspect(INSTANCE);
        let flows = inspector.flows().expect("readable");
        assert_eq!(flows.len(), 1);
        let mut second = bench.open(INSTANCE);
        let applied = second.apply(&tables).expect("it fits");
        assert_eq!((applied.generation, applied.changes), (1, 0), "nothing to change");
        assert_eq!(inspector.flows().expect("readable"), flows);
        assert_eq!(second.observe().expect("readable").tables, tables);
        let opened = Counter::Outcome(Outcome::Opened);
        let counters = bench.inspect(INSTANCE).counters().expect("readable");
        assert!(counters.contains(&(opened, 1)), "{counters:?}");
    });
}

#[test]
fn every_change_comes_with_a_generation() {
    let bench = Bench::new("generation");
    bench.run(|| {
        let devices = lan_and_links(&bench);
        let mut dataplane = bench.open(INSTANCE);
        let tables = site(devices);
        dataplane.apply(&tables).expect("it fits");
        let mut changed = tables.clone();
        changed.allows.pop_first();
        let mut generation = 1;
        let mut apply = |tables: &Tables, changes: usize| {
            let applied = dataplane.apply(tables).expect("it fits");
            generation += 1;
            assert_eq!((applied.generation, applied.changes), (generation, changes));
            assert_eq!(&dataplane.observe().expect("readable").tables, tables);
        };
        apply(&changed, 1);
        changed.services.pop_first();
        apply(&changed, 1);
        changed.ports.pop_last();
        apply(&changed, 1);
        changed.presences.pop_last();
        apply(&changed, 1);
        changed.settings.relay = 0;
        apply(&changed, 1);
        changed.settings.timeouts = Timeouts::from_milliseconds([1000; FlowState::COUNT]);
        apply(&changed, 1);
        changed.routes.pop_first();
        apply(&changed, 1);
        apply(&tables, 6);
    });
}

#[test]
fn a_change_that_was_cut_short_is_finished_under_a_new_generation() {
    let bench = Bench::new("cut-short");
    bench.run(|| {
        let devices = lan_and_links(&bench);
        let mut dataplane = bench.open(INSTANCE);
        let tables = site(devices);
        dataplane.apply(&tables).expect("it fits");
        open_flow(&dataplane, devices, 40000);
        drop(dataplane);

        // What a process leaves that dies when it has removed the permission and nothing else yet.
        let inspector = bench.inspect(INSTANCE);
        let settings = inspector.lookup("settings", "1").expect("a key").expect("in force");
        let next = format!("02000000{}", &settings.value_bytes[8..]);
        let mut withdrawn = tables.clone();
        withdrawn.allows.retain(|key, _| key.service() != bench::transit(240, 0, 8, 1));
        assert_eq!(withdrawn.allows.len() + 1, tables.allows.len());
        let key = inspector.dump("allows4").expect("readable").into_iter();
        let key = key.map(|entry| entry.key_bytes).find(|key| key.ends_with("f0000801f0001000"));
        let map = |name| pin(&bench, "maps", name).display().to_string();
        bpftool(&format!(
            "map update pinned {} key hex {} value hex {}",
            map("settings"),
            spaced("00000000"),
            spaced(&next)
        ));
        let key = spaced(&key.expect("the rule's"));
        bpftool(&format!("map delete pinned {} key hex {key}", map("allows4")));

        let mut dataplane = bench.open(INSTANCE);
        let observed = dataplane.observe().expect("readable");
        assert!(observed.interrupted && observed.generation == 1, "{observed:?}");
        assert_eq!(observed.tables, withdrawn, "nothing is left to change");
        let applied = dataplane.apply(&withdrawn).expect("it fits");
        assert_eq!((applied.generation, applied.changes), (2, 0));
        assert!(!dataplane.observe().expect("readable").interrupted);
        let refused = Counter::Refused(gateway_common::Reason::NoPolicy);
        let frame = frame(&ack([10, 0, 0, 5], [10, 0, 0, 200], 5672));
        let run = Run { frame: &frame, device: devices.lan, ingress: devices.lan };
        let ran = dataplane.runner(Program::LanIngress).expect("there").run(&run);
        assert_eq!(ran.expect("runnable").action, 2, "the live flow ends");
        let counters = bench.inspect(INSTANCE).counters().expect("readable");
        assert!(counters.contains(&(refused, 1)), "{counters:?}");
    });
}

#[test]
fn tables_that_do_not_fit_leave_the_old_ones_in_force() {
    let bench = Bench::new("full");
    bench.run(|| {
        let devices = lan_and_links(&bench);
        let mut dataplane = bench.open(INSTANCE);
        let tables = site(devices);
        dataplane.apply(&tables).expect("it fits");
        let mut large = tables.clone();
        let service = *tables.services.values().next().expect("there are some");
        for number in 0..1 << 17 {
            let address = gateway_common::Ipv4::from_number(0xf100_0000 + number);
            large.services.insert(gateway_common::TransitAddress(address), service);
        }
        large.allows.clear();
        let error = dataplane.apply(&large).expect_err("too many");
        assert!(matches!(error, ApplyError::RolledBack(_)), "{}", chain(&error));
        assert!(chain(&error).contains("map services4 is full"), "{}", chain(&error));
        let observed = dataplane.observe().expect("readable");
        assert_eq!(observed.tables, tables);
        assert!(!observed.interrupted);
        assert_eq!(observed.generation, 2, "flows that were opened meanwhile are judged anew");
    });
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let bench = Bench::new("foreign");
    bench.run(|| {
        for (from, to) in [("maps/names", "maps/services4"), ("programs/guard", "maps/flows4")] {
            for instance in [INSTANCE, "donor"] {
                drop(bench.open(instance));
            }
            let taken = bench.root().join(format!("presence/donor/v{ABI}/{from}"));
            let place = pin(&bench, to, "");
            let place = place.as_path().components().as_path();
            fs::remove_file(place).expect("removable");
            fs::rename(&taken, place).expect("movable");
            let error = DataPlane::open(INSTANCE, &bench.options()).err().expect("foreign");
            assert!(error.to_string().contains(&place.display().to_string()), "{}", chain(&error));
            assert!(error.to_string().contains("left as it is"), "{}", chain(&error));
            assert!(place.exists());
            let error = Inspector::open_at(bench.root(), INSTANCE).err();
            assert!(error.is_some(), "reading refuses it too");
            for instance in [INSTANCE, "donor"] {
                detach_at(bench.root(), instance).expect("detachable");
            }
        }
    });
}

#[test]
fn another_capacity_is_refused_while_the_old_flows_are_there() {
    let bench = Bench::new("capacity");
    bench.run(|| {
        let small = gateway_dataplane::Options { flow_capacity: 1024, ..bench.options() };
        drop(DataPlane::open(INSTANCE, &small).expect("loadable"));
        let error = DataPlane::open(INSTANCE, &bench.options()).err().expect("another capacity");
        let text = error.to_string();
        assert!(text.contains("capacity 1024") && text.contains("capacity 65536"), "{text}");
        assert!(text.contains("detach"), "{text}");
        assert_eq!(bench.inspect(INSTANCE).flow_capacity(), 1024);
    });
}

#[test]
fn maps_of_another_version_are_refused_and_left_alone() {
    let bench = Bench::new("version");
    bench.run(|| {
        let other = bench.root().join(format!("presence/{INSTANCE}/v{}", ABI + 1));
        fs::create_dir_all(&other).expect("a directory");
        let error = DataPlane::open(INSTANCE, &bench.options()).err().expect("another version");
        let text = error.to_string();
        assert!(text.contains("another version") && text.contains("detach"), "{text}");
        assert!(other.exists() && !pin(&bench, "maps", "").exists());
        detach_at(bench.root(), INSTANCE).expect("detachable");
        drop(bench.open(INSTANCE));
    });
}

/// The flow table of ABI 2 is laid out as this one's: pins under its number are as a build of it left them.
#[test]
fn a_data_path_of_an_earlier_version_is_taken_over_with_its_flows() {
    for force_clsact in [false, true] {
        let bench = Bench::new("earlier");
        bench.run(|| {
            let options =
                gateway_dataplane::Options { link_header: 14, force_clsact, ..bench.options() };
            let devices = lan_and_links(&bench);
            let wanted = [("site0", Place::Lan(Mode::Tc)), ("link0", Place::Link)]
                .map(|(name, place)| WantedAttachment { interface: name.to_owned(), place });
            let mut before = DataPlane::open(INSTANCE, &options).expect("loadable");
            before.apply(&site(devices)).expect("it fits");
            before.attach(&wanted).expect("attachable");
            open_flow(&before, devices, 40000);
            let client = TransportDescription::Tcp {
                source: 5672,
                destination: 40000,
                flags: TcpFlags(TcpFlags::SYN | TcpFlags::ACK),
            };
            let answer = PacketDescription {
                transport: client,
                ..syn([240, 0, 8, 1], [240, 0, 16, 5], 40000)
            };
            let (lan, link) = (devices.lan, devices.link);
            for (program, packet, device) in [
                (Program::LinkIngress, &answer, link),
                (Program::LanIngress, &ack([10, 0, 0, 5], [10, 0, 0, 200], 5672), lan),
            ] {
                let run = Run { frame: &frame(packet), device, ingress: device };
                before.runner(program).expect("there").run(&run).expect("runnable");
            }
            let flows = bench.inspect(INSTANCE).flows().expect("readable");
            assert_eq!(flows.len(), 1);
            assert_eq!(flows[0].1.state(), FlowState::Open);
            drop(before);
            let instance = bench.root().join(format!("presence/{INSTANCE}"));
            let earlier = instance.join("v2");
            fs::rename(instance.join(format!("v{ABI}")), &earlier).expect("movable");
            let error = Inspector::open_at(bench.root(), INSTANCE).err().expect("not this one's");
            assert!(error.to_string().contains("earlier version"), "{}", chain(&error));

            let mut after = DataPlane::open(INSTANCE, &options).expect("beside the earlier one");
            let error = after.attach(&wanted).expect_err("no tables yet");
            assert!(error.to_string().contains("apply them first"), "{}", chain(&error));
            assert!(!after.is_attached().expect("readable"));
            assert!(after.attachments().expect("readable").iter().all(|it| it.active));
            assert_eq!(after.attachments().expect("readable").len(), 2, "the earlier ones");
            after.apply(&site(devices)).expect("it fits");
            after.attach(&wanted).expect("replaceable");
            assert!(after.is_attached().expect("readable") && !earlier.exists());
            assert_eq!(after.disturbed().expect("readable"), []);

            let inspector = bench.inspect(INSTANCE);
            let (key, mut flow) = inspector.flows().expect("readable")[0];
            assert_eq!(flow.generation, 0, "to be judged anew");
            flow.generation = flows[0].1.generation;
            assert_eq!((key, flow), flows[0]);
            let found = inspector.attachments().expect("readable");
            assert!(found.len() == 2 && found.iter().all(|it| it.active), "{found:?}");
            assert!(
                found.iter().all(|it| it.before.is_empty() && it.after.is_empty()),
                "{found:?}"
            );
            let packet = frame(&ack([10, 0, 0, 5], [10, 0, 0, 200], 5672));
            let run = Run { frame: &packet, device: lan, ingress: lan };
            let ran = after.runner(Program::LanIngress).expect("there").run(&run);
            assert_eq!(ran.expect("runnable").action, 7, "redirected");
        });
    }
}

#[test]
fn an_abandoned_start_leaves_an_earlier_version_as_it_was() {
    let bench = Bench::new("abandoned");
    bench.run(|| {
        drop(bench.open(INSTANCE));
        let instance = bench.root().join(format!("presence/{INSTANCE}"));
        let (own, earlier) = (instance.join(format!("v{ABI}")), instance.join("v2"));
        fs::rename(&own, &earlier).expect("movable");
        let nothing_left = bench.open(INSTANCE).abandon().expect("removable");
        assert!(!nothing_left && earlier.join("maps/flows4").exists() && !own.exists());
        // What a process leaves that dies while it removes an earlier version.
        fs::rename(&earlier, instance.join("removed:2")).expect("movable");
        let fresh = bench.open(INSTANCE);
        assert!(!fresh.is_adopted() && !instance.join("removed:2").exists());
        assert!(fresh.abandon().expect("removable") && !instance.exists());
    });
}

#[test]
fn a_trace_reports_and_changes_nothing() {
    let bench = Bench::new("trace");
    bench.run(|| {
        let devices = lan_and_links(&bench);
        let mut dataplane = bench.open(INSTANCE);
        dataplane.apply(&site(devices)).expect("it fits");
        let inspector = bench.inspect(INSTANCE);
        let lan = TracePoint { program: Program::LanIngress, interface: devices.lan };
        let allowed = inspector.trace(lan, &syn([10, 0, 0, 5], [10, 0, 0, 200], 5672));
        let allowed = allowed.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(allowed.report.counter, Counter::Outcome(Outcome::ToLink));
        assert_eq!((allowed.report.rule, allowed.report.interface), (1, devices.link));
        assert_eq!(allowed.after[26..34], [240, 0, 16, 5, 240, 0, 8, 1]);
        let refused = inspector.trace(lan, &syn([10, 0, 0, 200], [10, 0, 0, 201], 5672));
        let refused = refused.expect("runnable");
        assert_eq!(refused.report.counter, Counter::Refused(gateway_common::Reason::SpoofedSource));
        assert_eq!(refused.after, refused.before);
        let from_link = TracePoint { program: Program::LinkIngress, interface: devices.link };
        let arrived = inspector.trace(from_link, &syn([240, 0, 0, 7], [240, 0, 24, 1], 80));
        let arrived = arrived.expect("runnable");
        assert_eq!(arrived.report.counter, Counter::Outcome(Outcome::ToLan));
        assert_eq!((arrived.report.rule, arrived.report.interface), (3, devices.lan));
        assert_eq!(arrived.after[26..34], [10, 0, 0, 250, 10, 0, 0, 10]);
        assert_eq!(arrived.after[36..38], 8080u16.to_be_bytes());

        assert_eq!(inspector.flows().expect("readable"), []);
        assert_eq!(inspector.nats().expect("readable"), []);
        assert!(inspector.counters().expect("readable").iter().all(|(_, count)| *count == 0));
    });
}

#[test]
fn idle_flows_and_their_ports_are_swept() {
    let bench = Bench::new("sweep");
    bench.run(|| {
        let devices = lan_and_links(&bench);
        let options = gateway_dataplane::Options { link_header: 14, ..bench.options() };
        let mut dataplane = DataPlane::open(INSTANCE, &options).expect("loadable");
        let mut tables = site(devices);
        dataplane.apply(&tables).expect("it fits");
        open_flow(&dataplane, devices, 40000);
        let frame = frame(&syn([240, 0, 0, 7], [240, 0, 24, 1], 5672));
        let run = Run { frame: &frame, device: devices.link, ingress: devices.link };
        dataplane.runner(Program::LinkIngress).expect("there").run(&run).expect("runnable");
        let swept = dataplane.sweep().expect("possible");
        assert_eq!((swept.flows, swept.flows_removed), (2, 0));
        assert_eq!((swept.ports, swept.ports_removed), (1, 0));
        tables.settings.timeouts = Timeouts::from_milliseconds([1; FlowState::COUNT]);
        dataplane.apply(&tables).expect("it fits");
        let (mut flows, mut ports) = (0, 0);
        wait_for("idle flows to be swept", Duration::from_secs(20), || {
            let swept = dataplane.sweep()?;
            flows += swept.flows_removed;
            ports += swept.ports_removed;
            Ok((flows, ports) == (2, 1))
        })
        .expect("they time out");
        let inspector = bench.inspect(INSTANCE);
        assert_eq!(inspector.flows().expect("readable"), []);
        assert_eq!(inspector.nats().expect("readable"), []);
    });
}

#[test]
fn maps_are_listed_dumped_and_looked_up() {
    let bench = Bench::new("inspect");
    bench.run(|| {
        let devices = lan_and_links(&bench);
        let mut dataplane = bench.open(INSTANCE);
        let tables = site(devices);
        dataplane.apply(&tables).expect("it fits");
        open_flow(&dataplane, devices, 40000);
        let inspector = bench.inspect(INSTANCE);
        let entries = |name: &str| {
            let maps = inspector.maps().expect("readable");
            maps.iter().find(|map| map.name == name).expect("it is listed").entries
        };
        for (name, count) in [
            ("allows4", tables.allows.len()),
            ("ports4", tables.ports.len()),
            ("presences4", tables.presences.len()),
            ("routes4", tables.routes.len()),
            ("services4", tables.services.len()),
            ("names", tables.names.len()),
            ("flows4", 0),
            ("opening4", 1),
            ("nats4", 0),
            ("current", 1),
            ("settings", 1),
            ("counters", 2),
        ] {
            assert_eq!(entries(name), count, "{name}");
            assert_eq!(inspector.dump(name).expect("readable").len(), count, "{name}");
        }
        let service = inspector.lookup("services4", "240.0.8.1").expect("a key").expect("there");
        assert!(service.key.contains("240.0.8.1"), "{service:?}");
        let allow = AllowKey::exact(bench::transit(240, 0, 8, 1), bench::transit(240, 0, 16, 5));
        let dumped = inspector.dump("allows4").expect("readable");
        assert!(dumped.iter().any(|entry| entry.key.contains("240.0.16.0/24")), "{dumped:?}");
        let bytes: String = [allow.bits(), allow.data()[0], allow.data()[1]]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let found = inspector.lookup("allows4", &bytes).expect("a key").expect("the longest match");
        assert!(found.value.contains("rule: 1"), "{found:?}");
        assert!(inspector.lookup("allows4", "xyz").is_err());
        assert!(inspector.dump("nonsense").is_err());
    });
}

/// Has a client of this site open a flow to a service elsewhere.
fn open_flow(dataplane: &DataPlane, devices: Devices, port: u16) {
    let mut packet = syn([10, 0, 0, 5], [10, 0, 0, 200], 5672);
    packet.transport = TransportDescription::Tcp {
        source: port,
        destination: 5672,
        flags: TcpFlags(TcpFlags::SYN),
    };
    assert_eq!(packet.frame().expect("it fits")[23], Protocol::TCP.0);
    let frame = frame(&packet);
    let run = Run { frame: &frame, device: devices.lan, ingress: devices.lan };
    let ran = dataplane.runner(Program::LanIngress).expect("there").run(&run).expect("runnable");
    assert_eq!(ran.action, 7, "redirected");
}

/// Octets apart, as bpftool reads them.
fn spaced(hexadecimal: &str) -> String {
    let digits: Vec<char> = hexadecimal.chars().collect();
    digits.chunks(2).map(|pair| pair.iter().collect()).collect::<Vec<String>>().join(" ")
}
