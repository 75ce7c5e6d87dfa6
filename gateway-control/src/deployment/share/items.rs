//! Each item of a share from the deployment and the record, and which items a resource has a part in.

use std::collections::BTreeSet;

use gateway_policy::{AllowRule, Clients, ServiceId, SiteName, Subject};

use super::{Item, ItemKey, KnownSite, LinkedGateway, Own, PolicyRule};
use crate::deployment::Deployment;
use crate::deployment::allocation::{Recorded, Settled, Stands};
use crate::model::{self, ServiceDraft};
use crate::resource::{Key, Origin, PolicyName, Role, Site};

/// An item of a site's share; `None` if the share has no such item.
pub fn item(
    deployment: &Deployment,
    recorded: &Recorded,
    site: &SiteName,
    key: &ItemKey,
) -> Option<Item> {
    let here = deployment.site(site)?;
    let barred = |name: &SiteName| deployment.is_barred(name);
    let is_of_barred = match key {
        ItemKey::Own => false,
        ItemKey::Peer(name) | ItemKey::Remote(name) => barred(name),
        ItemKey::Service(id) => barred(&id.site),
        ItemKey::Rule(policy, n, from) => {
            let rule = deployment.policy(policy).and_then(|policy| policy.rules.get(*n));
            barred(from) || rule.is_some_and(|rule| barred(&rule.to.site))
        }
    };
    if is_of_barred || barred(site) {
        return None;
    }
    match key {
        ItemKey::Own => own(deployment, recorded, here).map(Item::Own),
        ItemKey::Peer(name) => {
            let far = deployment.site(name).filter(|it| deployment.is_linked(here, it))?;
            let gateway = deployment.gateway_of(&far.name)?;
            Some(Item::Peer(LinkedGateway {
                site: far.name.clone(),
                public_key: gateway.public_key,
                endpoints: gateway.endpoints.clone(),
            }))
        }
        ItemKey::Remote(name) => {
            let far = deployment.site(name).filter(|far| knows(deployment, here, far))?;
            known(deployment, recorded, here, far).map(Item::Remote)
        }
        ItemKey::Service(id) if id.site == *site => {
            local(deployment, recorded, id).map(Item::Service)
        }
        ItemKey::Service(id) => remote(deployment, recorded, site, id).map(Item::Service),
        ItemKey::Rule(policy, n, from) => rule(deployment, site, policy, *n, from).map(Item::Rule),
    }
}

fn own(deployment: &Deployment, recorded: &Recorded, here: &Site) -> Option<Own> {
    Some(Own {
        transit_pool: deployment.transit_pool(),
        site: model::Site {
            name: here.name.clone(),
            transit: recorded.transit(&here.name)?,
            presence_pool: here.presence_pool,
            client_presence: recorded.presence(&here.name, &Stands::Clients),
        },
        client_networks: here.client_networks.clone(),
        relay: here.role == Role::Cloud,
    })
}

/// Whether a site's gateway must know another: they have a link or a service between them, or it is a
/// hub, through which any two may talk.
fn knows(deployment: &Deployment, here: &Site, far: &Site) -> bool {
    here.name != far.name
        && (here.role == Role::Cloud
            || deployment.is_linked(here, far)
            || deployment.uses(&here.name, &far.name)
            || deployment.uses(&far.name, &here.name))
}

fn known(
    deployment: &Deployment,
    recorded: &Recorded,
    here: &Site,
    far: &Site,
) -> Option<KnownSite> {
    let via = match (here.role, far.role) {
        (Role::Edge, _) => deployment.hub(here)?,
        (Role::Cloud, Role::Cloud) => &far.name,
        (Role::Cloud, Role::Edge) => match deployment.hub(far)? {
            hub if *hub == here.name => &far.name,
            hub => hub,
        },
    };
    let used = deployment.uses(&far.name, &here.name);
    let networks = far.client_networks.indexed().map(|(network, _)| network);
    Some(KnownSite {
        name: far.name.clone(),
        transit: recorded.transit(&far.name)?,
        client_networks: networks.filter(|_| used).collect(),
        via: via.clone(),
    })
}

