//! A pinned program run once on a frame of ours, by `BPF_PROG_TEST_RUN`.

use std::path::Path;

use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{pins::Pins, program::Program};

/// What can go wrong with a run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The program cannot be opened.
    #[error("cannot open program {path}: only root may, and gatewayd must have made it")]
    Open {
        /// Its pin.
        path: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The kernel does not run it on this frame.
    #[error("the kernel does not run {program} on a frame of {length} octets")]
    Refused {
        /// The program.
        program: Program,
        /// Octets of the frame.
        length: usize,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
}

/// A frame to run a program on. What is 0 is the namespace's loopback device, which makes it a dry run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// From the Ethernet header on.
    pub frame: &'a [u8],
    /// Index of the interface that the packet is on.
    pub device: u32,
    /// Index of the interface that it came in by.
    pub ingress: u32,
}

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What it returned.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// The scratch space of the packet, of traffic control's programs.
    pub scratch: [u32; 5],
}

/// One of the pinned programs, to be run.
pub struct Runner {
    program: Program,
    loaded: Loaded,
}

enum Loaded {
    Guard(Xdp),
    Classifier(SchedClassifier),
}

impl Runner {
    /// The program as it is pinned now.
    pub(crate) fn open(pins: &Pins, program: Program) -> Result<Self, RunError> {
        let path = pins.program(program);
        let loaded = open(&path, program).map_err(|source| RunError::Open {
            path: path.display().to_string(),
            source: Box::new(source),
        })?;
        Ok(Self { program, loaded })
    }

    /// Runs it once. Without a device nothing is changed but the copy of the frame.
    pub fn run(&self, run: &Run<'_>) -> Result<Ran, RunError> {
        // The kernel may have made room in front of the frame or behind it.
        let mut frame = vec![0; run.frame.len() + 64];
        let (result, scratch) = match &self.loaded {
            Loaded::Guard(program) => {
                let context = XdpContext {
                    data_end: run.frame.len() as u32,
                    ingress: run.device,
                    ..XdpContext::default()
                };
                let result = program.test_run(TestRunOptions {
                    data_in: Some(run.frame),
                    data_out: Some(&mut frame),
                    ctx_in: Some(context.as_bytes()),
                    ..TestRunOptions::new()
                });
                (result, [0; 5])
            }
            Loaded::Classifier(program) => {
                let context = SkbContext {
                    ingress: run.ingress,
                    device: run.device,
                    ..SkbContext::default()
                };
                // The kernel wants room for all that it has.
                let mut after = [0; 512];
                let result = program.test_run(TestRunOptions {
                    data_in: Some(run.frame),
                    data_out: Some(&mut frame),
                    ctx_in: Some(context.as_bytes()),
                    ctx_out: Some(&mut after),
                    ..TestRunOptions::new()
                });
                let after = SkbContext::read_from_prefix(&after);
                (result, after.map_or([0; 5], |(context, _)| context.scratch))
            }
        };
        let result = result.map_err(|source| RunError::Refused {
            program: self.program,
            length: run.frame.len(),
            source: Box::new(source),
        })?;
        frame.truncate(result.data_size_out as usize);
        Ok(Ran { action: result.return_value, frame, scratch })
    }
}

fn open(path: &Path, program: Program) -> Result<Loaded, ProgramError> {
    Ok(match program {
        Program::Guard => Loaded::Guard(Xdp::from_pin(path, XdpAttachType::Interface)?),
        Program::LanIngress | Program::LinkIngress => {
            Loaded::Classifier(SchedClassifier::from_pin(path)?)
        }
    })
}

/// `struct __sk_buff` as far as a run may set it or tells of it (`linux/bpf.h`). The kernel takes a
/// shorter one for one that ends in zeros.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SkbContext {
    unused: [u32; 9],
    ingress: u32,
    device: u32,
    index: u32,
    scratch: [u32; 5],
}

/// `struct xdp_md`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct XdpContext {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress: u32,
    queue: u32,
    egress: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_lie_as_the_kernel_has_them() {
        assert_eq!(std::mem::offset_of!(SkbContext, ingress), 36);
        assert_eq!(std::mem::offset_of!(SkbContext, device), 40);
        assert_eq!(std::mem::offset_of!(SkbContext, scratch), 48);
        assert_eq!(std::mem::offset_of!(XdpContext, ingress), 12);
    }
}
