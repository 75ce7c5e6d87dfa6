//! A site as declared: every value is one, but nothing has been compared with anything else yet.

use std::net::Ipv4Addr;

use gateway_policy::{AllowRule, ServiceId, SiteName};

use super::{
    Backend, Exposure, FlowSettings, GatewayName, HealthCheck, Host, InstanceName, Lan, Link,
    Network, Peer, Ports, PresencePool, ServiceNumber, TransitBlock, TransitPool,
};

/// What [`super::SiteModel::check`] makes a model of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteDraft {
    /// Where all transit addresses come from.
    pub transit_pool: TransitPool,
    /// This gateway.
    pub gateway: Gateway,
    /// This site.
    pub site: Site,
    /// Interfaces towards the site, in the order that fixes the clients' indices.
    pub lans: Vec<Lan>,
    /// How the gateway host takes part itself, if it does.
    pub host: Option<Host>,
    /// The link device.
    pub link: Link,
    /// Gateways it has links to.
    pub peers: Vec<Peer>,
    /// All other sites.
    pub remote_sites: Vec<RemoteSiteDraft>,
    /// Services here, and those of other sites that are exposed here.
    pub services: Vec<ServiceDraft>,
    /// Who may use what, in the operator's order.
    pub allows: Vec<AllowRule>,
    /// Size and time-outs of the flow table.
    pub flows: FlowSettings,
}

/// This gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its name.
    pub name: GatewayName,
    /// Names its pins and runtime directory.
    pub instance: InstanceName,
}

/// This site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// Its transit addresses.
    pub transit: TransitBlock,
    /// Its addresses for presences.
    pub presence_pool: PresencePool,
    /// What remote clients appear as.
    pub client_presence: Option<Ipv4Addr>,
}

/// Another site, as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSiteDraft {
    /// Its name.
    pub name: SiteName,
    /// Its transit addresses.
    pub transit: TransitBlock,
    /// Its client networks, as far as rules name clients there.
    pub client_networks: Vec<Network>,
}

/// A service, as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDraft {
    /// Its name and site.
    pub id: ServiceId,
    /// Fixes its transit address.
    pub number: ServiceNumber,
    /// What of it is open.
    pub ports: Ports,
    /// The hosts that serve it, if it is here.
    pub backends: Vec<Backend>,
    /// How they are found to serve.
    pub health: Option<HealthCheck>,
    /// Its presence here, if it is at another site.
    pub presence: Option<Ipv4Addr>,
    /// How it is exposed to other sites, if it is here.
    pub exposures: Vec<Exposure>,
}

/// Where in a declaration a problem is, so that whoever read it from a text can say the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which part.
    pub table: Table,
    /// Which of several, counted from 0.
    pub index: usize,
    /// Which key of it; empty for the whole.
    pub field: &'static str,
    /// Which entry of a list, counted from 0.
    pub item: usize,
}

impl Place {
    /// The whole of one table.
    pub const fn whole(table: Table, index: usize) -> Self {
        Self { table, index, field: "", item: 0 }
    }

    /// One key of it.
    pub const fn field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }

    /// One entry of that key's list.
    pub const fn item(self, item: usize) -> Self {
        Self { item, ..self }
    }
}

/// A part of a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// What stands in no table.
    Top,
    /// `[gateway]`.
    Gateway,
    /// `[site]`.
    Site,
    /// `[[lan]]`.
    Lan,
    /// `[host]`.
    Host,
    /// `[link]`.
    Link,
    /// `[[peer]]`.
    Peer,
    /// `[[remote_site]]`.
    RemoteSite,
    /// `[[service]]`.
    Service,
    /// `[[allow]]`.
    Allow,
    /// `[flows]`.
    Flows,
    /// `[flows.timeouts]`.
    Timeouts,
}
