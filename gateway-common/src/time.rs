//! Time in the data path: a coarse monotonic tick that both halves read from the same kernel clock.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A moment on CLOCK_MONOTONIC_COARSE, in ticks of 2^24 ns (16.8 ms); wraps after 2.2 years.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Ticks(pub u32);

impl Ticks {
    /// Ticks a second, rounded down.
    pub const PER_SECOND: u32 = (1_000_000_000u64 >> 24) as u32;

    /// The tick that the nanosecond `nanoseconds` of the clock falls in.
    #[inline(always)]
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self((nanoseconds >> 24) as u32)
    }

    /// How long ago `earlier` was, in ticks.
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// A duration of `milliseconds` in ticks, at least one.
pub const fn ticks(milliseconds: u64) -> u32 {
    let ticks = (milliseconds * 1_000_000) >> 24;
    if ticks == 0 {
        1
    } else if ticks > u32::MAX as u64 {
        u32::MAX
    } else {
        ticks as u32
    }
}
