//! Upgrades to a build with another map ABI, between two builds of gatewayd: connections outlive them,
//! whatever becomes of the process, and the way back is refused. Needs root and `gatewayd-rehearsal`.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gateway_common::map::ABI;
use vm_tests::lab::gateway::{Build, Choices, Gateway};
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{CLOUD, ECHO, ECHO_PORT, EDGE_A, SITES};
use vm_tests::lab::traffic::Conversation;
use vm_tests::lab::{Lab, scenario};

const DOWNLOAD: u64 = 8_000_000;
const BOUND: Duration = Duration::from_secs(60);

fn in_a_lab(steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    Lab::up(LabName::unique(), Choices::default())?.during(steps)
}

fn pins(gateway: &Gateway) -> PathBuf {
    PathBuf::from("/sys/fs/bpf/presence").join(gateway.instance())
}

/// The versions of the data path that are pinned.
fn versions(gateway: &Gateway) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(pins(gateway))? {
        versions.push(entry?.file_name().to_string_lossy().into_owned());
    }
    versions.sort();
    Ok(versions)
}

/// Whether something can be seen of a step.
type Seen<'a> = Box<dyn Fn(&Gateway) -> bool + 'a>;

fn next() -> String {
    format!("v{}", ABI + 1)
}

#[test]
fn an_upgrade_in_a_download_keeps_connections_and_the_way_back_is_refused() -> Result<()> {
    in_a_lab(|lab| {
        let sniffers = lab.sniff()?;
        let upgraded = scenario::upgraded_in_a_download(lab, DOWNLOAD);
        for (place, sniffer) in sniffers {
            sniffer.finish()?.must_be_clean().context(place)?;
        }
        upgraded?;
        for site in SITES {
            let gateway = &lab.site(site).gateway;
            ensure!(versions(gateway)? == [next()], "the earlier pins are left");
            let log = gateway.log();
            let told = log.lines().find(|line| line.contains("took over a data path"));
            let told = told.with_context(|| format!("{} took nothing over", site.name))?;
            ensure!(!told.contains("first=TakenOver { flows: 0,"), "{told}");
            ensure!(told.matches("lost: 0 }").count() == 2, "{told}");
        }
        scenario::edge_calls_edge(lab).context("through the upgraded hub")?;

        let gateway = lab.gateway(&CLOUD);
        gateway.kill()?;
        gateway.use_build(Build::Current);
        let refused = gateway.try_site_file(&gateway.site_file(), BOUND)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let directory = pins(gateway).join(next()).display().to_string();
        ensure!(refused.status.code() == Some(1) && said.contains(&directory), "{said}");
        ensure!(said.contains(&format!("v{ABI}")) && said.contains("detach"), "{said}");
        let status = gateway.ctl_output("status")?;
        let said = String::from_utf8_lossy(&status.stderr).into_owned();
        ensure!(status.status.code() == Some(1) && said.contains(&directory), "{said}");
        ensure!(versions(gateway)? == [next()], "the refused build touched something");
        scenario::edges_call_cloud(lab).context("after the refusal")?;

        // What is refused can be taken away by the build that refuses it, as the refusal says.
        let gateway = lab.gateway(&CLOUD);
        let done = gateway.ctl_output("detach --yes")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        ensure!(!pins(gateway).exists());
        gateway.start()?;
        ensure!(versions(gateway)? == [format!("v{ABI}")]);
        Ok(())
    })
}

/// Dies as soon as something can be seen of each step, then is left alone.
#[test]
fn an_upgrade_that_is_killed_at_any_step_is_finished_by_the_next_start() -> Result<()> {
    in_a_lab(|lab| {
        let client = lab.site(&EDGE_A).client.clone();
        let mut conversation = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??;
        let at = |gateway: &Gateway, part: &str| pins(gateway).join(part);
        let entries = |path: PathBuf| fs::read_dir(path).map_or(0, Iterator::count);
        let (old, new) = (format!("v{ABI}"), next());
        let steps: [(&str, Seen); 6] = [
            ("maps are made", Box::new(|it| entries(at(it, &format!("{new}/maps"))) > 0)),
            ("programs are loaded", Box::new(|it| entries(at(it, &format!("{new}/programs"))) > 0)),
            (
                "programs are all there",
                Box::new(|it| at(it, &format!("{new}/programs/link_ingress")).exists()),
            ),
            (
                "the first attachment moves",
                Box::new(|it| entries(at(it, &format!("{new}/links"))) > 0),
            ),
            ("the last one does", Box::new(|it| entries(at(it, &format!("{old}/links"))) == 0)),
            ("the old pins go", Box::new(|it| !at(it, &old).exists())),
        ];
        for site in [&CLOUD, &EDGE_A] {
            let gateway = lab.gateway(site);
            gateway.kill()?;
            gateway.use_build(Build::Next);
            for (step, seen) in &steps {
                gateway.launch()?;
                let begun = Instant::now();
                while !seen(gateway) && !gateway.readiness()? {
                    ensure!(begun.elapsed() < BOUND, "{step}: not seen\n{}", gateway.log_tail());
                }
                gateway.kill()?;
                conversation
                    .say(step, BOUND)
                    .with_context(|| format!("{} killed when {step}", site.name))?;
            }
            gateway.start()?;
            ensure!(versions(gateway)? == [next()]);
            conversation.say("still here", BOUND)?;
        }
        scenario::edges_call_cloud(lab).context("a new connection")?;
        Ok(())
    })
}
