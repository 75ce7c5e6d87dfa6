//! What a lab must show, on traffic alone: the demo, the tests on the host and those in the guests
//! run the same scenarios. Each gives a line saying what was seen.
//!
//! They use the lab's own servers and clients and `ping`, so that a guest needs nothing more.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Lab;
use super::gateway::{Build, START_BOUND, Verdict};
use super::namespace::Namespace;
use super::plan::{
    AGENT_A, AGENT_B, CLIENT_PRESENCE, CLOUD, ECHO, ECHO_PORT, EDGE_A, EDGE_B, FILES, FILES_PORT,
    GATEWAY, HTTP_PORT, Rule, SITES, ServicePlan, SitePlan, VISITOR,
};
use super::traffic::{self, Body, Conversation, Download};
use super::wait::wait_unless_failed;

/// How long a refused client may be left without an answer before that counts as a refusal.
const REFUSAL_BOUND: Duration = Duration::from_secs(2);
const ANSWER_BOUND: Duration = Duration::from_secs(10);
const VISITOR_RULE: &str = "edge-a-visitor";

/// The cloud calls an agent in edge A and another in edge B that have the same real address.
pub fn cloud_calls_both_agents(lab: &Lab) -> Result<String> {
    let client = &lab.site(&CLOUD).client;
    let a = fetch(client, &AGENT_A, HTTP_PORT, EDGE_A.name)?;
    let b = fetch(client, &AGENT_B, HTTP_PORT, EDGE_B.name)?;
    Ok(format!("{} said {a:?}, {} said {b:?}", AGENT_A.address(), AGENT_B.address()))
}

/// Edge A calls edge B, with which it has no link, through the hub.
pub fn edge_calls_edge(lab: &Lab) -> Result<String> {
    let said = fetch(&lab.site(&EDGE_A).client, &AGENT_B, HTTP_PORT, EDGE_B.name)?;
    Ok(format!("{} said {said:?}", AGENT_B.address()))
}

/// Both edges call the cloud's HTTP server under the port it is exposed under.
pub fn edges_call_cloud(lab: &Lab) -> Result<String> {
    let a = fetch(&lab.site(&EDGE_A).client, &FILES, FILES_PORT, CLOUD.name)?;
    let b = fetch(&lab.site(&EDGE_B).client, &FILES, FILES_PORT, CLOUD.name)?;
    Ok(format!("to edge A it said {a:?}, to edge B {b:?}"))
}

/// Pings presences: an edge the cloud, the cloud an edge, an edge the other.
pub fn pings(lab: &Lab) -> Result<String> {
    for (from, service) in [
        (&EDGE_A, &FILES),
        (&EDGE_B, &FILES),
        (&CLOUD, &AGENT_A),
        (&CLOUD, &AGENT_B),
        (&EDGE_A, &AGENT_B),
    ] {
        Lab::ping(&lab.site(from).client, service.address())
            .with_context(|| format!("from {}", from.name))?;
    }
    Ok("edge to cloud, cloud to edge, edge to edge: all answered".to_owned())
}

/// UDP to the cloud's echo server from both edges, and from edge to edge.
pub fn datagrams(lab: &Lab) -> Result<String> {
    for (from, service, name) in
        [(&EDGE_A, &ECHO, "cloud"), (&EDGE_B, &ECHO, "cloud"), (&EDGE_A, &AGENT_B, "edge-b")]
    {
        let client = &lab.site(from).client;
        let answer =
            client.run(|| traffic::ask(service.at(ECHO_PORT), "hello", ANSWER_BOUND))??;
        ensure!(answer.ends_with(" hello"), "the answer to {} is {answer:?}", from.name);
        seen_as_local(&answer, name)?;
    }
    Ok("every datagram came back".to_owned())
}

