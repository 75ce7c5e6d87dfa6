//! What `gatewayctl` says on a lab with traffic: traces from gateway to gateway, which change nothing,
//! flows chosen by filters, flows followed, and every answer in each form.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use vm_tests::lab::gateway::{Choices, Gateway};
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{CLOUD, ECHO, ECHO_PORT, EDGE_A, EDGE_B, SITES, SitePlan};
use vm_tests::lab::process::Process;
use vm_tests::lab::traffic::{Conversation, ask};
use vm_tests::lab::wait::{wait_for, wait_until};
use vm_tests::lab::{Lab, binaries};

const BOUND: Duration = Duration::from_secs(20);

fn with(choices: Choices, steps: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    let mut lab = Lab::network(LabName::unique(), choices)?;
    let outcome = lab
        .start_gateways()
        .and_then(|()| lab.start_servers())
        .and_then(|()| steps(&lab))
        .with_context(|| lab.logs());
    lab.down()?;
    outcome
}

fn converse(lab: &Lab, site: &SitePlan) -> Result<Conversation> {
    lab.site(site).client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))?
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("a list: {value}"))
}

/// Everything that packets change: flows, ports, quotas, fragments, and counts of packets but for those
/// that a LAN has of its own.
fn state(gateway: &Gateway) -> Result<Vec<Value>> {
    let maps = ["flows4", "opening4", "nats4", "opening_nats4", "usage4", "fragments4"];
    let mut state = Vec::new();
    for map in maps {
        state.push(gateway.ctl(&format!("map dump {map}"))?);
    }
    let counts = gateway.ctl("counters --all")?;
    let own = |count: &&Value| count["label"] != "passed" && count["label"] != "arp-answered";
    state.extend(list(&counts)?.iter().filter(own).cloned());
    Ok(state)
}

/// Packets of a client at edge A, and what becomes of each there: a counter's label.
const PACKETS: [(&str, &str); 19] = [
    ("--from 10.0.0.5 --to echo.cloud --port 7007", "to-link"),
    ("--from 10.0.0.5 --to 10.0.0.203 --port 7007 --size 3000", "to-link"),
    ("--from 10.0.0.5 --to 10.0.0.203 --port 7007 --size 3000 --dont-fragment", "too-big"),
    ("--from 10.0.0.5 --to echo.cloud --protocol udp --port 7007 --size 100 --ttl 5", "to-link"),
    ("--from 10.0.0.5 --to echo.cloud --protocol udp --port 7007 --fragment first", "to-link"),
    ("--from 10.0.0.5 --to files.cloud --port 80", "to-link"),
    ("--from 10.0.0.5 --to files.cloud --protocol icmp --from-port 77 --size 56", "to-link"),
    ("--from 10.0.0.5 --to agent.edge-b --port 8080", "to-link"),
    ("--from 10.0.0.5 --to agent.edge-b --protocol icmp", "to-link"),
    ("--from 10.0.0.5 --to echo.cloud --protocol udp --fragment later", "fragment-unknown"),
    ("--from 10.0.0.66 --to echo.cloud --port 7007", "no-policy"),
    ("--from 10.0.0.5 --to echo.cloud --port 7008", "port-not-served"),
    ("--from 10.0.0.5 --to echo.cloud --protocol 47", "port-not-served"),
    ("--from 10.0.0.5 --to echo.cloud --port 7007 --flags rst", "no-flow"),
    ("--from 10.0.0.5 --to echo.cloud --port 7007 --ttl 1", "ttl-expired"),
    ("--from 10.0.0.5 --to 10.0.0.199 --port 1", "no-presence"),
    ("--from 172.16.0.1 --to echo.cloud --port 7007", "not-a-client"),
    ("--from 10.0.0.10 --to 10.0.0.250 --port 4000", "not-a-reply"),
    ("--from 10.0.0.5 --to 10.0.0.1 --port 22", "passed"),
];

#[test]
fn packets_are_traced_from_gateway_to_gateway_and_nothing_changes() -> Result<()> {
    for mode in ["tc", "xdp"] {
        with(Choices { mode, ..Choices::default() }, |lab| trace_them(lab, mode))?;
    }
    Ok(())
}

