//! What one gateway is told of a deployment: its *share*. Together with what only its host knows, the
//! *local facts*, it is what a site file says, a [`SiteDraft`]; from there on nothing differs.
//!
//! A share is a set of items, each computed by itself from the deployment and the record of allocations,
//! so that a change of a resource comes down to the items it touches ([`footprint`]).

mod items;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gateway_policy::{AllowRule, Clients, ServiceId, SiteName};
pub use items::{footprint, item, keys, of_allocations};
pub use wire::{MAX_LEN, WireError};
pub(crate) use wire::{encode_item, push, split};

use crate::model::{
    ClientNetworks, Endpoint, FlowSettings, Gateway, GatewayName, Host, InstanceName, Keepalive,
    Lan, Link, Network, Peer, PublicKey, RemoteSiteDraft, ServiceDraft, Site, SiteDraft, SiteModel,
    TransitBlock, TransitPool,
};
use crate::resource::PolicyName;

/// What one site's gateway is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share(BTreeMap<ItemKey, Item>);

/// What an item of a share is about; the order is that of a site file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKey {
    /// The site itself.
    Own,
    /// The gateway of a site that it has a link to.
    Peer(SiteName),
    /// Another site.
    Remote(SiteName),
    /// A service of the site, or one exposed to it.
    Service(ServiceId),
    /// A permission of a policy, by its place there, for the clients of a site.
    Rule(PolicyName, usize, SiteName),
}

/// One item of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The site itself.
    Own(Own),
    /// A gateway that it has a link to.
    Peer(LinkedGateway),
    /// Another site.
    Remote(KnownSite),
    /// A service of the site, or one exposed to it.
    Service(ServiceDraft),
    /// A permission for its clients, or for clients of its services.
    Rule(PolicyRule),
}

/// A permission, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// The policy.
    pub policy: PolicyName,
    /// Its place there.
    pub place: usize,
    /// The permission.
    pub rule: AllowRule,
}

/// A site as its own gateway has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Where all transit addresses come from.
    pub transit_pool: TransitPool,
    /// Name and addresses.
    pub site: Site,
    /// Its client networks, in the order that fixes the clients' indices.
    pub client_networks: ClientNetworks,
    /// Whether it forwards packets between two other sites.
    pub relay: bool,
}

/// The far end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedGateway {
    /// Its site.
    pub site: SiteName,
    /// Its link's public key.
    pub public_key: PublicKey,
    /// Where to dial it; none: it dials.
    pub endpoints: Vec<Endpoint>,
}

/// Another site as a gateway has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSite {
    /// Its name.
    pub name: SiteName,
    /// Its transit addresses.
    pub transit: TransitBlock,
    /// Its client networks, where its clients use services here.
    pub client_networks: Vec<Network>,
    /// The linked site that leads to it.
    pub via: SiteName,
}

/// What only a gateway's host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFacts {
    /// Names its pins and runtime directory.
    pub instance: InstanceName,
    /// Interfaces towards the site, with the client networks behind each.
    pub lans: Vec<Lan>,
    /// How the host takes part itself, if it does.
    pub host: Option<Host>,
    /// The link device; whether it relays is the share's to say.
    pub link: Link,
    /// Size and time-outs of the flow table.
    pub flows: FlowSettings,
}

impl LocalFacts {
    /// Those of a gateway that was set up by a site file.
    pub fn of(model: &SiteModel) -> Self {
        Self {
            instance: model.gateway().instance.clone(),
            lans: model.lans().to_vec(),
            host: model.host().cloned(),
            link: model.link().clone(),
            flows: model.flows(),
        }
    }

    fn networks(&self) -> Vec<Network> {
        let lans = self.lans.iter().flat_map(|lan| &lan.networks);
        lans.chain(self.host.iter().flat_map(|host| &host.networks)).copied().collect()
    }
}

/// Why a share and local facts make no site.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The share does not say what its site is.
    #[error("the share says nothing of the gateway's own site; ask the controller anew")]
    NoSite,
    /// The host has other client networks than the site.
    #[error(
        "site {site}: this host's interfaces have the client networks {local}, and the site is declared with \
         {declared}; make both the same, in the same order, as it fixes the clients' addresses"
    )]
    Networks {
        /// The site.
        site: SiteName,
        /// As declared.
        declared: ClientNetworks,
        /// As the host has them.
        local: String,
    },
}

impl Share {
    /// The items, in the order of a site file.
    pub fn items(&self) -> &BTreeMap<ItemKey, Item> {
        &self.0
    }

    /// Sets an item, or takes it out.
    pub fn set(&mut self, key: ItemKey, item: Option<Item>) {
        match item {
            Some(item) => drop(self.0.insert(key, item)),
            None => drop(self.0.remove(&key)),
        }
    }

