//! What is looked up other than by name. Kept by every insertion and removal; where two resources may
//! claim the same for a moment, until the check refuses them, both are kept.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::{RuleId, ServiceId, ServiceName, SiteName};

use super::Deployment;
use crate::model::{Endpoint, GatewayName, PublicKey};
use crate::resource::{
    AppearAs, Exposure, ExposureName, Gateway, GatewayState, Key, Origin, Policy, PolicyName,
    Resource, Role, SecretHash, Site, Target, Token, TokenName,
};

pub(super) type Several<K, V> = BTreeMap<K, BTreeSet<V>>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    pub(super) gateways: Several<SiteName, GatewayName>,
    /// Those of them that take part.
    pub(super) active: Several<SiteName, GatewayName>,
    /// Those of them that never will again.
    pub(super) revoked: Several<SiteName, GatewayName>,
    pub(super) keys: Several<PublicKey, GatewayName>,
    pub(super) endpoints: Several<Endpoint, GatewayName>,
    pub(super) clouds: BTreeSet<SiteName>,
    /// Edge sites by the hub that they name.
    pub(super) edges: Several<Option<SiteName>, SiteName>,
    pub(super) services: Several<SiteName, ServiceName>,
    pub(super) exposures: Several<ServiceId, ExposureName>,
    /// Exposures by the sites that they name.
    pub(super) naming: Several<SiteName, ExposureName>,
    /// Exposures that select sites by labels.
    pub(super) selecting: BTreeSet<ExposureName>,
    /// By service, then client site.
    pub(super) exposed: BTreeMap<ServiceId, Several<SiteName, ExposureName>>,
    /// By client site, then the service's site, then its name there.
    pub(super) used: BTreeMap<SiteName, BTreeMap<SiteName, Several<ServiceName, ExposureName>>>,
    /// Client sites by the service's site, with how many services each has.
    pub(super) clients: BTreeMap<SiteName, BTreeMap<SiteName, usize>>,
    /// Sites whose clients have presences of their own at a service, with the exposures that say so.
    pub(super) own_clients: Several<ServiceId, (SiteName, ExposureName)>,
    pub(super) rules: BTreeMap<ServiceId, Rules>,
    /// Rules by the sites that they name as origin.
    pub(super) policies: Several<SiteName, RulePlace>,
    /// Rules that select their origin by labels.
    pub(super) labelled: BTreeSet<RulePlace>,
    pub(super) rule_ids: Several<RuleId, PolicyName>,
    /// Tokens by the site that they are for.
    pub(super) tokens: Several<SiteName, TokenName>,
    pub(super) secrets: Several<SecretHash, TokenName>,
}

/// A policy, and which of its rules, counted from 0.
pub(super) type RulePlace = (PolicyName, usize);

/// The rules about one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rules {
    pub(super) named: Several<SiteName, RulePlace>,
    pub(super) labelled: BTreeSet<RulePlace>,
}

impl Rules {
    fn policies(&self) -> impl Iterator<Item = &PolicyName> {
        self.named.values().flatten().chain(&self.labelled).map(|(policy, _)| policy)
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.labelled.is_empty()
    }
}

fn add<K: Ord, V: Ord>(index: &mut Several<K, V>, key: K, value: V) {
    index.entry(key).or_default().insert(value);
}

fn remove<K: Ord, V: Ord>(index: &mut Several<K, V>, key: &K, value: &V) {
    if let Some(values) = index.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            index.remove(key);
        }
    }
}

