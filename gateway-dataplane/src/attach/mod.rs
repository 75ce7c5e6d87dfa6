//! Programs on interfaces: which hook, replacing what an earlier run attached, and taking it away.
//!
//! TCX and XDP attachments are links pinned beside the maps: they outlive the process, and a restart
//! replaces the program inside the link, so that no packet passes by. Kernels before 6.6 have no TCX;
//! there a filter of a `clsact` queueing discipline does the same, found again by name, priority and
//! handle, with a mark among the pins.

mod classifier;
mod guard;
mod others;
mod pinned;

use std::{io, path::Path};

use aya::programs::ProgramError;
use nix::net::if_::if_nametoindex;
use thiserror::Error;

use self::{
    classifier::{attach_classifier, filter_in_place, remove_filter},
    guard::attach_guard,
    others::programs_on,
    pinned::{has_tcx, has_xdp, is_here, open_link, remove_link},
};
use crate::{
    netlink::{self, Side},
    object::Programs,
    pins::{InterfacePins, Pins, PinsError},
    program::Program,
    table::TableError,
};

pub use others::Neighbour;
pub(crate) use others::refuse_claimed;

/// What can go wrong on the way onto an interface, or off it.
#[derive(Debug, Error)]
pub enum AttachError {
    /// There is no such interface.
    #[error("interface {0} does not exist: create it, or correct its name in the site file")]
    NoInterface(String),
    /// Somebody else has the place.
    #[error(
        "interface {interface} has another XDP program: {occupant}. Take it away (`ip link set dev {interface} xdp off`, or `bpftool link detach` if a link holds it), or set mode = \"tc\" or \"auto\" for this interface"
    )]
    XdpBusy {
        /// The interface.
        interface: String,
        /// The other program.
        occupant: String,
    },
    /// Another instance serves the interface.
    #[error(
        "interface {interface} is served by instance {instance} of the gateway: name another interface in the site file, or end that one with `gatewayctl --instance {instance} detach`"
    )]
    Claimed {
        /// The interface.
        interface: String,
        /// The other instance.
        instance: String,
    },
    /// The driver cannot.
    #[error(
        "the driver of interface {interface} cannot run XDP programs: set mode = \"tc\" or \"auto\" for this interface"
    )]
    NoXdp {
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// Somebody else's filter has our place.
    #[error(
        "interface {interface} has filter {found:?} at priority {priority}, where {program} belongs: remove it (`tc filter del dev {interface} ingress prio {priority}`)"
    )]
    FilterBusy {
        /// The interface.
        interface: String,
        /// Our program.
        program: Program,
        /// The other filter's name.
        found: String,
        /// The priority.
        priority: u16,
    },
    /// A pin is not what its name says.
    #[error(
        "{path} is not the link of {program} on {interface}; it is left as it is. Remove it if nobody needs it"
    )]
    Foreign {
        /// The pin.
        path: String,
        /// The program it should hold.
        program: Program,
        /// The interface it should be on.
        interface: String,
    },
    /// The kernel refused.
    #[error("cannot {action} {program} on interface {interface}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// The program.
        program: Program,
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The pins are in the way.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// A map cannot be opened, or flows of an earlier version not be taken over: then a start goes on
    /// where this one ended.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Tables are not in force yet.
    #[error(
        "tables must be in force before the programs of an earlier version are replaced: apply them first"
    )]
    NotInForce,
}

/// How a LAN interface is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Whichever costs less, by the interface's driver.
    #[default]
    Auto,
    /// XDP in driver mode refuses early, traffic control does the rest.
    Xdp,
    /// Traffic control alone.
    Tc,
}

impl Mode {
    /// As it is written in the site file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::Tc => "tc",
        }
    }
}

/// What an interface is to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The site's hosts are behind it.
    Lan(Mode),
    /// It is a link to other gateways.
    Link,
}

/// An interface that is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedAttachment {
    /// Its name.
    pub interface: String,
    /// What it is.
    pub place: Place,
}

/// Where in the kernel a program is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP in driver mode.
    Xdp,
    /// Traffic control by a link (Linux 6.6).
    Tcx,
    /// Traffic control by a filter.
    Clsact,
}

impl Hook {
    /// The stable short name that operators see.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// A program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The interface.
    pub interface: String,
    /// The program.
    pub program: Program,
    /// Where it is called.
    pub hook: Hook,
    /// The mode that was chosen for the interface; never [`Mode::Auto`].
    pub mode: Mode,
    /// Why that mode, for an operator.
    pub why: String,
}

/// A program that the pins say is on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAttachment {
    /// The interface.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// The program.
    pub program: Program,
    /// Where it is called.
    pub hook: Hook,
    /// The kernel's number of the program that is called there; 0 if it knows of none.
    pub program_id: u32,
    /// Whether the kernel says so too. Otherwise the interface is gone, or in another namespace, or
    /// somebody took the program away.
    pub active: bool,
    /// Programs of others that see the interface's packets before it, and may take them.
    pub before: Vec<Neighbour>,
    /// Programs of others that see what it lets pass.
    pub after: Vec<Neighbour>,
}

