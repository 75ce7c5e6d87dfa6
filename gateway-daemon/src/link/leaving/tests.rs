//! Departures step by step: who leaves, what the devices count, and when it is over.

use std::num::NonZeroU16;

use wireguard_control::Key;

use super::super::account::{DeviceAccount, MtuKnown, PeerAccount};
use super::super::settings::{LinkKind, PrivateKey};
use super::super::wanted::{DeviceKey, Dialled, WantedPeer};
use super::super::wireguard::Observed;
use super::*;

const OLD: u8 = 1;
const NEW: u8 = 2;
const NEWEST: u8 = 3;
const HUB: u8 = 10;
const A: u8 = 20;
const A_NEW: u8 = 21;
const A_STOLEN: u8 = 22;

fn private(byte: u8) -> PrivateKey {
    Key([byte; 32]).to_base64().parse().unwrap()
}

fn public(byte: u8) -> PublicKey {
    private(byte).public_key()
}

fn dialled(byte: u8) -> Dialled {
    Dialled { public_key: public(byte), endpoints: Vec::new(), keepalive: None }
}

/// A gateway with one peer: its own key and the peer's, each with what comes next.
fn wanted(own: (u8, Option<u8>), peer: (u8, Option<u8>)) -> LinksWanted {
    let key = |byte| DeviceKey { private_key: private(byte), listen_port: None::<NonZeroU16> };
    LinksWanted {
        interfaces: ["presence".parse().unwrap(), "presence2".parse().unwrap()],
        kind: LinkKind::Auto,
        mtu: None,
        current: key(own.0),
        next: own.1.map(key),
        peers: vec![WantedPeer {
            site: "far".into(),
            sites: vec!["far".into()],
            transit: Vec::new(),
            current: dialled(peer.0),
            next: peer.1.map(dialled),
        }],
    }
}

/// What the daemon sees, and the hands of both its clocks.
struct Scene {
    begun: Instant,
    second: u64,
    account: Account,
    found: [Option<Observed>; 2],
    leaving: Leaving,
}

impl Scene {
    /// Two devices in force: own key and the peer's, on each.
    fn of(devices: [(u8, u8); 2]) -> Self {
        let accounts = devices.iter().zip(["presence", "presence2"]).map(|((own, peer), name)| {
            let peer = PeerAccount {
                site: "far".into(),
                public_key: public(*peer).to_string(),
                role: Role::Current,
                endpoints: Vec::new(),
                dialled_since: None,
                sends: true,
                unanswered: false,
                mtu: 1420,
                mtu_known: MtuKnown::Probed,
                leaving_since: None,
            };
            DeviceAccount {
                interface: name.into(),
                role: Role::Current,
                public_key: public(*own).to_string(),
                peers: vec![peer],
            }
        });
        let account = Account { devices: accounts.collect(), ..Account::default() };
        let found = devices.map(|(own, peer)| {
            let observed =
                ObservedPeer { last_handshake: Some(system(0)), ..ObservedPeer::default() };
            let peers = [(public(peer), observed)].into();
            Some(Observed { public_key: Some(public(own)), listen_port: None, peers })
        });
        Self { begun: Instant::now(), second: 0, account, found, leaving: Leaving::default() }
    }

    /// A look, a second later.
    fn look(&mut self, wanted: &LinksWanted) -> Vec<(Slot, String, End)> {
        self.second += 1;
        let now = Now {
            instant: self.begun + Duration::from_secs(self.second),
            system: system(self.second),
            seconds: 1_000_000 + self.second,
        };
        let found = [self.found[0].as_ref(), self.found[1].as_ref()];
        let assigned = super::super::rotation::devices(wanted, found, now.system);
        self.leaving.take_in(&self.account, wanted, &assigned, found, now);
        self.leaving.tend(&assigned, found, now)
    }

    /// The first end within so many looks, and at which it came.
    fn end(&mut self, wanted: &LinksWanted, looks: u64) -> Option<(u64, End)> {
        let from = self.second;
        (0..looks).find_map(|_| {
            let over = self.look(wanted);
            over.first().map(|(_, _, end)| (self.second - from, *end))
        })
    }

    fn carry(&mut self, slot: Slot, received: u64, sent: u64) {
        let device = self.found[slot as usize].as_mut().unwrap();
        for peer in device.peers.values_mut() {
            peer.received += received;
            peer.sent += sent;
        }
    }

    fn leaves(&self) -> Vec<(Slot, PublicKey)> {
        self.leaving.0.keys().copied().collect()
    }

    /// What a daemon that starts again knows: what was written.
    fn restart(&mut self) {
        for (slot, key) in self.leaves() {
            let since = self.leaving.0[&(slot, key)].since;
            for peer in &mut self.account.devices[slot as usize].peers {
                if peer.public_key == key.to_string() {
                    peer.leaving_since = Some(since);
                }
            }
        }
        self.leaving = Leaving::default();
    }
}

fn system(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second)
}

