//! What a site is and what it may use. A reader of some notation (here [`crate::site_file`], later
//! the controller) makes a [`SiteDraft`] of it; [`SiteModel::check`] makes that a model,
//! or says everything that is wrong with it. Only a model is compiled.

mod backend;
mod check;
mod draft;
mod error;
mod exposure;
mod flow;
mod host;
mod link;
mod name;
mod network;
mod port;
mod transit;
mod value_error;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

pub use backend::{
    Backend, Count, HealthCheck, HttpPath, MOST_BACKENDS, Probe, ProbeKind, Turn, Weight,
};
pub use check::Problem;
pub use draft::{Gateway, Place, RemoteSiteDraft, ServiceDraft, Site, SiteDraft, Table};
pub use error::{ExposureError, ModelError, PeerError};
pub use exposure::{ClientPresences, ClientsAs, Exposure};
pub use flow::{FlowCapacity, FlowQuota, FlowSettings, Grace, Timeout, Timeouts};
pub use gateway_policy::{
    AllowRule, Clients, RuleId, RuleSet, ServiceId, ServiceName, SiteName, Subject,
};
pub use host::Host;
pub use link::{
    Endpoint, Keepalive, KeyFile, Lan, LanMode, Link, LinkKind, Mtu, NextLink, NextPeer, Peer,
    PublicKey,
};
pub use name::{GatewayName, InstanceName, InterfaceName};
pub use network::{ClientNetworks, Network, PresencePool};
pub use port::{PortRange, PortSpec, Ports, Transport};
pub use transit::{ServiceNumber, TransitBlock, TransitPool};
pub use value_error::ValueError;
pub(crate) use value_error::quoted;

/// A checked site: every reference resolves, no two things share what must be their own, and every
/// transit address it implies exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteModel {
    transit_pool: TransitPool,
    gateway: Gateway,
    site: Site,
    lans: Vec<Lan>,
    client_networks: ClientNetworks,
    host: Option<Host>,
    link: Link,
    peers: Vec<Peer>,
    remote_sites: Vec<RemoteSite>,
    remote_index: BTreeMap<SiteName, usize>,
    local_services: Vec<LocalService>,
    remote_services: Vec<RemoteService>,
    rules: RuleSet,
    flows: FlowSettings,
}

/// Another site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSite {
    /// Its name.
    pub name: SiteName,
    /// Its transit addresses.
    pub transit: TransitBlock,
    /// Its client networks, as far as they are known here.
    pub client_networks: ClientNetworks,
    /// The site of the peer that reaches it.
    pub via: SiteName,
}

/// A service of this site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalService {
    /// Its name and site.
    pub id: ServiceId,
    /// Its number.
    pub number: ServiceNumber,
    /// Its transit address.
    pub transit: Ipv4Addr,
    /// What of it is open.
    pub ports: Ports,
    /// The hosts that serve it; one at least, no two with one address.
    pub backends: Vec<Backend>,
    /// How they are found to serve; none are held to.
    pub health: Option<HealthCheck>,
    /// What they see as the client.
    pub client_presence: Ipv4Addr,
    /// How it is exposed to sites whose clients do not all appear as that.
    pub exposures: Vec<Exposure>,
}

/// A service of another site that is exposed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteService {
    /// Its name and site.
    pub id: ServiceId,
    /// Its number.
    pub number: ServiceNumber,
    /// Its transit address.
    pub transit: Ipv4Addr,
    /// What of it is open.
    pub ports: Ports,
    /// Its address here.
    pub presence: Ipv4Addr,
}

impl SiteModel {
    /// Where all transit addresses come from.
    pub fn transit_pool(&self) -> TransitPool {
        self.transit_pool
    }

    /// This gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// This site.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Interfaces towards the site.
    pub fn lans(&self) -> &[Lan] {
        &self.lans
    }

    /// The networks of all LAN interfaces and those that the host routes, in order.
    pub fn client_networks(&self) -> &ClientNetworks {
        &self.client_networks
    }

    /// How the gateway host takes part itself, if it does.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// The link device.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Gateways it has links to.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// All other sites.
    pub fn remote_sites(&self) -> &[RemoteSite] {
        &self.remote_sites
    }

    /// Another site, by name.
    pub fn remote_site(&self, name: &SiteName) -> Option<&RemoteSite> {
        self.remote_sites.get(*self.remote_index.get(name)?)
    }

    /// Services of this site.
    pub fn local_services(&self) -> &[LocalService] {
        &self.local_services
    }

    /// Services of other sites that are exposed here.
    pub fn remote_services(&self) -> &[RemoteService] {
        &self.remote_services
    }

    /// Who may use what.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Size and times of the flow table.
    pub fn flows(&self) -> FlowSettings {
        self.flows
    }

    /// The site's transit block and client networks, for this site and others.
    pub fn clients_of(&self, site: &SiteName) -> Option<(TransitBlock, &ClientNetworks)> {
        if *site == self.site.name {
            return Some((self.site.transit, &self.client_networks));
        }
        self.remote_site(site).map(|remote| (remote.transit, &remote.client_networks))
    }

    /// What is legal but perhaps not meant.
    pub fn notes(&self) -> Vec<Note> {
        let mut notes = Vec::new();
        for rule in self.rules.rules() {
            let from_here = rule.subject.site == self.site.name;
            let to_here = rule.service.site == self.site.name;
            if from_here == to_here {
                notes.push(Note::RuleWithoutEffect {
                    rule: rule.id.clone(),
                    from: rule.subject.site.clone(),
                    to: rule.service.clone(),
                });
            }
        }
        notes
    }
}

/// Something an operator should know about a model that is otherwise fine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A rule that this gateway has no part in.
    RuleWithoutEffect {
        /// The rule.
        rule: RuleId,
        /// Its subject's site.
        from: SiteName,
        /// Its service.
        to: ServiceId,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuleWithoutEffect { rule, from, to } if *from == to.site => write!(
                f,
                "rule {rule} has no effect: clients of {from} use {to} without a gateway between"
            ),
            Self::RuleWithoutEffect { rule, from, to } => write!(
                f,
                "rule {rule} has no effect here: the gateways of {from} and {} enforce it for {to}",
                to.site
            ),
        }
    }
}
