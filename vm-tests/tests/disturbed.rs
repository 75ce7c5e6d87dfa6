//! What others do to a gateway while it runs, and several gateways beside each other: what is taken away
//! is put back, what is another instance's is left alone, and a detach leaves nothing. On one gateway of a
//! lab whose peers do not answer.
#![forbid(unsafe_code)]

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{SchedClassifier, TcAttachType};
use gateway_common::map::ABI;
use serde_json::Value;
use vm_tests::lab::gateway::{Choices, Gateway};
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::plan::{DNS, EDGE_A};
use vm_tests::lab::process::Process;
use vm_tests::lab::wait::{wait_for, wait_unless_failed};
use vm_tests::lab::{Lab, binaries};

const BOUND: Duration = Duration::from_secs(30);

/// Runs `steps` with one gateway, edge A's, that runs or does not.
fn with(choices: Choices, started: bool, steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    Lab::network(LabName::unique(), choices)?.during(|lab| {
        if started {
            lab.gateway(&EDGE_A).start()?;
        }
        steps(lab)
    })
}

fn pins(instance: &str) -> PathBuf {
    Path::new("/sys/fs/bpf/presence").join(instance)
}

fn is_served(status: &Value) -> bool {
    let attachments = status["attachments"].as_array().cloned().unwrap_or_default();
    attachments.len() >= 2 && attachments.iter().all(|it| it["active"] == true)
}

fn repairs(gateway: &Gateway) -> Result<u64> {
    gateway.ctl("status")?["repairs"]["count"].as_u64().context("repairs are counted")
}

/// Has the client of edge A open a flow to a service elsewhere.
fn open_flow(client: &Namespace, port: u16) -> Result<()> {
    client.run(|| -> Result<()> {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?.send_to(b"anybody?", DNS.at(53))?;
        Ok(())
    })?
}

fn run(namespace: &Namespace, program: &str, words: &[&str]) -> Result<String> {
    let output = namespace.output(Command::new(program).args(words), BOUND)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {words:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What traffic control calls on a device's ingress, by links (of which Debian 12's bpftool knows nothing)
/// and filters, and its XDP program.
fn programs_on(namespace: &Namespace, device: &str) -> Result<String> {
    let links = namespace.run(|| {
        let found = SchedClassifier::query_tcx(device, TcAttachType::Ingress);
        let programs = found.map(|(_, programs)| programs).unwrap_or_default();
        programs.iter().filter_map(|it| it.name_as_str().map(str::to_owned)).collect::<Vec<_>>()
    })?;
    let filters = run(namespace, "tc", &["filter", "show", "dev", device, "ingress"])?;
    let device = namespace.ip(&format!("-d link show dev {device}"))?;
    Ok(format!("{links:?}\n{filters}\nxdp: {}", device.contains("prog/xdp")))
}

/// Takes a program off an interface whatever pins its link; of a filter, the filter.
fn take_away(gateway: &Gateway, interface: &str, program: &str) -> Result<()> {
    let links = pins(gateway.instance()).join(format!("v{ABI}/links"));
    for entry in fs::read_dir(&links)? {
        let directory = entry?.path();
        if !directory.to_string_lossy().ends_with(&format!(",{interface}")) {
            continue;
        }
        let pin = directory.join(program);
        if pin.exists() {
            let id = FdLink::from(PinnedLink::from_pin(&pin)?).info()?.id().to_string();
            run(gateway.namespace(), "bpftool", &["link", "detach", "id", &id])?;
        } else {
            run(gateway.namespace(), "tc", &["filter", "del", "dev", interface, "ingress"])?;
        }
        return Ok(());
    }
    bail!("nothing is pinned for {interface}")
}

#[test]
fn programs_that_somebody_takes_away_are_put_back() -> Result<()> {
    let choices = Choices { mode: "xdp", ..Choices::default() };
    with(choices, true, |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        ensure!(repairs(gateway)? == 0);
        let link = gateway.instance().to_owned();
        let places = [("lan0", "guard"), ("lan0", "lan_ingress"), (&link, "link_ingress")];
        for (number, (interface, program)) in (1..).zip(places) {
            take_away(gateway, interface, program)?;
            wait_for(format!("{program} to be put back"), BOUND, || {
                Ok(repairs(gateway)? >= number && is_served(&gateway.ctl("status")?))
            })?;
            let status = gateway.ctl("status")?;
            let last = status["repairs"]["last"].as_str().unwrap_or_default();
            ensure!(last.contains(program) && last.contains(interface), "{status}");
            ensure!(status["generation"] == 1, "the tables were in force all the time: {status}");
        }
        Ok(())
    })
}

