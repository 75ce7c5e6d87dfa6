//! What every key was at every revision that is kept: the queries of an SQLite store.
//!
//! Each function runs in the transaction of its caller. Every row that is read is checked against its sum, which
//! SQLite does not do.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::file::{FileError, engine};
use crate::store::key::end_of_prefix;
use crate::store::{
    Change, Changes, Cursor, Entry, Key, LeaseId, Page, Prefix, Revision, StoreError, Value,
};

/// Most bytes of keys and values in a page, and in what a watch reads ahead; an entry or a transaction that is larger
/// comes alone.
const READ_BYTES: usize = 1 << 20;

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    /// SQLite failed.
    #[error(transparent)]
    Engine(#[from] rusqlite::Error),
    /// A row is not as it was written.
    #[error("{0}")]
    Damaged(String),
    /// The answer is an error that has nothing to do with the file.
    #[error(transparent)]
    Answer(#[from] StoreError),
}

impl QueryError {
    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Engine(error) => engine(path, "read or write")(error),
            Self::Damaged(finding) => FileError::Corrupt { path: path.to_owned(), finding }.into(),
            Self::Answer(error) => error,
        }
    }
}

/// The store's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) is_backup: bool,
}

impl State {
    /// That of a new store; etcd begins with 1, too.
    pub(super) fn new() -> Self {
        Self { revision: Revision::new(1), compacted: Revision::new(0), is_backup: false }
    }

    pub(super) fn read(connection: &Connection) -> Result<Self, QueryError> {
        let mut query =
            connection.prepare_cached("SELECT revision, compacted, is_backup, sum FROM state")?;
        let (state, found) = query
            .query_row([], |row| {
                let state = Self {
                    revision: Revision::from_signed(row.get(0)?),
                    compacted: Revision::from_signed(row.get(1)?),
                    is_backup: row.get(2)?,
                };
                Ok((state, row.get::<_, i64>(3)?))
            })
            .optional()?
            .ok_or_else(|| QueryError::Damaged("it has no state".to_owned()))?;
        if found != state.sum() {
            return Err(QueryError::Damaged("its counters are not as written".to_owned()));
        }
        Ok(state)
    }

    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare_cached("INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?)")?;
        statement.execute(params![
            self.revision.signed(),
            self.compacted.signed(),
            self.is_backup,
            self.sum()
        ])?;
        Ok(())
    }

    fn sum(self) -> i64 {
        sum(&[self.revision.signed(), self.compacted.signed(), self.is_backup.into()], &[])
    }

    /// Is the history after this revision there?
    pub(super) fn has_after(self, revision: Revision) -> Result<(), StoreError> {
        if revision < self.compacted {
            return Err(StoreError::Compacted { asked: revision, kept: self.compacted });
        }
        Ok(())
    }
}

/// 64 bits of a SHA-256 of a row's fields.
pub(super) fn sum(numbers: &[i64], texts: &[Option<&[u8]>]) -> i64 {
    let mut hasher = Sha256::new();
    for number in numbers {
        hasher.update(number.to_le_bytes());
    }
    for text in texts {
        let length = text.map_or(u64::MAX, |text| text.len() as u64);
        hasher.update(length.to_le_bytes());
        hasher.update(text.unwrap_or_default());
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | i64::from(*byte))
}

/// What one transaction did with one key.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) revision: Revision,
    pub(super) created: Revision,
    pub(super) lease: Option<LeaseId>,
    pub(super) value: Option<Value>,
}

const FIELDS: &str = "revision, key, created, lease, value, sum";

impl Record {
    fn read(row: &Row<'_>) -> Result<Self, QueryError> {
        let blob = |index| row.get_ref(index).map(|found| found.as_blob_or_null().ok().flatten());
        let key: &[u8] = blob(1)?.unwrap_or_default();
        let value: Option<&[u8]> = blob(4)?;
        let numbers: [i64; 3] = [row.get(0)?, row.get(2)?, row.get(3)?];
        let damaged =
            || QueryError::Damaged(format!("key {} is not as written", key.escape_ascii()));
        if sum(&numbers, &[Some(key), value]) != row.get::<_, i64>(5)? {
            return Err(damaged());
        }
        Ok(Self {
            key: Key::new(key).map_err(|_| damaged())?,
            revision: Revision::from_signed(numbers[0]),
            created: Revision::from_signed(numbers[1]),
            lease: LeaseId::from_signed(numbers[2]),
            value: value.map(Value::new).transpose().map_err(|_| damaged())?,
        })
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let numbers = [self.revision.signed(), self.created.signed(), LeaseId::signed(self.lease)];
        let key = self.key.as_bytes();
        let value = self.value.as_ref().map(Value::as_bytes);
        let mut statement =
            connection.prepare_cached("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)")?;
        let sum = sum(&numbers, &[Some(key), value]);
        statement.execute(params![numbers[0], key, numbers[1], numbers[2], value, sum])?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.key.as_bytes().len() + self.value.as_ref().map_or(0, |value| value.as_bytes().len())
    }

    fn into_entry(self) -> Option<Entry> {
        Some(Entry {
            value: self.value?,
            key: self.key,
            created: self.created,
            modified: self.revision,
            lease: self.lease,
        })
    }

    fn into_change(self) -> Change {
        let key = self.key.clone();
        self.into_entry().map_or(Change::Deleted(key), Change::Put)
    }
}

