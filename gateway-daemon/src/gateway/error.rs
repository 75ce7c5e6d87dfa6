//! Why a site file could not be brought in force, each reason with the remedy of the part it comes from.

use gateway_control::{CompileError, model};
use gateway_dataplane::{ApplyError, AttachError, RepairError, TableError};

use crate::config::ConfigError;
use crate::host_link::HostLinkError;
use crate::instance::InstanceError;
use crate::interfaces::ObserveError;
use crate::link::LinkError;
use crate::netlink::NetlinkError;

/// Why a site file could not be brought in force.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The site file or a file it names.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A reload that would need another data path.
    #[error(
        "{key} was changed from {from} to {to}, which a running data path cannot follow; put it \
         back, or run `gatewayctl --instance {instance} detach` (which ends its traffic) and start \
         gatewayd again"
    )]
    NeedsRestart {
        /// The instance that runs.
        instance: model::InstanceName,
        /// The key of the site file.
        key: &'static str,
        /// What is in force.
        from: String,
        /// What the file says.
        to: String,
    },
    /// An interface is missing.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The interfaces cannot be looked at.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The gateway host's own part.
    #[error(transparent)]
    HostLink(#[from] HostLinkError),
    /// The run directory.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The link device.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The data path cannot be loaded.
    #[error(transparent)]
    Load(#[from] gateway_dataplane::Error),
    /// The programs cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The BPF file system is gone and does not come again.
    #[error(
        "the BPF file system is not mounted, and cannot be: {0}; run `mount -t bpf bpf /sys/fs/bpf`, nothing is \
         lost yet"
    )]
    FileSystem(std::io::Error),
    /// Pins that are gone cannot be made again.
    #[error(transparent)]
    Repair(#[from] RepairError),
    /// The tables cannot be changed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The flow table cannot be swept.
    #[error(transparent)]
    Sweep(#[from] TableError),
    /// The kernel's routing netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl GatewayError {
    /// Whether the operator's files, not the host, have to change.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Config(_) | Self::Observe(ObserveError::Name(_)) => true,
            Self::HostLink(HostLinkError::Taken { .. }) => true,
            Self::Link(error) => error.is_configuration(),
            _ => false,
        }
    }
}
