//! Whether this host's clock is right, by what certificates say of the time: a controller renews its own at half its
//! life, so that a fresh one tells the time to within that, and no certificate was made in the future.

use super::report::{Check, Finding, moment};
use crate::ctl::print::seconds;
use crate::identity::{Leaf, SKEW};

/// What is known of the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// When something was made that is there: the time is not before that.
    made: Vec<u64>,
    /// Certificates that controllers show now.
    shown: Vec<Leaf>,
}

/// A clock that is off by less is not told of.
const TOLERANCE: u64 = 5;

const REMEDY: &str = "set the clock, and let a time service keep it (`timedatectl set-ntp true`, chrony); \
                      certificates are judged by it";

impl Known {
    /// A certificate was made by then.
    pub(super) fn made(&mut self, not_before: u64) {
        self.made.push(not_before.saturating_add(SKEW.as_secs()));
    }

    /// A controller of the deployment shows this certificate.
    pub(super) fn shown(&mut self, leaf: Leaf) {
        self.made(leaf.not_before);
        self.shown.push(leaf);
    }

    /// The finding.
    pub(super) fn judge(&self, now: u64) -> Finding {
        let earliest = self.made.iter().copied().max();
        let latest = self.shown.iter().map(|leaf| leaf.renewal().saturating_add(SKEW.as_secs()));
        let (Some(earliest), latest) = (earliest, latest.min()) else {
            return Finding::warn(
                Check::Clock,
                format!("says {}; no certificate is there to compare it with", moment(now)),
                "compare it with another clock (`date -u`)",
            );
        };
        let behind = earliest.saturating_sub(now);
        if behind > TOLERANCE {
            let found = format!(
                "says {}, which is behind by {} at least: a certificate was made at {}",
                moment(now),
                seconds(behind),
                moment(earliest)
            );
            // Certificates hold from somewhat before they are made.
            return match behind > SKEW.as_secs() {
                true => Finding::fail(Check::Clock, found, REMEDY),
                false => Finding::warn(Check::Clock, found, REMEDY),
            };
        }
        let Some(latest) = latest else {
            return Finding::ok(
                Check::Clock,
                format!("not behind, by a certificate that is kept here: {}", moment(now)),
            );
        };
        let ahead = now.saturating_sub(latest);
        if ahead > TOLERANCE {
            let found = format!(
                "says {}, which is ahead by {} at least: a controller would have renewed its certificate by {}",
                moment(now),
                seconds(ahead),
                moment(latest)
            );
            let expired = self.shown.iter().any(|leaf| leaf.not_after < now);
            return match expired {
                true => Finding::fail(Check::Clock, found, REMEDY),
                false => Finding::warn(Check::Clock, found, REMEDY),
            };
        }
        Finding::ok(
            Check::Clock,
            format!("agrees with the controllers' certificates: {}", moment(now)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::leaf;
    use super::super::report::Verdict;
    use super::*;

    const MADE: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;

    fn known() -> Known {
        let mut known = Known::default();
        known.shown(leaf(MADE - 300, MADE + DAY));
        known
    }

    #[test]
    fn a_clock_is_right_while_a_controller_would_show_this_certificate() {
        for now in [MADE - 5, MADE, MADE + 3600, MADE + DAY / 2 + 100] {
            assert_eq!(known().judge(now).verdict, Verdict::Ok, "{now}");
        }
    }

    #[test]
    fn how_far_it_is_off_is_told() {
        for (now, verdict, part) in [
            (MADE - 200, Verdict::Warn, "behind by 3m"),
            (MADE - 7200, Verdict::Fail, "behind by 2h"),
            (0, Verdict::Fail, "behind by 20833d"),
            (MADE + DAY - 60, Verdict::Warn, "ahead by 11h"),
            (MADE + 30 * DAY, Verdict::Fail, "ahead by 29d"),
            (u64::MAX, Verdict::Fail, "ahead by"),
        ] {
            let finding = known().judge(now);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.found.contains(part), "{finding:?}");
        }
    }

    #[test]
    fn what_was_made_bounds_it_from_one_side_alone() {
        let mut known = Known::default();
        assert_eq!(known.judge(MADE).verdict, Verdict::Warn);
        known.made(MADE - 300);
        assert_eq!(known.judge(MADE - 3600).verdict, Verdict::Fail);
        assert_eq!(known.judge(MADE + 300 * DAY).verdict, Verdict::Ok);
    }
}
