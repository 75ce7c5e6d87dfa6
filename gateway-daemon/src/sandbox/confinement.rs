//! What is in force, as the kernel tells it: told to operators, and held against what was asked for.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

use super::needs::Needs;
use super::{SandboxError, failed};

/// What a process has given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confinement {
    /// Capabilities that are left, by their names.
    pub capabilities: Vec<String>,
    /// The version of Landlock that restricts files; none if the kernel has none.
    pub landlock: Option<i32>,
    /// Whether system calls are restricted.
    pub seccomp: bool,
}

impl Confinement {
    /// Reads back what is in force for this thread.
    pub(super) fn observed(landlock: Option<i32>, seccomp: bool) -> Result<Self, SandboxError> {
        let held = caps::read(None, caps::CapSet::Permitted);
        let held = held.map_err(failed("read capabilities"))?;
        let mut capabilities: Vec<String> = held.iter().map(ToString::to_string).collect();
        capabilities.sort();
        Ok(Self { capabilities, landlock, seccomp })
    }

    /// Fails unless the kernel has taken all that it was asked to take and can.
    pub(super) fn require(&self, needs: &Needs) -> Result<(), SandboxError> {
        let status = fs::read_to_string("/proc/thread-self/status")
            .map_err(failed("read back what is in force"))?;
        let value = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let wanted: u64 = needs.capabilities.iter().map(caps::Capability::bitmask).sum();
        let is_within = |set: &str| {
            value(set)
                .and_then(|it| u64::from_str_radix(it, 16).ok())
                .is_some_and(|it| it & !wanted == 0)
        };
        let wider =
            ["CapInh", "CapPrm", "CapEff", "CapAmb"].into_iter().find(|set| !is_within(set));
        let refused = match wider {
            Some(set) => Some(format!("{set} is {}", value(set).unwrap_or("unknown"))),
            None if value("NoNewPrivs") != Some("1") => Some("NoNewPrivs is not 1".to_owned()),
            None if self.seccomp && value("Seccomp") != Some("2") => {
                Some("Seccomp is not 2".to_owned())
            }
            None => None,
        };
        match refused {
            Some(reason) => Err(failed("give up all that it asked the kernel to take")(reason)),
            None => Ok(()),
        }
    }

    /// What the kernel could not take.
    pub fn lacks(&self) -> Vec<&'static str> {
        let files = self.landlock.is_none().then_some("Landlock (files)");
        let calls = (!self.seccomp).then_some("seccomp (system calls)");
        [files, calls].into_iter().flatten().collect()
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            Some(version) => write!(out, "files by Landlock {version}")?,
            None => out.write_str("files not restricted")?,
        }
        out.write_str(if self.seccomp { ", calls by seccomp" } else { ", calls not restricted" })?;
        match self.capabilities.as_slice() {
            [] => out.write_str(", no capabilities"),
            some => write!(out, ", {}", some.join(" ")),
        }
    }
}