#[test]
fn an_old_device_goes_when_the_other_is_used_and_it_was_silent() {
    let promoted = wanted((NEW, None), (HUB, None));
    let mut scene = Scene::of([(OLD, HUB), (NEW, HUB)]);
    // In force are still both.
    assert!(scene.look(&wanted((OLD, Some(NEW)), (HUB, Some(HUB)))).is_empty());
    assert_eq!(scene.leaves(), []);

    assert!(scene.look(&promoted).is_empty());
    assert_eq!(scene.leaves(), [(Slot::First, public(HUB))]);
    for _ in 0..5 {
        // The peer still sends by the old one, and gets its answers by the new one.
        scene.carry(Slot::First, 100, 0);
        scene.carry(Slot::Second, 0, 100);
        assert!(scene.look(&promoted).is_empty());
    }
    scene.carry(Slot::Second, 100, 100);
    assert_eq!(scene.end(&promoted, 9), Some((SILENCE.as_secs(), End::Silent)));
    assert_eq!(scene.leaves(), []);
}

#[test]
fn an_old_device_that_is_silent_stays_until_the_other_is_used_in_both_directions() {
    let promoted = wanted((NEW, None), (HUB, None));
    let mut scene = Scene::of([(OLD, HUB), (NEW, HUB)]);
    for _ in 0..10 {
        assert!(scene.look(&promoted).is_empty());
        // Sent and not answered, and keepalives.
        scene.carry(Slot::Second, KEEPALIVE, 1000);
        scene.carry(Slot::First, KEEPALIVE, KEEPALIVE);
    }
    scene.carry(Slot::Second, 1000, 1000);
    assert_eq!(scene.end(&promoted, 9), Some((1, End::Silent)));
}

#[test]
fn old_keys_that_are_used_on_and_on_are_refused_in_the_end() {
    let promoted = wanted((NEW, None), (HUB, None));
    let mut scene = Scene::of([(OLD, HUB), (NEW, HUB)]);
    let mut end = None;
    for _ in 0..40 {
        scene.carry(Slot::First, 1000, 0);
        scene.carry(Slot::Second, 1000, 1000);
        end = end.or(scene.end(&promoted, 1).map(|(_, end)| (scene.second, end)));
        if end.is_some() {
            break;
        }
    }
    assert_eq!(end, Some((1 + LONGEST.as_secs(), End::Late)));
}

#[test]
fn a_daemon_that_starts_again_goes_on_and_the_time_does_not_begin_anew() {
    let promoted = wanted((NEW, None), (HUB, None));
    let mut scene = Scene::of([(OLD, HUB), (NEW, HUB)]);
    scene.look(&promoted);
    scene.second += 19;
    scene.restart();
    assert!(scene.look(&promoted).is_empty());
    assert_eq!(scene.leaves(), [(Slot::First, public(HUB))]);
    assert_eq!(scene.end(&promoted, 40), Some((LONGEST.as_secs() - 20, End::Late)));

    // A clock that was set back makes it no longer than it would have been.
    let mut scene = Scene::of([(OLD, HUB), (NEW, HUB)]);
    scene.account.devices[0].peers[0].leaving_since = Some(2_000_000);
    scene.look(&promoted);
    assert_eq!(scene.end(&promoted, 40), Some((LONGEST.as_secs(), End::Late)));
}

#[test]
fn a_peer_of_a_device_that_stays_leaves_it_like_any_other() {
    // The hub has one key and two devices; the edge has a new key on the second.
    let promoted = wanted((OLD, Some(OLD)), (A_NEW, Some(A_NEW)));
    let mut scene = Scene::of([(OLD, A), (OLD, A_NEW)]);
    scene.look(&promoted);
    assert_eq!(scene.leaves(), [(Slot::First, public(A))]);
    scene.carry(Slot::Second, 100, 100);
    assert_eq!(scene.end(&promoted, 9), Some((SILENCE.as_secs(), End::Silent)));
}

#[test]
fn the_next_rotation_waits_and_another_replacement_does_not() {
    let promoted = wanted((NEW, None), (A, None));
    let mut scene = Scene::of([(OLD, A), (NEW, A)]);
    scene.look(&promoted);
    // The next keys are to have the place of the old device.
    let again = wanted((NEW, Some(NEWEST)), (A, Some(A)));
    assert!(scene.look(&again).is_empty());
    assert_eq!(scene.leaves(), [(Slot::First, public(A))]);
    // The peer's key is replaced by one that was never in force: the old one ends at once.
    assert!(scene.look(&wanted((NEW, None), (A_STOLEN, None))).is_empty());
    assert_eq!(scene.leaves(), []);
}

#[test]
fn who_has_no_session_or_no_other_device_does_not_leave_slowly() {
    let promoted = wanted((NEW, None), (HUB, None));
    let mut expired = Scene::of([(OLD, HUB), (NEW, HUB)]);
    expired.second = 180;
    expired.look(&promoted);
    assert_eq!(expired.leaves(), []);
    // The device has another key than the one that was in force.
    let mut other = Scene::of([(OLD, HUB), (NEW, HUB)]);
    other.account.devices[0].public_key = public(NEWEST).to_string();
    other.look(&promoted);
    assert_eq!(other.leaves(), []);
    // The own key that is named now was on neither.
    let mut neither = Scene::of([(OLD, HUB), (NEW, HUB)]);
    neither.look(&wanted((NEWEST, None), (HUB, None)));
    assert_eq!(neither.leaves(), []);
}
