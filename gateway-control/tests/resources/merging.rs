//! Several managers on one resource: examples with what they are told, and random histories.

use gateway_control::resource::{
    Clash, Declared, Field, FieldConflict, ManagerName, Managers, Resource, merge, read, read_one,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::drawn::documents;

type Kept = (Resource, Managers);
type Merge = Result<Kept, Vec<FieldConflict>>;

fn declared(text: &str) -> Declared {
    read(text).unwrap_or_else(|error| panic!("{error}\n{text}")).remove(0)
}

fn named(name: &str) -> ManagerName {
    name.parse().unwrap()
}

fn apply(stored: Option<&Kept>, document: &Declared, by: &str, force: bool) -> Merge {
    let stored = stored.map(|(resource, managers)| (resource, managers));
    merge(stored, &document.resource, &document.fields, &named(by), force)
}

fn value(resource: &Resource, field: &Field) -> Value {
    let written = serde_json::to_value(resource).unwrap();
    let (part, name) = match field {
        Field::Label(key) => (&written["metadata"]["labels"], key.to_string()),
        Field::Spec(_) => (&written["spec"], field.to_string()["spec.".len()..].to_owned()),
    };
    part.get(name).cloned().unwrap_or(Value::Null)
}

fn told(result: Merge) -> Vec<String> {
    result.expect_err("a conflict").iter().map(ToString::to_string).collect()
}

fn holders((_, managers): &Kept) -> Vec<String> {
    managers.iter().map(|(field, manager)| format!("{field} {manager}")).collect()
}

fn exposure(labels: &str, spec: &str) -> Declared {
    declared(&format!(
        "kind: Exposure\nmetadata: {{name: x, labels: {{{labels}}}}}\nspec: {{service: web.a, {spec}}}"
    ))
}

fn gateway(endpoints: &str) -> Declared {
    declared(&format!(
        "kind: Gateway\nmetadata: {{name: g}}\nspec: {{site: a, publicKey: \
         3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08={endpoints}}}"
    ))
}

#[test]
fn each_holds_what_he_stated_first() {
    let root = exposure("tier: edge", "to: {sites: [b]}");
    let first = apply(None, &root, "root", false).unwrap();
    assert_eq!(first.0, root.resource);
    let held = ["metadata.labels.tier root", "spec.service root", "spec.to root"];
    assert_eq!(holders(&first), held);

    // The default was nobody's, so it may be set; what is the same stays with the first.
    let gitops = exposure("team: x", "to: {sites: [b]}, clients: per-client, from: 10.0.0.0/28");
    let second = apply(Some(&first), &gitops, "gitops", false).unwrap();
    let held = [
        "metadata.labels.team gitops",
        "metadata.labels.tier root",
        "spec.clients gitops",
        "spec.from gitops",
        "spec.service root",
        "spec.to root",
    ];
    assert_eq!(holders(&second), held);

    // Who no longer states a field removes it, if it is his.
    let third = apply(Some(&second), &exposure("", "to: {sites: [b]}"), "gitops", false).unwrap();
    assert_eq!(third, first);
    let fourth = apply(Some(&second), &exposure("", "to: {sites: [b]}"), "root", false).unwrap();
    let all = exposure("team: x", "to: {sites: [b]}, clients: per-client, from: 10.0.0.0/28");
    assert_eq!(fourth.0, all.resource);
}

#[test]
fn another_value_is_a_conflict_until_it_is_forced() {
    let first = apply(None, &exposure("t: '1'", "to: {sites: [b]}"), "root", false).unwrap();
    let other = exposure("t: '2'", "to: {sites: [c]}");
    assert_eq!(
        told(apply(Some(&first), &other, "gitops", false)),
        [
            "exposure x: metadata.labels.t: root has set it to \"1\", and you apply \"2\"; take it over with \
         --force, or leave it to root",
            "exposure x: spec.to: root has set it to {\"sites\":[\"b\"]}, and you apply {\"sites\":[\"c\"]}; take it \
         over with --force, or leave it to root",
        ]
    );
    let forced = apply(Some(&first), &other, "gitops", true).unwrap();
    assert_eq!(forced.0, other.resource);
    let held = ["metadata.labels.t gitops", "spec.service root", "spec.to gitops"];
    assert_eq!(holders(&forced), held);
    let error = apply(Some(&forced), &exposure("", "to: {sites: [b]}"), "root", false).unwrap_err();
    let [conflict] = error.as_slice() else { panic!("{error:?}") };
    assert_eq!(conflict.field.to_string(), "spec.to");
    assert_eq!(
        (conflict.manager.to_string(), &*conflict.stored),
        ("gitops".to_owned(), r#"{"sites":["c"]}"#)
    );
    assert_eq!(conflict.clash, Clash::Value(r#"{"sites":["b"]}"#.to_owned()));
}

#[test]
fn a_stated_empty_list_is_a_value() {
    let first = apply(None, &gateway(", endpoints: ['192.0.2.1:1']"), "root", false).unwrap();
    let kept = apply(Some(&first), &gateway(""), "gitops", false).unwrap();
    assert_eq!(kept, first);
    let said = told(apply(Some(&first), &gateway(", endpoints: []"), "gitops", false));
    assert!(said[0].contains("and you apply nothing; take it over"), "{said:?}");
    let forced = apply(Some(&first), &gateway(", endpoints: []"), "gitops", true).unwrap();
    assert_eq!(forced.0, gateway("").resource);
    assert_eq!(apply(Some(&first), &gateway(", endpoints: []"), "root", false), Ok(forced));
}

#[test]
fn what_does_not_go_together_names_the_field_of_the_other() {
    let wish = exposure("", "to: {sites: [b]}, address: 10.0.0.9");
    let first = apply(None, &exposure("", "to: {sites: [b]}"), "root", false).unwrap();
    let first = apply(Some(&first), &wish, "gitops", false).unwrap();
    let two = exposure("l: v", "to: {sites: [b, c]}");
    assert_eq!(
        told(apply(Some(&first), &two, "root", false)),
        [
            "exposure x: spec.address: gitops has set it to \"10.0.0.9\", which does not go with what you apply \
         (exposure \"x\": spec.address: an address is wished for one site only; name that site in to.sites, and \
         no other); remove it with --force, or leave it to gitops and change what you apply",
        ]
    );
    let forced = apply(Some(&first), &two, "root", true).unwrap();
    assert_eq!(forced.0, two.resource);

    // Two fields that only together are in the way.
    let own = exposure(
        "",
        "to: {sites: [b]}, clients: per-client, from: 10.0.0.0/28, presences: 10.0.0.16/28",
    );
    let first = apply(None, &exposure("", "to: {sites: [b]}"), "root", false).unwrap();
    let first = apply(Some(&first), &own, "gitops", false).unwrap();
    let shared = exposure("", "to: {sites: [b]}, clients: shared");
    let said = told(apply(Some(&first), &shared, "root", false));
    assert!(said.len() == 1 && said[0].contains("spec.clients: gitops"), "{said:?}");
    let forced = apply(Some(&first), &shared, "root", true).unwrap();
    assert_eq!(forced.0, shared.resource);
    let held = ["spec.clients root", "spec.service root", "spec.to root"];
    assert_eq!(holders(&forced), held);
}

#[test]
fn labels_of_all_together_may_be_too_many() {
    let labels = |letter: char, count| {
        let labels: Vec<_> = (0..count).map(|n| format!("{letter}{n}: v")).collect();
        exposure(&labels.join(", "), "to: {sites: [b]}")
    };
    let first = apply(None, &labels('a', 40), "root", false).unwrap();
    let said = told(apply(Some(&first), &labels('b', 40), "gitops", false));
    assert_eq!(said.len(), 40, "{said:?}");
    assert!(said[0].contains("metadata.labels.a0: root has set it to \"v\", which does not go"));
    assert!(said[0].contains("80 labels are too many; keep 64 at most"), "{said:?}");
    assert_eq!(
        apply(Some(&first), &labels('b', 24), "gitops", false).unwrap().1.iter().count(),
        66
    );
    let forced = apply(Some(&first), &labels('b', 40), "gitops", true).unwrap();
    assert_eq!(forced.0, labels('b', 40).resource);
}

#[test]
fn long_values_are_cut_where_they_are_told() {
    let policy = |site: &str| {
        let rule = format!("{{from: {{site: {site}}}, to: s.b}}");
        let rules = vec![rule; 100].join(", ");
        declared(&format!("kind: Policy\nmetadata: {{name: p}}\nspec: {{rules: [{rules}]}}"))
    };
    let first = apply(None, &policy("x"), "root", false).unwrap();
    let said = told(apply(Some(&first), &policy("y"), "gitops", false));
    assert!(said[0].len() < 600 && said[0].contains("...; take it over with --force"), "{said:?}");
}

#[test]
fn what_nobody_holds_is_taken_or_removed() {
    let whole = exposure("t: '1'", "to: {sites: [b]}, address: 10.0.0.9");
    let stored = (whole.resource.clone(), Managers::default());
    let part = exposure("", "to: {sites: [c]}");
    let (resource, managers) = apply(Some(&stored), &part, "root", false).unwrap();
    assert_eq!(resource, part.resource);
    assert_eq!(managers.iter().count(), 2);
    let fields = whole.resource.fields();
    assert!(fields.contains(&"spec.clients".parse().unwrap()), "defaults are written");
    let all = merge(None, &whole.resource, &fields, &named("root"), false).unwrap();
    assert_eq!(all.1.iter().count(), fields.len());
}

proptest! {
    #[test]
    fn histories_of_several_managers(
        documents in documents(),
        steps in prop::collection::vec((0usize..3, prop::bool::weighted(0.3)), 6),
    ) {
        const NAMES: [&str; 3] = ["root", "gitops", "uid:1000"];
        let mut stored: Option<Kept> = None;
        for (document, (by, force)) in documents.iter().zip(steps) {
            let (name, by) = (NAMES[by], named(NAMES[by]));
            let before = stored.clone().unwrap_or((document.resource.clone(), Managers::default()));
            let (resource, managers) = match apply(stored.as_ref(), document, name, force) {
                Ok(kept) => kept,
                Err(conflicts) => {
                    prop_assert!(!force && !conflicts.is_empty());
                    for conflict in &conflicts {
                        prop_assert_eq!(before.1.holder(&conflict.field), Some(&conflict.manager));
                        prop_assert!(conflict.manager != by);
                        prop_assert_eq!(&conflict.key, &document.resource.key());
                    }
                    prop_assert!(apply(stored.as_ref(), document, name, true).is_ok());
                    continue;
                }
            };
            let json = serde_json::to_string(&resource).unwrap();
            let read = read_one(&json);
            prop_assert_eq!(read.as_ref(), Ok(&resource));
            prop_assert_eq!(resource.key(), document.resource.key());
            prop_assert!(managers.iter().all(|(field, _)| resource.fields().contains(field)));
            for field in &document.fields {
                prop_assert_eq!(value(&resource, field), value(&document.resource, field));
            }
            for (field, manager) in before.1.iter().filter(|(_, it)| **it != by && !force) {
                prop_assert_eq!(managers.holder(field), Some(manager));
                prop_assert_eq!(value(&resource, field), value(&before.0, field));
            }
            if before.1.iter().all(|(_, it)| *it == by) {
                prop_assert_eq!(&resource, &document.resource);
            }
            let kept = (resource, managers);
            let again = apply(Some(&kept), document, name, false);
            prop_assert_eq!(again.as_ref(), Ok(&kept));
            stored = Some(kept);
        }
    }

    #[test]
    fn managers_are_kept_as_they_are(documents in documents()) {
        let (_, managers) = apply(None, &documents[0], "root", false).unwrap();
        let text = serde_json::to_string(&managers).unwrap();
        prop_assert_eq!(serde_json::from_str::<Managers>(&text).unwrap(), managers);
    }
}
