//! What a test binary of libtest says about itself, and the sum over many.
//!
//! Used by `cargo xtask test` for the host and, included by path, by the guest's init. Nothing may
//! pass by not running: a binary that dies, says nothing, or leaves a test out counts as a failure.

use std::fmt;

/// How many checks held and how many did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Takes over the counts of another.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
    }

    /// Reads the line that [`fmt::Display`] writes.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (passed, failed) = line.trim().split_once(", ")?;
        Some(Self {
            passed: passed.strip_suffix(" passed")?.parse().ok()?,
            failed: failed.strip_suffix(" failed")?.parse().ok()?,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// May a binary hold no test at all?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// A library, a binary or documentation without tests of its own.
    Allowed,
    /// A file that exists only for its tests.
    Refused,
}

/// Judges one test binary by its output and by whether it exited with success.
///
/// Every reason to distrust it is one more failure, with a line that says which.
pub(crate) fn judge(output: &str, success: bool, empty: Empty) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let mut complaints = Vec::new();
    let results: Vec<Option<Counts>> = output.lines().filter_map(counts).collect();
    if results.is_empty() {
        complaints.push("it died before it could report".to_owned());
    }
    for result in results {
        let Some(counts) = result else {
            complaints.push("its result line cannot be read".to_owned());
            continue;
        };
        tally.add(Tally { passed: counts.passed, failed: counts.failed });
        if counts.ignored > 0 {
            complaints.push(format!("{} of its tests are ignored", counts.ignored));
        }
        if counts.filtered_out > 0 {
            complaints.push(format!("{} of its tests are filtered out", counts.filtered_out));
        }
    }
    if complaints.is_empty() && tally == Tally::default() && empty == Empty::Refused {
        complaints.push("it holds no test".to_owned());
    }
    if complaints.is_empty() && !success && tally.failed == 0 {
        complaints.push("it reported success and then failed".to_owned());
    }
    tally.failed = tally.failed.saturating_add(complaints.len() as u64);
    (tally, complaints)
}

struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    filtered_out: u64,
}

/// `None` for a line of another kind, `Some(None)` for a result line that cannot be read.
fn counts(line: &str) -> Option<Option<Counts>> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |label: &str| -> Option<u64> {
        rest.split([';', '.']).find_map(|part| part.trim().strip_suffix(label)?.trim().parse().ok())
    };
    let read = || {
        Some(Counts {
            passed: number("passed")?,
            failed: number("failed")?,
            ignored: number("ignored")?,
            filtered_out: number("filtered out")?,
        })
    };
    Some(read())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "running 3 tests\n\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    fn failures(output: &str, success: bool, empty: Empty) -> u64 {
        judge(output, success, empty).0.failed
    }

    #[test]
    fn a_good_binary_is_counted() {
        assert_eq!(judge(GOOD, true, Empty::Refused), (Tally { passed: 3, failed: 0 }, vec![]));
    }

    #[test]
    fn documentation_reports_more_than_once() {
        let output = format!("{GOOD}{GOOD}");
        assert_eq!(judge(&output, true, Empty::Allowed).0, Tally { passed: 6, failed: 0 });
    }

    #[test]
    fn failed_tests_are_counted_once() {
        let output = "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s";
        assert_eq!(judge(output, false, Empty::Refused), (Tally { passed: 2, failed: 1 }, vec![]));
    }

    #[test]
    fn nothing_passes_by_not_running() {
        assert_eq!(failures("", true, Empty::Refused), 1);
        assert_eq!(failures("thread panicked", false, Empty::Allowed), 1);
        assert_eq!(failures(GOOD, false, Empty::Refused), 1);
        assert_eq!(failures("test result: ok. 12 pas", true, Empty::Refused), 1);
        let ignored = GOOD.replace("0 ignored", "2 ignored");
        assert_eq!(failures(&ignored, true, Empty::Refused), 1);
        let filtered = GOOD.replace("0 filtered", "2 filtered");
        assert_eq!(failures(&filtered, true, Empty::Refused), 1);
        let none = GOOD.replace("3 passed", "0 passed");
        assert_eq!(failures(&none, true, Empty::Refused), 1);
        assert_eq!(failures(&none, true, Empty::Allowed), 0);
    }

    #[test]
    fn a_sum_is_read_as_it_is_written() {
        let tally = Tally { passed: 12, failed: 3 };
        assert_eq!(Tally::parse(&tally.to_string()), Some(tally));
        assert_eq!(Tally::parse("12 passed"), None);
        assert_eq!(Tally::parse("x passed, 3 failed"), None);
    }
}
