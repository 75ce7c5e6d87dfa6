//! `token create`, `gateway accept` and `gateway revoke`: who takes part.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway_control::identity::JoinToken;
use gateway_control::resource::{Expiry, GatewayState, Key, Resource, SecretHash};
use gateway_daemon::controller::members::Members;
use gateway_daemon::identity::Authority;

use super::waiting::{gateway, identities};
use super::{Deployment, lines};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A controller of three sites that takes gateways in.
fn taking_in(controllers: &[&str]) -> Deployment {
    let deployment = Deployment::of_three_sites();
    let authority = Authority::create("presence.example".parse().unwrap(), now()).unwrap();
    let controllers = controllers.iter().map(|it| it.parse().unwrap()).collect();
    let life = Duration::from_secs(86_400);
    deployment.controller.enrol(Members { authority, life, controllers });
    deployment
}

fn spec(deployment: &Deployment, kind: &str, name: &str) -> serde_json::Value {
    deployment.ctl(&["get", kind, name, "-o", "json"]).json()["spec"].clone()
}

#[test]
fn a_token_is_printed_once_and_alone_and_only_its_hash_is_kept() {
    let deployment = taking_in(&["controller.example", "192.0.2.1:8443"]);
    let ran = deployment.ctl(&["token", "create", "--site", "edge-a", "--name", "first"]);
    let text = ran.out.strip_suffix('\n').expect("a line").to_owned();
    let token: JoinToken = text.parse().unwrap();
    let invitation = deployment.controller.invitation().unwrap();
    assert_eq!(token.trust_domain, invitation.trust_domain);
    assert_eq!(
        (token.authority, &token.controllers),
        (invitation.authority, &invitation.controllers)
    );
    assert!(ran.err.contains("token first: lets one host join as the gateway of site edge-a"));
    assert!(!ran.err.contains(&text) && !ran.err.contains(&text[JoinToken::PREFIX.len()..][..20]));

    let spec = spec(&deployment, "token", "first");
    let hash: SecretHash = spec["secretHash"].as_str().unwrap().parse().unwrap();
    assert_eq!(hash, token.secret.hash());
    assert_eq!(spec["site"], "edge-a");
    let expires: Expiry = spec["expires"].as_str().unwrap().parse().unwrap();
    assert!((now() + 3500..=now() + 3600).contains(&expires.seconds()), "an hour: {spec}");

    let mut places = vec![deployment.scratch.0.clone()];
    let mut read = 0;
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(place).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                it if it.is_dir() => places.push(entry.path()),
                it if it.is_file() => {
                    let octets = std::fs::read(entry.path()).unwrap();
                    let has = |part: &[u8]| octets.windows(part.len()).any(|it| it == part);
                    assert!(!has(token.secret.octets()) && !has(text.as_bytes()), "{entry:?}");
                    read += usize::from(has(hash.to_string().as_bytes()));
                }
                _ => {}
            }
        }
    }
    assert!(read > 0, "the store was looked through");

    let listed = lines(&deployment.ctl(&["get", "tokens"]).ok());
    assert_eq!(listed[0], "NAME ROLE SITE USES EXPIRES");
    assert!(listed[1].starts_with("first gateway edge-a 1 20"), "{listed:?}");
    assert_eq!(deployment.ctl(&["delete", "token", "first"]).ok(), "token/first deleted\n");
}