/// The first bytes that have the prefix, and the first after them that have not.
fn bounds(prefix: &Prefix) -> (Vec<u8>, Vec<u8>) {
    let beyond_all = || vec![u8::MAX; Key::MAX_LEN + 1];
    let end = end_of_prefix(prefix.as_bytes()).unwrap_or_else(beyond_all);
    (prefix.as_bytes().to_vec(), end)
}

/// The key's present entry.
pub(super) fn get(connection: &Connection, key: &Key) -> Result<Option<Entry>, QueryError> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {FIELDS} FROM changes WHERE key = ? ORDER BY revision DESC LIMIT 1"
    ))?;
    let mut rows = query.query([key.as_bytes()])?;
    let record = rows.next()?.map(Record::read).transpose()?;
    Ok(record.and_then(Record::into_entry))
}

/// A page of entries; see [`crate::store::Store::list`].
pub(super) fn page(
    connection: &Connection,
    prefix: &Prefix,
    limit: usize,
    from: Option<&Cursor>,
) -> Result<Page, QueryError> {
    let state = State::read(connection)?;
    let revision = from.map_or(state.revision, |cursor| cursor.revision);
    state.has_after(revision)?;
    if revision > state.revision {
        return Err(StoreError::Future { asked: revision, now: state.revision }.into());
    }
    let (first, end) = bounds(prefix);
    // The least key that is greater than another has one octet more.
    let behind = |cursor: &Cursor| [cursor.after.as_bytes(), &[0]].concat();
    let first = from.map_or(first.clone(), |cursor| behind(cursor).max(first));
    let mut keys = connection.prepare_cached(
        "SELECT key, max(revision) FROM changes INDEXED BY changes_by_key \
         WHERE key >= ? AND key < ? AND revision <= ? GROUP BY key ORDER BY key",
    )?;
    let mut value = connection
        .prepare_cached(&format!("SELECT {FIELDS} FROM changes WHERE key = ? AND revision = ?"))?;
    let mut keys = keys.query(params![first, end, revision.signed()])?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = keys.next()? {
        let key: Vec<u8> = row.get(0)?;
        let mut found = value.query(params![key, row.get::<_, i64>(1)?])?;
        let Some(record) = found.next()?.map(Record::read).transpose()? else { continue };
        let size = record.bytes();
        let Some(entry) = record.into_entry() else { continue };
        if let Some(last) = entries.last()
            && (entries.len() >= limit || bytes + size > READ_BYTES)
        {
            let next = Some(Cursor { revision, after: last.key.clone() });
            return Ok(Page { revision, entries, next });
        }
        bytes += size;
        entries.push(entry);
    }
    Ok(Page { revision, entries, next: None })
}

/// The next transactions after a revision that changed keys with the prefix, and the revision up to which
/// these are all.
pub(super) fn changes(
    connection: &Connection,
    prefix: &Prefix,
    after: Revision,
) -> Result<(Vec<Changes>, Revision), QueryError> {
    let state = State::read(connection)?;
    state.has_after(after)?;
    let mut query = connection.prepare_cached(&format!(
        "SELECT {FIELDS} FROM changes INDEXED BY changes_by_revision \
         WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision, key"
    ))?;
    let (first, end) = bounds(prefix);
    let mut rows = query.query(params![after.signed(), first, end])?;
    let mut found: Vec<Changes> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let record = Record::read(row)?;
        match found.last_mut() {
            Some(last) if last.revision == record.revision => {
                bytes += record.bytes();
                last.changes.push(record.into_change());
            }
            Some(last) if bytes + record.bytes() > READ_BYTES => {
                let up_to = last.revision;
                return Ok((found, up_to));
            }
            _ => {
                bytes += record.bytes();
                found.push(Changes {
                    revision: record.revision,
                    changes: vec![record.into_change()],
                });
            }
        }
    }
    // A watch may have been asked for what is not there yet.
    Ok((found, state.revision.max(after)))
}

/// The keys that go with this lease.
pub(super) fn keys_of(connection: &Connection, lease: LeaseId) -> Result<Vec<Key>, QueryError> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {FIELDS} FROM changes AS it WHERE lease <> 0 AND lease = ? AND value IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM changes WHERE key = it.key AND revision > it.revision) \
         ORDER BY key"
    ))?;
    let mut rows = query.query([LeaseId::signed(Some(lease))])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(Record::read(row)?.key);
    }
    Ok(keys)
}

/// Removes what is superseded at this revision or before.
pub(super) fn compact(connection: &Connection, up_to: Revision) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM changes AS it WHERE revision <= ?1 AND EXISTS \
         (SELECT 1 FROM changes WHERE key = it.key AND revision > it.revision AND revision <= ?1)",
        [up_to.signed()],
    )?;
    // Only then: a deletion is what hides the rows before it.
    connection
        .execute("DELETE FROM changes WHERE revision <= ? AND value IS NULL", [up_to.signed()])?;
    Ok(())
}

/// Is every row as it was written, and none from after the last revision?
pub(super) fn check(connection: &Connection, state: State) -> Result<(), QueryError> {
    let mut query = connection.prepare(&format!("SELECT {FIELDS} FROM changes"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let record = Record::read(row)?;
        if record.revision > state.revision || record.created > record.revision {
            let key = &record.key;
            return Err(QueryError::Damaged(format!("key {key} is of a later revision")));
        }
    }
    Ok(())
}
