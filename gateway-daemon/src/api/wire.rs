//! What goes over the API, both ways: the server writes it, `gatewayctl` reads it, and the OpenAPI document
//! is made of it.
//!
//! Field names do not change. A reader takes fields that it does not know for those of a later version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// A resource: what is declared, and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct View {
    /// `Site`, `Gateway`, `Service`, `Exposure`, `Policy` or `Token`.
    pub kind: String,
    /// What it is called and selected by.
    pub metadata: Metadata,
    /// What is declared, with the fields of its kind.
    pub spec: Value,
    /// What has become of it.
    #[serde(default)]
    pub status: Status,
}

impl View {
    /// What it is asked for and deleted by.
    pub fn reference(&self) -> Reference {
        let name = &self.metadata.name;
        let name = match self.spec.get("site").and_then(Value::as_str) {
            Some(site) if self.kind == "Service" => format!("{name}.{site}"),
            _ => name.clone(),
        };
        Reference { kind: self.kind.clone(), name }
    }
}

/// What a resource is called and selected by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Metadata {
    /// Its name, unique among its kind; of a service, unique at its site.
    pub name: String,
    /// What it is selected by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The revision that last changed it. Applied with it, a resource that was changed since is refused.
    pub revision: u64,
    /// Who last set each field: `spec.FIELD` or `metadata.labels.KEY`, and the manager's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub managers: BTreeMap<String, String>,
}

/// What has become of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Addresses and numbers that were allocated for it: what they are, and the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocated: BTreeMap<String, String>,
    /// The gateways that are told of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewayState>,
    /// What holds of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// How far a gateway is with what it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayState {
    /// Its site.
    pub site: String,
    /// Its name; none if the site has no gateway yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The revision that it is told.
    pub wanted: u64,
    /// The last revision that it has in its kernel, as far as it has reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<u64>,
    /// How it is.
    pub state: Progress,
    /// Why it has not applied what it is told, and the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How far a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It has in its kernel what it is told.
    Applied,
    /// It has been told and has not answered yet.
    Pending,
    /// It could not apply it.
    Refused,
    /// It is not connected.
    Absent,
    /// There is none.
    Missing,
}

/// Something that holds of a resource, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Condition {
    /// What: `Applied`, and for a gateway also `Connected`.
    #[serde(rename = "type")]
    pub name: String,
    /// Whether it holds.
    pub status: Truth,
    /// Why, as one word.
    pub reason: String,
    /// Why, as a sentence, with the remedy if it is a fault.
    pub message: String,
}

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

/// Which resources are listed or watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// Of one kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// With all of these labels: `KEY=VALUE,KEY=VALUE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// At most so many; 500 if left out, which is also the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// What an earlier page gave as `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A page of resources, those that others refer to first, then by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// The resources.
    pub items: Vec<View>,
    /// The revision that this page shows.
    pub revision: u64,
    /// Where the next page begins; none if this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How resources are applied; the body has them as YAML or JSON, several documents if need be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApplyQuery {
    /// Only say what would change, and where.
    #[serde(default, rename = "dry-run")]
    pub dry_run: bool,
    /// Take over fields that others have set to something else.
    #[serde(default)]
    pub force: bool,
    /// In whose name fields are set; the caller's user name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
}

/// Resources that are to be deleted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// Which.
    pub resources: Vec<Reference>,
    /// Only say what would change, and where.
    #[serde(default)]
    pub dry_run: bool,
}

/// A resource, by kind and name; a service is named `SERVICE.SITE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What a change did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// The revision of the change; none if there was nothing to do, or it was a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What became of each resource that was named.
    pub resources: Vec<Fate>,
    /// What changes on which gateway.
    pub gateways: Vec<GatewayChange>,
}

/// What became of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fate {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `created`, `changed`, `unchanged` or `deleted`.
    pub fate: String,
}

/// What changes on a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayChange {
    /// Its site.
    pub site: String,
    /// Its name; none if the site has no gateway yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// What of its share.
    pub items: Vec<ItemChange>,
}

/// One thing that a gateway is told otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemChange {
    /// What it was, on one line; none if it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is, on one line; none if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A line of a watch: what has changed among the resources that are watched since the line before, by one revision or by
/// several; the first line has all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Watched {
    /// The revision that they are of now.
    pub revision: u64,
    /// What is new or changed, status included. A change of status alone shows up as well, under the revision
    /// that was there already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put: Vec<View>,
    /// What is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<Reference>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When, in seconds since 1970.
    pub at: u64,
    /// The resource.
    pub about: Reference,
    /// What happened, as one word: `Created`, `Changed`, `Deleted`, and of a gateway also `Accepted`, `Revoked`,
    /// `Locked`, `TurnedAway`, `Misbehaved`, `Applied`, `Refused`, `Connected` and `Disconnected`.
    pub reason: String,
    /// What happened, as a sentence.
    pub message: String,
    /// Who did it, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Which events are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Of resources of one kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of one resource of that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// At most so many, the last ones; 100 if left out, and 1000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Events, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// The events.
    pub items: Vec<Event>,
}

/// The deployment at one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentStatus {
    /// The revision of what is declared.
    pub revision: u64,
    /// What the store is, and where.
    pub store: String,
    /// How many resources there are of each kind.
    pub counts: BTreeMap<String, usize>,
    /// Every site with its gateway: at most 1000 of them, those with problems first.
    pub sites: Vec<SiteStatus>,
    /// Sites that are not shown.
    pub more_sites: usize,
    /// What is wrong, each with its remedy: at most 100.
    pub problems: Vec<String>,
    /// Problems that are not shown.
    pub more_problems: usize,
}

/// A site at one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteStatus {
    /// Its name.
    pub name: String,
    /// `cloud` or `edge`.
    pub role: String,
    /// Its gateway.
    pub gateway: GatewayState,
    /// Sites that it has a link to.
    pub links: usize,
    /// Of these, how many its gateway reports as up; none if it has not reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links_up: Option<usize>,
    /// Services at it.
    pub services: usize,
    /// Services of other sites that are exposed to it.
    pub uses: usize,
    /// Revisions between what its gateway is told and what it has applied; none if it has not reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// What somebody who joins has to know of the deployment; none of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentIdentity {
    /// Its trust domain.
    pub trust_domain: String,
    /// Its CA, by the SHA-256 of its public key, hexadecimal.
    pub authority: String,
    /// Where gateways reach its controllers: `HOST:PORT`.
    pub controllers: Vec<String>,
}

/// Why a request was refused. Every answer that is no success has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// What kind of refusal it is, as one word that does not change.
    pub error: ErrorWord,
    /// What is wrong and what to do, for people: one line, or several where there are several problems.
    pub message: String,
    /// Each thing that is wrong with what was sent, as far as it can be told apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemView>,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorWord {
    /// The request itself is wrong.
    BadRequest,
    /// What was sent is no resource, or makes no sense.
    Invalid,
    /// The caller may not do this.
    Forbidden,
    /// There is nothing of that name, or no such path.
    NotFound,
    /// What was sent does not go with what others have set.
    Conflict,
    /// Something else still needs it.
    InUse,
    /// The body is too long.
    TooLarge,
    /// The caller asks too often.
    TooManyRequests,
    /// The store or another controller is in the way; try again later.
    Unavailable,
    /// The store is full.
    StoreFull,
    /// The controller has a fault.
    Internal,
}

/// One thing that is wrong with what was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemView {
    /// Kind of the resource; none if it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// Document of the body, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// Line of the body, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}
