//! What changes resources: `apply`, `diff`, `edit`, `delete`, `label` and the verbs of daily use.

use std::fs;

use serde_json::Value;

use super::{Deployment, lines, three_sites};

const SITE: &str = "kind: Site\nmetadata: {name: edge-c, labels: {tier: edge}}\nspec:\n  role: edge\n  \
                    clientNetworks: [10.0.0.0/24]\n  presencePool: 10.0.0.192/26\n";

#[test]
fn a_directory_is_one_change_and_what_is_shown_of_it_changes_nothing() {
    let deployment = Deployment::empty();
    let directory = three_sites();
    let directory = directory.to_str().unwrap();
    let dry = deployment.ctl(&["apply", "-f", directory, "--dry-run"]).ok();
    assert!(dry.contains("site/edge-a created (dry run)\n"), "{dry}");
    assert!(dry.contains("gateway edge-a-gw of site edge-a:\n  + "), "{dry}");
    assert_eq!(deployment.ctl(&["get", "all"]).ok(), "there are none\n");

    let told = deployment.ctl(&["apply", "-f", directory]).ok();
    assert!(told.contains("site/edge-a created\n"), "{told}");
    assert!(told.contains("service/rabbitmq.cloud created\n"), "{told}");
    let unchanged = |told: &str| {
        assert_eq!(told.lines().count(), 24, "{told}");
        assert!(told.lines().all(|line| line.ends_with(" unchanged")), "{told}");
    };
    unchanged(&deployment.ctl(&["apply", "-f", directory]).ok());
    let shown = deployment.ctl(&["get", "all", "-o", "yaml"]).ok();
    unchanged(&deployment.ctl_with(&["apply", "-f", "-"], &shown).ok());
    let names = deployment.ctl(&["apply", "-f", directory, "-o", "name"]).ok();
    assert!(names.contains("policy/cloud-agent-a\n"), "{names}");
    let json = deployment.ctl(&["apply", "-f", directory, "-o", "json"]).json();
    assert_eq!(json["resources"][0]["fate"], "unchanged");
}

#[test]
fn json_files_and_several_files_go_together() {
    let deployment = Deployment::of_three_sites();
    let (yaml, json) = (
        deployment.scratch.file("a.yml", SITE),
        deployment.scratch.file(
            "b.json",
            r#"{"kind": "Gateway", "metadata": {"name": "edge-c-gw"}, "spec": {"site": "edge-c",
                "publicKey": "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX4="}}"#,
        ),
    );
    let told = deployment.ctl(&["apply", "-f", &json, "-f", &yaml]).ok();
    assert_eq!(told, "gateway/edge-c-gw created\nsite/edge-c created\n");
    let shown = deployment.ctl(&["get", "site/edge-c", "-o", "json"]).ok();
    let told = deployment.ctl_with(&["apply", "-f", "-"], &shown).ok();
    assert_eq!(told, "site/edge-c unchanged\n");
}

#[test]
fn faults_are_told_with_file_and_line_and_nothing_is_changed() {
    let deployment = Deployment::of_three_sites();
    let right = deployment.scratch.file("a.yaml", SITE);
    let wrong = deployment
        .scratch
        .file("b.yaml", "# a comment\nkind: Site\nmetadata: {name: x}\nspec: {role: hub}\n");
    let told = deployment.ctl(&["apply", "-f", &right, "-f", &wrong]).fails(2);
    assert!(told.contains(&format!("{wrong}:4:14: site \"x\": spec.role: ")), "{told}");
    assert!(!told.contains(&right), "{told}");
    // What is wrong between resources as well.
    let service = "kind: Service\nmetadata: {name: a}\nspec: {site: edge-c, ports: [tcp/80], backends: \
                   [{address: 10.9.9.9}]}\n";
    let service = deployment.scratch.file("c.yaml", &format!("\n\n{service}"));
    let told = deployment.ctl(&["apply", "-f", &right, "-f", &service]).fails(2);
    assert!(told.contains(&format!("{service}:3: service a.edge-c: ")), "{told}");
    assert!(told.contains("10.9.9.9"), "{told}");
    deployment.ctl(&["get", "site", "edge-c"]).fails(1);
    let input = "kind: [Site\n";
    let told = deployment.ctl_with(&["apply", "-f", "-"], input).fails(2);
    assert!(told.contains("standard input:"), "{told}");
    let told = deployment.ctl(&["apply", "-f", "-", "-f", "-"]).fails(2);
    assert!(told.contains("once"), "{told}");
    fs::create_dir(deployment.scratch.path("empty")).unwrap();
    let told = deployment.ctl(&["apply", "-f", &deployment.scratch.path("empty")]).fails(2);
    assert!(told.contains("empty: no *.yaml"), "{told}");
}

