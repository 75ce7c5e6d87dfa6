//! Resources and the deployment as operators see them: what is declared, and what has become of it.

use std::collections::{BTreeMap, BTreeSet};

use gateway_control::deployment::Deployment;
use gateway_control::deployment::share::{self, Item, ItemKey};
use gateway_control::model::{GatewayName, SiteName};
use gateway_control::resource::{Gateway, GatewayState as Standing, Key, Kind, Resource, Site};

use super::fleet::{Fleet, Member};
use super::state::State;
use crate::api::wire::{
    Condition, DeploymentStatus, GatewayState, Metadata, Progress, SiteStatus, Status, Truth, View,
};

/// Gateways that a resource's status names; conditions count all of them.
const GATEWAYS: usize = 100;
/// Sites and problems that the deployment's status names.
const SITES: usize = 1000;
const PROBLEMS: usize = 100;

/// A resource with its status.
pub(super) fn view(state: &State, fleet: &Fleet, resource: &Resource) -> Option<View> {
    let key = resource.key();
    let written = state.written.get(&key)?;
    // Every kind is texts and numbers all through, in the shape that a document has.
    let mut json = serde_json::to_value(resource).ok()?;
    let labels = resource.labels().iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let managers =
        written.managers.iter().map(|(field, name)| (field.to_string(), name.to_string()));
    let name = match json.pointer("/metadata/name").and_then(|it| it.as_str()) {
        Some(name) => name.to_owned(),
        None => key.name(),
    };
    Some(View {
        kind: key.kind().word().to_owned(),
        metadata: Metadata {
            name,
            labels: labels.collect(),
            revision: written.revision.number(),
            managers: managers.collect(),
        },
        spec: json.get_mut("spec").map(serde_json::Value::take).unwrap_or_default(),
        status: status(state, fleet, &key),
    })
}

fn status(state: &State, fleet: &Fleet, key: &Key) -> Status {
    if let Key::Gateway(name) = key
        && let Some(gateway) = state.desired.deployment().gateways().get(name)
        && let Some(idle) = idle(gateway)
    {
        // How far its site is concerns the one that took its place.
        let conditions = vec![idle, connected(state, fleet, name)];
        return Status { conditions, ..Status::default() };
    }
    let sites = concerned(state, key);
    let mut gateways: Vec<GatewayState> = fleet.look(|members| {
        sites.iter().map(|site| gateway_state(state, site, members.get(site))).collect()
    });
    let mut conditions = vec![applied(&gateways)];
    if let Key::Gateway(name) = key {
        conditions.push(connected(state, fleet, name));
    }
    gateways.sort_by_key(|gateway| gateway.state == Progress::Applied);
    gateways.truncate(GATEWAYS);
    Status { allocated: allocated(state, key), gateways, conditions }
}

/// The sites whose gateways have a part in a resource.
fn concerned(state: &State, key: &Key) -> BTreeSet<SiteName> {
    let deployment = state.desired.deployment();
    if let Key::Gateway(name) = key {
        return deployment.gateways().get(name).map(|it| it.site.clone()).into_iter().collect();
    }
    let mut touched = BTreeSet::new();
    share::footprint(deployment, key, &mut touched);
    touched.into_iter().map(|(site, _)| site).collect()
}

/// Why a gateway takes no part, if it takes none.
fn idle(gateway: &Gateway) -> Option<Condition> {
    let reason = match gateway.state {
        Standing::Active => return None,
        Standing::Pending => "Pending",
        Standing::Revoked => "Revoked",
    };
    let message = absence(gateway)?;
    Some(Condition {
        name: "Applied".to_owned(),
        status: Truth::False,
        reason: reason.to_owned(),
        message,
    })
}

/// What is in the way of a gateway that takes no part, with the remedy.
fn absence(gateway: &Gateway) -> Option<String> {
    let Gateway { name, site, state, .. } = gateway;
    match state {
        Standing::Active => None,
        Standing::Pending => Some(format!(
            "gateway {name} waits to be accepted; see who it is, and run `gatewayctl gateway accept {name}`"
        )),
        Standing::Revoked => Some(format!(
            "gateway {name} was revoked; another host may join by `gatewayctl token create --site {site}`"
        )),
    }
}

