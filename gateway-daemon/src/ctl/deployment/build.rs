//! The resources that the verbs of daily use declare. Pure.

use std::collections::BTreeMap;
use std::fmt::Display;

use gateway_control::model::{Backend, ClientNetworks, ClientsAs, Network, Ports};
use gateway_control::resource::{
    self, AppearAs, Exposure, Gateway, GatewayState, Labels, Origin, Permission, Policy, Resource,
    Service, Site, Target,
};
use gateway_policy::{Clients, RuleId, SiteName};

use super::arguments::{
    AllowArguments, CreateGateway, CreateService, CreateSite, ExposeArguments, LabelChange, Pair,
    Sites,
};
use super::usage::UsageError;

/// The site that `site create` is for.
pub(super) fn site(arguments: &CreateSite) -> Result<Resource, UsageError> {
    let CreateSite { name, role, networks, pool, client_presence, hub, transit, labels, change: _ } =
        arguments;
    checked(Resource::Site(Site {
        name: name.clone(),
        labels: labelled(labels)?,
        role: *role,
        client_networks: client_networks(networks)?,
        presence_pool: *pool,
        client_presence: *client_presence,
        hub: hub.clone(),
        transit: *transit,
    }))
}

/// The client networks of a site.
pub(super) fn client_networks(networks: &[Network]) -> Result<ClientNetworks, UsageError> {
    let overlap = |(first, second): (Network, Network)| {
        content(format_args!("{first} and {second} overlap; no client may be in two networks"))
    };
    ClientNetworks::new(networks.to_vec()).map_err(overlap)
}

/// The service that `service create` is for.
pub(super) fn service(arguments: &CreateService) -> Result<Resource, UsageError> {
    let CreateService { name, ports, backends, labels, change: _ } = arguments;
    let backends =
        backends.iter().map(|it| Backend { weight: it.weight, ..Backend::new(it.address) });
    checked(Resource::Service(Service {
        id: name.clone(),
        labels: labelled(labels)?,
        ports: Ports::new(ports.clone()).map_err(content)?,
        backends: backends.collect(),
        health: None,
        number: None,
    }))
}

/// The gateway that `gateway create` is for.
pub(super) fn gateway(arguments: &CreateGateway) -> Result<Resource, UsageError> {
    let CreateGateway { name, site, public_key, endpoints, labels, change: _ } = arguments;
    checked(Resource::Gateway(Gateway {
        state: GatewayState::Active,
        name: name.clone(),
        labels: labelled(labels)?,
        site: site.clone(),
        public_key: *public_key,
        endpoints: endpoints.clone(),
    }))
}

/// The exposure that `expose` is for.
pub(super) fn exposure(arguments: &ExposeArguments) -> Result<Resource, UsageError> {
    let ExposeArguments { service, to, address, clients, name, change: _ } = arguments;
    let name = match name {
        Some(name) => name.clone(),
        None => made(&format!("{}-{}-to-{}", service.name, service.site, words(to)))?,
    };
    checked(Resource::Exposure(Exposure {
        name,
        labels: Labels::default(),
        service: service.clone(),
        to: match to {
            Sites::Named(sites) => Target::Sites(sites.clone()),
            Sites::Labelled(selector) => Target::Labelled(selector.clone()),
        },
        address: *address,
        clients: match clients {
            ClientsAs::Shared => AppearAs::Shared,
            ClientsAs::PerClient => AppearAs::PerClient { from: None, presences: None },
        },
    }))
}

/// The policy that `allow` is for.
pub(super) fn policy(arguments: &AllowArguments) -> Result<Resource, UsageError> {
    let AllowArguments { from, service, clients, name, change: _ } = arguments;
    let name = match name {
        Some(name) => name.clone(),
        None => made(&format!("{}-to-{}-{}", words(from), service.name, service.site))?,
    };
    let clients = match clients.as_slice() {
        [] => Clients::All,
        clients => Clients::In(clients.iter().map(|network| network.prefix()).collect()),
    };
    let origins = match from {
        Sites::Named(sites) => sites.iter().cloned().map(Origin::Site).collect(),
        Sites::Labelled(selector) => vec![Origin::Labelled(selector.clone())],
    };
    let count = origins.len();
    let rules = (1..).zip(origins).map(|(n, origin)| {
        let id = if count == 1 { name.to_string() } else { format!("{name}-{n}") };
        let id: RuleId = made(&id)?;
        Ok(Permission { id, from: origin, clients: clients.clone(), to: service.clone() })
    });
    let rules = rules.collect::<Result<_, _>>()?;
    checked(Resource::Policy(Policy { name, labels: Labels::default(), rules }))
}