/// Attaches what is wanted, replaces what was, takes away what is no longer wanted. Every interface is
/// looked up before the first is touched; on an error those that were not served before are not after.
pub(crate) fn attach(
    pins: &Pins,
    programs: &mut Programs,
    force_clsact: bool,
    wanted: &[WantedAttachment],
) -> Result<Vec<Attachment>, AttachError> {
    let mut places = Vec::new();
    for WantedAttachment { interface, place } in wanted {
        let index = if_nametoindex(interface.as_str())
            .map_err(|_| AttachError::NoInterface(interface.clone()))?;
        let interface = pins.interface(index, interface);
        refuse_claimed(pins, &interface)?;
        places.push((interface, *place));
    }
    let before = pins.interfaces()?;
    let mut attached: Vec<Attachment> = Vec::new();
    for (interface, place) in &places {
        match serve(programs, force_clsact, interface, *place) {
            Ok(more) => attached.extend(more),
            Err(error) => {
                for (interface, _) in places.iter().filter(|(it, _)| !before.contains(it)) {
                    detach(interface)?;
                }
                return Err(error);
            }
        }
    }
    for interface in pins.interfaces()? {
        let is_wanted = places.iter().any(|(place, _)| *place == interface);
        let ours = attached.iter().filter(|it| is_wanted && it.interface == interface.name);
        let kept: Vec<Program> = ours.map(|attachment| attachment.program).collect();
        detach_others(&interface, &kept)?;
    }
    Ok(attached)
}

/// Attaches one interface's programs.
fn serve(
    programs: &mut Programs,
    force_clsact: bool,
    interface: &InterfacePins,
    place: Place,
) -> Result<Vec<Attachment>, AttachError> {
    interface.prepare()?;
    let program = match place {
        Place::Lan(_) => Program::LanIngress,
        Place::Link => Program::LinkIngress,
    };
    let hook = attach_classifier(programs, program, interface, force_clsact)?;
    let (mode, why) = match place {
        Place::Lan(mode) => attach_guard(&mut programs.guard, interface, mode)?,
        Place::Link => (Mode::Tc, "links have no frames for XDP".to_owned()),
    };
    let entry = |program, hook| {
        let (interface, why) = (interface.name.clone(), why.clone());
        Attachment { interface, program, hook, mode, why }
    };
    let mut attached = vec![entry(program, hook)];
    if mode == Mode::Xdp {
        attached.push(entry(Program::Guard, Hook::Xdp));
    }
    Ok(attached)
}

/// Takes all programs off an interface and forgets it.
pub(crate) fn detach(interface: &InterfacePins) -> Result<(), AttachError> {
    detach_others(interface, &[])
}

/// What the pins say is attached, compared with the kernel.
pub(crate) fn found(pins: &Pins) -> Result<Vec<FoundAttachment>, AttachError> {
    let mut found = Vec::new();
    for interface in pins.interfaces()? {
        let first = found.len();
        for program in Program::ALL {
            let pin = interface.link(program);
            let failed = |error: io::Error| kernel("inspect", program, &interface, error);
            let (hook, program_id, active) = if pin.exists() {
                let link = open_link(&pin, program, &interface)?;
                let id = link
                    .info()
                    .map_err(|error| kernel("inspect", program, &interface, error))?
                    .program_id();
                match program {
                    Program::Guard => (Hook::Xdp, id, has_xdp(&interface, id).map_err(failed)?),
                    Program::LanIngress | Program::LinkIngress => {
                        (Hook::Tcx, id, has_tcx(&interface, id))
                    }
                }
            } else if interface.filter(program).exists() {
                let filter = filter_in_place(&interface).map_err(failed)?;
                let ours = filter.filter(|filter| filter.name == program.name());
                (Hook::Clsact, ours.as_ref().map_or(0, |filter| filter.program_id), ours.is_some())
            } else {
                continue;
            };
            let (name, index) = (interface.name.clone(), interface.index);
            found.push(FoundAttachment {
                interface: name,
                index,
                program,
                hook,
                program_id,
                active,
                before: Vec::new(),
                after: Vec::new(),
            });
        }
        let ours = found.get_mut(first..).unwrap_or_default();
        let all = programs_on(&interface)
            .map_err(|error| kernel("inspect", Program::LanIngress, &interface, error))?;
        name_others(ours, &all);
    }
    Ok(found)
}

/// Says of each of our programs on one interface which others are called before and after it.
fn name_others(ours: &mut [FoundAttachment], all: &[Neighbour]) {
    let own: Vec<u32> = ours.iter().map(|it| it.program_id).collect();
    let is_other = |it: &&Neighbour| !own.contains(&it.program_id);
    for found in ours.iter_mut().filter(|found| found.active) {
        let is_it = |it: &Neighbour| it.program_id == found.program_id;
        let Some(at) = all.iter().position(is_it) else { continue };
        let (before, after) = all.split_at(at);
        found.before = before.iter().filter(is_other).cloned().collect();
        found.after = after.iter().filter(is_other).cloned().collect();
    }
}

fn detach_others(interface: &InterfacePins, kept: &[Program]) -> Result<(), AttachError> {
    for program in Program::ALL.into_iter().filter(|program| !kept.contains(program)) {
        remove_link(program, interface)?;
        remove_filter(program, interface)?;
    }
    if !kept.is_empty() {
        return Ok(());
    }
    if interface.qdisc().exists() && is_here(interface) {
        let empty =
            |side| netlink::filters(interface.index, side).map(|filters| filters.is_empty());
        let failed =
            |error: io::Error| kernel("clean up after", Program::LanIngress, interface, error);
        if empty(Side::Ingress).map_err(failed)? && empty(Side::Egress).map_err(failed)? {
            netlink::remove_clsact(interface.index).map_err(failed)?;
        }
    }
    Ok(interface.remove()?)
}

fn foreign(pin: &Path, program: Program, interface: &InterfacePins) -> AttachError {
    AttachError::Foreign {
        path: pin.display().to_string(),
        program,
        interface: interface.name.clone(),
    }
}

fn kernel(
    action: &'static str,
    program: Program,
    interface: &InterfacePins,
    source: impl std::error::Error + Send + Sync + 'static,
) -> AttachError {
    AttachError::Kernel {
        action,
        program,
        interface: interface.name.clone(),
        source: Box::new(source),
    }
}
