//! What of a resource's fields differs from what is declared. Pure.
//!
//! A field is one of the first level of `spec`, or a label, as for the managers of fields.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::kinds;
use super::outcome::on_gateways;
use crate::api::wire::{GatewayChange, Reference, View};
use crate::ctl::print::Answer;

/// What would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Differences {
    /// Resources that differ.
    pub resources: Vec<Difference>,
    /// What that does on which gateway.
    pub gateways: Vec<GatewayChange>,
}

/// A resource that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// Which.
    pub resource: Reference,
    /// `created` or `changed`.
    pub fate: String,
    /// The fields.
    pub fields: Vec<FieldChange>,
}

/// A field that differs; one of both is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldChange {
    /// `spec.NAME` or `metadata.labels.KEY`.
    pub field: String,
    /// What is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What the file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// The fields that would change if `manager` applied what `file` says (a resource as JSON). What the file leaves out
/// goes if that manager has set it, and stays otherwise.
pub(super) fn changes(stored: Option<&View>, file: &Value, manager: &str) -> Vec<FieldChange> {
    let nothing = BTreeMap::new();
    let held = stored.map_or(&nothing, |view| &view.metadata.managers);
    let before = stored.map(fields_of).unwrap_or_default();
    let mut after = fields(file.get("spec"), file.pointer("/metadata/labels"));
    for (field, value) in &before {
        let stays = held.get(field).is_some_and(|holder| holder != manager);
        if stays && !after.contains_key(field) {
            after.insert(field.clone(), value.clone());
        }
    }
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let changes = names.into_iter().map(|field| FieldChange {
        field: field.clone(),
        before: before.get(field).cloned(),
        after: after.get(field).cloned(),
    });
    changes.filter(|change| change.before != change.after).collect()
}

fn fields_of(view: &View) -> BTreeMap<String, Value> {
    let labels = view.metadata.labels.iter();
    let labels = labels.map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    fields(Some(&view.spec), Some(&Value::Object(labels.collect())))
}

fn fields(spec: Option<&Value>, labels: Option<&Value>) -> BTreeMap<String, Value> {
    let named = |of: Option<&Value>, prefix: &str| -> Vec<(String, Value)> {
        let entries = of.and_then(Value::as_object).into_iter().flatten();
        entries.map(|(name, value)| (format!("{prefix}.{name}"), value.clone())).collect()
    };
    named(spec, "spec").into_iter().chain(named(labels, "metadata.labels")).collect()
}

impl Differences {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.gateways.is_empty()
    }
}

impl Answer for Differences {
    fn text(&self) -> String {
        if self.is_empty() {
            return "nothing differs\n".to_owned();
        }
        let mut text = String::new();
        for Difference { resource, fate, fields } in &self.resources {
            text.push_str(&format!("{} would be {fate}\n", kinds::shown(resource)));
            for FieldChange { field, before, after } in fields {
                let lines = [("-", before), ("+", after)].into_iter();
                let lines = lines.filter_map(|(mark, value)| Some((mark, value.as_ref()?)));
                text.extend(lines.map(|(mark, value)| format!("  {mark} {field}: {value}\n")));
            }
        }
        text + &on_gateways(&self.gateways)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample;
    use super::*;

    fn told(stored: Option<&View>, file: &Value, manager: &str) -> String {
        let resource = Reference { kind: "Site".into(), name: "edge-a".into() };
        let fields = changes(stored, file, manager);
        let difference = Difference { resource, fate: "changed".into(), fields };
        Differences { resources: vec![difference], gateways: vec![] }.text()
    }

    #[test]
    fn fields_are_compared_one_by_one() {
        let stored = &sample::views()[1];
        let same = json!({"kind": "Site", "metadata": {"name": "edge-a", "labels": {"tier": "edge"}},
                          "spec": stored.spec});
        assert_eq!(changes(Some(stored), &same, "ann"), []);
        let mut other = same.clone();
        other["spec"]["presencePool"] = json!("10.0.0.128/26");
        other["spec"]["clientNetworks"] = json!(["10.0.0.0/25"]);
        assert_eq!(
            told(Some(stored), &other, "ann"),
            "site/edge-a would be changed\n  - spec.clientNetworks: [\"10.0.0.0/24\"]\n  + \
             spec.clientNetworks: [\"10.0.0.0/25\"]\n  - spec.presencePool: \"10.0.0.192/26\"\n  + \
             spec.presencePool: \"10.0.0.128/26\"\n"
        );
        assert!(told(None, &same, "ann").contains("  + metadata.labels.tier: \"edge\"\n  + spec."));
    }

    #[test]
    fn what_is_left_out_goes_if_the_manager_has_set_it() {
        let stored = &sample::views()[1];
        let mut spec = stored.spec.clone();
        spec.as_object_mut().unwrap().remove("hub");
        let file = json!({"kind": "Site", "metadata": {"name": "edge-a"}, "spec": spec});
        let gone = |manager: &str| -> Vec<String> {
            changes(Some(stored), &file, manager).into_iter().map(|it| it.field).collect()
        };
        assert_eq!(gone("ann"), ["spec.hub"], "the label is bob's, and nobody holds the hub");
        assert_eq!(gone("bob"), ["metadata.labels.tier", "spec.hub"]);
    }
}