/// Labels after changes.
pub(super) fn relabelled(
    labels: &BTreeMap<String, String>,
    changes: &[LabelChange],
) -> Result<BTreeMap<String, String>, UsageError> {
    let (mut labels, mut named) = (labels.clone(), Vec::new());
    for change in changes {
        let key = match change {
            LabelChange::Set(Pair(key, value)) => {
                labels.insert(key.to_string(), value.to_string());
                key
            }
            LabelChange::Remove(key) => {
                labels.remove(&key.to_string());
                key
            }
        };
        if named.contains(&key) {
            return Err(UsageError::LabelTwice { key: key.to_string() });
        }
        named.push(key);
    }
    Ok(labels)
}

fn labelled(pairs: &[Pair]) -> Result<Labels, UsageError> {
    let mut labels = BTreeMap::new();
    for Pair(key, value) in pairs {
        if labels.insert(key.clone(), value.clone()).is_some() {
            return Err(UsageError::LabelTwice { key: key.to_string() });
        }
    }
    Labels::new(labels).map_err(content)
}

/// Sites as a part of a name.
fn words(sites: &Sites) -> String {
    let words: Vec<String> = match sites {
        Sites::Named(sites) => sites.iter().map(SiteName::to_string).collect(),
        Sites::Labelled(selector) => {
            let plain = |text: &str| -> String {
                let text = text.rsplit('/').next().unwrap_or_default().to_lowercase();
                text.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect()
            };
            let pairs = selector.labels().iter();
            pairs
                .flat_map(|(key, value)| [plain(&key.to_string()), plain(&value.to_string())])
                .filter(|word| !word.is_empty())
                .collect()
        }
    };
    words.join("-")
}

fn made<T: std::str::FromStr>(name: &str) -> Result<T, UsageError> {
    name.parse().map_err(|_| UsageError::NoName { made: name.to_owned() })
}

fn content(error: impl Display) -> UsageError {
    UsageError::Content(error.to_string())
}

