//! What an operator declares: resources, each of a kind and a name, read from YAML or JSON and written
//! back. Every value is one; what concerns more than one resource is checked by [`crate::deployment`].
//!
//! The controller reads what an operator sends by [`read`], brings it together with what others have set by
//! [`merge`], keeps a resource as its JSON (every kind is `Serialize`) and reads that back by [`read_one`],
//! which gives the same resource.

mod fault;
mod field;
mod key;
mod label;
mod merge;
mod node;
mod read;
mod token;
mod write;

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

pub use fault::{ContentError, Fault, FaultKind, ResourceError};
pub use field::{Field, FieldError, ManagerName, Managers, SpecName};
use gateway_policy::{Clients, RuleId, ServiceId, SiteName, label_newtype};
use ipnet::Ipv4Net;
pub use key::{Key, Kind};
pub use label::{LabelFault, LabelKey, LabelValue, Labels, Selector};
pub use merge::{Clash, FieldConflict, merge};
pub use read::{Declared, MAX_LEN, read, read_one};
pub use token::{
    Expiry, SecretHash, Token, TokenFault, TokenName, TokenRole, TokenRoleWord, TokenUses,
};

use crate::model::{
    Backend, ClientNetworks, ClientsAs, Endpoint, GatewayName, HealthCheck, Network, Ports,
    PresencePool, PublicKey, ServiceNumber, TransitBlock, ValueError,
};

label_newtype!(
    /// Name of an exposure.
    ExposureName
);
label_newtype!(
    /// Name of a policy.
    PolicyName
);

/// One thing that an operator declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A place with its own address plan.
    Site(Site),
    /// A host that links a site to others.
    Gateway(Gateway),
    /// Ports of some hosts of a site.
    Service(Service),
    /// A service published to sites.
    Exposure(Exposure),
    /// Who may use what.
    Policy(Policy),
    /// Leave for somebody to join.
    Token(Token),
}

/// A place with its own address plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// What it is selected by.
    pub labels: Labels,
    /// Whether it is a hub.
    pub role: Role,
    /// Prefixes whose hosts may be clients or back ends; the order fixes the clients' indices.
    pub client_networks: ClientNetworks,
    /// Its addresses for presences.
    pub presence_pool: PresencePool,
    /// What remote clients are to appear as; `None`: an address of the pool.
    pub client_presence: Option<Ipv4Addr>,
    /// The cloud site that it reaches others by; `None`: the only one.
    pub hub: Option<SiteName>,
    /// Which transit addresses it is to have; `None`: any.
    pub transit: Option<TransitBlock>,
}

/// What part a site has in the deployment's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A hub: linked to every other cloud site, and to the edge sites whose hub it is.
    Cloud,
    /// Linked to its hub, which relays what goes further.
    Edge,
}

impl FromStr for Role {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "cloud" => Ok(Self::Cloud),
            "edge" => Ok(Self::Edge),
            _ => Err(ValueError::choice(text, &["cloud", "edge"])),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cloud => "cloud",
            Self::Edge => "edge",
        })
    }
}

/// A host that links a site to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its name.
    pub name: GatewayName,
    /// What it is selected by.
    pub labels: Labels,
    /// Its site.
    pub site: SiteName,
    /// Its link's public key.
    pub public_key: PublicKey,
    /// Where others dial it; none: it dials.
    pub endpoints: Vec<Endpoint>,
    /// Whether it takes part.
    pub state: GatewayState,
}

/// Whether a gateway takes part in the deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GatewayState {
    /// It does.
    #[default]
    Active,
    /// Once an operator accepts it.
    Pending,
    /// It did, and never will again under this name.
    Revoked,
}

impl GatewayState {
    const WORDS: [&str; 3] = ["active", "pending", "revoked"];
}

impl FromStr for GatewayState {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "active" => Ok(Self::Active),
            "pending" => Ok(Self::Pending),
            "revoked" => Ok(Self::Revoked),
            _ => Err(ValueError::choice(text, &Self::WORDS)),
        }
    }
}

impl fmt::Display for GatewayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        })
    }
}

/// Ports of some hosts of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name and site.
    pub id: ServiceId,
    /// What it is selected by.
    pub labels: Labels,
    /// What of it is open.
    pub ports: Ports,
    /// The hosts that serve it; one at least, none twice.
    pub backends: Vec<Backend>,
    /// How they are found to serve; `None`: they are held to.
    pub health: Option<HealthCheck>,
    /// Which number it is to have; `None`: any.
    pub number: Option<ServiceNumber>,
}

/// A service published to sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Its name.
    pub name: ExposureName,
    /// What it is selected by.
    pub labels: Labels,
    /// The service.
    pub service: ServiceId,
    /// The sites that get a presence of it.
    pub to: Target,
    /// Which presence it is to have; only with one site. `None`: an address of the site's pool.
    pub address: Option<Ipv4Addr>,
    /// What the sites' clients appear as at the service.
    pub clients: AppearAs,
}

/// Which sites an exposure is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Those named: one at least, none twice.
    Sites(Vec<SiteName>),
    /// Those with all of these labels, except the service's own.
    Labelled(Selector),
}

/// What the clients of an exposure's sites appear as at the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppearAs {
    /// All as the one client presence of the service's site.
    Shared,
    /// Each as an address of its own.
    PerClient {
        /// Which clients; `None`: those of the site's one client network.
        from: Option<Network>,
        /// Where the first of them is to appear; only with one site. `None`: anywhere in the pool.
        presences: Option<Network>,
    },
}

impl AppearAs {
    /// As a word.
    pub fn word(self) -> ClientsAs {
        match self {
            Self::Shared => ClientsAs::Shared,
            Self::PerClient { .. } => ClientsAs::PerClient,
        }
    }
}

/// Who may use what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// What it is selected by.
    pub labels: Labels,
    /// What it allows: one permission at least.
    pub rules: Vec<Permission>,
}

/// One permission of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What verdicts name: the policy, with `-1`, `-2` and so on where it has several.
    pub id: RuleId,
    /// Whose clients.
    pub from: Origin,
    /// Which of them.
    pub clients: Clients,
    /// What they may use.
    pub to: ServiceId,
}

/// Which sites' clients a permission is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Those of one site.
    Site(SiteName),
    /// Those of every site with all of these labels.
    Labelled(Selector),
}

impl Permission {
    /// The prefixes of clients that it names.
    pub fn prefixes(&self) -> &[Ipv4Net] {
        match &self.clients {
            Clients::All => &[],
            Clients::In(prefixes) => prefixes,
        }
    }
}

impl Resource {
    /// Its kind and name.
    pub fn key(&self) -> Key {
        match self {
            Self::Site(site) => Key::Site(site.name.clone()),
            Self::Gateway(gateway) => Key::Gateway(gateway.name.clone()),
            Self::Service(service) => Key::Service(service.id.clone()),
            Self::Exposure(exposure) => Key::Exposure(exposure.name.clone()),
            Self::Policy(policy) => Key::Policy(policy.name.clone()),
            Self::Token(token) => Key::Token(token.name.clone()),
        }
    }

    /// What it is selected by.
    pub fn labels(&self) -> &Labels {
        match self {
            Self::Site(site) => &site.labels,
            Self::Gateway(gateway) => &gateway.labels,
            Self::Service(service) => &service.labels,
            Self::Exposure(exposure) => &exposure.labels,
            Self::Policy(policy) => &policy.labels,
            Self::Token(token) => &token.labels,
        }
    }
    /// Every field that it has as it is written, those with a default among them.
    pub fn fields(&self) -> BTreeSet<Field> {
        field::values(self).into_keys().collect()
    }
}
