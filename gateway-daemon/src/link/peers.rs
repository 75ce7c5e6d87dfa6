//! What to tell a WireGuard device so that its peers become the wanted ones. Pure.
//!
//! A peer that is as it should be is not mentioned at all: the userspace implementation makes a
//! peer anew, and drops its session, whenever it is mentioned.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::SystemTime;

use super::record::ConfiguredEndpoints;
use super::settings::{LinkPeer, PublicKey};

/// A peer as the device has it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObservedPeer {
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) keepalive: Option<NonZeroU16>,
    pub(super) preshared_key: bool,
    pub(super) allowed: BTreeSet<(IpAddr, u8)>,
    pub(super) last_handshake: Option<SystemTime>,
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// One peer's part of the difference. `None` and `false` leave a property as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PeerChange {
    Set {
        key: PublicKey,
        endpoint: Option<SocketAddr>,
        /// Seconds; zero switches keepalives off.
        keepalive: Option<u16>,
        /// The whole list, in place of the present one.
        allowed: Option<BTreeSet<(IpAddr, u8)>>,
        clear_preshared_key: bool,
    },
    Remove(PublicKey),
}

/// The difference between the peers a device has and those it should have.
///
/// An endpoint is sent when the peer is new, or when the one the site file gives is not the one
/// it gave when the endpoint was last sent (`configured` remembers that). So an endpoint learnt
/// by roaming stays until the operator changes his mind. Where nothing is remembered the site
/// file wins.
pub(super) fn difference(
    observed: &BTreeMap<PublicKey, ObservedPeer>,
    desired: &[LinkPeer],
    configured: &ConfiguredEndpoints,
) -> Vec<PeerChange> {
    let wanted: BTreeSet<PublicKey> = desired.iter().map(|peer| peer.public_key).collect();
    let removed =
        observed.keys().filter(|key| !wanted.contains(key)).map(|key| PeerChange::Remove(*key));
    let set = desired.iter().filter_map(|peer| match observed.get(&peer.public_key) {
        Some(present) => alteration(present, peer, configured.of(&peer.public_key)),
        None => Some(addition(peer)),
    });
    removed.chain(set).collect()
}

fn addition(peer: &LinkPeer) -> PeerChange {
    PeerChange::Set {
        key: peer.public_key,
        endpoint: peer.endpoint,
        keepalive: peer.keepalive.map(NonZeroU16::get),
        allowed: Some(allowed(peer)),
        clear_preshared_key: false,
    }
}

fn alteration(
    present: &ObservedPeer,
    peer: &LinkPeer,
    configured: Option<SocketAddr>,
) -> Option<PeerChange> {
    let endpoint = peer.endpoint.filter(|wanted| {
        present.endpoint.is_none()
            || (configured != Some(*wanted) && present.endpoint != Some(*wanted))
    });
    let keepalive =
        (present.keepalive != peer.keepalive).then(|| peer.keepalive.map_or(0, NonZeroU16::get));
    let wanted = allowed(peer);
    let allowed = (present.allowed != wanted).then_some(wanted);
    let clear_preshared_key = present.preshared_key;
    let changes =
        endpoint.is_some() || keepalive.is_some() || allowed.is_some() || clear_preshared_key;
    changes.then_some(PeerChange::Set {
        key: peer.public_key,
        endpoint,
        keepalive,
        allowed,
        clear_preshared_key,
    })
}

