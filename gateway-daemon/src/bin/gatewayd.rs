//! The gateway daemon.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use gateway_daemon::config::Role;
use gateway_daemon::daemon_cli::{DaemonArguments, DaemonCommand, RunArguments};
use gateway_daemon::enrolment::{self, JoinArguments};
use gateway_daemon::logging::LogFormat;
use gateway_daemon::sandbox::{refuse_dumps, serve_mounter};
use gateway_daemon::{driver, exit, link, logging};

pub(crate) fn main() -> ExitCode {
    let arguments = DaemonArguments::parse();
    let ended = match arguments.command {
        None => run(&arguments.run),
        Some(DaemonCommand::LinkDevice { interface, sandbox }) => {
            return link::serve_device(&interface, sandbox);
        }
        Some(DaemonCommand::Mounter) => return serve_mounter(),
        Some(DaemonCommand::Init { config, trust_domain }) => {
            once(enrolment::init(&config, trust_domain))
        }
        Some(DaemonCommand::Join { config, token_file: token, endpoint: endpoints }) => {
            once(enrolment::join(&JoinArguments { config, token, endpoints }))
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report("gatewayd", &error),
    }
}

/// Does something that ends by itself, and says what came of it.
fn once(task: impl Future<Output = Result<String>>) -> Result<()> {
    refuse_dumps()?;
    logging::begin(LogFormat::Text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    print!("{}", runtime.context("cannot start the runtime")?.block_on(task)?);
    Ok(())
}

fn run(arguments: &RunArguments) -> Result<()> {
    let config = arguments.config.as_deref().unwrap_or(Path::new(""));
    if arguments.check {
        print!("{}", Role::load(config)?.effective());
        return Ok(());
    }
    refuse_dumps()?;
    logging::begin(arguments.log_format);
    driver::run(config, arguments.sandbox)
}