#[test]
fn a_token_is_as_it_was_asked_for() {
    let deployment = taking_in(&[]);
    let create = ["token", "create", "--site", "edge-b"];
    let told = deployment.ctl(&create).fails(2);
    assert!(told.contains("--address HOST:PORT"), "{told}");
    let more = [
        "--uses",
        "3",
        "--expires",
        "2099-01-31T18:00:00Z",
        "--approve",
        "--address",
        "c.example",
        "--address",
        "[2001:db8::1]:9",
        "--manager",
        "ci",
        "-o",
        "json",
    ];
    let ran = deployment.ctl(&[create.as_slice(), more.as_slice()].concat());
    assert_eq!(ran.err, "", "a program is told all on standard output");
    let made = ran.json();
    let name = made["name"].as_str().unwrap();
    assert!(name.starts_with("edge-b-") && name.len() == "edge-b-".len() + 8, "{name}");
    let token: JoinToken = made["token"].as_str().unwrap().parse().unwrap();
    let addresses: Vec<_> = token.controllers.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["c.example:443", "[2001:db8::1]:9"]);
    assert_eq!(made["controllers"], serde_json::json!(addresses));
    let declared = deployment.ctl(&["get", "token", name, "-o", "json"]).json();
    let spec = &declared["spec"];
    assert_eq!(spec["secretHash"], token.secret.hash().to_string());
    assert_eq!((&spec["uses"], &spec["approve"]), (&3.into(), &true.into()));
    assert_eq!(
        (&spec["expires"], &made["expires"]),
        (&made["expires"], &"2099-01-31T18:00:00Z".into())
    );
    assert_eq!(declared["metadata"]["managers"]["spec.secretHash"], "ci");

    let other = deployment.ctl(&[create.as_slice(), &["--address", "c.example"]].concat()).ok();
    let other: JoinToken = other.parse().unwrap();
    assert_ne!(other.secret, token.secret, "each has a secret of its own");
}

#[test]
fn tokens_that_make_no_sense_are_not_made() {
    let deployment = taking_in(&["controller.example"]);
    let create = |more: &[&str]| deployment.ctl(&[["token", "create"].as_slice(), more].concat());
    for (more, why) in [
        (["--site", "none"].as_slice(), "none"),
        (&["--site", "No"], "--site"),
        (&[], "--site"),
        (&["--site", "edge-a", "--uses", "0"], "1 to 1000000"),
        (&["--site", "edge-a", "--expires", "0s"], "from 1s to 365d"),
        (&["--site", "edge-a", "--expires", "2001-01-31T18:00:00Z"], "has passed"),
        (&["--site", "edge-a", "--address", "http://c"], "no address of a controller"),
        (&["--site", "edge-a", "--name", "a/b"], "--name"),
        (&["--site", "edge-a", "-o", "yaml"], "take json"),
        (&["--site", "edge-a", "-o", "name"], "no such answer"),
    ] {
        let ran = create(more);
        assert_eq!(ran.out, "", "{more:?}");
        let told = ran.fails(2);
        assert!(told.contains(why), "{more:?}: {told}");
    }
    assert_eq!(deployment.ctl(&["get", "tokens"]).ok(), "there are none\n");
    let first: JoinToken = create(&["--site", "edge-a", "--name", "one"]).ok().parse().unwrap();
    let told = create(&["--site", "edge-a", "--name", "one"]).fails(1);
    assert!(told.contains("token one: there is one already"), "{told}");
    let kept = spec(&deployment, "token", "one");
    assert_eq!(kept["secretHash"], first.secret.hash().to_string());

    let told = Deployment::of_three_sites().ctl(&["token", "create", "--site", "edge-a"]).fails(1);
    assert!(told.contains("set [controller] listen and run `gatewayd init`"), "{told}");
}

#[test]
fn a_gateway_is_revoked_and_the_others_are_waited_for() {
    let deployment = Deployment::of_three_sites();
    for identity in identities().into_iter().filter(|it| it.site.as_str() != "edge-b") {
        deployment.runtime.spawn(gateway(Arc::clone(&deployment.controller), identity));
    }
    let connected = |name: &str| {
        let view = deployment.ctl(&["get", "gateway", name, "-o", "json"]).json();
        view["status"]["conditions"][1]["status"].as_str().unwrap().to_owned()
    };
    while connected("cloud-gw") != "True" || connected("edge-a-gw") != "True" {
        std::thread::yield_now();
    }
    let told = deployment.ctl(&["gateway", "revoke", "edge-a-gw", "--wait=30s"]).ok();
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told[0], "gateway/edge-a-gw revoked");
    assert!(
        told[1].starts_with("in force at 1 gateway after 0.") && told[1].ends_with(" s"),
        "{told:?}"
    );
    assert_eq!(told.get(2), Some(&"not connected, told when they are again: edge-b-gw"));
    let rows = lines(&deployment.ctl(&["get", "gateways", "-o", "wide"]).ok());
    let row = rows.iter().find(|it| it.starts_with("edge-a-gw ")).unwrap();
    assert!(
        row.contains(" revoked - - gateway edge-a-gw was revoked; another host may join"),
        "{row}"
    );
    let row = rows.iter().find(|it| it.starts_with("edge-b-gw ")).unwrap();
    assert!(row.contains(" active absent ") && row.contains("it is not connected"), "{row}");

    let again = deployment.ctl(&["gateway", "revoke", "edge-a-gw", "--wait", "-o", "json"]).json();
    assert_eq!(again["resources"][0]["fate"], "unchanged");
    assert_eq!(
        (&again["waited"]["applied"], &again["waited"]["absent"][0]),
        (&1.into(), &"edge-b-gw".into())
    );
    assert!(again["waited"]["seconds"].as_f64().unwrap() > 0.0);
    let again = deployment.ctl(&["gateway", "revoke", "edge-a-gw"]).ok();
    assert_eq!(again, "gateway/edge-a-gw was revoked already\n");
    let name = deployment.ctl(&["gateway", "revoke", "edge-a-gw", "-o", "name"]).ok();
    assert_eq!(name, "gateway/edge-a-gw\n");
    let told = deployment.ctl(&["gateway", "accept", "edge-a-gw"]).fails(1);
    assert!(told.contains("was revoked and stays so"), "{told}");
    let events = deployment.ctl(&["event", "list", "gateway/edge-a-gw"]).ok();
    assert!(events.contains("Revoked"), "{events}");
}

