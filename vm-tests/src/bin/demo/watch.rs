//! Watching over the process that does the work: signals reach it, and what it leaves is removed.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use vm_tests::lab::name::LabName;
use vm_tests::lab::sweep::{Claim, leftovers, sweep};

/// What a shell adds to a signal's number to make an exit status.
const SIGNALLED: u8 = 128;

/// Runs the work in a process of its own until it ends or a signal asks for the end, then removes
/// whatever is left.
pub(crate) fn over_the_work(name: &LabName) -> Result<ExitCode> {
    let signals = signals();
    signals.thread_block().context("block signals")?;
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
    // Not to be had if another demo is what the work found in its way.
    if let Ok(_claim) = Claim::take(name)
        && !leftovers(name)?.is_empty()
    {
        println!("\nremoving what is left of it ...");
        sweep(name)?;
    }
    Ok(ExitCode::from(ended))
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
