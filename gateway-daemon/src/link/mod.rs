//! Links: the WireGuard device that carries a gateway's traffic to its peers.
//!
//! The daemon calls [`ensure`] at start, on every change of its site file and whenever
//! [`LinkWatch`] says that the device was disturbed; it compares the device with
//! [`LinkSettings`] and changes only what differs, so calling it again costs nothing and resets
//! nothing. Kernel and userspace devices are configured by the same calls. The device has no
//! address and no route: the data path redirects packets into it and takes them from it.
//!
//! | file | holds |
//! |---|---|
//! | wanted, settings | what all links, and one device, should be |
//! | links | the decisions over time: devices, endpoints, routes, MTU |
//! | rotation, leaving, dial, peers, mtu, search, health | their parts, pure |
//! | paths, survey, echo | finding out what the underlay carries |
//! | record, account | which endpoints were configured; what `gatewayctl` is told |
//! | wireguard, apply | reading a device, and changing it without breaking it |
//! | process, device, socket | the userspace device's process, from outside and from inside |
//! | watch | noticing that the device is gone |

mod account;
mod apply;
mod device;
mod dial;
mod echo;
mod error;
mod health;
mod leaving;
mod links;
mod mtu;
mod paths;
mod peers;
mod process;
mod record;
mod rotation;
mod search;
mod settings;
mod socket;
mod survey;
mod wanted;
mod watch;
mod wireguard;

use std::fmt;
use std::fs;
use std::io;
use std::num::NonZeroU16;
use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;

pub use self::account::{Account, DeviceAccount, MtuKnown, PeerAccount};
pub use self::device::serve_device;
pub use self::dial::{GIVEN_UP, RETURN_AFTER};
pub(crate) use self::echo::{Echo, Outcome};
pub use self::error::LinkError;
pub use self::health::{DIALLING, PeerHealth, PeerState, REJECT_AFTER_TIME};
pub use self::links::{Decision, LOOK_INTERVAL, Links, SiteRoute};
pub(crate) use self::process::SOCKET_DIRECTORY;
pub use self::rotation::Role;
pub use self::settings::{
    InvalidKey, LinkHost, LinkKind, LinkPeer, LinkSettings, PrivateKey, PublicKey,
};
pub use self::wanted::{DeviceKey, Dialled, LinksWanted, WantedPeer};
pub use self::watch::{Disturbance, LinkWatch};

use self::mtu::UnderlayPath;
use self::process::Server;
use self::record::ConfiguredEndpoints;
use self::wireguard::{Change, Observed};
use crate::netlink::{
    Interface, InterfaceIndex, InterfaceKind, InterfaceName, Netlink, NetlinkError,
};

/// A link device that is up and as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub index: InterfaceIndex,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// What carries it.
    pub backend: Backend,
}

/// Which implementation of WireGuard a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel's.
    Kernel,
    /// The embedded one, in a process of its own.
    Userspace,
}

/// Brings the link device to what `settings` say: makes it or adopts the one that is there,
/// changes what differs, and sets it up.
///
/// If it fails, a device that was there before keeps working as it did, and one that was not is
/// not left behind.
pub async fn ensure(settings: &LinkSettings, host: &LinkHost) -> Result<Device, LinkError> {
    settings.check()?;
    let netlink = Netlink::connect()?;
    let interface = &settings.interface;
    if let Some(found) = netlink.interface(interface).await? {
        let backend = adoptable(interface, &found)?;
        if !settings.kind.admits(backend) {
            return Err(LinkError::OtherBackend { interface: interface.clone(), present: backend });
        }
        return configure(settings, host, &netlink, &found, backend).await;
    }
    let backend = create(settings, host, &netlink).await?;
    let made = match netlink.interface(interface).await? {
        Some(found) => configure(settings, host, &netlink, &found, backend).await,
        None => Err(LinkError::Missing { interface: interface.clone() }),
    };
    if let Err(error) = &made {
        tracing::warn!(%interface, %error, "removing the link device that could not be set up");
        if let Err(error) = remove(interface, host).await {
            tracing::warn!(%interface, %error, "could not remove it");
        }
    }
    made
}

/// The link device of that name as it is, if it is there.
pub async fn present(
    interface: &InterfaceName,
    netlink: &Netlink,
) -> Result<Option<Device>, LinkError> {
    let Some(found) = netlink.interface(interface).await? else { return Ok(None) };
    let backend = adoptable(interface, &found)?;
    Ok(Some(Device { index: found.index, mtu: found.mtu, backend }))
}

/// How the peers of a link device fare now.
pub async fn health(interface: &InterfaceName) -> Result<Vec<PeerHealth>, LinkError> {
    let netlink = Netlink::connect()?;
    let found = netlink
        .interface(interface)
        .await?
        .ok_or_else(|| LinkError::Missing { interface: interface.clone() })?;
    let observed = wireguard::read(interface, adoptable(interface, &found)?).await?;
    let now = SystemTime::now();
    Ok(observed.peers.iter().map(|(key, peer)| health::judge(*key, peer, now)).collect())
}

/// Removes a link device, its process and its files. A device that is not there is no error; a
/// device that is no link device is left alone.
pub async fn remove(interface: &InterfaceName, host: &LinkHost) -> Result<(), LinkError> {
    let netlink = Netlink::connect()?;
    if let Some(found) = netlink.interface(interface).await? {
        let backend = adoptable(interface, &found)?;
        netlink.delete(found.index).await.map_err(|error| refused(interface, error))?;
        if backend == Backend::Userspace {
            process::ended(interface).await?;
            process::remove_socket_directory();
        }
    }
    for path in
        [record::path(&host.directory, interface), process::log_path(&host.directory, interface)]
    {
        remove_file(interface, &path)?;
    }
    Ok(())
}