    /// What of it is the site's own: the rest is of use only with others.
    #[must_use]
    pub fn alone(&self) -> Self {
        let site = match self.0.get(&ItemKey::Own) {
            Some(Item::Own(own)) => Some(&own.site.name),
            _ => None,
        };
        let is_own = |key: &ItemKey| match key {
            ItemKey::Own => true,
            ItemKey::Service(id) => Some(&id.site) == site,
            ItemKey::Peer(_) | ItemKey::Remote(_) | ItemKey::Rule(..) => false,
        };
        let own = self.0.iter().filter(|(key, _)| is_own(key));
        Self(own.map(|(key, item)| (key.clone(), item.clone())).collect())
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The site as a site file would declare it. What no link leads to is left out: there is no gateway
    /// yet that could be asked.
    pub fn draft(&self, name: &GatewayName, facts: &LocalFacts) -> Result<SiteDraft, ShareError> {
        let Some(Item::Own(own)) = self.0.get(&ItemKey::Own) else {
            return Err(ShareError::NoSite);
        };
        let declared: Vec<_> = own.client_networks.indexed().map(|(network, _)| network).collect();
        let local = facts.networks();
        if local != declared {
            let local: Vec<_> = local.iter().map(Network::to_string).collect();
            return Err(ShareError::Networks {
                site: own.site.name.clone(),
                declared: own.client_networks.clone(),
                local: local.join(", "),
            });
        }
        let mut draft = SiteDraft {
            transit_pool: own.transit_pool,
            gateway: Gateway { name: name.clone(), instance: facts.instance.clone() },
            site: own.site.clone(),
            lans: facts.lans.clone(),
            host: facts.host.clone(),
            link: Link { relay: own.relay, ..facts.link.clone() },
            peers: Vec::new(),
            remote_sites: Vec::new(),
            services: Vec::new(),
            allows: Vec::new(),
            flows: facts.flows,
        };
        let mut places: BTreeMap<&SiteName, usize> = BTreeMap::new();
        let mut reached: BTreeSet<&SiteName> = [&own.site.name].into();
        for item in self.0.values() {
            match item {
                Item::Own(_) => {}
                Item::Peer(far) => {
                    places.insert(&far.site, draft.peers.len());
                    draft.peers.push(peer(far));
                }
                Item::Remote(known) => {
                    let Some(place) = places.get(&known.via) else { continue };
                    reached.insert(&known.name);
                    if let Some(peer) =
                        draft.peers.get_mut(*place).filter(|it| it.site != known.name)
                    {
                        peer.reaches.push(known.name.clone());
                    }
                    draft.remote_sites.push(RemoteSiteDraft {
                        name: known.name.clone(),
                        transit: known.transit,
                        client_networks: known.client_networks.clone(),
                    });
                }
                Item::Service(service) => {
                    if reached.contains(&service.id.site) {
                        let mut service = service.clone();
                        service.exposures.retain(|exposure| reached.contains(&exposure.site));
                        draft.services.push(service);
                    }
                }
                Item::Rule(PolicyRule { rule, .. }) => {
                    let sites = [&rule.subject.site, &rule.service.site];
                    if sites.into_iter().all(|site| reached.contains(site)) {
                        draft.allows.push(rule.clone());
                    }
                }
            }
        }
        Ok(draft)
    }
}

fn peer(far: &LinkedGateway) -> Peer {
    Peer {
        site: far.site.clone(),
        public_key: far.public_key,
        endpoints: far.endpoints.clone(),
        keepalive: (!far.endpoints.is_empty()).then_some(Keepalive::DEFAULT),
        reaches: Vec::new(),
        next: None,
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(own) => {
                let Site { name, transit, presence_pool, client_presence } = &own.site;
                write!(f, "site {name}: transit {transit}, presencePool {presence_pool}")?;
                if let Some(address) = client_presence {
                    write!(f, ", clientPresence {address}")?;
                }
                write!(f, ", clientNetworks {}", own.client_networks)?;
                if own.relay { f.write_str(", relays") } else { Ok(()) }
            }
            Self::Peer(far) => {
                write!(f, "link to site {}: key {}", far.site, far.public_key)?;
                far.endpoints.iter().try_for_each(|endpoint| write!(f, ", at {endpoint}"))
            }
            Self::Remote(known) => {
                write!(f, "site {}: transit {}", known.name, known.transit)?;
                if known.via != known.name {
                    write!(f, ", by way of {}", known.via)?;
                }
                known.client_networks.iter().try_for_each(|net| write!(f, ", clients in {net}"))
            }
            Self::Service(service) => {
                write!(f, "service {}: number {}", service.id, service.number)?;
                service.ports.specs().iter().try_for_each(|port| write!(f, ", {port}"))?;
                if let Some(presence) = service.presence {
                    write!(f, ", presence {presence}")?;
                }
                for backend in &service.backends {
                    let (weight, turn) = (backend.weight.number(), backend.turn);
                    write!(f, ", back end {} (weight {weight}, {turn})", backend.address)?;
                }
                if let Some(check) = &service.health {
                    write!(f, ", asked by {} every {}", check.probe, check.interval)?;
                }
                service.exposures.iter().try_for_each(|it| {
                    let first = it.clients.addresses().map(|net| net.to_string());
                    write!(f, ", clients of {} as {}", it.site, first.unwrap_or_default())
                })
            }
            Self::Rule(PolicyRule { rule, .. }) => {
                write!(f, "rule {}: {} may use {}", rule.id, rule.subject.site, rule.service)?;
                match &rule.subject.clients {
                    Clients::All => Ok(()),
                    Clients::In(nets) => nets.iter().try_for_each(|net| write!(f, ", from {net}")),
                }
            }
        }
    }
}
