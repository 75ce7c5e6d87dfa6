//! Deployments: what is refused and how it is said, what is allocated, and over random histories that
//! allocations are sound and that a share changed step by step is the share computed as a whole.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

mod allocation;
mod histories;
mod refusals;
mod scale;
mod wire;

use gateway_control::deployment::allocation::Recorded;
use gateway_control::deployment::share::{LocalFacts, Share};
use gateway_control::deployment::{Change, Deployment, Desired, Diff, Problem};
use gateway_control::resource::{Key, Kind, Resource, read};
use gateway_control::site_file;

/// Two edges at a hub, a service of the hub exposed to one of them.
pub(crate) const SMALL: &str = "\
kind: Site
metadata: {name: cloud}
spec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}
---
kind: Site
metadata: {name: edge-a, labels: {tier: edge}}
spec: {role: edge, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}
---
kind: Site
metadata: {name: edge-b, labels: {tier: edge}}
spec: {role: edge, clientNetworks: [10.0.0.0/24, 10.1.0.0/24], presencePool: 10.0.0.192/26}
---
kind: Gateway
metadata: {name: cloud-gw}
spec: {site: cloud, publicKey: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, endpoints: ['192.0.2.1:51820']}
---
kind: Gateway
metadata: {name: edge-a-gw}
spec: {site: edge-a, publicKey: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=}
---
kind: Service
metadata: {name: web}
spec: {site: cloud, ports: [tcp/80], backends: [{address: 10.0.0.10}]}
---
kind: Exposure
metadata: {name: web-to-a}
spec: {service: web.cloud, to: {sites: [edge-a]}}
---
kind: Policy
metadata: {name: web}
spec: {rules: [{from: {site: edge-a}, to: web.cloud}]}
";

pub(crate) fn resources(text: &str) -> Vec<Resource> {
    let declared = read(text).unwrap_or_else(|error| panic!("{error}"));
    declared.into_iter().map(|it| it.resource).collect()
}

pub(crate) fn puts(text: &str) -> Vec<Change> {
    resources(text).into_iter().map(Change::Put).collect()
}

pub(crate) fn delete(kind: Kind, name: &str) -> Change {
    Change::Delete(Key::new(kind, name).unwrap())
}

pub(crate) fn empty() -> Desired {
    Desired::new(Deployment::default(), Recorded::default(), 0).unwrap()
}

pub(crate) fn small() -> Desired {
    let mut desired = empty();
    desired.change(puts(SMALL), 0).unwrap_or_else(|problems| panic!("{}", said(&problems)));
    desired
}

