//! Time in the data path: a coarse monotonic tick that both halves read from the same kernel clock.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A moment on CLOCK_MONOTONIC_COARSE, in ticks of 2^24 ns (16.8 ms); wraps after 2.2 years.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Ticks(pub u32);

impl Ticks {
    /// The furthest that two moments may lie apart to be told earlier from later, in ticks: 416 days.
    /// Nothing that is kept lives as long: an idle flow 30 days at most, a datagram's fragments 30 seconds.
    pub const HORIZON: u32 = u32::MAX / 2;

    /// Ticks a second, rounded down.
    pub const PER_SECOND: u32 = (1_000_000_000u64 >> 24) as u32;

    /// The tick that the nanosecond `nanoseconds` of the clock falls in.
    #[inline(always)]
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self((nanoseconds >> 24) as u32)
    }

    /// How long ago `earlier` was, in ticks, at most [`Ticks::HORIZON`]. What lies ahead was no time ago: a CPU
    /// that is held up with the time in its hand meets what another wrote since.
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> u32 {
        if self.is_past(earlier, 0) { self.0.wrapping_sub(earlier.0) } else { 0 }
    }

    /// Whether `earlier` was more than `limit` ticks ago; `limit` is at most [`Ticks::HORIZON`]. As
    /// [`Ticks::since`] says, but in one comparison: the programs have no room on their stack for more.
    #[inline(always)]
    pub const fn is_past(self, earlier: Self, limit: u32) -> bool {
        self.0.wrapping_sub(earlier.0) as i32 > limit as i32
    }
}

/// A duration of `milliseconds` in ticks, from one to [`Ticks::HORIZON`].
pub const fn ticks(milliseconds: u64) -> u32 {
    let ticks = milliseconds.saturating_mul(1_000_000) >> 24;
    if ticks == 0 {
        1
    } else if ticks > Ticks::HORIZON as u64 {
        Ticks::HORIZON
    } else {
        ticks as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_is_no_time_ago() {
        let last = u32::MAX;
        for (now, earlier, since) in [
            (600, 600, 0),
            (600, 0, 600),
            (600, 601, 0),
            (0, 1, 0),
            (5, last - 4, 10),
            (last - 4, 5, 0),
            (last, 0, 0),
            (Ticks::HORIZON, 0, Ticks::HORIZON),
            (Ticks::HORIZON + 1, 0, 0),
            (0, Ticks::HORIZON, 0),
        ] {
            let (now, earlier) = (Ticks(now), Ticks(earlier));
            assert_eq!(now.since(earlier), since, "{now:?} since {earlier:?}");
            assert!(!now.is_past(earlier, since), "{now:?}, {earlier:?}");
            assert_eq!(now.is_past(earlier, since.saturating_sub(1)), since > 0);
            assert!(!now.is_past(earlier, Ticks::HORIZON));
        }
    }

    #[test]
    fn durations_are_a_tick_at_least_and_within_the_horizon() {
        assert_eq!(ticks(0), 1);
        assert_eq!(ticks(1000), Ticks::PER_SECOND);
        assert_eq!(ticks(30 * 24 * 3_600_000), 154_495_239);
        assert_eq!(ticks(u64::MAX), Ticks::HORIZON);
    }
}
