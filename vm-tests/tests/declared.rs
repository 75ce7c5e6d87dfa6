//! A deployment that is declared: the cloud's gatewayd is the controller too, and every gateway has from it what
//! site files say otherwise. The demo's YAML files come to the same traffic, one command makes a service
//! reachable, and what is in force outlives the controller.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{CLOUD, EDGE_A, EDGE_B, SITES};
use vm_tests::lab::wait::wait_for;
use vm_tests::lab::{Lab, scenario};

const BOUND: Duration = Duration::from_secs(30);

fn with(steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    let choices = Choices { declared: true, ..Choices::default() };
    Lab::up(LabName::unique(), choices)?.during(steps)
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
        scenario::exposed_and_withdrawn(lab)?;
        let operator = lab.operator()?.clone();
        let output = operator.output(&["delete", "site", EDGE_B.name])?;
        let refusal = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && refusal.contains("in use by"), "{refusal}");
        scenario::edge_calls_edge(lab).context("after a deletion that was refused")?;
        Ok(())
    })
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
        scenario::exposed_and_withdrawn(lab).context("by the restarted controller")?;
        lab.gateway(&CLOUD).end()?;
        lab.gateway(&EDGE_A).end()?;
        scenario::edge_calls_edge(lab).context("by what is in force once the daemons ended")?;
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
        let described = operator.run(&["describe", "gateway", "edge-b-gw1"])?;
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
