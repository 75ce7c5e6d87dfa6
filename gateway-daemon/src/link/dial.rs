//! Which of a peer's endpoints to dial: the first that works. Pure.
//!
//! WireGuard answers what carries data within ten seconds and begins a handshake five seconds after
//! that was not so (KEEPALIVE-TIMEOUT and REKEY-TIMEOUT, WireGuard whitepaper section 6.1). So an
//! endpoint has failed when something was sent to it that asks for an answer and nothing came back
//! for [`GIVEN_UP`]. A silent link asks for none between its handshakes: there a failure shows when
//! the session is renewed, two to three minutes after the last handshake, or with the first packet.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use super::peers::ObservedPeer;

/// An endpoint that has not answered for so long has failed.
pub const GIVEN_UP: Duration = Duration::from_secs(15);

/// How long an earlier endpoint that answers probes is left alone after it failed; twice as long
/// after each return to it that came to nothing.
pub const RETURN_AFTER: Duration = Duration::from_secs(15);

/// The same for one that answers no probes, where only dialling it can tell.
const RETURN_BLINDLY_AFTER: Duration = Duration::from_secs(300);

/// No wait before a return is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// An endpoint that worked for so long after a return is trusted again.
const TRUSTED_AFTER: Duration = Duration::from_secs(300);

/// A keepalive's length, counters of WireGuard included: it asks for no answer.
pub(super) const KEEPALIVE: u64 = 32;

/// Whether an address answers probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// It answered lately.
    Yes,
    /// It did once, and does not now.
    NoLonger,
    /// It never did, or was not asked yet.
    Never,
}

/// One peer on one device, as it was seen over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dial {
    /// Place of the endpoint in use in the peer's list.
    pub(super) place: usize,
    seen: Option<Seen>,
    unanswered_since: Option<Instant>,
    /// When this endpoint was taken.
    taken: Option<Instant>,
    /// When each endpoint may be tried again, and how often that came to nothing.
    failures: Vec<Option<Failure>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    received: u64,
    sent: u64,
    last_handshake: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    at: Instant,
    count: u32,
}

/// A change of endpoint, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The one in use has failed.
    Onward,
    /// An earlier one is to be tried again.
    Back,
}

impl Dial {
    /// A peer that was not watched so far: at the endpoint that its device has, if that is one of
    /// the list.
    pub(super) fn new(endpoints: &[SocketAddr], present: Option<SocketAddr>) -> Self {
        let place = endpoints.iter().position(|it| Some(*it) == present).unwrap_or(0);
        Self { place, ..Self::default() }
    }

    /// Takes in what the device says of the peer now.
    pub(super) fn observe(&mut self, peer: &ObservedPeer, now: Instant) {
        let seen =
            Seen { received: peer.received, sent: peer.sent, last_handshake: peer.last_handshake };
        let Some(before) = self.seen.replace(seen) else { return };
        let made_anew = seen.received < before.received || seen.sent < before.sent;
        let heard = seen.received > before.received
            || (seen.last_handshake != before.last_handshake && seen.last_handshake.is_some());
        if made_anew || heard {
            self.unanswered_since = None;
        } else if seen.sent > before.sent + KEEPALIVE {
            self.unanswered_since.get_or_insert(now);
        }
        let trusted = self.taken.is_some_and(|taken| now - taken >= TRUSTED_AFTER);
        if heard
            && trusted
            && let Some(failure) = self.failures.get_mut(self.place)
        {
            *failure = None;
        }
    }

    /// Whether the endpoint in use has failed.
    pub(super) fn has_failed(&self, now: Instant) -> bool {
        self.unanswered_since.is_some_and(|since| now - since >= GIVEN_UP)
    }

    /// Takes another endpoint of the list if that is called for.
    pub(super) fn step(
        &mut self,
        endpoints: &[SocketAddr],
        answers: impl Fn(SocketAddr) -> Answers,
        now: Instant,
    ) -> Option<Move> {
        if self.place >= endpoints.len() {
            self.place = 0;
        }
        if endpoints.len() < 2 {
            return None;
        }
        self.failures.resize(endpoints.len(), None);
        if self.has_failed(now) {
            let failure = &mut self.failures[self.place];
            let count = failure.map_or(0, |failure| failure.count.saturating_add(1));
            *failure = Some(Failure { at: now, count });
            self.take((self.place + 1) % endpoints.len(), now);
            return Some(Move::Onward);
        }
        let earlier = (0..self.place).find(|place| {
            let wait = match answers(endpoints[*place]) {
                Answers::Yes => RETURN_AFTER,
                Answers::NoLonger => return false,
                Answers::Never => RETURN_BLINDLY_AFTER,
            };
            self.failures[*place].is_none_or(|Failure { at, count }| {
                let wait = wait.saturating_mul(1 << count.min(12)).min(LONGEST_WAIT);
                now - at >= wait
            })
        })?;
        self.take(earlier, now);
        Some(Move::Back)
    }

