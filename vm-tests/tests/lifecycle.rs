//! A data path's life: loaded, found again, replaced in place, refused where something else is, taken
//! away. Needs root; makes namespaces and pins of its own.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "path_kernel uses the rest")]
mod bench;

use std::{fs, path::PathBuf, time::Duration};

use bench::{Bench, Devices, chain, index, site};
use gateway_common::{
    Protocol,
    desired::Tables,
    map::{ABI, AllowKey, Counter, FlowState, Outcome, Timeouts},
    wire::TcpFlags,
};
use gateway_dataplane::{
    ApplyError, DataPlane, Hook, InspectError, Inspector, Mode, PacketDescription, Place, Program,
    Run, TracePoint, TransportDescription, WantedAttachment, detach_at, map_names,
};
use vm_tests::lab::wait::wait_for;

const INSTANCE: &str = "edge-a";

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
fn programs_are_replaced_in_place() {
    let bench = Bench::new("replace");
    bench.run(|| {
        device(&bench, "lan0");
        device(&bench, "presence");
        let wanted = [lan("lan0", Mode::Xdp), link("presence")];
        bench.open(INSTANCE).attach(&wanted).expect("attachable");
        let before = found(&bench);
        let programs: Vec<_> = before.iter().map(|it| (it.0.as_str(), it.1, it.2)).collect();
        assert_eq!(
            programs,
            [
                ("lan0", Program::Guard, Hook::Xdp),
                ("lan0", Program::LanIngress, tc_hook()),
                ("presence", Program::LinkIngress, tc_hook()),
            ]
        );
        let inodes = link_inodes(&bench);
        bench.open(INSTANCE).attach(&wanted).expect("attachable");
        let after = found(&bench);
        assert_eq!(link_inodes(&bench), inodes, "the links are the same");
        for (old, new) in before.iter().zip(&after) {
            assert_eq!((&old.0, old.1, old.2), (&new.0, new.1, new.2));
            assert_ne!(old.3, new.3, "another program");
        }
    });
}

#[test]
fn interfaces_that_are_no_longer_wanted_are_left() {
    let bench = Bench::new("unwanted");
    bench.run(|| {
        device(&bench, "lan0");
        device(&bench, "lan1");
        let mut dataplane = bench.open(INSTANCE);
        dataplane.attach(&[lan("lan0", Mode::Xdp), lan("lan1", Mode::Tc)]).expect("attachable");
        assert_eq!(found(&bench).len(), 3);
        dataplane.attach(&[lan("lan0", Mode::Tc)]).expect("attachable");
        let found = found(&bench);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0.as_str(), found[0].1), ("lan0", Program::LanIngress));
        assert!(!shown("-d link show dev lan0").contains("xdp"), "the guard is off");
    });
}

#[test]
fn a_missing_interface_is_named_and_nothing_is_touched() {
    let bench = Bench::new("missing");
    bench.run(|| {
        device(&bench, "lan0");
        let mut dataplane = bench.open(INSTANCE);
        let error = dataplane.attach(&[lan("lan0", Mode::Tc), lan("lan9", Mode::Tc)]);
        let error = error.expect_err("there is no lan9").to_string();
        assert!(error.contains("lan9") && error.contains("does not exist"), "{error}");
        assert_eq!(found(&bench), []);
    });
}

#[test]
fn an_interface_that_was_made_anew_is_served_again() {
    for force_clsact in [false, true] {
        let bench = Bench::new("anew");
        bench.run(|| {
            let options = gateway_dataplane::Options { force_clsact, ..bench.options() };
            let mut dataplane = DataPlane::open(INSTANCE, &options).expect("loadable");
            let wanted = [lan("lan0", Mode::Xdp)];
            device(&bench, "lan0");
            dataplane.attach(&wanted).expect("attachable");
            bench.ip("link del lan0");
            assert!(
                bench
                    .inspect(INSTANCE)
                    .attachments()
                    .expect("readable")
                    .iter()
                    .all(|it| !it.active)
            );
            device(&bench, "lan0");
            dataplane.attach(&wanted).expect("attachable");
            let found = bench.inspect(INSTANCE).attachments().expect("readable");
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(found.iter().all(|it| it.active && it.index == index("lan0")), "{found:?}");
        });
    }
}

#[test]
fn modes_are_chosen_and_explained() {
    let bench = Bench::new("modes");
    bench.run(|| {
        device(&bench, "lan0");
        let mut dataplane = bench.open(INSTANCE);
        let attached = dataplane.attach(&[lan("lan0", Mode::Auto)]).expect("attachable");
        assert_eq!(attached.len(), 1, "{attached:?}");
        assert_eq!((attached[0].mode, attached[0].hook), (Mode::Tc, tc_hook()));
        assert!(attached[0].why.contains("offload"), "{}", attached[0].why);
        let attached = dataplane.attach(&[lan("lan0", Mode::Xdp)]).expect("attachable");
        assert_eq!(attached.len(), 2, "{attached:?}");
        assert!(attached.iter().all(|it| it.mode == Mode::Xdp));
        let error = dataplane.attach(&[lan("lo", Mode::Xdp)]).expect_err("no XDP on loopback");
        assert!(error.to_string().contains("lo cannot run XDP"), "{}", chain(&error));
        assert!(error.to_string().contains("mode = \"tc\""), "{}", chain(&error));
    });
}

