//! The thread that writes: transactions, leases, compaction.
//!
//! It alone writes in this process; SQLite's lock keeps it apart from other processes. Transactions that
//! wait are written together, each under a revision of its own, and are on the disk before any is answered.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::file::engine;
use super::history::{self, QueryError, Record, State};
use super::leases::{self, Clock};
use super::queue::Queued;
use crate::store::{
    Conflict, Lease, LeaseId, Operation, Outcome, Revision, StoreError, Transaction,
};

/// Most transactions that are written together, and most jobs between two looks at the leases.
const MOST_TOGETHER: usize = 64;
/// How often to look for leases that another process granted.
const LOOK: Duration = Duration::from_secs(1);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread can do.
#[derive(Debug)]
pub(super) enum Job {
    Transact(Transaction, Reply<Outcome>),
    Grant(Duration, Reply<Lease>),
    KeepAlive(LeaseId, Reply<Duration>),
    Revoke(LeaseId, Reply<()>),
    Compact(Revision, Reply<()>),
    /// Close the file and be done.
    Close(Reply<()>),
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) clock: Clock,
    /// Tells the watches that there is a new revision.
    pub(super) news: watch::Sender<Revision>,
    /// When to look for leases that have ended.
    pub(super) due: Instant,
}

impl Writer {
    /// Works until the store is closed or dropped; gives whom to tell when the thread is done.
    pub(super) fn run(&mut self, jobs: &Receiver<Queued<Job>>) -> Option<Reply<()>> {
        let mut together = Vec::new();
        loop {
            let wait = self.due.saturating_duration_since(Instant::now());
            let mut next = match jobs.recv_timeout(wait) {
                Ok(queued) => Some(queued),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return None,
            };
            let mut taken = 0;
            while let Some(queued) = next.take() {
                taken += 1;
                match queued.job {
                    Job::Transact(transaction, reply) => together.push((transaction, reply)),
                    other => {
                        self.commit(&mut together);
                        if let Some(reply) = self.alone(other) {
                            return Some(reply);
                        }
                    }
                }
                if taken < MOST_TOGETHER {
                    next = jobs.try_recv().ok();
                }
            }
            self.commit(&mut together);
            if self.due <= Instant::now() {
                self.due = Instant::now() + self.end_leases();
            }
        }
    }

    fn alone(&mut self, job: Job) -> Option<Reply<()>> {
        // A caller that is gone wants no answer.
        match job {
            Job::Transact(transaction, reply) => {
                self.commit(&mut vec![(transaction, reply)]);
            }
            Job::Grant(ttl, reply) => {
                let answer = self.write(|connection, clock| leases::grant(connection, clock, ttl));
                // It may end before the next look.
                self.due = Instant::now();
                let _ = reply.send(answer);
            }
            Job::KeepAlive(lease, reply) => {
                let answer = self.write(|connection, clock| {
                    leases::keep_alive(connection, clock, lease)?
                        .ok_or_else(|| StoreError::LeaseEnded { lease }.into())
                });
                let _ = reply.send(answer);
            }
            Job::Revoke(lease, reply) => {
                let answer = self.write(|connection, _| {
                    if !leases::exists(connection, lease)? {
                        return Err(StoreError::LeaseEnded { lease }.into());
                    }
                    end(connection, lease)
                });
                let _ = reply.send(answer.map(|revision| self.tell(revision)));
            }
            Job::Compact(up_to, reply) => {
                let _ = reply.send(self.write(|connection, _| compact(connection, up_to)));
            }
            Job::Close(reply) => return Some(reply),
        }
        None
    }

