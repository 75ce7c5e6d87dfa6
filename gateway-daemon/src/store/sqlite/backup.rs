//! Backup of a store that goes on, and restoring one.
//!
//! A backup is a store's file with a mark, so that it is not taken for the store itself. Restoring gives the store a
//! revision far above the backup's: what was given out between the backup and the loss is not given out again, and
//! whoever watched before has to begin anew.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::params;

use super::file::{self, FileError, Scratch, beside, engine, io_error};
use super::history::{self, State};
use super::{in_use, leases, read_whole, write_once};
use crate::store::{Revision, StoreError};

/// More than any store has transactions between a backup and its loss; what etcd's own tool suggests.
const LEAP: u64 = 1_000_000_000;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The store's revision now.
    pub revision: Revision,
    /// The backup's revision.
    pub of: Revision,
    /// Where the file is that was at the store's path, with what SQLite keeps beside it.
    pub replaced: Option<PathBuf>,
}

/// Checks a backup and makes it the store at this path. What was there, damaged or not, is kept beside it.
///
/// Blocks on the disk. If it is interrupted, the store is as it was, or missing and can be restored again.
///
/// # Errors
/// [`FileError::InUse`] if a process has the store open; [`FileError::NoBackup`] and others if the backup is none or
/// damaged.
pub fn restore(backup: &Path, to: &Path) -> Result<Restored, StoreError> {
    file::is_there(backup)?;
    let lock = file::lock_file(to)?;
    lock.try_lock().map_err(|error| in_use(to, error))?;
    let scratch = Scratch::new(to, "restoring")?;
    copy(backup, &scratch.path)?;
    let mut connection = file::connect(&scratch.path)?;
    let state = read_whole(&connection, backup)?;
    if !state.is_backup {
        return Err(FileError::NoBackup { path: backup.to_owned() }.into());
    }
    let revision = Revision::new(state.revision.number() + LEAP);
    write_once(&mut connection, &scratch.path, |connection| {
        history::compact(connection, revision)?;
        leases::forget_times(connection)?;
        State { revision, compacted: revision, is_backup: false }.write(connection)?;
        Ok(())
    })?;
    file::log_ahead(&connection, &scratch.path)?;
    file::close(connection, &scratch.path)?;
    let replaced = set_aside(to)?;
    scratch.publish(to)?;
    Ok(Restored { revision, of: state.revision, replaced })
}

/// Writes the store at `from` to a new file, marked as a backup.
pub(super) fn backup(from: &Path, to: &Path) -> Result<Revision, StoreError> {
    if to.exists() {
        return Err(FileError::Exists { path: to.to_owned() }.into());
    }
    let scratch = Scratch::new(to, "new")?;
    let name = scratch.path.to_str().ok_or_else(|| {
        io_error(to, "write the backup")(io::Error::other("SQLite takes names in UTF-8 only"))
    })?;
    let source = file::connect(from)?;
    // One transaction that reads: writers go on, and all pages are of one moment.
    source
        .execute("VACUUM INTO ?", params![name])
        .map_err(engine(&scratch.path, "write the backup"))?;
    file::close(source, from)?;
    let mut copy = file::connect(&scratch.path)?;
    let mut state = read_whole(&copy, &scratch.path)?;
    state.is_backup = true;
    write_once(&mut copy, &scratch.path, |copy| Ok(state.write(copy)?))?;
    file::close(copy, &scratch.path)?;
    scratch.publish(to)?;
    Ok(state.revision)
}

fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    let mut source = File::open(from).map_err(io_error(from, "read"))?;
    let mut target = File::create(to).map_err(io_error(to, "write"))?;
    io::copy(&mut source, &mut target).map_err(io_error(to, "write"))?;
    Ok(())
}

/// Moves the file away with its log, which must not be taken for another file's. The file goes first: a file without
/// its log would lack transactions and not show it.
fn set_aside(path: &Path) -> Result<Option<PathBuf>, FileError> {
    if !path.exists() {
        // An earlier restoration may have been interrupted here.
        remove_log(path)?;
        return Ok(None);
    }
    let free = (1_u32..)
        .map(|number| beside(path, &format!("replaced-{number}")))
        .find(|name| !name.exists())
        .ok_or_else(|| FileError::Exists { path: path.to_owned() })?;
    let rename = |from: &Path, to: &Path| match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(from, "move it away")(error))
        }
        _ => Ok(()),
    };
    rename(path, &free)?;
    rename(&beside(path, "wal"), &beside(&free, "wal"))?;
    remove_log(path)?;
    file::sync_directory(path)?;
    Ok(Some(free))
}

fn remove_log(path: &Path) -> Result<(), FileError> {
    for name in [beside(path, "wal"), beside(path, "shm")] {
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&name, "remove")(error));
            }
            _ => {}
        }
    }
    Ok(())
}
