//! What became of packets, counted on each CPU.

use super::map;
use crate::reason::Reason;

map! {
    /// Packets by [`Counter`].
    Counters = "counters": PerCpuArray, u32 => u64, Counter::COUNT
}

/// What became of a packet that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// Not addressed to a presence: left to the host's stack.
    Passed = 0,
    /// An ARP request for a presence, answered.
    Answered = 1,
    /// Translated and handed to a link.
    ToLink = 2,
    /// Translated and handed to the LAN.
    ToLan = 3,
    /// Handed from one link to another, between two other sites.
    Relayed = 4,
    /// Opened a flow. Such a packet is also counted as forwarded.
    Opened = 5,
}

impl Outcome {
    /// All of them, by number.
    pub const ALL: &'static [Self] =
        &[Self::Passed, Self::Answered, Self::ToLink, Self::ToLan, Self::Relayed, Self::Opened];

    /// The stable short name that operators see.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Answered => "arp-answered",
            Self::ToLink => "to-link",
            Self::ToLan => "to-lan",
            Self::Relayed => "relayed",
            Self::Opened => "flows-opened",
        }
    }
}

/// An index of [`Counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Packets with an outcome other than refusal.
    Outcome(Outcome),
    /// Packets refused for a reason.
    Refused(Reason),
}

impl Counter {
    /// Reasons are counted from here, so that outcomes can be added.
    const FIRST_REASON: u32 = 32;
    /// Entries of the map: room for every reason a byte can number.
    pub const COUNT: u32 = Self::FIRST_REASON + 256;

    /// Its index.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        match self {
            Self::Outcome(outcome) => outcome as u32,
            Self::Refused(reason) => Self::FIRST_REASON + reason as u32,
        }
    }
}