impl LinkKind {
    fn admits(self, backend: Backend) -> bool {
        match (self, backend) {
            (Self::Auto, _) => true,
            (Self::Kernel, Backend::Kernel) | (Self::Userspace, Backend::Userspace) => true,
            (Self::Kernel, Backend::Userspace) | (Self::Userspace, Backend::Kernel) => false,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        })
    }
}

/// What an existing device is, if it is a link device at all.
fn adoptable(interface: &InterfaceName, found: &Interface) -> Result<Backend, LinkError> {
    match found.kind {
        InterfaceKind::WireGuard => return Ok(Backend::Kernel),
        InterfaceKind::Tun if process::server(interface)? == Server::Here => {
            return Ok(Backend::Userspace);
        }
        InterfaceKind::Tun | InterfaceKind::Other(_) | InterfaceKind::Plain => {}
    }
    Err(LinkError::NameTaken { interface: interface.clone(), kind: found.kind.clone() })
}

async fn create(
    settings: &LinkSettings,
    host: &LinkHost,
    netlink: &Netlink,
) -> Result<Backend, LinkError> {
    let interface = &settings.interface;
    if settings.kind != LinkKind::Userspace {
        match netlink.create_wireguard(interface).await {
            Ok(()) => return Ok(Backend::Kernel),
            Err(error) => match error.errno() {
                Some(Errno::EOPNOTSUPP) if settings.kind == LinkKind::Kernel => {
                    return Err(LinkError::NoKernelWireGuard { interface: interface.clone() });
                }
                Some(Errno::EOPNOTSUPP) => {}
                _ => return Err(refused(interface, error)),
            },
        }
    }
    if process::server(interface)? == Server::Elsewhere {
        let socket = process::socket_path(interface);
        return Err(LinkError::NameInUseElsewhere { interface: interface.clone(), socket });
    }
    process::start(interface, host).await?;
    Ok(Backend::Userspace)
}

async fn configure(
    settings: &LinkSettings,
    host: &LinkHost,
    netlink: &Netlink,
    found: &Interface,
    backend: Backend,
) -> Result<Device, LinkError> {
    let interface = &settings.interface;
    let mtu = wanted_mtu(settings, netlink, backend).await?;
    let observed = wireguard::read(interface, backend).await?;
    let record = record::path(&host.directory, interface);
    let change = difference(settings, &observed, &ConfiguredEndpoints::load(&record, found.index));
    apply::apply(interface, backend, &observed, change).await?;
    record::make_directory(&host.directory)
        .and_then(|()| ConfiguredEndpoints::from_peers(&settings.peers).store(&record, found.index))
        .map_err(|reason| LinkError::File {
            interface: interface.clone(),
            doing: "write",
            path: record,
            reason,
        })?;
    if found.mtu != mtu {
        let set = netlink.set_mtu(found.index, mtu).await;
        set.map_err(|error| refused(interface, error))?;
    }
    if !found.up {
        let refuse = netlink.refuse_link_local(found.index).await;
        refuse.map_err(|error| refused(interface, error))?;
        netlink.set_up(found.index).await.map_err(|error| match error.errno() {
            // A kernel device binds its port when it goes up.
            Some(Errno::EADDRINUSE) => LinkError::PortInUse {
                interface: interface.clone(),
                port: settings.listen_port.map_or(0, NonZeroU16::get),
            },
            _ => refused(interface, error),
        })?;
    }
    Ok(Device { index: found.index, mtu, backend })
}

fn difference(
    settings: &LinkSettings,
    observed: &Observed,
    configured: &ConfiguredEndpoints,
) -> Change {
    let key_differs = observed.public_key != Some(settings.private_key.public_key());
    let port = settings.listen_port.map(NonZeroU16::get);
    Change {
        private_key: key_differs.then(|| settings.private_key.clone()),
        listen_port: port.filter(|wanted| observed.listen_port != Some(*wanted)),
        peers: peers::difference(&observed.peers, &settings.peers, configured),
    }
}

async fn wanted_mtu(
    settings: &LinkSettings,
    netlink: &Netlink,
    backend: Backend,
) -> Result<u32, LinkError> {
    let interface = &settings.interface;
    let (least, most) = (mtu::LEAST, mtu::most(backend));
    if let Some(mtu) = settings.mtu {
        if !(least..=most).contains(&mtu) {
            let interface = interface.clone();
            return Err(LinkError::Mtu { interface, mtu, least, most, backend });
        }
        return Ok(mtu);
    }
    if let Some(mtu) = settings.found_mtu {
        return Ok(mtu.clamp(least, most));
    }
    let mut paths = Vec::new();
    for endpoint in settings.peers.iter().filter_map(|peer| peer.endpoint) {
        let endpoint = endpoint.ip();
        match netlink.path_to(endpoint).await {
            Ok(path) => paths.push(UnderlayPath { endpoint, mtu: path.mtu() }),
            Err(error) => tracing::warn!(%interface, %endpoint, %error, "no path to a peer yet"),
        }
    }
    Ok(mtu::over(&paths, backend))
}

fn refused(interface: &InterfaceName, error: NetlinkError) -> LinkError {
    match error {
        NetlinkError::Refused { doing, errno: Errno::EPERM } => permission(interface, doing),
        error => error.into(),
    }
}

fn permission(interface: &InterfaceName, doing: String) -> LinkError {
    LinkError::Permission { interface: interface.clone(), doing }
}

fn remove_file(interface: &InterfaceName, path: &Path) -> Result<(), LinkError> {
    match fs::remove_file(path) {
        Err(reason) if reason.kind() != io::ErrorKind::NotFound => Err(LinkError::File {
            interface: interface.clone(),
            doing: "remove",
            path: path.into(),
            reason,
        }),
        _ => Ok(()),
    }
}
