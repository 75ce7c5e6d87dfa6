//! What the daemon knows of its links that their devices do not say, for `gatewayctl`: a file in the
//! run directory, written whenever it changes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record;
use super::rotation::Role;

/// Ten thousand peers' worth; what is longer was not written here.
const LONGEST_FILE: u64 = 8 * 1024 * 1024;

/// All links of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its link devices, the one in use first.
    pub devices: Vec<DeviceAccount>,
    /// Largest packets that the paths to addresses were found to carry, in bytes with the IP header,
    /// so that a daemon that starts again need not guess them.
    pub paths: BTreeMap<IpAddr, u32>,
}

/// One link device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAccount {
    /// Its name.
    pub interface: String,
    /// What it is there for.
    pub role: Role,
    /// This gateway's own public key on it.
    pub public_key: String,
    /// The peers on it.
    pub peers: Vec<PeerAccount>,
}

/// One peer on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAccount {
    /// Its site.
    pub site: String,
    /// Its public key there.
    pub public_key: String,
    /// Whether that key is the current one or the next.
    pub role: Role,
    /// Where it may be dialled.
    pub endpoints: Vec<SocketAddr>,
    /// When it was first dialled, in seconds since 1970; nothing if it dials us.
    pub dialled_since: Option<u64>,
    /// Whether packets for its sites are sent this way.
    pub sends: bool,
    /// Whether what is sent to it is not answered.
    pub unanswered: bool,
    /// Largest packet towards it, inside the link, in bytes.
    pub mtu: u32,
    /// How that is known.
    pub mtu_known: MtuKnown,
    /// Since when it leaves this device, its keys having been replaced, in seconds since 1970; nothing
    /// if it stays.
    #[serde(default)]
    pub leaving_since: Option<u64>,
}

/// How the MTU towards a peer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MtuKnown {
    /// The operator set it.
    Configured,
    /// Packets of that size were answered.
    Probed,
    /// The path is being probed; until then it is what this host's routes say.
    Probing,
    /// The endpoint answers no probes: it is what this host's routes say.
    Unanswered,
    /// This host cannot send probes: it is what its routes say.
    CannotProbe,
    /// It is not known where the peer is.
    NoEndpoint,
}

impl MtuKnown {
    /// For an operator: how it is known.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Configured => "set by link.mtu",
            Self::Probed => "probed",
            Self::Probing => "assumed, being probed",
            Self::Unanswered => "assumed, endpoint does not answer probes",
            Self::CannotProbe => "assumed, this host cannot send probes",
            Self::NoEndpoint => "assumed, no endpoint known yet",
        }
    }
}

impl Account {
    /// What the daemon of that run directory wrote last, if anything.
    pub fn load(directory: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(path(directory)).ok()?.take(LONGEST_FILE).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Replaces the file whole.
    pub(super) fn store(&self, directory: &Path) -> io::Result<()> {
        record::make_directory(directory)?;
        let path = path(directory);
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec(self)?)?;
        fs::rename(&unfinished, path)
    }
}

/// Where the account stands.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("links.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_back_and_anything_else_is_none() {
        let directory = std::env::temp_dir().join(format!("link-account-{}", std::process::id()));
        assert_eq!(Account::load(&directory), None);
        let peer = PeerAccount {
            site: "cloud".into(),
            public_key: "key".into(),
            role: Role::Next,
            endpoints: vec!["192.0.2.1:51820".parse().unwrap()],
            dialled_since: Some(7),
            sends: true,
            unanswered: false,
            mtu: 1420,
            mtu_known: MtuKnown::Unanswered,
            leaving_since: Some(9),
        };
        let device = DeviceAccount {
            interface: "presence".into(),
            role: Role::Current,
            public_key: "own".into(),
            peers: vec![peer],
        };
        let paths = [("192.0.2.1".parse().unwrap(), 1492)].into();
        let account = Account { devices: vec![device], paths };
        account.store(&directory).unwrap();
        assert_eq!(Account::load(&directory), Some(account));
        fs::write(path(&directory), "[").unwrap();
        assert_eq!(Account::load(&directory), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}
