//! The user half of the data path: load, pin, attach, observe, diff and apply. The only crate that
//! knows aya.
//!
//! [`DataPlane`] is for gatewayd, one for each instance at a time: it puts the kernel half, which is
//! compiled in, into the kernel beside the maps of an earlier run, attaches it, and makes the maps hold
//! [`gateway_common::desired::Tables`]. Everything it makes is pinned and goes on without the process;
//! only [`detach`] takes it away. What a build with an earlier map ABI left, it takes over with all flows
//! ([`migrate`]). [`Inspector`] reads the same pins for gatewayctl.
#![deny(unsafe_code)]

mod attach;
mod changes;
mod errno;
mod flows;
mod held;
mod inspect;
#[cfg(feature = "debug")]
mod kernel_log;
mod migrate;
mod netlink;
mod object;
mod pins;
#[allow(unsafe_code, reason = "one of the three files: the proof that map entries are plain bytes")]
mod pod;
mod program;
mod run;
mod state;
mod table;
mod trace;

use std::path::{Path, PathBuf};

use gateway_common::{
    desired::Tables,
    map::{ABI, Flows, Map as _},
};
use nix::net::if_::if_nametoindex;
use thiserror::Error;

pub use attach::{
    AttachError, Attachment, FoundAttachment, Hook, Mode, Neighbour, Place, WantedAttachment,
};
pub use changes::{Change, diff};
pub use flows::{Swept, now};
pub use held::RepairError;
pub use inspect::{InspectError, Inspector, MapEntry, MapSummary, map_names};
#[cfg(feature = "debug")]
pub use kernel_log::{KernelLog, KernelLogError};
pub use migrate::TakenOver;
pub use object::ObjectError;
pub use pins::{BPFFS, PinsError, require_file_system};
pub use program::Program;
pub use run::{Ran, Run, RunError, Runner};
pub use state::{Applied, ApplyError, Observed};
pub use table::{Shape, TableError};
pub use trace::{PacketDescription, Part, Trace, TraceError, TracePoint, TransportDescription};

use held::Held;
use migrate::Earlier;
use object::{Parameters, Programs};
use pins::{Pins, Prepared};
use state::Maps;

/// What can go wrong while a data path is opened or taken away.
#[derive(Debug, Error)]
pub enum Error {
    /// The pins.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The kernel half.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The maps.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The attachments.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// How a data path is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most flows. Fixed for as long as the maps are pinned.
    pub flow_capacity: u32,
    /// Where the BPF file system is; [`BPFFS`] but in tests.
    pub root: PathBuf,
    /// Attach by filters even where the kernel has links for traffic control. For tests.
    pub force_clsact: bool,
    /// Octets of link-layer header on link devices. 0 but in tests, whose frames all have one.
    pub link_header: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flow_capacity: Flows::CAPACITY,
            root: PathBuf::from(BPFFS),
            force_clsact: false,
            link_header: 0,
        }
    }
}

/// The data path of one instance.
pub struct DataPlane {
    pins: Pins,
    programs: Programs,
    maps: Maps,
    sweeper: flows::Sweeper,
    force_clsact: bool,
    /// What is to be taken over still, the latest first.
    earlier: Vec<Earlier>,
    held: Held,
    adopted: bool,
}

impl DataPlane {
    /// Loads the kernel half over the pinned maps of an earlier run, or over new ones. Programs that
    /// are attached go on as they are until [`Self::attach`]. On an error a running data path is left
    /// as it was.
    pub fn open(instance: &str, options: &Options) -> Result<Self, Error> {
        let pins = Pins::new(&options.root, instance)?;
        let Prepared { fresh, earlier } = pins.prepare()?;
        let earlier: Vec<Earlier> = earlier.into_iter().filter_map(Earlier::new).collect();
        let parameters =
            Parameters { flow_capacity: options.flow_capacity, link_header: options.link_header };
        if let Err(error) = object::load(&pins, parameters) {
            if fresh {
                pins.remove()?;
                pins.remove_empty();
            }
            return Err(error.into());
        }
        let programs = Programs::open(&pins)?;
        let maps = Maps::open(&pins, options.flow_capacity)?;
        let from: Vec<u32> = earlier.iter().map(Earlier::abi).collect();
        tracing::info!(instance, abi = ABI, adopted = !fresh, takes_over = ?from, "the data path is loaded");
        let (sweeper, force_clsact) = (flows::Sweeper::default(), options.force_clsact);
        let (held, adopted) = (Held::open(&pins)?, !fresh || !earlier.is_empty());
        Ok(Self { pins, programs, maps, sweeper, force_clsact, earlier, held, adopted })
    }

