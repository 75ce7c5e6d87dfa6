//! The store in one SQLite file: for a deployment with one controller.
//!
//! Two threads own the connections, one that writes and one that reads; calls wait in their queues and never
//! on a thread of the runtime. Several processes may have the file open at once, as when one controller
//! takes over from another.

mod backup;
mod file;
mod history;
mod leases;
mod queue;
mod read;
mod write;

use std::collections::VecDeque;
use std::fs::TryLockError;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::watch;
use tokio::task;

use super::{
    Cursor, Entry, Key, Lease, LeaseId, Limits, Outcome, Page, Prefix, Revision, Store, StoreError,
    Transaction, Watch,
};
pub use backup::{Restored, restore};
pub use file::FileError;
use history::{QueryError, State};
use leases::Clock;
use queue::{Gone, Queue};
use read::SqliteWatch;
use write::Writer;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct SqliteSettings {
    /// Most bytes that the file may have; what would need more is refused as on a full disk.
    pub most_bytes: u64,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { most_bytes: 8 << 30 }
    }
}

/// An open SQLite store.
#[derive(Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    reader: Queue<read::Job>,
    writer: Queue<write::Job>,
    /// The last revision that is known; ends with the threads.
    news: watch::Receiver<Revision>,
}

impl SqliteStore {
    /// What fits into a transaction.
    pub const LIMITS: Limits = Limits { operations: 16_384, bytes: 32 << 20 };

    /// Makes an empty store where there is no file, and opens it.
    pub async fn create(path: &Path, settings: SqliteSettings) -> Result<Self, StoreError> {
        let made = path.to_owned();
        blocking(path, move || file::create(&made)).await?;
        Self::open(path, settings).await
    }

    /// Opens the store in this file, which is read and checked in full.
    ///
    /// # Errors
    /// [`FileError`] if there is none, or it is damaged, a backup, something else, or of a later layout.
    pub async fn open(path: &Path, settings: SqliteSettings) -> Result<Self, StoreError> {
        let opened = path.to_owned();
        blocking(path, move || open(&opened, settings)).await
    }

    /// Does what is asked for already, then closes the file. Calls that come later, also of watches, are refused.
    pub async fn close(self) -> Result<(), StoreError> {
        let closed = |_| self.shared.closed();
        self.shared.writer.ask(write::Job::Close).await.map_err(closed)??;
        self.shared.reader.ask(read::Job::Close).await.map_err(closed)?
    }
}

