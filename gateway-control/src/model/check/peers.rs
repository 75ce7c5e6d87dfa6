//! Interfaces and peers: nothing used twice, and every remote site reached once.

use std::collections::BTreeMap;

use super::Problems;
use super::sites::{Names, Which};
use crate::model::{
    Endpoint, ModelError, Peer, PeerError, Place, PublicKey, SiteDraft, SiteName, Table,
};

pub(super) fn interfaces(draft: &SiteDraft, problems: &mut Problems) {
    let lans = draft.lans.iter().enumerate();
    let lans = lans.map(|(index, lan)| (&lan.interface, Place::whole(Table::Lan, index)));
    let link = (&draft.link.interface, Place::whole(Table::Link, 0));
    let mut seen = BTreeMap::new();
    let place = Place::whole(Table::Host, 0);
    let far = draft.host.as_ref().map(|host| (host.far_interface(), place));
    let host = draft.host.as_ref().map(|host| (&host.interface, place));
    let host = host.into_iter().chain(far.as_ref().map(|(name, place)| (name, *place)));
    for (interface, place) in lans.chain([link]).chain(host) {
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
                    PeerError::SiteUnknown { peer: peer.site.clone(), site: site.clone() },
                ),
                Some(Which::Here) => problems
                    .push(place, PeerError::IsHere { peer: peer.site.clone(), site: site.clone() }),
                Some(Which::Remote(_)) => {
                    if let Some(earlier) = reached.insert(site.clone(), peer.site.clone()) {
                        problems.push(
                            place,
                            PeerError::ReachedTwice {
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
                PeerError::Unreached { site: site.name.clone() },
            );
        }
    }
    reached
}

fn addresses(draft: &SiteDraft, problems: &mut Problems) {
    let mut keys: BTreeMap<PublicKey, &Peer> = BTreeMap::new();
    let mut endpoints: BTreeMap<Endpoint, &Peer> = BTreeMap::new();
    for (index, peer) in draft.peers.iter().enumerate() {
        let place = Place::whole(Table::Peer, index);
        let next = peer.next.as_ref();
        let next_key = next.and_then(|next| next.public_key);
        if next_key == Some(peer.public_key) {
            problems.push(
                place.field("next.public_key"),
                PeerError::NextKeyIsCurrent { peer: peer.site.clone() },
            );
        }
        let named = [(Some(peer.public_key), "public_key"), (next_key, "next.public_key")];
        for (key, field) in named {
            let other = key.and_then(|key| keys.insert(key, peer));
            if let Some(other) = other.filter(|other| other.site != peer.site) {
                problems.push(
                    place.field(field),
                    PeerError::DuplicateKey { peer: peer.site.clone(), other: other.site.clone() },
                );
            }
        }
        if peer.endpoints.is_empty() && draft.link.listen_port.is_none() {
            problems.push(place, PeerError::NobodyDials { peer: peer.site.clone() });
        }
        let next_endpoints = next.map_or(&[][..], |next| &next.endpoints);
        let (one, several) = ("endpoint", "endpoints");
        let (next_one, next_several) = ("next.endpoint", "next.endpoints");
        for (list, one, several) in
            [(&peer.endpoints[..], one, several), (next_endpoints, next_one, next_several)]
        {
            let place = |n| match list {
                [_] => place.field(one),
                _ => place.field(several).item(n),
            };
            for (n, endpoint) in list.iter().enumerate() {
                if list[..n].contains(endpoint) {
                    let (peer, endpoint) = (peer.site.clone(), *endpoint);
                    problems.push(place(n), PeerError::EndpointTwice { peer, endpoint });
                    continue;
                }
                one_endpoint(draft, peer, *endpoint, place(n), &mut endpoints, problems);
            }
        }
    }
}

fn one_endpoint<'a>(
    draft: &SiteDraft,
    peer: &'a Peer,
    endpoint: Endpoint,
    place: Place,
    endpoints: &mut BTreeMap<Endpoint, &'a Peer>,
    problems: &mut Problems,
) {
    let other = endpoints.insert(endpoint, peer).filter(|other| other.site != peer.site);
    if let Some(other) = other {
        let (peer, other) = (peer.site.clone(), other.site.clone());
        problems.push(place, PeerError::DuplicateEndpoint { peer, other, endpoint });
    }
    if endpoint.ipv4().is_some_and(|ip| draft.transit_pool.prefix().contains(&ip)) {
        let (peer, pool) = (peer.site.clone(), draft.transit_pool);
        problems.push(place, PeerError::EndpointInTransitPool { peer, endpoint, pool });
    }
}

/// The second device, where the file asks for one.
pub(super) fn next(draft: &SiteDraft, problems: &mut Problems) {
    let link = &draft.link;
    let place = Place::whole(Table::Link, 0);
    let next = link.next.as_ref();
    if next.is_none() && draft.peers.iter().all(|peer| peer.next.is_none()) {
        return;
    }
    let port = next.and_then(|next| next.listen_port);
    if let Some(port) = port.filter(|port| Some(*port) == link.listen_port) {
        problems.push(
            place.field("next.listen_port"),
            PeerError::NextPortIsCurrent { port: port.get() },
        );
    }
    let interface = link.second_interface();
    if draft.lans.iter().any(|lan| lan.interface == interface) {
        problems.push(place.field("interface"), PeerError::SecondInterfaceTaken { interface });
    }
    let new_key = next.is_some_and(|next| next.private_key_file.is_some());
    for (index, peer) in draft.peers.iter().enumerate() {
        let endpoints = peer.next.as_ref().map_or(&[][..], |next| &next.endpoints);
        if (new_key || peer.next.is_some()) && endpoints.is_empty() && port.is_none() {
            problems.push(
                Place::whole(Table::Peer, index),
                PeerError::NobodyDialsNext { peer: peer.site.clone() },
            );
        }
    }
}
