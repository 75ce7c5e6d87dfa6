//! Programs on interfaces: which hook, replacing what an earlier run attached, and taking it away.
//!
//! TCX and XDP attachments are links pinned beside the maps: they outlive the process, and a restart
//! replaces the program inside the link, so that no packet passes by. Kernels before 6.6 have no TCX;
//! there a filter of a `clsact` queueing discipline does the same, found again by name, priority and
//! handle, with a mark among the pins.

use std::{fs, io, path::Path, time::Duration};

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::{FdLink, Link as _, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    xdp::XdpLink,
};
use nix::{libc, net::if_::if_nametoindex};
use thiserror::Error;

use crate::{
    errno::errno,
    netlink::{self, Side},
    object::Programs,
    pins::{self, InterfacePins, Pins, PinsError},
    program::Program,
};

/// What can go wrong on the way onto an interface, or off it.
#[derive(Debug, Error)]
pub enum AttachError {
    /// There is no such interface.
    #[error("interface {0} does not exist: create it, or correct its name in the site file")]
    NoInterface(String),
    /// Somebody else has the place.
    #[error(
        "interface {interface} has another XDP program: take it away (`ip link set dev {interface} xdp off`), or set mode = \"tc\" for this interface"
    )]
    XdpBusy {
        /// The interface.
        interface: String,
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
}

/// How long the kernel is given to detach a link. It takes milliseconds.
const DETACHED_WITHIN: Duration = Duration::from_secs(10);
/// Before filters of everybody who lets the kernel choose (49152 and up).
const PRIORITY: u16 = 1;
/// Tells ours from others' at the same priority.
const HANDLE: u32 = 0x5052;

/// Attaches what is wanted, replaces what was, takes away what is no longer wanted. Every interface is
/// looked up before the first is touched.
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
        places.push((pins.interface(index, interface), *place));
    }
    let mut attached: Vec<Attachment> = Vec::new();
    for (interface, place) in &places {
        interface.prepare()?;
        let program = match place {
            Place::Lan(_) => Program::LanIngress,
            Place::Link => Program::LinkIngress,
        };
        let hook = attach_classifier(programs, program, interface, force_clsact)?;
        let (mode, why) = match place {
            Place::Lan(mode) => attach_guard(&mut programs.guard, interface, *mode)?,
            Place::Link => (Mode::Tc, "links have no frames for XDP".to_owned()),
        };
        let name = &interface.name;
        let entry = |program, hook| Attachment {
            interface: name.clone(),
            program,
            hook,
            mode,
            why: why.clone(),
        };
        attached.push(entry(program, hook));
        if mode == Mode::Xdp {
            attached.push(entry(Program::Guard, Hook::Xdp));
        }
    }
    for interface in pins.interfaces()? {
        let programs: Vec<Program> = attached
            .iter()
            .filter(|attachment| {
                attachment.interface == interface.name
                    && places.iter().any(|(place, _)| *place == interface)
            })
            .map(|attachment| attachment.program)
            .collect();
        detach_others(&interface, &programs)?;
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
                let filter = own_filter(&interface, program).map_err(failed)?;
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
            });
        }
    }
    Ok(found)
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

/// Puts a classifier on an interface's ingress, before all others there.
fn attach_classifier(
    programs: &mut Programs,
    program: Program,
    interface: &InterfacePins,
    force_clsact: bool,
) -> Result<Hook, AttachError> {
    let Some(classifier) = programs.classifier(program) else {
        let source = ProgramError::UnexpectedProgramType;
        return Err(kernel("attach", program, interface, source));
    };
    if !force_clsact && attach_tcx(classifier, program, interface)? {
        remove_filter(program, interface)?;
        return Ok(Hook::Tcx);
    }
    attach_filter(classifier, program, interface)?;
    remove_link(program, interface)?;
    Ok(Hook::Clsact)
}

