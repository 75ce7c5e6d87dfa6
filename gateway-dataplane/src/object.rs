//! The kernel half as it is compiled in, checked against the declarations, and its way into the kernel.

use std::{collections::BTreeMap, path::Path};

use aya::{
    EbpfError, EbpfLoader,
    pin::PinError,
    programs::{ProgramError, SchedClassifier, Xdp},
};
use aya_obj::{
    EbpfSectionKind, Object, ParseError, ProgramSection, generated::bpf_map_type,
    programs::XdpAttachType,
};
use gateway_common::{
    for_each_map,
    map::{
        Allows, Backends, Clock, Counters, Current, Flows, Fragments, Kind, Map, Names, Nats,
        OpeningNats, Openings, Ports, Presences, Routes, Services, SettingsSlots, Slots, Usages,
    },
};
use thiserror::Error;

use crate::{
    pins::{self, Pins, PinsError},
    program::Program,
    table::{Shape, TableError, open_pin},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("GATEWAY_OBJECT"));

/// What can go wrong on the kernel half's way into the kernel.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// The object that is compiled in is not an object.
    #[error("the kernel half that is compiled in cannot be read: build gatewayd anew")]
    Parse(#[from] ParseError),
    /// The object and the declarations disagree.
    #[error(
        "the kernel half that is compiled in does not fit this program: {0}; build gatewayd anew"
    )]
    Contract(String),
    /// A pin is in the way.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The pins' directories are in the way.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The kernel did not take the object or its maps.
    #[error("the kernel does not take the maps: run as root, on Linux 6.1 or later with BPF")]
    Load(#[source] EbpfError),
    /// The kernel did not take a program.
    #[error("the kernel does not take program {program}: Linux 6.1 or later is needed")]
    Verify {
        /// The program.
        program: Program,
        /// What the verifier said.
        #[source]
        source: Box<ProgramError>,
    },
    /// A program cannot be pinned, or its pin not be opened.
    #[error("program {program} cannot be {action}")]
    Pin {
        /// The program.
        program: Program,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What may differ from load to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters {
    pub(crate) flow_capacity: u32,
    pub(crate) link_header: u32,
}

/// The programs, by their pins.
pub(crate) struct Programs {
    pub(crate) guard: Xdp,
    pub(crate) lan_ingress: SchedClassifier,
    pub(crate) link_ingress: SchedClassifier,
}

impl Programs {
    /// The pinned programs.
    pub(crate) fn open(pins: &Pins) -> Result<Self, ObjectError> {
        let failed = |program| {
            move |source: ProgramError| ObjectError::Pin {
                program,
                action: "opened",
                source: source.into(),
            }
        };
        let classifier =
            |program| SchedClassifier::from_pin(pins.program(program)).map_err(failed(program));
        Ok(Self {
            guard: Xdp::from_pin(pins.program(Program::Guard), XdpAttachType::Interface)
                .map_err(failed(Program::Guard))?,
            lan_ingress: classifier(Program::LanIngress)?,
            link_ingress: classifier(Program::LinkIngress)?,
        })
    }

    /// Pins a program once more.
    pub(crate) fn pin(&mut self, program: Program, path: &Path) -> Result<(), PinError> {
        match program {
            Program::Guard => self.guard.pin(path),
            Program::LanIngress => self.lan_ingress.pin(path),
            Program::LinkIngress => self.link_ingress.pin(path),
        }
    }

    /// The kernel's number of a program.
    pub(crate) fn id(&self, program: Program) -> Result<u32, ProgramError> {
        let info = match program {
            Program::Guard => self.guard.info(),
            Program::LanIngress => self.lan_ingress.info(),
            Program::LinkIngress => self.link_ingress.info(),
        };
        Ok(info?.id())
    }

    /// The program for traffic control, if it is one.
    pub(crate) fn classifier(&mut self, program: Program) -> Option<&mut SchedClassifier> {
        match program {
            Program::Guard => None,
            Program::LanIngress => Some(&mut self.lan_ingress),
            Program::LinkIngress => Some(&mut self.link_ingress),
        }
    }
}

/// Loads the kernel half over the instance's maps, making those that are missing, and puts its
/// programs in the place of pinned ones. Nothing is changed unless everything fits.
pub(crate) fn load(pins: &Pins, parameters: Parameters) -> Result<(), ObjectError> {
    check_contract()?;
    let shapes = shapes(parameters.flow_capacity);
    for (name, shape) in &shapes {
        open_pin(&pins.map(name), *shape)?;
    }
    let mut loader = EbpfLoader::new();
    for name in shapes.keys() {
        loader.map_pin_path(name, pins.map(name));
    }
    loader
        .map_max_entries(Flows::NAME, parameters.flow_capacity)
        .map_max_entries(Nats::NAME, parameters.flow_capacity)
        .map_max_entries(Openings::NAME, opening_capacity(parameters.flow_capacity))
        .map_max_entries(OpeningNats::NAME, opening_capacity(parameters.flow_capacity))
        .override_global("LINK_HEADER", &parameters.link_header, true);
    let mut object = loader.load(OBJECT).map_err(ObjectError::Load)?;
    for program in Program::ALL {
        let next = pins.next_program(program);
        pins::remove(&next)?;
        let loaded = object
            .program_mut(program.name())
            .ok_or_else(|| ObjectError::Contract(format!("it has no program {program}")))?;
        let verify =
            |source: ProgramError| ObjectError::Verify { program, source: Box::new(source) };
        let pin = |source: PinError| ObjectError::Pin {
            program,
            action: "pinned",
            source: source.into(),
        };
        match program {
            Program::Guard => {
                let guard: &mut Xdp = loaded.try_into().map_err(verify)?;
                guard.load().map_err(verify)?;
                guard.pin(&next).map_err(pin)?;
            }
            Program::LanIngress | Program::LinkIngress => {
                let classifier: &mut SchedClassifier = loaded.try_into().map_err(verify)?;
                classifier.load().map_err(verify)?;
                classifier.pin(&next).map_err(pin)?;
            }
        }
    }
    for program in Program::ALL {
        pins::replace(&pins.next_program(program), &pins.program(program))?;
    }
    Ok(())
}

/// Room for flows that are not confirmed yet, beside `flow_capacity` that are: a quarter, up to 16,384; beyond
/// 262,144 a sixteenth. At least 4,096, enough for a burst.
pub(crate) const fn opening_capacity(flow_capacity: u32) -> u32 {
    const MOST_OF_FEW: u32 = 16_384;
    const LEAST: u32 = 4_096;
    let quarter = flow_capacity / 4;
    let sixteenth = flow_capacity / 16;
    if quarter < LEAST {
        LEAST
    } else if quarter < MOST_OF_FEW {
        quarter
    } else if sixteenth > MOST_OF_FEW {
        sixteenth
    } else {
        MOST_OF_FEW
    }
}

/// The declared maps' names.
pub(crate) fn map_names() -> Vec<&'static str> {
    macro_rules! names {
        ($($map:ident),+) => { vec![$($map::NAME),+] };
    }
    for_each_map!(names)
}

/// The declared maps by name, with the shape they are to have.
pub(crate) fn shapes(flow_capacity: u32) -> BTreeMap<&'static str, Shape> {
    let mut shapes = BTreeMap::new();
    macro_rules! add {
        ($($map:ident),+) => {
            $(shapes.insert($map::NAME, Shape::of::<$map>($map::CAPACITY));)+
        };
    }
    for_each_map!(add);
    shapes.insert(Flows::NAME, Shape::of::<Flows>(flow_capacity));
    shapes.insert(Nats::NAME, Shape::of::<Nats>(flow_capacity));
    let opening = opening_capacity(flow_capacity);
    shapes.insert(Openings::NAME, Shape::of::<Openings>(opening));
    shapes.insert(OpeningNats::NAME, Shape::of::<OpeningNats>(opening));
    shapes
}