/// UDP datagrams of 8 kB, six fragments each way, likewise; and what edge A's gateway shows of them.
pub fn large_datagrams(lab: &Lab) -> Result<String> {
    const FRAGMENTS: u64 = 6;
    let text = "fragment ".repeat(889);
    for (from, service, name) in
        [(&EDGE_A, &ECHO, "cloud"), (&EDGE_B, &ECHO, "cloud"), (&EDGE_A, &AGENT_B, "edge-b")]
    {
        let client = &lab.site(from).client;
        let answer = client.run(|| traffic::ask(service.at(ECHO_PORT), &text, ANSWER_BOUND))??;
        ensure!(
            answer.ends_with(&text),
            "the answer to {} has {} octets, not the {} sent",
            from.name,
            answer.len(),
            text.len()
        );
        seen_as_local(&answer, name)?;
    }
    let gateway = &lab.site(&EDGE_A).gateway;
    let flows = gateway.ctl("flow list")?;
    let is_it = |row: &&Value| {
        let [there, back] = ["packets_to_service", "packets_to_client"].map(|it| row[it].as_u64());
        row["service"] == ECHO.reference() && there >= Some(FRAGMENTS) && back >= Some(FRAGMENTS)
    };
    let flow = flows.as_array().and_then(|rows| rows.iter().find(is_it));
    let flow = flow.with_context(|| format!("no flow carried that many fragments: {flows}"))?;
    for reason in ["fragment", "fragment-unknown", "fragment-overlap", "fragment-scattered"] {
        let count = gateway.refused(reason)?;
        ensure!(count == 0, "edge A counted {count} as {reason}");
    }
    Ok(format!(
        "each datagram of {} octets came back whole; `gatewayctl flow list` at edge A: {} packets of \
         port {} there, {} back, none refused",
        text.len(),
        flow["packets_to_service"],
        flow["client_port"],
        flow["packets_to_client"],
    ))
}

/// A download with checksum from the cloud to edge A.
pub fn download(lab: &Lab, bytes: u64) -> Result<String> {
    let digest = begin_download(lab, bytes)?.finish()?;
    must_match(&digest, bytes)?;
    Ok(format!("{bytes} bytes, sha256 {}... as it must be", &digest[..16]))
}

/// A download with checksum from edge B to edge A, through the hub.
pub fn download_between_edges(lab: &Lab, bytes: u64) -> Result<String> {
    let (client, path) = (&lab.site(&EDGE_A).client, format!("/bytes/{bytes}"));
    let download = client.run(|| Download::open(AGENT_B.at(HTTP_PORT), &path))??;
    must_match(&download.finish()?, bytes)?;
    Ok(format!("{bytes} bytes, checksum right"))
}

/// A host that no rule names gets no answer, over TCP, UDP or ping.
pub fn visitor_is_refused(lab: &Lab) -> Result<String> {
    let visitor = &lab.site(&EDGE_A).visitor;
    must_be_refused(visitor, FILES.at(FILES_PORT))?;
    must_be_refused(visitor, AGENT_B.at(HTTP_PORT))?;
    let echo = ECHO.at(ECHO_PORT);
    let answer = visitor.run(|| traffic::ask(echo, "hello", Duration::from_secs(1)))?;
    ensure!(answer.is_err(), "{VISITOR} got {answer:?} from {echo}");
    ensure!(Lab::ping(visitor, FILES.address()).is_err(), "{VISITOR} can ping {}", FILES.address());
    let reason = must_trace_refused(lab)?;
    Ok(format!("{VISITOR} got no answer over TCP, UDP or ping; trace says {reason}"))
}

