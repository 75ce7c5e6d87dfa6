//! What shows resources: `get` in every form, `describe`, `status`, `event list`, `--watch`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use gateway_daemon::api::client::Client;
use serde_json::Value;

use super::{Deployment, GATEWAYCTL, Scratch, lines};

#[test]
fn tables_have_the_columns_of_their_kind() {
    let deployment = Deployment::of_three_sites();
    let told = lines(&deployment.ctl(&["get", "sites"]).ok());
    assert_eq!(told[0], "NAME ROLE NETWORKS POOL GATEWAY APPLIED");
    assert_eq!(told[2], "edge-a edge 10.0.0.0/24 10.0.0.192/26 edge-a-gw NotConnected");
    let told = lines(&deployment.ctl(&["get", "svc"]).ok());
    assert_eq!(told[0], "NAME PORTS BACK ENDS EXPOSED TO");
    assert!(
        told.contains(&"rabbitmq.cloud tcp/5672 10.0.0.10 edge-a,edge-b".to_owned()),
        "{told:?}"
    );
    let told = lines(&deployment.ctl(&["get", "Exposure"]).ok());
    assert!(
        told.contains(&"files-to-a files.cloud edge-a 10.0.0.201 NotConnected".to_owned()),
        "{told:?}"
    );
    let told = lines(&deployment.ctl(&["get", "policies"]).ok());
    assert!(
        told.contains(&"edge-a-publishers edge-a [10.0.0.0/28] -> rabbitmq.cloud".to_owned()),
        "{told:?}"
    );
    let told = lines(&deployment.ctl(&["get", "gw"]).ok());
    assert!(told[1].starts_with("cloud-gw cloud 192.0.2.1:51820 active absent -/"), "{told:?}");
    let wide = lines(&deployment.ctl(&["get", "site", "-o", "wide"]).ok());
    assert!(wide[0].ends_with("APPLIED TRANSIT CLIENT PRESENCE HUB LABELS REVISION"), "{wide:?}");
    assert!(wide[2].contains("240.0.16.0/20 10.0.0.250 - tier=edge"), "{wide:?}");
}

#[test]
fn all_is_a_table_for_each_kind() {
    let deployment = Deployment::of_three_sites();
    let told = deployment.ctl(&["get", "all"]).ok();
    for part in
        ["site/cloud ", "gateway/edge-b-gw ", "service/agent.edge-a ", "exposure/agent-b-to-a "]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(told.split("\n\n").count(), 5, "{told}");
    let none = Deployment::empty().ctl(&["get", "all"]).ok();
    assert_eq!(none, "there are none\n");
}

#[test]
fn forms_for_programs_have_every_field() {
    let deployment = Deployment::of_three_sites();
    let one = deployment.ctl(&["get", "site/edge-a", "-o", "json"]).json();
    assert_eq!(one["kind"], "Site");
    assert_eq!(one["spec"]["transit"], "240.0.16.0/20");
    assert_eq!(one["status"]["allocated"]["transit"], "240.0.16.0/20");
    let yaml = deployment.ctl(&["get", "site", "edge-a", "-o", "yaml"]).ok();
    let same: Value = yaml_serde::from_str(&yaml).unwrap();
    assert_eq!(same, one);
    let several = deployment.ctl(&["get", "site", "edge-a", "edge-b", "-o", "json"]).json();
    assert_eq!(several.as_array().unwrap().len(), 2);
    assert_eq!(several[0], one);
    let names = deployment.ctl(&["get", "svc,site", "-o", "name"]).ok();
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        [
            "service/files.cloud",
            "service/rabbitmq.cloud",
            "service/agent.edge-a",
            "service/agent.edge-b",
            "site/cloud",
            "site/edge-a",
            "site/edge-b",
        ]
    );
}