/// Compares the object with the declarations: the same maps of the same shapes, and the programs.
fn check_contract() -> Result<(), ObjectError> {
    let object = Object::parse(OBJECT)?;
    let declared = shapes(Flows::CAPACITY);
    let mut found = BTreeMap::new();
    for (name, map) in &object.maps {
        if matches!(map.section_kind(), EbpfSectionKind::BtfMaps | EbpfSectionKind::Maps) {
            found.insert(name.as_str(), map);
        }
    }
    #[cfg(feature = "debug")]
    found.remove(crate::kernel_log::RING);
    for (name, shape) in &declared {
        let Some(map) = found.remove(name) else {
            return Err(ObjectError::Contract(format!("it has no map {name}")));
        };
        let same = map.map_type() == number(shape.kind)
            && map.key_size() == shape.key_size
            && map.value_size() == shape.value_size
            && map.max_entries() == shape.capacity
            && map.map_flags() == shape.flags;
        if !same {
            return Err(ObjectError::Contract(format!(
                "its map {name} is type {}, key {}, value {}, capacity {}, flags {:#x} instead of {shape}",
                map.map_type(),
                map.key_size(),
                map.value_size(),
                map.max_entries(),
                map.map_flags(),
            )));
        }
    }
    if let Some(name) = found.keys().next() {
        return Err(ObjectError::Contract(format!("its map {name} is not declared")));
    }
    for program in Program::ALL {
        let section = object.programs.get(program.name()).map(|program| &program.section);
        let fits = match program {
            Program::Guard => matches!(section, Some(ProgramSection::Xdp { .. })),
            Program::LanIngress | Program::LinkIngress => {
                matches!(section, Some(ProgramSection::SchedClassifier))
            }
        };
        if !fits {
            return Err(ObjectError::Contract(format!("it has no program {program} of its type")));
        }
    }
    Ok(())
}

fn number(kind: Kind) -> u32 {
    let kind = match kind {
        Kind::Array => bpf_map_type::BPF_MAP_TYPE_ARRAY,
        Kind::Hash | Kind::SparseHash => bpf_map_type::BPF_MAP_TYPE_HASH,
        Kind::LruHash => bpf_map_type::BPF_MAP_TYPE_LRU_HASH,
        Kind::LpmTrie => bpf_map_type::BPF_MAP_TYPE_LPM_TRIE,
        Kind::PerCpuArray => bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY,
    };
    kind as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_as_declared() {
        check_contract().expect("the object fits");
    }
}
