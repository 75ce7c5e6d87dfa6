//! An instance of the gateway on this host: the directory of its files in `/run`, the lock that
//! makes its daemon the only one, and the record of what is in force.
//!
//! Used by the daemon, which writes here, and by `gatewayctl`, which only reads until it detaches.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use gateway_control::model::{InstanceName, SiteModel};
use gateway_control::site_file;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::sandbox::Confinement;

/// Where the run directories of all instances are.
pub const RUN_DIRECTORY: &str = "/run/presence";

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    name: InstanceName,
    directory: PathBuf,
}

/// The right to run an instance; given back when dropped or when the process ends in any way.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

/// Which hooks were chosen for an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenMode {
    /// The interface.
    pub interface: String,
    /// `xdp` or `tc`.
    pub mode: String,
    /// Why, for an operator.
    pub why: String,
}

/// What the daemon has put back in place since the data path was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repairs {
    /// How many times something was.
    pub count: u64,
    /// What it was the last time.
    pub last: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// Why an instance cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Its daemon runs.
    #[error(
        "instance {instance}: a gatewayd runs it already (process {pid}); stop that one, or \
         give this gateway another gateway.instance"
    )]
    Running {
        /// The instance.
        instance: InstanceName,
        /// The daemon's process id, as far as known.
        pid: String,
    },
    /// A file of its run directory failed us.
    #[error("instance {instance}: cannot {doing} {}: {reason}; run as root", .path.display())]
    File {
        /// The instance.
        instance: InstanceName,
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
}

impl Instance {
    /// The instance of this name.
    pub fn new(name: InstanceName) -> Self {
        Self::under(Path::new(RUN_DIRECTORY), name)
    }

    /// The instance of this name with its run directory in another place.
    pub fn under(run: &Path, name: InstanceName) -> Self {
        Self { directory: run.join(name.as_str()), name }
    }

    /// Its name.
    pub fn name(&self) -> &InstanceName {
        &self.name
    }

    /// Its run directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the calling process the only one that runs this instance.
    pub fn lock(&self) -> Result<InstanceLock, InstanceError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(&self.directory).map_err(self.failed("make", &self.directory))?;
        let path = self.lock_file();
        let mut file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(self.failed("open", &path))?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => {
                let pid = self.recorded_pid().unwrap_or_else(|| "unknown".into());
                return Err(InstanceError::Running { instance: self.name.clone(), pid });
            }
            Err(errno) => return Err(self.failed("lock", &path)(errno.into())),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(self.failed("write", &path))?;
        Ok(InstanceLock { _file: file })
    }

    /// The process id of the daemon that runs this instance, if one does.
    pub fn daemon(&self) -> Option<u32> {
        let file = File::open(self.lock_file()).ok()?;
        let mut lock = whole_file();
        // Asks who holds the lock without taking it, so that no daemon is kept from starting.
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
        if lock.l_type == libc::F_UNLCK as libc::c_short {
            return None;
        }
        self.recorded_pid()?.parse().ok()
    }

    /// Notes what is in force, for those who look while no daemon runs.
    pub fn record(&self, model: &SiteModel) -> Result<(), InstanceError> {
        self.write(&self.model_file(), &model.to_string())
    }

    /// What a daemon last put in force; `None` where there is no record of it.
    pub fn recorded(&self) -> Option<SiteModel> {
        site_file::parse(&fs::read_to_string(self.model_file()).ok()?).ok()
    }

    /// Notes which modes were chosen for the interfaces, which the pins do not tell.
    pub fn record_modes(&self, modes: &[ChosenMode]) -> Result<(), InstanceError> {
        let path = self.modes_file();
        let text = serde_json::to_string_pretty(modes).map_err(io::Error::from);
        self.write(&path, &text.map_err(self.failed("write", &path))?)
    }

    /// The modes that a daemon last chose; none where there is no record of it.
    pub fn recorded_modes(&self) -> Vec<ChosenMode> {
        let text = fs::read_to_string(self.modes_file()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Notes that something was put back in place.
    pub fn record_repair(&self, what: &str) -> Result<(), InstanceError> {
        let repairs = Repairs {
            count: self.recorded_repairs().count.saturating_add(1),
            last: what.to_owned(),
            at: clock::now(),
        };
        let path = self.repairs_file();
        let text = serde_json::to_string_pretty(&repairs).map_err(io::Error::from);
        self.write(&path, &text.map_err(self.failed("write", &path))?)
    }

    /// What was put back in place; nothing where there is no record of it.
    pub fn recorded_repairs(&self) -> Repairs {
        let text = fs::read_to_string(self.repairs_file()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Notes what its daemon has given up; `None` for one that runs with all rights.
    pub fn record_confinement(
        &self,
        confinement: Option<&Confinement>,
    ) -> Result<(), InstanceError> {
        let path = self.confinement_file();
        let text = serde_json::to_string_pretty(&confinement).map_err(io::Error::from);
        self.write(&path, &text.map_err(self.failed("write", &path))?)
    }

    /// What its daemon has given up; `None` where there is no record of it, or it runs with all rights.
    pub fn recorded_confinement(&self) -> Option<Confinement> {
        serde_json::from_str(&fs::read_to_string(self.confinement_file()).ok()?).ok()?
    }

    /// Removes the run directory with everything in it.
    pub fn remove(&self) -> Result<(), InstanceError> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("remove", &self.directory)(error));
            }
            _ => {}
        }
        if let Some(run) = self.directory.parent() {
            // Fails while other instances are there, and that is right.
            let _ = fs::remove_dir(run);
        }
        Ok(())
    }

    fn lock_file(&self) -> PathBuf {
        self.directory.join("lock")
    }

    fn model_file(&self) -> PathBuf {
        self.directory.join("site.toml")
    }

    fn repairs_file(&self) -> PathBuf {
        self.directory.join("repairs.json")
    }

    fn confinement_file(&self) -> PathBuf {
        self.directory.join("confinement.json")
    }

    fn modes_file(&self) -> PathBuf {
        self.directory.join("modes.json")
    }

    /// Replaces a file in one step.
    fn write(&self, path: &Path, text: &str) -> Result<(), InstanceError> {
        let new = path.with_extension("new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, path))
            .map_err(self.failed("write", path))
    }

    fn recorded_pid(&self) -> Option<String> {
        let text = fs::read_to_string(self.lock_file()).ok()?;
        let pid = text.trim();
        (!pid.is_empty()).then(|| pid.to_owned())
    }

    fn failed(&self, doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstanceError {
        let (instance, path) = (self.name.clone(), path.to_path_buf());
        move |reason| InstanceError::File { instance, doing, path, reason }
    }
}

/// A write lock on the whole of a file, held by the open file rather than by the process, so that
/// opening the file a second time and closing it does not give the lock back.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_an_instance() {
        let run = std::env::temp_dir().join(format!("presence-instance-{}", std::process::id()));
        let a = Instance::under(&run, "a".parse().unwrap());
        let b = Instance::under(&run, "b".parse().unwrap());
        assert_eq!(a.daemon(), None);
        let lock = a.lock().unwrap();
        assert_eq!(a.daemon(), Some(std::process::id()));
        let refused = a.lock().unwrap_err().to_string();
        assert!(refused.contains("instance a") && refused.contains("runs it already"), "{refused}");
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        assert_eq!(a.daemon(), Some(std::process::id()), "looking must not release the lock");
        drop(b.lock().unwrap());
        drop(lock);
        assert_eq!(a.daemon(), None);
        drop(a.lock().unwrap());
        a.remove().unwrap();
        b.remove().unwrap();
        assert!(!run.exists());
    }
}
