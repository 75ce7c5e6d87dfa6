//! The gateway daemon.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gateway_daemon::link;
use gateway_daemon::netlink::InterfaceName;

#[derive(Debug, Parser)]
#[command(name = "gatewayd", version, about = "The Presence gateway daemon")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve one userspace link device until it is deleted. Started by gatewayd itself.
    #[command(hide = true)]
    LinkDevice {
        /// Name of the device to create.
        #[arg(long)]
        interface: InterfaceName,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::LinkDevice { interface } => link::serve_device(&interface),
    }
}