/// Why no gateway of a site takes part.
fn vacancy(state: &State, site: &SiteName) -> String {
    let of_site = || state.desired.deployment().gateways_of(site);
    let pending = of_site().find(|it| it.state == Standing::Pending);
    let gateway = pending.or_else(|| of_site().next());
    gateway.and_then(absence).unwrap_or_else(|| "it has no gateway; declare one".to_owned())
}

fn gateway_state(state: &State, site: &SiteName, member: Option<&Member>) -> GatewayState {
    let wanted = state.told(site).unwrap_or_default();
    let gateway = state.desired.deployment().gateway_of(site);
    let report = member.map(Member::report);
    let applied = report.and_then(|report| report.applied);
    let refused = report.and_then(|report| report.refused.clone());
    let (progress, why) = if gateway.is_none() {
        (Progress::Missing, Some(vacancy(state, site)))
    } else if !member.is_some_and(Member::is_connected) {
        let why = "it is not connected to this controller and goes on with what it has; see that its \
                   gatewayd runs and reaches the controller";
        (Progress::Absent, Some(why.to_owned()))
    } else if let Some(why) = member.and_then(Member::lacks_share) {
        (Progress::Refused, Some(why))
    } else if refused.is_some() {
        (Progress::Refused, refused)
    } else if applied.is_some_and(|applied| applied >= wanted) {
        (Progress::Applied, None)
    } else {
        (Progress::Pending, None)
    };
    GatewayState {
        site: site.to_string(),
        gateway: gateway.map(|it| it.name.to_string()),
        wanted: wanted.number(),
        applied: applied.map(|it| it.number()),
        state: progress,
        why,
    }
}

/// What the gateways' states come to.
fn applied(gateways: &[GatewayState]) -> Condition {
    let count = |state| gateways.iter().filter(|it| it.state == state).count();
    let name =
        |it: &GatewayState| it.gateway.clone().unwrap_or_else(|| format!("site {}", it.site));
    let first = |state| gateways.iter().find(|it| it.state == state);
    let all = gateways.len();
    let said = |status, reason: &str, message| Condition {
        name: "Applied".to_owned(),
        status,
        reason: reason.to_owned(),
        message,
    };
    let lacking = |state| {
        let gateway = first(state)?;
        let why = gateway.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        Some(format!("{} of {all} gateways, {} among them{why}", count(state), name(gateway)))
    };
    if let Some(which) = lacking(Progress::Refused) {
        return said(Truth::False, "Refused", which);
    }
    if let Some(which) = lacking(Progress::Missing) {
        return said(Truth::False, "NoGateway", which);
    }
    if let Some(which) = lacking(Progress::Absent) {
        return said(Truth::Unknown, "NotConnected", which);
    }
    if let Some(which) = lacking(Progress::Pending) {
        return said(Truth::False, "Waiting", which);
    }
    match all {
        0 => said(Truth::True, "Applied", "no gateway has a part in it".to_owned()),
        all => said(Truth::True, "Applied", format!("by all of {all} gateways")),
    }
}

