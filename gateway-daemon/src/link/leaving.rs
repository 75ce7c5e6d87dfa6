//! Peers that leave a device because their keys were replaced: how long they stay accepted there. Pure.
//!
//! When the next keys become the current ones, packets by the old ones are still on their way: in the
//! underlay, in the sockets of both ends, and in a process that waits for a processor. So a peer stays
//! on its old device, accepted and no longer sent to, until nothing came or went there for [`SILENCE`]
//! and it was seen to use its other device in both directions, and no longer than [`LONGEST`].
//! [`super::links`] asks once a second. What may leave this way is a peer whose other device is the
//! one that the site file names now; keys that are replaced otherwise are refused at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::account::Account;
use super::dial::KEEPALIVE;
use super::peers::ObservedPeer;
use super::rotation::{Assigned, Found, Role, Slot, is_recent};
use super::settings::PublicKey;
use super::wanted::LinksWanted;

/// A device that carried nothing for so long has nothing left to carry.
pub(super) const SILENCE: Duration = Duration::from_secs(3);

/// Old keys are refused so long after they were replaced, whatever they carry.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// The peers that leave, by device and key.
#[derive(Debug, Default)]
pub(super) struct Leaving(BTreeMap<(Slot, PublicKey), Departure>);

/// One peer that leaves one device.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) site: String,
    /// Since when, in seconds since 1970.
    pub(super) since: u64,
    latest: Instant,
    here: Option<Traffic>,
    there: Option<Traffic>,
    silent_since: Instant,
    has_moved: bool,
}

/// What a device counted, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    received: u64,
    sent: u64,
}

/// How the departure of a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing goes by its old keys any more.
    Silent,
    /// Its time was up.
    Late,
}

/// The clocks: one for what the daemon sees, one for what outlives it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) system: SystemTime,
    /// Seconds since 1970.
    pub(super) seconds: u64,
}