#[test]
fn what_others_have_set_is_kept_unless_forced() {
    let deployment = Deployment::of_three_sites();
    let file = deployment.scratch.file("c.yaml", SITE);
    deployment.ctl(&["apply", "-f", &file, "--manager", "ann"]).ok();
    let other = deployment.scratch.file("d.yaml", &SITE.replace("10.0.0.192/26", "10.0.0.128/26"));
    let told = deployment.ctl(&["apply", "-f", &other, "--manager", "bob"]).fails(1);
    for part in ["site edge-c", "spec.presencePool", "ann", "10.0.0.192/26", "10.0.0.128/26"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = deployment.ctl(&["apply", "-f", &other, "--manager", "bob", "--force"]).ok();
    assert_eq!(told, "site/edge-c changed\n");
    let json = deployment.ctl(&["get", "site/edge-c", "-o", "json"]).json();
    assert_eq!(json["metadata"]["managers"]["spec.presencePool"], "bob");
    assert_eq!(json["metadata"]["managers"]["spec.role"], "ann");
}

#[test]
fn a_difference_is_told_field_by_field_and_by_the_exit_code() {
    let deployment = Deployment::of_three_sites();
    let directory = three_sites();
    let same = deployment.ctl(&["diff", "-f", directory.to_str().unwrap()]).ok();
    assert_eq!(same, "nothing differs\n");
    let file = deployment.scratch.file(
        "x.yaml",
        "kind: Service\nmetadata: {name: files, labels: {a: b}}\nspec:\n  site: cloud\n  ports: [tcp/80->8080]\n  \
         backends: [{address: 10.0.0.10}, {address: 10.0.0.11}]\n  number: 2\n",
    );
    let ran = deployment.ctl(&["diff", "-f", &file]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{}", ran.out);
    for line in [
        "service/files.cloud would be changed",
        "  - spec.ports: [\"tcp/80->8080\",\"icmp-echo\"]",
        "  + spec.ports: [\"tcp/80->8080\"]",
        "  + metadata.labels.a: \"b\"",
        "gateway cloud-gw of site cloud:",
    ] {
        assert!(ran.out.lines().any(|it| it == line), "{line:?} in {}", ran.out);
    }
    assert!(!ran.out.contains("spec.number"), "{}", ran.out);
    let json = deployment.ctl(&["diff", "-f", &file, "-o", "json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["resources"][0]["fields"][0]["field"], "metadata.labels.a");
    assert_eq!(deployment.ctl(&["get", "svc", "files.cloud", "-l", "a=b"]).code, Some(2));
    assert_eq!(deployment.ctl(&["get", "svc", "-l", "a=b", "-o", "name"]).ok(), "");
    let wrong = deployment.scratch.file("y.yaml", "kind: Sight\n");
    deployment.ctl(&["diff", "-f", &wrong]).fails(2);
}

#[test]
fn what_is_in_use_is_not_deleted() {
    let deployment = Deployment::of_three_sites();
    let told = deployment.ctl(&["delete", "svc", "rabbitmq.cloud"]).fails(1);
    for part in ["service rabbitmq.cloud", "exposure rabbitmq-to-a", "policy edge-b-rabbitmq"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let dry = deployment.ctl(&["delete", "policy/edge-b-files", "--dry-run"]).ok();
    assert!(dry.starts_with("policy/edge-b-files deleted (dry run)\n"), "{dry}");
    assert!(dry.contains("gateway edge-b-gw of site edge-b:\n  - "), "{dry}");
    let told = deployment.ctl(&["delete", "policy", "edge-b-files", "edge-b-rabbitmq"]).ok();
    assert_eq!(told, "policy/edge-b-files deleted\npolicy/edge-b-rabbitmq deleted\n");
    let told = deployment.ctl(&["delete", "policy", "edge-b-files"]).fails(1);
    assert!(told.contains("policy edge-b-files"), "{told}");
}

#[test]
fn what_files_name_is_deleted_together() {
    let deployment = Deployment::of_three_sites();
    let directory = three_sites();
    let told = deployment.ctl(&["delete", "-f", directory.to_str().unwrap()]).ok();
    assert_eq!(told.lines().filter(|line| line.ends_with(" deleted")).count(), 24, "{told}");
    assert_eq!(deployment.ctl(&["get", "all"]).ok(), "there are none\n");
}

#[test]
fn an_edited_resource_is_applied() {
    let deployment = Deployment::of_three_sites();
    let words = ["edit", "policy/edge-b-files"];
    let told = deployment.edit(&words, "sed -i s/files.cloud/rabbitmq.cloud/ \"$1\"").ok();
    assert_eq!(told, "policy/edge-b-files changed\n");
    let json = deployment.ctl(&["get", "policy/edge-b-files", "-o", "json"]).json();
    assert_eq!(json["spec"]["rules"][0]["to"], "rabbitmq.cloud");
    let told = deployment.edit(&words, "exit 0").ok();
    assert_eq!(told, "policy/edge-b-files: nothing was changed\n");
    assert_eq!(deployment.scratch.kept(), [] as [std::path::PathBuf; 0]);
}

#[test]
fn what_was_edited_in_vain_is_kept() {
    let deployment = Deployment::of_three_sites();
    let socket = deployment.socket();
    let words = ["edit", "site", "edge-a"];
    for (script, code, why) in [
        ("sed -i 's/role: edge/role: hub/' \"$1\"", 2, "spec.role"),
        ("sed -i 's/name: edge-a/name: edge-z/' \"$1\"", 1, "another resource"),
        ("exit 3", 1, "nothing was applied"),
        (
            // Somebody else is faster.
            &format!(
                "sed -i 's/tier: edge/tier: core/' \"$1\"\n{} --controller {socket} label site edge-a x=y",
                super::GATEWAYCTL
            ),
            1,
            "revision",
        ),
    ] {
        let told = deployment.edit(&words, script).fails(code);
        let kept = deployment.scratch.kept();
        let [kept] = kept.as_slice() else { panic!("{script}: {kept:?}") };
        assert!(told.contains(why) && told.contains(kept.to_str().unwrap()), "{script}: {told}");
        fs::remove_file(kept).unwrap();
    }
    let none = deployment.scratch.with(&socket, &words, "", &[("VISUAL", "/no/such/editor")]);
    let told = none.fails(1);
    assert!(told.contains("$VISUAL or $EDITOR"), "{told}");
}

#[test]
fn one_liners_declare() {
    let deployment = Deployment::of_three_sites();
    let ctl = |line: &str| deployment.ctl(&line.split_whitespace().collect::<Vec<_>>());
    let site = "site create edge-c --role edge --networks 10.0.0.0/24 --pool 10.0.0.192/26 --label tier=edge";
    assert_eq!(ctl(site).ok(), "site/edge-c created\n");
    let told = ctl(site).fails(1);
    assert!(told.contains("site edge-c: there is one already"), "{told}");
    let key = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX4=";
    let gateway = format!("gateway create edge-c-gw --site edge-c --public-key {key}");
    assert_eq!(ctl(&gateway).ok(), "gateway/edge-c-gw created\n");
    let service =
        "service create web.edge-c --port tcp/80->8080 --backend 10.0.0.10:2 --backend 10.0.0.11";
    assert_eq!(ctl(service).ok(), "service/web.edge-c created\n");

    let expose = "expose web.edge-c --to edge-a";
    let dry = ctl(&format!("{expose} --dry-run")).ok();
    assert!(dry.starts_with("exposure/web-edge-c-to-edge-a created (dry run)\n"), "{dry}");
    assert!(dry.contains("gateway edge-a-gw of site edge-a:\n"), "{dry}");
    let yaml = ctl(&format!("{expose} -o yaml")).ok();
    assert!(yaml.contains("name: web-edge-c-to-edge-a"), "{yaml}");
    ctl("get exposure/web-edge-c-to-edge-a").fails(1);
    assert_eq!(ctl(expose).ok(), "exposure/web-edge-c-to-edge-a created\n");
    let told = deployment.ctl_with(&["apply", "-f", "-"], &yaml).ok();
    assert_eq!(told, "exposure/web-edge-c-to-edge-a unchanged\n");
    assert_eq!(
        ctl("allow edge-a web.edge-c --clients 10.0.0.5/32 -o name").ok(),
        "policy/edge-a-to-web-edge-c\n"
    );
    assert_eq!(
        ctl("expose web.edge-c --to tier=edge --name web-to-edges").fails(2).lines().count(),
        1,
        "edge-a would get it twice"
    );
    let shown = lines(&ctl("get exp web-edge-c-to-edge-a").ok());
    assert!(shown[1].starts_with("web-edge-c-to-edge-a web.edge-c edge-a 10.0.0."), "{shown:?}");
}

#[test]
fn labels_are_set_and_removed() {
    let deployment = Deployment::of_three_sites();
    let ctl = |line: &str| deployment.ctl(&line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(ctl("label site edge-a zone=north tier=core").ok(), "site/edge-a changed\n");
    assert_eq!(ctl("get site -l zone=north,tier=core -o name").ok(), "site/edge-a\n");
    assert_eq!(ctl("label site edge-a zone-").ok(), "site/edge-a changed\n");
    assert_eq!(ctl("label site edge-a zone-").ok(), "site/edge-a unchanged\n");
    let told = ctl("label site edge-a tier- --manager somebody").fails(1);
    assert!(told.contains("label tier was set by") && told.contains("--manager"), "{told}");
    let told = ctl("label site edge-a tier=x --manager somebody").fails(1);
    assert!(told.contains("metadata.labels.tier"), "{told}");
    assert!(ctl("label site edge-a a=b -o yaml").ok().contains("a: b"));
    ctl("label site edge-a a=b a-").fails(2);
    ctl("label site edge-z a=b").fails(1);
}

#[test]
fn labels_that_several_set_at_once_are_all_there() {
    let deployment = Deployment::of_three_sites();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let deployment = &deployment;
            scope.spawn(move || {
                deployment.ctl(&["label", "site", "edge-a", &format!("n{number}=x")]).ok()
            });
        }
    });
    let selector = (0..6).map(|number| format!("n{number}=x")).collect::<Vec<_>>().join(",");
    assert_eq!(
        deployment.ctl(&["get", "site", "-l", &selector, "-o", "name"]).ok(),
        "site/edge-a\n"
    );
}
