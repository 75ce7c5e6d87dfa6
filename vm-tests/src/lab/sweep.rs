//! Removing whatever a lab made, by its name alone: it works after a panic, a SIGKILL or a crash
//! of the lab's own process as well as after an orderly end.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::name::LabName;
use super::namespace::{self, Namespace};

/// Where labs keep their files, one directory a lab.
pub const RUN: &str = "/run/presence-lab";

const PINS: &str = "/sys/fs/bpf/presence";
const GATEWAY_RUN: &str = "/run/presence";
const LINK_SOCKETS: &str = "/run/wireguard";
const KEPT: &str = "kept";

/// The right to use a lab's name, held as long as the value lives.
#[derive(Debug)]
pub struct Claim {
    _lock: Flock<File>,
    path: PathBuf,
}

impl Claim {
    /// Claims a name; the refusal names it.
    pub fn take(name: &LabName) -> Result<Self> {
        const ATTEMPTS: u32 = 100;
        let path = Path::new(RUN).join(format!("{name}.lock"));
        let mut attempt = 0;
        let file = loop {
            attempt += 1;
            match open(&path) {
                // The last lab's end removed the directory just now.
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => {}
                opened => break opened.with_context(|| format!("open {}", path.display()))?,
            }
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _lock: lock, path }),
            Err((_, Errno::EWOULDBLOCK)) => {
                bail!("the lab {name} is in use by another process; wait for its end")
            }
            Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Only then is nothing left behind; a name is claimed by one process at a time anyway.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(RUN);
    }
}

/// The lab's directory.
pub fn directory(name: &LabName) -> PathBuf {
    Path::new(RUN).join(name.to_string())
}

fn open(lock: &Path) -> io::Result<File> {
    fs::create_dir_all(RUN)?;
    File::options().create(true).write(true).truncate(false).open(lock)
}

/// Makes a directory, with what is above it, that only root can look into.
pub fn make_private(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o700)))
        .with_context(|| format!("make {}", directory.display()))
}

/// Marks a lab as one that stays after its process.
pub fn keep(name: &LabName) -> Result<()> {
    let mark = directory(name).join(KEPT);
    fs::write(&mark, "").with_context(|| format!("write {}", mark.display()))
}

/// Everything there is of a lab, one line each; empty after [`sweep`].
pub fn leftovers(name: &LabName) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for namespace in namespaces(name)? {
        let pids = namespace.pids().unwrap_or_default();
        found.push(format!("namespace {} with processes {pids:?}", namespace.name()));
    }
    let instances = name.instance_prefix();
    for parent in [PINS, GATEWAY_RUN, LINK_SOCKETS] {
        for path in entries(Path::new(parent), &instances)? {
            found.push(path.display().to_string());
        }
    }
    if directory(name).exists() {
        found.push(directory(name).display().to_string());
    }
    Ok(found)
}

/// Ends the lab's processes and removes its namespaces, pins and files. Goes on after a failure
/// and reports all of them.
pub fn sweep(name: &LabName) -> Result<()> {
    let mut failures = Vec::new();
    for namespace in namespaces(name)? {
        failures.extend(namespace.remove().err());
    }
    let instances = name.instance_prefix();
    let mut doomed = vec![directory(name)];
    for parent in [PINS, GATEWAY_RUN, LINK_SOCKETS] {
        doomed.extend(entries(Path::new(parent), &instances)?);
    }
    for path in doomed.iter().filter(|path| path.exists()) {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        failures.extend(removed.with_context(|| format!("remove {}", path.display())).err());
    }
    for parent in [PINS, GATEWAY_RUN] {
        // Fails while other instances are there, and that is right.
        let _ = fs::remove_dir(parent);
    }
    if failures.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = failures.iter().map(|failure| format!("{failure:#}")).collect();
    bail!("the lab {name} could not be removed completely: {}", all.join("; "))
}

/// Removes the labs whose process is gone and that were not meant to stay.
pub fn sweep_abandoned() -> Result<()> {
    for path in entries(Path::new(RUN), "")? {
        let Some(text) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let text = text.strip_suffix(".lock").unwrap_or(text);
        let Ok(name) = LabName::parse(text) else { continue };
        if directory(&name).join(KEPT).exists() {
            continue;
        }
        // In use by a process that lives: not abandoned.
        if let Ok(_claim) = Claim::take(&name) {
            sweep(&name)?;
        }
    }
    Ok(())
}

fn namespaces(name: &LabName) -> Result<Vec<Namespace>> {
    entries(Path::new(namespace::DIRECTORY), &name.namespace_prefix())?
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .map(Namespace::existing)
        .collect()
}

fn entries(parent: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(parent) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", parent.display())),
    };
    Ok(listing
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)))
        .map(|entry| entry.path())
        .collect())
}
