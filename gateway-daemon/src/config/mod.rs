//! The daemon's file on disk, and what of a site is carried out by netlink rather than by tables.
//!
//! Called by the daemon at start and on every reload, and by `gatewayd --check`. Nothing here
//! changes the host. Every error is a fault of the operator's files: exit code 2.

mod network;
mod role;
mod seal;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use gateway_control::Plan;
use gateway_control::model::{LinkKind, PublicKey, SiteModel};
use gateway_control::plan::{DevicePlan, DialPlan, PeerPlan};
use gateway_control::site_file::{self, SiteFileError, ToldGateway};
pub use network::{GRACE, NetworkSettings};
pub use role::{ControllerFile, GatewayFile, Place, Role, SESSIONS, SOCKET, STORE, StoreChoice};
pub use seal::SealSettings;

use crate::link::{self, DeviceKey, Dialled, LinksWanted, PrivateKey, WantedPeer};
use crate::netlink::InterfaceName;
use crate::sandbox;

/// A site file that was read and makes sense.
#[derive(Clone, Debug)]
pub struct SiteFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// What it says.
    pub model: SiteModel,
    /// The link's private key, if that is in no file.
    pub link_key: Option<PrivateKey>,
}

/// Why a site file, or a file it names, is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The site file cannot be read.
    #[error("site file {}: cannot read it: {reason}; name another with --config{}", .path.display(), sandbox::hint(.reason))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
    /// The site file contains faults.
    #[error("site file {}:\n\n{faults}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// All of them.
        faults: SiteFileError,
    },
    /// The file of a controller is no such thing.
    #[error("file {}: {error}", .path.display())]
    Notation {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: Box<toml::de::Error>,
    },
    /// A value in the file of a controller makes no sense.
    #[error("file {}: {key}: {error}", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong, and the remedy.
        error: String,
    },
    /// The private key cannot be read.
    #[error(
        "private key {}: cannot read it: {reason}; make one with `wg genkey` or correct \
         link.private_key_file{}", .path.display(), sandbox::hint(.reason)
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
    /// Others than its owner can use the private key.
    #[error(
        "private key {}: others than its owner have access to it (mode {mode:04o}); run \
         `chmod 600 {}`, and take a new key if anybody may have read it",
        .path.display(), .path.display()
    )]
    KeyOpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The private key is none.
    #[error("private key {}: {reason}", .path.display())]
    KeyContent {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: link::InvalidKey,
    },
    /// An interface name that netlink requests cannot carry.
    #[error("interface {name}: {reason}; rename the interface or correct the site file")]
    Interface {
        /// The name.
        name: gateway_control::model::InterfaceName,
        /// Why not.
        reason: crate::netlink::InvalidInterfaceName,
    },
}

impl SiteFile {
    /// Reads and checks the site file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &role::text(path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let model = site_file::parse(text)
            .map_err(|faults| ConfigError::Content { path: path.into(), faults })?;
        Ok(Self { path: path.into(), model, link_key: None })
    }

    /// The effective configuration, with what the operator should know of it as comments.
    pub fn effective(&self) -> String {
        let notes: String =
            self.model.notes().iter().map(|note| format!("# note: {note}\n")).collect();
        let gap = if notes.is_empty() { "" } else { "\n" };
        format!("{notes}{gap}{}", self.model)
    }

    /// What the links should be, with the private keys read from their files.
    pub fn links(&self) -> Result<LinksWanted, ConfigError> {
        let plan = Plan::new(&self.model).link;
        let device = |device: DevicePlan| -> Result<DeviceKey, ConfigError> {
            let private_key = match &self.link_key {
                Some(key) => key.clone(),
                None => read_private_key(&self.beside(device.private_key_file.as_str()))?,
            };
            Ok(DeviceKey { private_key, listen_port: device.listen_port })
        };
        Ok(LinksWanted {
            interfaces: [interface_name(&plan.interface)?, interface_name(&plan.second_interface)?],
            kind: match plan.kind {
                LinkKind::Auto => link::LinkKind::Auto,
                LinkKind::Kernel => link::LinkKind::Kernel,
                LinkKind::Userspace => link::LinkKind::Userspace,
            },
            mtu: plan.mtu.map(u32::from),
            current: device(plan.current)?,
            next: plan.next.map(device).transpose()?,
            peers: plan.peers.into_iter().map(link_peer).collect(),
        })
    }

    /// A path as the site file writes it: relative to the site file.
    fn beside(&self, path: &str) -> PathBuf {
        beside(&self.path, path)
    }
}

/// The public key of a gateway that is told its share, whose file is at `path`.
pub fn public_key(path: &Path, gateway: &ToldGateway) -> Result<PublicKey, ConfigError> {
    let key = read_private_key(&beside(path, gateway.facts.link.private_key_file.as_str()))?;
    Ok(public_key_of(&key))
}

/// The public key that belongs to a private one.
pub fn public_key_of(key: &PrivateKey) -> PublicKey {
    PublicKey::from(*key.public_key().as_bytes())
}

fn beside(file: &Path, path: impl AsRef<Path>) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// The name of an interface for netlink requests, which take fewer names than the kernel does.
pub fn interface_name(
    name: &gateway_control::model::InterfaceName,
) -> Result<InterfaceName, ConfigError> {
    name.as_str().parse().map_err(|reason| ConfigError::Interface { name: name.clone(), reason })
}

/// A peer's key as links write it.
pub fn link_key(key: &PublicKey) -> link::PublicKey {
    wireguard_control::Key(*key.as_bytes()).into()
}

fn link_peer(peer: PeerPlan) -> WantedPeer {
    WantedPeer {
        site: peer.site.to_string(),
        sites: peer.sites.iter().map(ToString::to_string).collect(),
        transit: peer.transit,
        current: dialled(peer.current),
        next: peer.next.map(dialled),
    }
}

fn dialled(plan: DialPlan) -> Dialled {
    Dialled {
        public_key: link_key(&plan.public_key),
        endpoints: plan.endpoints.iter().map(|endpoint| endpoint.socket_address()).collect(),
        keepalive: plan.keepalive.map(|keepalive| keepalive.seconds()),
    }
}

/// A key file longer than this holds something else.
const LONGEST_KEY: u64 = 256;

fn read_private_key(path: &Path) -> Result<PrivateKey, ConfigError> {
    let unreadable = |reason| ConfigError::Key { path: path.into(), reason };
    // Not opened unless it is a file: opening a pipe would wait for its writer.
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(unreadable(io::Error::other("it is not a regular file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ConfigError::KeyOpenToOthers { path: path.into(), mode });
    }
    let mut text = String::new();
    file.take(LONGEST_KEY).read_to_string(&mut text).map_err(unreadable)?;
    text.parse().map_err(|reason| ConfigError::KeyContent { path: path.into(), reason })
}