fn local(deployment: &Deployment, recorded: &Recorded, id: &ServiceId) -> Option<ServiceDraft> {
    let service = deployment.service(id)?;
    let exposures = deployment.with_own_clients(id).filter_map(|site| {
        let from = deployment.clients_of_their_own(id, site)?;
        let clients = recorded.clients(id, site, from)?;
        Some(model::Exposure { site: site.clone(), clients })
    });
    Some(ServiceDraft {
        id: id.clone(),
        number: recorded.number(id)?,
        ports: service.ports.clone(),
        backends: service.backends.clone(),
        health: service.health.clone(),
        presence: None,
        exposures: exposures.collect(),
    })
}

fn remote(
    deployment: &Deployment,
    recorded: &Recorded,
    site: &SiteName,
    id: &ServiceId,
) -> Option<ServiceDraft> {
    deployment.exposure(id, site)?;
    Some(ServiceDraft {
        id: id.clone(),
        number: recorded.number(id)?,
        ports: deployment.service(id)?.ports.clone(),
        backends: Vec::new(),
        health: None,
        presence: Some(recorded.presence(site, &Stands::Service(id.clone()))?),
        exposures: Vec::new(),
    })
}

fn rule(
    deployment: &Deployment,
    site: &SiteName,
    policy: &PolicyName,
    place: usize,
    from: &SiteName,
) -> Option<PolicyRule> {
    let rule = deployment.policy(policy)?.rules.get(place)?;
    if (site != from && *site != rule.to.site) || !deployment.permits(rule, from) {
        return None;
    }
    deployment.exposure(&rule.to, from)?;
    let own = deployment.clients_of_their_own(&rule.to, from);
    let clients = match (&rule.clients, own) {
        // Those are all of its clients: the check refuses a rule that lets in more.
        (Clients::All, Some(network)) => Clients::In(vec![network.prefix()]),
        (clients, _) => clients.clone(),
    };
    let subject = Subject { site: from.clone(), clients };
    let rule = AllowRule { id: rule.id.clone(), subject, service: rule.to.clone() };
    Some(PolicyRule { policy: policy.clone(), place, rule })
}

/// An item of a share by its site.
pub(super) type Place = (SiteName, ItemKey);

/// Every item that a site's share may have.
pub fn keys(deployment: &Deployment, site: &SiteName) -> BTreeSet<ItemKey> {
    let mut found = BTreeSet::new();
    let Some(here) = deployment.site(site) else { return found };
    found.insert(ItemKey::Own);
    let neighbours = deployment.neighbours(here);
    found.extend(neighbours.iter().cloned().map(ItemKey::Peer));
    match here.role {
        Role::Cloud => found.extend(deployment.sites().keys().cloned().map(ItemKey::Remote)),
        Role::Edge => {
            let partners = deployment.partners(site).cloned();
            found.extend(neighbours.into_iter().chain(partners).map(ItemKey::Remote));
        }
    }
    for service in deployment.services_at(site) {
        found.insert(ItemKey::Service(service.id.clone()));
        for (client, _) in deployment.exposed_to(&service.id) {
            rules(deployment, &service.id, client, |key| {
                found.insert(key);
            });
        }
    }
    for id in deployment.used_by(site) {
        rules(deployment, &id, site, |key| {
            found.insert(key);
        });
        found.insert(ItemKey::Service(id));
    }
    found
}

fn rules(deployment: &Deployment, id: &ServiceId, from: &SiteName, mut each: impl FnMut(ItemKey)) {
    for (policy, n, _) in deployment.permissions(id, from) {
        each(ItemKey::Rule(policy.clone(), n, from.clone()));
    }
}

