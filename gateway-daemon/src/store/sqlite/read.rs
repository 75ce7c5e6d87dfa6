//! The thread that reads, and the watches it serves.
//!
//! It never waits for the writer: in SQLite's log each reader sees the state of the moment it began. It also notices
//! what other processes write.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::Shared;
use super::file::engine;
use super::history::{self, QueryError, State};
use super::queue::Queued;
use crate::store::{Changes, Prefix, Revision, StoreError, Watch};

/// How often to look for what another process wrote, while there are watches: SQLite tells no one.
const LOOK: Duration = Duration::from_millis(100);

/// What the thread can do.
pub(super) enum Job {
    Read(Query),
    /// Close the file and be done.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

type Query = Box<dyn FnOnce(&mut Connection) + Send>;

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "Read",
            Self::Close(_) => "Close",
        })
    }
}

/// Runs a query in a transaction of its own.
pub(super) fn query<T>(
    connection: &mut Connection,
    path: &Path,
    work: impl FnOnce(&Connection) -> Result<T, QueryError>,
) -> Result<T, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Deferred)
        .map_err(engine(path, "begin to read"))?;
    work(&transaction).map_err(|error| error.at(path))
}

/// Works until the store is closed or dropped; gives whom to tell when the thread is done.
pub(super) fn run(
    connection: &mut Connection,
    path: &Path,
    news: &watch::Sender<Revision>,
    jobs: &Receiver<Queued<Job>>,
) -> Option<oneshot::Sender<Result<(), StoreError>>> {
    let mut due = Instant::now() + LOOK;
    let mut seen = None;
    loop {
        match jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Queued { job: Job::Read(work), .. }) => work(connection),
            Ok(Queued { job: Job::Close(reply), .. }) => return Some(reply),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
        if due <= Instant::now() {
            // One of them is the store's own.
            if news.receiver_count() > 1
                && let Err(error) = look(connection, path, news, &mut seen)
            {
                tracing::error!("cannot look for what other processes wrote: {error}");
            }
            due = Instant::now() + LOOK;
        }
    }
}

/// Tells the watches what other connections wrote since the last look.
fn look(
    connection: &mut Connection,
    path: &Path,
    news: &watch::Sender<Revision>,
    seen: &mut Option<i64>,
) -> Result<(), StoreError> {
    let version = connection
        .pragma_query_value(None, "data_version", |row| row.get(0))
        .map_err(engine(path, "read the file"))?;
    if *seen == Some(version) {
        return Ok(());
    }
    let revision = query(connection, path, State::read)?.revision;
    *seen = Some(version);
    news.send_if_modified(|last| {
        let is_new = revision > *last;
        *last = revision.max(*last);
        is_new
    });
    Ok(())
}

/// A watch of an SQLite store: a place in the history, and what was read ahead.
#[derive(Debug)]
pub(super) struct SqliteWatch {
    pub(super) store: Arc<Shared>,
    pub(super) prefix: Prefix,
    /// What is up to this revision has been given, or is in `ahead`.
    pub(super) after: Revision,
    pub(super) ahead: VecDeque<Changes>,
    pub(super) news: watch::Receiver<Revision>,
}

#[async_trait]
impl Watch for SqliteWatch {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            if let Some(changes) = self.ahead.pop_front() {
                return Ok(changes);
            }
            // Before the look, so that what is written during it is not missed.
            self.news.borrow_and_update();
            let (prefix, after) = (self.prefix.clone(), self.after);
            let (changes, up_to) = self
                .store
                .read(move |connection| history::changes(connection, &prefix, after))
                .await?;
            self.after = up_to;
            self.ahead = changes.into();
            if self.ahead.is_empty() && self.news.changed().await.is_err() {
                return Err(self.store.closed());
            }
        }
    }
}
