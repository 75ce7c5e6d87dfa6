//! How much each user takes of the server: connections, requests in flight, watches, and how fast. Pure; the
//! time is an argument.
//!
//! There is an account for each user that has a connection or has asked more than he may for ever, and
//! no other. So there are never more than users that may open the socket.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::Role;

/// How often something may be done: so many at once, and so many a second for ever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At once, one at least.
    pub burst: u32,
    /// A second.
    pub per_second: f64,
}

/// What one user may have at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Connections.
    pub connections: usize,
    /// Requests in flight; streams that have begun are none.
    pub requests: usize,
    /// Watches.
    pub watches: usize,
    /// How often he may look at something.
    pub reads: Rate,
    /// How often he may change something.
    pub changes: Rate,
}

/// Everybody's account.
#[derive(Debug)]
pub(super) struct Callers {
    share: Share,
    accounts: HashMap<Uid, Account>,
}

#[derive(Debug, Default)]
struct Account {
    connections: usize,
    requests: usize,
    watches: usize,
    reads: Bucket,
    changes: Bucket,
}

/// What has been taken of a rate's burst and has not come back yet.
#[derive(Debug, Default)]
struct Bucket {
    taken: f64,
    at: Option<Instant>,
}

/// What a user has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMuch {
    /// Requests in flight.
    InFlight(usize),
    /// Watches.
    Watches(usize),
    /// Requests of late; the next one is granted after this time.
    Rate(Duration),
}

/// What is counted while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Connection,
    Request,
    Watch,
}

impl Bucket {
    fn settle(&mut self, rate: Rate, now: Instant) {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.taken = (self.taken - passed.as_secs_f64() * rate.per_second).max(0.0);
        self.at = Some(now);
    }

    /// The time until there is one more, if there is none.
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.settle(rate, now);
        let over = self.taken + 1.0 - f64::from(rate.burst);
        if over > 0.0 {
            return Err(Duration::from_secs_f64((over / rate.per_second).clamp(0.001, 3600.0)));
        }
        self.taken += 1.0;
        Ok(())
    }
}

impl Callers {
    pub(super) fn new(share: Share) -> Self {
        Self { share, accounts: HashMap::new() }
    }

    /// One more connection; `false` if the user has too many.
    pub(super) fn connect(&mut self, uid: Uid, now: Instant) -> bool {
        let share = self.share;
        self.accounts.retain(|_, account| {
            account.reads.settle(share.reads, now);
            account.changes.settle(share.changes, now);
            let idle = account.connections + account.requests + account.watches == 0;
            !idle || account.reads.taken + account.changes.taken > 0.0
        });
        let account = self.accounts.entry(uid).or_default();
        let granted = account.connections < share.connections;
        account.connections += usize::from(granted);
        granted
    }

    /// One more request.
    pub(super) fn request(&mut self, uid: Uid, role: Role, now: Instant) -> Result<(), TooMuch> {
        let share = self.share;
        let account = self.accounts.entry(uid).or_default();
        if account.requests >= share.requests {
            return Err(TooMuch::InFlight(share.requests));
        }
        let (bucket, rate) = match role {
            Role::Read => (&mut account.reads, share.reads),
            Role::Operate => (&mut account.changes, share.changes),
        };
        bucket.take(rate, now).map_err(TooMuch::Rate)?;
        account.requests += 1;
        Ok(())
    }

    /// One more watch.
    pub(super) fn watch(&mut self, uid: Uid) -> Result<(), TooMuch> {
        let account = self.accounts.entry(uid).or_default();
        if account.watches >= self.share.watches {
            return Err(TooMuch::Watches(self.share.watches));
        }
        account.watches += 1;
        Ok(())
    }

    /// One less.
    pub(super) fn release(&mut self, uid: Uid, held: Held) {
        let Some(account) = self.accounts.get_mut(&uid) else { return };
        let count = match held {
            Held::Connection => &mut account.connections,
            Held::Request => &mut account.requests,
            Held::Watch => &mut account.watches,
        };
        *count = count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share {
        connections: 2,
        requests: 3,
        watches: 1,
        reads: Rate { burst: 3, per_second: 2.0 },
        changes: Rate { burst: 1, per_second: 0.5 },
    };

    fn uid(uid: u32) -> Uid {
        Uid::from_raw(uid)
    }

    #[test]
    fn a_rate_is_a_burst_and_then_a_steady_pace() {
        let (mut callers, start) = (Callers::new(SHARE), Instant::now());
        let mut ask = |user, role, after| {
            let asked = callers.request(uid(user), role, start + Duration::from_millis(after));
            if asked.is_ok() {
                callers.release(uid(user), Held::Request);
            }
            asked
        };
        for _ in 0..3 {
            assert_eq!(ask(1, Role::Read, 0), Ok(()));
        }
        assert_eq!(ask(1, Role::Read, 0), Err(TooMuch::Rate(Duration::from_millis(500))));
        assert_eq!(ask(1, Role::Read, 400), Err(TooMuch::Rate(Duration::from_millis(100))));
        assert_eq!(ask(1, Role::Read, 500), Ok(()));
        assert_eq!(ask(2, Role::Read, 500), Ok(()), "others have their own");
        assert_eq!(ask(1, Role::Operate, 500), Ok(()), "changes have their own");
        assert_eq!(ask(1, Role::Operate, 500), Err(TooMuch::Rate(Duration::from_secs(2))));
        for _ in 0..3 {
            assert_eq!(ask(1, Role::Read, 60_000), Ok(()));
        }
        assert!(ask(1, Role::Read, 60_000).is_err(), "rest is not saved up");
    }

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let (mut callers, now) = (Callers::new(SHARE), Instant::now());
        assert!(callers.connect(uid(1), now) && callers.connect(uid(1), now));
        assert!(!callers.connect(uid(1), now) && callers.connect(uid(2), now));
        callers.release(uid(1), Held::Connection);
        assert!(callers.connect(uid(1), now));
        assert_eq!(callers.watch(uid(1)), Ok(()));
        assert_eq!(callers.watch(uid(1)), Err(TooMuch::Watches(1)));
        callers.release(uid(1), Held::Watch);
        assert_eq!(callers.watch(uid(1)), Ok(()));
        for _ in 0..3 {
            assert_eq!(callers.request(uid(1), Role::Read, now), Ok(()));
        }
        assert_eq!(callers.request(uid(1), Role::Read, now), Err(TooMuch::InFlight(3)));
    }

    #[test]
    fn an_account_lasts_until_what_was_taken_is_back() {
        let (mut callers, now) = (Callers::new(SHARE), Instant::now());
        for user in 0..1000 {
            assert!(callers.connect(uid(user), now));
            callers.request(uid(user), Role::Read, now).unwrap();
            callers.release(uid(user), Held::Request);
            callers.release(uid(user), Held::Connection);
        }
        assert_eq!(callers.accounts.len(), 1000);
        assert!(callers.connect(uid(5000), now + Duration::from_secs(1)));
        assert_eq!(callers.accounts.len(), 1);
    }
}