#[test]
fn a_gateway_that_does_not_apply_it_is_named() {
    let deployment = Deployment::of_three_sites();
    let mute = identities().into_iter().find(|it| it.site.as_str() == "cloud").unwrap();
    let connection = deployment.runtime.block_on(deployment.controller.connect(mute)).unwrap();
    let ran = deployment.ctl(&["gateway", "revoke", "edge-a-gw", "--wait=1s"]);
    assert_eq!(ran.out, "gateway/edge-a-gw revoked\n", "the change stays");
    let told = ran.fails(1);
    assert!(told.contains("gateway cloud-gw of site cloud is pending"), "{told}");
    assert!(!told.contains("edge-b-gw"), "{told}");
    drop(connection);
}

#[test]
fn a_pending_gateway_is_accepted_and_waited_for() {
    let deployment = Deployment::of_three_sites();
    let edge = identities().into_iter().find(|it| it.site.as_str() == "edge-a").unwrap();
    let pending = format!(
        "kind: Gateway\nmetadata: {{name: {}}}\nspec: {{site: edge-a, publicKey: {}, state: pending}}\n",
        edge.gateway, edge.public_key
    );
    deployment.ctl_with(&["apply", "-f", "-"], &pending).ok();
    let rows = lines(&deployment.ctl(&["get", "gateways"]).ok());
    assert!(rows.iter().any(|row| row.starts_with("edge-a-gw edge-a - pending -")), "{rows:?}");
    let status = deployment.ctl(&["status"]).ok();
    assert!(status.contains("gatewayctl gateway accept edge-a-gw"), "{status}");

    let (controller, runtime) = (Arc::clone(&deployment.controller), &deployment.runtime);
    let late = runtime.spawn(async move {
        // It comes once it may.
        let mut news = controller.news();
        let key = Key::Gateway(edge.gateway.clone());
        loop {
            let kept = controller.get(&key, now()).await.unwrap().unwrap();
            match kept.resource {
                Resource::Gateway(it) if it.state == GatewayState::Active => break,
                _ => news.changed().await.unwrap(),
            }
        }
        gateway(controller, edge).await;
    });
    let accepted = deployment.ctl(&["gateway", "accept", "edge-a-gw", "--wait=30s"]).ok();
    let expected = "gateway/edge-a-gw accepted\nin force at 1 gateway after ";
    assert!(accepted.starts_with(expected), "{accepted}");
    assert!(accepted.ends_with("when they are again: cloud-gw\n"), "{accepted}");
    late.abort();
    let told = deployment.ctl(&["gateway", "accept", "edge-a-gw"]).fails(1);
    assert!(told.contains("edge-a-gw is active already"), "{told}");
    let told = deployment.ctl(&["gateway", "accept", "none"]).fails(1);
    assert!(told.contains("there is no gateway none"), "{told}");
    deployment.ctl(&["gateway", "accept", "No"]).fails(2);
}
