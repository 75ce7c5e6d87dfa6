//! What the programs keep themselves from doing: they give up, for good and before anything from outside is read,
//! every right that their role does not need. Called by both programs' beginnings; nothing else knows of it.
//!
//! A thread can give up rights for itself and for threads that it starts later, so this is done before there are
//! others. What a sandbox lets through is decided by the role and the file alone (`needs`), and what the kernel
//! has taken is read back from it (`confinement`).
//!
//! | module | holds |
//! |---|---|
//! | `dumps` | no memory of this process is left in a file or read by others |
//! | `needs` | what a role needs: capabilities, places, system calls |
//! | `capabilities` | giving up capabilities |
//! | `files` | Landlock: which files may be read, written and run |
//! | `mounter` | a process of its own for what the sandbox keeps the daemon from |
//! | `calls` | seccomp: which system calls there are |
//! | `confinement` | what is in force, as the kernel tells it |

mod calls;
mod capabilities;
mod confinement;
mod dumps;
mod files;
mod mounter;
mod needs;

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use clap::ValueEnum;
use nix::sys::prctl::set_no_new_privs;

pub use confinement::Confinement;
pub use dumps::{DumpError, refuse_dumps};
pub use files::has_landlock;
pub use mounter::{require_bpf_file_system, serve_mounter};
use needs::Needs;

use crate::config::Role;

/// A right could not be given up.
#[derive(Debug, thiserror::Error)]
#[error(
    "sandbox: cannot {doing}: {reason}; gatewayd does not run with more rights than it needs, except with \
     --sandbox off"
)]
pub struct SandboxError {
    doing: &'static str,
    reason: String,
}

/// Whether rights are given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Setting {
    /// All that are not needed.
    #[default]
    On,
    /// None: to find out whether a fault comes of the sandbox.
    Off,
}

/// What this process was told; what it starts is told the same.
static SETTING: OnceLock<Setting> = OnceLock::new();
/// What is in force for the whole of this process.
static IN_FORCE: OnceLock<Confinement> = OnceLock::new();

/// What this process was told.
pub fn setting() -> Setting {
    SETTING.get().copied().unwrap_or_default()
}

/// What this process has given up; `None` if nothing.
pub fn in_force() -> Option<&'static Confinement> {
    IN_FORCE.get()
}

/// What more to do about a file that cannot be read, should it be the sandbox that keeps it away.
pub fn hint(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::PermissionDenied if in_force().is_some() => {
            "; a running gatewayd reads no directories but those that its file named when it was started, so start \
             it again if this is another"
        }
        _ => "",
    }
}

impl Setting {
    /// As it is written on a command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Starts the process that mounts the BPF file system again, which what is confined cannot. Before [`enter`], by a
/// daemon with a gateway.
pub fn start_mounter() -> Result<(), SandboxError> {
    mounter::start().map_err(failed("start the process that mounts the BPF file system"))
}

/// Gives up what a daemon with this file does not need. There must be no other thread yet.
///
/// What the kernel cannot do is left out, and said so by what is given back.
pub fn enter(setting: Setting, role: &Role) -> Result<Option<Confinement>, SandboxError> {
    confine(setting, || Needs::of(role))
}

/// Gives up what the process of a userspace link device does not need, of what it was left by the daemon.
pub fn enter_as_link_device(
    setting: Setting,
    sockets: &Path,
) -> Result<Option<Confinement>, SandboxError> {
    confine(setting, || Needs::of_link_device(sockets))
}

fn confine(
    setting: Setting,
    needs: impl FnOnce() -> Needs,
) -> Result<Option<Confinement>, SandboxError> {
    match SETTING.get_or_init(|| setting) {
        Setting::On => {}
        Setting::Off => return Ok(None),
    }
    let needs = &needs();
    set_no_new_privs().map_err(failed("keep programs from gaining rights"))?;
    let files = match needs.mounts {
        true => None,
        false => files::restrict(needs)?,
    };
    capabilities::keep(&needs.capabilities)?;
    // Last, as it takes away what the others are done with.
    let calls = calls::restrict(needs.calls)?;
    let confinement = Confinement::observed(files, calls)?;
    confinement.require(needs)?;
    let _ = IN_FORCE.set(confinement.clone());
    Ok(Some(confinement))
}

fn failed<E: ToString>(doing: &'static str) -> impl FnOnce(E) -> SandboxError {
    move |reason| SandboxError { doing, reason: reason.to_string() }
}