/// A rule for the visitor is added and lets it in; it is removed again, and the connection made
/// meanwhile stops at its next packet, while others live on.
pub fn rule_added_and_removed(lab: &mut Lab) -> Result<[String; 2]> {
    let mut bystander = converse(&lab.site(&EDGE_A).client)?;
    lab.allow(Rule::new(VISITOR_RULE, &EDGE_A, VISITOR, &ECHO))?;
    let mut live = converse(&lab.site(&EDGE_A).visitor).context("with the rule added")?;
    live.say("allowed", ANSWER_BOUND)?;
    let traced = lab.site(&EDGE_A).gateway.trace(VISITOR, ECHO.at(ECHO_PORT))?;
    ensure!(traced == Verdict::Allowed { rule: VISITOR_RULE.to_owned() }, "trace says {traced:?}");
    let added =
        format!("{VISITOR} got through: {:?}; trace says rule {VISITOR_RULE}", live.greeting());

    lab.forbid(VISITOR_RULE)?;
    if live.say("no longer allowed", REFUSAL_BOUND).is_ok() {
        bail!("the live connection of {VISITOR} goes on although its rule is gone");
    }
    must_be_refused(&lab.site(&EDGE_A).visitor, ECHO.at(ECHO_PORT))?;
    bystander.say("still allowed", ANSWER_BOUND).context("a connection that is allowed")?;
    let reason = must_trace_refused(lab)?;
    let removed = format!(
        "its live connection stopped at the next packet, another client's lives on; trace says \
         {reason}"
    );
    Ok([added, removed])
}

/// Every `gatewayd` is killed with SIGKILL in the middle of a download: it finishes, and new
/// connections are made.
pub fn killed_in_a_download(lab: &mut Lab, bytes: u64) -> Result<String> {
    let mut download = begin_download(lab, bytes)?;
    let before = download.read_to(bytes / 3)?;
    for site in SITES {
        lab.gateway(site).kill()?;
    }
    must_match(&download.finish()?, bytes)?;
    edges_call_cloud(lab).context("a new connection with no gatewayd alive")?;
    edge_calls_edge(lab).context("a new connection through the hub with no gatewayd alive")?;
    Ok(format!(
        "killed all three after {before} bytes; the rest of the {bytes} came, checksum right, \
         and new connections were made"
    ))
}

/// Every `gatewayd`, killed before, is started again while a download runs: nothing changes for
/// it, nor for a connection that was there before.
pub fn started_in_a_download(lab: &mut Lab, bytes: u64) -> Result<String> {
    let mut conversation = converse(&lab.site(&EDGE_B).client)?;
    let mut download = begin_download(lab, bytes)?;
    let before = download.read_to(bytes / 10)?;
    for site in SITES {
        lab.gateway(site).launch()?;
    }
    // The last tenth is left for after the start, so that the download spans it.
    let (step, most) = (bytes / 200, bytes / 10 * 9);
    let (mut ready, mut received) = ([false; SITES.len()], before);
    wait_unless_failed("the gateways to be ready again", START_BOUND, || {
        received = download.read_to((received + step).min(most))?;
        for (site, ready) in SITES.into_iter().zip(&mut ready) {
            *ready = *ready || lab.gateway(site).readiness()?;
        }
        Ok(ready.iter().all(|ready| *ready))
    })?;
    lab.wait_told()?;
    must_match(&download.finish()?, bytes)?;
    conversation.say("still here", ANSWER_BOUND).context("a connection older than the start")?;
    edges_call_cloud(lab).context("a new connection after the start")?;
    Ok(format!(
        "started all three after {before} bytes, ready by {received}; all {bytes} came, checksum \
         right"
    ))
}

