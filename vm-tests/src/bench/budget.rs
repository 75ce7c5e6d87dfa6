//! `vm-tests/budget.toml`: what each program may cost in the verifier and in memory, by kernel.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// How far above its line a program may come before the test fails.
pub const TOLERANCE: f64 = 1.1;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    #[serde(rename = "line")]
    lines: Vec<Line>,
}

/// One program on one kernel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    kernel: String,
    program: String,
    verified: u32,
    jited: u32,
}

/// What a program costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Instructions that the verifier looked at, each as often as it did.
    pub verified: u32,
    /// Octets of machine code.
    pub jited: u32,
}

/// A kernel's first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32);

impl Budget {
    /// The file in the tree.
    pub fn read() -> Result<Self> {
        Self::parse(include_str!("../../budget.toml")).context("vm-tests/budget.toml")
    }

    fn parse(text: &str) -> Result<Self> {
        let budget: Self = toml::from_str(text)?;
        budget.lines.iter().try_for_each(|line| version(&line.kernel).map(drop))?;
        Ok(budget)
    }

    /// The line of a program for a kernel: of the newest kernel that is not newer, or of the oldest.
    pub fn line(&self, kernel: &Version, program: &str) -> Result<Cost> {
        let mut lines: Vec<(Version, &Line)> = self
            .lines
            .iter()
            .filter(|line| line.program == program)
            .map(|line| Ok((version(&line.kernel)?, line)))
            .collect::<Result<_>>()?;
        lines.sort_by_key(|(version, _)| *version);
        let known = lines.iter().rev().find(|(version, _)| version <= kernel).or(lines.first());
        let (_, line) = known.with_context(|| format!("no line for program {program}"))?;
        Ok(Cost { verified: line.verified, jited: line.jited })
    }
}

/// The running kernel.
pub fn kernel() -> Result<Version> {
    let release = fs::read_to_string(Path::new("/proc/sys/kernel/osrelease"))?;
    version(release.trim())
}

fn version(text: &str) -> Result<Version> {
    let mut numbers = text.split(|byte: char| !byte.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok(Version(major, minor)),
        _ => anyhow::bail!("{text:?} is no kernel's version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        line = [
            { kernel = "6.18", program = "a", verified = 3, jited = 30 },
            { kernel = "6.1", program = "a", verified = 1, jited = 10 },
        ]
    "#;

    #[test]
    fn a_kernel_has_the_line_of_the_newest_before_it() {
        let budget = Budget::parse(TEXT).unwrap();
        let verified = |kernel| budget.line(&version(kernel).unwrap(), "a").unwrap().verified;
        assert_eq!(verified("6.18.44-x"), 3);
        assert_eq!(verified("6.12.1"), 1);
        assert_eq!(verified("6.1.0-49-cloud-amd64"), 1);
        assert_eq!(verified("5.15"), 1);
        assert_eq!(verified("7.0"), 3);
        assert!(budget.line(&version("6.1").unwrap(), "b").is_err());
    }

    #[test]
    fn the_file_in_the_tree_has_every_program() {
        let budget = Budget::read().unwrap();
        for program in gateway_dataplane::Program::ALL {
            budget.line(&version("6.1").unwrap(), program.name()).unwrap();
        }
    }
}
