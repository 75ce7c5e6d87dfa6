//! The developer's one tool: sets up, builds, shows, tests and checks.
//!
//! `cargo xtask --help` lists the commands. Each sets up what it needs by itself; each ends with a
//! non-zero status when anything it did failed.
#![forbid(unsafe_code)]

mod artifacts;
mod bench;
mod docs;
#[path = "../../gateway-dataplane/build/ebpf_toolchain.rs"]
mod ebpf_toolchain;
mod guest;
mod layers;
mod lint;
mod process;
mod setup;
mod sites;
mod source;
mod tally;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::artifacts::{Artifacts, Profile, SELECTION};
use crate::guest::Table;
use crate::setup::Need;
use crate::sites::LabAction;
use crate::tally::Tally;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Sets up, builds, shows, tests and checks Presence")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Installs what building, showing and testing need, or says what is missing
    Setup,
    /// Builds gatewayd and gatewayctl as they are shipped
    Build,
    /// Shows three sites with the same addresses using each other's services
    Demo,
    /// The demo's sites, left running to play with
    #[command(subcommand)]
    Lab(LabAction),
    /// Runs every test and every check; root
    Test {
        /// Leaves out the QEMU guests
        #[arg(long)]
        no_vm: bool,
    },
    /// Runs the guests: QEMU machines with kernels of distributions
    Vm {
        /// Names in vm-tests/kernels.toml; none means all
        kernels: Vec<String>,
    },
    /// Measures what the data path costs beside what else could do the same; root
    Bench {
        /// Rows of docs/benchmarks.md, or groups of rows; none means all
        names: Vec<String>,
        /// The kernel in which instructions are counted, by its name in vm-tests/kernels.toml
        #[arg(long)]
        kernel: Option<String>,
        /// Writes the rows to this file too
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Checks formatting, clippy, the project's own style and the generated documentation
    Lint,
    /// Compares the crates' dependencies with the architecture
    Layers,
    /// Writes docs/reference anew
    Docs {
        /// Writes nothing; fails if a page is out of date
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Did everything hold? An error is what kept it from being found out.
fn run(task: Task) -> Result<bool> {
    let workspace = &workspace()?;
    match task {
        Task::Setup => {
            setup::ensure(workspace, &setup::ALL)?;
            println!("everything is there");
        }
        Task::Build => {
            setup::ensure(workspace, &[Need::KernelHalf])?;
            let built = sites::build(workspace)?;
            println!("{}", built.binary("gatewayd")?.display());
            println!("{}", built.binary("gatewayctl")?.display());
        }
        Task::Demo => sites::demo(workspace)?,
        Task::Lab(action) => sites::lab(workspace, &action)?,
        Task::Test { no_vm } => return Ok(good(test::run(workspace, !no_vm)?)),
        Task::Vm { kernels } => {
            setup::ensure(workspace, &[Need::KernelHalf, Need::Guests])?;
            let table = Table::read(workspace)?;
            let files: Vec<&str> =
                table.select(&kernels)?.iter().flat_map(|kernel| kernel.tests()).collect();
            let artifacts = Artifacts::all(workspace, &files)?;
            let tally = guest::run(workspace, &table, &kernels, &artifacts)?;
            println!("{tally}");
            return Ok(good(tally));
        }
        Task::Bench { names, kernel, json } => {
            return bench::run(workspace, &names, kernel.as_deref(), json.as_deref());
        }
        Task::Lint => return Ok(good(test::lint(workspace)?)),
        Task::Layers => {
            layers::check(workspace)?;
            println!("the arrows are as drawn");
        }
        Task::Docs { check } => {
            setup::ensure(workspace, &[Need::KernelHalf])?;
            let built = Artifacts::programs(workspace, &SELECTION, Profile::Dev)?;
            let scratch = built.target_directory(workspace).join("reference");
            let gatewayctl = built.binary("gatewayctl")?;
            if check {
                docs::check(workspace, gatewayctl, &scratch)?;
            } else {
                docs::generate(workspace, gatewayctl, &scratch)?;
            }
        }
    }
    Ok(true)
}

fn good(tally: Tally) -> bool {
    tally.failed == 0 && tally.passed > 0
}

fn workspace() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own.parent().context("xtask lies in no workspace")?.to_path_buf())
}
