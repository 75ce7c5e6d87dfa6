//! The guard on an interface, and which interfaces it is for.

use std::fs;

use aya::programs::{ProgramError, Xdp, XdpMode, links::FdLink, xdp::XdpLink};
use nix::libc;

use super::{
    AttachError, Mode, foreign, kernel,
    others::{Neighbour, xdp_on},
    pinned::{has_xdp, open_link, remove_link},
};
use crate::{errno::errno, pins::InterfacePins, program::Program};

/// Chooses the interface's mode and attaches the guard where it is wanted.
pub(super) fn attach_guard(
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
                Err(AttachError::XdpBusy { occupant, .. }) => {
                    Ok((Mode::Tc, format!("{why}, but it has another XDP program: {occupant}")))
                }
                Err(error) => Err(error),
            },
            (_, why) => Ok((Mode::Tc, why_beside(why, &others_xdp(interface)))),
        },
    }
}

/// The reason for a mode, with those who would be in the way of the other one.
fn why_beside(why: String, others: &[Neighbour]) -> String {
    match others.first() {
        None => why,
        Some(other) => format!("{why}; it has another XDP program: {other}"),
    }
}

/// XDP programs on the interface that are not ours; none if the kernel does not say.
fn others_xdp(interface: &InterfacePins) -> Vec<Neighbour> {
    let own = open_link(&interface.link(Program::Guard), Program::Guard, interface)
        .and_then(|link| {
            link.info().map_err(|error| kernel("inspect", Program::Guard, interface, error))
        })
        .map_or(0, |info| info.program_id());
    let mut others = xdp_on(interface).unwrap_or_default();
    others.retain(|other| other.program_id != own);
    others
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
            Some(libc::EBUSY | libc::EEXIST) => AttachError::XdpBusy {
                interface: name,
                occupant: others_xdp(interface)
                    .first()
                    .map_or_else(|| "it is gone again".to_owned(), Neighbour::to_string),
            },
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
