//! What concerns more than one resource. Only what a change touches is looked at; what was in order
//! before and is not touched stays so.

use std::collections::BTreeSet;

use gateway_common::map::Settings;
use gateway_policy::{Clients, ServiceId, SiteName};
use ipnet::Ipv4Net;

use super::{Deployment, DeploymentError as Error, Problem, Undo};
use crate::model::{GatewayName, Network};
use crate::resource::{
    AppearAs, ExposureName, GatewayState, Key, Origin, Permission, PolicyName, Resource, Role,
    Target, TokenName,
};

impl Deployment {
    /// Everything that is wrong after `keys` were changed.
    pub(super) fn check(&self, keys: &BTreeSet<Key>, undo: &Undo, problems: &mut Vec<Problem>) {
        let before = undo.0.iter().filter_map(|(key, before)| Some((key, before.as_ref()?)));
        let were_clouds: BTreeSet<&Key> = before
            .filter(|(_, it)| matches!(it, Resource::Site(site) if site.role == Role::Cloud))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            if self.resource_is_there(key) {
                match key {
                    Key::Site(name) => self.check_site(name, problems),
                    Key::Gateway(name) => self.check_gateway(name, problems),
                    Key::Service(id) => self.check_service(id, problems),
                    Key::Exposure(name) => self.check_exposure(name, problems),
                    Key::Policy(name) => self.check_policy(name, problems),
                    Key::Token(name) => self.check_token(name, problems),
                }
            } else {
                let mut by = self.index.references(key);
                if self.index.clouds.is_empty() && were_clouds.contains(key) {
                    by.extend(self.index.homeless().map(Key::Site));
                }
                if !by.is_empty() {
                    problems.push(Problem::of(key, "", Error::InUse { by }));
                }
            }
        }
        if self.index.clouds.len() > 1 {
            let edges: Vec<_> = self.index.homeless().map(Key::Site).collect();
            let touched = keys.iter().find(|key| matches!(key, Key::Site(_)));
            if let (Some(key), false) = (touched, edges.is_empty()) {
                problems.push(Problem::of(key, "hub", Error::WhichHub { edges }));
            }
        }
    }

    fn resource_is_there(&self, key: &Key) -> bool {
        match key {
            Key::Site(name) => self.sites.contains_key(name),
            Key::Gateway(name) => self.gateways.contains_key(name),
            Key::Service(id) => self.service(id).is_some(),
            Key::Exposure(name) => self.exposures.contains_key(name),
            Key::Policy(name) => self.policies.contains_key(name),
            Key::Token(name) => self.tokens.contains_key(name),
        }
    }

    fn check_site(&self, name: &SiteName, problems: &mut Vec<Problem>) {
        let Some(site) = self.sites.get(name) else { return };
        let key = Key::Site(name.clone());
        let mut wrong = |field, error| problems.push(Problem::of(&key, field, error));
        let (pool, transit) = (site.presence_pool, self.transit_pool);
        for (network, _) in site.client_networks.indexed() {
            if pool.prefix().contains(&network.prefix()) {
                wrong("clientNetworks", Error::NetworkInPool { network, pool });
            }
            if transit.overlaps(network) {
                let found = network.to_string();
                wrong("clientNetworks", Error::InTransitPool { found, pool: transit });
            }
        }
        let (count, most) = (site.client_networks.count(), Settings::NETWORKS);
        if count > most {
            wrong("clientNetworks", Error::TooManyNetworks { count, most });
        }
        if Network::try_from(pool.prefix()).is_ok_and(|network| transit.overlaps(network)) {
            let found = pool.to_string();
            wrong("presencePool", Error::InTransitPool { found, pool: transit });
        }
        if let Some(address) = site.client_presence.filter(|it| pool.offset(*it).is_none()) {
            let (found, site) = (address.to_string(), name.clone());
            wrong("clientPresence", Error::OutsidePool { found, site, pool });
        }
        match (site.role, &site.hub) {
            (Role::Cloud, Some(_)) => wrong("hub", Error::CloudWithHub),
            (Role::Edge, Some(hub)) if !self.index.clouds.contains(hub) => {
                wrong("hub", Error::NoHub { hub: hub.clone() });
            }
            _ => {}
        }
        if site.role == Role::Edge
            && let Some(edges) = self.index.edges.get(&Some(name.clone()))
        {
            for edge in edges {
                let key = Key::Site(edge.clone());
                let error = Error::NoHub { hub: name.clone() };
                problems.push(Problem::of(&key, "hub", error));
            }
        }
        self.check_around(name, problems);
    }

    /// What refers to a site, or was selected by its labels.
    fn check_around(&self, name: &SiteName, problems: &mut Vec<Problem>) {
        let gateways = self.index.gateways.get(name).into_iter().flatten();
        gateways.for_each(|gateway| self.check_dialling(gateway, problems));
        let services: Vec<_> = self.services_at(name).map(|service| service.id.clone()).collect();
        for id in &services {
            self.check_service(id, problems);
            for (site, exposure) in self.exposed_to(id) {
                self.check_pair(&exposure.name, id, site, problems);
            }
        }
        for id in self.used_by(name) {
            let exposures = self.index.exposed.get(&id).and_then(|sites| sites.get(name));
            for exposure in exposures.into_iter().flatten() {
                self.check_pair(exposure, &id, name, problems);
            }
        }
        let named = self.index.policies.get(name).into_iter().flatten();
        for (policy, n) in named.chain(&self.index.labelled) {
            let rule = self.policies.get(policy).and_then(|policy| policy.rules.get(*n));
            if let Some(rule) = rule.filter(|rule| self.permits(rule, name)) {
                self.check_clients(&Key::Policy(policy.clone()), rule, name, problems);
            }
        }
    }

    fn check_gateway(&self, name: &GatewayName, problems: &mut Vec<Problem>) {
        let Some(gateway) = self.gateways.get(name) else { return };
        let key = Key::Gateway(name.clone());
        let mut wrong = |field, error| problems.push(Problem::of(&key, field, error));
        let other = |names: Option<&BTreeSet<GatewayName>>| {
            names.and_then(|names| names.iter().find(|it| *it != name).cloned())
        };
        let site = Key::Site(gateway.site.clone());
        if !self.sites.contains_key(&gateway.site) {
            wrong("site", Error::NoSuch { key: site });
        }
        let is_active = gateway.state == GatewayState::Active;
        if is_active && let Some(other) = other(self.index.active.get(&gateway.site)) {
            wrong("site", Error::SecondGateway { site: gateway.site.clone(), other });
        }
        if let Some(other) = other(self.index.keys.get(&gateway.public_key)) {
            wrong("publicKey", Error::SameKey { other });
        }
        for endpoint in gateway.endpoints.iter().filter(|_| is_active) {
            if let Some(other) = other(self.index.endpoints.get(endpoint)) {
                wrong("endpoints", Error::SameEndpoint { endpoint: *endpoint, other });
            }
            if endpoint.ipv4().is_some_and(|ip| self.transit_pool.prefix().contains(&ip)) {
                let (found, pool) = (endpoint.to_string(), self.transit_pool);
                wrong("endpoints", Error::InTransitPool { found, pool });
            }
        }
        self.check_dialling(name, problems);
    }

    fn check_dialling(&self, name: &GatewayName, problems: &mut Vec<Problem>) {
        let Some(gateway) = self.gateways.get(name) else { return };
        let Some(site) = self.sites.get(&gateway.site) else { return };
        if !gateway.endpoints.is_empty() || gateway.state != GatewayState::Active {
            return;
        }
        for neighbour in self.neighbours(site) {
            let Some(far) = self.gateway_of(&neighbour) else { continue };
            if far.endpoints.is_empty() {
                let error = Error::NobodyDials { other: far.name.clone() };
                problems.push(Problem::of(&Key::Gateway(name.clone()), "endpoints", error));
            }
        }
    }

    fn check_service(&self, id: &ServiceId, problems: &mut Vec<Problem>) {
        let Some(service) = self.service(id) else { return };
        let key = Key::Service(id.clone());
        let Some(site) = self.sites.get(&id.site) else {
            let error = Error::NoSuch { key: Key::Site(id.site.clone()) };
            problems.push(Problem::of(&key, "site", error));
            return;
        };
        let (pool, networks) = (site.presence_pool, &site.client_networks);
        for backend in service.backends.iter().map(|it| it.address) {
            let error = if pool.offset(backend).is_some() {
                Error::BackendInPool { backend, pool }
            } else if networks.index(backend).is_none() {
                Error::BackendOutside { backend, networks: networks.clone() }
            } else {
                continue;
            };
            problems.push(Problem::of(&key, "backends", error));
        }
    }

    fn check_exposure(&self, name: &ExposureName, problems: &mut Vec<Problem>) {
        let Some(exposure) = self.exposures.get(name) else { return };
        let key = Key::Exposure(name.clone());
        let id = &exposure.service;
        if self.service(id).is_none() {
            let error = Error::NoSuch { key: Key::Service(id.clone()) };
            problems.push(Problem::of(&key, "service", error));
            return;
        }
        if let Target::Sites(sites) = &exposure.to {
            for site in sites {
                let error = if *site == id.site {
                    Error::OwnSite { site: site.clone() }
                } else if !self.sites.contains_key(site) {
                    Error::NoSuch { key: Key::Site(site.clone()) }
                } else {
                    continue;
                };
                problems.push(Problem::of(&key, "to.sites", error));
            }
        }
        for site in self.sites_of(exposure) {
            self.check_pair(name, id, site, problems);
        }
    }

    /// One exposure to one site.
    fn check_pair(
        &self,
        name: &ExposureName,
        id: &ServiceId,
        site: &SiteName,
        problems: &mut Vec<Problem>,
    ) {
        let (Some(exposure), Some(client), Some(server)) =
            (self.exposures.get(name), self.sites.get(site), self.sites.get(&id.site))
        else {
            return;
        };
        let key = Key::Exposure(name.clone());
        let mut wrong = |field, error| problems.push(Problem::of(&key, field, error));
        let names = self.index.exposed.get(id).and_then(|sites| sites.get(site));
        if let Some(other) = names.into_iter().flatten().find(|it| *it != name) {
            wrong("to", Error::ExposedTwice { site: site.clone(), other: other.clone() });
        }
        let pool = client.presence_pool;
        if let Some(address) = exposure.address.filter(|it| pool.offset(*it).is_none()) {
            let (found, site) = (address.to_string(), site.clone());
            wrong("address", Error::OutsidePool { found, site, pool });
        }
        let AppearAs::PerClient { from: written, presences } = exposure.clients else { return };
        let networks = &client.client_networks;
        let from = written.or_else(|| {
            let mut all = networks.indexed().map(|(network, _)| network);
            all.next().filter(|_| all.next().is_none())
        });
        let Some(from) = from else {
            wrong("from", Error::WhichClients { site: site.clone() });
            return;
        };
        if networks.first_index(from.prefix()).is_none() {
            let (site, networks) = (site.clone(), networks.clone());
            wrong("from", Error::FromOutside { from, site, networks });
        }
        let pool = server.presence_pool;
        if let Some(presences) = presences
            && !pool.prefix().contains(&presences.prefix())
        {
            let (found, site) = (presences.to_string(), id.site.clone());
            wrong("presences", Error::OutsidePool { found, site, pool });
        }
        if let Some(presences) = presences.filter(|it| it.size() < from.size()) {
            wrong("presences", Error::TooFewPresences { presences, from });
        }
        for (policy, _, rule) in self.permissions(id, site) {
            self.check_clients(&Key::Policy(policy.clone()), rule, site, problems);
        }
    }

    fn check_policy(&self, name: &PolicyName, problems: &mut Vec<Problem>) {
        let Some(policy) = self.policies.get(name) else { return };
        let key = Key::Policy(name.clone());
        for rule in &policy.rules {
            let mut wrong = |field, error| problems.push(Problem::of(&key, field, error));
            if self.service(&rule.to).is_none() {
                wrong("to", Error::NoSuch { key: Key::Service(rule.to.clone()) });
            }
            let ids = self.index.rule_ids.get(&rule.id).into_iter().flatten();
            if let Some(other) = ids.into_iter().find(|it| *it != name) {
                wrong("rules", Error::SameRuleId { id: rule.id.clone(), other: other.clone() });
            }
            match &rule.from {
                Origin::Site(site) if !self.sites.contains_key(site) => {
                    wrong("from.site", Error::NoSuch { key: Key::Site(site.clone()) });
                }
                Origin::Site(site) => self.check_clients(&key, rule, site, problems),
                Origin::Labelled(selector) => {
                    let sites = self.sites.values().filter(|it| selector.selects(&it.labels));
                    for site in sites.filter(|it| it.name != rule.to.site) {
                        self.check_clients(&key, rule, &site.name, problems);
                    }
                }
            }
        }
    }

    fn check_token(&self, name: &TokenName, problems: &mut Vec<Problem>) {
        let Some(token) = self.tokens.get(name) else { return };
        let key = Key::Token(name.clone());
        let mut wrong = |field, error| problems.push(Problem::of(&key, field, error));
        if let Some(site) = token.role.site().filter(|site| !self.sites.contains_key(site)) {
            wrong("site", Error::NoSuch { key: Key::Site(site.clone()) });
        }
        let tokens = self.index.secrets.get(&token.secret_hash).into_iter().flatten();
        if let Some(other) = tokens.into_iter().find(|it| *it != name) {
            wrong("secretHash", Error::SameSecret { other: other.clone() });
        }
    }

    fn check_clients(
        &self,
        key: &Key,
        rule: &Permission,
        name: &SiteName,
        problems: &mut Vec<Problem>,
    ) {
        let Some(site) = self.sites.get(name) else { return };
        let (pool, networks) = (site.presence_pool, &site.client_networks);
        for clients in rule.prefixes().iter().copied() {
            let site = name.clone();
            let error = if pool.prefix().contains(&clients) {
                Error::ClientsInPool { clients, site, pool }
            } else if networks.first_index(clients).is_none() {
                Error::ClientsOutside { clients, site, networks: networks.clone() }
            } else {
                continue;
            };
            problems.push(Problem::of(key, "from.clients", error));
        }
        let Some(from) = self.clients_of_their_own(&rule.to, name) else { return };
        let outside = |prefix: &Ipv4Net| !from.prefix().contains(prefix);
        let clients = match &rule.clients {
            Clients::All if networks.size() == from.size() => return,
            Clients::All => "every client".to_owned(),
            Clients::In(prefixes) => match prefixes.iter().find(|it| outside(it)) {
                Some(prefix) => prefix.to_string(),
                None => return,
            },
        };
        let (rule, service) = (rule.id.clone(), rule.to.clone());
        let error = Error::NotPresent { rule, clients, site: name.clone(), service, from };
        problems.push(Problem::of(key, "rules", error));
    }
}