pub(crate) fn said(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// What a change does, or what is said against it; then nothing has changed.
pub(crate) fn change(desired: &mut Desired, changes: Vec<Change>) -> Result<Diff, String> {
    let before = desired.clone();
    desired.change(changes, 0).map_err(|problems| {
        assert!(!problems.is_empty());
        assert!(*desired == before, "a refused change left something behind");
        said(&problems)
    })
}

#[test]
fn a_deployment_is_told_to_its_gateways() {
    let desired = small();
    let site = "edge-a".parse().unwrap();
    let share: Vec<_> =
        desired.share(&site).unwrap().items().values().map(ToString::to_string).collect();
    assert_eq!(
        share,
        [
            "site edge-a: transit 240.0.16.0/20, presencePool 10.0.0.192/26, clientNetworks 10.0.0.0/24",
            "link to site cloud: key 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, at 192.0.2.1:51820",
            "site cloud: transit 240.0.0.0/20",
            "service web.cloud: number 1, tcp/80, presence 10.0.0.193",
            "rule web: edge-a may use web.cloud",
        ]
    );
    // The other edge has no business with anybody yet.
    let site = "edge-b".parse().unwrap();
    assert_eq!(desired.share(&site).unwrap().items().len(), 3);
}

#[test]
fn exposing_a_service_by_one_resource_tells_both_ends() {
    let mut desired = small();
    let text = "kind: Exposure\nmetadata: {name: web-to-b}\nspec: {service: web.cloud, to: {sites: [edge-b]}}\n";
    let shown = desired.preview(puts(text), 0).unwrap().to_string();
    assert_eq!(
        shown,
        "gateway cloud-gw of site cloud:\n\
         \x20 - site edge-b: transit 240.0.32.0/20\n\
         \x20 + site edge-b: transit 240.0.32.0/20, clients in 10.0.0.0/24, clients in 10.1.0.0/24\n\
         site edge-b, which has no gateway yet:\n\
         \x20 + service web.cloud: number 1, tcp/80, presence 10.0.0.193\n"
    );
    assert!(desired == small(), "a preview left something behind");
    let diff = desired.change(puts(text), 0).unwrap();
    assert_eq!(diff.to_string(), shown);
    assert!(desired.change(puts(text), 0).unwrap().is_empty());
}

/// A gateway of the small deployment, in this state.
fn edge_gateway(name: &str, key: &str, state: &str) -> Vec<Change> {
    puts(&format!(
        "kind: Gateway\nmetadata: {{name: {name}}}\nspec: {{site: edge-a, publicKey: \
         {key}MvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX4=, state: {state}}}\n"
    ))
}

#[test]
fn a_revoked_gateway_takes_its_site_out_of_every_share_until_another_is_there() {
    let mut desired = small();
    let before: Vec<Share> = shares(&desired);
    let revoked = edge_gateway("edge-a-gw", "Tr", "revoked");
    desired.change(revoked, 0).unwrap();
    for site in ["cloud", "edge-a", "edge-b"] {
        let share = desired.share(&site.parse().unwrap()).unwrap();
        let told: Vec<_> = share.items().values().map(ToString::to_string).collect();
        assert!(told.iter().all(|it| !it.contains("edge-a")), "{site}: {told:?}");
        assert_eq!(told.is_empty(), site == "edge-a", "{site}: {told:?}");
    }
    // One that waits to be accepted changes nothing of it.
    desired.change(edge_gateway("edge-a-gw2", "Us", "pending"), 0).unwrap();
    assert!(desired.share(&"edge-a".parse().unwrap()).unwrap().is_empty());
    desired.change(edge_gateway("edge-a-gw2", "Us", "active"), 0).unwrap();
    let after = shares(&desired);
    assert_eq!(after.len(), before.len());
    for (after, before) in after.iter().zip(&before) {
        let keys = |it: &Share| it.items().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(after), keys(before));
    }
}

fn shares(desired: &Desired) -> Vec<Share> {
    ["cloud", "edge-a", "edge-b"]
        .map(|site| desired.share(&site.parse().unwrap()).unwrap().clone())
        .to_vec()
}

#[test]
fn labels_select_sites_for_exposures_and_rules() {
    let mut desired = small();
    let text = "\
kind: Service
metadata: {name: dns}
spec: {site: cloud, ports: [udp/53], backends: [{address: 10.0.0.11}]}
---
kind: Exposure
metadata: {name: dns}
spec: {service: dns.cloud, to: {labels: {tier: edge}}}
---
kind: Policy
metadata: {name: dns}
spec: {rules: [{from: {labels: {tier: edge}}, to: dns.cloud}]}
";
    desired.change(puts(text), 0).unwrap();
    let lines = |desired: &Desired, site: &str| {
        let share = desired.share(&site.parse().unwrap()).unwrap();
        let lines: Vec<_> = share.items().values().map(ToString::to_string).collect();
        lines.into_iter().filter(|line| line.contains("dns.cloud")).count()
    };
    assert_eq!(["cloud", "edge-a", "edge-b"].map(|site| lines(&desired, site)), [3, 2, 2]);
    // Another label takes the site out; the same rule stays for the other.
    let text = SMALL.replace("edge-b, labels: {tier: edge}", "edge-b, labels: {tier: lab}");
    let diff = desired.change(puts(&text), 0).unwrap();
    assert_eq!(
        diff.sites().map(|(site, _)| site.as_str()).collect::<Vec<_>>(),
        ["cloud", "edge-b"]
    );
    assert_eq!(["cloud", "edge-a", "edge-b"].map(|site| lines(&desired, site)), [2, 2, 0]);
}