#[test]
fn two_instances_live_side_by_side_but_not_on_one_xdp_hook() {
    let bench = Bench::new("two");
    bench.run(|| {
        device(&bench, "lan0");
        device(&bench, "lan1");
        let (mut a, mut b) = (bench.open("edge-a"), bench.open("edge-b"));
        a.attach(&[lan("lan0", Mode::Xdp)]).expect("attachable");
        let error = b.attach(&[lan("lan0", Mode::Xdp)]).expect_err("occupied");
        assert!(error.to_string().contains("another XDP program"), "{}", chain(&error));
        b.attach(&[lan("lan1", Mode::Xdp)]).expect("attachable");
        let devices = lan_and_links(&bench);
        a.apply(&site(devices)).expect("it fits");
        assert_eq!(b.observe().expect("readable").generation, 0, "tables of its own");
        detach_at(bench.root(), "edge-a").expect("detachable");
        let left = bench.inspect("edge-b").attachments().expect("readable");
        assert!(left.len() == 2 && left.iter().all(|it| it.active), "{left:?}");
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

#[test]
fn detach_leaves_nothing() {
    for force_clsact in [false, true] {
        let bench = Bench::new("detach");
        bench.run(|| {
            let options = gateway_dataplane::Options { force_clsact, ..bench.options() };
            device(&bench, "lan0");
            device(&bench, "presence");
            let mut dataplane = DataPlane::open(INSTANCE, &options).expect("loadable");
            dataplane.attach(&[lan("lan0", Mode::Xdp), link("presence")]).expect("attachable");
            drop(dataplane);
            let detached = detach_at(bench.root(), INSTANCE).expect("detachable");
            assert_eq!((detached.interfaces, detached.versions), (2, 1));
            assert!(!bench.root().join("presence").exists());
            assert!(!shown("-d link show dev lan0").contains("xdp"));
            for device in ["lan0", "presence"] {
                assert_eq!(tc(&format!("filter show dev {device} ingress")), "");
                assert!(!tc(&format!("qdisc show dev {device}")).contains("clsact"));
                let tcx = programs_on(device);
                assert!(!tcx.contains("_ingress"), "{tcx}");
            }
            let again = detach_at(bench.root(), INSTANCE).expect("nothing to do");
            assert_eq!((again.interfaces, again.versions), (0, 0));
            let error = Inspector::open_at(bench.root(), INSTANCE).err().expect("nothing there");
            assert!(matches!(error, InspectError::Pins(_)), "{}", chain(&error));
        });
    }
}

#[test]
fn filters_are_replaced_and_do_not_pile_up() {
    let bench = Bench::new("clsact");
    bench.run(|| {
        let options = gateway_dataplane::Options { force_clsact: true, ..bench.options() };
        device(&bench, "lan0");
        let mut programs = Vec::new();
        for _ in 0..3 {
            let mut dataplane = DataPlane::open(INSTANCE, &options).expect("loadable");
            let attached = dataplane.attach(&[lan("lan0", Mode::Tc)]).expect("attachable");
            assert_eq!(attached[0].hook, Hook::Clsact);
            let filters = tc("filter show dev lan0 ingress");
            assert_eq!(filters.matches("handle 0x5052 lan_ingress").count(), 1, "{filters}");
            assert_eq!(filters.matches("handle").count(), 1, "{filters}");
            programs.push(found(&bench)[0].3);
        }
        programs.dedup();
        assert_eq!(programs.len(), 3, "another program each time: {programs:?}");
        // Over to a link, where the kernel has them, and back.
        bench.open(INSTANCE).attach(&[lan("lan0", Mode::Tc)]).expect("attachable");
        let found = found(&bench);
        assert_eq!((found.len(), found[0].2), (1, tc_hook()), "{found:?}");
    });
}

#[test]
fn a_queueing_discipline_of_somebody_else_stays() {
    let bench = Bench::new("qdisc");
    bench.run(|| {
        let options = gateway_dataplane::Options { force_clsact: true, ..bench.options() };
        device(&bench, "lan0");
        device(&bench, "lan1");
        tc("qdisc add dev lan0 clsact");
        let mut dataplane = DataPlane::open(INSTANCE, &options).expect("loadable");
        dataplane.attach(&[lan("lan0", Mode::Tc), lan("lan1", Mode::Tc)]).expect("attachable");
        let program = pin(&bench, "programs", Program::LinkIngress.name());
        tc(&format!("filter add dev lan1 egress bpf da object-pinned {}", program.display()));
        detach_at(bench.root(), INSTANCE).expect("detachable");
        assert!(tc("qdisc show dev lan0").contains("clsact"), "made by somebody else");
        assert!(tc("qdisc show dev lan1").contains("clsact"), "used by somebody else");
        assert_eq!(tc("filter show dev lan1 ingress"), "");
    });
}

#[test]
fn somebody_elses_filter_in_our_place_is_refused() {
    let bench = Bench::new("filter");
    bench.run(|| {
        let options = gateway_dataplane::Options { force_clsact: true, ..bench.options() };
        device(&bench, "lan0");
        tc("qdisc add dev lan0 clsact");
        drop(DataPlane::open(INSTANCE, &options).expect("loadable"));
        let program = pin(&bench, "programs", Program::LinkIngress.name());
        tc(&format!(
            "filter add dev lan0 ingress prio 1 handle 0x5052 bpf da object-pinned {}",
            program.display()
        ));
        let mut dataplane = DataPlane::open(INSTANCE, &options).expect("loadable");
        let error = dataplane.attach(&[lan("lan0", Mode::Tc)]).expect_err("occupied").to_string();
        assert!(error.contains("lan0 has filter") && error.contains("tc filter del"), "{error}");
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
            ("flows4", 1),
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

fn pin(bench: &Bench, kind: &str, name: &str) -> PathBuf {
    bench.root().join(format!("presence/{INSTANCE}/v{ABI}/{kind}/{name}"))
}

fn lan(interface: &str, mode: Mode) -> WantedAttachment {
    WantedAttachment { interface: interface.to_owned(), place: Place::Lan(mode) }
}

fn link(interface: &str) -> WantedAttachment {
    WantedAttachment { interface: interface.to_owned(), place: Place::Link }
}

/// A device with a driver that knows XDP, and its other end.
fn device(bench: &Bench, name: &str) {
    bench.ip(&format!("link add {name} address 02:00:00:00:00:01 type veth peer name {name}-peer"));
}

/// Devices without any wire, for programs that are run and not attached.
fn lan_and_links(bench: &Bench) -> Devices {
    for device in ["site0", "site1", "link0", "link1"] {
        self::device(bench, device);
    }
    Devices {
        lan: index("site0"),
        second_lan: index("site1"),
        link: index("link0"),
        second_link: index("link1"),
    }
}

fn syn(source: [u8; 4], destination: [u8; 4], port: u16) -> PacketDescription {
    PacketDescription {
        source: source.into(),
        destination: destination.into(),
        ttl: 64,
        transport: TransportDescription::Tcp {
            source: 40000,
            destination: port,
            flags: TcpFlags(TcpFlags::SYN),
        },
        payload: 0,
    }
}

fn ack(source: [u8; 4], destination: [u8; 4], port: u16) -> PacketDescription {
    let mut packet = syn(source, destination, port);
    if let TransportDescription::Tcp { flags, .. } = &mut packet.transport {
        *flags = TcpFlags(TcpFlags::ACK);
    }
    packet
}

/// The packet's frame, addressed to the bench's devices.
fn frame(packet: &PacketDescription) -> Vec<u8> {
    let mut frame = packet.frame().expect("it fits");
    frame[..6].copy_from_slice(&bench::MAC);
    frame
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

/// Active programs, by interface and name.
fn found(bench: &Bench) -> Vec<(String, Program, Hook, u32)> {
    let found = bench.inspect(INSTANCE).attachments().expect("readable");
    assert!(found.iter().all(|it| it.active), "{found:?}");
    let mut found: Vec<_> =
        found.into_iter().map(|it| (it.interface, it.program, it.hook, it.program_id)).collect();
    found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    found
}

/// The hook that this kernel's traffic control has: links since 6.6.
fn tc_hook() -> Hook {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("readable");
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 6) { Hook::Tcx } else { Hook::Clsact }
}

fn link_inodes(bench: &Bench) -> Vec<(PathBuf, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut inodes = Vec::new();
    for interface in fs::read_dir(pin(bench, "links", "")).expect("listable").flatten() {
        for pin in fs::read_dir(interface.path()).expect("listable").flatten() {
            inodes.push((pin.path(), pin.metadata().expect("there").ino()));
        }
    }
    inodes.sort();
    assert!(!inodes.is_empty());
    inodes
}

fn shown(words: &str) -> String {
    output("ip", words)
}

fn tc(words: &str) -> String {
    output("tc", words)
}

fn programs_on(device: &str) -> String {
    bpftool(&format!("net show dev {device}"))
}

fn bpftool(words: &str) -> String {
    output("bpftool", words)
}

/// Octets apart, as bpftool reads them.
fn spaced(hexadecimal: &str) -> String {
    let digits: Vec<char> = hexadecimal.chars().collect();
    digits.chunks(2).map(|pair| pair.iter().collect()).collect::<Vec<String>>().join(" ")
}

/// What a program of this machine says, in the namespace of this thread.
fn output(program: &str, words: &str) -> String {
    let output = std::process::Command::new(program)
        .args(words.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
