//! The gateway tool.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use gateway_daemon::{ctl, exit};

pub(crate) fn main() -> ExitCode {
    match ctl::run(ctl::Arguments::parse()) {
        Ok(code) => code,
        Err(error) => exit::report("gatewayctl", &error),
    }
}
