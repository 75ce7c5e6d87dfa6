//! The deployment as a whole: its status, its events, a backup of it, and the document of the API.

use gateway_control::deployment::allocation::COOLING;
use gateway_daemon::controller::{Controller, Wanted};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore, restore};
use serde_json::json;

use crate::client::{ask, begin};
use crate::{Api, NOW, conform, services, three_sites};

#[tokio::test]
async fn the_status_counts_what_there_is() {
    let api = Api::start().await;
    let empty = api.get("/v1/status").await.json();
    assert_eq!((&empty["counts"]["Site"], &empty["sites"]), (&json!(0), &json!([])));
    let applied = api.declare(three_sites()).await;
    let status = api.get("/v1/status").await.json();
    assert_eq!(status["revision"], applied["revision"]);
    assert_eq!(
        (&status["counts"]["Site"], status["sites"].as_array().unwrap().len()),
        (&json!(3), 3)
    );
}

#[tokio::test]
async fn events_are_of_what_was_asked_for_and_the_last_ones() {
    let api = Api::start().await;
    api.declare(three_sites()).await;
    for port in 1..=5 {
        api.declare(services("web", 1, "", port)).await;
    }
    let events = api.get("/v1/events?kind=service&name=web-0.cloud").await.json();
    let reasons: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["Created", "Changed", "Changed", "Changed", "Changed"]);
    let last = api.get("/v1/events?kind=services&name=web-0.cloud&limit=1").await.json();
    assert_eq!(last["items"][0], events["items"][4]);
    let sites = api.get("/v1/events?kind=site").await.json();
    assert_eq!(sites["items"].as_array().unwrap().len(), 3);
    assert!(api.get("/v1/events").await.json()["items"].as_array().unwrap().len() > 5);
}

#[tokio::test]
async fn a_backup_can_be_restored_and_leaves_nothing_behind() {
    let api = Api::start().await;
    let applied = api.declare(three_sites()).await;
    let backup = api.get("/v1/backup").await;
    assert_eq!(
        (backup.status, backup.headers["content-type"].to_str().unwrap()),
        (200, "application/vnd.sqlite3")
    );
    assert_eq!(backup.headers["content-length"].to_str().unwrap(), backup.body.len().to_string());
    let revision: u64 = backup.headers["presence-revision"].to_str().unwrap().parse().unwrap();
    assert!(revision >= applied["revision"].as_u64().unwrap());
    assert!(api.backups().is_empty());

    let (file, store) = (api.scratch.0.join("backup"), api.scratch.0.join("restored"));
    std::fs::write(&file, &backup.body).unwrap();
    restore(&file, &store).unwrap();
    let store = SqliteStore::open(&store, SqliteSettings::default()).await.unwrap();
    let restored = Controller::open(std::sync::Arc::new(store), COOLING, NOW).await.unwrap();
    let listed = restored.list(&Wanted::default(), None, usize::MAX, NOW).await.unwrap();
    assert_eq!(listed.views.len(), api.all("").await.len());
}

#[tokio::test]
async fn a_backup_whose_caller_leaves_leaves_nothing_behind() {
    let api = Api::start().await;
    api.declare(three_sites()).await;
    let begun = begin(&api.socket(), "GET", "/v1/backup", "").await;
    assert_eq!(begun.status(), 200);
    drop(begun);
    assert!(api.backups().is_empty());
    // One at once; the next one follows.
    let (one, two) = tokio::join!(api.get("/v1/backup"), api.get("/v1/backup"));
    assert_eq!((one.status, two.status), (200, 200));
    assert!(api.backups().is_empty());
}

#[tokio::test]
async fn a_backup_that_cannot_be_written_says_where() {
    let api = Api::start().await;
    std::fs::remove_dir(api.scratch.0.join("backups")).unwrap();
    let refused = api.get("/v1/backup").await;
    refused.refuses(500, "internal", "TMPDIR");
}

#[tokio::test]
async fn the_document_that_is_served_is_the_one_that_is_committed() {
    let api = Api::start().await;
    let served = api.get("/v1/openapi.json").await;
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");
    assert!(
        served.body == std::fs::read(committed).unwrap(),
        "docs/reference/openapi.json is out of date: run `cargo xtask docs`"
    );
    let document = served.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path) in conform::routes() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{path}");
        for status in ["200", "400", "403", "429", "500", "503"] {
            assert!(operation["responses"][status].is_object(), "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn every_route_answers_as_it_is_documented() {
    let api = Api::start().await;
    api.declare(three_sites()).await;
    for (method, path) in conform::routes() {
        let path = path.replace("{kind}/{name}", "site/cloud").replace("{name}", "cloud-gw");
        if path == "/v1/watch" {
            // It has no end; its lines are held against the document where they are read.
            continue;
        }
        let body = if path == "/v1/apply" { three_sites() } else { String::new() };
        let answer = ask(&api.socket(), &method, &path, body).await;
        let expected = match path.as_str() {
            "/v1/delete" => 400,
            // This controller takes nobody in, and its gateways take part already.
            "/v1/identity" => 404,
            "/v1/gateways/cloud-gw/accept" => 409,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{path}: {answer:?}");
    }
    let described = conform::routes().len();
    assert_eq!(described, 12);
}