#[test]
fn pins_that_somebody_removes_are_made_again_and_no_flow_is_lost() -> Result<()> {
    with(Choices::default(), true, |lab| {
        let (site, before) = (lab.site(&EDGE_A), lab.site(&EDGE_A).gateway.ctl("status")?);
        open_flow(&site.client, 40053)?;
        wait_for("the flow", BOUND, || Ok(site.gateway.ctl("flow list")? != Value::Array(vec![])))?;
        fs::remove_dir_all(pins(site.gateway.instance()))?;
        wait_for("the pins to be there again", BOUND, || {
            Ok(pins(site.gateway.instance()).exists() && repairs(&site.gateway)? == 1)
        })?;
        let (status, flows) = (site.gateway.ctl("status")?, site.gateway.ctl("flow list")?);
        ensure!(status["attachments"] == before["attachments"], "{before} became {status}");
        ensure!(status["generation"] == 1, "{status}");
        ensure!(flows[0]["client_port"] == 40053, "{flows}");
        Ok(())
    })
}

/// A daemon with a BPF file system of its own, which can be unmounted without harm to others.
struct Secluded<'a> {
    gateway: &'a Gateway,
    process: Process,
}

impl<'a> Secluded<'a> {
    /// Starts it and waits until it says that it is ready: its programs serve some time before it has
    /// written down what is in force.
    fn start(lab: &'a Lab, name: &str) -> Result<Self> {
        const SCRIPT: &str = "mount -t bpf bpf /sys/fs/bpf && exec \"$0\" --config \"$1\"";
        let gateway = &lab.site(&EDGE_A).gateway;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT])
            .arg(binaries::locate("gatewayd")?)
            .arg(gateway.site_file());
        let notices = lab.directory(&format!("{name}.notify"));
        command.env("NOTIFY_SOCKET", &notices);
        let notices = UnixDatagram::bind(notices)?;
        notices.set_nonblocking(true)?;
        let log = lab.directory(&format!("{name}.log"));
        let mut process = gateway.namespace().spawn("gatewayd", &mut command, &log)?;
        wait_unless_failed("the daemon to say that it is ready", BOUND, || {
            if let Some(status) = process.ended()? {
                bail!("it ended: {status}");
            }
            let mut notice = [0; 4096];
            let length = notices.recv(&mut notice).unwrap_or_default();
            Ok(String::from_utf8_lossy(&notice[..length]).lines().any(|line| line == "READY=1"))
        })
        .with_context(|| process.log_tail(25))?;
        Ok(Self { gateway, process })
    }

    /// What a program says in the daemon's mount namespace.
    fn run(&self, words: &[&str]) -> Result<String> {
        let pid = self.process.pid().to_string();
        let all = [&["--mount", "--target", &pid][..], words].concat();
        run(self.gateway.namespace(), "nsenter", &all)
    }

    fn ctl(&self, words: &[&str]) -> Result<Value> {
        let gatewayctl = binaries::locate("gatewayctl")?.display().to_string();
        let all = [&[&gatewayctl, "--instance", self.gateway.instance(), "-o", "json"][..], words];
        Ok(serde_json::from_str(&self.run(&all.concat())?)?)
    }

    fn wait_served(&self) -> Result<()> {
        wait_for("the gateway to serve", BOUND, || {
            Ok(self.ctl(&["status"]).is_ok_and(|status| is_served(&status)))
        })
        .with_context(|| self.process.log_tail(25))
    }
}

#[test]
fn an_unmounted_bpf_file_system_is_mounted_again_and_no_flow_is_lost() -> Result<()> {
    with(Choices::default(), false, |lab| {
        let secluded = Secluded::start(lab, "secluded")?;
        open_flow(&lab.site(&EDGE_A).client, 40054)?;
        wait_for("the flow", BOUND, || {
            Ok(secluded.ctl(&["flow", "list"])? != Value::Array(vec![]))
        })?;
        let before = secluded.ctl(&["status"])?;
        secluded.run(&["umount", "/sys/fs/bpf"])?;
        let on = programs_on(secluded.gateway.namespace(), "lan0")?;
        ensure!(on.contains("lan_ingress"), "the program went with its pin: {on}");
        secluded.wait_served()?;
        let (status, flows) = (secluded.ctl(&["status"])?, secluded.ctl(&["flow", "list"])?);
        ensure!(status["attachments"] == before["attachments"], "{before} became {status}");
        ensure!(status["repairs"]["count"] == 1 && status["generation"] == 1, "{status}");
        ensure!(flows[0]["client_port"] == 40054, "{flows}");
        Ok(())
    })
}

