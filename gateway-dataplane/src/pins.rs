//! Where the data path lives in the BPF file system: `ROOT/presence/INSTANCE/vABI/{maps,programs,links}`.
//! Every path below the root is built here and nowhere else.
//!
//! `links` has a directory per interface, named by index and name, so that an interface that was
//! deleted and made anew, or renamed, is not taken for the one that the pins belong to.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gateway_common::map::ABI;
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use thiserror::Error;

use crate::{migrate, program::Program};

/// Where Linux distributions mount the BPF file system.
pub const BPFFS: &str = "/sys/fs/bpf";

/// What can be wrong with the pins of an instance.
#[derive(Debug, Error)]
pub enum PinsError {
    /// An instance's name becomes part of a path.
    #[error(
        "instance {0:?} is not a name: use 1 to 63 of the characters a-z, 0-9 and -, beginning and ending with a letter or digit"
    )]
    Instance(String),
    /// No BPF file system where one is needed.
    #[error("{root} is not a BPF file system and could not be made one: run `mount -t bpf bpf {root}` as root", root = root.display())]
    NoFileSystem {
        /// Where it should be.
        root: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The instance's maps have a layout that this program does not know.
    #[error(
        "{path} holds maps of another version, which this program (v{ABI}{known}) cannot take over; the running data path is left as it is. Run the gatewayd of that version or a later one, or end its traffic with `gatewayctl --instance {instance} detach` and start again",
        path = path.display(), known = known()
    )]
    OtherVersion {
        /// The directory.
        path: PathBuf,
        /// The instance.
        instance: String,
    },
    /// The instance's maps have a layout that only gatewayd takes over.
    #[error(
        "{path} holds maps of an earlier version (this program's is v{ABI}): start the gatewayd that came with this program, which takes its flows over, or use the gatewayctl of that version",
        path = path.display()
    )]
    EarlierVersion {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing is pinned for the instance.
    #[error("instance {instance} has no data path: {path} does not exist. Start gatewayd, or name another instance with --instance", path = path.display())]
    Absent {
        /// The instance.
        instance: String,
        /// Its directory.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {path}: the BPF file system is for root alone", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The pins of one instance, of one version.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
    instance: String,
    abi: u32,
}

/// What was there when an instance's directories were made.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Nothing of this version was.
    pub(crate) fresh: bool,
    /// The pins of earlier versions, the latest first.
    pub(crate) earlier: Vec<Pins>,
}

/// The pins that belong to one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfacePins {
    pub(crate) index: u32,
    pub(crate) name: String,
    directory: PathBuf,
}

