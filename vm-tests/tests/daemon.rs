//! `gatewayd` from start to end and `gatewayctl` beside it, on one gateway of a lab whose peers do
//! not answer: start, reload, restart, detach, and what can be seen with the daemon down.
#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::linux::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use vm_tests::lab::gateway::{Choices, Gateway, START_BOUND, Verdict};
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{CLIENT, CLOUD, DNS, ECHO, ECHO_PORT, EDGE_A, RABBITMQ, VISITOR};
use vm_tests::lab::traffic::Conversation;
use vm_tests::lab::wait::wait_for;
use vm_tests::lab::{Lab, binaries};

const BOUND: Duration = Duration::from_secs(20);

const VISITOR_RULE: &str = "\n[[allow]]\nid = \"visitor\"\nfrom = \"edge-a\"\n\
                            clients = [\"10.0.0.66/32\"]\nto = \"rabbitmq.cloud\"\n";

/// Runs `steps` with one gateway, edge A's, whose site file was changed by `edit`.
fn with(edit: &str, steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    let mut lab = Lab::network(LabName::unique(), Choices::default())?;
    append(lab.gateway(&EDGE_A), edit)?;
    let outcome = lab.gateway(&EDGE_A).start().and_then(|()| steps(&mut lab));
    let outcome = outcome.with_context(|| lab.site(&EDGE_A).gateway.log_tail());
    lab.down()?;
    outcome
}

fn append(gateway: &Gateway, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().append(true).open(gateway.site_file())?;
    Ok(file.write_all(text.as_bytes())?)
}

fn generation(gateway: &Gateway) -> Result<u64> {
    gateway.ctl("status")?["generation"].as_u64().context("a generation is a number")
}

fn rabbitmq() -> SocketAddrV4 {
    RABBITMQ.at(5672)
}

fn pid(gateway: &Gateway) -> Result<Pid> {
    let pid = gateway.ctl("status")?["daemon"]["pid"].as_i64().context("the daemon runs")?;
    Ok(Pid::from_raw(i32::try_from(pid)?))
}

/// Everything that is pinned for an instance, with what tells a pin from another of its name.
fn pins(gateway: &Gateway) -> Result<Vec<(PathBuf, u64)>> {
    let mut pins = Vec::new();
    let mut left = vec![Path::new("/sys/fs/bpf/presence").join(gateway.instance())];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else {
            let inode = fs::metadata(&path)?.st_ino();
            pins.push((path, inode));
        }
    }
    pins.sort();
    Ok(pins)
}

/// Pins of programs are replaced by a restart; maps and attachments stay.
fn lasting(pins: Vec<(PathBuf, u64)>) -> Vec<(PathBuf, u64)> {
    pins.into_iter().filter(|(path, _)| !path.iter().any(|part| part == "programs")).collect()
}

fn all_active(status: &Value) -> bool {
    let attachments = status["attachments"].as_array().cloned().unwrap_or_default();
    attachments.len() >= 2 && attachments.iter().all(|it| it["active"] == true)
}

#[test]
fn a_start_puts_the_site_file_in_force() -> Result<()> {
    with("", |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        let status = gateway.ctl("status")?;
        ensure!(status["site"] == "edge-a" && status["gateway"] == "edge-a-gw", "{status}");
        ensure!(status["generation"] == 1 && status["daemon"]["running"] == true, "{status}");
        ensure!(status["link"]["up"] == true && status["link"]["peers"] == 1, "{status}");
        ensure!(all_active(&status), "{status}");
        ensure!(status["attachments"][0]["why"] != "not recorded", "{status}");
        let presences = gateway.ctl("presence list")?;
        let rabbitmq = presences
            .as_array()
            .and_then(|all| all.iter().find(|it| it["address"] == RABBITMQ.address().to_string()));
        let rabbitmq = rabbitmq.with_context(|| format!("RABBITMQ is not in {presences}"))?;
        ensure!(rabbitmq["service"] == "rabbitmq.cloud" && rabbitmq["site"] == "cloud");
        ensure!(rabbitmq["link"] == gateway.instance(), "{rabbitmq}");
        let links = gateway.ctl("link list")?;
        ensure!(links[0]["site"] == "cloud" && links[0]["reaches"][0] == "edge-b", "{links}");
        Ok(())
    })
}

