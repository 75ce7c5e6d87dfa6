//! Resources from the site files of a deployment, so that one that is run by files can be declared
//! instead. `gatewayctl import` reads the files and calls [`import`]; what the files name is wished for, so
//! nothing moves.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::{AllowRule, LabelError, RuleId, ServiceId, SiteName};

use crate::model::{ClientPresences, Endpoint, LocalService, Peer, PublicKey, SiteModel};
use crate::resource::{
    AppearAs, Exposure, Gateway, GatewayState, Labels, Origin, Permission, Policy, Resource, Role,
    Service, Site, Target,
};

/// Why site files do not make a deployment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Two files of one site.
    #[error("site {site}: there are two files of it, and a site has one gateway; leave one out")]
    Twice {
        /// The site.
        site: SiteName,
    },
    /// A site without a file.
    #[error("site {site}: file of {by} names it, but its own file is not there; add it")]
    NoFile {
        /// The site.
        site: SiteName,
        /// A site whose file names it.
        by: SiteName,
    },
    /// A gateway whose key nobody knows.
    #[error(
        "site {site}: no other file has a [[peer]] for it, so its public key is unknown; add one"
    )]
    NoKey {
        /// The site.
        site: SiteName,
    },
    /// A gateway whose key is not the same everywhere.
    #[error(
        "site {site}: the file of {by} has another public key for it than other files; correct it"
    )]
    Keys {
        /// The site.
        site: SiteName,
        /// A site whose file has another.
        by: SiteName,
    },
    /// A service that its own site does not have.
    #[error(
        "service {service}: the file of {by} names it, and that of its own site does not; correct one"
    )]
    NoService {
        /// The service.
        service: ServiceId,
        /// A site whose file names it.
        by: SiteName,
    },
    /// A site whose transit block is not the same everywhere.
    #[error(
        "site {site}: the file of {by} has another transit block for it than its own file; correct it"
    )]
    Transit {
        /// The site.
        site: SiteName,
        /// A site whose file has another.
        by: SiteName,
    },
    /// A service that is not the same everywhere.
    #[error(
        "service {service}: the file of {by} has another number or other ports for it than that of its own site; correct it"
    )]
    Differs {
        /// The service.
        service: ServiceId,
        /// A site whose file differs.
        by: SiteName,
    },
    /// One rule id that says different things.
    #[error(
        "rule {rule}: the file of {by} says something else by this id than other files; correct one"
    )]
    Rules {
        /// The rule.
        rule: RuleId,
        /// A site whose file says something else.
        by: SiteName,
    },
    /// No room for the name of an exposure.
    #[error(
        "service {service}: its exposure to {site} has no name, as both names are long ({error}); shorten one"
    )]
    Name {
        /// The service.
        service: ServiceId,
        /// The site.
        site: SiteName,
        /// Why.
        error: LabelError,
    },
}

/// The resources that the site files of a deployment come to; every contradiction between the files is
/// in the error. Of several rules for the same clients, a verdict names the first by name; in the files it
/// was the first by place.
pub fn import(models: &[SiteModel]) -> Result<Vec<Resource>, Vec<ImportError>> {
    let mut errors = Vec::new();
    let mut files: BTreeMap<&SiteName, &SiteModel> = BTreeMap::new();
    for model in models {
        if files.insert(&model.site().name, model).is_some() {
            errors.push(ImportError::Twice { site: model.site().name.clone() });
        }
    }
    let several = models.iter().filter(|model| model.link().relay).count() > 1;
    let mut resources = Vec::new();
    resources.extend(files.values().map(|model| Resource::Site(site(model, several))));
    for (name, model) in &files {
        match gateway(model, &files, &mut errors) {
            Some(gateway) => resources.push(Resource::Gateway(gateway)),
            None => errors.push(ImportError::NoKey { site: (*name).clone() }),
        }
        for remote in model.remote_sites() {
            let (site, by) = (remote.name.clone(), (*name).clone());
            match files.get(&remote.name) {
                None => errors.push(ImportError::NoFile { site, by }),
                Some(own) if own.site().transit != remote.transit => {
                    errors.push(ImportError::Transit { site, by });
                }
                Some(_) => {}
            }
        }
    }
    let services = files.values().flat_map(|model| model.local_services());
    let services: BTreeMap<_, _> = services.map(|service| (&service.id, service)).collect();
    resources.extend(services.values().map(|it| Resource::Service(declared(it))));
    for model in files.values() {
        for remote in model.remote_services() {
            let (id, by) = (&remote.id, &model.site().name);
            let Some(service) = services.get(id) else {
                errors.push(ImportError::NoService { service: id.clone(), by: by.clone() });
                continue;
            };
            if service.number != remote.number || service.ports != remote.ports {
                errors.push(ImportError::Differs { service: id.clone(), by: by.clone() });
            }
            match exposure(service, by, remote.presence) {
                Ok(exposure) => resources.push(Resource::Exposure(exposure)),
                Err(error) => errors.push(error),
            }
        }
    }
    resources.extend(policies(&files, &mut errors).into_iter().map(Resource::Policy));
    if errors.is_empty() { Ok(resources) } else { Err(errors) }
}

