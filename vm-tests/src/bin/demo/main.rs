//! The demo: three sites with the same addresses use each other's services, a line for each thing
//! done and what was seen. Ends with `N passed, M failed`.
//!
//! The process that is started watches over a second one, which does the work, and removes
//! whatever that one leaves however it ends: on its own, by a signal or by a panic.

#![forbid(unsafe_code)]

mod checks;
mod report;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vm_tests::lab::name::LabName;

/// Shows three sites that use the same addresses use each other's services.
#[derive(Parser)]
struct Arguments {
    /// Do the work; without it, watch over a process that does.
    #[arg(long, hide = true)]
    work: bool,
    /// The lab's name: what the demo makes carries it.
    #[arg(long, default_value = "demo")]
    name: String,
}

fn main() -> ExitCode {
    run(&Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("demo: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let name = LabName::parse(&arguments.name)?;
    if arguments.work {
        watch::take_signals()?;
        checks::run(name)
    } else {
        watch::over_the_work(&name)
    }
}
