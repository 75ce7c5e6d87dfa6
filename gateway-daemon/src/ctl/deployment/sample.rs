//! Resources as the API gives them, for tests.

use serde_json::{Value, json};

use crate::api::wire::View;

/// Some of each kind.
pub(super) fn views() -> Vec<View> {
    let gateway = |site: &str, name: &str, applied: Value, state: &str| json!({"site": site, "gateway": name, "wanted": 7, "applied": applied, "state": state});
    let cloud = gateway("cloud", "cloud-gw", json!(7), "applied");
    let edge = gateway("edge-a", "edge-a-gw", json!(3), "pending");
    let is_applied =
        json!({"type": "Applied", "status": "True", "reason": "Applied", "message": "it is"});
    let waits = json!({
        "type": "Applied", "status": "False", "reason": "Waiting",
        "message": "edge-a-gw has not answered yet",
    });
    let values = json!([
        {"kind": "Site", "metadata": {"name": "cloud", "revision": 2},
         "spec": {"role": "cloud", "clientNetworks": ["10.0.0.0/24"], "presencePool": "10.0.0.192/26"},
         "status": {"allocated": {"transit": "240.0.0.0/20"}, "gateways": [cloud],
                    "conditions": [is_applied]}},
        {"kind": "Site", "metadata": {"name": "edge-a", "labels": {"tier": "edge"}, "revision": 7,
                                      "managers": {"spec.role": "ann", "metadata.labels.tier": "bob"}},
         "spec": {"role": "edge", "clientNetworks": ["10.0.0.0/24"], "presencePool": "10.0.0.192/26",
                  "hub": "cloud"},
         "status": {"gateways": [cloud, edge], "conditions": [waits]}},
        {"kind": "Gateway", "metadata": {"name": "cloud-gw", "revision": 2},
         "spec": {"site": "cloud", "publicKey": "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
                  "endpoints": ["192.0.2.1:51820"]},
         "status": {"gateways": [cloud], "conditions": [is_applied]}},
        {"kind": "Service", "metadata": {"name": "rabbitmq", "revision": 2},
         "spec": {"site": "cloud", "ports": ["tcp/5672", "tcp/80->8080"],
                  "backends": [{"address": "10.0.0.10", "weight": 1, "state": "use"},
                               {"address": "10.0.0.11", "weight": 3, "state": "use"}]},
         "status": {}},
        {"kind": "Exposure", "metadata": {"name": "rabbitmq-to-a", "revision": 3},
         "spec": {"service": "rabbitmq.cloud", "to": {"sites": ["edge-a"]}, "clients": "shared"},
         "status": {"allocated": {"presence at edge-a": "10.0.0.200"}}},
        {"kind": "Exposure", "metadata": {"name": "rabbitmq-to-edges", "revision": 3},
         "spec": {"service": "rabbitmq.cloud", "to": {"labels": {"tier": "edge"}}, "clients": "shared"}},
        {"kind": "Policy", "metadata": {"name": "collector", "revision": 4},
         "spec": {"rules": [{"from": {"site": "edge-a", "clients": ["10.0.0.5/32"]},
                             "to": "rabbitmq.cloud"}]}},
    ]);
    serde_json::from_value(values).unwrap()
}