impl Shared {
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let job = |reply: tokio::sync::oneshot::Sender<_>| {
            read::Job::Read(Box::new(move |connection| {
                // A caller that is gone wants no answer.
                let _ = reply.send(read::query(connection, &path, work));
            }))
        };
        self.reader.ask(job).await.map_err(|_| self.closed())?
    }

    async fn write<T>(
        &self,
        make: impl FnOnce(tokio::sync::oneshot::Sender<Result<T, StoreError>>) -> write::Job,
    ) -> Result<T, StoreError> {
        self.writer.ask(make).await.map_err(|gone| match gone {
            Gone::Before => self.closed(),
            Gone::During => StoreError::Uncertain {
                store: self.path.display().to_string(),
                reason: "the store was closed meanwhile".to_owned(),
            },
        })?
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { store: self.path.clone() }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn description(&self) -> String {
        format!("SQLite, {}", self.shared.path.display())
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.shared.read(State::read).await?.revision)
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let key = key.clone();
        self.shared.read(move |connection| history::get(connection, &key)).await
    }

    async fn list(
        &self,
        prefix: &Prefix,
        limit: NonZeroUsize,
        from: Option<&Cursor>,
    ) -> Result<Page, StoreError> {
        let (prefix, from) = (prefix.clone(), from.cloned());
        self.shared
            .read(move |connection| history::page(connection, &prefix, limit.get(), from.as_ref()))
            .await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        transaction.check(self.limits())?;
        self.shared.write(|reply| write::Job::Transact(transaction, reply)).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        Ok(Box::new(SqliteWatch {
            store: Arc::clone(&self.shared),
            prefix: prefix.clone(),
            after,
            ahead: VecDeque::new(),
            news: self.shared.news.clone(),
        }))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.shared.write(|reply| write::Job::Grant(ttl, reply)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.shared.write(|reply| write::Job::KeepAlive(lease, reply)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.shared.write(|reply| write::Job::Revoke(lease, reply)).await
    }

    async fn compact(&self, up_to: Revision) -> Result<(), StoreError> {
        self.shared.write(|reply| write::Job::Compact(up_to, reply)).await
    }

    async fn backup(&self, to: &Path) -> Result<Revision, StoreError> {
        let (from, to) = (self.shared.path.clone(), to.to_owned());
        blocking(&self.shared.path, move || backup::backup(&from, &to)).await
    }
}

fn open(path: &Path, settings: SqliteSettings) -> Result<SqliteStore, StoreError> {
    file::is_there(path)?;
    let lock = file::lock_file(path)?;
    lock.try_lock_shared().map_err(|error| in_use(path, error))?;
    let checking = file::connect(path)?;
    let state = read_whole(&checking, path)?;
    file::close(checking, path)?;
    if state.is_backup {
        return Err(FileError::IsBackup { path: path.to_owned() }.into());
    }
    let clock = Clock::new();
    let mut writing = file::serve(path, settings.most_bytes)?;
    write_once(&mut writing, path, |connection| leases::resume(connection, &clock))?;
    let mut reading = file::serve(path, settings.most_bytes)?;

    let (tell, news) = watch::channel(state.revision);
    let (writer, write_jobs) = Queue::new();
    let (reader, read_jobs) = Queue::new();
    let lock = Arc::new(lock);
    let held = Arc::clone(&lock);
    let mut work = Writer {
        path: path.to_owned(),
        connection: writing,
        clock,
        news: tell.clone(),
        due: Instant::now(),
    };
    spawn(path, "store-writer", move || {
        let reply = work.run(&write_jobs);
        let closed = file::close(work.connection, &work.path);
        drop((write_jobs, work.news, held));
        reply.map(|reply| reply.send(closed));
    })?;
    let reading_path = path.to_owned();
    spawn(path, "store-reader", move || {
        let reply = read::run(&mut reading, &reading_path, &tell, &read_jobs);
        let closed = file::close(reading, &reading_path);
        drop((read_jobs, tell, lock));
        reply.map(|reply| reply.send(closed));
    })?;
    Ok(SqliteStore { shared: Arc::new(Shared { path: path.to_owned(), reader, writer, news }) })
}

fn spawn(path: &Path, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), FileError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(|_| ()).map_err(file::io_error(path, "start a thread for it"))
}

/// Checks the file as it is at one moment.
fn read_whole(connection: &Connection, path: &Path) -> Result<State, StoreError> {
    let _moment =
        connection.unchecked_transaction().map_err(file::engine(path, "begin to read"))?;
    file::check(connection, path)
}

/// Writes outside of the writer's thread: before there is one, or to a copy.
fn write_once(
    connection: &mut Connection,
    path: &Path,
    work: impl FnOnce(&Connection) -> Result<(), QueryError>,
) -> Result<(), StoreError> {
    let failed = || file::engine(path, "write");
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failed())?;
    work(&transaction).map_err(|error| error.at(path))?;
    transaction.commit().map_err(failed())
}

fn in_use(path: &Path, error: TryLockError) -> FileError {
    match error {
        TryLockError::WouldBlock => FileError::InUse { path: path.to_owned() },
        TryLockError::Error(error) => file::io_error(path, "lock the file")(error),
    }
}

/// Runs what waits for the disk away from the runtime's own threads.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    task::spawn_blocking(work)
        .await
        .map_err(|error| file::io_error(path, "finish what was asked")(io::Error::other(error)))?
}
