//! Applying and deleting: whole or not at all, with everything that is wrong and where, and nobody's setting lost.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::Raw;
use crate::{Api, name, services, site, three_sites};

fn service(port: u16) -> String {
    services("web", 1, "", port)
}

fn deletion(names: &[(&str, &str)], dry_run: bool) -> String {
    let names: Vec<Value> =
        names.iter().map(|(kind, name)| json!({"kind": kind, "name": name})).collect();
    json!({"resources": names, "dry_run": dry_run}).to_string()
}

#[tokio::test]
async fn what_is_applied_says_what_became_of_each_and_on_which_gateway() {
    let api = Api::start().await;
    let applied = api.declare(three_sites()).await;
    let fates = applied["resources"].as_array().unwrap();
    assert!(fates.iter().all(|fate| fate["fate"] == "created"), "{fates:?}");
    assert!(applied["revision"].is_u64());
    let gateways = applied["gateways"].as_array().unwrap();
    assert_eq!(gateways.len(), 3);
    assert!(gateways.iter().all(|it| !it["items"].as_array().unwrap().is_empty()));

    let again = api.declare(three_sites()).await;
    let fates = again["resources"].as_array().unwrap();
    assert!(fates.iter().all(|fate| fate["fate"] == "unchanged"), "{fates:?}");
    assert!(again["revision"].is_null() && again["gateways"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let api = Api::start().await;
    api.declare(three_sites()).await;
    let before = api.all("").await;
    let tried = api.apply("?dry-run=true", service(80)).await.json();
    let gone = deletion(&[("policy", "edge-b-files"), ("Policies", "edge-b-files")], true);
    let tried_deletion = api.delete(gone.clone()).await.json();
    assert_eq!(api.all("").await, before);
    assert!(tried["revision"].is_null() && tried_deletion["revision"].is_null());
    assert_eq!(tried_deletion["resources"].as_array().unwrap().len(), 1, "named twice, done once");

    let done = api.declare(service(80)).await;
    assert_eq!((&done["resources"], &done["gateways"]), (&tried["resources"], &tried["gateways"]));
    let done = api.delete(gone.replace("true", "false")).await.json();
    assert_eq!(done["gateways"], tried_deletion["gateways"]);
    assert!(done["revision"].is_u64() && !done["gateways"].as_array().unwrap().is_empty());
    api.get("/v1/resources/policy/edge-b-files").await.refuses(404, "not-found", "edge-b-files");
}

#[tokio::test]
async fn a_field_of_another_manager_is_a_conflict_unless_it_is_taken_over() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    assert_eq!(api.apply("?manager=one", service(80)).await.status, 200);
    let refused = api.apply("?manager=two", service(81)).await;
    let refused = refused.refuses(409, "conflict", "one");
    let problem = &refused["problems"][0];
    assert_eq!(
        (problem["kind"].as_str(), problem["name"].as_str()),
        (Some("Service"), Some("web-0.cloud"))
    );
    assert_eq!(
        (problem["field"].as_str(), problem["line"].as_u64()),
        (Some("spec.ports"), Some(1))
    );
    assert_eq!(api.apply("?manager=two&dry-run=true", service(81)).await.status, 409);
    assert_eq!(api.apply("?manager=one", service(82)).await.status, 200);
    assert_eq!(api.apply("?manager=two&force=true", service(83)).await.status, 200);
    let web = api.get("/v1/resources/service/web-0.cloud").await.json();
    assert_eq!(web["metadata"]["managers"]["spec.ports"], "two");
    assert_eq!(web["metadata"]["managers"]["spec.backends"], "one");
}

#[tokio::test]
async fn the_manager_is_the_caller_unless_he_says_otherwise() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    let me = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap();
    let me = me.map_or_else(|| format!("uid:{}", nix::unistd::Uid::effective()), |user| user.name);
    let managers = &api.get("/v1/resources/site/cloud").await.json()["metadata"]["managers"];
    assert_eq!(managers["spec.role"], json!(me));
}

#[tokio::test]
async fn what_is_shown_can_be_applied_until_it_is_changed() {
    let api = Api::start().await;
    api.declare(three_sites()).await;
    let mut shown = api.get("/v1/resources/service/files.cloud").await.json();
    let same = api.declare(shown.to_string()).await;
    assert_eq!(same["resources"][0]["fate"], "unchanged");
    shown["spec"]["ports"] = json!(["tcp/81"]);
    assert_eq!(api.declare(shown.to_string()).await["resources"][0]["fate"], "changed");
    shown["spec"]["ports"] = json!(["tcp/82"]);
    let refused = api.apply("", shown.to_string()).await;
    let refused = refused.refuses(409, "conflict", "read it again");
    assert_eq!(refused["problems"][0]["field"], "metadata.revision");
    shown["metadata"]["name"] = json!("none");
    api.apply("", shown.to_string()).await.refuses(409, "conflict", "there is none");
}

#[tokio::test]
async fn of_two_that_set_the_same_field_at_once_one_is_told() {
    let api = Arc::new(Api::start().await);
    api.declare(site("cloud")).await;
    let mut winners = [0; 2];
    for round in 0..20 {
        let text = |port| services(&format!("round-{round}"), 3, "", port);
        let (one, two) =
            tokio::join!(api.apply("?manager=one", text(80)), api.apply("?manager=two", text(81)),);
        let (winner, loser, port) =
            if one.status == 200 { (0, two, "tcp/80") } else { (1, one, "tcp/81") };
        winners[winner] += 1;
        loser.refuses(409, "conflict", "spec.ports");
        for view in api.all("kind=service").await {
            if name(&view).starts_with(&format!("Service round-{round}-")) {
                assert_eq!(view["spec"]["ports"], json!([port]));
            }
        }
    }
    assert_eq!(winners.iter().sum::<i32>(), 20);
}

