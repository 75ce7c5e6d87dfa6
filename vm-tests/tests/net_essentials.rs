//! The main job on real traffic, with nothing but the lab's own programs, `ip` and `ping`: on the
//! host, and in guests with their kernels' WireGuard.

use anyhow::{Context, Result, ensure};
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::SITES;
use vm_tests::lab::{Lab, scenario};

/// Enough for thousands of packets and many TCP windows, little enough for an emulated guest.
const DOWNLOAD: u64 = 4_000_000;

/// Runs `steps` in a lab with every wire watched.
fn in_a_lab(choices: Choices, steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    Lab::up(LabName::unique(), choices)?.during(|lab| {
        let sniffers = lab.sniff()?;
        let outcome = steps(lab);
        let mut findings = Vec::new();
        for (place, sniffer) in sniffers {
            findings.push((place, sniffer.finish()?));
        }
        outcome?;
        findings[0].1.must_be_busy_and_clean().context(findings[0].0)?;
        findings.iter().try_for_each(|(place, it)| it.must_be_clean().context(*place))
    })
}

fn use_each_other(lab: &mut Lab) -> Result<()> {
    scenario::cloud_calls_both_agents(lab).context("the cloud calls both agents")?;
    scenario::edges_call_cloud(lab).context("the edges call the cloud")?;
    scenario::edge_calls_edge(lab).context("edge calls edge")?;
    scenario::pings(lab).context("ping")?;
    scenario::datagrams(lab).context("UDP")?;
    scenario::download(lab, DOWNLOAD).context("download")?;
    scenario::download_between_edges(lab, DOWNLOAD).context("download between edges")?;
    Ok(())
}

#[test]
fn sites_with_the_same_addresses_use_each_others_services() -> Result<()> {
    in_a_lab(Choices::default(), use_each_other)
}

#[test]
fn sites_use_each_others_services_with_xdp_on_the_lan() -> Result<()> {
    in_a_lab(Choices { mode: "xdp", ..Choices::default() }, |lab| {
        for site in SITES {
            let device = lab.gateway(site).namespace().ip("link show dev lan0")?;
            ensure!(device.contains(" xdp "), "no XDP program in {device}");
        }
        use_each_other(lab)
    })
}

#[test]
fn what_no_rule_allows_is_refused_and_a_withdrawn_rule_ends_connections() -> Result<()> {
    in_a_lab(Choices::default(), |lab| {
        scenario::visitor_is_refused(lab)?;
        scenario::rule_added_and_removed(lab)?;
        scenario::visitor_is_refused(lab)?;
        Ok(())
    })
}

#[test]
fn traffic_outlives_the_daemons_and_does_not_notice_their_start() -> Result<()> {
    in_a_lab(Choices::default(), |lab| {
        scenario::killed_in_a_download(lab, DOWNLOAD)?;
        scenario::started_in_a_download(lab, DOWNLOAD)?;
        Ok(())
    })
}