/// The resource, if the controller would read it as well.
fn checked(resource: Resource) -> Result<Resource, UsageError> {
    let json = serde_json::to_string(&resource).expect("a resource is text all through");
    match resource::read_one(&json) {
        Ok(_) => Ok(resource),
        Err(error) => {
            let faults = error.faults().iter().map(|fault| fault.kind.to_string());
            Err(UsageError::Content(faults.collect::<Vec<_>>().join("\n")))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::arguments::{GatewayCommand, ServiceCommand, SiteCommand, Verb};
    use super::*;
    use crate::ctl::{Arguments, Command};

    fn built(line: &str) -> Result<String, String> {
        let words = std::iter::once("gatewayctl").chain(line.split_whitespace());
        let parsed = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Deployment(verb) = parsed.command else { panic!("{line}") };
        let resource = match &verb {
            Verb::Site(SiteCommand::Create(it)) => site(it),
            Verb::Service(ServiceCommand::Create(it)) => service(it),
            Verb::Gateway(GatewayCommand::Create(it)) => gateway(it),
            Verb::Expose(it) => exposure(it),
            Verb::Allow(it) => policy(it),
            other => panic!("{other:?}"),
        };
        let resource = resource.map_err(|error| error.to_string())?;
        Ok(serde_json::to_string(&resource).unwrap())
    }

    #[test]
    fn command_lines_are_resources() {
        for (line, text) in [
            (
                "site create edge-a --role edge --networks 10.0.0.0/25,10.0.0.128/26 --pool \
                 10.0.0.192/26 --label tier=edge --label zone= --hub cloud --transit 240.0.16.0/20",
                "kind: Site\nmetadata: {name: edge-a, labels: {tier: edge, zone: ''}}\nspec: {role: edge, \
                 clientNetworks: [10.0.0.0/25, 10.0.0.128/26], presencePool: 10.0.0.192/26, hub: cloud, \
                 transit: 240.0.16.0/20}",
            ),
            (
                "service create files.cloud --port tcp/80->8080 --port icmp-echo --backend 10.0.0.10 \
                 --backend 10.0.0.11:3",
                "kind: Service\nmetadata: {name: files}\nspec: {site: cloud, ports: [tcp/80->8080, \
                 icmp-echo], backends: [{address: 10.0.0.10}, {address: 10.0.0.11, weight: 3}]}",
            ),
            (
                "gateway create gw --site cloud --public-key \
                 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08= --endpoint 192.0.2.1:51820",
                "kind: Gateway\nmetadata: {name: gw}\nspec: {site: cloud, publicKey: \
                 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, endpoints: [\"192.0.2.1:51820\"]}",
            ),
            (
                "expose files.cloud --to edge-a --address 10.0.0.201 --clients per-client",
                "kind: Exposure\nmetadata: {name: files-cloud-to-edge-a}\nspec: {service: files.cloud, \
                 to: {sites: [edge-a]}, address: 10.0.0.201, clients: per-client}",
            ),
            (
                "expose files.cloud --to example.com/Tier=Edge_1",
                "kind: Exposure\nmetadata: {name: files-cloud-to-tier-edge-1}\nspec: {service: \
                 files.cloud, to: {labels: {example.com/Tier: Edge_1}}}",
            ),
            (
                "allow edge-a files.cloud --clients 10.0.0.5/32,10.0.0.6/32",
                "kind: Policy\nmetadata: {name: edge-a-to-files-cloud}\nspec: {rules: [{from: {site: \
                 edge-a, clients: [10.0.0.5/32, 10.0.0.6/32]}, to: files.cloud}]}",
            ),
            (
                "allow edge-a,edge-b files.cloud --name p",
                "kind: Policy\nmetadata: {name: p}\nspec: {rules: [{from: {site: edge-a}, to: \
                 files.cloud}, {from: {site: edge-b}, to: files.cloud}]}",
            ),
        ] {
            let meant = resource::read_one(text).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(built(line), Ok(serde_json::to_string(&meant).unwrap()), "{line}");
        }
    }

    #[test]
    fn command_lines_without_sense_are_refused() {
        let long = "a".repeat(60);
        for (line, why) in [
            (
                "site create a --role edge --networks 10.0.0.0/24,10.0.0.0/25 --pool 10.1.0.0/26",
                "overlap",
            ),
            ("service create a.b --port tcp/80 --backend 10.0.0.1,10.0.0.1", "twice"),
            ("service create a.b --port tcp/80,tcp/80 --backend 10.0.0.1", "80"),
            ("expose a.b --to c,d --address 10.0.0.1", "one site only"),
            ("expose a.b --to c,c", "twice"),
            (&format!("expose {long}.b --to c"), "--name"),
            (
                "site create a --role edge --networks 10.0.0.0/24 --pool 10.1.0.0/26 --label a=1 --label a=2",
                "twice",
            ),
        ] {
            let told = built(line).unwrap_err();
            assert!(told.contains(why), "{line}: {told}");
        }
    }

    #[test]
    fn labels_change() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let changed = |words: &[&str]| {
            let changes: Vec<_> = words.iter().map(|word| word.parse().unwrap()).collect();
            relabelled(&labels, &changes).map(|it| serde_json::to_string(&it).unwrap())
        };
        assert_eq!(changed(&["b=2", "a-"]), Ok(r#"{"b":"2"}"#.into()));
        assert_eq!(changed(&["a=3", "c-"]), Ok(r#"{"a":"3"}"#.into()));
        assert!(changed(&["a=3", "a-"]).is_err());
    }
}
