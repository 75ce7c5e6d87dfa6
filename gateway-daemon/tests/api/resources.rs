//! Listing and getting: pages, kinds, labels, names, and what is no such thing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::ask;
use crate::{Api, name, services, site, three_sites};

#[tokio::test]
async fn every_resource_is_got_by_its_kind_in_any_form_and_its_name() {
    let api = Api::start().await;
    let applied = api.declare(three_sites()).await;
    let all = api.all("").await;
    assert_eq!(all.len(), applied["resources"].as_array().unwrap().len());
    for view in &all {
        let name = name(view);
        let (kind, name) = name.split_once(' ').unwrap();
        let plural = if kind == "Policy" { "Policies".to_owned() } else { format!("{kind}s") };
        for word in [kind.to_owned(), kind.to_lowercase(), kind.to_uppercase(), plural] {
            let got = api.get(&format!("/v1/resources/{word}/{name}")).await;
            assert_eq!((got.status, &got.json()), (200, view));
        }
    }
    let kinds: Vec<_> = all.iter().map(|view| view["kind"].as_str().unwrap()).collect();
    let order = ["Site", "Gateway", "Service", "Exposure", "Policy"];
    assert!(kinds.is_sorted_by_key(|kind| order.iter().position(|it| it == kind)), "{kinds:?}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_no_name_is_a_bad_request() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    for (path, says) in [
        ("site/edge-a", "there is no site edge-a"),
        ("services/web.cloud", "there is no service web.cloud"),
    ] {
        api.get(&format!("/v1/resources/{path}")).await.refuses(404, "not-found", says);
    }
    let long = "a".repeat(64);
    for (path, says) in [
        ("sitess/a", "the kinds are Site"),
        ("si%74e%20/a", "no kind \"site \""),
        ("service/web", "the name of a service"),
        ("service/a.b.c", "the name of a service"),
        ("site/UPPER", "the name of a site"),
        ("site/-a", "the name of a site"),
        ("site/a%2Fb", "the name of a site"),
        ("site/..", "the name of a site"),
        ("site/%00", "the name of a site"),
        ("site/%0A%1B%5B2J", "the name of a site"),
        ("site/%F0%9F%92%A9", "the name of a site"),
        ("site/%ff", "UTF-8"),
        ("site/%zz", "the name of a site"),
        (&format!("site/{long}"), "the name of a site"),
        (&format!("{long}{long}{long}/a"), "…"),
        ("site/cloud?x=1", "takes no query"),
    ] {
        let refused = api.get(&format!("/v1/resources/{path}")).await;
        let refused = refused.refuses(400, "bad-request", says);
        let message = refused["message"].as_str().unwrap();
        assert!(message.len() < 500 && !message.contains(char::is_control), "{message:?}");
    }
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not_are_refused_in_the_same_form() {
    let api = Api::start().await;
    for path in [
        "/",
        "/v1",
        "/v2/resources",
        "/v1/resources/",
        "/v1/resources/site/",
        "/v1/resources/a/b/c",
        "/v1/shares",
    ] {
        api.get(path).await.refuses(404, "not-found", "/v1/openapi.json");
    }
    for (method, path, allowed) in [
        ("DELETE", "/v1/resources", "GET,HEAD"),
        ("GET", "/v1/apply", "POST"),
        ("PATCH", "/v1/resources/site/cloud", "GET,HEAD"),
        ("ODD", "/v1/status", "GET,HEAD"),
    ] {
        let refused = ask(&api.socket(), method, path, "body that nobody reads").await;
        refused.refuses(405, "bad-request", method);
        assert_eq!(refused.headers["allow"], allowed);
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let api = Api::start().await;
    for (target, says) in [
        ("/v1/resources?limit=0", "limit must be 1 to 500"),
        ("/v1/resources?limit=501", "limit must be 1 to 500"),
        ("/v1/resources?limit=-1", "limit"),
        ("/v1/resources?limit=99999999999", "limit"),
        ("/v1/resources?limit=", "limit"),
        ("/v1/resources?limit=1&limit=2", "duplicate field"),
        ("/v1/resources?lmit=1", "unknown field"),
        ("/v1/resources?kind=Sites%0Aevil", "the kinds are"),
        ("/v1/resources?kind=", "the kinds are"),
        ("/v1/resources?selector=", "name a label"),
        ("/v1/resources?selector=a", "KEY=VALUE"),
        ("/v1/resources?selector=a%3D1%2Ca%3D2", "KEY=VALUE"),
        ("/v1/resources?selector=%ff%3D1", "label key"),
        ("/v1/resources?after=", "which no page gave"),
        ("/v1/resources?after=edge-a", "which no page gave"),
        ("/v1/resources?after=U2l0ZS9VUFBFUg", "which no page gave"),
        ("/v1/resources?%ff=%fe&&&=", "unknown field"),
        ("/v1/watch?limit=1", "leave out limit and after"),
        ("/v1/watch?after=x", "leave out limit and after"),
        ("/v1/watch?kind=x", "the kinds are"),
        ("/v1/events?limit=1001", "limit must be 1 to 1000"),
        ("/v1/events?name=a", "add kind"),
        ("/v1/events?kind=site&name=A", "the name of a site"),
        ("/v1/status?x", "takes no query"),
        ("/v1/backup?x", "takes no query"),
        ("/v1/openapi.json?x", "takes no query"),
    ] {
        api.get(target).await.refuses(400, "bad-request", says);
    }
    for query in
        ["?dry-run=yes", "?force=1", "?dry_run=true", "?manager=", "?manager=a%20b", "?x=y"]
    {
        api.apply(query, site("cloud")).await.refuses(400, "bad-request", "");
    }
    assert!(api.all("").await.is_empty());
}

#[tokio::test]
async fn kinds_and_labels_select() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    api.declare(services("a", 3, "tier: front, team: x", 80)).await;
    api.declare(services("b", 2, "tier: front", 80)).await;
    for (query, count) in [
        ("", 6),
        ("kind=site", 1),
        ("kind=Services", 5),
        ("selector=tier%3Dfront", 5),
        ("selector=tier%3Dfront%2Cteam%3Dx", 3),
        ("selector=team%3Dx&kind=site", 0),
        ("selector=tier%3Dback", 0),
        ("kind=gateway", 0),
        ("limit=2&kind=service", 5),
        ("limit=1", 6),
    ] {
        let found = api.all(query).await;
        assert_eq!(found.len(), count, "{query}: {found:?}");
    }
    let page = api.get("/v1/resources?limit=5&kind=service").await.json();
    assert!(page.get("next").is_none(), "it was the last");
}

#[tokio::test]
async fn pages_have_each_resource_once_while_others_come_and_go() {
    const KEPT: usize = 1200;
    let api = Arc::new(Api::start().await);
    api.declare(site("cloud")).await;
    api.declare(services("kept", KEPT, "", 80)).await;
    let done = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn({
        let (api, done) = (Arc::clone(&api), Arc::clone(&done));
        async move {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                // Some come before and some behind all that stay.
                let text = services("a", 5, "", 80) + &services("z", 5, "", 80);
                api.declare(text).await;
                let gone = ["a", "z"].into_iter().flat_map(|first| {
                    (0..5).map(move |n| serde_json::json!({"kind": "service", "name": format!("{first}-{n}.cloud")}))
                });
                let body = serde_json::json!({"resources": gone.collect::<Vec<_>>()});
                assert_eq!(api.delete(body.to_string()).await.status, 200);
                rounds += 1;
            }
            rounds
        }
    });
    for limit in [500, 97] {
        let all = api.all(&format!("limit={limit}")).await;
        let names: Vec<String> = all.iter().map(name).collect();
        let once: BTreeSet<&String> = names.iter().collect();
        assert_eq!(once.len(), names.len());
        assert_eq!(names.iter().filter(|name| name.starts_with("Service kept-")).count(), KEPT);
    }
    done.store(true, Ordering::Relaxed);
    assert!(others.await.unwrap() > 0);
}

