//! Who takes part: what those hear who join, and what operators decide about gateways.

use std::time::Duration;

use gateway_daemon::controller::members::Members;
use gateway_daemon::identity::Authority;
use nix::unistd::{Uid, User};
use serde_json::{Value, json};

use crate::client::{Answer, ask};
use crate::{Api, NOW, site};

fn gateway(name: &str, state: &str) -> String {
    let key = match name {
        "one" => "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
        _ => "4p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
    };
    format!(
        "kind: Gateway\nmetadata: {{name: {name}}}\n\
         spec: {{site: cloud, publicKey: {key}, state: {state}}}\n---\n"
    )
}

async fn api(state: &str) -> Api {
    let api = Api::start().await;
    api.declare(site("cloud") + &gateway("one", state)).await;
    api
}

async fn decide(api: &Api, name: &str, deed: &str) -> Answer {
    ask(&api.socket(), "POST", &format!("/v1/gateways/{name}/{deed}"), "").await
}

/// State and the word of why it is not applied.
async fn shown(api: &Api, name: &str) -> (String, String) {
    let view = api.get(&format!("/v1/resources/gateway/{name}")).await.json();
    let state = view["spec"]["state"].as_str().unwrap_or("active").to_owned();
    (state, view["status"]["conditions"][0]["reason"].as_str().unwrap().to_owned())
}

async fn events(api: &Api) -> Vec<Value> {
    let events = api.get("/v1/events?kind=gateway&name=one").await.json();
    events["items"].as_array().unwrap().clone()
}

fn pair(state: &str, reason: &str) -> (String, String) {
    (state.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn what_those_hear_who_join_is_there_where_they_are_taken_in() {
    let api = Api::start().await;
    let refused = api.get("/v1/identity").await;
    refused.refuses(404, "not-found", "set [controller] listen and run `gatewayd init`");

    let authority = Authority::create("presence.example".parse().unwrap(), NOW).unwrap();
    let pin = authority.pin().to_string();
    let controllers =
        vec!["controller.example".parse().unwrap(), "192.0.2.1:8443".parse().unwrap()];
    let life = Duration::from_secs(86_400);
    api.controller.enrol(Members { authority, life, controllers });
    let identity = api.get("/v1/identity").await;
    assert_eq!(identity.status, 200);
    let expected = json!({
        "trust_domain": "presence.example",
        "authority": pin,
        "controllers": ["controller.example:443", "192.0.2.1:8443"],
    });
    assert_eq!(identity.json(), expected);
    api.get("/v1/identity?x=y").await.refuses(400, "bad-request", "takes no query");
    ask(&api.socket(), "POST", "/v1/identity", "").await.refuses(405, "bad-request", "POST");
}

#[tokio::test]
async fn a_gateway_is_revoked_once_and_for_good() {
    let api = api("active").await;
    let done = decide(&api, "one", "revoke").await;
    assert_eq!(done.status, 200);
    let done = done.json();
    assert_eq!(done["resources"], json!([{"kind": "Gateway", "name": "one", "fate": "changed"}]));
    assert!(done["revision"].is_u64());
    assert_eq!(shown(&api, "one").await, pair("revoked", "Revoked"));
    let site = api.get("/v1/status").await.json()["sites"][0]["gateway"].clone();
    assert_eq!(site["state"], "missing");
    let why = site["why"].as_str().unwrap();
    assert!(why.contains("gateway one was revoked") && why.contains("token create --site cloud"));

    let before = events(&api).await;
    let again = decide(&api, "one", "revoke").await.json();
    assert_eq!(again["resources"][0]["fate"], "unchanged");
    assert!(again["revision"].is_null());
    assert_eq!(events(&api).await, before, "what changes nothing is no event");
    decide(&api, "one", "accept").await.refuses(409, "conflict", "was revoked and stays so");
    assert_eq!(shown(&api, "one").await, pair("revoked", "Revoked"));

    let me = User::from_uid(Uid::effective()).unwrap();
    let me = me.map_or_else(|| format!("uid:{}", Uid::effective()), |user| user.name);
    let event = before.last().unwrap();
    assert_eq!(
        (event["reason"].as_str(), event["by"].as_str(), event["message"].as_str()),
        (Some("Revoked"), Some(me.as_str()), Some("gateway one was revoked"))
    );
}

#[tokio::test]
async fn a_pending_gateway_is_accepted_and_no_other() {
    let api = api("pending").await;
    assert_eq!(shown(&api, "one").await, pair("pending", "Pending"));
    let site = api.get("/v1/status").await.json()["sites"][0]["gateway"].clone();
    assert!(site["why"].as_str().unwrap().contains("gatewayctl gateway accept one"));
    let done = decide(&api, "one", "accept").await.json();
    assert_eq!(done["resources"][0]["fate"], "changed");
    assert_eq!(shown(&api, "one").await, pair("active", "NotConnected"));
    assert_eq!(events(&api).await.last().unwrap()["reason"], "Accepted");

    let before = api.get("/v1/resources/gateway/one").await.json();
    let refused = decide(&api, "one", "accept").await;
    refused.refuses(409, "conflict", "gateway one is active already");
    assert_eq!(api.get("/v1/resources/gateway/one").await.json(), before);
}

#[tokio::test]
async fn a_gateway_is_not_accepted_beside_the_one_that_its_site_has() {
    let api = api("active").await;
    api.declare(gateway("two", "pending")).await;
    let refused = decide(&api, "two", "accept").await;
    refused.refuses(422, "invalid", "one");
    assert_eq!(shown(&api, "two").await, pair("pending", "Pending"));
    assert_eq!(decide(&api, "one", "revoke").await.status, 200);
    assert_eq!(decide(&api, "two", "accept").await.status, 200);
    let gateway = api.get("/v1/status").await.json()["sites"][0]["gateway"].clone();
    assert_eq!(gateway["gateway"], "two");
}

#[tokio::test]
async fn what_names_no_gateway_is_refused() {
    let api = api("active").await;
    for deed in ["revoke", "accept"] {
        let refused = decide(&api, "none", deed).await;
        refused.refuses(404, "not-found", "there is no gateway none");
        decide(&api, "No%20Name", deed).await.refuses(400, "bad-request", "the name of a gateway");
        decide(&api, "%ff", deed).await.refuses(400, "bad-request", "/v1/gateways/NAME/revoke");
        decide(&api, "one", &format!("{deed}?force=true")).await.refuses(
            400,
            "bad-request",
            "force",
        );
        let path = format!("/v1/gateways/one/{deed}");
        api.get(&path).await.refuses(405, "bad-request", "GET");
    }
    decide(&api, "one", "delete").await.refuses(404, "not-found", "there is no path");
    assert_eq!(shown(&api, "one").await, pair("active", "NotConnected"));
}
