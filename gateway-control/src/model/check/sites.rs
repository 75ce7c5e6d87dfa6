//! Sites against each other: names, transit blocks, client networks, the presence pool.

use std::collections::BTreeMap;

use gateway_common::map::Settings;

use super::{Networks, Problems};
use crate::model::{
    ClientNetworks, ModelError, Network, Place, SiteDraft, SiteName, Table, TransitBlock,
};

/// Which site a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// This one.
    Here,
    /// The remote site of this index.
    Remote(usize),
}

pub(super) type Names = BTreeMap<SiteName, Which>;

pub(super) fn names(draft: &SiteDraft, problems: &mut Problems) -> Names {
    let mut names = Names::from([(draft.site.name.clone(), Which::Here)]);
    for (index, site) in draft.remote_sites.iter().enumerate() {
        if names.contains_key(&site.name) {
            problems.push(
                Place::whole(Table::RemoteSite, index).field("name"),
                ModelError::DuplicateSite { site: site.name.clone() },
            );
        } else {
            names.insert(site.name.clone(), Which::Remote(index));
        }
    }
    names
}

/// Name, block and place of the block of every site, this one first.
fn all_blocks(draft: &SiteDraft) -> Vec<(TransitBlock, Place, &SiteName)> {
    let own = (draft.site.transit, Place::whole(Table::Site, 0).field("transit"), &draft.site.name);
    let remote = draft.remote_sites.iter().enumerate().map(|(index, site)| {
        (site.transit, Place::whole(Table::RemoteSite, index).field("transit"), &site.name)
    });
    std::iter::once(own).chain(remote).collect()
}

pub(super) fn blocks(draft: &SiteDraft, problems: &mut Problems) {
    let mut blocks = all_blocks(draft);
    for (block, place, site) in &blocks {
        if !draft.transit_pool.contains(*block) {
            problems.push(
                *place,
                ModelError::BlockOutsidePool {
                    site: (*site).clone(),
                    block: *block,
                    pool: draft.transit_pool,
                },
            );
        }
    }
    // Sorted, a block that overlaps any other overlaps the last one that reaches furthest: prefixes
    // nest, so it is enough to remember that one.
    blocks.sort();
    let mut outer: Option<(TransitBlock, Place, &SiteName)> = None;
    for inner in blocks {
        let Some(found) = outer.filter(|outer| outer.0.overlaps(inner.0)) else {
            outer = Some(inner);
            continue;
        };
        let (earlier, later) = if found.1 < inner.1 { (found, inner) } else { (inner, found) };
        problems.push(
            later.1,
            ModelError::BlocksOverlap {
                site: later.2.clone(),
                block: later.0,
                other: earlier.2.clone(),
                other_block: earlier.0,
            },
        );
    }
}

pub(super) fn presence_pool(draft: &SiteDraft, problems: &mut Problems) {
    let place = Place::whole(Table::Site, 0);
    let pool = draft.site.presence_pool;
    if draft.transit_pool.overlaps(pool.network()) {
        problems.push(
            place.field("presence_pool"),
            ModelError::NetworkInTransitPool {
                site: draft.site.name.clone(),
                network: pool.network(),
                pool: draft.transit_pool,
            },
        );
    }
    if let Some(address) = draft.site.client_presence
        && pool.offset(address).is_none()
    {
        problems.push(
            place.field("client_presence"),
            ModelError::ClientPresenceOutside { site: draft.site.name.clone(), address, pool },
        );
    }
}

/// `None` if any site's networks overlap, so that no client has an index of its own.
pub(super) fn networks(draft: &SiteDraft, problems: &mut Problems) -> Option<Networks> {
    let mut own = Vec::new();
    for (index, lan) in draft.lans.iter().enumerate() {
        let place = Place::whole(Table::Lan, index).field("networks");
        own.extend(lan.networks.iter().enumerate().map(|(n, net)| (*net, place.item(n))));
    }
    let behind_lans = own.len();
    if let Some(host) = &draft.host {
        let place = Place::whole(Table::Host, 0).field("networks");
        own.extend(host.networks.iter().enumerate().map(|(n, net)| (*net, place.item(n))));
    }
    for (network, place) in &own {
        if draft.site.presence_pool.prefix().contains(&network.prefix()) {
            problems.push(
                *place,
                ModelError::NetworkInPool {
                    site: draft.site.name.clone(),
                    network: *network,
                    pool: draft.site.presence_pool,
                },
            );
        }
    }
    if behind_lans > Settings::LAN_NETWORKS {
        problems.push(
            own.get(Settings::LAN_NETWORKS)
                .map_or(Place::whole(Table::Lan, 0), |(_, place)| *place),
            ModelError::TooManyNetworks {
                site: draft.site.name.clone(),
                count: behind_lans,
                most: Settings::LAN_NETWORKS,
            },
        );
    }
    let own = networks_of(draft, &draft.site.name, draft.site.transit, own, problems);
    let mut remote = Vec::new();
    for (index, site) in draft.remote_sites.iter().enumerate() {
        let place = Place::whole(Table::RemoteSite, index).field("client_networks");
        let networks = site.client_networks.iter().enumerate();
        let networks = networks.map(|(n, net)| (*net, place.item(n))).collect();
        remote.push(networks_of(draft, &site.name, site.transit, networks, problems));
    }
    Some(Networks { own: own?, remote: remote.into_iter().collect::<Option<_>>()? })
}

fn networks_of(
    draft: &SiteDraft,
    site: &SiteName,
    block: TransitBlock,
    networks: Vec<(Network, Place)>,
    problems: &mut Problems,
) -> Option<ClientNetworks> {
    for (network, place) in &networks {
        if draft.transit_pool.overlaps(*network) {
            problems.push(
                *place,
                ModelError::NetworkInTransitPool {
                    site: site.clone(),
                    network: *network,
                    pool: draft.transit_pool,
                },
            );
        }
    }
    let Some((_, last)) = networks.last().copied() else {
        return Some(ClientNetworks::default());
    };
    let checked = ClientNetworks::new(networks.iter().map(|(network, _)| *network).collect());
    let checked = match checked {
        Ok(checked) => checked,
        Err((first, second)) => {
            let place = networks.iter().rev().find(|(net, _)| *net == first || *net == second);
            problems.push(
                place.map_or(last, |(_, place)| *place),
                ModelError::NetworksOverlap { site: site.clone(), first, second },
            );
            return None;
        }
    };
    if checked.size() > u64::from(block.half()) {
        problems.push(
            last,
            ModelError::NetworksTooLarge {
                site: site.clone(),
                addresses: checked.size(),
                block,
                room: block.half(),
            },
        );
    }
    Some(checked)
}