/// Every gateway is upgraded, one after the other, to a build with another map ABI while a download
/// runs: the download and an older connection go on, and the flow table is the new build's, with the
/// download's flow as it was at either end.
pub fn upgraded_in_a_download(lab: &mut Lab, bytes: u64) -> Result<String> {
    let mut conversation = converse(&lab.site(&EDGE_B).client)?;
    let mut download = begin_download(lab, bytes)?;
    let before = download.read_to(bytes / 10)?;
    let port = download.port()?;
    let (from, flows) = (abi(lab)?, carrying(lab, port)?);
    // The last tenth is left for after the upgrade, so that the download spans it.
    let (step, most) = (bytes / 400, bytes / 10 * 9);
    let mut received = before;
    for site in SITES {
        let gateway = lab.gateway(site);
        gateway.kill()?;
        gateway.use_build(Build::Next);
        gateway.launch()?;
        wait_unless_failed(format!("{} to be upgraded", site.name), START_BOUND, || {
            received = download.read_to((received + step).min(most))?;
            gateway.readiness()
        })
        .with_context(|| format!("its log ends:\n{}", gateway.log_tail()))?;
    }
    lab.wait_told()?;
    let (to, upgraded) = (abi(lab)?, carrying(lab, port)?);
    ensure!(from != to, "the map ABI is {to} before and after");
    must_match(&download.finish()?, bytes)?;
    for (old, new) in flows.iter().zip(&upgraded) {
        for key in ["client", "local_client", "local_client_port", "local_service"] {
            ensure!(old[key] == new[key], "the flow's {key} is another: {old}, then {new}");
        }
        let [old, new] = [old, new].map(|flow| flow["bytes_to_client"].as_u64());
        ensure!(old < new, "the flow's count was {old:?} and is {new:?}");
    }
    conversation.say("still here", ANSWER_BOUND).context("a connection older than the upgrade")?;
    edges_call_cloud(lab).context("a new connection after the upgrade")?;
    Ok(format!(
        "map ABI {from} became {to} at all three between byte {before} and {received}; all {bytes} \
         came, checksum right; at the cloud it is the same flow of port {}, its counts gone on from {} \
         to {} octets",
        upgraded[1]["local_client_port"],
        flows[1]["bytes_to_client"],
        upgraded[1]["bytes_to_client"],
    ))
}

/// The flow of edge A's client from this port to the cloud's HTTP server, at edge A and at the cloud.
fn carrying(lab: &Lab, port: u16) -> Result<[Value; 2]> {
    let at = |site: &SitePlan| {
        let flows = lab.site(site).gateway.ctl("flow list")?;
        let is_it = |row: &&Value| {
            row["service"] == FILES.reference()
                && row["client_site"] == EDGE_A.name
                && row["client_port"] == port
        };
        let found = flows.as_array().and_then(|rows| rows.iter().find(is_it)).cloned();
        found.with_context(|| format!("{} has no flow of port {port}: {flows}", site.name))
    };
    Ok([at(&EDGE_A)?, at(&CLOUD)?])
}

/// The one map ABI of the gateways.
fn abi(lab: &Lab) -> Result<u64> {
    let mut found = Vec::new();
    for site in SITES {
        let status = lab.site(site).gateway.ctl("status")?;
        found.push(status["abi"].as_u64().with_context(|| format!("no map ABI in {status}"))?);
    }
    found.dedup();
    ensure!(found.len() == 1, "the gateways have map ABIs {found:?}");
    Ok(found[0])
}

/// Edge A's gateway host is a client itself for a while: a process on it uses the cloud's echo server,
/// beside a host of its LAN.
pub fn gateway_host_calls_cloud(lab: &mut Lab) -> Result<String> {
    const RULE: &str = "edge-a-gateway-host";
    let mut bystander = converse(&lab.site(&EDGE_A).client)?;
    lab.allow(Rule::new(RULE, &EDGE_A, GATEWAY, &ECHO))?;
    let gateway = lab.gateway(&EDGE_A);
    let file = gateway.site_file();
    fs::write(&file, fs::read_to_string(&file)? + "\n[host]\n")?;
    let logged = gateway.reload()?;
    ensure!(!logged.contains("reload failed"), "{logged}");
    let host = gateway.namespace().clone();
    let mut conversation = converse(&host).context("as a process of the gateway host")?;
    conversation.say("from the gateway host", ANSWER_BOUND)?;
    must_be_refused(&host, FILES.at(FILES_PORT)).context("what no rule allows the host")?;
    bystander.say("still here", ANSWER_BOUND)?;
    let seen = conversation.greeting().to_owned();
    lab.forbid(RULE)?;
    Ok(format!("{GATEWAY} got through by presence0: {seen:?}; what no rule allows it is refused"))
}

