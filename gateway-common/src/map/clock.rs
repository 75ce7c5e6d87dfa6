//! The time of the last tick, kept by the programs for themselves: reading the kernel's clock costs more
//! than finding a flow.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::map;
use crate::time::Ticks;

map! {
    /// What time it was when the kernel's tick counter last changed; shared by all CPUs.
    Clock = "clock": Array, u32 => ClockTick, 1
}

/// The time at a tick of the kernel's counter. The two may be of neighbouring ticks when a CPU reads
/// while another writes, which makes the time wrong by one tick of the counter, 10 ms at most; for one such
/// tick by more, if the CPU that wrote was held up in the middle. So time may go back: [`Ticks::since`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ClockTick {
    /// The kernel's tick counter (jiffies).
    pub counter: u64,
    /// The time then.
    pub now: Ticks,
    /// Zero.
    pub padding: u32,
}
