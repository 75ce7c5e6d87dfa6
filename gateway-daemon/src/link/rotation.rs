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

/// What a device is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// No longer wanted, kept until what it carries has a session elsewhere.
    Leaving,
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

impl Role {
    /// One word for messages: `leaving`, `current` or `next`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Leaving => "leaving",
            Self::Current => "current",
            Self::Next => "next",
        }
    }
}

/// The devices that should be there, the one in use first.
pub(super) fn devices<'a>(
    wanted: &'a LinksWanted,
    found: Found<'_>,
    now: SystemTime,
) -> Vec<Assigned<'a>> {
    let slot = current_slot(wanted, found, now);
    let at = |slot: Slot| found[slot as usize];
    let mut current = assigned(slot, Role::Current, &wanted.current);
    let mut other = match &wanted.next {
        Some(next) => assigned(slot.other(), Role::Next, next),
        None => assigned(slot.other(), Role::Leaving, &wanted.current),
    };
    for peer in &wanted.peers {
        let here = (peer, &peer.current, Role::Current);
        match &peer.next {
            Some(next) if wanted.next.is_some() => {
                let there = (peer, next, Role::Next);
                let swapped = wanted.one_key()
                    && next.public_key != peer.current.public_key
                    && lives_crosswise(peer, next, [at(slot), at(slot.other())], now);
                let (here, there) = if swapped { (there, here) } else { (here, there) };
                current.peers.push(here);
                other.peers.push(there);
            }
            _ => {
                let key = &peer.current.public_key;
                if wanted.next.is_none()
                    && is_ours(wanted, at(slot.other()))
                    && is_live(at(slot.other()), key, now)
                    && !is_live(at(slot), key, now)
                {
                    other.peers.push((peer, &peer.current, Role::Leaving));
                }
                current.peers.push(here);
            }
        }
    }
    let keep = wanted.next.is_some() || !other.peers.is_empty();
    if other.role == Role::Leaving {
        // Its port stays as it is.
        other.key.listen_port = None;
    }
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

/// Whether a peer's keys have sessions on the devices the other way round, as after a rotation in
/// which the peer went to the second device and the site file had nothing to swap.
fn lives_crosswise(
    peer: &WantedPeer,
    next: &Dialled,
    [current, other]: [Option<&Observed>; 2],
    now: SystemTime,
) -> bool {
    let live = |device, key| is_live(device, key, now);
    let straight = live(current, &peer.current.public_key) || live(other, &next.public_key);
    let crosswise = live(other, &peer.current.public_key) || live(current, &next.public_key);
    crosswise && !straight
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
