//! Which endpoint the site file gave each peer when it was last sent to the device.
//!
//! WireGuard keeps one endpoint a peer and overwrites it when the peer roams, so the device
//! cannot say which one was configured. A small file in the run directory remembers it, together
//! with the index of the device it was sent to: a device made anew makes the file worthless, and
//! a file that is missing or unreadable only means that configured endpoints are sent again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::settings::{LinkPeer, PublicKey};
use crate::netlink::{InterfaceIndex, InterfaceName};

/// More than a thousand peers' worth; what is longer was not written here.
const LONGEST_FILE: u64 = 256 * 1024;

/// The endpoints that were configured when they were last sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ConfiguredEndpoints(BTreeMap<PublicKey, SocketAddr>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    interface_index: u32,
    endpoints: BTreeMap<String, SocketAddr>,
}

impl ConfiguredEndpoints {
    pub(super) fn from_peers(peers: &[LinkPeer]) -> Self {
        let pairs = peers.iter().filter_map(|peer| Some((peer.public_key, peer.endpoint?)));
        Self(pairs.collect())
    }

    pub(super) fn of(&self, peer: &PublicKey) -> Option<SocketAddr> {
        self.0.get(peer).copied()
    }

    /// What is remembered of the device with that index; nothing if the file says nothing of it.
    pub(super) fn load(path: &Path, index: InterfaceIndex) -> Self {
        Self::read(path, index).unwrap_or_default()
    }

    /// Writes the file, replacing it whole. Unchanged content is not written again.
    pub(super) fn store(&self, path: &Path, index: InterfaceIndex) -> io::Result<()> {
        if Self::read(path, index).as_ref() == Some(self) {
            return Ok(());
        }
        let endpoints = self.0.iter().map(|(key, endpoint)| (key.to_string(), *endpoint)).collect();
        let file = File { interface_index: index.value(), endpoints };
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec(&file)?)?;
        fs::rename(&unfinished, path)
    }

    fn read(path: &Path, index: InterfaceIndex) -> Option<Self> {
        let mut text = String::new();
        fs::File::open(path).ok()?.take(LONGEST_FILE).read_to_string(&mut text).ok()?;
        let file: File = serde_json::from_str(&text).ok()?;
        if file.interface_index != index.value() {
            return None;
        }
        let pairs =
            file.endpoints.into_iter().map(|(key, endpoint)| Some((key.parse().ok()?, endpoint)));
        pairs.collect::<Option<_>>().map(Self)
    }
}

/// Where the record of that device stands.
pub(super) fn path(directory: &Path, interface: &InterfaceName) -> PathBuf {
    directory.join(format!("link-{interface}.json"))
}

/// Makes the run directory, closed to other users, unless it is there.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_for_its_device_only() {
        let directory = std::env::temp_dir().join(format!("link-record-{}", std::process::id()));
        make_directory(&directory).unwrap();
        let file = path(&directory, &"presence".parse().unwrap());
        let peer = LinkPeer {
            site: "cloud".into(),
            public_key: PublicKey::from(wireguard_control::Key([7; 32])),
            endpoint: Some("192.0.2.1:51820".parse().unwrap()),
            keepalive: None,
            transit: Vec::new(),
        };
        let record = ConfiguredEndpoints::from_peers(std::slice::from_ref(&peer));
        let (index, later) = (InterfaceIndex::from(5), InterfaceIndex::from(6));

        assert_eq!(ConfiguredEndpoints::load(&file, index), ConfiguredEndpoints::default());
        record.store(&file, index).unwrap();
        assert_eq!(ConfiguredEndpoints::load(&file, index), record);
        assert_eq!(record.of(&peer.public_key), peer.endpoint);
        assert_eq!(ConfiguredEndpoints::load(&file, later), ConfiguredEndpoints::default());

        fs::write(&file, "{ not json").unwrap();
        assert_eq!(ConfiguredEndpoints::load(&file, index), ConfiguredEndpoints::default());
        fs::remove_dir_all(&directory).unwrap();
    }
}
