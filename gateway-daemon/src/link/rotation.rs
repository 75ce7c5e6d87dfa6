//! One or two link devices, which peer is on which, and which of the two carries a site's traffic.
//! Pure.
//!
//! WireGuard gives an address to one peer of a device at a time, so two keys of one gateway cannot
//! both be accepted on one device. While keys are rotated there are two devices side by side:
//! packets are accepted from both and sent by the newest that has a session. Nothing is moved while
//! it carries traffic: a device that is there is recognised by its key, whatever its name.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::health::REJECT_AFTER_TIME;
use super::settings::PublicKey;
use super::wanted::{DeviceKey, Dialled, LinksWanted, WantedPeer};
use super::wireguard::Observed;

/// Which of the two possible devices: its place in [`LinksWanted::interfaces`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// The one called as the site file says.
    First,
    /// The other.
    Second,
}

/// What a device, or a key, is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// In use.
    Current,
    /// To be used next.
    Next,
}

/// One device as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assigned<'a> {
    pub(super) slot: Slot,
    pub(super) role: Role,
    pub(super) key: DeviceKey,
    /// The peers on it, and how each is known there.
    pub(super) peers: Vec<(&'a WantedPeer, &'a Dialled, Role)>,
}

/// What was found at each slot.
pub(super) type Found<'a> = [Option<&'a Observed>; 2];

/// A device by which a peer's sites may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) slot: Slot,
    /// Of the keys this peer is known by there, not of the device.
    pub(super) role: Role,
    pub(super) key: PublicKey,
    pub(super) last_handshake: Option<SystemTime>,
    /// What is sent to it is not answered.
    pub(super) unanswered: bool,
}

impl Slot {
    /// Both of them.
    pub(super) const ALL: [Self; 2] = [Self::First, Self::Second];

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl Assigned<'_> {
    /// Whether a device is there in its place that has another key of this gateway's own.
    pub(super) fn needs_another_key(&self, found: Found<'_>) -> bool {
        let own = Some(self.key.private_key.public_key());
        found[self.slot as usize].is_some_and(|device| device.public_key != own)
    }
}

impl Role {
    /// One word for messages: `current` or `next`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
        }
    }
}

/// The devices that should be there, the one in use first.
///
/// A peer whose only session is on the other device stays there as long as both have the current key:
/// moving it would cost packets. So both may be in use for good, until a rotation of this gateway's own
/// key brings all peers together again.
pub(super) fn devices<'a>(
    wanted: &'a LinksWanted,
    found: Found<'_>,
    now: SystemTime,
) -> Vec<Assigned<'a>> {
    let slot = current_slot(wanted, found, now);
    let [here, there] = [slot, slot.other()].map(|slot| found[slot as usize]);
    let mut current = assigned(slot, Role::Current, &wanted.current);
    let mut other = match &wanted.next {
        Some(next) => assigned(slot.other(), Role::Next, next),
        None => {
            let mut kept = assigned(slot.other(), Role::Current, &wanted.current);
            // Its port stays as it is.
            kept.key.listen_port = None;
            kept
        }
    };
    let one_key = wanted.one_key() || (wanted.next.is_none() && is_ours(wanted, there));
    for peer in &wanted.peers {
        let now_used = (peer, &peer.current, Role::Current);
        let next = peer.next.as_ref().filter(|_| wanted.next.is_some());
        let key = &peer.current.public_key;
        let lives_there = one_key && is_live(there, key, now) && !is_live(here, key, now);
        match next {
            Some(next) if next.public_key == *key => {
                current.peers.push(now_used);
                other.peers.push((peer, next, Role::Next));
            }
            Some(next) => {
                let next_lives_here = one_key && is_live(here, &next.public_key, now);
                let next_used = (peer, next, Role::Next);
                let straight = is_live(here, key, now) || is_live(there, &next.public_key, now);
                if (lives_there || next_lives_here) && !straight {
                    current.peers.push(next_used);
                    other.peers.push(now_used);
                } else {
                    current.peers.push(now_used);
                    other.peers.push(next_used);
                }
            }
            None if lives_there => other.peers.push(now_used),
            None => current.peers.push(now_used),
        }
    }
    let keep = wanted.next.is_some() || !other.peers.is_empty();
    std::iter::once(current).chain(Some(other).filter(|_| keep)).collect()
}