    fn take(&mut self, place: usize, now: Instant) {
        self.place = place;
        self.taken = Some(now);
        self.unanswered_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINTS: [&str; 2] = ["192.0.2.1:51820", "198.51.100.1:51820"];

    fn endpoints() -> Vec<SocketAddr> {
        ENDPOINTS.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn peer(received: u64, sent: u64) -> ObservedPeer {
        ObservedPeer { received, sent, ..ObservedPeer::default() }
    }

    /// A clock that is moved by hand.
    struct Watch {
        dial: Dial,
        begun: Instant,
        second: u64,
        received: u64,
        sent: u64,
    }

    impl Watch {
        fn new() -> Self {
            let begun = Instant::now();
            let dial = Dial::new(&endpoints(), endpoints().first().copied());
            Self { dial, begun, second: 0, received: 0, sent: 0 }
        }

        /// So many seconds, in each of which so much is received and sent; what became of it.
        fn pass(&mut self, seconds: u64, received: u64, sent: u64, answers: Answers) -> Vec<Move> {
            let mut moves = Vec::new();
            for _ in 0..seconds {
                self.second += 1;
                self.received += received;
                self.sent += sent;
                let now = self.begun + Duration::from_secs(self.second);
                self.dial.observe(&peer(self.received, self.sent), now);
                moves.extend(self.dial.step(&endpoints(), |_| answers, now));
            }
            moves
        }
    }

    #[test]
    fn an_endpoint_that_answers_is_kept_and_so_is_a_silent_one() {
        let mut watch = Watch::new();
        assert_eq!(watch.pass(100, 1000, 1000, Answers::Yes), []);
        assert_eq!(watch.pass(100, 0, 0, Answers::Yes), []);
        assert_eq!(watch.pass(100, 0, KEEPALIVE, Answers::Yes), [], "keepalives are not answered");
    }

    #[test]
    fn one_that_does_not_answer_is_left_after_fifteen_seconds() {
        let mut watch = Watch::new();
        watch.pass(10, 1000, 1000, Answers::Yes);
        assert_eq!(watch.pass(15, 0, 148, Answers::NoLonger), []);
        assert_eq!(watch.pass(1, 0, 148, Answers::NoLonger), [Move::Onward]);
        assert_eq!(watch.dial.place, 1);
    }

    #[test]
    fn the_first_endpoint_is_taken_again_when_it_answers_probes() {
        let mut watch = Watch::new();
        watch.pass(10, 1000, 1000, Answers::Yes);
        watch.pass(20, 0, 148, Answers::NoLonger);
        assert_eq!(watch.dial.place, 1);
        assert_eq!(watch.pass(600, 1000, 1000, Answers::NoLonger), []);
        assert_eq!(watch.pass(1, 1000, 1000, Answers::Yes), [Move::Back]);
        assert_eq!(watch.dial.place, 0);
    }

    #[test]
    fn a_return_that_comes_to_nothing_is_tried_less_and_less_often() {
        let mut watch = Watch::new();
        watch.pass(10, 1000, 1000, Answers::Yes);
        let mut gaps = Vec::new();
        let mut last = 0;
        while gaps.len() < 4 {
            let received = if watch.dial.place == 0 { 0 } else { 1000 };
            if watch.pass(1, received, 1000, Answers::Yes) == [Move::Back] {
                gaps.push(watch.second - last);
                last = watch.second;
            }
        }
        assert!(gaps.windows(2).all(|pair| pair[1] > pair[0]), "{gaps:?}");
        assert_eq!(gaps[1..], [46, 76, 136]);
    }

    #[test]
    fn one_that_never_answers_probes_is_dialled_again_after_five_minutes() {
        let mut watch = Watch::new();
        watch.pass(20, 0, 148, Answers::Never);
        assert_eq!(watch.dial.place, 1);
        assert_eq!(watch.pass(290, 1000, 1000, Answers::Never), []);
        assert_eq!(watch.pass(10, 1000, 1000, Answers::Never), [Move::Back]);
    }

    #[test]
    fn a_watch_begins_where_the_device_is_and_one_endpoint_is_never_left() {
        let endpoints = endpoints();
        assert_eq!(Dial::new(&endpoints, Some(endpoints[1])).place, 1);
        assert_eq!(Dial::new(&endpoints, "203.0.113.9:9".parse().ok()).place, 0);
        let mut dial = Dial::new(&endpoints[..1], None);
        let begun = Instant::now();
        for second in 0..60 {
            let now = begun + Duration::from_secs(second);
            dial.observe(&peer(0, second * 148), now);
            assert_eq!(dial.step(&endpoints[..1], |_| Answers::Yes, now), None);
        }
        assert!(dial.has_failed(begun + Duration::from_secs(60)));
    }
}
