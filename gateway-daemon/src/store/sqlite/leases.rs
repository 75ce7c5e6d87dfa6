//! Leases of an SQLite store, and the clock they go by.
//!
//! Called by the writer's thread. A deadline is a time of the host's monotonic clock, which all processes
//! share and which stands still while the host sleeps; it is in the file, so that any process that has
//! the store open ends a lease, whoever granted it.
//!
//! When a store is opened, each lease has its full time again, since its holder could not keep it alive
//! before: once, until it is kept alive, so that a process that dies again and again keeps no lease for ever. Times of
//! another boot mean nothing; these leases begin anew.

use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::history::{QueryError, sum};
use crate::store::{Lease, LeaseId};

/// The host's clock, in one of its runs.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// Differs after every start of the host; empty if the kernel does not say.
    boot: String,
}

impl Clock {
    pub(super) fn new() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { boot: boot.trim().to_owned() }
    }

    /// Milliseconds since an unknown moment.
    fn now(&self) -> i64 {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
    }
}

#[derive(Clone, Debug)]
struct Record {
    id: LeaseId,
    ttl: i64,
    deadline: i64,
    boot: String,
    /// Has it been given its time by an opening, and not been kept alive since?
    extended: bool,
}

impl Record {
    fn read(row: &Row<'_>) -> Result<Self, QueryError> {
        let id: i64 = row.get(0)?;
        let damaged = || QueryError::Damaged(format!("lease {id:x} is not as written"));
        let record = Self {
            id: LeaseId::from_signed(id).ok_or_else(damaged)?,
            ttl: row.get(1)?,
            deadline: row.get(2)?,
            boot: row.get(3)?,
            extended: row.get(4)?,
        };
        if record.sum() != row.get::<_, i64>(5)? {
            return Err(damaged());
        }
        Ok(record)
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)")?
            .execute(params![
                LeaseId::signed(Some(self.id)),
                self.ttl,
                self.deadline,
                self.boot,
                self.extended,
                self.sum()
            ])?;
        Ok(())
    }

    fn sum(&self) -> i64 {
        let numbers =
            [LeaseId::signed(Some(self.id)), self.ttl, self.deadline, self.extended.into()];
        sum(&numbers, &[Some(self.boot.as_bytes())])
    }

    fn begin(&mut self, clock: &Clock) {
        self.deadline = clock.now().saturating_add(self.ttl);
        self.boot.clone_from(&clock.boot);
    }
}

/// Grants a lease of whole seconds, at least one.
pub(super) fn grant(
    connection: &Connection,
    clock: &Clock,
    ttl: Duration,
) -> Result<Lease, QueryError> {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    // A lease longer than this never ends anyway, and the sum fits.
    let ttl = Duration::from_secs(seconds.clamp(1, u64::from(u32::MAX)));
    let id = loop {
        // A restored store must not give out a number that was given out after the backup.
        let number = connection.query_row("SELECT random()", [], |row| row.get::<_, i64>(0))?;
        if let Some(id) = LeaseId::from_signed(number & i64::MAX)
            && find(connection, id)?.is_none()
        {
            break id;
        }
    };
    let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    let mut record = Record { id, ttl: millis, deadline: 0, boot: String::new(), extended: false };
    record.begin(clock);
    record.write(connection)?;
    Ok(Lease { id, ttl })
}

/// Lets a lease begin anew; `None` if there is none.
pub(super) fn keep_alive(
    connection: &Connection,
    clock: &Clock,
    id: LeaseId,
) -> Result<Option<Duration>, QueryError> {
    let Some(mut record) = find(connection, id)? else { return Ok(None) };
    record.begin(clock);
    record.extended = false;
    record.write(connection)?;
    Ok(Some(Duration::from_millis(record.ttl.unsigned_abs())))
}

/// Is there such a lease?
pub(super) fn exists(connection: &Connection, id: LeaseId) -> Result<bool, QueryError> {
    Ok(find(connection, id)?.is_some())
}

/// Forgets a lease.
pub(super) fn remove(connection: &Connection, id: LeaseId) -> rusqlite::Result<()> {
    let id = LeaseId::signed(Some(id));
    connection.prepare_cached("DELETE FROM leases WHERE id = ?")?.execute([id])?;
    Ok(())
}

/// Gives the leases their time as the module's documentation says.
pub(super) fn resume(connection: &Connection, clock: &Clock) -> Result<(), QueryError> {
    for mut record in all(connection)? {
        let is_of_this_boot = record.boot == clock.boot;
        if is_of_this_boot && record.extended {
            continue;
        }
        record.begin(clock);
        record.extended = is_of_this_boot;
        record.write(connection)?;
    }
    Ok(())
}

/// Makes all leases begin anew at the next opening, whichever host that is on.
pub(super) fn forget_times(connection: &Connection) -> Result<(), QueryError> {
    for mut record in all(connection)? {
        record.boot.clear();
        record.extended = false;
        record.write(connection)?;
    }
    Ok(())
}

/// The leases whose time is over, and how long until the next one's is.
pub(super) fn due(
    connection: &Connection,
    clock: &Clock,
) -> Result<(Vec<LeaseId>, Option<Duration>), QueryError> {
    let now = clock.now();
    let mut query = connection
        .prepare_cached("SELECT id, deadline FROM leases WHERE boot = ? ORDER BY deadline")?;
    let mut rows = query.query([&clock.boot])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        let deadline: i64 = row.get(1)?;
        if deadline > now {
            let left = deadline.saturating_sub(now).unsigned_abs();
            return Ok((due, Some(Duration::from_millis(left))));
        }
        due.extend(LeaseId::from_signed(row.get(0)?));
    }
    Ok((due, None))
}

/// Is every lease as it was written?
pub(super) fn check(connection: &Connection) -> Result<(), QueryError> {
    all(connection).map(|_| ())
}

fn find(connection: &Connection, id: LeaseId) -> Result<Option<Record>, QueryError> {
    let mut query = connection.prepare_cached("SELECT * FROM leases WHERE id = ?")?;
    query
        .query_row([LeaseId::signed(Some(id))], |row| Ok(Record::read(row)))
        .optional()?
        .transpose()
}

fn all(connection: &Connection) -> Result<Vec<Record>, QueryError> {
    let mut query = connection.prepare("SELECT * FROM leases")?;
    let mut rows = query.query([])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(Record::read(row)?);
    }
    Ok(records)
}