#[tokio::test]
async fn many_that_change_different_things_at_once_all_succeed() {
    let api = Arc::new(Api::start().await);
    api.declare(site("cloud")).await;
    let all = (0..30).map(|n| {
        let api = Arc::clone(&api);
        tokio::spawn(async move { api.declare(services(&format!("by-{n}"), 2, "", 80)).await })
    });
    let all: Vec<_> = all.collect();
    let mut revisions = Vec::new();
    for one in all {
        revisions.push(one.await.unwrap()["revision"].as_u64().unwrap());
    }
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!((revisions.len(), api.all("kind=service").await.len()), (30, 60));
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted_and_those_that_need_it_are_named() {
    let api = Api::start().await;
    api.declare(three_sites()).await;
    let before = api.all("").await;
    let refused = api.delete(deletion(&[("service", "files.cloud")], false)).await;
    let refused = refused.refuses(409, "in-use", "policy edge-b-files");
    let problem = &refused["problems"][0];
    assert_eq!(
        (problem["kind"].as_str(), problem["name"].as_str()),
        (Some("Service"), Some("files.cloud"))
    );
    assert!(problem["message"].as_str().unwrap().contains("policy edge-b-files"));
    let dependants: Vec<_> = refused["problems"].as_array().unwrap()[1..]
        .iter()
        .map(|it| format!("{} {}", it["kind"].as_str().unwrap(), it["name"].as_str().unwrap()))
        .collect();
    assert_eq!(dependants, ["Exposure files-to-a", "Exposure files-to-b", "Policy edge-b-files"]);
    let both = [("site", "cloud"), ("policy", "edge-b-files")];
    api.delete(deletion(&both, false)).await.refuses(409, "in-use", "site cloud");
    let refused =
        api.delete(deletion(&[("site", "nowhere"), ("policy", "edge-b-files")], false)).await;
    assert_eq!(refused.refuses(404, "not-found", "site nowhere")["problems"][0]["name"], "nowhere");
    assert_eq!(api.all("").await, before);

    let all: Vec<(String, String)> = before
        .iter()
        .map(|view| {
            let name = name(view);
            let (kind, name) = name.split_once(' ').unwrap();
            (kind.to_owned(), name.to_owned())
        })
        .collect();
    let all: Vec<(&str, &str)> =
        all.iter().map(|(kind, name)| (kind.as_str(), name.as_str())).collect();
    let gone = api.delete(deletion(&all, false)).await.json();
    assert!(gone["resources"].as_array().unwrap().iter().all(|fate| fate["fate"] == "deleted"));
    assert!(api.all("").await.is_empty());
}

#[tokio::test]
async fn one_wrong_document_among_five_thousand_is_shown_and_nothing_is_applied() {
    const COUNT: usize = 5000;
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    let all = services("web", COUNT, "", 80);
    let mut documents: Vec<&str> = all.split_terminator("---\n").collect();
    assert_eq!(documents.len(), COUNT);
    let wrong = documents[COUNT / 2].replace("tcp/80", "tcp/80000");
    documents[COUNT / 2] = &wrong;
    let refused = api.apply("", documents.join("---\n")).await;
    let refused = refused.refuses(422, "invalid", "web-2500");
    let (problem, line) = (&refused["problems"][0], COUNT / 2 * 4 + 3);
    assert_eq!(problem["document"], json!(COUNT / 2 + 1));
    assert_eq!(problem["line"], json!(line));
    assert!(
        problem["column"].as_u64().unwrap() > 1
            && refused["problems"].as_array().unwrap().len() == 1
    );

    let nowhere =
        documents[COUNT / 2].replace("tcp/80000", "tcp/80").replace("site: cloud", "site: nowhere");
    documents[COUNT / 2] = &nowhere;
    let refused = api.apply("", documents.join("---\n")).await;
    let refused = refused.refuses(422, "invalid", "there is no site nowhere");
    let problem = &refused["problems"][0];
    assert_eq!((&problem["document"], &problem["line"]), (&json!(COUNT / 2 + 1), &json!(line - 2)));
    assert_eq!(api.all("").await.len(), 1, "nothing but the site");
}

#[tokio::test]
async fn of_very_many_problems_some_are_shown_and_the_rest_is_counted() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    for (text, word) in [
        (services("web", 1000, "", 80).replace("site: cloud", "site: nowhere"), "no site nowhere"),
        (services("web", 1000, "", 80).replace("tcp/80", "tcp"), "tcp"),
    ] {
        let refused = api.apply("", text).await;
        assert!(refused.body.len() < 100_000, "{}", refused.body.len());
        let refused = refused.refuses(422, "invalid", word);
        assert!(refused["message"].as_str().unwrap().contains("and 900 more"));
        assert_eq!(refused["problems"].as_array().unwrap().len(), 100);
    }
}

#[tokio::test]
async fn a_change_whose_caller_leaves_is_done_whole_or_not_at_all() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    for round in 0..10 {
        let text = services(&format!("left-{round}"), 50, "", 80);
        let mut raw = Raw::connect(&api.socket()).await;
        raw.send(format!(
            "POST /v1/apply HTTP/1.1\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        ))
        .await;
        drop(raw);
    }
    // A change waits for those that have begun.
    api.declare(services("last", 1, "", 80)).await;
    let mut counts = [0; 10];
    for view in api.all("kind=service").await {
        let name = name(&view);
        if let Some(round) = name.strip_prefix("Service left-").and_then(|it| it.split('-').next())
        {
            counts[round.parse::<usize>().unwrap()] += 1;
        }
    }
    assert!(counts.iter().all(|count| [0, 50].contains(count)), "{counts:?}");
}