#[test]
fn every_answer_comes_as_table_and_as_json() -> Result<()> {
    with("", |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        let mut words = vec![
            "status".to_owned(),
            "link list".into(),
            "presence list".into(),
            "flow list".into(),
            "map list".into(),
            "counters --all".into(),
            "explain".into(),
            "trace --from 10.0.0.5 --to rabbitmq.cloud --port 5672".into(),
            "trace --from 10.0.0.5 --from-site cloud --to agent.edge-a --port 8080".into(),
            "map lookup presences4 8".into(),
            "map lookup allows4 240.0.8.1,240.0.16.5".into(),
            "map lookup counters no-policy".into(),
        ];
        let maps = gateway.ctl("map list")?;
        for map in maps.as_array().context("maps are a list")? {
            words.push(format!("map dump {}", map["name"].as_str().context("a name")?));
        }
        ensure!(words.len() > 20, "{words:?}");
        for words in words {
            gateway.ctl(&words)?;
            let table = gateway.ctl_output(&words)?;
            ensure!(table.status.success() && !table.stdout.is_empty(), "{words}: {table:?}");
        }
        Ok(())
    })
}

#[test]
fn a_reload_brings_the_new_file_in_force_and_the_same_file_nothing() -> Result<()> {
    with("", |lab| {
        let gateway = lab.gateway(&EDGE_A);
        let refused = Verdict::Refused { reason: "no-policy".into() };
        ensure!(gateway.trace(VISITOR, rabbitmq())? == refused);
        gateway.reload()?;
        ensure!(generation(gateway)? == 1, "a reload of the same file");
        append(gateway, VISITOR_RULE)?;
        gateway.reload()?;
        ensure!(generation(gateway)? == 2, "a reload of another file");
        let allowed = Verdict::Allowed { rule: "visitor".into() };
        ensure!(gateway.trace(VISITOR, rabbitmq())? == allowed);
        Ok(())
    })
}

#[test]
fn a_reload_with_faults_changes_nothing() -> Result<()> {
    with("", |lab| {
        let gateway = lab.gateway(&EDGE_A);
        let before = pins(gateway)?;
        let good = fs::read_to_string(gateway.site_file())?;
        for bad in [
            good.replace("presence = \"10.0.0.200\"", "presence = \"10.9.9.9\""),
            good.replace("interface = \"lan0\"", "interface = \"lan9\""),
            good.replace("link.key", "lost.key"),
            good.replace(&format!("\"{}\"\nkind", gateway.instance()), "\"wan0\"\nkind"),
            good.replace("capacity = 65536", "capacity = 1024"),
            good.replace("instance = \"", "instance = \"other-"),
            "no site file".into(),
        ] {
            ensure!(bad != good);
            fs::write(gateway.site_file(), bad)?;
            gateway.reload()?;
            ensure!(generation(gateway)? == 1);
            ensure!(pins(gateway)? == before);
        }
        gateway.namespace().ip("link show wan0").context("a device of somebody else's")?;
        fs::write(gateway.site_file(), good + VISITOR_RULE)?;
        gateway.reload()?;
        ensure!(generation(gateway)? == 2, "a good file after bad ones");
        Ok(())
    })
}

