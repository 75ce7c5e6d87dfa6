//! Why a link could not be brought to what it should be: each with the object and the remedy.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Backend;
use crate::netlink::{InterfaceKind, InterfaceName, NetlinkError};

/// Why a link could not be brought to what it should be.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The settings contradict themselves.
    #[error("link {interface}: {reason}")]
    Settings {
        /// The link device.
        interface: InterfaceName,
        /// What contradicts what, and the remedy.
        reason: String,
    },
    /// The MTU asked for does not fit the implementation.
    #[error(
        "link {interface}: mtu = {mtu} is outside {least}..={most}, what a {backend} device \
         carries; set link.mtu to a value in that range or leave it out"
    )]
    Mtu {
        /// The link device.
        interface: InterfaceName,
        /// What was asked for.
        mtu: u32,
        /// Smallest MTU.
        least: u32,
        /// Largest MTU.
        most: u32,
        /// The implementation in use.
        backend: Backend,
    },
    /// The name belongs to a device of another kind.
    #[error(
        "interface {interface} exists and is a {kind}, not a link device; set link.interface to \
         another name or remove that device"
    )]
    NameTaken {
        /// The name.
        interface: InterfaceName,
        /// What bears it.
        kind: InterfaceKind,
    },
    /// The device exists on the implementation that was not asked for.
    #[error(
        "link device {interface} exists as a {present} device but link.kind asks for another; \
         run `gatewayctl detach` (which stops its traffic) and start gatewayd again, or set \
         link.kind = \"{present}\""
    )]
    OtherBackend {
        /// The link device.
        interface: InterfaceName,
        /// What it is now.
        present: Backend,
    },
    /// The kernel has no WireGuard and `kind` insists on it.
    #[error(
        "link {interface}: this kernel has no WireGuard and link.kind = \"kernel\"; load the \
         module (`modprobe wireguard`), or set link.kind = \"auto\" to use the embedded one"
    )]
    NoKernelWireGuard {
        /// The link device.
        interface: InterfaceName,
    },
    /// The embedded implementation needs a TUN device and there is none.
    #[error(
        "link {interface}: this kernel has no WireGuard and /dev/net/tun, which the embedded one \
         needs, is missing; load a module (`modprobe tun` or `modprobe wireguard`), and in a \
         container pass /dev/net/tun in"
    )]
    NoTun {
        /// The link device.
        interface: InterfaceName,
    },
    /// Not allowed to.
    #[error("link {interface}: not permitted to {doing}; run as root or with CAP_NET_ADMIN")]
    Permission {
        /// The link device.
        interface: InterfaceName,
        /// What was refused.
        doing: String,
    },
    /// Another socket has the UDP port.
    #[error(
        "link {interface}: UDP port {port} is in use; stop what listens there (`ss -ulpn` names \
         it) or set link.listen_port to another"
    )]
    PortInUse {
        /// The link device.
        interface: InterfaceName,
        /// The port.
        port: u16,
    },
    /// A userspace device of that name lives in another network namespace of this host.
    #[error(
        "link {interface}: a userspace device of that name runs in another network namespace and \
         owns {}; set link.interface to a name no other gateway on this host uses",
        .socket.display()
    )]
    NameInUseElsewhere {
        /// The link device.
        interface: InterfaceName,
        /// Its control socket.
        socket: PathBuf,
    },
    /// The userspace device's process could not be started or ended at once.
    #[error("link {interface}: the userspace device did not start: {reason}")]
    Start {
        /// The link device.
        interface: InterfaceName,
        /// What it said, and the remedy.
        reason: String,
    },
    /// The device, or its process, does not answer.
    #[error(
        "link {interface}: no answer within {} s while trying to {doing}; if `ps` shows its \
         link-device process hanging, end that process and gatewayd makes the device anew",
        .waited.as_secs()
    )]
    Unresponsive {
        /// The link device.
        interface: InterfaceName,
        /// What was tried.
        doing: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// There is no such link device.
    #[error("there is no link device {interface}; start gatewayd to make it")]
    Missing {
        /// The link device.
        interface: InterfaceName,
    },
    /// WireGuard refused.
    #[error("link {interface}: cannot {doing}: {reason}")]
    WireGuard {
        /// The link device.
        interface: InterfaceName,
        /// What was tried.
        doing: &'static str,
        /// The answer.
        reason: io::Error,
    },
    /// A file of the link could not be used.
    #[error("link {interface}: cannot {doing} {}: {reason}", .path.display())]
    File {
        /// The link device.
        interface: InterfaceName,
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The answer.
        reason: io::Error,
    },
    /// The kernel's routing netlink refused or failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl LinkError {
    /// Whether the site file, not the host, has to change.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Settings { .. } | Self::Mtu { .. })
    }
}
