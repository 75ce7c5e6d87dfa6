//! The file of an SQLite store: making, opening and checking it.
//!
//! Called when a store is made, opened, backed up or restored. A file that is not whole, not a store or of a
//! later layout is refused; nothing here mends one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{history, leases};
use crate::store::StoreError;

/// How long another process may keep the file locked before a call gives up.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// "PrSt" in ASCII, at octet 68 of the file.
const APPLICATION: i64 = 0x5072_5374;
/// The layout that this code reads and writes.
const LAYOUT: i64 = 1;
const PAGE_BYTES: u64 = 4096;
/// Longest log that is kept when it could begin anew.
const LOG_BYTES: i64 = 64 << 20;

/// `changes` has one row for each key of each transaction; a row without a value is a deletion.
/// `sum` is of all other fields of its row ([`history::sum`]).
const SCHEMA: [&str; 6] = [
    "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, \
     compacted INTEGER NOT NULL, is_backup INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT",
    "CREATE TABLE changes (revision INTEGER NOT NULL, key BLOB NOT NULL, created INTEGER NOT NULL, \
     lease INTEGER NOT NULL, value BLOB, sum INTEGER NOT NULL) STRICT",
    "CREATE UNIQUE INDEX changes_by_key ON changes (key, revision)",
    "CREATE UNIQUE INDEX changes_by_revision ON changes (revision, key)",
    "CREATE INDEX changes_by_lease ON changes (lease) WHERE lease <> 0",
    "CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL, deadline INTEGER NOT NULL, \
     boot TEXT NOT NULL, extended INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT",
];

/// Why a file cannot be used as a store, or not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("store {}: there is no such file; restore it from a backup, or make a new store", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is one already.
    #[error("store {}: there is such a file already; choose another name or move it away", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged.
    #[error(
        "store {}: the file is damaged ({finding}); keep a copy of it and restore the store from a \
         backup",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// It is something else.
    #[error(
        "store {}: the file is no store of Presence ({finding}); correct the path, or restore the \
         store from a backup",
        .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        finding: String,
    },
    /// A later version wrote it.
    #[error(
        "store {}: the file has layout {found} and this version reads {LAYOUT}; start the version \
         that wrote it, or restore the store from a backup made before the upgrade",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i64,
    },
    /// It is a backup.
    #[error(
        "store {}: the file is a backup; restore it to another path, so that no revision is given \
         out twice",
        .path.display()
    )]
    IsBackup {
        /// The file.
        path: PathBuf,
    },
    /// It is no backup.
    #[error("{}: the file is no backup but a store in use; restore from a file that a backup wrote", .path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
    },
    /// A process has it open.
    #[error("store {}: a process has it open; stop it (`fuser {}` names it) and try again", .path.display(), .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("store {}: cannot {doing}: {reason}; see its directory's rights and room", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The answer.
        reason: String,
    },
}

/// Makes an empty store where there is no file.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return Err(FileError::Exists { path: path.to_owned() }.into());
    }
    let scratch = Scratch::new(path, "new")?;
    let connection = connect(&scratch.path)?;
    let made = (|| {
        connection.pragma_update(None, "application_id", APPLICATION)?;
        connection.pragma_update(None, "user_version", LAYOUT)?;
        for statement in SCHEMA {
            connection.execute_batch(statement)?;
        }
        history::State::new().write(&connection)
    })();
    made.map_err(engine(&scratch.path, "make the file"))?;
    log_ahead(&connection, &scratch.path)?;
    close(connection, &scratch.path)?;
    scratch.publish(path)
}

/// Opens a file whose content has been or will be checked.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(engine(path, "open the file"))?;
    let set = (|| {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)
    })();
    set.map_err(engine(path, "open the file"))?;
    Ok(connection)
}

/// As [`connect`], for a store that serves: with a log of its own, and durable transactions.
pub(super) fn serve(path: &Path, most_bytes: u64) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    log_ahead(&connection, path)?;
    let set = (|| {
        connection.pragma_update(None, "synchronous", "full")?;
        // What a large transaction left of the log is given back.
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
        let pages = i64::try_from(most_bytes / PAGE_BYTES).unwrap_or(i64::MAX);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(())
    })();
    set.map_err(engine(path, "open the file"))?;
    Ok(connection)
}

/// Makes transactions go to a log first (WAL), which the file remembers.
pub(super) fn log_ahead(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
        .map_err(engine(path, "write ahead"))?;
    if mode == "wal" {
        return Ok(());
    }
    let reason = format!("its file system allows the journal mode {mode} alone, not wal");
    Err(StoreError::Engine { store: path.to_owned(), doing: "write ahead", reason })
}

