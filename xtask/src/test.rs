//! `cargo xtask test`: the one command that decides whether the tree is good.
//!
//! Goes on after a failure, so that one run shows all of them, and closes with one line that counts.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::artifacts::{Artifacts, Kind, SELECTION, TestBinary, cargo};
use crate::guest::{self, Table};
use crate::process::{self, Ending};
use crate::setup::{self, Need};
use crate::tally::{Empty, Tally, judge};
use crate::{docs, layers, lint};

/// The package whose tests need root and a kernel that does what they ask.
const PRIVILEGED: &str = "vm-tests";

/// The bound on one test binary. The slowest sends a hundred thousand frames through a kernel.
const BOUND: Duration = Duration::from_secs(15 * 60);

/// Everything that can be found out, in the order of cost; guests last, if they are wanted.
pub(crate) fn run(workspace: &Path, guests: bool) -> Result<Tally> {
    if !setup::is_root()? {
        bail!("the tests with networks and kernels need root: sudo -E cargo xtask test");
    }
    let mut needs = vec![Need::KernelHalf, Need::KernelHalfLint, Need::Sites];
    needs.extend(guests.then_some(Need::Guests));
    setup::ensure(workspace, &needs)?;

    let mut report = Report::default();
    for (name, check) in lint::CHECKS {
        report.check(name, check(workspace));
    }
    report.check("layers", layers::check(workspace));
    match Artifacts::all(workspace, &[]) {
        Ok(artifacts) => run_built(workspace, &artifacts, guests, &mut report),
        Err(error) => report.check("build", Err(error)),
    }
    report.close();
    Ok(report.tally)
}

fn run_built(workspace: &Path, artifacts: &Artifacts, guests: bool, report: &mut Report) {
    report.check("generated documentation", documentation(workspace, artifacts));

    let privileged =
        |test: &&TestBinary| test.package == PRIVILEGED && test.kind == Kind::Integration;
    for test in artifacts.tests.iter().filter(|test| !privileged(test)) {
        report.binary(test, workspace, &[]);
    }
    report.documentation_tests(workspace);

    let table = match Table::read(workspace) {
        Ok(table) => table,
        Err(error) => return report.check("list of guests", Err(error)),
    };
    let on_host = |test: &&TestBinary| !table.guest_only.contains(&test.name);
    for test in artifacts.tests.iter().filter(privileged).filter(on_host) {
        report.binary(test, workspace, &["--test-threads=1"]);
    }

    if guests {
        match guest::run(workspace, &table, &[], artifacts) {
            Ok(tally) => report.add("guests", tally),
            Err(error) => report.check("guests", Err(error)),
        }
    } else {
        println!("== guests: left out, as told by --no-vm");
    }
}

fn documentation(workspace: &Path, artifacts: &Artifacts) -> Result<()> {
    let scratch = artifacts.target_directory(workspace).join("reference");
    docs::check(workspace, artifacts.binary("gatewayctl")?, &scratch)
}

/// The count so far, and what went wrong by name.
#[derive(Debug, Default)]
struct Report {
    tally: Tally,
    failures: Vec<String>,
}

impl Report {
    /// A check that holds or does not.
    fn check(&mut self, name: &str, outcome: Result<()>) {
        let failed = u64::from(outcome.is_err());
        if let Err(error) = outcome {
            println!("== {name}: failed\n  {error:#}");
        }
        self.add(name, Tally { passed: 1 - failed, failed });
    }

    /// One test binary, run as cargo would run it.
    fn binary(&mut self, test: &TestBinary, workspace: &Path, arguments: &[&str]) {
        let name = format!("{} {}", test.package, test.name);
        println!("== {name}");
        let mut command = std::process::Command::new(&test.file);
        command
            .args(arguments)
            .current_dir(&test.directory)
            .env("CARGO", cargo(workspace).get_program())
            .env("CARGO_MANIFEST_DIR", &test.directory);
        let empty = match test.kind {
            Kind::Unit => Empty::Allowed,
            Kind::Integration => Empty::Refused,
        };
        self.judged(&name, process::show(&mut command, BOUND), empty);
    }

    fn documentation_tests(&mut self, workspace: &Path) {
        println!("== examples in the documentation");
        let mut command = cargo(workspace);
        command.args(["test", "--doc", "--quiet", "--locked"]).args(SELECTION);
        self.judged(
            "examples in the documentation",
            process::show(&mut command, BOUND),
            Empty::Allowed,
        );
    }

    fn judged(&mut self, name: &str, outcome: Result<(Ending, String)>, empty: Empty) {
        let (ending, output) = match outcome {
            Ok(heard) => heard,
            Err(error) => return self.check(name, Err(error)),
        };
        let success = matches!(ending, Ending::Exited(status) if status.success());
        let (mut tally, complaints) = judge(&output, success, empty);
        for complaint in complaints {
            println!("== {name}: failed: {complaint}");
        }
        if ending == Ending::OutOfTime {
            println!("== {name}: ended after {} minutes", BOUND.as_secs() / 60);
            tally.failed = tally.failed.max(1);
        }
        self.add(name, tally);
    }

    fn add(&mut self, name: &str, tally: Tally) {
        println!("== {name}: {tally}");
        if tally.failed > 0 {
            self.failures.push(name.to_owned());
        }
        self.tally.add(tally);
    }

    /// The closing line, after the names of what failed.
    fn close(&self) {
        for name in &self.failures {
            println!("failed: {name}");
        }
        println!("{}", self.tally);
    }
}

/// Lint alone, with its own closing line.
pub(crate) fn lint(workspace: &Path) -> Result<Tally> {
    setup::ensure(workspace, &[Need::KernelHalf, Need::KernelHalfLint])?;
    let mut report = Report::default();
    for (name, check) in lint::CHECKS {
        report.check(name, check(workspace));
    }
    let built = Artifacts::programs(workspace, &SELECTION, crate::artifacts::Profile::Dev);
    let outcome = built.and_then(|artifacts| documentation(workspace, &artifacts));
    report.check("generated documentation", outcome);
    report.close();
    Ok(report.tally)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    const GOOD: &str =
        "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out;";

    fn after(ending: Ending, output: &str) -> Tally {
        let mut report = Report::default();
        report.judged("x", Ok((ending, output.to_owned())), Empty::Refused);
        report.tally
    }

    #[test]
    fn a_binary_passes_only_by_ending_well() {
        let status = |code: i32| Ending::Exited(ExitStatus::from_raw(code << 8));
        assert_eq!(after(status(0), GOOD), Tally { passed: 3, failed: 0 });
        assert_eq!(after(status(1), GOOD), Tally { passed: 3, failed: 1 });
        assert_eq!(after(Ending::OutOfTime, GOOD), Tally { passed: 3, failed: 1 });
        assert_eq!(
            after(Ending::Exited(ExitStatus::from_raw(11)), ""),
            Tally { passed: 0, failed: 1 }
        );
    }

    #[test]
    fn failures_are_kept_by_name() {
        let mut report = Report::default();
        report.check("good", Ok(()));
        report.check("bad", Err(anyhow::Error::msg("so")));
        assert_eq!(report.tally, Tally { passed: 1, failed: 1 });
        assert_eq!(report.failures, ["bad"]);
    }
}