    /// Whether an earlier run left a data path to go on with.
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// Fails if one of these interfaces is served by another instance.
    pub fn refuse_claimed<'a>(
        &self,
        interfaces: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), AttachError> {
        for name in interfaces {
            if let Ok(index) = if_nametoindex(name) {
                attach::refuse_claimed(&self.pins, &self.pins.interface(index, name))?;
            }
        }
        Ok(())
    }

    /// Makes pins anew that somebody removed, all of them if the file system was unmounted, and says
    /// which. What they stand for was held all the time.
    pub fn repair(&mut self) -> Result<Vec<PathBuf>, RepairError> {
        self.held.repair(&self.pins, &mut self.programs)
    }

    /// Programs that are not, or no longer, called where [`Self::attach`] put them, on interfaces that
    /// are here: interface and program.
    pub fn disturbed(&self) -> Result<Vec<(String, Program)>, AttachError> {
        let mut disturbed = Vec::new();
        for found in attach::found(&self.pins)? {
            let here = if_nametoindex(found.interface.as_str()).is_ok_and(|it| it == found.index);
            let ours = self.programs.id(found.program).is_ok_and(|id| id == found.program_id);
            if here && !(found.active && ours) {
                disturbed.push((found.interface, found.program));
            }
        }
        Ok(disturbed)
    }

    /// Whether programs of this version are on interfaces already. Where none are, tables come first:
    /// a program without tables lets packets for presences pass by.
    pub fn is_attached(&self) -> Result<bool, PinsError> {
        Ok(self.earlier.is_empty() && self.pins.has_interfaces()?)
    }

    /// The programs on interfaces, those of versions that are to be taken over included.
    pub fn attachments(&self) -> Result<Vec<FoundAttachment>, AttachError> {
        let mut found = attach::found(&self.pins)?;
        for earlier in &self.earlier {
            found.extend(attach::found(earlier.pins())?);
        }
        Ok(found)
    }

    /// Serves these interfaces and no others: programs that are attached are replaced in place. Those of
    /// an earlier version as well, once tables are in force: then its flows are taken over and it is
    /// removed.
    pub fn attach(&mut self, wanted: &[WantedAttachment]) -> Result<Vec<Attachment>, AttachError> {
        self.held.let_go();
        let attached = self.attach_or_take_over(wanted);
        self.held = Held::open(&self.pins)?;
        attached
    }

    fn attach_or_take_over(
        &mut self,
        wanted: &[WantedAttachment],
    ) -> Result<Vec<Attachment>, AttachError> {
        if self.earlier.is_empty() {
            return attach::attach(&self.pins, &mut self.programs, self.force_clsact, wanted);
        }
        if self.maps.settings()?.is_none() {
            return Err(AttachError::NotInForce);
        }
        let first = self.copy_flows()?;
        for earlier in &self.earlier {
            earlier.hand_over(&self.pins)?;
        }
        let attached = attach::attach(&self.pins, &mut self.programs, self.force_clsact, wanted)?;
        let second = self.copy_flows()?;
        for earlier in std::mem::take(&mut self.earlier) {
            let (instance, from) = (self.pins.instance(), earlier.abi());
            tracing::info!(
                instance,
                from,
                to = ABI,
                ?first,
                ?second,
                "took over a data path of another version"
            );
            earlier.remove()?;
        }
        Ok(attached)
    }

    /// Flows of earlier versions into the maps of this one.
    fn copy_flows(&mut self) -> Result<TakenOver, TableError> {
        let mut sum = TakenOver::default();
        for earlier in &self.earlier {
            let TakenOver { flows, lost } = earlier.copy(&mut self.maps)?;
            (sum.flows, sum.lost) = (sum.flows + flows, sum.lost + lost);
        }
        Ok(sum)
    }

    /// Takes away what [`Self::open`] made, unless programs of this version are attached; an earlier
    /// version goes on as it did. `true` if nothing of the instance is left.
    pub fn abandon(self) -> Result<bool, PinsError> {
        if self.pins.has_interfaces()? {
            return Ok(false);
        }
        let Self { pins, earlier, .. } = self;
        pins.remove()?;
        pins.remove_empty();
        Ok(earlier.is_empty())
    }

    /// What the maps hold.
    pub fn observe(&self) -> Result<Observed, TableError> {
        self.maps.observe()
    }

    /// Makes the maps hold `desired`. If they do already, nothing changes, the generation neither.
    /// On an error the old content stays in force.
    pub fn apply(&mut self, desired: &Tables) -> Result<Applied, ApplyError> {
        let applied = self.maps.apply(desired)?;
        let Applied { generation, changes } = applied;
        tracing::info!(instance = self.pins.instance(), generation, changes, "tables applied");
        Ok(applied)
    }

    /// Removes flows that timed out and ports whose flow is gone. To be called every few seconds; a
    /// port goes at the second sweep that finds it without its flow.
    pub fn sweep(&mut self) -> Result<Swept, TableError> {
        self.sweeper.sweep(&mut self.maps, now())
    }

    /// What the programs of this load log, for one reader.
    #[cfg(feature = "debug")]
    pub fn kernel_log(&self) -> Result<KernelLog, KernelLogError> {
        KernelLog::open(&self.programs)
    }

    /// One of the programs, to be run on frames of the caller's.
    pub fn runner(&self, program: Program) -> Result<Runner, RunError> {
        Runner::open(&self.pins, program)
    }
}

/// What [`detach`] took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detached {
    /// Interfaces that were served.
    pub interfaces: usize,
    /// Versions of the data path that were pinned.
    pub versions: usize,
}

/// Takes the data path of `instance` away, whatever its version: programs off the interfaces, then
/// maps with all flows, then the directories. Of an instance that has none, nothing.
pub fn detach(instance: &str) -> Result<Detached, Error> {
    detach_at(Path::new(BPFFS), instance)
}

/// As [`detach`], below another root.
pub fn detach_at(root: &Path, instance: &str) -> Result<Detached, Error> {
    let pins = Pins::new(root, instance)?;
    let mut detached = Detached::default();
    for version in pins.versions()? {
        for interface in Pins::interfaces_of(&version)? {
            attach::detach(&interface)?;
            detached.interfaces += 1;
        }
        Pins::remove_version(&version)?;
        detached.versions += 1;
    }
    pins.remove_empty();
    Ok(detached)
}
