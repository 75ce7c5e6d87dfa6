//! Pinned links, and whether what they attached is where it should be.

use std::{io, path::Path, time::Duration};

use aya::programs::{
    SchedClassifier, TcAttachType,
    links::{FdLink, PinnedLink},
};
use nix::net::if_::if_nametoindex;

use super::{AttachError, kernel};
use crate::{
    netlink,
    pins::{self, InterfacePins},
    program::Program,
};

/// How long the kernel is given to detach a link. It takes milliseconds.
const DETACHED_WITHIN: Duration = Duration::from_secs(10);

/// The link that is pinned there, or whatever else is.
pub(super) fn open_link(
    pin: &Path,
    program: Program,
    interface: &InterfacePins,
) -> Result<FdLink, AttachError> {
    let link = PinnedLink::from_pin(pin)
        .map_err(|source| kernel("find the link of", program, interface, source))?;
    Ok(FdLink::from(link))
}

/// Removes the pin of our link, which detaches it; that there is none is fine. What is pinned there and
/// is no link is removed as well.
pub(super) fn remove_link(program: Program, interface: &InterfacePins) -> Result<(), AttachError> {
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

/// Whether the interface is in this network namespace still, or again.
pub(super) fn is_here(interface: &InterfacePins) -> bool {
    if_nametoindex(interface.name.as_str()).is_ok_and(|index| index == interface.index)
}

/// Whether traffic control calls that program by a link.
pub(super) fn has_tcx(interface: &InterfacePins, program: u32) -> bool {
    // A kernel or an interface without TCX has no such program on it.
    is_here(interface)
        && SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress)
            .is_ok_and(|(_, programs)| programs.iter().any(|info| info.id() == program))
}

/// Whether the driver calls that program.
pub(super) fn has_xdp(interface: &InterfacePins, program: u32) -> io::Result<bool> {
    Ok(is_here(interface) && netlink::xdp_program(interface.index)? == Some(program))
}
