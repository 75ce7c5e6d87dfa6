//! All resources of a deployment together, and what follows from them: addresses ([`allocation`]) and
//! each gateway's share ([`share`]).
//!
//! A [`Deployment`] only ever holds what fits together: [`Deployment::apply`] takes a set of changes as a
//! whole or refuses it with everything that is wrong. Its work is proportional to what the changes touch.

pub mod allocation;
mod check;
mod desired;
mod error;
pub mod import;
mod index;
mod page;
pub mod share;

use std::collections::{BTreeMap, BTreeSet};

pub use desired::{Desired, Diff, ItemChange};
pub use error::{DeploymentError, Problem};
use gateway_policy::{ServiceId, ServiceName, SiteName};
use index::Index;

use crate::model::{GatewayName, Network, TransitPool};
use crate::resource::{
    AppearAs, Exposure, ExposureName, Gateway, Key, Origin, Permission, Policy, PolicyName,
    Resource, Role, SecretHash, Service, Site, Target, Token, TokenName,
};

/// Every resource, by kind and name. No reference is left open, and no two resources claim the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    transit_pool: TransitPool,
    sites: BTreeMap<SiteName, Site>,
    gateways: BTreeMap<GatewayName, Gateway>,
    services: BTreeMap<SiteName, BTreeMap<ServiceName, Service>>,
    exposures: BTreeMap<ExposureName, Exposure>,
    policies: BTreeMap<PolicyName, Policy>,
    tokens: BTreeMap<TokenName, Token>,
    index: Index,
}

/// One thing to do to a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Declare it, or declare it anew.
    Put(Resource),
    /// Remove it.
    Delete(Key),
}

impl Change {
    /// What it is about.
    pub fn key(&self) -> Key {
        match self {
            Self::Put(resource) => resource.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

/// What resources were before a change, so that it can be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo(Vec<(Key, Option<Resource>)>);

impl Undo {
    /// What was touched.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().map(|(key, _)| key)
    }
}

impl Deployment {
    /// One without resources, whose transit addresses are of this pool.
    pub fn new(transit_pool: TransitPool) -> Self {
        Self { transit_pool, ..Self::default() }
    }

    /// Takes all changes, or none of them and says everything that is wrong.
    pub fn apply(&mut self, changes: Vec<Change>) -> Result<Undo, Vec<Problem>> {
        let keys: BTreeSet<Key> = changes.iter().map(Change::key).collect();
        let mut missing = Vec::new();
        let mut undo = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                Change::Put(resource) => {
                    let key = resource.key();
                    let before = self.take(&key);
                    self.insert(resource);
                    undo.push((key, before));
                }
                Change::Delete(key) => match self.take(&key) {
                    Some(before) => undo.push((key, Some(before))),
                    None => missing.push(Problem::of(&key, "", DeploymentError::Missing)),
                },
            }
        }
        let undo = Undo(undo);
        let mut problems = missing;
        self.check(&keys, &undo, &mut problems);
        if problems.is_empty() {
            return Ok(undo);
        }
        self.undo(undo);
        // A resource is looked at for itself and for what it refers to.
        let mut seen = BTreeSet::new();
        problems.retain(|problem| seen.insert(problem.to_string()));
        Err(problems)
    }

    /// Puts resources back to what they were before the last change.
    pub fn undo(&mut self, undo: Undo) {
        for (key, before) in undo.0.into_iter().rev() {
            self.take(&key);
            if let Some(resource) = before {
                self.insert(resource);
            }
        }
    }

    /// A resource, if there is one.
    pub fn resource(&self, key: &Key) -> Option<Resource> {
        match key {
            Key::Site(name) => self.sites.get(name).cloned().map(Resource::Site),
            Key::Gateway(name) => self.gateways.get(name).cloned().map(Resource::Gateway),
            Key::Service(id) => self.service(id).cloned().map(Resource::Service),
            Key::Exposure(name) => self.exposures.get(name).cloned().map(Resource::Exposure),
            Key::Policy(name) => self.policies.get(name).cloned().map(Resource::Policy),
            Key::Token(name) => self.tokens.get(name).cloned().map(Resource::Token),
        }
    }