impl Index {
    /// Edge sites that name no hub.
    pub(super) fn homeless(&self) -> impl Iterator<Item = SiteName> + '_ {
        self.edges.get(&None).into_iter().flatten().cloned()
    }

    /// What names a resource.
    pub(super) fn references(&self, key: &Key) -> Vec<Key> {
        match key {
            Key::Site(name) => {
                let edges = self.edges.get(&Some(name.clone())).into_iter().flatten().cloned();
                let gateways = self.gateways.get(name).into_iter().flatten().cloned();
                let services = self.services.get(name).into_iter().flatten();
                let services =
                    services.map(|service| ServiceId { site: name.clone(), name: service.clone() });
                let exposures = self.naming.get(name).into_iter().flatten().cloned();
                let policies = self.policies.get(name).into_iter().flatten();
                let policies: BTreeSet<_> = policies.map(|(policy, _)| policy.clone()).collect();
                let tokens = self.tokens.get(name).into_iter().flatten().cloned();
                edges
                    .map(Key::Site)
                    .chain(gateways.map(Key::Gateway))
                    .chain(services.map(Key::Service))
                    .chain(exposures.map(Key::Exposure))
                    .chain(policies.into_iter().map(Key::Policy))
                    .chain(tokens.map(Key::Token))
                    .collect()
            }
            Key::Service(id) => {
                let exposures = self.exposures.get(id).into_iter().flatten().cloned();
                let policies = self.rules.get(id).into_iter().flat_map(Rules::policies);
                let policies: BTreeSet<_> = policies.cloned().collect();
                let policies = policies.into_iter().map(Key::Policy);
                exposures.map(Key::Exposure).chain(policies).collect()
            }
            Key::Gateway(_) | Key::Exposure(_) | Key::Policy(_) | Key::Token(_) => Vec::new(),
        }
    }

    fn link(&mut self, exposure: &Exposure, site: &SiteName) {
        let (id, is_shared) = (&exposure.service, exposure.clients == AppearAs::Shared);
        let exposure = &exposure.name;
        if !is_shared {
            add(&mut self.own_clients, id.clone(), (site.clone(), exposure.clone()));
        }
        let sites = self.exposed.entry(id.clone()).or_default();
        let fresh = !sites.contains_key(site);
        add(sites, site.clone(), exposure.clone());
        let servers = self.used.entry(site.clone()).or_default();
        add(servers.entry(id.site.clone()).or_default(), id.name.clone(), exposure.clone());
        if fresh {
            let clients = self.clients.entry(id.site.clone()).or_default();
            *clients.entry(site.clone()).or_default() += 1;
        }
    }

    fn unlink(&mut self, exposure: &Exposure, site: &SiteName) {
        let (id, exposure) = (&exposure.service, &exposure.name);
        remove(&mut self.own_clients, id, &(site.clone(), exposure.clone()));
        let Some(sites) = self.exposed.get_mut(id) else { return };
        remove(sites, site, exposure);
        let gone = !sites.contains_key(site);
        if sites.is_empty() {
            self.exposed.remove(id);
        }
        if let Some(servers) = self.used.get_mut(site) {
            if let Some(names) = servers.get_mut(&id.site) {
                remove(names, &id.name, exposure);
                if names.is_empty() {
                    servers.remove(&id.site);
                }
            }
            if servers.is_empty() {
                self.used.remove(site);
            }
        }
        if gone && let Some(clients) = self.clients.get_mut(&id.site) {
            if let Some(count) = clients.get_mut(site) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(site);
                }
            }
            if clients.is_empty() {
                self.clients.remove(&id.site);
            }
        }
    }
}

impl Deployment {
    /// Takes a resource that is not there.
    pub(super) fn insert(&mut self, resource: Resource) {
        match resource {
            Resource::Site(site) => {
                self.index_site(&site, true);
                self.sites.insert(site.name.clone(), site);
            }
            Resource::Gateway(gateway) => {
                self.index_gateway(&gateway, true);
                self.gateways.insert(gateway.name.clone(), gateway);
            }
            Resource::Service(service) => {
                let ServiceId { site, name } = &service.id;
                add(&mut self.index.services, site.clone(), name.clone());
                let services = self.services.entry(site.clone()).or_default();
                services.insert(name.clone(), service);
            }
            Resource::Exposure(exposure) => {
                self.index_exposure(&exposure, true);
                self.exposures.insert(exposure.name.clone(), exposure);
            }
            Resource::Policy(policy) => {
                self.index_policy(&policy, true);
                self.policies.insert(policy.name.clone(), policy);
            }
            Resource::Token(token) => {
                self.index_token(&token, true);
                self.tokens.insert(token.name.clone(), token);
            }
        }
    }

    /// Gives a resource away, if it is there.
    pub(super) fn take(&mut self, key: &Key) -> Option<Resource> {
        match key {
            Key::Site(name) => {
                let site = self.sites.remove(name)?;
                self.index_site(&site, false);
                Some(Resource::Site(site))
            }
            Key::Gateway(name) => {
                let gateway = self.gateways.remove(name)?;
                self.index_gateway(&gateway, false);
                Some(Resource::Gateway(gateway))
            }
            Key::Service(id) => {
                let services = self.services.get_mut(&id.site)?;
                let service = services.remove(&id.name)?;
                if services.is_empty() {
                    self.services.remove(&id.site);
                }
                remove(&mut self.index.services, &id.site, &id.name);
                Some(Resource::Service(service))
            }
            Key::Exposure(name) => {
                let exposure = self.exposures.remove(name)?;
                self.index_exposure(&exposure, false);
                Some(Resource::Exposure(exposure))
            }
            Key::Policy(name) => {
                let policy = self.policies.remove(name)?;
                self.index_policy(&policy, false);
                Some(Resource::Policy(policy))
            }
            Key::Token(name) => {
                let token = self.tokens.remove(name)?;
                self.index_token(&token, false);
                Some(Resource::Token(token))
            }
        }
    }