/// Is this a whole store? Reads all of it.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<history::State, StoreError> {
    let unreadable = || engine(path, "read the file");
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(unreadable())?;
    if application != APPLICATION {
        let finding = format!("an SQLite database of application {application}");
        return Err(FileError::Foreign { path: path.to_owned(), finding }.into());
    }
    let layout = pragma("user_version").map_err(unreadable())?;
    if layout > LAYOUT {
        return Err(FileError::Newer { path: path.to_owned(), found: layout }.into());
    }
    let corrupt = |finding: String| FileError::Corrupt { path: path.to_owned(), finding };
    if layout < LAYOUT {
        return Err(corrupt(format!("layout {layout}")).into());
    }
    let finding = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))
        .map_err(unreadable())?;
    if finding != "ok" {
        return Err(corrupt(finding).into());
    }
    let mut schema = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql")
        .map_err(unreadable())?;
    let found = schema
        .query_map([], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable())?;
    let mut expected = SCHEMA;
    expected.sort_unstable();
    if found != expected {
        return Err(corrupt("its tables are not those of a store".to_owned()).into());
    }
    let state = history::State::read(connection).map_err(|error| error.at(path))?;
    history::check(connection, state).map_err(|error| error.at(path))?;
    leases::check(connection).map_err(|error| error.at(path))?;
    Ok(state)
}

/// Refuses what is no file, or empty: SQLite would take it for a new database.
pub(super) fn is_there(path: &Path) -> Result<(), FileError> {
    match fs::metadata(path) {
        Ok(found) if found.len() == 0 => {
            Err(FileError::Corrupt { path: path.to_owned(), finding: "it is empty".to_owned() })
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FileError::Missing { path: path.to_owned() })
        }
        Err(error) => Err(io_error(path, "look at the file")(error)),
    }
}

/// Ends the connection, after which all is in the one file if no other process has it open.
pub(super) fn close(connection: Connection, path: &Path) -> Result<(), StoreError> {
    connection.close().map_err(|(_, error)| engine(path, "close the file")(error))
}

/// The file's lock, beside it: held shared by whoever has the store open. (A lock on the file itself
/// would be in the way of SQLite's.)
pub(super) fn lock_file(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(beside(path, "lock"))
        .map_err(io_error(path, "open its lock"))
}

/// A name beside the file: `FILE-SUFFIX`, as SQLite names its own.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-");
    name.push(suffix);
    name.into()
}

/// What SQLite says, in our terms.
pub(super) fn engine<'a>(
    path: &'a Path,
    doing: &'static str,
) -> impl Fn(rusqlite::Error) -> StoreError + 'a {
    move |error| {
        let store = path.to_owned();
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => {
                FileError::Corrupt { path: store, finding: reason }.into()
            }
            Some(ErrorCode::NotADatabase) => {
                FileError::Foreign { path: store, finding: "no SQLite database".to_owned() }.into()
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Busy { store, waited: BUSY }
            }
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => {
                StoreError::Unwritable { store, reason }
            }
            Some(ErrorCode::SystemIoFailure) if is_failed_write(&error) => {
                StoreError::Unwritable { store, reason }
            }
            _ => StoreError::Engine { store, doing, reason },
        }
    }
}

/// Also what a file system answers that has no room for this user, or for a file of that size.
fn is_failed_write(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(rusqlite::ffi::SQLITE_IOERR_WRITE)
}

pub(super) fn io_error(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> FileError {
    move |error| FileError::Io { path: path.to_owned(), doing, reason: error.to_string() }
}

/// A file that is made beside its later place and is gone if that fails.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) path: PathBuf,
}

impl Scratch {
    pub(super) fn new(target: &Path, suffix: &str) -> Result<Self, FileError> {
        let scratch = Self { path: beside(target, suffix) };
        scratch.remove();
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&scratch.path)
            .map_err(io_error(&scratch.path, "make the file"))?;
        Ok(scratch)
    }

    /// Gives the file its name, where no other has it; it is on the disk then.
    pub(super) fn publish(self, target: &Path) -> Result<(), StoreError> {
        let failed = |doing| io_error(target, doing);
        let file = File::open(&self.path).map_err(failed("write"))?;
        file.sync_all().map_err(failed("write"))?;
        fs::hard_link(&self.path, target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists { path: target.to_owned() },
            _ => failed("name the file")(error),
        })?;
        self.remove();
        sync_directory(target)?;
        Ok(())
    }

    /// Failure shows when the name is next wanted.
    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        for suffix in ["journal", "wal", "shm"] {
            let _ = fs::remove_file(beside(&self.path, suffix));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Makes names in the file's directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().as_bytes().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))
        .and_then(|directory| directory.sync_all())
        .map_err(io_error(path, "write its directory"))
}
