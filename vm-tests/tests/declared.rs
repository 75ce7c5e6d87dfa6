//! A deployment that is declared: the cloud's gatewayd is the controller too, and every gateway has from it what
//! site files say otherwise. The demo's YAML files come to the same traffic, one command makes a service
//! reachable, and what is in force outlives the controller.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{AGENT_A, CLOUD, EDGE_A, EDGE_B, HTTP_PORT, SITES};
use vm_tests::lab::wait::wait_for;
use vm_tests::lab::{Lab, scenario, traffic};

const BOUND: Duration = Duration::from_secs(30);
/// Where a service of edge A is to appear in edge B.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 220);

fn with(steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    let choices = Choices { declared: true, ..Choices::default() };
    Lab::up(LabName::unique(), choices)?.during(steps)
}

fn fetch(lab: &Lab) -> Result<String> {
    let client = &lab.site(&EDGE_B).client;
    let response = client.run(|| traffic::fetch(SocketAddrV4::new(NEW, HTTP_PORT), "/"))??;
    Ok(response)
}

#[test]
fn the_demos_files_come_to_the_demos_traffic() -> Result<()> {
    with(|lab| {
        scenario::cloud_calls_both_agents(lab)?;
        scenario::edge_calls_edge(lab)?;
        scenario::edges_call_cloud(lab)?;
        scenario::datagrams(lab)?;
        scenario::visitor_is_refused(lab)?;
        scenario::rule_added_and_removed(lab)?;
        Ok(())
    })
}

#[test]
fn one_command_makes_a_service_reachable_and_another_ends_it() -> Result<()> {
    with(|lab| {
        let operator = lab.operator()?.clone();
        let service = AGENT_A.reference();
        operator.run(&["allow", EDGE_B.name, &service])?;
        ensure!(fetch(lab).is_err(), "reachable without being exposed");
        let address = NEW.to_string();
        operator.run(&["expose", &service, "--to", EDGE_B.name, "--address", &address])?;
        operator.wait_applied()?;
        let said = fetch(lab)?;
        ensure!(said.contains(EDGE_A.name), "{said:?}");
        let exposures = operator.json(&["get", "exposures"])?;
        let text = exposures.to_string();
        ensure!(text.contains("presence at edge-b") && text.contains(&address), "{text}");

        let output = operator.output(&["delete", "site", EDGE_B.name])?;
        let refusal = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && refusal.contains("in use by"), "{refusal}");
        ensure!(fetch(lab)?.contains(EDGE_A.name), "a refused deletion changed something");

        let name = exposure_of(&exposures, &service)?;
        operator.run(&["delete", "exposure", &name])?;
        operator.wait_applied()?;
        ensure!(fetch(lab).is_err(), "reachable without being exposed any more");
        Ok(())
    })
}

/// The name of the exposure of a service to edge B.
fn exposure_of(exposures: &serde_json::Value, service: &str) -> Result<String> {
    let items = exposures.as_array().or_else(|| exposures["items"].as_array());
    let found = items
        .into_iter()
        .flatten()
        .find(|it| it["spec"]["service"] == service && it["spec"]["to"]["sites"][0] == EDGE_B.name);
    let name = found.and_then(|it| it["metadata"]["name"].as_str());
    name.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no such exposure in {exposures}"))
}

#[test]
fn gateways_go_on_without_the_controller_and_follow_it_again() -> Result<()> {
    with(|lab| {
        let operator = lab.operator()?.clone();
        lab.gateway(&CLOUD).kill()?;
        scenario::edges_call_cloud(lab)?;
        scenario::edge_calls_edge(lab)?;
        // A gateway that starts without a controller leaves in force what its kernel has.
        lab.gateway(&EDGE_A).kill()?;
        lab.gateway(&EDGE_A).start()?;
        scenario::edge_calls_edge(lab)?;

        lab.gateway(&CLOUD).start()?;
        operator.wait_applied()?;
        operator.run(&["allow", EDGE_B.name, &AGENT_A.reference()])?;
        let address = NEW.to_string();
        operator.run(&["expose", &AGENT_A.reference(), "--to", "edge-b", "--address", &address])?;
        operator.wait_applied()?;
        ensure!(fetch(lab)?.contains(EDGE_A.name), "the restarted controller is not followed");
        lab.gateway(&CLOUD).end()?;
        lab.gateway(&EDGE_A).end()?;
        ensure!(fetch(lab)?.contains(EDGE_A.name), "what is in force ended with the daemons");
        Ok(())
    })
}

#[test]
fn what_a_gateway_cannot_apply_is_told_with_the_reason_and_put_right() -> Result<()> {
    with(|lab| {
        let operator = lab.operator()?.clone();
        let edge = "kind: Site\nmetadata: {name: edge-b, labels: {tier: edge}}\nspec: {role: edge, \
                    clientNetworks: [NETWORKS], presencePool: 10.0.0.192/26, clientPresence: 10.0.0.250, \
                    transit: 240.0.32.0/20}\n";
        // The host of edge B has no interface with the second of these networks.
        operator.apply(&edge.replace("NETWORKS", "10.0.0.0/24, 10.9.0.0/24"))?;
        wait_for("edge B to refuse it", BOUND, || {
            let site = site(&operator.json(&["status"])?, EDGE_B.name);
            Ok(site["gateway"]["state"] == "refused"
                && site["gateway"]["why"].to_string().contains("10.9.0.0/24"))
        })?;
        scenario::edges_call_cloud(lab)?;
        let described = operator.run(&["describe", "gateway", "edge-b-gw"])?;
        ensure!(described.contains("10.9.0.0/24"), "{described}");
        operator.apply(&edge.replace("NETWORKS", "10.0.0.0/24"))?;
        operator.wait_applied()?;
        for plan in SITES {
            ensure!(site(&operator.json(&["status"])?, plan.name)["lag"] == 0, "{}", plan.name);
        }
        Ok(())
    })
}

fn site(status: &serde_json::Value, name: &str) -> serde_json::Value {
    let sites = status["sites"].as_array().cloned().unwrap_or_default();
    sites.into_iter().find(|it| it["name"] == name).unwrap_or_default()
}

#[test]
fn a_store_that_is_damaged_is_refused_and_restored_from_a_backup() -> Result<()> {
    with(|lab| {
        let operator = lab.operator()?.clone();
        let backup = lab.directory("backup");
        let backup = backup.to_str().unwrap_or_default().to_owned();
        operator.run(&["backup", &backup])?;
        lab.gateway(&CLOUD).kill()?;
        let store = operator.places().store();
        damage(&store)?;
        let file = lab.gateway(&CLOUD).site_file();
        let output = lab.gateway(&CLOUD).try_site_file(&file, BOUND)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains("restore"), "{said}");
        let path = store.to_str().unwrap_or_default().to_owned();
        operator.run(&["restore", &backup, "--store", &path])?;
        lab.gateway(&CLOUD).start()?;
        operator.wait_applied()?;
        scenario::edges_call_cloud(lab)?;
        Ok(())
    })
}

fn damage(store: &Path) -> Result<()> {
    let mut octets = std::fs::read(store)?;
    let from = octets.len() / 2;
    octets[from..].fill(0xa5);
    std::fs::write(store, octets)?;
    for beside in ["-wal", "-shm"] {
        let mut path = store.as_os_str().to_owned();
        path.push(beside);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