#[test]
fn a_reload_moves_what_is_attached() -> Result<()> {
    with("", |lab| {
        let gateway = lab.gateway(&EDGE_A);
        let good = fs::read_to_string(gateway.site_file())?;
        let (name, other) = (gateway.instance().to_owned(), format!("{}2", gateway.instance()));
        let programs = |gateway: &Gateway| -> Result<Vec<String>> {
            let status = gateway.ctl("status")?;
            ensure!(all_active(&status), "{status}");
            let all = status["attachments"].as_array().cloned().unwrap_or_default();
            let mut programs: Vec<String> = all
                .iter()
                .map(|it| format!("{} {}", it["interface"], it["program"]).replace('"', ""))
                .collect();
            programs.sort();
            Ok(programs)
        };
        let [lan, guard] = ["lan0 lan_ingress", "lan0 guard"].map(String::from);
        let link = |name: &str| format!("{name} link_ingress");
        ensure!(programs(gateway)? == [lan.clone(), link(&name)]);

        fs::write(gateway.site_file(), good.replace("mode = \"auto\"", "mode = \"xdp\""))?;
        gateway.reload()?;
        ensure!(programs(gateway)? == [guard, lan.clone(), link(&name)]);

        let renamed = good.replace(&format!("\"{name}\"\nkind"), &format!("\"{other}\"\nkind"));
        fs::write(gateway.site_file(), renamed)?;
        gateway.reload()?;
        ensure!(programs(gateway)? == [lan, link(&other)]);
        let devices = gateway.namespace().ip("-o link")?;
        ensure!(!devices.contains(&format!(": {name}:")), "{devices}");
        let trace = gateway.ctl("trace --from 10.0.0.5 --to rabbitmq.cloud --port 5672")?;
        ensure!(trace["egress"]["interface"] == other, "{trace}");
        Ok(())
    })
}

#[test]
fn one_daemon_an_instance() -> Result<()> {
    with("", |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        let second = gateway.try_site_file(&gateway.site_file(), BOUND)?;
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        ensure!(second.status.code() == Some(1), "{said}");
        ensure!(said.contains("runs it already") && said.contains(gateway.instance()), "{said}");
        ensure!(said.contains(&pid(gateway)?.to_string()), "{said}");
        Ok(())
    })
}

#[test]
fn a_daemon_killed_and_started_again_finds_everything_as_it_was() -> Result<()> {
    with("", |lab| {
        let gateway = lab.gateway(&EDGE_A);
        let before = lasting(pins(gateway)?);
        ensure!(before.iter().any(|(path, _)| path.ends_with("link_ingress")), "{before:?}");
        let device = gateway.namespace().ip(&format!("-o link show {}", gateway.instance()))?;
        gateway.kill()?;
        let status = gateway.ctl("status")?;
        ensure!(status["daemon"]["running"] == false && all_active(&status), "{status}");
        gateway.start()?;
        ensure!(generation(gateway)? == 1);
        ensure!(lasting(pins(gateway)?) == before, "maps and attachments are the same");
        let after = gateway.namespace().ip(&format!("-o link show {}", gateway.instance()))?;
        ensure!(index(&after) == index(&device), "{device} became {after}");
        Ok(())
    })
}

/// The index that a line of `ip -o link` begins with.
fn index(line: &str) -> Option<&str> {
    line.split_once(':').map(|(index, _)| index)
}

#[test]
fn a_daemon_told_to_end_leaves_the_data_path() -> Result<()> {
    with("", |lab| {
        let gateway = lab.gateway(&EDGE_A);
        let before = pins(gateway)?;
        kill(pid(gateway)?, Signal::SIGTERM)?;
        wait_for("the daemon to end", BOUND, || {
            Ok(gateway.ctl("status")?["daemon"]["running"] == false)
        })?;
        ensure!(pins(gateway)? == before);
        let allowed = Verdict::Allowed { rule: "edge-a-rabbitmq-cloud".into() };
        ensure!(gateway.trace(CLIENT, rabbitmq())? == allowed);
        let names = gateway.ctl("map dump names")?;
        ensure!(names.to_string().contains("rabbitmq.cloud"), "{names}");
        let entry = gateway.ctl("map lookup presences4 8")?;
        ensure!(entry[0]["value"]["kind"] == "service", "{entry}");
        Ok(())
    })
}

