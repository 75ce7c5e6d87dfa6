//! What the pins stand for, held by descriptors as well while the process lives: the maps, and the links
//! that keep programs attached. Should somebody unmount the BPF file system or remove pins, nothing is
//! detached and no flow is lost, and the pins are made again.
//!
//! Used by [`crate::DataPlane`], which opens it when it has attached and closes it before it attaches anew:
//! a link that is held is not detached by removing its pin.

use std::path::PathBuf;

use aya::maps::MapData;
use aya::pin::PinError;
use aya::programs::links::{FdLink, PinnedLink};

use crate::{
    object,
    pins::{self, Pins, PinsError},
    program::Program,
    table::TableError,
};

/// Descriptors beside the pins.
#[derive(Default)]
pub(crate) struct Held {
    maps: Vec<(PathBuf, MapData)>,
    links: Vec<(PathBuf, FdLink)>,
    /// Directories that stand for what cannot be pinned.
    marks: Vec<PathBuf>,
}

/// Why a pin could not be made again.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The directories.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// A pin.
    #[error("cannot pin {path} again", path = path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Held {
    /// Descriptors of everything that is pinned.
    pub(crate) fn open(pins: &Pins) -> Result<Self, TableError> {
        let mut held = Self::default();
        for name in object::map_names() {
            let path = pins.map(name);
            let map = MapData::from_pin(&path)
                .map_err(|source| TableError::Open { path: path.clone(), source })?;
            held.maps.push((path, map));
        }
        for interface in pins.interfaces().unwrap_or_default() {
            held.marks.extend(interface.marks());
            for program in Program::ALL {
                let path = interface.link(program);
                // One that is gone by now is attached anew, as any that is not there.
                if let Ok(link) = PinnedLink::from_pin(&path) {
                    held.links.push((path, FdLink::from(link)));
                }
            }
        }
        Ok(held)
    }

    /// Lets go of the links, so that their pins alone keep them.
    pub(crate) fn let_go(&mut self) {
        self.links.clear();
    }

    /// Makes every pin anew that is gone, and says which those were.
    pub(crate) fn repair(
        &mut self,
        pins: &Pins,
        programs: &mut object::Programs,
    ) -> Result<Vec<PathBuf>, RepairError> {
        if self.is_whole(pins) {
            return Ok(Vec::new());
        }
        pins.prepare()?;
        let mut repaired = Vec::new();
        for (path, map) in self.maps.iter().filter(|(path, _)| !path.exists()) {
            map.pin(path).map_err(|source| refused(path, source))?;
            repaired.push(path.clone());
        }
        for program in Program::ALL {
            let path = pins.program(program);
            if !path.exists() {
                programs.pin(program, &path).map_err(|source| refused(&path, source))?;
                repaired.push(path);
            }
        }
        for path in self.marks.iter().filter(|path| !path.exists()) {
            pins::mark(path)?;
            repaired.push(path.clone());
        }
        for (path, link) in std::mem::take(&mut self.links) {
            if path.exists() {
                self.links.push((path, link));
                continue;
            }
            if let Some(directory) = path.parent() {
                pins::mark(directory)?;
            }
            let link = link.pin(&path).map_err(|source| refused(&path, source))?;
            self.links.push((path.clone(), FdLink::from(link)));
            repaired.push(path);
        }
        Ok(repaired)
    }

    fn is_whole(&self, pins: &Pins) -> bool {
        let maps = self.maps.iter().map(|(path, _)| path);
        let links = self.links.iter().map(|(path, _)| path);
        maps.chain(links).chain(&self.marks).all(|path| path.exists())
            && Program::ALL.iter().all(|program| pins.program(*program).exists())
    }
}

fn refused(path: &std::path::Path, source: PinError) -> RepairError {
    RepairError::Pin { path: path.to_owned(), source: source.into() }
}
