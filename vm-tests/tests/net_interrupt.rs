//! The demo ended in its middle, by a signal or by the death of the process that does the work:
//! nothing of it is left.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vm_tests::lab::binaries;
use vm_tests::lab::name::LabName;
use vm_tests::lab::process::Process;
use vm_tests::lab::sweep::leftovers;
use vm_tests::lab::wait::{wait_for, wait_unless_failed};

const BOUND: Duration = Duration::from_secs(60);
const ENDED_BY_SIGKILL: i32 = 128 + 9;

#[test]
fn ctrl_c_leaves_nothing_behind() -> Result<()> {
    ended_by(130, |demo| demo.signal(Signal::SIGINT))
}

#[test]
fn sigterm_leaves_nothing_behind() -> Result<()> {
    ended_by(143, |demo| demo.signal(Signal::SIGTERM))
}

#[test]
fn the_death_of_the_work_leaves_nothing_behind() -> Result<()> {
    ended_by(ENDED_BY_SIGKILL, |demo| {
        let work = child_of(demo.pid())?.context("the demo has no child")?;
        kill(work, Signal::SIGKILL).context("kill the work")
    })
}

fn ended_by(code: i32, end: impl FnOnce(&Process) -> Result<()>) -> Result<()> {
    let name = LabName::unique();
    let log = std::env::temp_dir().join(format!("{name}.log"));
    let mut command = Command::new(binaries::locate("demo")?);
    command.args(["--name", &name.to_string()]);
    let mut demo = Process::spawn("the demo", &mut command, &log)?;
    // The broker is started first and the gateways last: by then there is something of each kind.
    let last = Path::new("/run/presence-lab").join(name.to_string()).join("edge-b/gatewayd.log");
    wait_unless_failed("the demo to start its gateways", BOUND, || {
        ensure!(demo.ended()?.is_none(), "the demo ended: {}", demo.log());
        Ok(last.exists())
    })?;
    end(&demo)?;
    let status = demo.wait(BOUND)?;
    let said = demo.log();
    fs::remove_file(&log)?;
    ensure!(status.code() == Some(code), "{status} instead of {code}: {said}");
    assert_eq!(leftovers(&name)?, Vec::<String>::new());
    let marks = [format!("/run/presence-lab/{name}/"), name.instance_prefix()];
    wait_for("every process of the demo to end", BOUND, || Ok(mentioning(&marks)?.is_empty()))
}

fn child_of(parent: Pid) -> Result<Option<Pid>> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(list.split_whitespace().next().map(str::parse).transpose()?.map(Pid::from_raw))
}

/// Processes whose arguments or environment mention one of these: gateways, link devices, RabbitMQ
/// and its port mapper.
fn mentioning(marks: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        for file in ["cmdline", "environ"] {
            // Processes end while the list is walked.
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            if marks.iter().any(|mark| text.contains(mark)) {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}