fn trace_them(lab: &Lab, mode: &str) -> Result<()> {
    let mut conversation = converse(lab, &EDGE_A)?;
    conversation.say("once", BOUND)?;
    let gateway = |site: &SitePlan| &lab.site(site).gateway;
    let flows = gateway(&EDGE_A).ctl("flow list --service echo.cloud --state open")?;
    let port = flows[0]["client_port"].as_u64().with_context(|| format!("a flow: {flows}"))?;
    let before = SITES.map(|site| state(gateway(site)));
    for (words, expected) in PACKETS {
        let traced = gateway(&EDGE_A).ctl(&format!("trace {words}"))?;
        ensure!(traced["counter"] == expected, "{words}: {traced}");
        ensure!(traced["note"].is_null(), "{words}: {traced}");
        let hops = list(&traced["hops"])?;
        let refused = !traced["reason"].is_null();
        // What only `lan_ingress` knows, or answers by an ICMP error.
        let is_left =
            words.contains("--fragment") || ["too-big", "ttl-expired"].contains(&expected);
        let by_guard = mode == "xdp" && refused && !is_left;
        let first = if mode == "xdp" { "guard" } else { "lan_ingress" };
        ensure!(hops[0]["program"] == first && !hops[0]["hook"].is_null(), "{words}: {traced}");
        let last_program = if by_guard { "guard" } else { "lan_ingress" };
        let programs: Vec<&Value> = hops.iter().filter(|hop| hop["hop"] == "program").collect();
        ensure!(programs.last().context("one")?["program"] == last_program, "{words}: {traced}");
        for hop in hops.iter().filter(|hop| hop["hop"] == "gateway") {
            follow_on(lab, hop).with_context(|| format!("{words}: {hop}"))?;
        }
        ensure!((expected == "to-link") == (hops.len() > programs.len()), "{words}: {traced}");
        if refused {
            ensure!(traced["reason"]["label"] == expected, "{words}: {traced}");
            ensure!(traced["reason"]["remedy"].as_str().is_some_and(|it| it.len() > 10));
        }
    }
    let known =
        format!("trace --from 10.0.0.5 --to echo.cloud --port 7007 --from-port {port} --flags");
    for (flags, is_known) in [("ack", true), ("syn", true), ("fin,ack", true)] {
        let traced = gateway(&EDGE_A).ctl(&format!("{known} {flags}"))?;
        ensure!((traced["flow"] == "known") == is_known, "{flags}: {traced}");
        ensure!(traced["rule"]["id"] == "edge-a-echo-cloud", "{flags}: {traced}");
        follow_on(lab, list(&traced["hops"])?.last().context("a hop")?)?;
    }
    for (site, before) in SITES.into_iter().zip(before) {
        let after = state(gateway(site))?;
        for (before, after) in before?.into_iter().zip(after) {
            ensure!(after == before, "{}: {before} became {after}", site.name);
        }
    }
    conversation.say("still here", BOUND)?;
    let yaml =
        gateway(&EDGE_A).ctl_output("-o yaml trace --from 10.0.0.5 --to echo.cloud --port 7007")?;
    let yaml = String::from_utf8(yaml.stdout)?;
    ensure!(yaml.contains("\nverdict: forward\n") && yaml.contains("\nhops:\n"), "{yaml}");
    Ok(())
}

/// Asks the gateway that gets a packet next, with the very words of the trace before.
fn follow_on(lab: &Lab, hop: &Value) -> Result<()> {
    let site = SITES.into_iter().find(|site| hop["site"] == site.name).context("a site")?;
    let words = hop["trace"].as_str().context("words")?;
    let words = words.strip_prefix("gatewayctl ").context("a command")?;
    let there = lab.site(site).gateway.ctl(words)?;
    ensure!(there["packet"] == hop["packet"], "what was to arrive is what is traced: {there}");
    ensure!(there["verdict"] == "forward" && there["note"].is_null(), "{there}");
    let hops = list(&there["hops"])?;
    ensure!(hops[0]["program"] == "link_ingress" && hops[0]["hook"] != Value::Null, "{there}");
    let last = hops.last().context("a hop")?;
    ensure!(last["hop"] == "gateway" || last["packet"]["destination"] == "10.0.0.10", "{there}");
    Ok(())
}