    fn index_gateway(&mut self, gateway: &Gateway, there: bool) {
        let (name, index) = (&gateway.name, &mut self.index);
        let by_state = match gateway.state {
            GatewayState::Active => Some(&mut index.active),
            GatewayState::Revoked => Some(&mut index.revoked),
            GatewayState::Pending => None,
        };
        for sites in [Some(&mut index.gateways), by_state].into_iter().flatten() {
            match there {
                true => add(sites, gateway.site.clone(), name.clone()),
                false => remove(sites, &gateway.site, name),
            }
        }
        match there {
            true => add(&mut index.keys, gateway.public_key, name.clone()),
            false => remove(&mut index.keys, &gateway.public_key, name),
        }
        // Another may be dialled where one was that takes no part.
        for endpoint in gateway.endpoints.iter().filter(|_| gateway.state == GatewayState::Active) {
            match there {
                true => add(&mut index.endpoints, *endpoint, name.clone()),
                false => remove(&mut index.endpoints, endpoint, name),
            }
        }
    }

    fn index_site(&mut self, site: &Site, there: bool) {
        let name = &site.name;
        match (site.role, there) {
            (Role::Cloud, true) => drop(self.index.clouds.insert(name.clone())),
            (Role::Cloud, false) => drop(self.index.clouds.remove(name)),
            (Role::Edge, true) => add(&mut self.index.edges, site.hub.clone(), name.clone()),
            (Role::Edge, false) => remove(&mut self.index.edges, &site.hub, name),
        }
        for exposure in self.index.selecting.clone() {
            let Some(exposure) = self.exposures.get(&exposure) else { continue };
            let Target::Labelled(selector) = &exposure.to else { continue };
            if exposure.service.site == *name || !selector.selects(&site.labels) {
                continue;
            }
            match there {
                true => self.index.link(exposure, name),
                false => self.index.unlink(exposure, name),
            }
        }
    }

    fn index_exposure(&mut self, exposure: &Exposure, there: bool) {
        let (name, id, index) = (&exposure.name, &exposure.service, &mut self.index);
        match there {
            true => add(&mut index.exposures, id.clone(), name.clone()),
            false => remove(&mut index.exposures, id, name),
        }
        let sites: Vec<&SiteName> = match &exposure.to {
            Target::Sites(sites) => sites.iter().collect(),
            Target::Labelled(selector) => {
                match there {
                    true => index.selecting.insert(name.clone()),
                    false => index.selecting.remove(name),
                };
                let selected = self.sites.values().filter(|site| selector.selects(&site.labels));
                selected.map(|site| &site.name).filter(|site| **site != id.site).collect()
            }
        };
        let named = matches!(exposure.to, Target::Sites(_));
        for site in sites {
            match there {
                true => index.link(exposure, site),
                false => index.unlink(exposure, site),
            }
            match (named, there) {
                (true, true) => add(&mut index.naming, site.clone(), name.clone()),
                (true, false) => remove(&mut index.naming, site, name),
                (false, _) => {}
            }
        }
    }

    fn index_token(&mut self, token: &Token, there: bool) {
        let (index, name) = (&mut self.index, &token.name);
        match there {
            true => add(&mut index.secrets, token.secret_hash, name.clone()),
            false => remove(&mut index.secrets, &token.secret_hash, name),
        }
        match (token.role.site(), there) {
            (Some(site), true) => add(&mut index.tokens, site.clone(), name.clone()),
            (Some(site), false) => remove(&mut index.tokens, site, name),
            (None, _) => {}
        }
    }

    fn index_policy(&mut self, policy: &Policy, there: bool) {
        let index = &mut self.index;
        for (n, rule) in policy.rules.iter().enumerate() {
            let name = &policy.name;
            let place = (name.clone(), n);
            let rules = index.rules.entry(rule.to.clone()).or_default();
            match (&rule.from, there) {
                (Origin::Site(site), true) => {
                    add(&mut rules.named, site.clone(), place.clone());
                    add(&mut index.policies, site.clone(), place);
                }
                (Origin::Site(site), false) => {
                    remove(&mut rules.named, site, &place);
                    remove(&mut index.policies, site, &place);
                }
                (Origin::Labelled(_), true) => {
                    rules.labelled.insert(place.clone());
                    index.labelled.insert(place);
                }
                (Origin::Labelled(_), false) => {
                    rules.labelled.remove(&place);
                    index.labelled.remove(&place);
                }
            }
            if rules.is_empty() {
                index.rules.remove(&rule.to);
            }
            match there {
                true => add(&mut index.rule_ids, rule.id.clone(), name.clone()),
                false => remove(&mut index.rule_ids, &rule.id, name),
            }
        }
    }
}
