//! Watching over the process that does the work: signals reach it, and what it leaves is removed.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use vm_tests::lab::name::LabName;
use vm_tests::lab::sweep::{Claim, leftovers, sweep};
use vm_tests::lab::wait::wait_for;

/// What a shell adds to a signal's number to make an exit status.
const SIGNALLED: u8 = 128;

/// Runs the work in a process of its own until it ends or a signal asks for the end, then removes
/// whatever is left.
pub(crate) fn over_the_work(name: &LabName) -> Result<ExitCode> {
    let _claim = Claim::take(name)?;
    if !leftovers(name)?.is_empty() {
        println!("removing what an earlier demo left ...");
        sweep(name)?;
    }
    let signals = signals();
    signals.thread_block().context("block signals")?;
    // What the work started becomes this process's when the work dies.
    set_child_subreaper(true).context("take in orphans")?;
    let own = std::env::current_exe().context("find this program's own path")?;
    let mut work = Command::new(own)
        .args(["--work", "--name", &name.to_string()])
        .spawn()
        .context("start the work")?;
    let ended = loop {
        match signals.wait().context("wait for a signal")? {
            Signal::SIGCHLD => {
                if let Some(status) = work.try_wait().context("look at the work")? {
                    break code(status);
                }
            }
            signal => break interrupt(&mut work, signal)?,
        }
    };
    if !leftovers(name)?.is_empty() {
        println!("\nremoving what is left of it ...");
    }
    remove(name)?;
    Ok(ExitCode::from(ended))
}

/// Removes everything there is of the demo, and what an orphan in the middle of something still makes.
fn remove(name: &LabName) -> Result<()> {
    const BOUND: Duration = Duration::from_secs(30);
    wait_for("everything of the demo to be gone", BOUND, || {
        sweep(name)?;
        Ok(no_child_is_left()? && leftovers(name)?.is_empty())
    })
}

/// Reaps the orphans that have ended; whether those were all.
fn no_child_is_left() -> Result<bool> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return Ok(false),
            Ok(_) => {}
            Err(Errno::ECHILD) => return Ok(true),
            Err(error) => return Err(error).context("look for orphans"),
        }
    }
}

/// Lets the signals that the watching process holds back reach this one.
pub(crate) fn take_signals() -> Result<()> {
    signals().thread_unblock().context("unblock signals")
}

fn signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect()
}

fn interrupt(work: &mut Child, signal: Signal) -> Result<u8> {
    println!("\n{signal}: stopping");
    work.kill().context("end the work")?;
    work.wait().context("wait for the end of the work")?;
    Ok(SIGNALLED.saturating_add(u8::try_from(signal as i32).unwrap_or(0)))
}

fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|it| it + i32::from(SIGNALLED)));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}