#[test]
fn flows_are_chosen_by_filters() -> Result<()> {
    with(Choices::default(), |lab| {
        let mut open = converse(lab, &EDGE_A)?;
        open.say("hello", BOUND)?;
        let others = converse(lab, &EDGE_B)?;
        lab.site(&EDGE_A).client.run(|| ask(ECHO.at(ECHO_PORT), "datagram", BOUND))??;
        let cloud = &lab.site(&CLOUD).gateway;
        let chosen = |words: &str| -> Result<BTreeSet<String>> {
            let flows = cloud.ctl(&format!("flow list {words}"))?;
            let named = |flow: &Value| format!("{} {}", flow["client_site"], flow["protocol"]);
            Ok(list(&flows)?.iter().map(|flow| named(flow).replace('"', "")).collect())
        };
        let (a, b, datagram) = ("edge-a tcp", "edge-b tcp", "edge-a udp");
        let cases: [(&str, &[&str]); 12] = [
            ("", &[a, b, datagram]),
            ("--service echo.cloud", &[a, b, datagram]),
            ("--service dns.cloud", &[]),
            ("--site edge-b", &[b]),
            ("--site edge-a --protocol tcp", &[a]),
            ("--protocol udp", &[datagram]),
            ("--client 240.0.32.0/20", &[b]),
            ("--client 10.0.0.250", &[a, b, datagram]),
            ("--port 7007", &[a, b, datagram]),
            ("--port 80-90", &[]),
            ("--state open", &[a, b]),
            ("--state answered,closed", &[datagram]),
        ];
        for (words, expected) in cases {
            let found = chosen(words)?;
            let expected = expected.iter().map(|it| (*it).to_owned()).collect();
            ensure!(found == expected, "{words}: {found:?}");
        }
        ensure!(list(&cloud.ctl("flow list --limit 1")?)?.len() == 1);
        for (words, parts) in [
            ("flow list --service web.cloud", ["--service web.cloud", "echo.cloud"]),
            ("flow list --site moon", ["--site moon", "edge-b"]),
            ("flow list --follow --site moon", ["--site moon", "edge-b"]),
            ("trace --from 10.0.0.5 --to web.cloud --port 1", ["--to web.cloud", "agent.edge-a"]),
        ] {
            let output = cloud.ctl_output(words)?;
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() == Some(2), "{words}: {output:?}");
            ensure!(parts.iter().all(|part| error.contains(part)), "{words}: {error}");
        }
        drop((open, others));
        Ok(())
    })
}

/// The commands that answer, but for those that follow.
const ANSWERS: [&str; 12] = [
    "status",
    "link list",
    "presence list",
    "backend list",
    "flow list",
    "map list",
    "map dump routes4",
    "map lookup services4 240.0.8.3",
    "trace --from 10.0.0.5 --to files.cloud --port 80",
    "explain",
    "explain no-policy",
    "counters --all",
];

#[test]
fn every_answer_is_a_table_json_and_yaml_of_the_same_fields() -> Result<()> {
    with(Choices::default(), |lab| {
        let _open = converse(lab, &EDGE_A)?;
        let gateway = &lab.site(&EDGE_A).gateway;
        for words in ANSWERS {
            let said = |form: &str| -> Result<String> {
                let output = gateway.ctl_output(&format!("{words} -o {form}"))?;
                ensure!(output.status.success() && output.stderr.is_empty(), "{words}: {output:?}");
                Ok(String::from_utf8(output.stdout)?)
            };
            let json: Value = serde_json::from_str(&said("json")?).context(words)?;
            let yaml: Value = yaml_serde::from_str(&said("yaml")?).context(words)?;
            ensure!(!json.is_null() && fields(&json) == fields(&yaml), "{words}: {json} {yaml}");
            let table = said("table")?;
            ensure!(table.ends_with('\n') && table.lines().count() > 1, "{words}: {table}");
            ensure!(table.lines().all(|line| line == line.trim_end()), "{words}: {table}");
        }
        Ok(())
    })
}

/// The names of all fields: what is counted changes from one answer to the next.
fn fields(value: &Value) -> BTreeSet<String> {
    let inner = |name: &str, value: &Value| {
        let own = (!name.is_empty()).then(|| name.to_owned());
        let below = fields(value).into_iter().map(|field| format!("{name}.{field}"));
        own.into_iter().chain(below).collect::<Vec<_>>()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(name, it)| inner(name, it)).collect(),
        Value::Array(items) => items.iter().flat_map(|it| inner("", it)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => BTreeSet::new(),
    }
}

