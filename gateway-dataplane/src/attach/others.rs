//! Whoever else has programs on an interface: named to the operator, told apart from other instances of
//! the gateway, never touched.

use std::{collections::BTreeSet, fmt, io};

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};

use super::{AttachError, Hook, pinned::is_here};
use crate::{
    netlink::{self, Side},
    pins::{InterfacePins, Pins},
    program::Program,
};

/// A program that the kernel calls for what arrives on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Where it is called.
    pub hook: &'static str,
    /// The kernel's number of it; 0 for a filter that runs none.
    pub program_id: u32,
    /// Its name, as far as known.
    pub name: String,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "without a name" } else { &self.name };
        write!(f, "{name} ({}, program {})", self.hook, self.program_id)
    }
}

/// All programs on an interface's way in, in the order in which the kernel calls them. Nothing of an
/// interface that is not here.
pub(super) fn programs_on(interface: &InterfacePins) -> io::Result<Vec<Neighbour>> {
    if !is_here(interface) {
        return Ok(Vec::new());
    }
    let mut found = xdp_on(interface)?;
    // A kernel or an interface without TCX has no such program on it.
    if let Ok((_, programs)) = SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress) {
        found.extend(programs.iter().map(|info| Neighbour {
            hook: Hook::Tcx.label(),
            program_id: info.id(),
            name: info.name_as_str().unwrap_or_default().to_owned(),
        }));
    }
    let mut filters = netlink::filters(interface.index, Side::Ingress)?;
    filters.sort_by_key(|filter| (filter.priority, filter.handle));
    found.extend(filters.into_iter().map(|filter| Neighbour {
        hook: Hook::Clsact.label(),
        program_id: filter.program_id,
        name: filter.name,
    }));
    Ok(found)
}

/// The XDP programs on an interface, in whichever mode.
pub(super) fn xdp_on(interface: &InterfacePins) -> io::Result<Vec<Neighbour>> {
    if !is_here(interface) {
        return Ok(Vec::new());
    }
    let programs = netlink::xdp_programs(interface.index)?;
    Ok(programs
        .into_iter()
        .map(|id| Neighbour { hook: Hook::Xdp.label(), program_id: id, name: name_of(id) })
        .collect())
}

/// Fails if a program of another instance serves the interface.
pub(crate) fn refuse_claimed(pins: &Pins, interface: &InterfacePins) -> Result<(), AttachError> {
    let failed =
        |error| super::kernel("look for others beside", Program::LanIngress, interface, error);
    let present: BTreeSet<u32> = programs_on(interface)
        .map_err(failed)?
        .into_iter()
        .map(|program| program.program_id)
        .filter(|id| *id != 0)
        .collect();
    if present.is_empty() {
        return Ok(());
    }
    for (instance, programs) in pins.programs_of_others()? {
        let theirs = programs.iter().filter_map(|pin| ProgramInfo::from_pin(pin).ok());
        if theirs.map(|info| info.id()).any(|id| present.contains(&id)) {
            return Err(AttachError::Claimed { interface: interface.name.clone(), instance });
        }
    }
    Ok(())
}

fn name_of(id: u32) -> String {
    let found = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
    found.and_then(|info| info.name_as_str().map(str::to_owned)).unwrap_or_default()
}
