//! What the programs for traffic control log: a record for each packet that they refuse. Only in
//! builds with the feature `debug`; the daemon reads it.
//!
//! The ring that holds the records is made anew at each load and never pinned: the programs keep it.

use aya::programs::ProgramError;
use aya_log::EbpfLogger;
use log::Log;
use thiserror::Error;

use crate::object::Programs;

/// The ring's name in the object and in the kernel.
pub(crate) const RING: &str = "AYA_LOGS";

/// Why the records cannot be read.
#[derive(Debug, Error)]
pub enum KernelLogError {
    /// The kernel does not say which program is pinned.
    #[error("cannot find out which programs are pinned: only root may")]
    Program(#[from] ProgramError),
    /// The program's ring cannot be opened.
    #[error("cannot open the ring {RING} of the pinned programs")]
    Ring(#[from] aya_log::Error),
}

/// The records of one load of the programs.
pub struct KernelLog(EbpfLogger<&'static dyn Log>);

impl KernelLog {
    /// Of the programs of one load, which share a ring. The records go to the logger that is
    /// installed by now.
    pub(crate) fn open(programs: &Programs) -> Result<Self, KernelLogError> {
        let program = programs.lan_ingress.info()?.id();
        Ok(Self(EbpfLogger::init_from_id(program)?))
    }

    /// Hands every record that waits to the logger. Does not return while the programs are faster
    /// than that logger.
    pub fn forward(&mut self) {
        self.0.flush();
    }
}
