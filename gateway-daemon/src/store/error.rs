//! Why a store did not do what it was asked for: the object, what is wrong, the remedy.

use std::path::PathBuf;
use std::time::Duration;

use super::sqlite::FileError;
use super::{LeaseId, Revision};

/// Why a store did not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// More operations or conditions than the store takes at once.
    #[error(
        "the transaction has {operations} operations or conditions and this store takes at most \
         {limit}; divide it"
    )]
    TooManyOperations {
        /// How many it has.
        operations: usize,
        /// How many it may have.
        limit: usize,
    },
    /// More bytes than the store takes at once.
    #[error(
        "the transaction has {bytes} bytes and this store takes at most {limit}; divide it or \
         shorten its values"
    )]
    TooManyBytes {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The revision's history is no longer there.
    #[error(
        "revision {asked} has been compacted; list the entries anew and go on from that list's \
         revision (the oldest that can be had is {kept})"
    )]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision that can be read, or after which can be watched.
        kept: Revision,
    },
    /// There has been no such revision yet.
    #[error("there has been no revision {asked} yet; ask for at most {now}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The present revision.
        now: Revision,
    },
    /// The lease is over.
    #[error("lease {lease} has ended or never was; ask for a new one and write its keys again")]
    LeaseEnded {
        /// The lease.
        lease: LeaseId,
    },
    /// Something about a file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It cannot be written; nothing of the transaction is there.
    #[error(
        "store {store}: nothing was written: {reason}; see that its file system is writable and \
         has room (`df`) and that it may grow (store.most_bytes), and try again"
    )]
    Unwritable {
        /// The file.
        store: PathBuf,
        /// The engine's words.
        reason: String,
    },
    /// Another process keeps the file locked.
    #[error(
        "store {store}: another process has been writing to it for {} s; end that process \
         (`fuser` names it) or try again",
        .waited.as_secs()
    )]
    Busy {
        /// The file.
        store: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The engine failed in another way.
    #[error(
        "store {store}: cannot {doing}: {reason}; see that it is a \
         file, that gatewayd may write it and its directory, and the kernel's log for faults of its disk"
    )]
    Engine {
        /// The file.
        store: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The engine's words.
        reason: String,
    },
    /// The store's threads are gone.
    #[error("store {store}: it has been closed; open it again")]
    Closed {
        /// The file.
        store: PathBuf,
    },
    /// The settings cannot be used.
    #[error("etcd endpoint {endpoint:?}: {reason}")]
    Endpoint {
        /// What was configured.
        endpoint: String,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// No endpoint answers.
    #[error(
        "etcd {endpoints}: cannot {doing}: {reason}; see that etcd runs there and has a leader \
         (`etcdctl --endpoints={endpoints} endpoint status`) and that no filter is between"
    )]
    Unreachable {
        /// All that were tried, with commas between.
        endpoints: String,
        /// What was tried.
        doing: &'static str,
        /// What came back, or that nothing did.
        reason: String,
    },
    /// The connection or the engine failed after the transaction was given to it.
    #[error(
        "store {store}: it is not known if the transaction was done: {reason}; read its keys \
         before trying again"
    )]
    Uncertain {
        /// The endpoint or file.
        store: String,
        /// What happened.
        reason: String,
    },
    /// etcd answers with an error.
    #[error("etcd {endpoint} refuses to {doing}: {reason}{}", remedy(.reason))]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// What was tried.
        doing: &'static str,
        /// Its words.
        reason: String,
    },
    /// etcd has something there that this store does not write.
    #[error(
        "etcd has a key {key} that Presence did not write (its name or value is too long or too \
         short); delete it (`etcdctl del`) and keep other programs out of /presence/"
    )]
    AlienKey {
        /// The key as etcd has it.
        key: String,
    },
    /// A backup of something that is backed up otherwise.
    #[error(
        "{store} is backed up by its own means: run `etcdctl snapshot save FILE`, which copies all of it at one \
         moment"
    )]
    OwnBackup {
        /// The store.
        store: String,
    },
    /// etcd is too old.
    #[error("etcd {endpoint} is of version {version}; Presence needs 3.4 or later: upgrade it")]
    OldEtcd {
        /// The endpoint.
        endpoint: String,
        /// Its version.
        version: String,
    },
}

impl StoreError {
    /// Whether the same may be done later: another server answers, or a lock is gone.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Uncertain { .. }
            | Self::Busy { .. }
            | Self::Unwritable { .. } => true,
            Self::TooManyOperations { .. }
            | Self::TooManyBytes { .. }
            | Self::Compacted { .. }
            | Self::Future { .. }
            | Self::LeaseEnded { .. }
            | Self::File(_)
            | Self::Engine { .. }
            | Self::Closed { .. }
            | Self::Endpoint { .. }
            | Self::AlienKey { .. }
            | Self::OwnBackup { .. }
            | Self::OldEtcd { .. } => false,
        }
    }
}

/// What helps against etcd's refusals that an operator may meet.
fn remedy(reason: &str) -> &'static str {
    const TOO_LARGE: &str = "; raise its --max-request-bytes or lower the limit configured here";
    const REMEDIES: [(&str, &str); 5] = [
        (
            "database space exceeded",
            "; compact and defragment it and disarm its alarm (`etcdctl defrag`, `etcdctl alarm \
             disarm`), or raise its --quota-backend-bytes",
        ),
        ("too many operations", "; raise its --max-txn-ops or lower the limit configured here"),
        ("too large", TOO_LARGE),
        ("larger than max", TOO_LARGE),
        ("", "; see etcd's log"),
    ];
    REMEDIES
        .iter()
        .find(|(part, _)| reason.contains(part))
        .map(|(_, remedy)| *remedy)
        .unwrap_or_default()
}
