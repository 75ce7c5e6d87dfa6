//! The resources of an example come to the very gateways that its site files make.
#![allow(clippy::unwrap_used, reason = "a test may fail where a file is not there")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gateway_common::desired::Tables;
use gateway_common::map::{Allow, AllowKey, NameKey, NameKind, ServiceKind};
use gateway_control::deployment::allocation::Recorded;
use gateway_control::deployment::import::import;
use gateway_control::deployment::share::LocalFacts;
use gateway_control::deployment::{Change, Deployment, Desired};
use gateway_control::model::SiteModel;
use gateway_control::{Interface, Plan, compile, resource, site_file};
use policies::expectations;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/three-sites")
}

fn desired() -> Desired {
    let mut desired = Desired::new(Deployment::default(), Recorded::default(), 0).unwrap();
    let mut changes = Vec::new();
    for file in ["sites", "services", "policies"] {
        let text = fs::read_to_string(example().join(format!("resources/{file}.yaml"))).unwrap();
        let declared = resource::read(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        changes.extend(declared.into_iter().map(|it| Change::Put(it.resource)));
    }
    desired.change(changes, 0).unwrap_or_else(|problems| panic!("{problems:#?}"));
    desired
}

fn by_site_file(site: &str) -> SiteModel {
    let text = fs::read_to_string(example().join(format!("{site}.toml"))).unwrap();
    site_file::parse(&text).unwrap()
}

/// The site by its share and what its host knows.
fn by_share(desired: &Desired, of: &SiteModel) -> SiteModel {
    let site = &of.site().name;
    let gateway = desired.deployment().gateway_of(site).unwrap();
    let draft = desired.share(site).unwrap().draft(&gateway.name, &LocalFacts::of(of)).unwrap();
    SiteModel::check(draft).unwrap()
}

fn tables(model: &SiteModel) -> Tables {
    let names = [model.link().interface.clone()].into_iter();
    let names = names.chain(model.lans().iter().map(|lan| lan.interface.clone()));
    let interface = |index| Interface { index, mac: [2; 6], mtu: 1420 };
    let interfaces = (1..).zip(names).map(|(n, name)| (name, interface(n))).collect();
    compile(model, &interfaces).unwrap()
}

/// Tables without the numbers that only stand for something else in them: rules by name, back ends in
/// place of runs of slots.
#[derive(Debug, PartialEq)]
struct Meant {
    rest: Tables,
    services: BTreeMap<String, String>,
    allows: BTreeMap<String, (String, Allow)>,
    rules: BTreeSet<String>,
}

fn meant(tables: &Tables) -> Meant {
    let rule = |number| tables.name(NameKey::new(NameKind::Rule, number));
    let allows = tables.allows.iter().map(|(key, allow): (&AllowKey, &Allow)| {
        let mut unnumbered = *allow;
        unnumbered.rule = 0;
        (format!("{key:?}"), (rule(allow.rule), unnumbered))
    });
    let services = tables.services.iter().map(|(transit, service)| {
        let kind = match service.kind() {
            ServiceKind::Here { first, count } => {
                let slots: Vec<_> = (first..first + count).map(|n| tables.slots[&n]).collect();
                format!("{slots:?}")
            }
            other => format!("{other:?}"),
        };
        (format!("{transit:?}"), kind)
    });
    let services = services.collect();
    let rules = tables.allows.values().map(|allow| rule(allow.rule)).collect();
    let allows = allows.collect();
    let mut rest = tables.clone();
    rest.names.retain(|key, _| key.kind() != Some(NameKind::Rule));
    (rest.allows, rest.services, rest.slots) = Default::default();
    Meant { rest, services, allows, rules }
}

#[test]
fn resources_and_site_files_come_to_the_same_gateways() {
    let desired = desired();
    for site in ["cloud", "edge-a", "edge-b"] {
        let by_file = by_site_file(site);
        let by_share = by_share(&desired, &by_file);
        assert_eq!(meant(&tables(&by_share)), meant(&tables(&by_file)), "{site}");
        assert_eq!(Plan::new(&by_share), Plan::new(&by_file), "{site}");
    }
}

#[test]
fn gateways_made_of_resources_keep_the_table_of_expectations() {
    let desired = desired();
    let models = ["cloud", "edge-a", "edge-b"].map(|site| by_share(&desired, &by_site_file(site)));
    let deployment = policies::Deployment::of(models).unwrap();
    let text = fs::read_to_string(example().join("three-sites.expect")).unwrap();
    for line in expectations(&text).unwrap() {
        deployment.check(&line).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_removed_policy_changes_the_gateways_at_both_ends_only() {
    let mut desired = desired();
    let key = "edge-b-files".parse().map(resource::Key::Policy).unwrap();
    let diff = desired.preview(vec![Change::Delete(key)], 0).unwrap();
    let gateways: Vec<_> = diff.gateways().map(|name| name.as_str()).collect();
    assert_eq!(gateways, ["cloud-gw", "edge-b-gw"]);
    assert_eq!(
        diff.to_string(),
        "gateway cloud-gw of site cloud:\n  - rule edge-b-files: edge-b may use files.cloud\n\
         gateway edge-b-gw of site edge-b:\n  - rule edge-b-files: edge-b may use files.cloud\n"
    );
}

#[test]
fn imported_site_files_come_to_the_same_gateways() {
    let models = ["cloud", "edge-a", "edge-b"].map(by_site_file);
    let imported = import(&models).unwrap_or_else(|errors| panic!("{errors:?}"));
    let mut desired = Desired::new(Deployment::default(), Recorded::default(), 0).unwrap();
    let changes = imported.into_iter().map(Change::Put).collect();
    desired.change(changes, 0).unwrap_or_else(|problems| panic!("{problems:#?}"));
    for by_file in &models {
        let by_share = by_share(&desired, by_file);
        assert_eq!(meant(&tables(&by_share)), meant(&tables(by_file)));
        assert_eq!(Plan::new(&by_share), Plan::new(by_file));
    }
}

#[test]
fn site_files_that_contradict_each_other_are_not_imported() {
    let said = |changes: &[(&str, &str, &str)]| {
        let models = ["cloud", "edge-a", "edge-b"].map(|site| {
            let mut text = fs::read_to_string(example().join(format!("{site}.toml"))).unwrap();
            for (_, from, to) in changes.iter().filter(|(at, ..)| *at == site) {
                assert!(text.contains(from), "{site}: {from}");
                text = text.replace(from, to);
            }
            site_file::parse(&text).unwrap_or_else(|error| panic!("{error}"))
        });
        let errors = import(&models).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let key = (
        "edge-a",
        "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
        "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=",
    );
    assert!(said(&[key]).contains("site cloud: the file of edge-b has another public key"));
    let rule = ("edge-a", "[\"10.0.0.0/28\"]", "[\"10.0.0.0/27\"]");
    assert!(
        said(&[rule]).contains("rule edge-a-publishers: the file of edge-a says something else")
    );
    let name = ("edge-a", "name = \"files\"", "name = \"flies\"");
    assert!(said(&[name]).contains("service flies.cloud: the file of edge-a names it"));
    let ports = ("edge-a", "[\"tcp/5672\"]", "[\"tcp/5671\"]");
    assert!(
        said(&[ports]).contains("service rabbitmq.cloud: the file of edge-a has another number")
    );
    let block = ("edge-a", "240.0.32.0/20", "240.0.48.0/20");
    assert!(said(&[block]).contains("site edge-b: the file of edge-a has another transit block"));
    let models = ["cloud", "edge-a", "edge-a"].map(by_site_file);
    let errors = import(&models).unwrap_err();
    let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(shown[0].contains("site edge-a: there are two files of it"), "{shown:?}");
    assert!(shown.iter().any(|it| it.contains("site edge-b: file of cloud names it")), "{shown:?}");
    let alone = import(&[by_site_file("cloud")]).unwrap_err();
    assert!(alone.iter().any(|it| it.to_string().contains("its public key is unknown")));
}
