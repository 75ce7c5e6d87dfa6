//! Programs on interfaces: attached, replaced in place, refused where somebody else is, taken away; by
//! links and, forced where the kernel has links, by filters. Needs root; makes namespaces and pins of
//! its own.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "the other tests use the rest")]
mod bench;

use std::{fs, path::PathBuf};

use bench::{Bench, INSTANCE, bpftool, chain, device, index, lan_and_links, output, pin, site, tc};
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
fn detach_leaves_nothing() {
    for force_clsact in [false, true] {
        let bench = Bench::new("detach");
        bench.run(|| {
            let options = Options { force_clsact, ..bench.options() };
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

fn programs_on(device: &str) -> String {
    bpftool(&format!("net show dev {device}"))
}
