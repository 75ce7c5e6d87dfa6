//! Maps of earlier ABIs, whose entries are of no type of this build: read as bytes.

use std::path::Path;

use aya::maps::{HashMap, Map as AyaMap, MapData, MapInfo};
use gateway_common::map::Kind;

use crate::{
    pod::Pod,
    table::{Shape, TableError, open_pin},
};

use super::descriptor::MapLayout;

/// What is done with an entry's key and value.
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), TableError>;

/// Sizes of a key and a value that [`each`] can read: the kernel takes any, aya only those of a type.
macro_rules! read_sizes {
    ($layout:expr, $data:expr, $path:expr, $name:expr, $visit:expr; $(($key:literal, $value:literal)),+) => {
        match ($layout.key_size, $layout.value_size) {
            $(($key, $value) => read::<$key, $value>($data, $path, $name, $visit),)+
            _ => Ok(()),
        }
    };
}

/// Whether [`each`] reads maps of that layout. Every known one is.
#[cfg(test)]
pub(super) fn is_readable(layout: &MapLayout) -> bool {
    matches!((layout.key_size, layout.value_size), (16, 16 | 48 | 56 | 64))
}

/// Calls `visit` with every entry of the hash map `name` pinned at `path`; with none if there is no such
/// pin. While the kernel half adds and removes some, an entry may be missed or come twice.
pub(super) fn each(
    path: &Path,
    name: &'static str,
    kind: Kind,
    layout: &MapLayout,
    visit: Visit<'_>,
) -> Result<(), TableError> {
    if !path.exists() {
        return Ok(());
    }
    let info = MapInfo::from_pin(path)
        .map_err(|source| TableError::Open { path: path.to_owned(), source })?;
    let shape = Shape {
        kind,
        key_size: layout.key_size as u32,
        value_size: layout.value_size as u32,
        capacity: info.max_entries(),
        flags: 0,
    };
    let Some(data) = open_pin(path, shape)? else { return Ok(()) };
    read_sizes!(layout, data, path, name, visit; (16, 16), (16, 48), (16, 56), (16, 64))
}

fn read<const K: usize, const V: usize>(
    data: MapData,
    path: &Path,
    name: &'static str,
    visit: Visit<'_>,
) -> Result<(), TableError> {
    let bound = data
        .info()
        .map_err(|source| TableError::Open { path: path.to_owned(), source })?
        .max_entries() as usize;
    let map: HashMap<MapData, Pod<[u8; K]>, Pod<[u8; V]>> = AyaMap::HashMap(data)
        .try_into()
        .map_err(|source| TableError::Open { path: path.to_owned(), source })?;
    // The kernel starts anew when the key it is asked to go on from is gone.
    for entry in map.iter().take(2 * bound) {
        let (Pod(key), Pod(value)) =
            entry.map_err(|source| TableError::Access { action: "read", map: name, source })?;
        visit(&key, &value)?;
    }
    Ok(())
}
