//! Rotations step by step, as an operator takes them: what is wanted and found, and what comes of it.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use wireguard_control::Key;

use super::super::peers::ObservedPeer;
use super::super::settings::{LinkKind, PrivateKey};
use super::*;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn private(byte: u8) -> PrivateKey {
    Key([byte; 32]).to_base64().parse().unwrap()
}

fn public(byte: u8) -> PublicKey {
    private(byte).public_key()
}

fn device_key(byte: u8, port: u16) -> DeviceKey {
    DeviceKey { private_key: private(byte), listen_port: NonZeroU16::new(port) }
}

fn dialled(byte: u8, endpoint: Option<&str>) -> Dialled {
    Dialled {
        public_key: public(byte),
        endpoints: endpoint.iter().map(|it| it.parse().unwrap()).collect(),
        keepalive: None,
    }
}

fn peer(site: &str, current: u8, next: Option<u8>) -> WantedPeer {
    WantedPeer {
        site: site.into(),
        sites: vec![site.into()],
        transit: Vec::new(),
        current: dialled(current, None),
        next: next.map(|byte| dialled(byte, None)),
    }
}

fn wanted(current: DeviceKey, next: Option<DeviceKey>, peers: Vec<WantedPeer>) -> LinksWanted {
    LinksWanted {
        interfaces: ["presence".parse().unwrap(), "presence2".parse().unwrap()],
        kind: LinkKind::Auto,
        mtu: None,
        current,
        next,
        peers,
    }
}

/// A device with this key and port; `peers` by key, with the age of their handshakes.
fn found(key: u8, port: u16, peers: &[(u8, Option<u64>)]) -> Observed {
    let peers = peers.iter().map(|(byte, age)| {
        let last_handshake = age.and_then(|age| now().checked_sub(Duration::from_secs(age)));
        (public(*byte), ObservedPeer { last_handshake, ..ObservedPeer::default() })
    });
    Observed {
        public_key: Some(public(key)),
        listen_port: Some(port),
        peers: peers.collect::<BTreeMap<_, _>>(),
    }
}

/// Slot, role, own key, and the keys of its peers, of each device.
fn shape(devices: &[Assigned<'_>]) -> Vec<(Slot, Role, PublicKey, Vec<PublicKey>)> {
    let one = |it: &Assigned<'_>| {
        let peers = it.peers.iter().map(|(_, dialled, _)| dialled.public_key).collect();
        (it.slot, it.role, it.key.private_key.public_key(), peers)
    };
    devices.iter().map(one).collect()
}

const OLD: u8 = 1;
const NEW: u8 = 2;
const A: u8 = 10;
const A_NEW: u8 = 11;
const B: u8 = 20;
const B_NEW: u8 = 21;

#[test]
fn a_gateways_own_key_is_rotated_and_the_device_keeps_its_place() {
    let peers = || vec![peer("a", A, None), peer("b", B, None)];
    let before = wanted(device_key(OLD, 5), None, peers());
    let fresh = devices(&before, [None, None], now());
    let all = vec![public(A), public(B)];
    assert_eq!(shape(&fresh), [(Slot::First, Role::Current, public(OLD), all.clone())]);

    let mut during = wanted(device_key(OLD, 5), Some(device_key(NEW, 6)), peers());
    for peer in &mut during.peers {
        peer.next = Some(peer.current.clone());
    }
    let first = found(OLD, 5, &[(A, Some(1)), (B, Some(1))]);
    let both = devices(&during, [Some(&first), None], now());
    assert_eq!(
        shape(&both),
        [
            (Slot::First, Role::Current, public(OLD), all.clone()),
            (Slot::Second, Role::Next, public(NEW), all.clone()),
        ]
    );

    let after = wanted(device_key(NEW, 6), None, peers());
    let second = found(NEW, 6, &[(A, Some(1)), (B, Some(1))]);
    let promoted = devices(&after, [Some(&first), Some(&second)], now());
    assert_eq!(shape(&promoted), [(Slot::Second, Role::Current, public(NEW), all.clone())]);

    // The next rotation goes the other way.
    let mut again = wanted(device_key(NEW, 6), Some(device_key(OLD, 5)), peers());
    for peer in &mut again.peers {
        peer.next = Some(peer.current.clone());
    }
    let again = devices(&again, [None, Some(&second)], now());
    assert_eq!((again[0].slot, again[1].slot), (Slot::Second, Slot::First));
}

