//! The controller's store: keys, values and revisions, in a file or in etcd.
//!
//! The controller calls it; it knows nothing of resources. Both implementations give what
//! `docs/decisions/0031-store-semantics.md` says, and one suite of tests holds both to it. What always
//! holds: a transaction is there whole or not at all, revisions only grow, and what a call answered
//! with success is still there after any crash.

mod error;
pub mod etcd;
mod key;
pub mod sqlite;
mod transaction;

use std::fmt::Debug;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

pub use error::StoreError;
pub use key::{Entry, Key, KeyError, Lease, LeaseId, Prefix, Revision, Value, ValueError};
pub use transaction::{Condition, Conflict, Limits, Operation, Outcome, Transaction};

/// Keys with values, of which every change has a revision.
///
/// A call that is dropped before it answers may still take effect.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// What it is and where, for people.
    fn description(&self) -> String;

    /// What fits into a transaction of this store.
    fn limits(&self) -> Limits;

    /// The revision of the last change. Any read that begins later sees this revision or a newer one.
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// The key's present entry, if it has one.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// A page of the keys with this prefix, in the order of their bytes: at most `limit` entries, fewer
    /// where they are large. Without a cursor it begins at the first key and at the present revision; with the
    /// cursor of another page it goes on behind that one, at that page's revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the cursor's revision has been compacted since.
    async fn list(
        &self,
        prefix: &Prefix,
        limit: NonZeroUsize,
        from: Option<&Cursor>,
    ) -> Result<Page, StoreError>;

    /// If all conditions hold, does all operations under one new revision; otherwise none.
    ///
    /// # Errors
    /// [`StoreError::Uncertain`] if it is not known whether it was done. After every other error it was not.
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, StoreError>;

    /// The changes of keys with this prefix whose revision is greater than `after`. With the revision of
    /// a [`Page`] it shows all that has changed since the page was read.
    ///
    /// The watch buffers no more than a few transactions, however slowly it is read: what is not asked
    /// for stays in the store, until it is compacted.
    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Box<dyn Watch>, StoreError>;

    /// A new lease, which ends when it was not kept alive for `ttl`. Stores round up to whole seconds, and
    /// may have a longer least time; the answer has the time that counts.
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError>;

    /// Lets the lease's time begin anew; gives that time.
    ///
    /// # Errors
    /// [`StoreError::LeaseEnded`] if it is over or never was.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError>;

    /// Ends the lease now. Its keys go in one transaction, which watches show.
    ///
    /// # Errors
    /// [`StoreError::LeaseEnded`] if it is over or never was.
    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Forgets what was superseded at this revision or before. Entries of that revision and later ones can still be
    /// listed, and changes after it watched. Does nothing if that much is forgotten already.
    ///
    /// # Errors
    /// [`StoreError::Future`] if there has been no such revision yet.
    async fn compact(&self, up_to: Revision) -> Result<(), StoreError>;

    /// Writes a copy of the store as it is at one moment to a new file, while the store goes on; checks that it can be
    /// restored. Gives its revision.
    ///
    /// # Errors
    /// [`StoreError::OwnBackup`] if the engine has means of its own for that.
    async fn backup(&self, to: &Path) -> Result<Revision, StoreError>;
}

/// Changes as they are made.
#[async_trait]
pub trait Watch: Send + Debug {
    /// The next transaction that changed a key with the prefix, as soon as there is one. Every such
    /// transaction is given once, in the order of revisions. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the store has forgotten what comes next; list and watch anew. After any
    /// other error it may be asked again and goes on where it was.
    async fn next(&mut self) -> Result<Changes, StoreError>;
}

/// Entries of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The revision at which these were the entries.
    pub revision: Revision,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<Cursor>,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The revision of all pages.
    revision: Revision,
    /// The last key of the page.
    after: Key,
}

/// What one transaction changed among the keys that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The transaction's revision.
    pub revision: Revision,
    /// In the order of their keys, each key once.
    pub changes: Vec<Change>,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has a new value.
    Put(Entry),
    /// It is no more: deleted, or its lease ended.
    Deleted(Key),
}

impl Change {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted(key) => key,
        }
    }
}