#[test]
fn selectors_choose() {
    let deployment = Deployment::of_three_sites();
    let names = deployment.ctl(&["get", "site", "-l", "tier=edge", "-o", "name"]).ok();
    assert_eq!(names, "site/edge-a\nsite/edge-b\n");
    let told = deployment.ctl(&["get", "site", "edge-a", "-l", "tier=edge"]).fails(2);
    assert!(told.contains("--selector"), "{told}");
}

#[test]
fn lists_of_many_pages_are_whole() {
    let deployment = Deployment::empty();
    let sites: String = (0..1203)
        .map(|n| {
            format!(
                "---\nkind: Site\nmetadata: {{name: s{n}}}\nspec: {{role: edge, clientNetworks: \
                 [10.0.0.0/24], presencePool: 10.0.1.0/26}}\n"
            )
        })
        .collect();
    let cloud = "kind: Site\nmetadata: {name: hub}\nspec: {role: cloud, clientNetworks: [10.0.0.0/24], \
                 presencePool: 10.0.1.0/26}\n";
    let told = deployment.ctl_with(&["apply", "-f", "-"], &format!("{cloud}{sites}")).ok();
    assert_eq!(told.lines().count(), 1204);
    let names = deployment.ctl(&["get", "sites", "-o", "name"]).ok();
    assert_eq!(names.lines().count(), 1204);
    let mut unique: Vec<_> = names.lines().collect();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), 1204);
}

#[test]
fn a_description_has_what_refers_to_it_and_what_happened() {
    let deployment = Deployment::of_three_sites();
    let text = deployment.ctl(&["describe", "svc", "rabbitmq.cloud"]).ok();
    let told = lines(&text);
    for line in [
        "kind Service",
        "name rabbitmq.cloud",
        "number 1",
        "exposed by exposure/rabbitmq-to-a",
        "allowed by policy/edge-a-collector",
        "it is exposed to site/edge-b",
        "its site site/cloud",
    ] {
        assert!(told.iter().any(|it| it == line), "{line}: {text}");
    }
    assert!(text.contains("Created"), "{text}");
    let json = deployment.ctl(&["describe", "site/edge-a", "-o", "json"]).json();
    assert_eq!(json["resource"]["metadata"]["name"], "edge-a");
    assert!(json["related"].as_array().unwrap().len() > 3, "{json}");
    let told = deployment.ctl(&["describe", "site", "edge-z"]).fails(1);
    assert!(told.contains("site edge-z"), "{told}");
}

#[test]
fn status_is_of_the_deployment_where_a_controller_is() {
    let deployment = Deployment::of_three_sites();
    let text = deployment.ctl(&["status"]).ok();
    let told = lines(&text);
    assert_eq!(told[0], format!("deployment by the controller at {}", deployment.socket()));
    assert!(told.iter().any(|line| line.starts_with("edge-a edge edge-a-gw absent -/")), "{text}");
    assert!(text.contains("problems:"), "{text}");
    let json = deployment.ctl(&["status", "-o", "json"]).json();
    assert_eq!(json["counts"]["Site"], 3);
    assert_eq!(json["controller"], deployment.socket());
}

#[test]
fn events_are_listed() {
    let deployment = Deployment::of_three_sites();
    let text = deployment.ctl(&["event", "list"]).ok();
    assert!(text.contains("site/edge-a") && text.contains("Created"), "{text}");
    let of_one = deployment.ctl(&["event", "list", "site", "edge-a"]).ok();
    assert!(of_one.contains("site/edge-a") && !of_one.contains("site/edge-b"), "{of_one}");
    let last = deployment.ctl(&["event", "list", "sites", "--limit", "1", "-o", "json"]).json();
    assert_eq!(last["items"].as_array().unwrap().len(), 1);
    deployment.ctl(&["event", "list", "--limit", "0"]).fails(2);
}