#[test]
fn detach_leaves_nothing_and_is_refused_while_the_daemon_runs() -> Result<()> {
    with("", |lab| {
        let gateway = lab.gateway(&EDGE_A);
        let refused = gateway.ctl_output("detach --yes")?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(1) && said.contains("stop it first"), "{said}");
        ensure!(all_active(&gateway.ctl("status")?));

        gateway.kill()?;
        let done = gateway.ctl_output("detach --yes")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for place in ["/sys/fs/bpf/presence", "/run/presence"] {
            ensure!(!Path::new(place).join(gateway.instance()).exists(), "{place}");
        }
        let devices = gateway.namespace().ip("-o link")?;
        ensure!(!devices.contains(&format!(": {}:", gateway.instance())), "{devices}");
        ensure!(!devices.contains("xdp"), "{devices}");
        ensure!(gateway.namespace().pids()?.is_empty(), "the link device's process lives on");
        let gone = gateway.ctl_output("status")?;
        let said = String::from_utf8_lossy(&gone.stderr).into_owned();
        ensure!(gone.status.code() == Some(1) && said.contains("no gateway data path"), "{said}");

        gateway.start()?;
        ensure!(generation(gateway)? == 1, "a start after a detach is a first start");
        Ok(())
    })
}

/// A conversation of edge A with the cloud, both of whose gateways lose everything and start again: what
/// becomes of its next line.
fn after_both_gateways_lost_their_flows(
    grace: &'static str,
    then: impl FnOnce(&Lab, Result<()>) -> Result<()>,
) -> Result<()> {
    let mut lab = Lab::up(LabName::unique(), Choices { grace, ..Choices::default() })?;
    let client = lab.site(&EDGE_A).client.clone();
    let steps = |lab: &mut Lab| {
        let mut conversation = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??;
        conversation.say("before", BOUND)?;
        for site in [&EDGE_A, &CLOUD] {
            lab.gateway(site).kill()?;
            let done = lab.gateway(site).ctl_output("detach --yes")?;
            ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        for site in [&CLOUD, &EDGE_A] {
            lab.gateway(site).start()?;
        }
        lab.gateway(&EDGE_A).wait_for_handshakes(START_BOUND)?;
        let said = conversation.say("after", BOUND);
        then(lab, said)
    };
    let outcome = steps(&mut lab).with_context(|| lab.logs());
    lab.down()?;
    outcome
}

#[test]
fn a_connection_outlives_the_flows_of_both_gateways_in_the_time_of_grace() -> Result<()> {
    after_both_gateways_lost_their_flows("1h", |lab, said| {
        said.context("the line after the flows were lost")?;
        for site in [&EDGE_A, &CLOUD] {
            let gateway = &lab.site(site).gateway;
            ensure!(gateway.ctl("status")?["grace"]["on"] == true);
            let flows = gateway.ctl("flow list")?;
            let echo = flows
                .as_array()
                .and_then(|all| all.iter().find(|it| it["service_port"] == ECHO_PORT));
            ensure!(echo.is_some_and(|it| it["state"] == "open"), "{}: {flows}", site.name);
        }
        Ok(())
    })
}

#[test]
fn a_connection_ends_with_its_flows_without_a_time_of_grace() -> Result<()> {
    after_both_gateways_lost_their_flows("0s", |lab, said| {
        ensure!(said.is_err(), "its next line was answered");
        let gateway = &lab.site(&EDGE_A).gateway;
        ensure!(gateway.ctl("status")?["grace"]["on"] == false);
        ensure!(gateway.refused("no-flow")? > 0);
        ensure!(lab.site(&CLOUD).gateway.refused("no-flow")? == 0, "it went through the link");
        Ok(())
    })
}

#[test]
fn the_time_of_grace_ends_and_a_restart_that_finds_its_flows_has_none() -> Result<()> {
    let edit = |gateway: &Gateway, from: &str, to: &str| -> Result<()> {
        let text = fs::read_to_string(gateway.site_file())?;
        let edited = text.replace(&format!("grace = \"{from}\""), &format!("grace = \"{to}\""));
        ensure!(edited != text, "{text}");
        Ok(fs::write(gateway.site_file(), edited)?)
    };
    let is_on =
        |gateway: &Gateway| Ok::<_, anyhow::Error>(gateway.ctl("status")?["grace"]["on"] == true);
    with("", |lab| {
        let gateway = lab.gateway(&EDGE_A);
        ensure!(!is_on(gateway)?, "a grace of 0s");
        edit(gateway, "0s", "1h")?;
        gateway.reload()?;
        ensure!(is_on(gateway)? && generation(gateway)? == 2, "it counts from the start");
        gateway.kill()?;
        ensure!(is_on(gateway)?);
        gateway.start()?;
        ensure!(!is_on(gateway)? && generation(gateway)? == 3, "flows of an earlier run are there");

        gateway.kill()?;
        let done = gateway.ctl_output("detach --yes")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let begun = Instant::now();
        gateway.start()?;
        ensure!(is_on(gateway)? && generation(gateway)? == 1, "there are no flows again");
        // However slow the start was, some of it is left to be waited for.
        edit(gateway, "1h", &format!("{}s", begun.elapsed().as_secs() + 5))?;
        gateway.reload()?;
        wait_for("the time of grace to end", START_BOUND, || Ok(!is_on(gateway)?))?;
        ensure!(generation(gateway)? == 2, "the tables are applied again");
        Ok(())
    })
}

#[test]
fn a_start_that_fails_leaves_nothing() -> Result<()> {
    let mut lab = Lab::network(LabName::unique(), Choices::default())?;
    let gateway = lab.gateway(&EDGE_A);
    let good = fs::read_to_string(gateway.site_file())?;
    // The LAN interface's name for the link device: found out only after the maps are made.
    let taken =
        good.replace(&format!("interface = \"{}\"", gateway.instance()), "interface = \"wan0\"");
    ensure!(taken != good);
    fs::write(gateway.site_file(), taken)?;
    let output = gateway.try_site_file(&gateway.site_file(), BOUND)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let left = vm_tests::lab::sweep::leftovers(lab.name())?;
    let instance = lab.site(&EDGE_A).gateway.instance().to_owned();
    lab.down()?;
    ensure!(output.status.code() == Some(1) && said.contains("wan0"), "{said}");
    ensure!(!left.iter().any(|it| it.ends_with(&instance)), "{left:?}");
    Ok(())
}

#[test]
fn a_trace_opens_no_flow() -> Result<()> {
    with("", |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        let opened = || -> Result<Value> {
            let counts = gateway.ctl("counters --all")?;
            let counts = counts.as_array().context("counters are a list")?;
            let opened = counts.iter().find(|count| count["label"] == "flows-opened");
            opened.cloned().context("flows that were opened are counted")
        };
        let before = opened()?;
        for _ in 0..3 {
            let allowed = Verdict::Allowed { rule: "edge-a-rabbitmq-cloud".into() };
            ensure!(gateway.trace(CLIENT, rabbitmq())? == allowed);
        }
        ensure!(gateway.ctl("flow list")? == Value::Array(Vec::new()));
        ensure!(opened()? == before);
        Ok(())
    })
}

