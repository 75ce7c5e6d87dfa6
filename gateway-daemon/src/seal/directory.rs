//! A directory for its owner alone, and replacing a file in it: in one step, and on the disk when it is told
//! as done. Whoever writes holds the directory's lock, across processes too.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::{O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::SealError;

/// A directory that only its owner can use.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

/// The right to write in it, given back when dropped or when the process ends in any way.
pub(super) struct Locked<'a> {
    path: &'a Path,
    file: File,
}

/// A file that is being written; what was there before is removed when the next one is.
const NEW: &str = "new";

impl Directory {
    /// Makes it if it is not there, for its owner alone.
    pub(super) fn make(path: &Path) -> Result<Self, SealError> {
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).map_err(failed("make", above))?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make", path)(error));
            }
            _ => {}
        }
        Self::at(path)
    }

    /// One that is there.
    pub(super) fn at(path: &Path) -> Result<Self, SealError> {
        open(path)?;
        Ok(Self(path.to_owned()))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Waits until nobody else writes.
    pub(super) fn lock(&self) -> Result<Locked<'_>, SealError> {
        let file = open(&self.0)?;
        file.lock().map_err(failed("lock", &self.0))?;
        Ok(Locked { path: &self.0, file })
    }

    /// The content of a file, `None` if it is not there.
    pub(super) fn read(
        &self,
        name: &str,
        most: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, SealError> {
        let path = self.path(name);
        let file = match OpenOptions::new().read(true).custom_flags(FLAGS).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let found = file.metadata().map_err(failed("read", &path))?;
        if !found.is_file() {
            return Err(failed("read", &path)(io::Error::other("it is not a regular file")));
        }
        let most = most as u64 + 1;
        // As large as it will be, so that no part of it is left behind by growing.
        let size = usize::try_from(found.len().min(most)).unwrap_or(0);
        let mut octets = Zeroizing::new(Vec::with_capacity(size + 1));
        file.take(most).read_to_end(&mut octets).map_err(failed("read", &path))?;
        Ok(Some(octets))
    }

    /// Files whose names end like this.
    pub(super) fn ending(&self, suffix: &str) -> Result<Vec<String>, SealError> {
        let entries = fs::read_dir(&self.0).map_err(failed("list", &self.0))?;
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        let names: io::Result<Vec<String>> = names.collect();
        let mut names = names.map_err(failed("list", &self.0))?;
        names.retain(|name| name.ends_with(suffix));
        names.sort();
        Ok(names)
    }
}

impl Locked<'_> {
    /// Replaces a file: before and after it is whole, and after this returns it is on the disk.
    pub(super) fn replace(&self, name: &str, octets: &[u8]) -> Result<(), SealError> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.{NEW}")));
        let written = self.write_new(&new, octets).and_then(|()| {
            fs::rename(&new, &path).map_err(failed("replace", &path))?;
            self.file.sync_all().map_err(failed("write to the disk", self.path))
        });
        if written.is_err() {
            // Nobody reads it, and the room that it takes may be what was missing.
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Removes a file; it need not be there.
    pub(super) fn remove(&self, name: &str) -> Result<(), SealError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("remove", &path)(error)),
            Ok(()) => self.file.sync_all().map_err(failed("write to the disk", self.path)),
        }
    }

    fn write_new(&self, new: &Path, octets: &[u8]) -> Result<(), SealError> {
        match fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", new)(error));
            }
            _ => {}
        }
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        let mut file = options.open(new).map_err(failed("write", new))?;
        file.write_all(octets).and_then(|()| file.sync_all()).map_err(failed("write", new))
    }
}

/// Neither waits for the writer of a pipe nor follows a link out of the directory.
const FLAGS: i32 = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;

fn open(path: &Path) -> Result<File, SealError> {
    let options = OpenOptions::new().read(true).custom_flags(O_DIRECTORY | FLAGS).clone();
    let wrong = |wrong: String| SealError::Directory { path: path.to_owned(), wrong };
    let directory = options.open(path).map_err(|reason| match reason.kind() {
        io::ErrorKind::NotFound => {
            wrong("there is none; correct seal.directory, or put it back from a backup".to_owned())
        }
        _ => wrong(format!(
            "cannot open it: {reason}; it has to be a directory of its own, and no link"
        )),
    })?;
    let found =
        directory.metadata().map_err(|reason| wrong(format!("cannot look at it: {reason}")))?;
    if found.uid() != geteuid().as_raw() {
        return Err(wrong(format!(
            "it belongs to user {}, and gatewayd runs as {}; run `chown` on it, after a look at what is in it",
            found.uid(),
            geteuid()
        )));
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(wrong(format!(
            "others than its owner have access to it (mode {mode:04o}); run `chmod 700 {}`",
            path.display()
        )));
    }
    Ok(directory)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SealError {
    let path = path.to_owned();
    move |reason| SealError::File { path, doing, reason }
}
