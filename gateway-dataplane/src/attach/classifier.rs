//! Classifiers of traffic control on an interface's ingress: links where the kernel has them, filters
//! elsewhere.

use std::io;

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::{FdLink, Link as _},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
};
use nix::libc;

use super::{
    AttachError, Hook, foreign, kernel,
    pinned::{has_tcx, is_here, open_link, remove_link},
};
use crate::{
    errno::errno,
    netlink::{self, Side},
    object::Programs,
    pins::{self, InterfacePins},
    program::Program,
};

/// Before filters of everybody who lets the kernel choose (49152 and up).
const PRIORITY: u16 = 1;
/// Tells ours from others' at the same priority.
const HANDLE: u32 = 0x5052;

/// Puts a classifier on an interface's ingress, before all others there.
pub(super) fn attach_classifier(
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
    let there =
        filter_in_place(interface).map_err(|error| kernel("inspect", program, interface, error))?;
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

/// Removes our filter; that there is none is fine.
pub(super) fn remove_filter(
    program: Program,
    interface: &InterfacePins,
) -> Result<(), AttachError> {
    let mark = interface.filter(program);
    if !mark.exists() {
        return Ok(());
    }
    if !is_here(interface) {
        tracing::debug!(interface = %interface.name, %program, "gone, or in another network namespace");
    } else {
        let failed = |error: io::Error| kernel("detach", program, interface, error);
        let filter = filter_in_place(interface).map_err(failed)?;
        if filter.is_some_and(|filter| filter.name == program.name()) {
            let link = filter_link(interface).map_err(failed)?;
            link.detach().map_err(|source| kernel("detach", program, interface, source))?;
        }
    }
    Ok(pins::remove(&mark)?)
}

/// The filter at our priority and handle, whoever's it is.
pub(super) fn filter_in_place(interface: &InterfacePins) -> io::Result<Option<netlink::Filter>> {
    if !is_here(interface) {
        return Ok(None);
    }
    let filters = netlink::filters(interface.index, Side::Ingress)?;
    let ours = |filter: &netlink::Filter| filter.priority == PRIORITY && filter.handle == HANDLE;
    Ok(filters.into_iter().find(ours))
}

fn filter_link(interface: &InterfacePins) -> io::Result<SchedClassifierLink> {
    let handle = TcHandle::from(HANDLE);
    SchedClassifierLink::attached(&interface.name, TcAttachType::Ingress, PRIORITY, handle, None)
}