impl Pins {
    pub(crate) fn new(root: &Path, instance: &str) -> Result<Self, PinsError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = instance.as_bytes();
        let is_name = (1..=63).contains(&bytes.len())
            && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| plain(*byte))
            && bytes.last().is_some_and(|byte| plain(*byte));
        if !is_name {
            return Err(PinsError::Instance(instance.to_owned()));
        }
        Ok(Self { root: root.to_owned(), instance: instance.to_owned(), abi: ABI })
    }

    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// The number of their version.
    pub(crate) fn abi(&self) -> u32 {
        self.abi
    }

    /// Makes the directories where they are missing, after finishing an interrupted removal of earlier
    /// ones. Refuses a version that cannot be taken over before it touches anything.
    pub(crate) fn prepare(&self) -> Result<Prepared, PinsError> {
        self.require_file_system()?;
        let earlier = self.earlier()?;
        for doomed in self.versions()?.iter().filter(|path| is_doomed(path)) {
            remove_all(doomed)?;
        }
        let fresh = !self.version().exists();
        for directory in [self.maps(), self.programs(), self.links()] {
            make_all(&directory)?;
        }
        Ok(Prepared { fresh, earlier })
    }

    /// Fails unless the instance has pins of this version.
    pub(crate) fn require(&self) -> Result<(), PinsError> {
        if self.version().exists() {
            return Ok(());
        }
        match self.earlier()?.first() {
            Some(earlier) => Err(PinsError::EarlierVersion { path: earlier.version() }),
            None => {
                Err(PinsError::Absent { instance: self.instance.clone(), path: self.version() })
            }
        }
    }

    /// Removes all pins of this version, in a way that can be finished if it is interrupted: from its
    /// first step on nobody takes anything over from them.
    pub(crate) fn remove(&self) -> Result<(), PinsError> {
        let doomed = self.directory().join(format!("{DOOMED}{}", self.abi));
        remove_all(&doomed)?;
        replace(&self.version(), &doomed)?;
        remove_all(&doomed)
    }

    /// Moves the pins of all interfaces of `earlier` here. What they attached stays attached.
    pub(crate) fn adopt_interfaces(&self, earlier: &Self) -> Result<(), PinsError> {
        for from in list(&earlier.links())? {
            let Some(name) = from.file_name() else { continue };
            let to = self.links().join(name);
            make_all(&to)?;
            for pin in list(&from)? {
                let Some(name) = pin.file_name() else { continue };
                replace(&pin, &to.join(name))?;
            }
            remove_all(&from)?;
        }
        Ok(())
    }

    /// The pinned programs of the other instances below the same root, by instance.
    pub(crate) fn programs_of_others(&self) -> Result<Vec<(String, Vec<PathBuf>)>, PinsError> {
        let mut others = Vec::new();
        for instance in list(&self.all())? {
            let Some(name) = instance.file_name().and_then(|name| name.to_str()) else { continue };
            if name == self.instance {
                continue;
            }
            let mut programs = Vec::new();
            for version in list(&instance)? {
                programs.extend(list(&version.join("programs"))?);
            }
            others.push((name.to_owned(), programs));
        }
        Ok(others)
    }

    /// Whether any interface has pins of this version.
    pub(crate) fn has_interfaces(&self) -> Result<bool, PinsError> {
        Ok(!list(&self.links())?.is_empty())
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    pub(crate) fn program(&self, program: Program) -> PathBuf {
        self.programs().join(program.name())
    }

    /// Where a program waits until it takes the place of its predecessor. No program has this name.
    pub(crate) fn next_program(&self, program: Program) -> PathBuf {
        self.programs().join(format!("{}:next", program.name()))
    }

    /// The pins of an interface, whether there are any or not. The file system reserves dots in names
    /// (`bpf_lookup`, since 0c93b7d85d40 in 4.5) and interfaces have no colons in theirs.
    pub(crate) fn interface(&self, index: u32, name: &str) -> InterfacePins {
        let directory = self.links().join(format!("{index},{}", name.replace('.', ":")));
        InterfacePins { index, name: name.to_owned(), directory }
    }

    /// The interfaces that have pins, of this version.
    pub(crate) fn interfaces(&self) -> Result<Vec<InterfacePins>, PinsError> {
        interfaces_in(&self.links())
    }

    /// The directories of all versions of this instance.
    pub(crate) fn versions(&self) -> Result<Vec<PathBuf>, PinsError> {
        list(&self.directory())
    }

    /// The interfaces that have pins in the directory of any version.
    pub(crate) fn interfaces_of(version: &Path) -> Result<Vec<InterfacePins>, PinsError> {
        interfaces_in(&version.join("links"))
    }

    /// Removes the directory of a version, with everything in it.
    pub(crate) fn remove_version(version: &Path) -> Result<(), PinsError> {
        remove_all(version)
    }

    /// Removes what is left of the instance's directories once they are empty.
    pub(crate) fn remove_empty(&self) {
        // Fails while something is in them, which is then somebody's.
        let _ = fs::remove_dir(self.directory());
        let _ = fs::remove_dir(self.all());
    }

    /// The directory of this version.
    pub(crate) fn version(&self) -> PathBuf {
        self.directory().join(format!("v{}", self.abi))
    }

    fn all(&self) -> PathBuf {
        self.root.join("presence")
    }

    fn directory(&self) -> PathBuf {
        self.all().join(&self.instance)
    }

    fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    fn programs(&self) -> PathBuf {
        self.version().join("programs")
    }

    fn links(&self) -> PathBuf {
        self.version().join("links")
    }

    /// The pins of other versions, all of which can be taken over; the latest first.
    fn earlier(&self) -> Result<Vec<Self>, PinsError> {
        let mut earlier = Vec::new();
        for path in self.versions()? {
            if path == self.version() || is_doomed(&path) {
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str());
            let abi = name.and_then(|name| name.strip_prefix('v')?.parse().ok());
            match abi.filter(|abi| migrate::is_known(*abi)) {
                Some(abi) => earlier.push(Self { abi, ..self.clone() }),
                None => {
                    return Err(PinsError::OtherVersion { path, instance: self.instance.clone() });
                }
            }
        }
        earlier.sort_by_key(|pins| std::cmp::Reverse(pins.abi));
        Ok(earlier)
    }

    fn require_file_system(&self) -> Result<(), PinsError> {
        let usual = Path::new(BPFFS);
        require_file_system(if self.root.starts_with(usual) { usual } else { &self.root })
    }
}