fn connected(state: &State, fleet: &Fleet, name: &GatewayName) -> Condition {
    let gateway = state.desired.deployment().gateways().get(name);
    let is_connected = fleet.look(|members| {
        let member = gateway.and_then(|gateway| members.get(&gateway.site));
        member.is_some_and(|it| it.is_connected() && it.is(name))
    });
    let (status, reason, message) = if is_connected {
        (Truth::True, "Connected", "it is connected to this controller")
    } else {
        (
            Truth::False,
            "NotConnected",
            "it is not connected to this controller; see that its gatewayd runs",
        )
    };
    Condition {
        name: "Connected".to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

/// Addresses and numbers that were given out for a resource.
fn allocated(state: &State, key: &Key) -> BTreeMap<String, String> {
    let deployment = state.desired.deployment();
    let item = |site: &SiteName, key: ItemKey| state.desired.share(site)?.items().get(&key);
    let mut found = BTreeMap::new();
    match key {
        Key::Site(name) => {
            if let Some(Item::Own(own)) = item(name, ItemKey::Own) {
                found.insert("transit".to_owned(), own.site.transit.to_string());
                if let Some(address) = own.site.client_presence {
                    found.insert("clientPresence".to_owned(), address.to_string());
                }
            }
        }
        Key::Service(id) => {
            if let Some(Item::Service(service)) = item(&id.site, ItemKey::Service(id.clone())) {
                found.insert("number".to_owned(), service.number.to_string());
                if let Some(Item::Own(own)) = item(&id.site, ItemKey::Own)
                    && let Some(address) = own.site.transit.service(service.number)
                {
                    found.insert("transit".to_owned(), address.to_string());
                }
            }
        }
        Key::Exposure(name) => {
            let Some(exposure) = deployment.exposures().get(name) else { return found };
            for site in deployment.sites_of(exposure).into_iter().take(GATEWAYS) {
                let key = ItemKey::Service(exposure.service.clone());
                if let Some(Item::Service(service)) = item(site, key)
                    && let Some(presence) = service.presence
                {
                    found.insert(format!("presence at {site}"), presence.to_string());
                }
            }
        }
        Key::Gateway(_) | Key::Policy(_) | Key::Token(_) => {}
    }
    found
}

/// The deployment at one look.
pub(super) fn deployment(state: &State, fleet: &Fleet, store: String) -> DeploymentStatus {
    let deployment = state.desired.deployment();
    let mut counts: BTreeMap<String, usize> =
        Kind::ALL.into_iter().map(|kind| (kind.word().to_owned(), 0)).collect();
    for key in state.written.keys() {
        *counts.entry(key.kind().word().to_owned()).or_default() += 1;
    }
    let mut sites: Vec<SiteStatus> = fleet.look(|members| {
        let site = |(name, site): (&SiteName, &Site)| {
            let gateway = gateway_state(state, name, members.get(name));
            let lag = gateway.applied.map(|applied| gateway.wanted.saturating_sub(applied));
            SiteStatus {
                name: name.to_string(),
                role: site.role.to_string(),
                links: linked(deployment, site),
                links_up: members.get(name).and_then(|member| member.report().links_up),
                services: deployment.services_at(name).count(),
                uses: deployment.used_by(name).count(),
                lag,
                gateway,
            }
        };
        deployment.sites().iter().map(site).collect()
    });
    let mut problems = Vec::new();
    for site in &sites {
        let (state, name) = (&site.gateway, &site.name);
        if let Some(why) = &state.why {
            let gateway = state.gateway.as_ref().map(|it| format!(", gateway {it}"));
            problems.push(format!("site {name}{}: {why}", gateway.unwrap_or_default()));
        }
        if let Some(up) = site.links_up.filter(|up| *up < site.links) {
            problems.push(format!(
                "site {name}: {} of its {} links are down; run `gatewayctl link list` on its gateway",
                site.links - up,
                site.links
            ));
        }
    }
    sites.sort_by_key(|site| (site.gateway.state == Progress::Applied, site.name.clone()));
    let more_sites = sites.len().saturating_sub(SITES);
    let more_problems = problems.len().saturating_sub(PROBLEMS);
    sites.truncate(SITES);
    problems.truncate(PROBLEMS);
    DeploymentStatus {
        revision: state.turn.unwrap_or_default().number(),
        store,
        counts,
        sites,
        more_sites,
        problems,
        more_problems,
    }
}

/// To how many sites it is to have a link: to those that have a gateway.
fn linked(deployment: &Deployment, site: &Site) -> usize {
    let neighbours = deployment.neighbours(site);
    neighbours.iter().filter(|site| deployment.gateway_of(site).is_some()).count()
}
