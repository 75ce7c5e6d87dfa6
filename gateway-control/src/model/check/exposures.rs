//! Client presences of their own: in the pool, in nobody else's way, and enough for every client that a
//! rule admits.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::sites::{Names, Which};
use super::{Networks, Problems};
use crate::model::{
    ClientPresences, Clients, ExposureError, Network, Place, ServiceDraft, ServiceId, SiteDraft,
    SiteName, Table,
};

/// Presences that are taken, by whom.
struct Taken<'a> {
    addresses: Ipv4Net,
    site: &'a SiteName,
    from: Network,
    service: &'a ServiceId,
}

pub(super) fn check(
    draft: &SiteDraft,
    names: &Names,
    networks: Option<&Networks>,
    problems: &mut Problems,
) {
    let mut taken: Vec<Taken<'_>> = Vec::new();
    let here = |service: &&ServiceDraft| service.id.site == draft.site.name;
    for (index, service) in draft.services.iter().enumerate().filter(|(_, it)| here(it)) {
        let place = Place::whole(Table::Service, index).field("exposures");
        for (n, exposure) in service.exposures.iter().enumerate() {
            let (place, id) = (place.item(n), &service.id);
            let Some(Which::Remote(site)) = names.get(&exposure.site) else {
                let (service, site) = (id.clone(), exposure.site.clone());
                problems.push(place, ExposureError::NoSite { service, site });
                continue;
            };
            if service.exposures[..n].iter().any(|earlier| earlier.site == exposure.site) {
                let (service, site) = (id.clone(), exposure.site.clone());
                problems.push(place, ExposureError::Twice { service, site });
            }
            let ClientPresences::PerClient { from, presences } = exposure.clients else { continue };
            if let Some(networks) = networks.and_then(|it| it.remote.get(*site))
                && networks.first_index(from.prefix()).is_none()
            {
                let (service, site) = (id.clone(), exposure.site.clone());
                let error =
                    ExposureError::FromOutside { service, site, from, networks: networks.clone() };
                problems.push(place, error);
            }
            let pool = draft.site.presence_pool;
            if !pool.prefix().contains(&presences.prefix()) {
                let service = id.clone();
                let error = ExposureError::OutsidePool { service, presences, pool };
                problems.push(place, error);
            }
            if presences.size() < from.size() {
                let service = id.clone();
                problems.push(place, ExposureError::TooSmall { service, from, presences });
                continue;
            }
            let Some(addresses) = exposure.clients.addresses() else { continue };
            if let Some(address) = assigned(draft, addresses) {
                let service = id.clone();
                let error = ExposureError::OnPresence { service, presences, address };
                problems.push(place, error);
            }
            let new = Taken { addresses, site: &exposure.site, from, service: id };
            match taken.iter().find(|held| held.collides(&new)) {
                Some(held) => {
                    let (service, other) = (id.clone(), held.service.clone());
                    let error = ExposureError::Overlap { service, presences, other };
                    problems.push(place, error);
                }
                None => taken.push(new),
            }
            admitted(draft, service, &exposure.site, from, problems);
        }
    }
}

impl Taken<'_> {
    /// The same clients may appear as the same addresses at several services.
    fn collides(&self, other: &Self) -> bool {
        let same =
            self.addresses == other.addresses && self.site == other.site && self.from == other.from;
        !same
            && (self.addresses.contains(&other.addresses)
                || other.addresses.contains(&self.addresses))
    }
}

/// A presence among `addresses` that stands for something else.
fn assigned(draft: &SiteDraft, addresses: Ipv4Net) -> Option<Ipv4Addr> {
    let services = draft.services.iter().filter_map(|service| service.presence);
    draft.site.client_presence.into_iter().chain(services).find(|it| addresses.contains(it))
}

/// Every client that a rule lets use the service must have a presence.
fn admitted(
    draft: &SiteDraft,
    service: &ServiceDraft,
    site: &SiteName,
    from: Network,
    problems: &mut Problems,
) {
    for (index, rule) in draft.allows.iter().enumerate() {
        if rule.service != service.id || rule.subject.site != *site {
            continue;
        }
        let place = Place::whole(Table::Allow, index);
        let error = |clients: String| ExposureError::Misses {
            rule: rule.id.clone(),
            clients,
            service: service.id.clone(),
            from,
        };
        match &rule.subject.clients {
            Clients::All => problems.push(place, error(format!("every client of {site}"))),
            Clients::In(prefixes) => {
                for (n, prefix) in prefixes.iter().enumerate() {
                    if !from.prefix().contains(prefix) {
                        problems.push(place.field("clients").item(n), error(prefix.to_string()));
                    }
                }
            }
        }
    }
}
