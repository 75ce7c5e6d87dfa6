//! What a listener lets nobody in for: counted, and told of now and then only, as whoever is refused decides how often.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two lines of the log about one cause.
const SILENCE: Duration = Duration::from_secs(10);

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The handshake took too long, or no stream was opened after it.
    Late,
    /// The handshake's place went to a younger one.
    Crowded,
    /// The handshake failed.
    Handshake,
    /// There are as many sessions as there may be.
    Full,
    /// The address had to be proved first, by QUIC's retry; who means it comes again at once.
    Unproved,
    /// The system gave no descriptor or no memory for the connection.
    Exhausted,
}

/// How often each happened.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: [AtomicU64; Refusal::ALL.len()],
    /// When one was told of last, and how many there were by then.
    told: Mutex<[Option<(Instant, u64)>; Refusal::ALL.len()]>,
}

impl Refusal {
    /// Each cause.
    pub const ALL: [Self; 6] =
        [Self::Late, Self::Crowded, Self::Handshake, Self::Full, Self::Unproved, Self::Exhausted];

    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Crowded => "crowded",
            Self::Handshake => "handshake",
            Self::Full => "full",
            Self::Unproved => "unproved",
            Self::Exhausted => "exhausted",
        }
    }
}

impl Refusals {
    /// How often it happened.
    pub fn count(&self, refusal: Refusal) -> u64 {
        self.counts[refusal as usize].load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, refusal: Refusal, peer: Option<SocketAddr>, why: impl fmt::Display) {
        let count = self.counts[refusal as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let Some(untold) = self.is_due(refusal, count, Instant::now()) else { return };
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let cause = refusal.word();
        tracing::warn!(peer, cause, untold, "somebody was not let in: {why}");
    }

    /// How many went untold since the last one, if this is to be told.
    fn is_due(&self, refusal: Refusal, count: u64, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &mut told[refusal as usize];
        if last.is_some_and(|(at, _)| now.saturating_duration_since(at) < SILENCE) {
            return None;
        }
        let before = last.replace((now, count)).map_or(0, |(_, before)| before);
        Some(count.saturating_sub(before + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_told_of() {
        let refusals = Refusals::default();
        let begin = Instant::now();
        assert_eq!(refusals.is_due(Refusal::Late, 1, begin), Some(0));
        assert_eq!(refusals.is_due(Refusal::Late, 2, begin), None);
        assert_eq!(refusals.is_due(Refusal::Full, 1, begin), Some(0));
        assert_eq!(refusals.is_due(Refusal::Late, 900, begin + SILENCE), Some(898));
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::ALL[refusal as usize], refusal);
            refusals.add(refusal, None, "tried");
            assert_eq!(refusals.count(refusal), 1);
        }
    }
}