#[tokio::test]
async fn a_page_goes_on_behind_a_resource_that_is_gone() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    api.declare(services("a", 4, "", 80)).await;
    let page = api.get("/v1/resources?kind=service&limit=2").await.json();
    assert_eq!(name(&page["items"][1]), "Service a-1.cloud");
    let body = r#"{"resources": [{"kind": "service", "name": "a-1.cloud"}]}"#;
    assert_eq!(api.delete(body).await.status, 200);
    let next = page["next"].as_str().unwrap();
    let rest = api.get(&format!("/v1/resources?kind=service&after={next}")).await.json();
    let names: Vec<String> = rest["items"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(names, ["Service a-2.cloud", "Service a-3.cloud"]);
}

#[tokio::test]
async fn a_page_ends_early_where_resources_are_large() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    let prefix = vec!["a".repeat(60); 4].join(".");
    let labels: Vec<_> = (0..64).map(|n| format!("{prefix}/k{n}: {}", "v".repeat(63))).collect();
    // 20 kB each.
    api.declare(services("large", 250, &labels.join(", "), 80)).await;
    let page = api.get("/v1/resources?kind=service").await;
    assert!(page.body.len() < 5 << 20, "{}", page.body.len());
    assert!(page.json()["next"].is_string());
    assert_eq!(api.all("kind=service").await.len(), 250);
}
