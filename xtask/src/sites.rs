//! `cargo xtask demo` and `cargo xtask lab`: the programs of `vm-tests` that build sites on this host.
//!
//! They take this process over, so Ctrl-C reaches them directly and their exit status is ours.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::artifacts::{Artifacts, Profile};
use crate::setup::{self, Need};

/// Where the programs look for each other.
const DIRECTORY: &str = "PRESENCE_BIN_DIR";

/// What can be done with the lab.
#[derive(Debug, Subcommand)]
pub(crate) enum LabAction {
    /// Makes the sites and leaves them running
    Up {
        /// Leaves out RabbitMQ and the name server
        #[arg(long)]
        bare: bool,
    },
    /// Removes them
    Down,
    /// A shell on one of the lab's hosts
    Shell {
        /// The host; `up` lists them
        name: String,
        /// A command to run instead of a shell
        #[arg(trailing_var_arg = true)]
        command: Vec<String>,
    },
}

/// What the demo and the lab are built from.
const PACKAGES: [&str; 4] = ["--package", "gateway-daemon", "--package", "vm-tests"];

/// The release build of all programs that the demo runs, but for those it upgrades to.
pub(crate) fn build(workspace: &Path) -> Result<Artifacts> {
    Artifacts::programs(workspace, &PACKAGES, Profile::Release)
}

/// Sets up, builds, and becomes the demo; returns only if that fails.
pub(crate) fn demo(workspace: &Path) -> Result<()> {
    prepare(workspace, "demo")?;
    Artifacts::rehearsal(workspace, &PACKAGES, Profile::Release)?;
    become_program(workspace, "demo", &[])
}

/// Sets up, builds, and becomes the lab's program; returns only if that fails.
pub(crate) fn lab(workspace: &Path, action: &LabAction) -> Result<()> {
    let mut arguments = Vec::new();
    match action {
        LabAction::Up { bare } => {
            arguments.push("up");
            arguments.extend(bare.then_some("--bare"));
        }
        LabAction::Down => arguments.push("down"),
        LabAction::Shell { name, command } => {
            arguments.extend(["shell", name, "--"]);
            arguments.extend(command.iter().map(String::as_str));
        }
    }
    prepare(workspace, "lab")?;
    become_program(workspace, "lab", &arguments)
}

fn prepare(workspace: &Path, name: &str) -> Result<()> {
    if !setup::is_root()? {
        bail!("sites are made of network namespaces, which needs root: sudo -E cargo xtask {name}");
    }
    setup::ensure(workspace, &[Need::KernelHalf, Need::Sites])
}

fn become_program(workspace: &Path, name: &str, arguments: &[&str]) -> Result<()> {
    let built = build(workspace)?;
    let program = built.binary(name)?;
    let directory = program.parent().with_context(|| format!("{name} lies in no directory"))?;
    let error = Command::new(program).args(arguments).env(DIRECTORY, directory).exec();
    Err(error).with_context(|| format!("{}", program.display()))
}
