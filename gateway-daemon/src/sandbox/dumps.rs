//! Programs that hold keys leave no memory behind: neither as a core dump nor to debuggers.

use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// The kernel does not let this process be kept from dumps.
#[derive(Debug, thiserror::Error)]
#[error("cannot turn off core dumps of this process: {0}; it would hold keys, and does not go on")]
pub struct DumpError(#[from] Errno);

/// Turns off core dumps for good, also those that go to a program, and lets nobody but root read this
/// process's memory. A program that it starts has to do the same.
pub fn refuse_dumps() -> Result<(), DumpError> {
    // A dump into a pipe does not ask for the limit (fs/coredump.c, Linux 6.18), and one into a file does not
    // ask for the other after a program has changed it.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(set_dumpable(false)?)
}