/// `gatewayctl flow list --follow` at a gateway, with its output in a file.
fn following(lab: &Lab, words: &str, log: &Path) -> Result<Process> {
    let gateway = &lab.site(&EDGE_A).gateway;
    let mut command = Command::new(binaries::locate("gatewayctl")?);
    command.args(["--instance", gateway.instance(), "flow", "list", "--follow"]);
    command.args(["--interval", "100ms"]).args(words.split_whitespace());
    gateway.namespace().spawn("gatewayctl", &mut command, log)
}

#[test]
fn flows_are_followed_from_opening_to_end() -> Result<()> {
    with(Choices::default(), |lab| {
        let log = lab.directory("follow.json");
        let mut process = following(lab, "-o json --service echo.cloud --protocol tcp", &log)?;
        let events = |process: &Process| -> Result<Vec<Value>> {
            let log = process.log();
            let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
            whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
        };
        let of = |process: &Process, event: &str| -> Result<Option<Value>> {
            Ok(events(process)?.into_iter().find(|it| it["event"] == event))
        };
        // What is there at its first look is no event, so connections are made until one is.
        let mut open = Vec::new();
        let opened = wait_until("a flow to be opened", BOUND, || {
            open.push(converse(lab, &EDGE_A)?);
            of(&process, "opened")
        })?;
        ensure!(opened["service"] == "echo.cloud" && opened["protocol"] == "tcp", "{opened}");
        ensure!(opened["unix_milliseconds"].as_u64().is_some_and(|at| at > 1_600_000_000_000));
        wait_for("a flow to be confirmed", BOUND, || Ok(of(&process, "confirmed")?.is_some()))?;
        drop(open);
        let closed = wait_until("a flow to be closed", BOUND, || of(&process, "closed"))?;
        for bytes in ["bytes_to_service", "bytes_to_client"] {
            ensure!(closed[bytes].as_u64().is_some_and(|count| count > 100), "{closed}");
        }
        lab.site(&EDGE_A).client.run(|| ask(ECHO.at(ECHO_PORT), "not asked for", BOUND))??;
        process.signal(Signal::SIGINT)?;
        let status = process.wait(BOUND)?;
        ensure!(status.code() == Some(0), "{status}: {}", process.log());
        ensure!(events(&process)?.iter().all(|it| it["protocol"] == "tcp"), "{}", process.log());

        let mut process = following(lab, "--limit 2", &lab.directory("follow.txt"))?;
        let mut open = Vec::new();
        wait_for("the limit to be reached", BOUND, || {
            open.push(converse(lab, &EDGE_A)?);
            Ok(process.ended()?.is_some())
        })?;
        let (status, log) = (process.wait(BOUND)?, process.log());
        ensure!(status.code() == Some(0) && log.lines().count() == 3, "{status}: {log}");
        ensure!(log.starts_with("TIME ") && log.contains("  opened  "), "{log}");

        let mut process = following(lab, "-o yaml --limit 1", &lab.directory("follow.yaml"))?;
        wait_for("the limit to be reached", BOUND, || {
            open.push(converse(lab, &EDGE_A)?);
            Ok(process.ended()?.is_some())
        })?;
        let log = process.log();
        ensure!(log.starts_with("---\n") && log.contains("\nevent: opened\n"), "{log}");
        nobody_reads(lab)
    })
}

/// Whoever reads no more ends it, whether it has anything to say or not.
fn nobody_reads(lab: &Lab) -> Result<()> {
    let gateway = &lab.site(&EDGE_A).gateway;
    let mut command = Command::new(binaries::locate("gatewayctl")?);
    command.args(["--instance", gateway.instance(), "flow", "list", "--follow"]);
    command.args(["-o", "json", "--site", "edge-b"]).stdout(Stdio::piped());
    let mut child = gateway.namespace().run(|| command.spawn())??;
    drop(child.stdout.take());
    let status = wait_until("it to see that nobody reads", BOUND, || Ok(child.try_wait()?));
    if status.is_err() {
        child.kill()?;
        child.wait()?;
    }
    ensure!(status?.code() == Some(0));
    Ok(())
}