#[test]
fn flows_are_listed_and_swept() -> Result<()> {
    with("\n[flows.timeouts]\ndatagram = \"2s\"\n", |lab| {
        let site = lab.site(&EDGE_A);
        let dns = DNS.at(53);
        site.client.run(|| -> Result<()> {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 40053))?.send_to(b"anybody?", dns)?;
            Ok(())
        })??;
        let mut seen = Value::Null;
        wait_for("the flow to be listed", BOUND, || {
            seen = site.gateway.ctl("flow list")?;
            Ok(seen != Value::Array(Vec::new()))
        })?;
        let flow = &seen[0];
        ensure!(flow["service"] == "dns.cloud" && flow["client_site"] == "edge-a", "{seen}");
        ensure!(flow["local_client"] == "10.0.0.5" && flow["client_port"] == 40053, "{seen}");
        ensure!(flow["state"] == "asked" && flow["packets_to_service"] == 1, "{seen}");
        let trace =
            "trace --from 10.0.0.5 --to dns.cloud --protocol udp --port 53 --from-port 40053";
        let known = site.gateway.ctl(trace)?;
        ensure!(known["flow"] == "known", "{known}");
        ensure!(known["rule"]["id"] == "edge-a-dns-cloud", "{known}");
        wait_for("the flow to be swept", BOUND, || {
            Ok(site.gateway.ctl("map dump opening4")? == Value::Array(Vec::new()))
        })
    })
}

