//! The gateway daemon.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use gateway_daemon::config::Role;
use gateway_daemon::daemon_cli::{DaemonArguments, DaemonCommand, RunArguments};
use gateway_daemon::{driver, exit, link, logging};

pub(crate) fn main() -> ExitCode {
    let arguments = DaemonArguments::parse();
    if let Some(DaemonCommand::LinkDevice { interface }) = arguments.command {
        return link::serve_device(&interface);
    }
    match run(&arguments.run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report("gatewayd", &error),
    }
}

fn run(arguments: &RunArguments) -> Result<()> {
    let config = arguments.config.as_deref().unwrap_or(Path::new(""));
    if arguments.check {
        print!("{}", Role::load(config)?.effective());
        return Ok(());
    }
    logging::begin(arguments.log_format);
    driver::run(config)
}