#[test]
fn a_promoted_peer_stays_where_its_session_is_and_so_do_the_others() {
    let during = wanted(
        device_key(OLD, 0),
        Some(device_key(OLD, 0)),
        vec![peer("a", A, Some(A_NEW)), peer("b", B, None)],
    );
    let first = found(OLD, 1, &[(A, Some(1)), (B, Some(1))]);
    let both = devices(&during, [Some(&first), None], now());
    assert_eq!(
        shape(&both),
        [
            (Slot::First, Role::Current, public(OLD), vec![public(A), public(B)]),
            (Slot::Second, Role::Next, public(OLD), vec![public(A_NEW)]),
        ]
    );

    // Each of the two devices has one of the wanted sessions: both stay.
    let after = wanted(device_key(OLD, 0), None, vec![peer("a", A_NEW, None), peer("b", B, None)]);
    let second = found(OLD, 2, &[(A_NEW, Some(1))]);
    let spread = devices(&after, [Some(&first), Some(&second)], now());
    assert_eq!(
        shape(&spread),
        [
            (Slot::First, Role::Current, public(OLD), vec![public(B)]),
            (Slot::Second, Role::Current, public(OLD), vec![public(A_NEW)]),
        ]
    );
    // Now the other one rotates, and finds room where the first peer is.
    let turn = wanted(
        device_key(OLD, 0),
        Some(device_key(OLD, 0)),
        vec![peer("a", A_NEW, None), peer("b", B, Some(B_NEW))],
    );
    let turn = devices(&turn, [Some(&first), Some(&second)], now());
    assert_eq!(
        shape(&turn),
        [
            (Slot::First, Role::Current, public(OLD), vec![public(B)]),
            (Slot::Second, Role::Next, public(OLD), vec![public(A_NEW), public(B_NEW)]),
        ]
    );
    // One that is down comes back beside the others.
    let second = found(OLD, 2, &[(A_NEW, Some(200))]);
    let back = devices(&after, [Some(&first), Some(&second)], now());
    let all = vec![public(A_NEW), public(B)];
    assert_eq!(shape(&back), [(Slot::First, Role::Current, public(OLD), all)]);

    // With one peer there is nothing to move: its device becomes the current one.
    let alone = wanted(device_key(OLD, 0), None, vec![peer("a", A_NEW, None)]);
    let first = found(OLD, 1, &[(A, Some(1))]);
    let second = found(OLD, 2, &[(A_NEW, Some(1))]);
    let alone = devices(&alone, [Some(&first), Some(&second)], now());
    assert_eq!(shape(&alone), [(Slot::Second, Role::Current, public(OLD), vec![public(A_NEW)])]);
}

#[test]
fn a_device_of_an_old_key_is_not_kept() {
    let after = wanted(device_key(NEW, 6), None, vec![peer("a", A, None)]);
    let first = found(OLD, 5, &[(A, Some(1))]);
    let left = devices(&after, [Some(&first), None], now());
    // What has the wanted key is nowhere yet; the first slot's key is changed.
    assert_eq!(shape(&left), [(Slot::First, Role::Current, public(NEW), vec![public(A)])]);
    let second = found(NEW, 6, &[(A, None)]);
    let left = devices(&after, [Some(&first), Some(&second)], now());
    assert_eq!(shape(&left), [(Slot::Second, Role::Current, public(NEW), vec![public(A)])]);
}

/// A hub that its peers dial has a second port for good; ports say which device is which, and a peer
/// is on the one that it dials.
#[test]
fn a_peer_that_dials_the_second_port_stays_there_and_rotates_back_to_the_first() {
    let hub = |peers| wanted(device_key(OLD, 5), Some(device_key(OLD, 6)), peers);
    let mut quiet = hub(vec![peer("a", A, Some(A))]);
    let first = found(OLD, 5, &[(A, None)]);
    let second = found(OLD, 6, &[(A, Some(1))]);
    let both = devices(&quiet, [Some(&first), Some(&second)], now());
    assert_eq!(
        shape(&both),
        [
            (Slot::First, Role::Current, public(OLD), vec![public(A)]),
            (Slot::Second, Role::Next, public(OLD), vec![public(A)]),
        ]
    );
    quiet.peers[0].next = Some(dialled(A_NEW, None));
    let rotating = devices(&quiet, [Some(&first), Some(&second)], now());
    assert_eq!(
        shape(&rotating),
        [
            (Slot::First, Role::Current, public(OLD), vec![public(A_NEW)]),
            (Slot::Second, Role::Next, public(OLD), vec![public(A)]),
        ]
    );
    // Nothing is known after a restart of the host: then as the site file has it.
    let restarted = devices(&quiet, [None, None], now());
    assert_eq!(restarted[0].peers[0].1.public_key, public(A));
}

fn candidate(slot: Slot, role: Role, key: u8, age: Option<u64>) -> Candidate {
    let last_handshake = age.and_then(|age| now().checked_sub(Duration::from_secs(age)));
    Candidate { slot, role, key: public(key), last_handshake, unanswered: false }
}

#[test]
fn the_newest_keys_with_a_session_carry_the_traffic() {
    use Role::{Current, Next};
    use Slot::{First, Second};
    for (current, next, before, expected) in [
        // Age of the handshakes of the current and the next keys, the choice before, and now.
        (Some(10), None, None, First),
        (Some(10), Some(0), Some(First), Second),
        (Some(0), Some(179), Some(Second), Second),
        (Some(0), Some(180), Some(Second), First),
        (None, Some(5), Some(First), Second),
        (None, None, None, First),
        (Some(300), Some(200), Some(Second), Second),
        (Some(200), Some(300), Some(First), First),
    ] {
        let both = [candidate(First, Current, A, current), candidate(Second, Next, A_NEW, next)];
        let chosen = choose(&both, before, now());
        assert_eq!(chosen, Some((expected, Some(expected.other()))), "{current:?} {next:?}");
    }
    assert_eq!(choose(&[], None, now()), None);
    let alone = [candidate(Second, Current, A, None)];
    assert_eq!(choose(&alone, Some(First), now()), Some((Second, None)));
}

#[test]
fn of_the_same_keys_the_later_handshake_counts() {
    let both = [
        candidate(Slot::First, Role::Current, A, Some(1)),
        candidate(Slot::Second, Role::Next, A, Some(60)),
    ];
    assert_eq!(choose(&both, Some(Slot::Second), now()).map(|it| it.0), Some(Slot::First));
}

#[test]
fn a_session_that_is_not_answered_loses_against_one_that_is() {
    let mut both = [
        candidate(Slot::First, Role::Current, A, Some(100)),
        candidate(Slot::Second, Role::Next, A_NEW, Some(50)),
    ];
    both[1].unanswered = true;
    assert_eq!(choose(&both, Some(Slot::Second), now()).map(|it| it.0), Some(Slot::First));
    both[0].unanswered = true;
    assert_eq!(choose(&both, Some(Slot::First), now()).map(|it| it.0), Some(Slot::Second));
}
