//! Interfaces and peers: nothing used twice, and every remote site reached once.

use std::collections::BTreeMap;

use super::Problems;
use super::sites::{Names, Which};
use crate::model::{ModelError, Peer, Place, SiteDraft, SiteName, Table};

pub(super) fn interfaces(draft: &SiteDraft, problems: &mut Problems) {
    let lans = draft.lans.iter().enumerate();
    let lans = lans.map(|(index, lan)| (&lan.interface, Place::whole(Table::Lan, index)));
    let link = (&draft.link.interface, Place::whole(Table::Link, 0));
    let mut seen = BTreeMap::new();
    for (interface, place) in lans.chain([link]) {
        if seen.insert(interface, ()).is_some() {
            problems.push(
                place.field("interface"),
                ModelError::DuplicateInterface { interface: interface.clone() },
            );
        }
    }
}

/// Which peer reaches each remote site, by the peer's own site.
pub(super) fn reached(
    draft: &SiteDraft,
    names: &Names,
    problems: &mut Problems,
) -> BTreeMap<SiteName, SiteName> {
    let mut reached: BTreeMap<SiteName, SiteName> = BTreeMap::new();
    for (index, peer) in draft.peers.iter().enumerate() {
        let place = Place::whole(Table::Peer, index);
        let relayed = peer.reaches.iter().enumerate();
        let relayed = relayed.map(|(n, site)| (site, place.field("reaches").item(n)));
        for (site, place) in std::iter::once((&peer.site, place.field("site"))).chain(relayed) {
            match names.get(site) {
                None => problems.push(
                    place,
                    ModelError::PeerSiteUnknown { peer: peer.site.clone(), site: site.clone() },
                ),
                Some(Which::Here) => problems.push(
                    place,
                    ModelError::PeerIsHere { peer: peer.site.clone(), site: site.clone() },
                ),
                Some(Which::Remote(_)) => {
                    if let Some(earlier) = reached.insert(site.clone(), peer.site.clone()) {
                        problems.push(
                            place,
                            ModelError::ReachedTwice {
                                site: site.clone(),
                                peer: earlier,
                                other: peer.site.clone(),
                            },
                        );
                    }
                }
            }
        }
    }
    addresses(draft, problems);
    for (index, site) in draft.remote_sites.iter().enumerate() {
        if !reached.contains_key(&site.name) {
            problems.push(
                Place::whole(Table::RemoteSite, index),
                ModelError::Unreached { site: site.name.clone() },
            );
        }
    }
    reached
}

fn addresses(draft: &SiteDraft, problems: &mut Problems) {
    let mut keys: BTreeMap<_, &Peer> = BTreeMap::new();
    let mut endpoints: BTreeMap<_, &Peer> = BTreeMap::new();
    for (index, peer) in draft.peers.iter().enumerate() {
        let place = Place::whole(Table::Peer, index);
        if let Some(other) = keys.insert(peer.public_key, peer) {
            problems.push(
                place.field("public_key"),
                ModelError::DuplicateKey { peer: peer.site.clone(), other: other.site.clone() },
            );
        }
        let Some(endpoint) = peer.endpoint else {
            if draft.link.listen_port.is_none() {
                problems.push(place, ModelError::NobodyDials { peer: peer.site.clone() });
            }
            continue;
        };
        if let Some(other) = endpoints.insert(endpoint, peer) {
            problems.push(
                place.field("endpoint"),
                ModelError::DuplicateEndpoint {
                    peer: peer.site.clone(),
                    other: other.site.clone(),
                    endpoint,
                },
            );
        }
        if endpoint.ipv4().is_some_and(|ip| draft.transit_pool.prefix().contains(&ip)) {
            problems.push(
                place.field("endpoint"),
                ModelError::EndpointInTransitPool {
                    peer: peer.site.clone(),
                    endpoint,
                    pool: draft.transit_pool,
                },
            );
        }
    }
}
