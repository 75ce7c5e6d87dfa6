//! Programs on interfaces: attached, replaced in place, refused where somebody else is, taken away; by
//! links and, forced where the kernel has links, by filters. Needs root; makes namespaces and pins of
//! its own.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "the other tests use the rest")]
mod bench;

use std::{fs, path::PathBuf};

use aya::programs::{SchedClassifier, TcAttachType};
use bench::{Bench, INSTANCE, chain, device, index, lan_and_links, output, pin, site, tc};
use gateway_dataplane::{
    DataPlane, Hook, InspectError, Inspector, Mode, Options, Place, Program, WantedAttachment,
    detach_at,
};

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
            let options = Options { force_clsact, ..bench.options() };
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
        assert!(found(&bench).iter().all(|it| it.0 != "lo"), "nothing of the attempt is left");
        assert_eq!(found(&bench).len(), 2, "and what was served is served");
        assert!(error.to_string().contains("mode = \"tc\""), "{}", chain(&error));
    });
}

#[test]
fn two_instances_live_side_by_side_but_not_on_one_interface() {
    let bench = Bench::new("two");
    bench.run(|| {
        device(&bench, "lan0");
        device(&bench, "lan1");
        let (mut a, mut b) = (bench.open("edge-a"), bench.open("edge-b"));
        a.attach(&[lan("lan0", Mode::Xdp)]).expect("attachable");
        for mode in [Mode::Xdp, Mode::Tc] {
            let error = b.attach(&[lan("lan0", mode)]).expect_err("occupied").to_string();
            assert!(error.contains("lan0 is served by instance edge-a"), "{error}");
        }
        assert_eq!(b.attachments().expect("readable"), []);
        b.attach(&[lan("lan1", Mode::Xdp)]).expect("attachable");
        let devices = lan_and_links(&bench);
        a.apply(&site(devices)).expect("it fits");
        assert_eq!(b.observe().expect("readable").generation, 0, "tables of its own");
        drop(a);
        detach_at(bench.root(), "edge-a").expect("detachable");
        let left = bench.inspect("edge-b").attachments().expect("readable");
        assert!(left.len() == 2 && left.iter().all(|it| it.active), "{left:?}");
    });
}

#[test]
fn another_instance_is_told_by_filters_and_not_by_names_in_other_namespaces() {
    let (bench, elsewhere) = (Bench::new("claim"), Bench::new("claim-elsewhere"));
    let options = |_: &Bench| Options { force_clsact: true, ..bench.options() };
    bench.run(|| {
        device(&bench, "lan0");
        let mut a = DataPlane::open("edge-a", &options(&bench)).expect("loadable");
        a.attach(&[lan("lan0", Mode::Tc)]).expect("attachable");
        let mut b = DataPlane::open("edge-b", &options(&bench)).expect("loadable");
        let error = b.attach(&[lan("lan0", Mode::Tc)]).expect_err("occupied").to_string();
        assert!(error.contains("lan0 is served by instance edge-a"), "{error}");
        assert!(a.disturbed().expect("readable").is_empty());
    });
    elsewhere.run(|| {
        device(&elsewhere, "lan0");
        let mut b = DataPlane::open("edge-b", &options(&bench)).expect("loadable");
        b.attach(&[lan("lan0", Mode::Tc)]).expect("another lan0");
        detach_at(bench.root(), "edge-b").expect("detachable");
    });
}

#[test]
fn somebody_elses_xdp_program_is_named() {
    let (bench, donor) = (Bench::new("xdp"), Bench::new("xdp-donor"));
    bench.run(|| {
        device(&bench, "lan0");
        drop(donor.open(INSTANCE));
        let program = pin(&donor, "programs", Program::Guard.name());
        output("ip", &format!("link set dev lan0 xdpdrv pinned {}", program.display()));
        let mut dataplane = bench.open(INSTANCE);
        let attached = dataplane.attach(&[lan("lan0", Mode::Auto)]).expect("without XDP");
        assert_eq!(attached[0].mode, Mode::Tc);
        let why = &attached[0].why;
        assert!(why.contains("another XDP program: guard (xdp, program "), "{why}");
        let found = bench.inspect(INSTANCE).attachments().expect("readable");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].before.len(), found[0].before[0].hook), (1, "xdp"), "{found:?}");
        let id = found[0].before[0].program_id;
        let error = dataplane.attach(&[lan("lan0", Mode::Xdp)]).expect_err("occupied").to_string();
        assert!(error.contains(&format!("guard (xdp, program {id})")), "{error}");
        assert!(error.contains("mode = \"tc\"") && error.contains("xdp off"), "{error}");
        output("ip", "link set dev lan0 xdp off");
        let attached = dataplane.attach(&[lan("lan0", Mode::Xdp)]).expect("free now");
        assert!(attached.iter().all(|it| it.mode == Mode::Xdp), "{attached:?}");
    });
}

