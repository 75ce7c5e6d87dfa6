//! Time of a large deployment and of one change in it: `scale SITES SERVICES RULES`.
//!
//! One hub, the other sites edges. Every tenth service is the hub's. Each rule lets one edge use one
//! service, which is exposed to it. A transit pool of /4 has blocks for 65,535 sites.
#![allow(clippy::unwrap_used, reason = "an example that ends where something is wrong")]

use std::collections::BTreeSet;
use std::time::Instant;

use gateway_control::deployment::allocation::Recorded;
use gateway_control::deployment::{Change, Deployment, Desired};
use gateway_control::resource::read_one;

fn put(text: &str) -> Change {
    Change::Put(read_one(text).unwrap_or_else(|error| panic!("{error}")))
}

fn at(service: usize, sites: usize) -> String {
    if service.is_multiple_of(10) {
        "hub".to_owned()
    } else {
        format!("e{}", service % (sites - 1))
    }
}

/// Which edge and which service a rule is about; numbers without a common divisor spread them.
fn pair(rule: usize, sites: usize, services: usize) -> (String, String) {
    let service = rule * 7 % services;
    (format!("e{}", rule * 31 % (sites - 1)), format!("s{service}.{}", at(service, sites)))
}

fn rule(n: usize, edge: &str, service: &str) -> Change {
    put(&format!(
        "kind: Policy\nmetadata: {{name: p{n}}}\nspec: {{rules: [{{from: {{site: {edge}}}, to: {service}}}]}}"
    ))
}

fn changes(sites: usize, services: usize, rules: usize) -> Vec<Change> {
    let mut changes = vec![put(
        "kind: Site\nmetadata: {name: hub}\nspec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: \
         10.1.0.0/16}",
    )];
    for n in 0..sites - 1 {
        changes.push(put(&format!(
            "kind: Site\nmetadata: {{name: e{n}}}\nspec: {{role: edge, clientNetworks: [10.0.0.0/24], \
             presencePool: 10.1.0.0/16}}"
        )));
    }
    for n in 0..services {
        let site = at(n, sites);
        changes.push(put(&format!(
            "kind: Service\nmetadata: {{name: s{n}}}\nspec: {{site: {site}, ports: [tcp/80], backends: [{{address: \
             10.0.0.9}}]}}"
        )));
    }
    let mut exposed = BTreeSet::new();
    for n in 0..rules {
        let (edge, service) = pair(n, sites, services);
        if service.ends_with(&format!(".{edge}")) {
            continue;
        }
        if exposed.insert((edge.clone(), service.clone())) {
            changes.push(put(&format!(
                "kind: Exposure\nmetadata: {{name: x{n}}}\nspec: {{service: {service}, to: {{sites: [{edge}]}}}}"
            )));
        }
        changes.push(rule(n, &edge, &service));
    }
    changes
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap_or("VmRSS: unknown").to_owned()
}

fn main() {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|it| it.parse().expect("a number")).collect();
    let [sites, services, rules] = numbers[..] else {
        panic!("usage: scale SITES SERVICES RULES");
    };
    let begun = Instant::now();
    let changes = changes(sites, services, rules);
    println!("{} resources read in {:?}, {}", changes.len(), begun.elapsed(), resident());
    let mut desired = Desired::new(Deployment::default(), Recorded::default(), 0).unwrap();
    let begun = Instant::now();
    let diff = desired.change(changes, 0).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let items: usize = diff.sites().map(|(_, changes)| changes.len()).sum();
    println!("applied in {:?}: {items} items of shares, {}", begun.elapsed(), resident());
    drop(diff);
    let begun = Instant::now();
    let whole = Desired::new(desired.deployment().clone(), desired.recorded().clone(), 0).unwrap();
    println!("computed as a whole in {:?}", begun.elapsed());
    assert!(whole == desired, "step by step gives something else");
    drop(whole);
    let (edge, service) = pair(1, sites, services);
    for (what, change) in [
        ("policy", rule(rules, &edge, &service)),
        (
            "exposure",
            put(
                "kind: Exposure\nmetadata: {name: new}\nspec: {service: s0.hub, to: {sites: [e1]}}",
            ),
        ),
        (
            "site",
            put(
                "kind: Site\nmetadata: {name: new}\nspec: {role: edge, clientNetworks: [10.0.0.0/24], presencePool: 10.1.0.0/16}",
            ),
        ),
    ] {
        let begun = Instant::now();
        match desired.change(vec![change], 0) {
            Ok(diff) => {
                let (took, told) = (begun.elapsed(), diff.sites().count());
                println!("one {what} in {took:?}: {told} sites told");
            }
            Err(problems) => println!("one {what} is refused: {}", problems[0]),
        }
    }
}
