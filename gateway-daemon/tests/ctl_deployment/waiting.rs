//! `--wait`: until gateways have applied a change.

use std::sync::Arc;

use gateway_control::resource::Resource;
use gateway_daemon::controller::{Controller, Identity, Report};

use super::{Deployment, three_sites};

/// A gateway that says of each share that it has applied it.
pub(crate) async fn gateway(controller: Arc<Controller>, identity: Identity) {
    let mut connection = controller.connect(identity).await.unwrap();
    loop {
        let revision = connection.orders().revision;
        connection.report(Report { applied: revision, ..Report::default() });
        if !connection.changed().await {
            return;
        }
    }
}

pub(crate) fn identities() -> Vec<Identity> {
    let text = std::fs::read_to_string(three_sites().join("sites.yaml")).unwrap();
    let declared = gateway_control::resource::read(&text).unwrap().into_iter();
    let gateways = declared.filter_map(|it| match it.resource {
        Resource::Gateway(it) => {
            Some(Identity { site: it.site, gateway: it.name, public_key: it.public_key })
        }
        _ => None,
    });
    gateways.collect()
}

#[test]
fn it_ends_when_all_gateways_have_applied_the_change() {
    let deployment = Deployment::of_three_sites();
    let policy = "kind: Policy\nmetadata: {name: new}\nspec: {rules: [{from: {site: edge-a}, to: \
                  files.cloud}]}\n";
    let words = ["apply", "-f", "-", "--wait=1s"];
    let ran = deployment.ctl_with(&words, policy);
    assert_eq!(ran.out, "policy/new created\n");
    let told = ran.fails(1);
    assert!(told.contains("gateway edge-a-gw of site edge-a is absent"), "{told}");
    assert!(!told.contains("edge-b"), "{told}");
    assert!(deployment.ctl_with(&words, policy).fails(1).contains("edge-a-gw"), "declared already");

    for identity in identities() {
        deployment.runtime.spawn(gateway(Arc::clone(&deployment.controller), identity));
    }
    let words = ["apply", "-f", "-", "--wait"];
    assert_eq!(deployment.ctl_with(&words, policy).ok(), "policy/new unchanged\n");
    let other = policy.replace("edge-a", "edge-b");
    assert_eq!(deployment.ctl_with(&words, &other).ok(), "policy/new changed\n");
    let told = deployment.ctl(&["get", "policy/new", "-o", "json"]).json();
    assert_eq!(told["status"]["conditions"][0]["status"], "True");
    let expose = ["expose", "agent.edge-a", "--to", "edge-b", "--name", "one", "--wait=10s"];
    assert_eq!(deployment.ctl(&expose).ok(), "exposure/one created\n");
    let told = deployment.ctl(&["get", "exposure/one", "-o", "json"]).json();
    assert_eq!(told["status"]["conditions"][0]["status"], "True");
    let delete = ["delete", "exposure/one", "--wait=10s"];
    assert_eq!(deployment.ctl(&delete).ok(), "exposure/one deleted\n");
    let labelled = other.replace("{name: new}", "{name: new, labels: {a: b}}");
    assert_eq!(deployment.ctl_with(&words, &labelled).ok(), "policy/new changed\n");
}
