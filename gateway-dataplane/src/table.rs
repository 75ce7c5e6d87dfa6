//! The pinned maps as typed tables. A table exists only for a pin whose type, key size, value size,
//! capacity and flags are those that [`gateway_common::map`] declares: aya itself would take any.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use aya::maps::{HashMap, Map as AyaMap, MapData, MapError, MapInfo, MapType, PerCpuArray};
use gateway_common::map::{Kind, Map};
use thiserror::Error;
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::{errno::errno, pod::Pod};

/// What can be wrong with a table.
#[derive(Debug, Error)]
pub enum TableError {
    /// The pin cannot be opened.
    #[error("cannot open map {path}: only root may, and gatewayd must have made it", path = path.display())]
    Open {
        /// The pin.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: MapError,
    },
    /// There is something under a map's name that is not that map.
    #[error(
        "{path} is not what this program would make there ({found} instead of {wanted}); it is left as it is. If it is a data path of other settings, `gatewayctl detach` ends it (and its connections); if it is somebody else's, use another instance name",
        path = path.display()
    )]
    Foreign {
        /// The pin.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// A map refused an entry for lack of room.
    #[error("map {map} is full at {capacity} entries: configure less, or raise its capacity")]
    Full {
        /// The map.
        map: &'static str,
        /// Its capacity.
        capacity: u32,
    },
    /// A map could not be read or written.
    #[error("cannot {action} map {map}")]
    Access {
        /// What was tried.
        action: &'static str,
        /// The map.
        map: &'static str,
        /// What the kernel said.
        #[source]
        source: MapError,
    },
}

/// What the kernel knows of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its type.
    pub kind: Kind,
    /// Octets of a key.
    pub key_size: u32,
    /// Octets of a value.
    pub value_size: u32,
    /// Most entries.
    pub capacity: u32,
    /// Flags it is made with.
    pub flags: u32,
}

impl Shape {
    /// The kernel demands this flag of a trie (`trie_alloc`, since 4.11).
    const NO_PREALLOCATION: u32 = 1;

    /// The shape of a declared map, made for `capacity` entries.
    pub fn of<M: Map>(capacity: u32) -> Self {
        Self {
            kind: M::KIND,
            key_size: size_of::<M::Key>() as u32,
            value_size: size_of::<M::Value>() as u32,
            capacity,
            flags: match M::KIND {
                Kind::LpmTrie | Kind::SparseHash => Self::NO_PREALLOCATION,
                Kind::Array | Kind::Hash | Kind::LruHash | Kind::PerCpuArray => 0,
            },
        }
    }

    fn differs(&self, info: &MapInfo) -> Option<String> {
        let same = info.map_type().is_ok_and(|found| found == map_type(self.kind))
            && info.key_size() == self.key_size
            && info.value_size() == self.value_size
            && info.max_entries() == self.capacity
            && info.map_flags() == self.flags;
        (!same).then(|| {
            let kind =
                info.map_type().map_or_else(|_| "unknown".into(), |kind| format!("{kind:?}"));
            format!(
                "{kind}, key {} octets, value {} octets, capacity {}, flags {:#x}",
                info.key_size(),
                info.value_size(),
                info.max_entries(),
                info.map_flags()
            )
        })
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, key_size, value_size, capacity, flags } = self;
        write!(
            f,
            "{kind:?}, key {key_size} octets, value {value_size} octets, capacity {capacity}, flags {flags:#x}"
        )
    }
}

fn map_type(kind: Kind) -> MapType {
    match kind {
        Kind::Array => MapType::Array,
        Kind::Hash | Kind::SparseHash => MapType::Hash,
        Kind::LruHash => MapType::LruHash,
        Kind::LpmTrie => MapType::LpmTrie,
        Kind::PerCpuArray => MapType::PerCpuArray,
    }
}

/// The map pinned at `path`, if there is something and it has the shape `wanted`.
pub(crate) fn open_pin(path: &Path, wanted: Shape) -> Result<Option<MapData>, TableError> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |source| TableError::Open { path: path.to_owned(), source };
    let data = MapData::from_pin(path).map_err(failed)?;
    let foreign =
        |found| TableError::Foreign { path: path.to_owned(), found, wanted: wanted.to_string() };
    // Opening a pin gives whatever object is there, and asking for a map's information succeeds on
    // programs too.
    let object = fs::read_link(format!("/proc/self/fd/{}", data.fd().as_fd().as_raw_fd()))
        .map_err(|error| failed(MapError::IoError(error)))?;
    if object.as_os_str() != "anon_inode:bpf-map" {
        return Err(foreign(object.to_string_lossy().into_owned()));
    }
    match wanted.differs(&data.info().map_err(failed)?) {
        None => Ok(Some(data)),
        Some(found) => Err(foreign(found)),
    }
}

/// A pinned map of keys and values. Not for per-CPU maps.
pub(crate) struct Table<M: Map> {
    map: HashMap<MapData, Pod<M::Key>, Pod<M::Value>>,
    capacity: u32,
}

