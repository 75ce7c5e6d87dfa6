//! What this host keeps: sealed files, their directory, and room for them.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::report::{Check, Finding};
use crate::config::SealSettings;
use crate::ctl::print::octets;
use crate::seal::{SealError, Strongbox};

/// With fewer octets of room than this nothing can be relied on, and with fewer than that it is told of.
const FULL: u64 = 16 << 20;
const NEARLY_FULL: u64 = 256 << 20;

/// Whether there is a strongbox, or was one.
#[derive(Debug)]
pub(super) enum Opened {
    /// It opens.
    Open(Strongbox),
    /// Nothing is sealed yet.
    Nothing,
    /// It does not open.
    No,
}

/// Opens what is sealed, and every file of it.
pub(super) fn open(settings: &SealSettings) -> (Opened, Vec<Finding>) {
    let directory = settings.directory.display();
    let is_there = settings.directory.try_exists();
    if is_there.as_ref().is_ok_and(|it| !it) {
        return (Opened::Nothing, Vec::new());
    }
    match settings.open() {
        Ok(strongbox) => {
            let state = Finding::ok(Check::State, "is for its owner alone").of(directory);
            let seal = files(&strongbox, settings);
            (Opened::Open(strongbox), vec![state, seal])
        }
        Err(error) => {
            let opened = match &error {
                SealError::Missing { .. } => Opened::Nothing,
                _ => Opened::No,
            };
            (opened, judge(&error).into_iter().collect())
        }
    }
}

/// What keeps a strongbox from being opened; none if there is none.
fn judge(error: &SealError) -> Option<Finding> {
    match error {
        SealError::Missing { .. } => None,
        SealError::Directory { .. } => Some(Finding::error(Check::State, error)),
        _ => Some(Finding::error(Check::Seal, error)),
    }
}

fn files(strongbox: &Strongbox, settings: &SealSettings) -> Finding {
    let names = match strongbox.names() {
        Ok(names) => names,
        Err(error) => return Finding::error(Check::Seal, &error),
    };
    let wrong = names.iter().filter_map(|name| strongbox.read(name).err());
    let wrong: Vec<_> = wrong.map(|error| error.to_string()).collect();
    if wrong.is_empty() {
        let found = format!("{} opens; sealed files: {}", settings.sealer, names.len());
        return Finding::ok(Check::Seal, found);
    }
    Finding::fail(Check::Seal, wrong.join("; "), "")
}

/// Room on the disk where `path` is, or will be.
pub(super) fn disk(path: &Path) -> Finding {
    let there = path.ancestors().find(|it| it.exists()).unwrap_or(Path::new("/"));
    match statvfs(there) {
        Ok(found) => {
            let (block, free) = (found.fragment_size(), found.blocks_available());
            judge_room(free.saturating_mul(block), found.files_available(), found.files())
        }
        Err(error) => {
            let error = io::Error::from(error);
            Finding::warn(
                Check::Disk,
                format!("cannot look at it: {error}"),
                "run as root; see that the path is right",
            )
        }
    }
    .of(path.display())
}

fn judge_room(free: u64, files_free: u64, files: u64) -> Finding {
    let remedy = "free some, or enlarge the file system";
    // Some file systems count no files.
    if files > 0 && files_free == 0 {
        return Finding::fail(Check::Disk, "there is no room for another file", remedy);
    }
    let found = format!("{} are free", octets(free));
    match free {
        0..FULL => Finding::fail(Check::Disk, found, remedy),
        FULL..NEARLY_FULL => Finding::warn(Check::Disk, found, remedy),
        _ => Finding::ok(Check::Disk, found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    #[test]
    fn room_by_what_is_free() {
        assert_eq!(judge_room(1 << 30, 5, 9).verdict, Verdict::Ok);
        assert_eq!(judge_room(1 << 30, 0, 0).verdict, Verdict::Ok);
        assert_eq!(judge_room(1 << 30, 0, 9).verdict, Verdict::Fail);
        assert_eq!(judge_room(NEARLY_FULL - 1, 5, 9).verdict, Verdict::Warn);
        assert_eq!(judge_room(FULL - 1, 5, 9).verdict, Verdict::Fail);
    }

    #[test]
    fn a_directory_is_told_from_a_key() {
        let path = Path::new("/x").to_owned();
        let directory = SealError::Directory { path: path.clone(), wrong: "is open".to_owned() };
        assert_eq!(judge(&directory).unwrap().check, Check::State);
        let key = SealError::WrongKey { path: path.clone(), sealer: "key file /k".to_owned() };
        assert_eq!(judge(&key).unwrap().check, Check::Seal);
        assert_eq!(judge(&SealError::Missing { path }), None);
    }
}