/// `false` if this kernel has no TCX.
fn attach_tcx(
    classifier: &mut SchedClassifier,
    program: Program,
    interface: &InterfacePins,
) -> Result<bool, AttachError> {
    let failed = |action, source: ProgramError| kernel(action, program, interface, source);
    let pin = interface.link(program);
    if pin.exists() {
        let link: SchedClassifierLink = open_link(&pin, program, interface)?
            .try_into()
            .map_err(|_| foreign(&pin, program, interface))?;
        let id = classifier.info().map_err(|source| failed("inspect", source))?.id();
        match classifier.attach_to_link(link) {
            Ok(link) => {
                drop(classifier.take_link(link).map_err(|source| failed("replace", source))?);
                if has_tcx(interface, id) {
                    return Ok(true);
                }
            }
            // The interface of the link is gone.
            Err(source) if errno(&source) == Some(libc::ENOLINK) => {}
            Err(source) => return Err(failed("replace", source)),
        }
        remove_link(program, interface)?;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    match classifier.attach_with_options(&interface.name, TcAttachType::Ingress, options) {
        Ok(link) => {
            let link = classifier.take_link(link).map_err(|source| failed("attach", source))?;
            let link = FdLink::try_from(link)
                .map_err(|source| kernel("attach", program, interface, source))?;
            link.pin(&pin).map_err(|source| kernel("pin", program, interface, source))?;
            Ok(true)
        }
        // What a kernel says to a type of attachment that it does not know.
        Err(source) if errno(&source) == Some(libc::EINVAL) => Ok(false),
        Err(source) => Err(failed("attach", source)),
    }
}

fn attach_filter(
    classifier: &mut SchedClassifier,
    program: Program,
    interface: &InterfacePins,
) -> Result<(), AttachError> {
    let failed = |source: ProgramError| kernel("attach", program, interface, source);
    match tc::qdisc_add_clsact(&interface.name) {
        Ok(()) => pins::mark(&interface.qdisc())?,
        Err(error) if errno(&error) == Some(libc::EEXIST) => {}
        Err(error) => return Err(failed(error.into())),
    }
    let there = own_filter(interface, program)
        .map_err(|error| kernel("inspect", program, interface, error))?;
    pins::mark(&interface.filter(program))?;
    let link = match there {
        None => {
            let options = NlOptions { priority: PRIORITY, handle: HANDLE.into(), classid: None };
            let options = TcAttachOptions::Netlink(options);
            classifier.attach_with_options(&interface.name, TcAttachType::Ingress, options)
        }
        Some(filter) if filter.name == program.name() => {
            let link = filter_link(interface)
                .map_err(|error| kernel("replace", program, interface, error))?;
            classifier.attach_to_link(link)
        }
        Some(filter) => {
            return Err(AttachError::FilterBusy {
                interface: interface.name.clone(),
                program,
                found: filter.name,
                priority: PRIORITY,
            });
        }
    };
    let link = link.and_then(|link| classifier.take_link(link)).map_err(failed)?;
    // Dropping it would remove the filter, which is to outlive the process.
    std::mem::forget(link);
    Ok(())
}

/// Removes the pin of our link, which detaches it; that there is none is fine. What is pinned there and
/// is no link is removed as well.
fn remove_link(program: Program, interface: &InterfacePins) -> Result<(), AttachError> {
    let pin = interface.link(program);
    if !pin.exists() {
        return Ok(());
    }
    let info = PinnedLink::from_pin(&pin).and_then(|link| FdLink::from(link).info());
    pins::remove(&pin)?;
    let Ok(info) = info else { return Ok(()) };
    // The kernel detaches a link some time after the last reference to it is gone
    // (`bpf_link_put` hands it to a work queue), and tells nobody.
    for _ in 0..DETACHED_WITHIN.as_millis() {
        let attached = match program {
            Program::Guard => has_xdp(interface, info.program_id()).unwrap_or(false),
            Program::LanIngress | Program::LinkIngress => has_tcx(interface, info.program_id()),
        };
        if !attached {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let source = io::Error::from(io::ErrorKind::TimedOut);
    Err(kernel("detach", program, interface, source))
}

/// Removes our filter; that there is none is fine.
fn remove_filter(program: Program, interface: &InterfacePins) -> Result<(), AttachError> {
    let mark = interface.filter(program);
    if !mark.exists() {
        return Ok(());
    }
    if is_here(interface) {
        let failed = |error: io::Error| kernel("detach", program, interface, error);
        let filter = own_filter(interface, program).map_err(failed)?;
        if filter.is_some_and(|filter| filter.name == program.name()) {
            let link = filter_link(interface).map_err(failed)?;
            link.detach().map_err(|source| kernel("detach", program, interface, source))?;
        }
    }
    Ok(pins::remove(&mark)?)
}

/// The filter in the place of `program`'s, whoever's it is.
fn own_filter(interface: &InterfacePins, program: Program) -> io::Result<Option<netlink::Filter>> {
    if !is_here(interface) {
        return Ok(None);
    }
    let filters = netlink::filters(interface.index, Side::Ingress)?;
    let ours = |filter: &netlink::Filter| filter.priority == PRIORITY && filter.handle == HANDLE;
    tracing::trace!(interface = %interface.name, %program, ?filters, "filters");
    Ok(filters.into_iter().find(ours))
}

fn filter_link(interface: &InterfacePins) -> io::Result<SchedClassifierLink> {
    let handle = TcHandle::from(HANDLE);
    SchedClassifierLink::attached(&interface.name, TcAttachType::Ingress, PRIORITY, handle, None)
}

/// Chooses the interface's mode and attaches the guard where it is wanted.
fn attach_guard(
    guard: &mut Xdp,
    interface: &InterfacePins,
    mode: Mode,
) -> Result<(Mode, String), AttachError> {
    match mode {
        Mode::Tc => Ok((Mode::Tc, "the site file says so".to_owned())),
        Mode::Xdp => {
            attach_xdp(guard, interface)?;
            Ok((Mode::Xdp, "the site file says so".to_owned()))
        }
        Mode::Auto => match judge_driver(driver(&interface.name).as_deref()) {
            (Mode::Xdp, why) => match attach_xdp(guard, interface) {
                Ok(()) => Ok((Mode::Xdp, why)),
                Err(AttachError::NoXdp { .. }) => {
                    Ok((Mode::Tc, format!("{why}, but it cannot run XDP programs")))
                }
                Err(error) => Err(error),
            },
            (_, why) => Ok((Mode::Tc, why)),
        },
    }
}

fn attach_xdp(guard: &mut Xdp, interface: &InterfacePins) -> Result<(), AttachError> {
    let program = Program::Guard;
    let failed = |action, source: ProgramError| kernel(action, program, interface, source);
    let pin = interface.link(program);
    if pin.exists() {
        let link: XdpLink = open_link(&pin, program, interface)?
            .try_into()
            .map_err(|_| foreign(&pin, program, interface))?;
        let id = guard.info().map_err(|source| failed("inspect", source))?.id();
        match guard.attach_to_link(link) {
            Ok(link) => {
                drop(guard.take_link(link).map_err(|source| failed("replace", source))?);
                let here = has_xdp(interface, id)
                    .map_err(|error| kernel("inspect", program, interface, error))?;
                if here {
                    return Ok(());
                }
            }
            Err(source) if errno(&source) == Some(libc::ENOLINK) => {}
            Err(source) => return Err(failed("replace", source)),
        }
        remove_link(program, interface)?;
    }
    let link = guard.attach_to_if_index(interface.index, XdpMode::Driver).map_err(|source| {
        let name = interface.name.clone();
        match errno(&source) {
            // EBUSY: somebody's link; EEXIST: somebody's program in generic mode.
            Some(libc::EBUSY | libc::EEXIST) => AttachError::XdpBusy { interface: name },
            // The driver has no XDP, or not with this interface's MTU, queues or offloads.
            Some(libc::EOPNOTSUPP | libc::ERANGE | libc::EINVAL) => {
                AttachError::NoXdp { interface: name, source: Box::new(source) }
            }
            _ => failed("attach", source),
        }
    })?;
    let link = guard.take_link(link).map_err(|source| failed("attach", source))?;
    let link =
        FdLink::try_from(link).map_err(|source| kernel("attach", program, interface, source))?;
    link.pin(&pin).map_err(|source| kernel("pin", program, interface, source))?;
    Ok(())
}

/// The kernel driver of an interface; software devices have none.
fn driver(interface: &str) -> Option<String> {
    let link = fs::read_link(format!("/sys/class/net/{interface}/device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Which mode suits a driver.
fn judge_driver(driver: Option<&str>) -> (Mode, String) {
    match driver {
        None => {
            let why = "a software device: XDP there switches off segmentation offload and costs more than it saves";
            (Mode::Tc, why.to_owned())
        }
        Some(driver @ ("virtio_net" | "xen-netfront" | "vif" | "hv_netvsc" | "vmxnet3")) => (
            Mode::Tc,
            format!(
                "driver {driver}: XDP there switches off segmentation offload and costs more than it saves"
            ),
        ),
        Some(driver) => (Mode::Xdp, format!("driver {driver}")),
    }
}

/// Whether the interface is in this network namespace still, or again.
fn is_here(interface: &InterfacePins) -> bool {
    if_nametoindex(interface.name.as_str()).is_ok_and(|index| index == interface.index)
}

fn has_tcx(interface: &InterfacePins, program: u32) -> bool {
    // A kernel or an interface without TCX has no such program on it.
    is_here(interface)
        && SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress)
            .is_ok_and(|(_, programs)| programs.iter().any(|info| info.id() == program))
}

fn has_xdp(interface: &InterfacePins, program: u32) -> io::Result<bool> {
    Ok(is_here(interface) && netlink::xdp_program(interface.index)? == Some(program))
}

fn open_link(
    pin: &Path,
    program: Program,
    interface: &InterfacePins,
) -> Result<FdLink, AttachError> {
    let link = PinnedLink::from_pin(pin)
        .map_err(|source| kernel("find the link of", program, interface, source))?;
    Ok(FdLink::from(link))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xdp_is_for_real_hardware() {
        assert_eq!(judge_driver(None).0, Mode::Tc);
        assert_eq!(judge_driver(Some("virtio_net")).0, Mode::Tc);
        assert_eq!(judge_driver(Some("mlx5_core")).0, Mode::Xdp);
    }
}
