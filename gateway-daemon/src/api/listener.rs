//! The socket's file: made so that there is never one that others may open, taken over from a controller that is
//! gone, refused to a second one, and removed in the end.
//!
//! A lock on a file beside the socket says who serves it. The kernel frees it with the process.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
    PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::ApiError;

/// Longest path of a socket: `sun_path` of unix(7) without its last octet.
const LONGEST: usize = 107;
/// What follows a socket's name in that of the directory that it is made in, and its name in there.
const NEW: &str = ".new";
const INSIDE: &str = "s";
/// Its user and its group may open the socket. What they may do is for `Access` to say.
const SHARED: u32 = 0o660;
/// Its user alone may.
const PRIVATE: u32 = 0o600;

/// A socket that waits for callers. Its file goes when it is dropped.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
    /// Device and inode of the file that was made.
    file: (u64, u64),
    /// Held as long as the socket is served.
    _lock: Flock<File>,
}

impl Listener {
    /// Makes a socket that its user and its group may open, and its directory if there is none.
    ///
    /// # Errors
    /// If another controller serves it, if something else is there, or if the file system refuses.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, ApiError> {
        Self::bind_as(path, SHARED)
    }

    /// As [`Self::bind`], for its user alone.
    pub fn bind_private(path: &Path) -> Result<Self, ApiError> {
        Self::bind_as(path, PRIVATE)
    }

    /// The next that calls.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.socket.accept().await?.0)
    }

    fn bind_as(path: &Path, mode: u32) -> Result<Self, ApiError> {
        let failed = |doing: &'static str| {
            move |error: io::Error| ApiError::Io { path: path.to_owned(), doing, error }
        };
        let most = LONGEST - NEW.len() - "/".len() - INSIDE.len();
        if path.as_os_str().len() > most {
            return Err(ApiError::PathTooLong { path: path.to_owned(), most });
        }
        if let Some(directory) = path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755);
            builder.create(directory).map_err(failed("make its directory"))?;
        }
        let lock = lock(path)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at it")(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ApiError::NoSocket { path: path.to_owned() });
            }
            Ok(_) if is_served(path).map_err(failed("see who serves it"))? => {
                return Err(ApiError::Served { path: path.to_owned() });
            }
            Ok(_) => {}
        }
        let room = Room::new(path).map_err(failed("make room to make it in"))?;
        let new = room.0.join(INSIDE);
        let socket = UnixListener::bind(&new).map_err(failed("make it"))?;
        let made = fs::set_permissions(&new, Permissions::from_mode(mode))
            .and_then(|()| fs::symlink_metadata(&new))
            .and_then(|made| fs::rename(&new, path).map(|()| (made.dev(), made.ino())));
        let file = made.map_err(failed("make it"))?;
        Ok(Self { socket, path: path.to_owned(), file, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|found| found == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("{}: cannot remove it: {error}; remove it by hand", self.path.display());
        }
    }
}

/// A directory that nobody else may look into, beside a socket, where it is before it has its mode.
struct Room(PathBuf);

impl Room {
    fn new(beside: &Path) -> io::Result<Self> {
        let mut path = beside.as_os_str().to_owned();
        path.push(NEW);
        let path = PathBuf::from(path);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!("{}: cannot remove it: {error}; remove it by hand", self.0.display());
        }
    }
}

fn lock(path: &Path) -> Result<Flock<File>, ApiError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let failed = |error| ApiError::Io { path: beside.clone(), doing: "open its lock", error };
    let file = options.open(&beside).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::Error::EWOULDBLOCK => ApiError::Served { path: path.to_owned() },
        errno => failed(errno.into()),
    })
}

/// Whether somebody listens there, though he does not hold the lock.
fn is_served(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        // connect(2): the queue of somebody who listens is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}