/// Items that a resource has a part in, of all shares. What a change touches is what this says before it
/// and after it.
pub fn footprint(deployment: &Deployment, key: &Key, found: &mut BTreeSet<Place>) {
    match key {
        Key::Site(name) => of_site(deployment, name, found),
        Key::Gateway(name) => {
            let site = deployment.gateways().get(name).map(|gateway| &gateway.site);
            let Some(site) = site.and_then(|name| deployment.site(name)) else { return };
            for neighbour in deployment.neighbours(site) {
                found.insert((neighbour, ItemKey::Peer(site.name.clone())));
            }
            // Whether the site is barred is said by its gateways together.
            if deployment.index.revoked.contains_key(&site.name) {
                of_site(deployment, &site.name, found);
                for service in deployment.services_at(&site.name) {
                    for (client, _) in deployment.exposed_to(&service.id) {
                        of_pair(deployment, &service.id, client, found);
                    }
                }
            }
        }
        Key::Service(id) => of_service(deployment, id, found),
        Key::Exposure(name) => {
            let Some(exposure) = deployment.exposures.get(name) else { return };
            let id = &exposure.service;
            found.insert((id.site.clone(), ItemKey::Service(id.clone())));
            for site in deployment.sites_of(exposure) {
                of_pair(deployment, id, site, found);
            }
        }
        Key::Policy(name) => {
            let rules = deployment.policy(name).into_iter().flat_map(|policy| &policy.rules);
            for (n, rule) in rules.enumerate() {
                let mut both = |from: &SiteName| {
                    let key = ItemKey::Rule(name.clone(), n, from.clone());
                    found.insert((from.clone(), key.clone()));
                    found.insert((rule.to.site.clone(), key));
                };
                match &rule.from {
                    Origin::Site(site) => both(site),
                    Origin::Labelled(_) => {
                        for (site, _) in deployment.exposed_to(&rule.to) {
                            if deployment.permits(rule, site) {
                                both(site);
                            }
                        }
                    }
                }
            }
        }
        Key::Token(_) => {}
    }
}

/// Items that changed allocations have a part in. A number changes only with its service, which has a part
/// in the same ones.
pub fn of_allocations(deployment: &Deployment, settled: &Settled, found: &mut BTreeSet<Place>) {
    for name in &settled.transit {
        found.insert((name.clone(), ItemKey::Own));
        of_known(deployment, name, found);
    }
    for (site, stands) in &settled.presences {
        let key = match stands {
            Stands::Clients => ItemKey::Own,
            Stands::ClientsOf(_, name) => {
                ItemKey::Service(ServiceId { site: site.clone(), name: name.clone() })
            }
            Stands::Service(id) => ItemKey::Service(id.clone()),
        };
        found.insert((site.clone(), key));
    }
}

fn of_service(deployment: &Deployment, id: &ServiceId, found: &mut BTreeSet<Place>) {
    let key = ItemKey::Service(id.clone());
    found.insert((id.site.clone(), key.clone()));
    found.extend(deployment.exposed_to(id).map(|(site, _)| (site.clone(), key.clone())));
}

/// A service and a site that it is exposed to.
fn of_pair(deployment: &Deployment, id: &ServiceId, site: &SiteName, found: &mut BTreeSet<Place>) {
    found.insert((site.clone(), ItemKey::Service(id.clone())));
    found.insert((id.site.clone(), ItemKey::Service(id.clone())));
    found.insert((site.clone(), ItemKey::Remote(id.site.clone())));
    found.insert((id.site.clone(), ItemKey::Remote(site.clone())));
    rules(deployment, id, site, |key| {
        found.insert((site.clone(), key.clone()));
        found.insert((id.site.clone(), key));
    });
}

fn of_site(deployment: &Deployment, name: &SiteName, found: &mut BTreeSet<Place>) {
    let Some(site) = deployment.site(name) else { return };
    found.extend(keys(deployment, name).into_iter().map(|key| (name.clone(), key)));
    of_known(deployment, name, found);
    for id in deployment.used_by(name) {
        of_pair(deployment, &id, name, found);
    }
    if site.role == Role::Cloud {
        for edge in deployment.homed(name) {
            found.extend(keys(deployment, edge).into_iter().map(|key| (edge.clone(), key)));
            of_known(deployment, edge, found);
        }
    }
}

/// What other sites have of a site.
fn of_known(deployment: &Deployment, name: &SiteName, found: &mut BTreeSet<Place>) {
    let Some(site) = deployment.site(name) else { return };
    let neighbours = deployment.neighbours(site);
    let others = neighbours.iter().chain(deployment.clouds()).chain(deployment.partners(name));
    for other in others {
        found.insert((other.clone(), ItemKey::Peer(name.clone())));
        found.insert((other.clone(), ItemKey::Remote(name.clone())));
    }
}