/// Mounts the BPF file system where everybody expects it, if nobody has.
pub fn require_file_system(root: &Path) -> Result<(), PinsError> {
    let failed =
        |errno: nix::Error| PinsError::NoFileSystem { root: root.to_owned(), source: errno.into() };
    if statfs(root).map_err(failed)?.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    if root != Path::new(BPFFS) {
        return Err(failed(nix::Error::EMEDIUMTYPE));
    }
    mount(Some("bpf"), root, Some("bpf"), MsFlags::empty(), None::<&str>).map_err(failed)?;
    tracing::warn!(
        path = %root.display(),
        "mounted the BPF file system; in a mount namespace of its own the pins last no longer than that namespace"
    );
    Ok(())
}

impl InterfacePins {
    /// Where a program's link is pinned.
    pub(crate) fn link(&self, program: Program) -> PathBuf {
        self.directory.join(program.name())
    }

    /// Exists while a program is attached by a filter of traffic control, which cannot be pinned.
    pub(crate) fn filter(&self, program: Program) -> PathBuf {
        self.directory.join(format!("{}:filter", program.name()))
    }

    /// Exists while the interface has a queueing discipline that was made for our filters.
    pub(crate) fn qdisc(&self) -> PathBuf {
        self.directory.join("clsact")
    }

    /// Its marks that are there.
    pub(crate) fn marks(&self) -> Vec<PathBuf> {
        let filters = Program::ALL.into_iter().map(|program| self.filter(program));
        filters.chain([self.qdisc()]).filter(|mark| mark.exists()).collect()
    }

    pub(crate) fn prepare(&self) -> Result<(), PinsError> {
        make_all(&self.directory)
    }

    pub(crate) fn remove(&self) -> Result<(), PinsError> {
        remove_all(&self.directory)
    }
}

/// Notes something that outlives the process: a directory without content.
pub(crate) fn mark(path: &Path) -> Result<(), PinsError> {
    make_all(path)
}

/// Removes a pin or a mark; that there is none is fine.
pub(crate) fn remove(path: &Path) -> Result<(), PinsError> {
    let removed = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PinsError::Io { action: "remove", path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Puts the pin `from` in the place of `to` in one step.
pub(crate) fn replace(from: &Path, to: &Path) -> Result<(), PinsError> {
    fs::rename(from, to).map_err(|source| PinsError::Io {
        action: "replace",
        path: to.to_owned(),
        source,
    })
}

/// The name of a version's directory while it is being removed begins with this.
const DOOMED: &str = "removed:";

fn is_doomed(version: &Path) -> bool {
    version.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DOOMED))
}

/// The earlier versions, for the text of an error.
fn known() -> String {
    let known: Vec<String> = migrate::known().map(|abi| format!("v{abi}")).collect();
    if known.is_empty() { String::new() } else { format!(", knowing {}", known.join(", ")) }
}

fn interfaces_in(links: &Path) -> Result<Vec<InterfacePins>, PinsError> {
    let directories = list(links)?.into_iter();
    Ok(directories
        .filter_map(|directory| {
            let (index, name) = directory.file_name()?.to_str()?.split_once(',')?;
            let (index, name) = (index.parse().ok()?, name.replace(':', "."));
            Some(InterfacePins { index, name, directory })
        })
        .collect())
}

fn make_all(path: &Path) -> Result<(), PinsError> {
    fs::create_dir_all(path).map_err(|source| PinsError::Io {
        action: "make the directory",
        path: path.to_owned(),
        source,
    })
}

fn remove_all(path: &Path) -> Result<(), PinsError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PinsError::Io { action: "remove", path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn list(path: &Path) -> Result<Vec<PathBuf>, PinsError> {
    let failed = |source| PinsError::Io { action: "read", path: path.to_owned(), source };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_names() {
        for good in ["default", "edge-a", "a", "0"] {
            assert!(Pins::new(Path::new(BPFFS), good).is_ok(), "{good}");
        }
        for bad in ["", "..", "a/b", "-a", "a-", "A", "a.b", &"a".repeat(64)] {
            assert!(Pins::new(Path::new(BPFFS), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_under_instance_and_version() {
        let pins = Pins::new(Path::new(BPFFS), "edge-a").expect("a name");
        assert_eq!(
            pins.map("flows4"),
            Path::new(&format!("/sys/fs/bpf/presence/edge-a/v{ABI}/maps/flows4"))
        );
        let tagged = pins.interface(7, "lan0.100").link(Program::Guard);
        assert!(tagged.ends_with("links/7,lan0:100/guard"), "{}", tagged.display());
    }
}