#[test]
fn programs_of_others_on_the_same_hook_stay_and_are_named() {
    let (bench, donor) = (Bench::new("others"), Bench::new("others-donor"));
    bench.run(|| {
        device(&bench, "lan0");
        let mut other = donor.open(INSTANCE);
        let program = pin(&donor, "programs", Program::LinkIngress.name());
        tc("qdisc add dev lan0 clsact");
        tc(&format!(
            "filter add dev lan0 ingress prio 7 bpf da object-pinned {}",
            program.display()
        ));
        let mut dataplane = bench.open(INSTANCE);
        dataplane.attach(&[lan("lan0", Mode::Tc)]).expect("beside the other");
        let found = bench.inspect(INSTANCE).attachments().expect("readable");
        assert_eq!((found[0].before.len(), found[0].after.len()), (0, 1), "{found:?}");
        let after = &found[0].after[0];
        assert!(after.hook == "clsact" && after.name.starts_with("link_ingress"), "{after}");
        if tc_hook() == Hook::Tcx {
            // It goes first, as ours did.
            other.attach(&[lan("lan0", Mode::Tc)]).expect("beside ours");
            let found = bench.inspect(INSTANCE).attachments().expect("readable");
            assert_eq!((found[0].before.len(), found[0].after.len()), (1, 1), "{found:?}");
            assert_eq!(found[0].before[0].hook, "tcx");
        }
        drop(dataplane);
        detach_at(bench.root(), INSTANCE).expect("detachable");
        let filters = tc("filter show dev lan0 ingress");
        assert!(filters.contains("pref 7"), "the other filter stays: {filters}");
        assert_eq!(programs_on("lan0").is_empty(), tc_hook() == Hook::Clsact);
    });
}

#[test]
fn programs_that_somebody_takes_away_are_missed_and_put_back() {
    let bench = Bench::new("taken");
    bench.run(|| {
        device(&bench, "lan0");
        let options = Options { force_clsact: true, ..bench.options() };
        let mut dataplane = DataPlane::open(INSTANCE, &options).expect("loadable");
        let wanted = [lan("lan0", Mode::Xdp)];
        dataplane.attach(&wanted).expect("attachable");
        assert_eq!(dataplane.disturbed().expect("readable"), []);
        tc("filter del dev lan0 ingress");
        let lost = [("lan0".to_owned(), Program::LanIngress)];
        assert_eq!(dataplane.disturbed().expect("readable"), lost);
        dataplane.attach(&wanted).expect("attachable");
        assert_eq!(dataplane.disturbed().expect("readable"), []);
        // Another program of the same name in its place.
        let program = pin(&bench, "programs", Program::LinkIngress.name());
        tc(&format!(
            "filter replace dev lan0 ingress prio 1 handle 0x5052 bpf da object-pinned {}",
            program.display()
        ));
        assert_eq!(dataplane.disturbed().expect("readable"), lost);
    });
}

#[test]
fn detach_leaves_nothing() {
    for force_clsact in [false, true] {
        let bench = Bench::new("detach");
        bench.run(|| {
            let options = Options { force_clsact, ..bench.options() };
            device(&bench, "lan0");
            device(&bench, "presence");
            let mut dataplane = DataPlane::open(INSTANCE, &options).expect("loadable");
            dataplane.attach(&[lan("lan0", Mode::Xdp), link("presence")]).expect("attachable");
            let on = programs_on("lan0") + &tc("filter show dev lan0 ingress");
            assert!(on.contains("lan_ingress"), "{on}");
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
        let options = Options { force_clsact: true, ..bench.options() };
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
        let options = Options { force_clsact: true, ..bench.options() };
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
        let options = Options { force_clsact: true, ..bench.options() };
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

fn lan(interface: &str, mode: Mode) -> WantedAttachment {
    WantedAttachment { interface: interface.to_owned(), place: Place::Lan(mode) }
}

fn link(interface: &str) -> WantedAttachment {
    WantedAttachment { interface: interface.to_owned(), place: Place::Link }
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

/// The programs that links of traffic control call on a device, of which Debian 12's bpftool knows nothing.
/// A kernel without such links has none.
fn programs_on(device: &str) -> String {
    let found = SchedClassifier::query_tcx(device, TcAttachType::Ingress);
    let programs = found.map(|(_, programs)| programs).unwrap_or_default();
    programs.iter().filter_map(|it| it.name_as_str().map(|name| format!("{name} "))).collect()
}