/// By which of a peer's devices to send, and by which other its packets are accepted as well.
///
/// The newest keys with a live session win; of the same keys on two devices the later handshake;
/// what does not answer loses against what does. With no session at all the choice stays.
pub(super) fn choose(
    candidates: &[Candidate],
    before: Option<Slot>,
    now: SystemTime,
) -> Option<(Slot, Option<Slot>)> {
    let live = |it: &&Candidate| is_recent(it.last_handshake, now);
    let same_key = candidates.windows(2).all(|pair| pair[0].key == pair[1].key);
    let rank = |it: &&Candidate| {
        let newest = if same_key { Role::Current } else { it.role };
        (!it.unanswered, newest, it.last_handshake)
    };
    let best = candidates.iter().filter(live).max_by_key(rank);
    let kept = || candidates.iter().find(|it| Some(it.slot) == before);
    let default = || candidates.iter().find(|it| it.role == Role::Current);
    let send = best.or_else(kept).or_else(default).or(candidates.first())?.slot;
    let also = candidates.iter().map(|it| it.slot).find(|slot| *slot != send);
    Some((send, also))
}

/// Whether a handshake is so recent that its session carries packets.
pub(super) fn is_recent(handshake: Option<SystemTime>, now: SystemTime) -> bool {
    // A handshake after `now` means the clock was set back: it is at least recent.
    handshake.is_some_and(|then| now.duration_since(then).unwrap_or_default() < REJECT_AFTER_TIME)
}

fn assigned(slot: Slot, role: Role, key: &DeviceKey) -> Assigned<'static> {
    Assigned { slot, role, key: key.clone(), peers: Vec::new() }
}

fn is_live(device: Option<&Observed>, key: &PublicKey, now: SystemTime) -> bool {
    let peer = device.and_then(|device| device.peers.get(key));
    peer.is_some_and(|peer| is_recent(peer.last_handshake, now))
}

/// Whether a device has the key that this gateway uses now: only then may it stay.
fn is_ours(wanted: &LinksWanted, device: Option<&Observed>) -> bool {
    let key = Some(wanted.current.private_key.public_key());
    device.is_some_and(|device| device.public_key == key)
}

/// Where the device in use is: where more of what is wanted is found.
fn current_slot(wanted: &LinksWanted, found: Found<'_>, now: SystemTime) -> Slot {
    let likeness = |current: Slot| {
        let here = likeness(&wanted.current, found[current as usize], now, || {
            wanted.peers.iter().map(|peer| &peer.current)
        });
        let there = wanted
            .next
            .as_ref()
            .map(|next| likeness_of_next(wanted, next, found[current.other() as usize], now));
        here.plus(there.unwrap_or_default())
    };
    if likeness(Slot::Second) > likeness(Slot::First) { Slot::Second } else { Slot::First }
}

fn likeness_of_next(
    wanted: &LinksWanted,
    next: &DeviceKey,
    device: Option<&Observed>,
    now: SystemTime,
) -> Likeness {
    likeness(next, device, now, || wanted.peers.iter().filter_map(|peer| peer.next.as_ref()))
}

/// How much of a wanted device a found one is, the weightiest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    key: usize,
    port: usize,
    sessions: usize,
    peers: usize,
}

impl Likeness {
    fn plus(self, other: Self) -> Self {
        Self {
            key: self.key + other.key,
            port: self.port + other.port,
            sessions: self.sessions + other.sessions,
            peers: self.peers + other.peers,
        }
    }
}

fn likeness<'a, I: Iterator<Item = &'a Dialled>>(
    key: &DeviceKey,
    device: Option<&Observed>,
    now: SystemTime,
    peers: impl Fn() -> I,
) -> Likeness {
    let Some(device) = device else { return Likeness::default() };
    let port = key.listen_port.map(|port| port.get());
    Likeness {
        key: usize::from(device.public_key == Some(key.private_key.public_key())),
        port: usize::from(port.is_some() && port == device.listen_port),
        sessions: peers().filter(|peer| is_live(Some(device), &peer.public_key, now)).count(),
        peers: peers().filter(|peer| device.peers.contains_key(&peer.public_key)).count(),
    }
}

#[cfg(test)]
mod tests;
