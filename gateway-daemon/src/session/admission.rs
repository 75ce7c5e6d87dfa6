//! Handshakes that have begun and are not done: so many at once, and so many of one source. Where there is one too
//! many, the oldest goes, as whoever means it is done within a round trip, and whoever does not stays for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Whom a handshake is counted for: an IPv4 address, or an IPv6 network of the size that one host may have all of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

/// The handshakes of a listener.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_of_one: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By age.
    all: BTreeMap<u64, (Source, oneshot::Sender<()>)>,
    of_one: HashMap<Source, BTreeSet<u64>>,
}

/// A handshake's place. Dropping it frees it.
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
    /// With room for `most` handshakes, and for `most_of_one` of one source; one at least.
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        let (most, most_of_one) = (most.max(1), most_of_one.max(1));
        Self(Arc::new(Shared { most, most_of_one, table: Mutex::default() }))
    }

    /// A place for one more, for which another may have lost its own.
    pub(super) fn enter(&self, source: Source) -> Place {
        let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = table.of_one.get(&source);
        let oldest = match of_one {
            Some(places) if places.len() >= self.0.most_of_one => places.first().copied(),
            _ if table.all.len() >= self.0.most => table.all.keys().next().copied(),
            _ => None,
        };
        oldest.into_iter().for_each(|oldest| table.evict(oldest));
        let number = table.next;
        table.next += 1;
        let (lose, lost) = oneshot::channel();
        table.all.insert(number, (source, lose));
        table.of_one.entry(source).or_default().insert(number);
        Place { admission: self.clone(), number, lost }
    }

    /// Takes the oldest one's place.
    pub(super) fn evict_oldest(&self) {
        let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(oldest) = table.all.keys().next().copied() {
            table.evict(oldest);
        }
    }

    /// Whether so much is under way, of all or of one source, that a source had better be proved first.
    pub(super) fn is_busy(&self, source: Source) -> bool {
        let table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = table.of_one.get(&source).map_or(0, BTreeSet::len);
        table.all.len() >= self.0.most.div_ceil(4) || of_one >= self.0.most_of_one.div_ceil(4)
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner).all.len()
    }
}

impl Table {
    fn remove(&mut self, number: u64) -> Option<oneshot::Sender<()>> {
        let (source, lose) = self.all.remove(&number)?;
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
        let mut table = self.admission.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.remove(self.number);
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

    #[test]
    fn one_source_loses_its_own_oldest_and_nobody_else_does() {
        let admission = Admission::new(10, 3);
        let mut other = admission.enter(source("192.0.2.2"));
        let mut places: Vec<_> = (0..5).map(|_| admission.enter(source("192.0.2.1"))).collect();
        let lost: Vec<_> = places.iter_mut().map(is_lost).collect();
        assert_eq!(lost, [true, true, false, false, false]);
        assert!(!is_lost(&mut other));
        assert_eq!(admission.len(), 4);
        drop(places);
        assert_eq!(admission.len(), 1);
        assert_eq!(admission.0.table.lock().unwrap().of_one.len(), 1);
    }

    #[test]
    fn all_together_lose_the_oldest() {
        let admission = Admission::new(3, 3);
        let mut places: Vec<_> =
            (1..=5).map(|last| admission.enter(IpAddr::from([192, 0, 2, last]).into())).collect();
        let lost: Vec<_> = places.iter_mut().map(is_lost).collect();
        assert_eq!(lost, [true, true, false, false, false]);
        assert_eq!(admission.len(), 3);
        admission.evict_oldest();
        assert!(is_lost(&mut places[2]));
    }

    #[test]
    fn a_quarter_is_busy() {
        let admission = Admission::new(100, 8);
        let _one = admission.enter(source("192.0.2.1"));
        assert!(!admission.is_busy(source("192.0.2.1")));
        let _two = admission.enter(source("192.0.2.1"));
        assert!(admission.is_busy(source("192.0.2.1")));
        assert!(!admission.is_busy(source("192.0.2.2")));
        let _more: Vec<_> = (0..23)
            .map(|last| admission.enter(IpAddr::from([198, 51, 100, last]).into()))
            .collect();
        assert!(admission.is_busy(source("192.0.2.2")));
    }
}