impl<M: Map> Table<M> {
    /// The map pinned at `path`, which holds `capacity` entries.
    pub(crate) fn open(path: &Path, capacity: u32) -> Result<Self, TableError> {
        let data = open_declared::<M>(path, capacity)?;
        // aya's hash map is lookup, update, delete and next key with key and value sizes checked: the
        // same system calls for arrays and tries. `open_pin` has checked the type.
        let map = HashMap::try_from(AyaMap::HashMap(data))
            .map_err(|source| TableError::Open { path: path.to_owned(), source })?;
        Ok(Self { map, capacity })
    }

    pub(crate) fn find(&self, key: &M::Key) -> Result<Option<M::Value>, TableError> {
        match self.map.get(&Pod(*key), 0) {
            Ok(Pod(value)) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(Self::failed("read", source)),
        }
    }

    /// Adds or replaces an entry.
    pub(crate) fn set(&mut self, key: &M::Key, value: &M::Value) -> Result<(), TableError> {
        self.map.insert(Pod(*key), Pod(*value), 0).map_err(|source| self.refused(source))
    }

    /// Adds an entry; `false` if there is one of that key, which stays as it is.
    pub(crate) fn add(&mut self, key: &M::Key, value: &M::Value) -> Result<bool, TableError> {
        const NO_EXIST: u64 = 1;
        match self.map.insert(Pod(*key), Pod(*value), NO_EXIST) {
            Ok(()) => Ok(true),
            Err(source) if errno(&source) == Some(nix::libc::EEXIST) => Ok(false),
            Err(source) => Err(self.refused(source)),
        }
    }

    /// Removes an entry, or fills it with zeros where the map is an array. That there is none is fine.
    pub(crate) fn remove(&mut self, key: &M::Key) -> Result<(), TableError> {
        if M::KIND == Kind::Array {
            return self.set(key, &M::Value::new_zeroed());
        }
        match self.map.remove(&Pod(*key)) {
            Err(source) if errno(&source) != Some(nix::libc::ENOENT) => {
                Err(Self::failed("write", source))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// All entries. While the kernel half adds and removes some, an entry may be missed or come twice;
    /// the walk ends in any case.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Result<(M::Key, M::Value), TableError>> {
        // The kernel starts anew when the key it is asked to go on from is gone.
        let bound = 2 * self.capacity as usize;
        self.map.iter().take(bound).map(|entry| {
            entry
                .map(|(Pod(key), Pod(value))| (key, value))
                .map_err(|source| Self::failed("read", source))
        })
    }

    fn failed(action: &'static str, source: MapError) -> TableError {
        TableError::Access { action, map: M::NAME, source }
    }

    /// Why an entry could not be written.
    fn refused(&self, source: MapError) -> TableError {
        // A full hash map says E2BIG, a full trie ENOSPC.
        const FULL: [Option<i32>; 2] = [Some(nix::libc::E2BIG), Some(nix::libc::ENOSPC)];
        if FULL.contains(&errno(&source)) {
            TableError::Full { map: M::NAME, capacity: self.capacity }
        } else {
            Self::failed("write", source)
        }
    }
}

impl<M: Map<Key = u32>> Table<M> {
    /// The entries of an array below `end` that are not all zeros.
    pub(crate) fn filled(
        &self,
        end: u32,
    ) -> impl Iterator<Item = Result<(u32, M::Value), TableError>> {
        (0..end.min(self.capacity)).filter_map(|index| match self.find(&index) {
            Ok(Some(value)) if value.as_bytes().iter().all(|byte| *byte == 0) => None,
            Ok(Some(value)) => Some(Ok((index, value))),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

/// A pinned per-CPU array.
pub(crate) struct PerCpuTable<M: Map> {
    map: PerCpuArray<MapData, Pod<M::Value>>,
}

impl<M: Map<Key = u32, Value = u64>> PerCpuTable<M> {
    pub(crate) fn open(path: &Path) -> Result<Self, TableError> {
        let data = open_declared::<M>(path, M::CAPACITY)?;
        let map = PerCpuArray::try_from(AyaMap::PerCpuArray(data))
            .map_err(|source| TableError::Open { path: path.to_owned(), source })?;
        Ok(Self { map })
    }

    /// Sum over all CPUs.
    pub(crate) fn sum(&self, index: u32) -> Result<u64, TableError> {
        let values = self.map.get(&index, 0).map_err(|source| TableError::Access {
            action: "read",
            map: M::NAME,
            source,
        })?;
        Ok(values.iter().fold(0u64, |sum, Pod(value)| sum.wrapping_add(*value)))
    }
}

fn open_declared<M: Map>(path: &Path, capacity: u32) -> Result<MapData, TableError> {
    let absent = || {
        let source = MapError::IoError(io::Error::from(io::ErrorKind::NotFound));
        TableError::Open { path: path.to_owned(), source }
    };
    open_pin(path, Shape::of::<M>(capacity))?.ok_or_else(absent)
}