#[test]
fn a_start_without_the_pins_of_the_last_run_says_what_was_lost() -> Result<()> {
    with(Choices::default(), false, |lab| {
        let mut first = Secluded::start(lab, "first")?;
        // Its file system goes with it.
        first.process.kill()?;
        drop(first);
        let second = Secluded::start(lab, "second")?;
        second.wait_served()?;
        let log = second.process.log();
        ensure!(log.contains("flows and counters are lost"), "{log}");
        Ok(())
    })
}

#[test]
fn a_hardware_address_that_changes_is_followed() -> Result<()> {
    with(Choices::default(), true, |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        const NEW: &str = "02:00:00:00:00:99";
        gateway.namespace().ip(&format!("link set lan0 address {NEW}"))?;
        wait_for("the settings to have the new address", BOUND, || {
            let generation = gateway.ctl("status")?["generation"].clone();
            let settings = gateway.ctl("map dump settings")?;
            let settings = settings.as_array().cloned().unwrap_or_default();
            let in_force = settings.iter().find(|it| it["value"]["generation"] == generation);
            Ok(in_force.is_some_and(|it| it.to_string().contains(NEW)))
        })?;
        ensure!(is_served(&gateway.ctl("status")?));
        Ok(())
    })
}

#[test]
fn the_daemon_stays_up_without_its_lan_interface_and_status_says_so() -> Result<()> {
    with(Choices::default(), true, |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        gateway.namespace().ip("link del lan0")?;
        wait_for("the interface to be missed", BOUND, || {
            let status = gateway.ctl("status")?;
            let problems = status["problems"].as_array().cloned().unwrap_or_default();
            let told = problems.iter().any(|it| it.to_string().contains("interface lan0"));
            Ok(told && status["daemon"]["running"] == true)
        })
    })
}

#[test]
fn interfaces_made_anew_while_no_daemon_runs_are_served_at_the_next_start() -> Result<()> {
    with(Choices::default(), true, |lab| {
        let switch = lab.site(&EDGE_A).lan.name().to_owned();
        let gateway = lab.gateway(&EDGE_A);
        gateway.kill()?;
        let namespace = gateway.namespace();
        namespace.ip("link del lan0")?;
        namespace.ip(&format!("link add lan0 type veth peer name gateway netns {switch}"))?;
        namespace.ip("link set lan0 up")?;
        namespace.ip(&format!("link del {}", gateway.instance()))?;
        gateway.start()?;
        let status = gateway.ctl("status")?;
        ensure!(is_served(&status) && status["link"]["up"] == true, "{status}");
        ensure!(status["generation"] == 2, "the tables name the new interfaces: {status}");
        let attachments = status["attachments"].as_array().context("a list")?;
        ensure!(attachments.len() == 2, "nothing is left of the old ones: {status}");
        Ok(())
    })
}

/// The site file of another instance beside `gateway`.
fn beside(gateway: &Gateway, lan: &str, link: &str) -> Result<(String, PathBuf)> {
    let (name, other) = (gateway.instance(), format!("{}-b", gateway.instance()));
    let text = fs::read_to_string(gateway.site_file())?
        .replace(&format!("instance = \"{name}\""), &format!("instance = \"{other}\""))
        .replace(&format!("interface = \"{name}\""), &format!("interface = \"{link}\""))
        .replace("interface = \"lan0\"", &format!("interface = \"{lan}\""));
    let file = gateway.site_file().with_file_name(format!("{other}-{lan}-{link}.toml"));
    fs::write(&file, text)?;
    Ok((other, file))
}