    /// Runs a transaction of SQLite's.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Connection, &Clock) -> Result<T, QueryError>,
    ) -> Result<T, StoreError> {
        let fail = engine(&self.path, "begin a transaction");
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fail)?;
        let answer = work(&transaction, &self.clock).map_err(|error| error.at(&self.path))?;
        transaction.commit().map_err(|error| failed_commit(&self.path, error))?;
        Ok(answer)
    }

    /// Writes these transactions and answers them.
    fn commit(&mut self, together: &mut Vec<(Transaction, Reply<Outcome>)>) {
        if together.is_empty() {
            return;
        }
        let (transactions, replies): (Vec<_>, Vec<_>) = together.drain(..).unzip();
        let answers = self.write(|connection, _| {
            let first = State::read(connection)?;
            let mut state = first;
            let mut answers = Vec::with_capacity(transactions.len());
            for transaction in &transactions {
                connection.execute_batch("SAVEPOINT one")?;
                match apply(connection, transaction, state.revision) {
                    Ok(outcome) => {
                        if let Outcome::Committed(revision) = outcome {
                            state.revision = revision;
                        }
                        answers.push(Ok(outcome));
                    }
                    Err(QueryError::Answer(error)) => {
                        connection.execute_batch("ROLLBACK TO one")?;
                        answers.push(Err(error));
                    }
                    Err(error) => return Err(error),
                }
                connection.execute_batch("RELEASE one")?;
            }
            if state != first {
                state.write(connection)?;
            }
            Ok((answers, state.revision))
        });
        match answers {
            Ok((answers, revision)) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    let _ = reply.send(answer);
                }
                self.tell(revision);
            }
            // What is wrong may be wrong with one of them only.
            Err(error)
                if replies.len() > 1
                    && !matches!(error, StoreError::Uncertain { .. } | StoreError::Busy { .. }) =>
            {
                for one in transactions.into_iter().zip(replies) {
                    self.commit(&mut vec![one]);
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    fn tell(&self, revision: Revision) {
        self.news.send_if_modified(|last| {
            let is_new = revision > *last;
            *last = revision.max(*last);
            is_new
        });
    }

    /// Ends the leases whose time is over; gives how long to wait before looking again.
    fn end_leases(&mut self) -> Duration {
        let look = leases::due(&self.connection, &self.clock);
        let (due, next) = match look {
            Ok(found) => found,
            Err(error) => {
                let error = error.at(&self.path);
                tracing::error!("cannot look for leases that have ended: {error}");
                return LOOK;
            }
        };
        if !due.is_empty() {
            let ended = self.write(|connection, clock| {
                // Another process may have been here, or the holder in time.
                let (due, _) = leases::due(connection, clock)?;
                let mut revision = State::read(connection)?.revision;
                for lease in due {
                    revision = end(connection, lease)?;
                }
                Ok(revision)
            });
            match ended {
                Ok(revision) => self.tell(revision),
                Err(error) => tracing::error!("cannot end leases: {error}"),
            }
        }
        next.unwrap_or(LOOK).min(LOOK)
    }
}

/// Is it certain that nothing is there? Not if the disk did not say.
fn failed_commit(path: &std::path::Path, error: rusqlite::Error) -> StoreError {
    match engine(path, "commit a transaction")(error) {
        StoreError::Engine { store, reason, .. } => {
            StoreError::Uncertain { store: store.display().to_string(), reason }
        }
        certain => certain,
    }
}

/// Does a transaction if its conditions hold, as the revision after this one.
fn apply(
    connection: &Connection,
    transaction: &Transaction,
    last: Revision,
) -> Result<Outcome, QueryError> {
    for (key, condition) in transaction.conditions() {
        let found = history::get(connection, key)?.map(|entry| entry.modified);
        if !condition.holds(found) {
            let (key, condition) = (key.clone(), *condition);
            return Ok(Outcome::Conflict(Conflict { key, condition, found }));
        }
    }
    let revision = Revision::new(last.number() + 1);
    let mut is_changed = false;
    for (key, operation) in transaction.operations() {
        let found = history::get(connection, key)?;
        let created = found.as_ref().map_or(revision, |entry| entry.created);
        let (value, lease) = match operation {
            Operation::Put { value, lease } => (Some(value.clone()), *lease),
            Operation::Delete if found.is_some() => (None, None),
            Operation::Delete => continue,
        };
        if let Some(lease) = lease
            && !leases::exists(connection, lease)?
        {
            return Err(StoreError::LeaseEnded { lease }.into());
        }
        Record { key: key.clone(), revision, created, lease, value }.write(connection)?;
        is_changed = true;
    }
    Ok(Outcome::Committed(if is_changed { revision } else { last }))
}

/// Ends a lease: its keys go in one transaction.
fn end(connection: &Connection, lease: LeaseId) -> Result<Revision, QueryError> {
    let mut state = State::read(connection)?;
    let mut transaction = Transaction::new();
    for key in history::keys_of(connection, lease)? {
        transaction = transaction.delete(key);
    }
    if let Outcome::Committed(revision) = apply(connection, &transaction, state.revision)?
        && revision > state.revision
    {
        state.revision = revision;
        state.write(connection)?;
    }
    leases::remove(connection, lease)?;
    Ok(state.revision)
}

fn compact(connection: &Connection, up_to: Revision) -> Result<(), QueryError> {
    let mut state = State::read(connection)?;
    if up_to > state.revision {
        return Err(StoreError::Future { asked: up_to, now: state.revision }.into());
    }
    if up_to > state.compacted {
        history::compact(connection, up_to)?;
        state.compacted = up_to;
        state.write(connection)?;
    }
    Ok(())
}
