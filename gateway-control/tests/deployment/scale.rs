//! What a change costs does not grow with what it does not touch.

use std::time::{Duration, Instant};

use gateway_control::deployment::{Change, Desired};
use gateway_control::resource::read_one;

use crate::{empty, said};

fn put(text: &str) -> Change {
    Change::Put(read_one(text).unwrap())
}

fn policy(n: usize, service: usize) -> Change {
    put(&format!(
        "kind: Policy\nmetadata: {{name: p{n}}}\nspec: {{rules: [{{from: {{site: e{}}}, to: s{service}.c}}]}}",
        n % 50
    ))
}

/// A hub, fifty edges, twenty services exposed to all of them, and so many policies.
fn deployment(policies: usize) -> Desired {
    let mut changes = vec![put(
        "kind: Site\nmetadata: {name: c}\nspec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: 10.1.0.0/16}",
    )];
    for n in 0..50 {
        changes.push(put(&format!(
            "kind: Site\nmetadata: {{name: e{n}, labels: {{t: e}}}}\nspec: {{role: edge, clientNetworks: \
             [10.0.0.0/24], presencePool: 10.1.0.0/24}}"
        )));
    }
    for n in 0..20 {
        changes.push(put(&format!(
            "kind: Service\nmetadata: {{name: s{n}}}\nspec: {{site: c, ports: [tcp/80], backends: [{{address: \
             10.0.0.9}}]}}"
        )));
        changes.push(put(&format!(
            "kind: Exposure\nmetadata: {{name: x{n}}}\nspec: {{service: s{n}.c, to: {{labels: {{t: e}}}}}}"
        )));
    }
    changes.extend((0..policies).map(|n| policy(n, n % 20)));
    let mut desired = empty();
    desired.change(changes, 0).unwrap_or_else(|problems| panic!("{}", said(&problems)));
    desired
}

/// The shortest of several changes of one policy.
fn one_change(desired: &mut Desired) -> Duration {
    let times = (0..40).map(|n| {
        let started = Instant::now();
        let diff = desired.change(vec![policy(7, n % 20)], 0).unwrap();
        let took = started.elapsed();
        assert!(diff.sites().count() <= 2);
        took
    });
    times.min().unwrap()
}

/// Proportional work would be a hundredfold here; the bound leaves room for caches and for a busy machine.
#[test]
fn a_policy_changes_in_time_that_other_policies_do_not_lengthen() {
    let (mut few, mut many) = (deployment(200), deployment(20_000));
    let (few, many) = (one_change(&mut few), one_change(&mut many));
    assert!(
        many < few * 10 + Duration::from_millis(1),
        "{many:?} with 20,000 policies, {few:?} with 200"
    );
}
