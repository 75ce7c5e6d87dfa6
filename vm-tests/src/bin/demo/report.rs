//! One line for each check, and the count at the end.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

/// The checks so far.
#[derive(Debug)]
pub(crate) struct Report {
    begun: Instant,
    passed: u32,
    failed: u32,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), passed: 0, failed: 0 }
    }

    /// Says what part of the demo comes now.
    pub(crate) fn part(&self, title: &str) {
        println!("\n{title}");
    }

    /// Does one thing and prints what was seen; gives whether it passed.
    pub(crate) fn check(&mut self, did: &str, seen: impl FnOnce() -> Result<String>) -> bool {
        self.line(did, seen())
    }

    /// Prints a line for a thing done before.
    pub(crate) fn line(&mut self, did: &str, seen: Result<String>) -> bool {
        match &seen {
            Ok(seen) => {
                self.passed += 1;
                println!("  ok    {did}: {seen}");
            }
            Err(error) => {
                self.failed += 1;
                println!("  FAIL  {did}: {error:#}");
            }
        }
        seen.is_ok()
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.failed > 0
    }

    /// Prints the count and gives the status that goes with it.
    pub(crate) fn end(&self) -> ExitCode {
        println!("\nin {} s", self.begun.elapsed().as_secs());
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