    /// Every resource, those that others refer to first.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + '_ {
        let sites = self.sites.values().cloned().map(Resource::Site);
        let gateways = self.gateways.values().cloned().map(Resource::Gateway);
        let services = self.services.values().flat_map(BTreeMap::values);
        let services = services.cloned().map(Resource::Service);
        let exposures = self.exposures.values().cloned().map(Resource::Exposure);
        let policies = self.policies.values().cloned().map(Resource::Policy);
        let tokens = self.tokens.values().cloned().map(Resource::Token);
        sites.chain(gateways).chain(services).chain(exposures).chain(policies).chain(tokens)
    }

    /// Every resource behind this one, which need not be there, in the order of [`Self::resources`]. Its work is
    /// proportional to what is taken of it.
    pub fn resources_behind(&self, key: &Key) -> impl Iterator<Item = Resource> + '_ {
        page::Behind::new(key).resources(self)
    }

    /// What refers to a resource, so that it cannot be removed alone.
    pub fn dependants(&self, key: &Key) -> Vec<Key> {
        let mut found = self.index.references(key);
        if let Key::Site(name) = key
            && self.index.clouds.len() == 1
            && self.index.clouds.contains(name)
        {
            found.extend(self.index.homeless().map(Key::Site));
        }
        found
    }

    /// Where all transit addresses come from.
    pub fn transit_pool(&self) -> TransitPool {
        self.transit_pool
    }

    /// A site.
    pub fn site(&self, name: &SiteName) -> Option<&Site> {
        self.sites.get(name)
    }

    /// Every site, by name.
    pub fn sites(&self) -> &BTreeMap<SiteName, Site> {
        &self.sites
    }

    /// The gateway of a site: the one that takes part.
    pub fn gateway_of(&self, site: &SiteName) -> Option<&Gateway> {
        self.gateways.get(self.index.active.get(site)?.first()?)
    }

    /// Every gateway that is declared for a site, whether it takes part or not.
    pub fn gateways_of(&self, site: &SiteName) -> impl Iterator<Item = &Gateway> {
        let names = self.index.gateways.get(site).into_iter().flatten();
        names.filter_map(|name| self.gateways.get(name))
    }

    /// Whether a site has been thrown out: its gateway was revoked, and no other has taken its place.
    pub fn is_barred(&self, site: &SiteName) -> bool {
        self.index.revoked.contains_key(site) && !self.index.active.contains_key(site)
    }

    /// Every gateway, by name.
    pub fn gateways(&self) -> &BTreeMap<GatewayName, Gateway> {
        &self.gateways
    }

    /// A service.
    pub fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.services.get(&id.site)?.get(&id.name)
    }

    /// Every exposure, by name.
    pub fn exposures(&self) -> &BTreeMap<ExposureName, Exposure> {
        &self.exposures
    }

    /// A policy.
    pub fn policy(&self, name: &PolicyName) -> Option<&Policy> {
        self.policies.get(name)
    }

    /// The token whose secret hashes to this.
    pub fn token_of(&self, secret: &SecretHash) -> Option<&Token> {
        self.tokens.get(self.index.secrets.get(secret)?.first()?)
    }

    /// The services at a site.
    pub fn services_at(&self, site: &SiteName) -> impl Iterator<Item = &Service> {
        self.services.get(site).into_iter().flat_map(BTreeMap::values)
    }

    /// The sites that a service is exposed to, each with the exposure.
    pub fn exposed_to(&self, id: &ServiceId) -> impl Iterator<Item = (&SiteName, &Exposure)> {
        let sites = self.index.exposed.get(id).into_iter().flatten();
        sites.filter_map(|(site, names)| Some((site, self.exposures.get(names.first()?)?)))
    }

    /// Sites whose clients have presences of their own at a service.
    pub fn with_own_clients(&self, id: &ServiceId) -> impl Iterator<Item = &SiteName> {
        self.index.own_clients.get(id).into_iter().flatten().map(|(site, _)| site)
    }

    /// Sites that an exposure is for.
    pub fn sites_of<'a>(&'a self, exposure: &'a Exposure) -> Vec<&'a SiteName> {
        match &exposure.to {
            Target::Sites(sites) => sites.iter().collect(),
            Target::Labelled(_) => {
                let sites = self.index.exposed.get(&exposure.service).into_iter().flatten();
                let sites = sites.filter(|(_, names)| names.contains(&exposure.name));
                sites.map(|(site, _)| site).collect()
            }
        }
    }

    /// The exposure of a service to a site.
    pub fn exposure(&self, id: &ServiceId, site: &SiteName) -> Option<&Exposure> {
        self.exposures.get(self.index.exposed.get(id)?.get(site)?.first()?)
    }

    /// The services of other sites that are exposed to a site.
    pub fn used_by(&self, site: &SiteName) -> impl Iterator<Item = ServiceId> + '_ {
        let servers = self.index.used.get(site).into_iter().flatten();
        servers.flat_map(|(server, names)| {
            names.keys().map(|name| ServiceId { site: server.clone(), name: name.clone() })
        })
    }

    /// Whether clients of one site have a service of another.
    pub fn uses(&self, client: &SiteName, server: &SiteName) -> bool {
        self.index.used.get(client).is_some_and(|servers| servers.contains_key(server))
    }

    /// Sites that have services exposed to a site, or services of it.
    pub fn partners(&self, site: &SiteName) -> impl Iterator<Item = &SiteName> {
        let servers = self.index.used.get(site).into_iter().flat_map(BTreeMap::keys);
        let clients = self.index.clients.get(site).into_iter().flat_map(BTreeMap::keys);
        servers.chain(clients)
    }

    /// Whether two sites have a link.
    pub fn is_linked(&self, one: &Site, other: &Site) -> bool {
        match (one.role, other.role) {
            (Role::Cloud, Role::Cloud) => one.name != other.name,
            (Role::Cloud, Role::Edge) => self.hub(other) == Some(&one.name),
            (Role::Edge, Role::Cloud) => self.hub(one) == Some(&other.name),
            (Role::Edge, Role::Edge) => false,
        }
    }

    /// The cloud site that a site reaches others by; a cloud site has none.
    pub fn hub(&self, site: &Site) -> Option<&SiteName> {
        match (site.role, &site.hub) {
            (Role::Cloud, _) => None,
            (Role::Edge, Some(hub)) => self.index.clouds.get(hub),
            (Role::Edge, None) if self.index.clouds.len() == 1 => self.index.clouds.first(),
            (Role::Edge, None) => None,
        }
    }

    /// The edge sites whose hub is this cloud site.
    pub fn homed(&self, cloud: &SiteName) -> impl Iterator<Item = &SiteName> {
        let named = self.index.edges.get(&Some(cloud.clone()));
        let only = self.index.clouds.len() == 1 && self.index.clouds.contains(cloud);
        let others = self.index.edges.get(&None).filter(|_| only);
        named.into_iter().chain(others).flatten()
    }

    /// Every cloud site.
    pub fn clouds(&self) -> impl Iterator<Item = &SiteName> {
        self.index.clouds.iter()
    }

    /// Sites that a site has a link to.
    pub fn neighbours(&self, site: &Site) -> Vec<SiteName> {
        match site.role {
            Role::Edge => self.hub(site).cloned().into_iter().collect(),
            Role::Cloud => {
                let others = self.clouds().filter(|name| **name != site.name);
                others.chain(self.homed(&site.name)).cloned().collect()
            }
        }
    }

    /// The permissions of a site's clients for a service, each with its policy and its place there.
    pub fn permissions<'a>(
        &'a self,
        id: &ServiceId,
        site: &'a SiteName,
    ) -> impl Iterator<Item = (&'a PolicyName, usize, &'a Permission)> {
        let rules = self.index.rules.get(id);
        let named = rules.and_then(|rules| rules.named.get(site)).into_iter().flatten();
        let labelled = rules.into_iter().flat_map(|rules| &rules.labelled);
        named
            .chain(labelled)
            .filter_map(|(policy, n)| Some((policy, *n, self.policies.get(policy)?.rules.get(*n)?)))
            .filter(|(_, _, rule)| self.permits(rule, site))
    }

    /// Whether a permission is for the clients of a site.
    pub fn permits(&self, permission: &Permission, site: &SiteName) -> bool {
        match &permission.from {
            Origin::Site(name) => name == site,
            Origin::Labelled(selector) => {
                *site != permission.to.site
                    && self.sites.get(site).is_some_and(|it| selector.selects(&it.labels))
            }
        }
    }

    /// The clients of a site that have presences of their own at a service, if they have any.
    pub fn clients_of_their_own(&self, id: &ServiceId, site: &SiteName) -> Option<Network> {
        let AppearAs::PerClient { from, .. } = self.exposure(id, site)?.clients else {
            return None;
        };
        let only = || {
            let mut networks = self.sites.get(site)?.client_networks.indexed();
            let (only, _) = networks.next()?;
            networks.next().is_none().then_some(only)
        };
        from.or_else(only)
    }
}