fn site(model: &SiteModel, several_hubs: bool) -> Site {
    let site = model.site();
    let role = if model.link().relay { Role::Cloud } else { Role::Edge };
    let hub = model.peers().first().map(|peer| peer.site.clone());
    Site {
        name: site.name.clone(),
        labels: Labels::default(),
        role,
        client_networks: model.client_networks().clone(),
        presence_pool: site.presence_pool,
        client_presence: site.client_presence,
        hub: hub.filter(|_| several_hubs && role == Role::Edge),
        transit: Some(site.transit),
    }
}

fn gateway(
    model: &SiteModel,
    files: &BTreeMap<&SiteName, &SiteModel>,
    errors: &mut Vec<ImportError>,
) -> Option<Gateway> {
    let name = &model.site().name;
    let mut key: Option<PublicKey> = None;
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for file in files.values() {
        let Some(peer) = file.peers().iter().find(|peer: &&Peer| peer.site == *name) else {
            continue;
        };
        if *key.get_or_insert(peer.public_key) != peer.public_key {
            errors.push(ImportError::Keys { site: name.clone(), by: file.site().name.clone() });
        }
        let new = peer.endpoints.iter().filter(|it| !endpoints.contains(it)).copied();
        let new: Vec<_> = new.collect();
        endpoints.extend(new);
    }
    Some(Gateway {
        state: GatewayState::Active,
        name: model.gateway().name.clone(),
        labels: Labels::default(),
        site: name.clone(),
        public_key: key?,
        endpoints,
    })
}

fn declared(service: &LocalService) -> Service {
    Service {
        id: service.id.clone(),
        labels: Labels::default(),
        ports: service.ports.clone(),
        backends: service.backends.clone(),
        health: service.health.clone(),
        number: Some(service.number),
    }
}

fn exposure(
    service: &LocalService,
    site: &SiteName,
    presence: std::net::Ipv4Addr,
) -> Result<Exposure, ImportError> {
    let ServiceId { name, site: server } = &service.id;
    let named = format!("{name}-{server}-to-{site}").parse();
    let named = named.map_err(|error| ImportError::Name {
        service: service.id.clone(),
        site: site.clone(),
        error,
    })?;
    let clients = service.exposures.iter().find(|it| it.site == *site).map(|it| it.clients);
    Ok(Exposure {
        name: named,
        labels: Labels::default(),
        service: service.id.clone(),
        to: Target::Sites(vec![site.clone()]),
        address: Some(presence),
        clients: match clients {
            None | Some(ClientPresences::Shared) => AppearAs::Shared,
            Some(ClientPresences::PerClient { from, presences }) => {
                AppearAs::PerClient { from: Some(from), presences: Some(presences) }
            }
        },
    })
}

/// A policy for each rule, so that its id stays.
fn policies(files: &BTreeMap<&SiteName, &SiteModel>, errors: &mut Vec<ImportError>) -> Vec<Policy> {
    let mut rules: BTreeMap<&RuleId, &AllowRule> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for (by, model) in files {
        for rule in model.rules().rules() {
            let held = rules.entry(&rule.id).or_insert(rule);
            if *held != rule && told.insert(&rule.id) {
                errors.push(ImportError::Rules { rule: rule.id.clone(), by: (*by).clone() });
            }
        }
    }
    let policies = rules.values().map(|rule| {
        let permission = Permission {
            id: rule.id.clone(),
            from: Origin::Site(rule.subject.site.clone()),
            clients: rule.subject.clients.clone(),
            to: rule.service.clone(),
        };
        let name = rule.id.as_str().parse().expect("a rule's id is a label, as a policy's name is");
        Policy { name, labels: Labels::default(), rules: vec![permission] }
    });
    policies.collect()
}