#[test]
fn an_interface_of_another_instance_is_refused_with_its_name() -> Result<()> {
    with(Choices::default(), true, |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        let link = gateway.instance().to_owned();
        let before = gateway.ctl("status")?;
        for (lan, link, named) in [("lan0", "other", "lan0"), ("wan0", link.as_str(), &link)] {
            let (other, file) = beside(gateway, lan, link)?;
            let refused = gateway.try_site_file(&file, BOUND)?;
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            ensure!(refused.status.code() == Some(1), "{said}");
            ensure!(said.contains(&format!("interface {named} is served by instance")), "{said}");
            ensure!(said.contains(&format!("instance {} of", gateway.instance())), "{said}");
            ensure!(!pins(&other).exists() && !Path::new("/run/presence").join(&other).exists());
        }
        let after = gateway.ctl("status")?;
        ensure!(before["attachments"] == after["attachments"], "{before} became {after}");
        Ok(())
    })
}

/// One of them on an interface with a dot in its name, as VLANs have: the BPF file system has no such names.
#[test]
fn two_instances_in_one_namespace_live_side_by_side() -> Result<()> {
    with(Choices::default(), true, |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        let namespace = gateway.namespace();
        namespace.ip("link add lan1.7 type veth peer name lan1-peer")?;
        namespace.ip("link set lan1.7 up")?;
        let (other, file) = beside(gateway, "lan1.7", "other")?;
        let mut command = Command::new(binaries::locate("gatewayd")?);
        command.arg("--config").arg(&file);
        let mut second = namespace.spawn("gatewayd", &mut command, &lab.directory("other.log"))?;
        let ctl = |words: &str| -> Result<String> {
            let program = binaries::locate("gatewayctl")?.display().to_string();
            let words = format!("--instance {other} {words}");
            run(namespace, &program, &words.split_whitespace().collect::<Vec<_>>())
        };
        let served = || -> Result<bool> {
            let Ok(status) = ctl("-o json status") else { return Ok(false) };
            let status: Value = serde_json::from_str(&status)?;
            Ok(is_served(&status) && status["generation"] == 1)
        };
        wait_for("the other instance to serve", BOUND, served)
            .with_context(|| second.log_tail(25))?;
        let several =
            run(namespace, &binaries::locate("gatewayctl")?.display().to_string(), &["status"]);
        let said = format!("{:#}", several.err().context("which instance was not said")?);
        ensure!(said.contains("name one with --instance"), "{said}");
        ensure!(is_served(&gateway.ctl("status")?));

        second.kill()?;
        ctl("detach --yes")?;
        ensure!(!pins(&other).exists());
        let on = programs_on(namespace, "lan1.7")?;
        ensure!(!on.contains("lan_ingress"), "{on}");
        let devices = namespace.ip("-o link")?;
        ensure!(!devices.contains(": other:"), "{devices}");
        ensure!(is_served(&gateway.ctl("status")?), "the first one is untouched");
        Ok(())
    })
}

/// All that can be seen of a gateway on its host.
fn traces(gateway: &Gateway) -> Result<Vec<String>> {
    let namespace = gateway.namespace();
    let mut traces = Vec::new();
    let devices = namespace.ip("-o link")?;
    let names: Vec<&str> =
        devices.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next()).collect();
    for name in &names {
        traces.push(format!("device {name}"));
        traces.push(run(namespace, "tc", &["qdisc", "show", "dev", name])?);
        traces.push(programs_on(namespace, name)?);
    }
    traces.push(namespace.ip("rule show")?);
    traces.push(namespace.ip("route show table all")?);
    traces.push(namespace.ip("neigh show proxy")?);
    traces.push(format!("{:?}", namespace.pids()?));
    for place in ["/sys/fs/bpf/presence", "/run/presence", "/run/wireguard"] {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let own: Vec<String> = names.filter(|name| name.starts_with(gateway.instance())).collect();
        traces.push(format!("{place}: {own:?}"));
    }
    Ok(traces)
}

#[test]
fn a_detach_leaves_the_host_as_it_was() -> Result<()> {
    for mode in ["tc", "xdp"] {
        with(Choices { mode, ..Choices::default() }, false, |lab| {
            let gateway = lab.gateway(&EDGE_A);
            let before = traces(gateway)?;
            gateway.start()?;
            ensure!(traces(gateway)? != before);
            gateway.kill()?;
            let done = gateway.ctl_output("detach --yes")?;
            ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let after = traces(gateway)?;
            ensure!(after == before, "{before:#?} became {after:#?}");
            for place in ["/run/presence", "/run/wireguard", "/sys/fs/bpf/presence"] {
                let empty = fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none());
                ensure!(!empty, "{place} is there with nothing in it");
            }
            Ok(())
        })?;
    }
    Ok(())
}