#[test]
fn a_list_goes_on_behind_any_resource() {
    let token = |name: &str, digits: &str| {
        let hash = digits.repeat(32);
        format!(
            "---\nkind: Token\nmetadata: {{name: {name}}}\nspec: {{role: operator, expires: \
             2030-01-31T18:00:00Z, secretHash: '{hash}'}}\n"
        )
    };
    let service = |name: &str, site: &str| {
        format!(
            "---\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{site: {site}, ports: [tcp/1], backends: \
             [{{address: 10.0.0.9}}]}}\n"
        )
    };
    let mut text = SMALL.to_owned() + &token("one", "1a") + &token("two", "2b");
    for (name, site) in [("a", "edge-a"), ("a", "edge-b"), ("x", "cloud"), ("z", "edge-a")] {
        text += &service(name, site);
    }
    let mut desired = empty();
    desired.change(puts(&text), 0).unwrap_or_else(|problems| panic!("{}", said(&problems)));
    let all: Vec<Resource> = desired.deployment().resources().collect();
    assert!(all.is_sorted_by_key(Resource::key));
    let absent = Kind::ALL.into_iter().flat_map(|kind| {
        let names = match kind {
            Kind::Service => ["a.a", "m.edge-a", "z.z"],
            Kind::Site | Kind::Gateway | Kind::Exposure | Kind::Policy | Kind::Token => {
                ["0", "m", "zz"]
            }
        };
        names.map(|name| Key::new(kind, name).unwrap())
    });
    for key in all.iter().map(Resource::key).chain(absent) {
        let behind: Vec<Resource> = desired.deployment().resources_behind(&key).collect();
        let whole: Vec<Resource> = all.iter().filter(|it| it.key() > key).cloned().collect();
        assert_eq!(behind, whole, "{key}");
    }
}

#[test]
fn a_host_with_other_networks_than_its_site_is_refused() {
    let text = include_str!("../../../policies/examples/three-sites/edge-a.toml");
    let facts = LocalFacts::of(&site_file::parse(text).unwrap());
    let desired = small();
    let draft = |site: &str| {
        desired.share(&site.parse().unwrap()).unwrap().draft(&"gw".parse().unwrap(), &facts)
    };
    let draft_of_a = draft("edge-a").unwrap();
    assert_eq!(
        (draft_of_a.services.len(), draft_of_a.allows.len(), draft_of_a.peers.len()),
        (1, 1, 1)
    );
    let error = draft("edge-b").unwrap_err().to_string();
    assert!(
        error.contains("have the client networks 10.0.0.0/24, and the site is declared with 10.0.0.0/24, 10.1.0.0/24"),
        "{error}"
    );
    let nothing = Share::default().draft(&"gw".parse().unwrap(), &facts).unwrap_err();
    assert!(nothing.to_string().contains("ask the controller anew"));
}

/// In whatever order resources come, the shares are the same in the end.
#[test]
fn a_hub_that_comes_last_links_what_was_declared_before() {
    let text = "\
kind: Service
metadata: {name: agent}
spec: {site: edge-a, ports: [tcp/9], backends: [{address: 10.0.0.10}], number: 3000}
---
kind: Exposure
metadata: {name: agent-to-b}
spec: {service: agent.edge-a, to: {sites: [edge-b]}}
";
    let (hub, rest): (Vec<_>, Vec<_>) = puts(SMALL)
        .into_iter()
        .chain(puts(text))
        .partition(|change| change.key().name().contains("cloud"));
    let (web, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|change| change.key().name().starts_with("web"));
    let mut desired = empty();
    for changes in [rest, hub, web] {
        desired.change(changes, 0).unwrap_or_else(|problems| panic!("{}", said(&problems)));
    }
    let whole = Desired::new(desired.deployment().clone(), desired.recorded().clone(), 0).unwrap();
    assert!(desired == whole);
    let share = desired.share(&"edge-b".parse().unwrap()).unwrap();
    let lines: Vec<_> = share.items().values().map(ToString::to_string).collect();
    assert!(
        lines.contains(&"site edge-a: transit 240.0.0.0/19, by way of cloud".to_owned()),
        "{lines:#?}"
    );
}

/// A number that needs a larger block moves the site, and everybody who knows it is told.
#[test]
fn a_moved_site_is_told_to_all_who_know_it() {
    let mut desired = small();
    let text = SMALL.replace(
        "backends: [{address: 10.0.0.10}]",
        "backends: [{address: 10.0.0.10}], number: 3000",
    );
    let diff = desired.change(puts(&text), 0).unwrap();
    let sites: Vec<_> = diff.sites().map(|(site, _)| site.as_str()).collect();
    assert_eq!(sites, ["cloud", "edge-a", "edge-b"]);
    let whole = Desired::new(desired.deployment().clone(), desired.recorded().clone(), 0).unwrap();
    assert!(desired == whole);
}