/// One command exposes edge A's agent to edge B, whose client is allowed already, and the agent is
/// reachable there; another ends it.
pub fn exposed_and_withdrawn(lab: &mut Lab) -> Result<String> {
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 220);
    const NAME: &str = "agent-a-to-b";
    let operator = lab.operator()?.clone();
    let (service, address) = (AGENT_A.reference(), ADDRESS.to_string());
    operator.run(&["allow", EDGE_B.name, &service, "--name", NAME])?;
    let client = lab.site(&EDGE_B).client.clone();
    let call = || client.run(|| traffic::fetch(SocketAddrV4::new(ADDRESS, HTTP_PORT), "/"))?;
    ensure!(call().is_err(), "it is reachable before it is exposed");
    let begun = Instant::now();
    let words = ["expose", &service, "--to", EDGE_B.name, "--address", &address, "--name", NAME];
    operator.run(&[&words[..], &["--wait"]].concat())?;
    let said = call().context("once the gateways have it")?;
    let took = begun.elapsed();
    ensure!(said.contains(EDGE_A.name), "{said:?}");
    let exposures = operator.json(&["get", "exposures"])?.to_string();
    let place = format!("presence at {}", EDGE_B.name);
    ensure!(exposures.contains(&place) && exposures.contains(&address), "{exposures}");
    operator.run(&["delete", &format!("exposure/{NAME}"), &format!("policy/{NAME}")])?;
    lab.wait_told()?;
    ensure!(call().is_err(), "it is reachable although the exposure is gone");
    Ok(format!(
        "gatewayctl {}: {:.1} s later {ADDRESS} said {said:?}; withdrawn, it is gone",
        words.join(" "),
        took.as_secs_f64()
    ))
}

fn must_trace_refused(lab: &Lab) -> Result<String> {
    const REASON: &str = "no-policy";
    match lab.site(&EDGE_A).gateway.trace(VISITOR, ECHO.at(ECHO_PORT))? {
        Verdict::Refused { reason } if reason == REASON => Ok(reason),
        other => bail!("trace says {other:?} of {VISITOR}, not {REASON}"),
    }
}

fn begin_download(lab: &Lab, bytes: u64) -> Result<Download> {
    let (client, path) = (&lab.site(&EDGE_A).client, format!("/bytes/{bytes}"));
    client.run(|| Download::open(FILES.at(FILES_PORT), &path))?
}

fn must_match(digest: &str, bytes: u64) -> Result<()> {
    ensure!(digest == Body::new(bytes).digest(), "{bytes} bytes came with a wrong checksum");
    Ok(())
}

fn converse(client: &Namespace) -> Result<Conversation> {
    let mut conversation = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??;
    seen_as_local(conversation.greeting(), CLOUD.name)?;
    conversation.say("hello", ANSWER_BOUND)?;
    Ok(conversation)
}

fn fetch(client: &Namespace, service: &ServicePlan, port: u16, name: &str) -> Result<String> {
    let said = client.run(|| traffic::fetch(service.at(port), "/"))??.trim().to_owned();
    seen_as_local(&said, name)?;
    Ok(said)
}

/// The server of this name answered, and the client appeared to it as its site's client presence.
fn seen_as_local(said: &str, name: &str) -> Result<()> {
    ensure!(
        said.starts_with(&format!("{name} {CLIENT_PRESENCE}:")),
        "the answer is {said:?}, not from {name} to {CLIENT_PRESENCE}"
    );
    Ok(())
}

fn must_be_refused(client: &Namespace, server: SocketAddrV4) -> Result<()> {
    let connected = client.run(|| traffic::connect_within(server, REFUSAL_BOUND))?;
    ensure!(connected.is_err(), "a client without permission is connected to {server}");
    Ok(())
}
