//! Services: each at a known site, with a number, and with a back end or a presence of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use gateway_common::map::{self, Map};

use super::sites::{Names, Which};
use super::{Networks, Problems};
use crate::model::{
    ExposureError, LocalService, ModelError, Place, RemoteService, ServiceDraft, ServiceId,
    ServiceNumber, SiteDraft, SiteName, Table, TransitBlock,
};
use crate::prefixes::port_blocks;
use crate::serving::slots;

pub(super) fn check(
    draft: &SiteDraft,
    names: &Names,
    networks: Option<&Networks>,
    problems: &mut Problems,
) -> (Vec<LocalService>, Vec<RemoteService>) {
    let mut local = Vec::new();
    let mut remote = Vec::new();
    unique(draft, problems);
    port_room(draft, problems);
    slot_room(draft, problems);
    let first_here = draft.services.iter().find(|service| service.id.site == draft.site.name);
    if let (Some(first), None) = (first_here, draft.site.client_presence) {
        problems.push(
            Place::whole(Table::Site, 0),
            ModelError::NoClientPresence { service: first.id.clone() },
        );
    }
    for (index, service) in draft.services.iter().enumerate() {
        let place = Place::whole(Table::Service, index);
        match names.get(&service.id.site) {
            None => problems.push(
                place.field("site"),
                ModelError::ServiceSiteUnknown { service: service.id.clone() },
            ),
            Some(Which::Here) => {
                local.extend(here(draft, service, place, networks, problems));
            }
            Some(Which::Remote(site)) => {
                remote.extend(elsewhere(draft, *site, service, place, problems));
            }
        }
    }
    (local, remote)
}

fn unique(draft: &SiteDraft, problems: &mut Problems) {
    let mut ids: BTreeMap<&ServiceId, ()> = BTreeMap::new();
    let mut numbers: BTreeMap<(&SiteName, ServiceNumber), &ServiceId> = BTreeMap::new();
    let mut presences: BTreeMap<Ipv4Addr, &ServiceId> = BTreeMap::new();
    for (index, service) in draft.services.iter().enumerate() {
        let place = Place::whole(Table::Service, index);
        let id = &service.id;
        if ids.insert(id, ()).is_some() {
            problems
                .push(place.field("name"), ModelError::DuplicateService { service: id.clone() });
        }
        let number = service.number;
        if let Some(other) = numbers.insert((&id.site, number), id) {
            problems.push(
                place.field("number"),
                ModelError::DuplicateNumber { service: id.clone(), other: other.clone(), number },
            );
        }
        if let Some(presence) = service.presence
            && let Some(other) = presences.insert(presence, id)
        {
            problems.push(
                place.field("presence"),
                ModelError::DuplicatePresence {
                    service: id.clone(),
                    other: other.clone(),
                    presence,
                },
            );
        }
    }
}

fn port_room(draft: &SiteDraft, problems: &mut Problems) {
    let mut count = 0;
    for (index, service) in draft.services.iter().enumerate() {
        count += service.ports.specs().iter().map(|spec| port_blocks(*spec).count()).sum::<usize>();
        if count > map::Ports::CAPACITY as usize {
            problems.push(
                Place::whole(Table::Service, index).field("ports"),
                ModelError::TooManyPorts {
                    service: service.id.clone(),
                    count,
                    most: map::Ports::CAPACITY,
                },
            );
            return;
        }
    }
}

fn slot_room(draft: &SiteDraft, problems: &mut Problems) {
    let mut count = 0;
    for (index, service) in draft.services.iter().enumerate() {
        count += u64::from(slots(&service.backends));
        if count > u64::from(map::Slots::CAPACITY) {
            let (service, most) = (service.id.clone(), map::Slots::CAPACITY);
            let place = Place::whole(Table::Service, index).field("backends");
            problems.push(place, ModelError::TooManySlots { service, count, most });
            return;
        }
    }
}

fn here(
    draft: &SiteDraft,
    service: &ServiceDraft,
    place: Place,
    networks: Option<&Networks>,
    problems: &mut Problems,
) -> Option<LocalService> {
    let id = &service.id;
    let transit = transit(draft.site.transit, service, place, problems);
    if service.presence.is_some() {
        problems.push(place.field("presence"), ModelError::PresenceHere { service: id.clone() });
    }
    if service.backends.is_empty() {
        problems.push(place, ModelError::NoBackend { service: id.clone() });
        return None;
    }
    for (item, backend) in service.backends.iter().enumerate() {
        let place = place.field("backends").item(item);
        check_backend(draft, id, backend.address, place, networks, problems);
    }
    Some(LocalService {
        id: id.clone(),
        number: service.number,
        transit: transit?,
        ports: service.ports.clone(),
        backends: service.backends.clone(),
        health: service.health.clone(),
        client_presence: draft.site.client_presence?,
        exposures: service.exposures.clone(),
    })
}

fn check_backend(
    draft: &SiteDraft,
    id: &ServiceId,
    backend: Ipv4Addr,
    place: Place,
    networks: Option<&Networks>,
    problems: &mut Problems,
) {
    let pool = draft.site.presence_pool;
    if pool.offset(backend).is_some() {
        problems.push(place, ModelError::BackendInPool { service: id.clone(), backend, pool });
    } else if let Some(Networks { own, .. }) = networks
        && own.index(backend).is_none()
    {
        problems.push(
            place,
            ModelError::BackendOutside { service: id.clone(), backend, networks: own.clone() },
        );
    }
}

fn elsewhere(
    draft: &SiteDraft,
    site: usize,
    service: &ServiceDraft,
    place: Place,
    problems: &mut Problems,
) -> Option<RemoteService> {
    let id = &service.id;
    if !service.exposures.is_empty() {
        problems.push(place.field("exposures"), ExposureError::Elsewhere { service: id.clone() });
    }
    let transit = transit(draft.remote_sites.get(site)?.transit, service, place, problems);
    if !service.backends.is_empty() {
        let place = place.field("backends");
        problems.push(place, ModelError::BackendElsewhere { service: id.clone() });
    }
    if service.health.is_some() {
        problems.push(place.field("health"), ModelError::HealthElsewhere { service: id.clone() });
    }
    let Some(presence) = service.presence else {
        problems.push(place, ModelError::NoPresence { service: id.clone() });
        return None;
    };
    let pool = draft.site.presence_pool;
    if pool.offset(presence).is_none() {
        problems.push(
            place.field("presence"),
            ModelError::PresenceOutside { service: id.clone(), presence, pool },
        );
    } else if draft.site.client_presence == Some(presence) {
        problems.push(
            place.field("presence"),
            ModelError::PresenceIsClientPresence { service: id.clone(), presence },
        );
    }
    Some(RemoteService {
        id: id.clone(),
        number: service.number,
        transit: transit?,
        ports: service.ports.clone(),
        presence,
    })
}

fn transit(
    block: TransitBlock,
    service: &ServiceDraft,
    place: Place,
    problems: &mut Problems,
) -> Option<Ipv4Addr> {
    let address = block.service(service.number);
    if address.is_none() {
        problems.push(
            place.field("number"),
            ModelError::ServiceNumber {
                service: service.id.clone(),
                number: service.number,
                block,
                most: block.half() - 1,
            },
        );
    }
    address
}
