//! For how long a gateway that was started without flows lets TCP connections go on that it does not
//! know. Pure: the clock's time comes in.
//!
//! Asked by [`super::surroundings`] whenever tables are applied, and by [`super::Gateway::follow`], which
//! applies them again when the answer has changed.

use std::time::{Duration, Instant};

use gateway_control::model;

/// When there were no flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grace {
    /// `None`: the flows of an earlier run were there to go on with.
    since: Option<Instant>,
}

impl Grace {
    /// Of a start at `now`, which `took_over` the flows of an earlier run or found none.
    pub(super) fn of_start(took_over: bool, now: Instant) -> Self {
        Self { since: (!took_over).then_some(now) }
    }

    /// How much of a grace of this length is left at `now`; `None` when it is over or never was.
    pub(super) fn left(self, length: model::Grace, now: Instant) -> Option<Duration> {
        let length = Duration::from_secs(length.seconds().into());
        let left = length.saturating_sub(now.saturating_duration_since(self.since?));
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grace(text: &str) -> model::Grace {
        text.parse().unwrap()
    }

    #[test]
    fn it_lasts_its_length_from_a_start_without_flows() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let of_start = Grace::of_start(false, start);
        let left = |seconds| of_start.left(grace("2m"), after(seconds));
        assert_eq!(left(0), Some(Duration::from_secs(120)));
        assert_eq!(left(119), Some(Duration::from_secs(1)));
        assert_eq!(left(120), None);
        assert_eq!(left(9999), None);
        let before = of_start.left(grace("2m"), start.checked_sub(Duration::from_secs(1)).unwrap());
        assert_eq!(before, Some(Duration::from_secs(120)), "a clock that stands");
    }

    #[test]
    fn there_is_none_after_a_start_that_took_flows_over_nor_of_no_length() {
        let start = Instant::now();
        assert_eq!(Grace::of_start(true, start).left(grace("1h"), start), None);
        assert_eq!(Grace::of_start(false, start).left(grace("0s"), start), None);
    }

    #[test]
    fn another_length_counts_from_the_same_start() {
        let start = Instant::now();
        let (of_start, later) = (Grace::of_start(false, start), start + Duration::from_secs(150));
        assert_eq!(of_start.left(grace("2m"), later), None);
        assert_eq!(of_start.left(grace("3m"), later), Some(Duration::from_secs(30)));
    }
}
