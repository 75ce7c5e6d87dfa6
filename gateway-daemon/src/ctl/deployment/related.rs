//! Which other resources a resource has to do with: those that it names or selects, and those that name or
//! select it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::kinds;
use crate::api::wire::{Reference, View};

/// Another resource, and what it has to do with one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Related {
    /// What it has to do with it.
    pub how: &'static str,
    /// Which.
    pub resource: Reference,
}

/// What `view` has to do with the others.
pub(super) fn related(view: &View, all: &[View]) -> Vec<Related> {
    let mut found = BTreeSet::new();
    for other in all {
        if kinds::of_view(other) == kinds::of_view(view) {
            continue;
        }
        if let Some(how) = how(view, other) {
            found.insert(Related { how, resource: kinds::of_view(other) });
        }
        // What a service's exposures select is as good as named by the service.
        if view.kind == "Service" && other.kind == "Exposure" && serves(view, other) {
            let sites = all.iter().filter(|site| site.kind == "Site" && is_target(other, site));
            found.extend(
                sites.map(|site| Related {
                    how: "it is exposed to",
                    resource: kinds::of_view(site),
                }),
            );
        }
    }
    found.into_iter().collect()
}

fn how(view: &View, other: &View) -> Option<&'static str> {
    let name = view.metadata.name.as_str();
    let pair = (view.kind.as_str(), other.kind.as_str());
    match pair {
        ("Site", "Gateway") => (field(other, "site") == Some(name)).then_some("its gateway"),
        ("Site", "Service") => (field(other, "site") == Some(name)).then_some("service at it"),
        ("Site", "Site") if field(view, "hub") == Some(other.metadata.name.as_str()) => {
            Some("its hub")
        }
        ("Site", "Site") => (field(other, "hub") == Some(name)).then_some("it is the hub of"),
        ("Site", "Exposure") => is_target(other, view).then_some("exposed to it"),
        ("Site", "Policy") => {
            rules(other).any(|rule| is_from(rule, view)).then_some("allows its clients")
        }
        ("Service", "Exposure") => serves(view, other).then_some("exposed by"),
        ("Service", "Policy") => {
            let id = kinds::of_view(view).name;
            rules(other).any(|rule| to(rule) == Some(id.as_str())).then_some("allowed by")
        }
        ("Service" | "Gateway", "Site") => {
            (field(view, "site") == Some(other.metadata.name.as_str())).then_some("its site")
        }
        ("Exposure", "Service") => serves(other, view).then_some("exposes"),
        ("Exposure", "Site") => is_target(view, other).then_some("to"),
        ("Policy", "Service") => {
            let id = kinds::of_view(other).name;
            rules(view).any(|rule| to(rule) == Some(id.as_str())).then_some("allows the use of")
        }
        ("Policy", "Site") => {
            rules(view).any(|rule| is_from(rule, other)).then_some("allows clients of")
        }
        _ => None,
    }
}

fn field<'a>(view: &'a View, name: &str) -> Option<&'a str> {
    view.spec.get(name)?.as_str()
}

fn serves(service: &View, exposure: &View) -> bool {
    field(exposure, "service") == Some(kinds::of_view(service).name.as_str())
}

/// Whether an exposure is for a site. Labels do not select the service's own.
fn is_target(exposure: &View, site: &View) -> bool {
    let Some(to) = exposure.spec.get("to") else { return false };
    let own = field(exposure, "service").and_then(|id| Some(id.split_once('.')?.1));
    match to.get("sites").and_then(Value::as_array) {
        Some(sites) => sites.iter().any(|name| name.as_str() == Some(site.metadata.name.as_str())),
        None => own != Some(site.metadata.name.as_str()) && selects(to.get("labels"), site),
    }
}

fn rules(policy: &View) -> impl Iterator<Item = &Value> {
    policy.spec.get("rules").and_then(Value::as_array).into_iter().flatten()
}

fn to(rule: &Value) -> Option<&str> {
    rule.get("to")?.as_str()
}

fn is_from(rule: &Value, site: &View) -> bool {
    let Some(from) = rule.get("from") else { return false };
    match from.get("site").and_then(Value::as_str) {
        Some(name) => name == site.metadata.name,
        None => selects(from.get("labels"), site),
    }
}

fn selects(labels: Option<&Value>, view: &View) -> bool {
    let Some(labels) = labels.and_then(Value::as_object) else { return false };
    let held: &BTreeMap<String, String> = &view.metadata.labels;
    labels.iter().all(|(key, value)| held.get(key).map(String::as_str) == value.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn relations_go_both_ways() {
        let views = sample::views();
        let told = |name: &str| -> Vec<String> {
            let view = views.iter().find(|view| kinds::shown(&kinds::of_view(view)) == name);
            let found = related(view.unwrap(), &views);
            found.iter().map(|it| format!("{} {}", it.how, kinds::shown(&it.resource))).collect()
        };
        assert_eq!(
            told("site/edge-a"),
            [
                "allows its clients policy/collector",
                "exposed to it exposure/rabbitmq-to-a",
                "exposed to it exposure/rabbitmq-to-edges",
                "its hub site/cloud",
            ]
        );
        assert_eq!(
            told("site/cloud"),
            [
                "it is the hub of site/edge-a",
                "its gateway gateway/cloud-gw",
                "service at it service/rabbitmq.cloud"
            ]
        );
        assert_eq!(
            told("service/rabbitmq.cloud"),
            [
                "allowed by policy/collector",
                "exposed by exposure/rabbitmq-to-a",
                "exposed by exposure/rabbitmq-to-edges",
                "it is exposed to site/edge-a",
                "its site site/cloud",
            ]
        );
        assert_eq!(told("gateway/cloud-gw"), ["its site site/cloud"]);
        assert_eq!(
            told("exposure/rabbitmq-to-edges"),
            ["exposes service/rabbitmq.cloud", "to site/edge-a"]
        );
        assert_eq!(
            told("policy/collector"),
            ["allows clients of site/edge-a", "allows the use of service/rabbitmq.cloud"]
        );
    }
}
