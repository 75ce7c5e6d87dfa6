//! What a dry run tells: a verdict in the five words of scratch space that a socket buffer has for
//! programs (`__sk_buff::cb`), written by the kernel half and read by `trace` and by tests.

use crate::{
    Reason,
    map::{Counter, Outcome},
    verdict::Forward,
};

/// A verdict without its edits, which the frame itself shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What became of the packet.
    pub counter: Counter,
    /// The rule that allowed it, or 0.
    pub rule: u32,
    /// Where it would go, or 0.
    pub interface: u32,
}

impl Report {
    const MAGIC: u32 = 0x5052_0001;

    /// What there is to tell of a packet that was not forwarded.
    #[inline(always)]
    pub const fn of(counter: Counter) -> Self {
        Self { counter, rule: 0, interface: 0 }
    }

    /// What there is to tell of a packet that was forwarded.
    #[inline(always)]
    pub const fn of_forward(forward: &Forward) -> Self {
        Self { counter: forward.counter(), rule: forward.rule, interface: forward.egress.interface }
    }

    /// The report as words.
    #[inline(always)]
    pub const fn words(self) -> [u32; 5] {
        let (kind, number) = match self.counter {
            Counter::Outcome(outcome) => (0, outcome as u32),
            Counter::Refused(reason) => (1, reason as u32),
        };
        [Self::MAGIC, kind, number, self.rule, self.interface]
    }

    /// The report in these words; `None` if no program of this build wrote it.
    pub fn from_words(words: [u32; 5]) -> Option<Self> {
        let [magic, kind, number, rule, interface] = words;
        let counter = match (magic, kind) {
            (Self::MAGIC, 0) => {
                Counter::Outcome(*Outcome::ALL.iter().find(|outcome| **outcome as u32 == number)?)
            }
            (Self::MAGIC, 1) => Counter::Refused(Reason::from_number(u8::try_from(number).ok()?)?),
            _ => return None,
        };
        Some(Self { counter, rule, interface })
    }
}
