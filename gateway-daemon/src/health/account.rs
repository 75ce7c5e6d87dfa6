//! What is known of the back ends, as a file in the run directory: for `gatewayctl`, and for the next
//! daemon. A file that is missing or unreadable only means that every back end is held to serve.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use gateway_common::map::BackendKey;
use serde::{Deserialize, Serialize};

/// More than the most back ends there can be; what is longer was not written here.
const LONGEST_FILE: u64 = 32 * 1024 * 1024;

/// All back ends that are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Each service's back ends.
    pub backends: Vec<BackendAccount>,
    /// Back ends whose address nobody on the LAN answers for, and since when, in seconds since 1970.
    pub unreachable: BTreeMap<Ipv4Addr, u64>,
}

/// One back end of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendAccount {
    /// The service's transit address.
    pub service: Ipv4Addr,
    /// The host.
    pub address: Ipv4Addr,
    /// Whether it is held to serve.
    pub up: bool,
    /// What it answered when that was decided.
    pub why: String,
    /// When that was, in seconds since 1970.
    pub since: u64,
}

impl BackendAccount {
    /// Which back end it is of.
    pub fn key(&self) -> BackendKey {
        BackendKey { service: self.service.into(), address: self.address.into() }
    }
}

impl Account {
    /// What the file in the run directory says.
    pub fn load(directory: &Path) -> Self {
        let read = || -> Option<Self> {
            let mut text = String::new();
            File::open(path(directory)).ok()?.take(LONGEST_FILE).read_to_string(&mut text).ok()?;
            serde_json::from_str(&text).ok()
        };
        read().unwrap_or_default()
    }

    /// What is known of one.
    pub fn of(&self, key: &BackendKey) -> Option<&BackendAccount> {
        self.backends.iter().find(|it| it.key() == *key)
    }

    /// Those that nobody answered for when the daemon last looked.
    pub fn unreachable(&self) -> BTreeSet<Ipv4Addr> {
        self.unreachable.keys().copied().collect()
    }

    pub(super) fn is_down(&self, key: &BackendKey) -> bool {
        self.of(key).is_some_and(|it| !it.up)
    }

    /// Forgets all but these, and holds those to serve that it knows nothing of; says whether that
    /// changed anything.
    pub(super) fn keep(&mut self, keys: &BTreeSet<BackendKey>, now: u64) -> bool {
        let before = self.backends.len();
        self.backends.retain(|it| keys.contains(&it.key()));
        let mut changed = self.backends.len() != before;
        let known: BTreeSet<_> = self.backends.iter().map(BackendAccount::key).collect();
        for key in keys.difference(&known) {
            self.set(*key, true, "not asked yet".to_owned(), now);
            changed = true;
        }
        changed
    }

    pub(super) fn set(&mut self, key: BackendKey, up: bool, why: String, since: u64) {
        self.backends.retain(|it| it.key() != key);
        let (service, address) = (key.service.into(), key.address.into());
        self.backends.push(BackendAccount { service, address, up, why, since });
    }

    /// Says whether that changed anything.
    pub(super) fn set_unreachable(&mut self, found: &BTreeSet<Ipv4Addr>, now: u64) -> bool {
        let before = self.unreachable.clone();
        self.unreachable.retain(|address, _| found.contains(address));
        for address in found {
            self.unreachable.entry(*address).or_insert(now);
        }
        before != self.unreachable
    }

    /// Writes the file, replacing it whole.
    pub(super) fn store(&self, directory: &Path) -> io::Result<()> {
        let path = path(directory);
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec(self)?)?;
        fs::rename(&unfinished, path)
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("backends.json")
}
