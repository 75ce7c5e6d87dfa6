//! Those at the door of whom it is not known yet whether they mean it: so many at once, and so many of one source. Where
//! there is one too many, the oldest goes, as whoever means it is soon done, and whoever does not stays for ever. But it
//! goes only once it has had its time; before that it is the new one that has no place. Pure but for the word to who
//! lost his place; the time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

/// Whom somebody is counted for: an IPv4 address, or an IPv6 network of the size that one host may have all of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

/// The places.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_of_one: usize,
    grace: Duration,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By age.
    all: BTreeMap<u64, Entry>,
    of_one: HashMap<Source, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Entry {
    source: Source,
    since: Instant,
    lose: oneshot::Sender<()>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All places of the source are.
    OfOne,
    /// All are, until then at most.
    All {
        /// When the oldest has had its time.
        until: Instant,
    },
}

/// Somebody's place. Dropping it frees it.
#[derive(Debug)]
pub(super) struct Place {
    admission: Admission,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }
}

impl Admission {
    /// With room for `most`, and for `most_of_one` of one source; one at least. Each has its place for `grace` whoever
    /// else comes.
    pub(super) fn new(most: usize, most_of_one: usize, grace: Duration) -> Self {
        let (most, most_of_one) = (most.max(1), most_of_one.max(1));
        Self(Arc::new(Shared {
            most,
            most_of_one,
            grace,
            table: Mutex::default(),
            freed: Notify::new(),
        }))
    }

    /// A place for one more, for which another may have lost its own.
    pub(super) fn enter(&self, source: Source, now: Instant) -> Result<Place, Taken> {
        let mut table = self.table();
        let of_one = table.of_one.get(&source).filter(|of_one| of_one.len() >= self.0.most_of_one);
        if let Some(oldest) = of_one.and_then(|of_one| of_one.first().copied()) {
            self.replace(&mut table, oldest, now).map_err(|_| Taken::OfOne)?;
        } else if table.all.len() >= self.0.most
            && let Some(oldest) = table.all.keys().next().copied()
        {
            self.replace(&mut table, oldest, now).map_err(|until| Taken::All { until })?;
        }
        let number = table.next;
        table.next += 1;
        let (lose, lost) = oneshot::channel();
        table.all.insert(number, Entry { source, since: now, lose });
        table.of_one.entry(source).or_default().insert(number);
        Ok(Place { admission: self.clone(), number, lost })
    }

    /// Takes the place of that one, or says when it may be taken.
    fn replace(&self, table: &mut Table, oldest: u64, now: Instant) -> Result<(), Instant> {
        let until = table.all.get(&oldest).map(|entry| entry.since + self.0.grace);
        if let Some(until) = until.filter(|until| *until > now) {
            return Err(until);
        }
        table.evict(oldest);
        Ok(())
    }

    /// Takes the oldest one's place.
    pub(super) fn evict_oldest(&self) {
        let mut table = self.table();
        if let Some(oldest) = table.all.keys().next().copied() {
            table.evict(oldest);
        }
    }

    /// Waits until a place is free that was not. One waits at a time.
    pub(super) async fn freed(&self) {
        self.0.freed.notified().await;
    }

    /// Whether so much is under way, of all or of one source, that a source had better be proved first.
    pub(super) fn is_busy(&self, source: Source) -> bool {
        let table = self.table();
        let of_one = table.of_one.get(&source).map_or(0, BTreeSet::len);
        table.all.len() >= self.0.most.div_ceil(4) || of_one >= self.0.most_of_one.div_ceil(4)
    }

    /// How many places are taken.
    pub(super) fn len(&self) -> usize {
        self.table().all.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, number: u64) -> Option<oneshot::Sender<()>> {
        let Entry { source, lose, .. } = self.all.remove(&number)?;
        if let Some(places) = self.of_one.get_mut(&source) {
            places.remove(&number);
            if places.is_empty() {
                self.of_one.remove(&source);
            }
        }
        Some(lose)
    }

    fn evict(&mut self, number: u64) {
        if let Some(lose) = self.remove(number) {
            // Who held it may be done at this moment.
            let _ = lose.send(());
        }
    }
}

impl Place {
    /// Waits until somebody else has the place.
    pub(super) async fn lost(&mut self) {
        // The sender goes only with this place or by being sent.
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.table().remove(self.number);
        self.admission.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn is_lost(place: &mut Place) -> bool {
        place.lost.try_recv().is_ok()
    }

    #[test]
    fn a_source_is_an_address_or_what_one_host_may_have() {
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    const GRACE: Duration = Duration::from_secs(1);

    /// Whether each kept its place, of which each comes when the one before has had its time.
    fn keep(admission: &Admission, sources: impl IntoIterator<Item = Source>) -> Vec<bool> {
        let begin = Instant::now();
        let times = (0..).map(|at| begin + GRACE * at);
        let entered =
            sources.into_iter().zip(times).map(|(source, at)| admission.enter(source, at));
        let mut places: Vec<_> = entered.map(Result::unwrap).collect();
        places.iter_mut().map(|place| !is_lost(place)).collect()
    }

    #[test]
    fn one_source_loses_its_own_oldest_and_nobody_else_does() {
        let admission = Admission::new(10, 3, GRACE);
        let mut other = admission.enter(source("192.0.2.2"), Instant::now()).unwrap();
        let kept = keep(&admission, [source("192.0.2.1"); 5]);
        assert_eq!(kept, [false, false, true, true, true]);
        assert!(!is_lost(&mut other));
        assert_eq!((admission.len(), admission.table().of_one.len()), (1, 1));
    }

    #[test]
    fn all_together_lose_the_oldest() {
        let admission = Admission::new(3, 3, GRACE);
        let sources = (1..=5).map(|last| IpAddr::from([192, 0, 2, last]).into());
        assert_eq!(keep(&admission, sources), [false, false, true, true, true]);
        let mut last = admission.enter(source("192.0.2.9"), Instant::now()).unwrap();
        admission.evict_oldest();
        assert!(is_lost(&mut last));
    }

    #[test]
    fn who_has_just_come_keeps_his_place() {
        let admission = Admission::new(3, 2, GRACE);
        let now = Instant::now();
        let enter = |last, at| admission.enter(IpAddr::from([192, 0, 2, last]).into(), at);
        let _first = (enter(1, now).unwrap(), enter(1, now).unwrap());
        let early = now + GRACE - Duration::from_millis(1);
        assert_eq!(enter(1, early).unwrap_err(), Taken::OfOne);
        let _last = enter(2, early).unwrap();
        assert_eq!(enter(3, early).unwrap_err(), Taken::All { until: now + GRACE });
        enter(1, now + GRACE).unwrap();
    }

    #[test]
    fn a_quarter_is_busy() {
        let admission = Admission::new(100, 8, GRACE);
        let now = Instant::now();
        let _one = admission.enter(source("192.0.2.1"), now).unwrap();
        assert!(!admission.is_busy(source("192.0.2.1")));
        let _two = admission.enter(source("192.0.2.1"), now).unwrap();
        assert!(admission.is_busy(source("192.0.2.1")));
        assert!(!admission.is_busy(source("192.0.2.2")));
        let more = (0..23).map(|last| IpAddr::from([198, 51, 100, last]).into());
        let _more: Vec<_> = more.map(|source| admission.enter(source, now).unwrap()).collect();
        assert!(admission.is_busy(source("192.0.2.2")));
    }
}
