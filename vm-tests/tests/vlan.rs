//! Sites whose LAN is a VLAN on a trunk: the gateway's LAN interface is `lan0.10`. Hosts of that VLAN use
//! and serve as anywhere; those of the trunk's other VLAN, and those without a tag, are nobody's, whatever
//! their address. In guests: it needs a kernel with VLANs.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::lab::gateway::{Choices, START_BOUND};
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::plan::{ECHO, ECHO_PORT, EDGE_A, FILES, FILES_PORT, SITES};
use vm_tests::lab::wait::wait_until;
use vm_tests::lab::{Lab, join, scenario, traffic};

const DOWNLOAD: u64 = 4_000_000;
const BOUND: Duration = Duration::from_secs(30);
const REFUSAL_BOUND: Duration = Duration::from_secs(2);

fn tagged() -> Choices {
    Choices { vlan: Some(10), ..Choices::default() }
}

fn in_a_lab(choices: Choices, steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    Lab::network(LabName::unique(), choices)?.during(steps)
}

#[test]
fn sites_in_vlans_use_each_others_services_and_refuse_the_rest() -> Result<()> {
    in_a_lab(tagged(), |lab| {
        lab.start_gateways()?;
        lab.start_servers()?;
        for site in SITES {
            let status = lab.site(site).gateway.ctl("status")?;
            let attached = status["attachments"].as_array().cloned().unwrap_or_default();
            let on = |name: &str| attached.iter().filter(|it| it["interface"] == name).count();
            ensure!(on("lan0.10") == 1 && on("lan0") == 0, "{}: {status}", site.name);
        }
        let sniffers = lab.sniff()?;
        scenario::cloud_calls_both_agents(lab).context("the cloud calls both agents")?;
        scenario::edges_call_cloud(lab).context("the edges call the cloud")?;
        scenario::edge_calls_edge(lab).context("edge calls edge")?;
        scenario::pings(lab).context("ping")?;
        scenario::datagrams(lab).context("UDP")?;
        scenario::large_datagrams(lab).context("UDP in fragments")?;
        scenario::download(lab, DOWNLOAD).context("download")?;
        scenario::download_between_edges(lab, DOWNLOAD).context("download between edges")?;
        scenario::visitor_is_refused(lab).context("a client that no rule names")?;
        scenario::rule_added_and_removed(lab).context("a rule that comes and goes")?;
        sniffers.into_iter().try_for_each(|(place, sniffer)| {
            sniffer.finish()?.must_be_busy_and_clean().context(place)
        })
    })
}

/// The client that a rule names is moved, cable and all: the gateway neither answers nor carries what
/// comes from elsewhere than the VLAN of the site file.
#[test]
fn another_vlan_and_frames_without_a_tag_are_not_the_sites() -> Result<()> {
    in_a_lab(tagged(), |lab| {
        lab.start_gateways()?;
        lab.start_servers()?;
        let switch = &lab.site(&EDGE_A).lan;
        add_bridge(switch, "br20")?;
        add_bridge(switch, "untagged")?;
        join(switch, 20, "br20")?;
        switch.ip("link set gateway master untagged")?;
        must_be_deaf(lab, "br20")?;
        must_be_deaf(lab, "untagged")
    })
}

/// The kernel has taken the tag off before traffic control's hook sees such a frame.
#[test]
fn frames_with_a_tag_are_not_the_sites_whose_lan_has_none() -> Result<()> {
    in_a_lab(Choices::default(), |lab| {
        lab.start_gateways()?;
        lab.start_servers()?;
        let switch = &lab.site(&EDGE_A).lan;
        add_bridge(switch, "br20")?;
        join(switch, 20, "br20")?;
        must_be_deaf(lab, "br20")
    })
}

fn add_bridge(switch: &Namespace, name: &str) -> Result<()> {
    switch.ip(&format!("link add {name} type bridge mcast_snooping 0"))?;
    switch.ip(&format!("link set {name} up"))?;
    Ok(())
}

/// Edge A's client is served where it is, not behind another bridge, and again where it was.
fn must_be_deaf(lab: &Lab, bridge: &str) -> Result<()> {
    scenario::edges_call_cloud(lab).context("in the network of the site file")?;
    must_be_deaf_behind(lab, bridge).with_context(|| format!("behind {bridge}"))?;
    lab.site(&EDGE_A).lan.ip("link set client master br0")?;
    wait_until("the client to be served again", BOUND, || {
        scenario::edges_call_cloud(lab).map(|_| Some(()))
    })
}

fn must_be_deaf_behind(lab: &Lab, bridge: &str) -> Result<()> {
    let site = lab.site(&EDGE_A);
    site.lan.ip(&format!("link set client master {bridge}"))?;
    let before = opened(lab)?;
    let to = FILES.at(FILES_PORT);
    // It knows the presence's hardware address still, and sends without asking.
    let heard = site.client.run(|| traffic::connect_within(to, REFUSAL_BOUND))?;
    ensure!(heard.is_err(), "the gateway carried a connection");
    let heard = site.client.run(|| traffic::ask(ECHO.at(ECHO_PORT), "hello", REFUSAL_BOUND))?;
    ensure!(heard.is_err(), "the gateway carried a datagram");
    site.client.ip("neighbour flush dev lan0")?;
    let heard = site.client.run(|| traffic::connect_within(to, REFUSAL_BOUND))?;
    ensure!(heard.is_err(), "the gateway answered for a presence");
    let neighbours = site.client.ip(&format!("neighbour show {}", to.ip()))?;
    ensure!(!neighbours.contains("lladdr"), "the presence was resolved: {neighbours}");
    ensure!(before == opened(lab)?, "a flow was opened");
    Ok(())
}

/// How many flows edge A's gateway has opened so far.
fn opened(lab: &Lab) -> Result<u64> {
    let counts = lab.site(&EDGE_A).gateway.ctl("counters --all")?;
    let opened = counts.as_array().into_iter().flatten().find(|it| it["label"] == "flows-opened");
    opened.and_then(|it| it["packets"].as_u64()).with_context(|| format!("not counted: {counts}"))
}

/// A VLAN has no driver of its own that could run XDP programs: asked for, it is refused by name.
#[test]
fn xdp_on_a_vlan_is_refused_with_the_remedy() -> Result<()> {
    in_a_lab(Choices { mode: "xdp", ..tagged() }, |lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        let refused = gateway.try_site_file(&gateway.site_file(), START_BOUND)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(1), "{:?}: {said}", refused.status);
        ensure!(said.contains("interface lan0.10") && said.contains("set mode = \"tc\""), "{said}");
        Ok(())
    })
}