impl Leaving {
    /// Takes in who leaves: those of whom the account says that they were in force, whose device is
    /// there as it was, and whose other device stays.
    pub(super) fn take_in(
        &mut self,
        account: &Account,
        wanted: &LinksWanted,
        assigned: &[Assigned<'_>],
        found: Found<'_>,
        now: Now,
    ) {
        let mut leave = BTreeMap::new();
        for (slot, key, site, since) in in_force(account, wanted, found) {
            let stays = in_force(account, wanted, found).any(|(other, key, its, since)| {
                let there = (other, key);
                other != slot
                    && its == site
                    && since.is_none()
                    && is_assigned(assigned, found, there)
            });
            let peer = found[slot as usize].and_then(|device| device.peers.get(&key));
            let is_live = peer.is_some_and(|peer| is_recent(peer.last_handshake, now.system));
            let leaves = !is_assigned(assigned, found, (slot, key));
            if leaves && stays && is_live && keeps_key(assigned, found, slot) {
                let known = self.0.remove(&(slot, key));
                let departure = known.unwrap_or_else(|| Departure::new(site, since, now));
                leave.insert((slot, key), departure);
            }
        }
        self.0 = leave;
    }

    /// Takes in what the devices counted, and says whose time is over.
    pub(super) fn tend(
        &mut self,
        assigned: &[Assigned<'_>],
        found: Found<'_>,
        now: Now,
    ) -> Vec<(Slot, String, End)> {
        let mut over = Vec::new();
        self.0.retain(|(slot, key), departure| {
            let counted = |slot: Slot, key: &PublicKey| {
                found[slot as usize].and_then(|it| it.peers.get(key)).map(Traffic::of)
            };
            let mut others = assigned.iter().filter(|it| it.slot != *slot);
            let there = others.find_map(|device| {
                let mut peers = device.peers.iter();
                let (_, dialled, _) = peers.find(|(peer, ..)| peer.site == departure.site)?;
                counted(device.slot, &dialled.public_key)
            });
            let end = departure.observe(counted(*slot, key), there, now.instant);
            over.extend(end.map(|end| (*slot, departure.site.clone(), end)));
            end.is_none()
        });
        over
    }

    /// Who leaves that device.
    pub(super) fn on(&self, slot: Slot) -> impl Iterator<Item = (PublicKey, &Departure)> {
        self.0.iter().filter(move |((its, _), _)| *its == slot).map(|((_, key), it)| (*key, it))
    }

    /// Whether somebody leaves that device.
    pub(super) fn is_on(&self, slot: Slot) -> bool {
        self.on(slot).next().is_some()
    }

    /// The device that a site's peer leaves.
    pub(super) fn slot_of(&self, site: &str) -> Option<Slot> {
        self.0.iter().find(|(_, it)| it.site == site).map(|((slot, _), _)| *slot)
    }
}

impl Departure {
    fn new(site: &str, since: Option<u64>, now: Now) -> Self {
        let since = since.unwrap_or(now.seconds);
        let passed = Duration::from_secs(now.seconds.saturating_sub(since)).min(LONGEST);
        Self {
            site: site.to_owned(),
            since,
            latest: now.instant + (LONGEST - passed),
            here: None,
            there: None,
            silent_since: now.instant,
            has_moved: false,
        }
    }

    fn observe(
        &mut self,
        here: Option<Traffic>,
        there: Option<Traffic>,
        now: Instant,
    ) -> Option<End> {
        let was_used = match (std::mem::replace(&mut self.here, here), here) {
            (Some(before), Some(now)) => now.carried_since(before) != Directions::default(),
            _ => true,
        };
        if was_used {
            self.silent_since = now;
        }
        if let (Some(before), Some(now)) = (std::mem::replace(&mut self.there, there), there) {
            let carried = now.carried_since(before);
            self.has_moved |= carried.received && carried.sent;
        }
        if self.has_moved && now - self.silent_since >= SILENCE {
            return Some(End::Silent);
        }
        (now >= self.latest).then_some(End::Late)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Directions {
    received: bool,
    sent: bool,
}

impl Traffic {
    fn of(peer: &ObservedPeer) -> Self {
        Self { received: peer.received, sent: peer.sent }
    }

    /// By which ways more than a keepalive went since, or the counters began anew.
    fn carried_since(self, before: Self) -> Directions {
        let grew = |now: u64, before: u64| now < before || now - before > KEEPALIVE;
        Directions {
            received: grew(self.received, before.received),
            sent: grew(self.sent, before.sent),
        }
    }
}

/// Slot, key and site of each peer that the account has, and since when it leaves, on devices that
/// have the key that the account says.
fn in_force<'a>(
    account: &'a Account,
    wanted: &'a LinksWanted,
    found: Found<'a>,
) -> impl Iterator<Item = (Slot, PublicKey, &'a str, Option<u64>)> {
    account.devices.iter().flat_map(move |device| {
        let slot = Slot::ALL.into_iter().find(|slot| {
            let own = found[*slot as usize].and_then(|it| it.public_key);
            wanted.interfaces[*slot as usize].as_str() == device.interface
                && own.is_some_and(|own| own.to_string() == device.public_key)
        });
        device.peers.iter().filter_map(move |peer| {
            let key = peer.public_key.parse().ok()?;
            Some((slot?, key, peer.site.as_str(), peer.leaving_since))
        })
    })
}

/// Whether a peer stays on a device that stays.
fn is_assigned(
    assigned: &[Assigned<'_>],
    found: Found<'_>,
    (slot, key): (Slot, PublicKey),
) -> bool {
    let here = assigned.iter().filter(|it| it.slot == slot && !it.needs_another_key(found));
    here.flat_map(|it| &it.peers).any(|(_, dialled, _)| dialled.public_key == key)
}

/// Whether a device keeps its own key, or is not needed. The next keys can wait for it.
fn keeps_key(assigned: &[Assigned<'_>], found: Found<'_>, slot: Slot) -> bool {
    let device = assigned.iter().find(|it| it.slot == slot);
    device.is_none_or(|device| device.role == Role::Next || !device.needs_another_key(found))
}

#[cfg(test)]
mod tests;