fn allowed(peer: &LinkPeer) -> BTreeSet<(IpAddr, u8)> {
    peer.transit.iter().map(|net| (IpAddr::V4(net.network()), net.prefix_len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey::from(wireguard_control::Key([byte; 32]))
    }

    fn peer(byte: u8, endpoint: Option<&str>) -> LinkPeer {
        LinkPeer {
            site: format!("site-{byte}"),
            public_key: key(byte),
            endpoint: endpoint.map(|text| text.parse().unwrap()),
            keepalive: NonZeroU16::new(25),
            transit: vec![format!("240.0.{byte}.0/24").parse().unwrap()],
        }
    }

    fn present(peer: &LinkPeer) -> (PublicKey, ObservedPeer) {
        let observed = ObservedPeer {
            endpoint: peer.endpoint,
            keepalive: peer.keepalive,
            allowed: allowed(peer),
            ..ObservedPeer::default()
        };
        (peer.public_key, observed)
    }

    fn set(change: &[PeerChange]) -> &PeerChange {
        assert_eq!(change.len(), 1, "{change:?}");
        &change[0]
    }

    #[test]
    fn equal_peers_need_no_change_and_new_ones_are_sent_whole() {
        let desired = [peer(1, Some("192.0.2.1:1")), peer(2, None)];
        let none = ConfiguredEndpoints::default();
        let observed = desired.iter().map(present).collect();
        assert_eq!(difference(&observed, &desired, &none), []);

        let change = difference(&BTreeMap::new(), &desired, &none);
        assert_eq!(change, [addition(&desired[0]), addition(&desired[1])]);
    }

    #[test]
    fn a_peer_no_longer_wanted_is_removed_and_the_others_stay_untouched() {
        let (kept, gone) = (peer(1, None), peer(2, None));
        let observed = [present(&kept), present(&gone)].into();
        let change = difference(&observed, &[kept], &ConfiguredEndpoints::default());
        assert_eq!(change, [PeerChange::Remove(gone.public_key)]);
    }

    #[test]
    fn changed_prefixes_replace_the_list_and_nothing_else() {
        let before = peer(1, Some("192.0.2.1:1"));
        let mut after = before.clone();
        after.transit.push("240.9.0.0/16".parse().unwrap());
        let observed = [present(&before)].into();
        let change = difference(&observed, &[after.clone()], &ConfiguredEndpoints::default());
        let expected = PeerChange::Set {
            key: after.public_key,
            endpoint: None,
            keepalive: None,
            allowed: Some(allowed(&after)),
            clear_preshared_key: false,
        };
        assert_eq!(set(&change), &expected);
    }

    #[test]
    fn keepalive_is_changed_and_switched_off() {
        let before = peer(1, None);
        let observed = [present(&before)].into();
        for (wanted, sent) in [(NonZeroU16::new(10), 10), (None, 0)] {
            let after = LinkPeer { keepalive: wanted, ..before.clone() };
            let change = difference(&observed, &[after], &ConfiguredEndpoints::default());
            assert!(
                matches!(set(&change), PeerChange::Set { keepalive: Some(seconds), endpoint: None, allowed: None, .. } if *seconds == sent),
                "{change:?}"
            );
        }
    }

    #[test]
    fn a_foreign_preshared_key_is_cleared() {
        let wanted = peer(1, None);
        let (key, mut observed) = present(&wanted);
        observed.preshared_key = true;
        let change = difference(&[(key, observed)].into(), &[wanted], &Default::default());
        assert!(matches!(set(&change), PeerChange::Set { clear_preshared_key: true, .. }));
    }

    #[test]
    fn a_roamed_endpoint_stays_until_the_configured_one_changes() {
        let wanted = peer(1, Some("192.0.2.1:1"));
        let (key, mut observed) = present(&wanted);
        observed.endpoint = Some("198.51.100.7:4242".parse().unwrap());
        let observed = [(key, observed)].into();

        let remembered = ConfiguredEndpoints::from_peers(std::slice::from_ref(&wanted));
        assert_eq!(difference(&observed, std::slice::from_ref(&wanted), &remembered), []);

        let moved = peer(1, Some("192.0.2.9:9"));
        let change = difference(&observed, std::slice::from_ref(&moved), &remembered);
        assert!(
            matches!(set(&change), PeerChange::Set { endpoint, .. } if *endpoint == moved.endpoint)
        );

        let nothing_remembered = ConfiguredEndpoints::default();
        let change = difference(&observed, std::slice::from_ref(&wanted), &nothing_remembered);
        assert!(
            matches!(set(&change), PeerChange::Set { endpoint, .. } if *endpoint == wanted.endpoint)
        );

        let dials_us = peer(1, None);
        assert_eq!(difference(&observed, &[dials_us], &remembered), []);
    }
}