#[test]
fn a_watch_shows_what_is_and_what_changes() {
    let deployment = Deployment::of_three_sites();
    for form in ["table", "json", "name"] {
        let mut child = Command::new(GATEWAYCTL)
            .args(["--controller", &deployment.socket(), "get", "policy", "--watch", "-o", form])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut until = |part: &str| loop {
            let line = told.next().unwrap().unwrap();
            if line.contains(part) {
                break;
            }
        };
        until("edge-b-rabbitmq");
        let name = format!("new-{form}");
        deployment.ctl(&["allow", "cloud", "agent.edge-a", "--name", &name]).ok();
        until(&name);
        deployment.ctl(&["delete", "policy", &name]).ok();
        until(&name);
        let process = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_controller_that_is_not_there_is_named() {
    let scratch = Scratch::new();
    let socket = scratch.path("no-socket");
    for words in [&["get", "sites"][..], &["status"], &["backup", &scratch.path("b")]] {
        let told = scratch.ctl_at(&socket, words, "").fails(1);
        assert!(told.contains(&socket) && told.contains("a controller's file"), "{told}");
        assert!(told.contains("--controller"), "{told}");
    }
    let told = scratch.ctl_at(&socket, &["diff", "-f", "/no/such/file"], "").fails(2);
    assert!(told.contains("/no/such/file"), "{told}");
}

#[test]
fn command_lines_without_sense_are_refused() {
    let scratch = Scratch::new();
    let site = ["--role", "edge", "--networks", "10.0.0.0/24", "--pool", "10.0.1.0/26"];
    for words in [
        &["get"][..],
        &["get", "nothing"],
        &["get", "site/A"],
        &["get", "site/a", "b"],
        &["get", "svc", "a"],
        &["get", "site", "-o", "xml"],
        &["get", "site", "-l", "tier"],
        &["delete", "sites"],
        &["delete"],
        &["delete", "site", "a", "-f", "x"],
        &["describe", "site"],
        &["describe", "site", "a", "-o", "wide"],
        &["status", "-o", "name"],
        &["link", "list", "-o", "wide"],
        &["apply"],
        &["apply", "-f", "/no/such/file"],
        &["apply", "-f", "x", "-o", "wide"],
        &["apply", "-f", "x", "--wait", "5s"],
        &["apply", "-f", "x", "--wait=5"],
        &["apply", "-f", "x", "--wait", "--dry-run"],
        &["diff"],
        &["edit", "site"],
        &["expose", "rabbitmq", "--to", "a"],
        &["expose", "rabbitmq.cloud"],
        &["expose", "rabbitmq.cloud", "--to", "a,b", "--address", "10.0.0.1"],
        &["expose", "rabbitmq.cloud", "--to", "a", "--clients", "many"],
        &["allow", "a"],
        &["allow", "a", "b.c", "--clients", "10.0.0.1"],
        &["label", "site", "a"],
        &["label", "site", "a", "b"],
        &["site", "create", "UPPER", site[0], site[1], site[2], site[3], site[4], site[5]],
        &["site", "create", "a", site[0], site[1], site[2], site[3]],
        &["service", "create", "a", "--port", "tcp/80", "--backend", "10.0.0.1"],
        &["service", "create", "a.b", "--port", "tcp/80", "--backend", "10.0.0.1:0"],
        &["gateway", "create", "a", "--site", "b", "--public-key", "short"],
        &["import"],
        &["import", "/no/such/file"],
        &["import", "x", "--dry-run"],
        &["init", "--directory", "/no/such/place"],
        &["restore", "x"],
        &["get", "site", "-o", "json", "-o", "yaml"],
    ] {
        let told = scratch.ctl_at(&scratch.path("no-socket"), words, "").fails(2);
        assert!(!told.contains("no controller answers"), "{words:?}: {told}");
    }
}

#[test]
fn the_description_of_the_api_can_be_asked_for() {
    let deployment = Deployment::empty();
    let client = Client::new(Path::new(&deployment.socket()));
    let document = deployment.runtime.block_on(client.openapi()).unwrap();
    assert!(document["paths"]["/v1/apply"].is_object(), "{document}");
}
