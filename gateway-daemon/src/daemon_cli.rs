//! The command line of `gatewayd`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use gateway_control::identity::TrustDomain;
use gateway_control::model::Endpoint;

use crate::logging::LogFormat;
use crate::netlink::InterfaceName;
use crate::sandbox::Setting;

/// The Presence daemon: a gateway, a controller, or both, as the key `mode` of its file says.
///
/// A gateway puts in force, and keeps so, what its site file says, or what a controller tells it. A controller keeps
/// what operators declare with gatewayctl, and tells gateways what of it is theirs.
///
/// The data path is in the kernel and outlives the daemon: ending or killing gatewayd changes
/// nothing for traffic. `gatewayctl detach` removes the data path.
///
/// SIGHUP reads the file again as far as it is about a gateway; one with faults is reported and what is in force
/// stays.
/// SIGTERM and SIGINT end the daemon. RUST_LOG sets the log level (error, warn, info, debug, trace; default
/// info).
///
/// Exit codes: 0 ended by a signal, 2 a fault in the file or the key file, 1 anything else.
#[derive(Debug, Parser)]
#[command(name = "gatewayd", version, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
pub struct DaemonArguments {
    /// What to run.
    #[command(flatten)]
    pub run: RunArguments,
    /// What gatewayd starts itself.
    #[command(subcommand)]
    pub command: Option<DaemonCommand>,
}

/// How to run the daemon.
#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    /// Its file: a site file, or that of a controller or of a gateway that follows one.
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Option<PathBuf>,
    /// Only read the file and print what it comes to, every default filled in. Needs no
    /// rights and changes nothing.
    #[arg(long)]
    pub check: bool,
    /// What a log line looks like.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Whether gatewayd gives up, when it starts, the rights that its role does not need. `off` is for finding out
    /// whether a fault comes of that.
    #[arg(long, value_name = "SETTING", value_enum, default_value_t)]
    pub sandbox: Setting,
}

/// What gatewayd starts itself.
#[derive(Debug, Subcommand)]
pub enum DaemonCommand {
    /// Begin a deployment: make its CA, which its controller signs the certificates of gateways with.
    ///
    /// Once, on the controller's host, before its gatewayd is started. The CA's key is sealed by what [seal] of the
    /// file says, and never in clear on a disk.
    ///
    /// gatewayd init --config /etc/presence/controller.toml --trust-domain presence.example
    Init {
        /// The controller's file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The namespace of the deployment's identities: lower-case letters, digits, '.', '-' and '_'. It stays for
        /// good.
        #[arg(long, value_name = "NAME")]
        trust_domain: TrustDomain,
    },
    /// Make this host the gateway that a token lets it be.
    ///
    /// The token is what `gatewayctl token create` has printed. It is read from the standard input, or from a file;
    /// not from an argument, which others on the host can see. This host's keys are made here and do not leave it.
    ///
    /// gatewayd join --config /etc/presence/gateway.toml < token
    Join {
        /// The gateway's file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The file that holds the token; the standard input if none is named.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Where other gateways dial this one's link, by UDP; may be given several times. Without one it dials.
        #[arg(long, value_name = "ADDRESS:PORT")]
        endpoint: Vec<Endpoint>,
    },
    /// Serve one userspace link device until it is deleted. Started by gatewayd itself.
    #[command(hide = true)]
    LinkDevice {
        /// Name of the device to create.
        #[arg(long)]
        interface: InterfaceName,
        /// Whether it gives up the rights that it does not need.
        #[arg(long, value_enum, default_value_t)]
        sandbox: Setting,
    },
    /// Mount the BPF file system again when asked. Started by gatewayd itself.
    #[command(hide = true)]
    Mounter,
}