#[test]
fn interfaces_that_come_back_are_served_again() -> Result<()> {
    with("", |lab| {
        let site = lab.site(&EDGE_A);
        let (gateway, namespace) = (&site.gateway, site.gateway.namespace());
        namespace.ip(&format!("link del {}", gateway.instance()))?;
        let served = || -> Result<bool> {
            let status = gateway.ctl("status")?;
            Ok(all_active(&status) && status["link"]["up"] == true)
        };
        wait_for("the link device to be made again", BOUND, served)?;

        namespace.ip("link del lan0")?;
        wait_for("the LAN interface to be missed", BOUND, || Ok(!served()?))?;
        let switch = site.lan.name();
        namespace.ip(&format!("link add lan0 type veth peer name gateway netns {switch}"))?;
        namespace.ip("link set lan0 up")?;
        wait_for("the LAN interface to be served again", BOUND, served)?;
        let lan0 = namespace.ip("-o link show lan0")?;
        let number: u64 = index(&lan0).context("an index")?.trim().parse()?;
        wait_for("the settings in force to name the new interface", BOUND, || {
            let current = generation(gateway)?;
            let settings = gateway.ctl("map dump settings")?;
            let in_force = settings
                .as_array()
                .and_then(|all| all.iter().find(|it| it["value"]["generation"] == current));
            Ok(in_force.is_some_and(|it| it["value"]["networks"][0]["interface"] == number))
        })?;
        let allowed = Verdict::Allowed { rule: "edge-a-rabbitmq-cloud".into() };
        ensure!(gateway.trace(CLIENT, rabbitmq())? == allowed);
        Ok(())
    })
}

#[test]
fn the_service_manager_is_told() -> Result<()> {
    let lab = Lab::network(LabName::unique(), Choices::default())?;
    let outcome = notices(&lab).with_context(|| lab.site(&EDGE_A).gateway.log_tail());
    lab.down()?;
    outcome
}

fn notices(lab: &Lab) -> Result<()> {
    let directory = lab.directory("notices");
    fs::create_dir(&directory)?;
    let socket = UnixDatagram::bind(directory.join("socket"))?;
    socket.set_nonblocking(true)?;
    let gateway = &lab.site(&EDGE_A).gateway;
    let mut command = Command::new(binaries::locate("gatewayd")?);
    command
        .arg("--config")
        .arg(gateway.site_file())
        .args(["--log-format", "json"])
        .env("NOTIFY_SOCKET", directory.join("socket"))
        .env("WATCHDOG_USEC", "200000");
    let mut daemon = gateway.namespace().spawn("gatewayd", &mut command, &directory.join("log"))?;
    let mut told = String::new();
    let mut expect = |what: &str| {
        wait_for(format!("the daemon to say {what}"), BOUND, || {
            let mut datagram = [0; 4096];
            while let Ok(length) = socket.recv(&mut datagram) {
                told.push_str(&String::from_utf8_lossy(&datagram[..length]));
            }
            let found = told.find(what);
            if let Some(at) = found {
                told.drain(..at + what.len());
            }
            Ok(found.is_some())
        })
    };
    expect("READY=1\n")?;
    expect("STATUS=site edge-a, generation 1, ")?;
    expect("WATCHDOG=1\n")?;
    expect("WATCHDOG=1\n")?;
    daemon.signal(Signal::SIGHUP)?;
    expect("RELOADING=1\nMONOTONIC_USEC=")?;
    expect("READY=1\n")?;
    daemon.signal(Signal::SIGTERM)?;
    expect("STOPPING=1\n")?;
    ensure!(daemon.wait(BOUND)?.success());
    let log = daemon.log();
    for line in log.lines() {
        serde_json::from_str::<Value>(line).with_context(|| format!("log line {line:?}"))?;
    }
    ensure!(log.contains("\"in force\""), "{log}");
    Ok(())
}
