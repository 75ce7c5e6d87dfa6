//! Who may call himself a gateway: tokens redeemed once, certificates renewed one after the other, copies noticed,
//! revoked gateways kept out.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

#[path = "common/scratch.rs"]
mod scratch;

use std::sync::Arc;
use std::time::Duration;

use gateway_control::identity::{Joined, Joining, Secret, SpiffeId, Standing, Subject};
use gateway_control::model::GatewayName;
use gateway_control::resource::{GatewayState, Key, ManagerName, read};
use gateway_control::session::RefusalKind;
use gateway_daemon::controller::members::{MemberError, Members};
use gateway_daemon::controller::{Author, Controller, Identity};
use gateway_daemon::identity::{Authority, Leaf, LeafKey};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};

use scratch::Scratch;

const NOW: u64 = 1_800_000_000;
const LIFE: Duration = Duration::from_secs(86_400);
const SITES: &str = "\
kind: Site
metadata: {name: cloud}
spec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}
---
kind: Site
metadata: {name: edge-a}
spec: {role: edge, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}
---
kind: Gateway
metadata: {name: cloud-gw}
spec: {site: cloud, publicKey: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, endpoints: ['192.0.2.1:51820']}
";

struct Deployment {
    controller: Arc<Controller>,
    _scratch: Scratch,
}

fn author() -> Author {
    let manager: ManagerName = "root".parse().unwrap();
    Author { manager, force: false }
}

async fn deployment() -> Deployment {
    let scratch = Scratch::new();
    let store =
        SqliteStore::create(&scratch.0.join("store"), SqliteSettings::default()).await.unwrap();
    let controller = Controller::open(Arc::new(store), 0, NOW).await.unwrap();
    let authority = Authority::create("presence.example".parse().unwrap(), NOW).unwrap();
    let controllers = vec!["controller.example".parse().unwrap()];
    controller.enrol(Members { authority, life: LIFE, controllers });
    let deployment = Deployment { controller: Arc::new(controller), _scratch: scratch };
    deployment.apply(SITES).await;
    deployment
}

fn secret(number: u8) -> Secret {
    Secret::new([number; 32])
}

impl Deployment {
    async fn apply(&self, text: &str) {
        let declared = read(text).unwrap();
        self.controller.apply(&declared, &author(), NOW).await.unwrap();
    }

    /// A token whose secret is made of this number.
    async fn token(&self, number: u8, spec: &str) {
        let hash = secret(number).hash();
        self.apply(&format!(
            "kind: Token\nmetadata: {{name: t{number}}}\nspec: {{{spec}, secretHash: '{hash}'}}"
        ))
        .await;
    }

    async fn join(&self, number: u8, key: &LeafKey) -> Result<Joined, MemberError> {
        self.controller.redeem(&joining(number, key), NOW).await
    }

    /// Edge A with a certificate.
    async fn joined(&self) -> (LeafKey, Leaf) {
        self.token(1, "site: edge-a, expires: 2030-01-31T18:00:00Z").await;
        let key = LeafKey::generate().unwrap();
        let joined = self.join(1, &key).await.unwrap();
        (key, Leaf::read(&joined.certificate).unwrap())
    }

    async fn renew(&self, leaf: &Leaf, key: &LeafKey) -> Result<Leaf, MemberError> {
        let request = key.request().unwrap();
        let renewed = self.controller.renew(&leaf.id, leaf.serial, &request, NOW + 1).await?;
        let next = Leaf::read(&renewed.certificate).unwrap();
        assert_eq!((next.serial, next.key, &next.id), (renewed.serial, key.pin(), &leaf.id));
        Ok(next)
    }

    async fn set(&self, name: &GatewayName, state: GatewayState) {
        self.controller.set_gateway_state(name, state, &author(), NOW).await.unwrap();
    }

    async fn state(&self, gateway: &str) -> String {
        let key = Key::Gateway(gateway.parse().unwrap());
        let kept = self.controller.get(&key, NOW).await.unwrap().unwrap();
        serde_json::to_value(&kept.resource).unwrap()["spec"]["state"]
            .as_str()
            .unwrap_or("active")
            .to_owned()
    }
}

fn joining(number: u8, key: &LeafKey) -> Joining {
    Joining {
        secret: secret(number),
        request: key.request().unwrap(),
        link_key: Some([number; 32].into()),
        endpoints: Vec::new(),
    }
}

fn kind(error: &MemberError) -> Option<RefusalKind> {
    match error {
        MemberError::Refused(lack) => Some(lack.kind),
        _ => None,
    }
}

#[tokio::test]
async fn a_token_makes_a_gateway_of_its_site() {
    let deployment = deployment().await;
    let (key, leaf) = deployment.joined().await;
    let id: SpiffeId = "spiffe://presence.example/site/edge-a/gateway/edge-a-gw1".parse().unwrap();
    assert_eq!((&leaf.id, leaf.key), (&id, key.pin()));
    assert_eq!((leaf.serial.generation, leaf.serial.epoch), (1, NOW));
    assert_eq!((leaf.not_before, leaf.not_after), (NOW - 300, NOW + 86_400));
    assert_eq!(deployment.controller.admit(&leaf, NOW).await.unwrap().as_str(), "edge-a-gw1");
    assert_eq!(deployment.state("edge-a-gw1").await, "active");
    let share = deployment.controller.share(&"cloud".parse().unwrap(), NOW).await.unwrap().unwrap();
    assert!(share.items().values().any(|it| it.to_string().starts_with("link to site edge-a")));
}

#[tokio::test]
async fn what_a_token_is_not_for_it_does_not_do() {
    let deployment = deployment().await;
    let key = LeafKey::generate().unwrap();
    let said = |result: Result<Joined, MemberError>| result.unwrap_err().to_string();
    assert!(said(deployment.join(9, &key).await).contains("no token has this secret"));
    deployment.token(2, "site: edge-a, expires: 2020-01-31T18:00:00Z").await;
    let expired = said(deployment.join(2, &key).await);
    assert!(expired.contains("token t2 expired at 2020-01-31T18:00:00Z"), "{expired}");
    deployment.token(3, "role: operator, expires: 2030-01-31T18:00:00Z").await;
    assert!(said(deployment.join(3, &key).await).contains("is for joining as a operator"));
    deployment.token(4, "site: cloud, expires: 2030-01-31T18:00:00Z").await;
    let taken = said(deployment.join(4, &key).await);
    assert!(
        taken.contains("site cloud has gateway cloud-gw") && taken.contains("revoke"),
        "{taken}"
    );
    deployment.token(5, "site: edge-a, expires: 2030-01-31T18:00:00Z").await;
    let mut garbage = joining(5, &key);
    garbage.request.truncate(40);
    let refused = deployment.controller.redeem(&garbage, NOW).await.unwrap_err().to_string();
    assert!(refused.contains("no PKCS#10 request"), "{refused}");
    let mut forged = joining(5, &key);
    // The last octets are of the signature.
    let last = forged.request.len() - 1;
    forged.request[last] ^= 1;
    assert!(deployment.controller.redeem(&forged, NOW).await.is_err());
    let keyless = Joining { link_key: None, ..joining(5, &key) };
    assert!(deployment.controller.redeem(&keyless, NOW).await.is_err());
    // None of it has used the token.
    deployment.join(5, &key).await.unwrap();
    assert!(said(deployment.join(5, &key).await).contains("token t5 was used 1 times"));
}

#[tokio::test]
async fn names_in_a_request_name_nobody() {
    let deployment = deployment().await;
    deployment.token(1, "site: edge-a, expires: 2030-01-31T18:00:00Z").await;
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["controller.example".to_owned()]).unwrap();
    let foreign = "spiffe://presence.example/controller/main".try_into().unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI(foreign));
    params.is_ca = rcgen::IsCa::NoCa;
    params.distinguished_name.push(rcgen::DnType::CommonName, "controller");
    let request = params.serialize_request(&pair).unwrap().der().to_vec();
    let asking = Joining { request, ..joining(1, &LeafKey::generate().unwrap()) };
    let joined = deployment.controller.redeem(&asking, NOW).await.unwrap();
    let leaf = Leaf::read(&joined.certificate).unwrap();
    assert_eq!(leaf.id.to_string(), "spiffe://presence.example/site/edge-a/gateway/edge-a-gw1");
    let text = String::from_utf8_lossy(&joined.certificate).into_owned();
    assert!(!text.contains("controller"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_who_redeem_a_token_at_once_one_joins() {
    let deployment = deployment().await;
    deployment.token(1, "site: edge-a, expires: 2030-01-31T18:00:00Z").await;
    let key = LeafKey::generate().unwrap();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (controller, joining) = (Arc::clone(&deployment.controller), joining(1, &key));
        all.spawn(async move { controller.redeem(&joining, NOW).await });
    }
    let (mut joined, mut refused) = (0, 0);
    while let Some(result) = all.join_next().await {
        match result.unwrap() {
            Ok(_) => joined += 1,
            Err(MemberError::UsedUp { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((joined, refused), (1, 999));
}

#[tokio::test]
async fn who_waits_to_be_accepted_is_told_so_and_then_accepted() {
    let deployment = deployment().await;
    deployment.token(1, "site: edge-a, expires: 2030-01-31T18:00:00Z, approve: true").await;
    let key = LeafKey::generate().unwrap();
    let joined = deployment.join(1, &key).await.unwrap();
    assert_eq!(joined.standing, Standing::Pending);
    let leaf = Leaf::read(&joined.certificate).unwrap();
    let name = deployment.controller.admit(&leaf, NOW).await.unwrap();
    assert_eq!(deployment.state(name.as_str()).await, "pending");
    deployment.set(&name, GatewayState::Active).await;
    assert_eq!(deployment.state(name.as_str()).await, "active");
}

#[tokio::test]
async fn certificates_follow_one_another() {
    let deployment = deployment().await;
    let (_, first) = deployment.joined().await;
    let next_key = LeafKey::generate().unwrap();
    let second = deployment.renew(&first, &next_key).await.unwrap();
    assert_eq!(second.serial.generation, 2);
    // The answer was lost: the same key is asked for again, by the certificate that is still held.
    deployment.controller.admit(&first, NOW).await.unwrap();
    let again = deployment.renew(&first, &next_key).await.unwrap();
    assert_eq!((again.serial.generation, again.key), (2, second.key));
    deployment.controller.admit(&second, NOW).await.unwrap();
    let third = deployment.renew(&second, &LeafKey::generate().unwrap()).await.unwrap();
    assert_eq!(third.serial.generation, 3);
    assert_eq!(deployment.state("edge-a-gw1").await, "active");
}

#[tokio::test]
async fn a_copy_that_renews_locks_both() {
    let deployment = deployment().await;
    let (_, first) = deployment.joined().await;
    let second = deployment.renew(&first, &LeafKey::generate().unwrap()).await.unwrap();
    let copy = deployment.renew(&first, &LeafKey::generate().unwrap()).await.unwrap_err();
    assert_eq!(kind(&copy), Some(RefusalKind::Revoked), "{copy}");
    assert!(copy.to_string().contains("two hosts have the keys of gateway edge-a-gw1"), "{copy}");
    for leaf in [&first, &second] {
        let refused = deployment.controller.admit(leaf, NOW).await.unwrap_err();
        assert_eq!(kind(&refused), Some(RefusalKind::Revoked));
    }
}

#[tokio::test]
async fn a_copy_that_comes_back_later_locks_both() {
    let deployment = deployment().await;
    let (_, first) = deployment.joined().await;
    let second = deployment.renew(&first, &LeafKey::generate().unwrap()).await.unwrap();
    deployment.controller.admit(&second, NOW).await.unwrap();
    let copy = deployment.controller.admit(&first, NOW).await.unwrap_err();
    assert_eq!(kind(&copy), Some(RefusalKind::Revoked), "{copy}");
    assert!(deployment.controller.admit(&second, NOW).await.is_err());
    assert_eq!(deployment.state("edge-a-gw1").await, "revoked");
}

#[tokio::test]
async fn a_store_from_a_backup_believes_its_ca() {
    let (deployment, later) = (deployment().await, NOW + 50);
    let (_, first) = deployment.joined().await;
    let members = Authority::create("presence.example".parse().unwrap(), NOW).unwrap();
    let mut serial = first.serial;
    serial.generation = 7;
    let key = LeafKey::generate().unwrap();
    let certificate =
        members.issue(&first.id, &key.request().unwrap(), serial, later, LIFE).unwrap();
    let seventh = Leaf::read(&certificate).unwrap();
    deployment.controller.admit(&seventh, later).await.unwrap();
    let eighth = deployment.renew(&seventh, &LeafKey::generate().unwrap()).await.unwrap();
    assert_eq!(eighth.serial.generation, 8);
    // Of an enrolment that the store does not know, nothing is believed.
    let other =
        Leaf { serial: gateway_control::identity::Serial { epoch: NOW + 9, ..serial }, ..seventh };
    let refused = deployment.controller.admit(&other, later).await.unwrap_err();
    assert_eq!(kind(&refused), Some(RefusalKind::Superseded));
}

#[tokio::test]
async fn who_was_revoked_stays_out() {
    let deployment = deployment().await;
    let (_, leaf) = deployment.joined().await;
    let name = deployment.controller.admit(&leaf, NOW).await.unwrap();
    deployment.set(&name, GatewayState::Revoked).await;
    for refused in [
        deployment.controller.admit(&leaf, NOW).await.unwrap_err(),
        deployment.renew(&leaf, &LeafKey::generate().unwrap()).await.unwrap_err(),
    ] {
        assert_eq!(kind(&refused), Some(RefusalKind::Revoked), "{refused}");
        assert!(refused.to_string().contains("join with a new token"), "{refused}");
    }
    let share = deployment.controller.share(&"cloud".parse().unwrap(), NOW).await.unwrap().unwrap();
    assert!(share.items().values().all(|it| !it.to_string().contains("edge-a")));
    // Neither a document that leaves the state out nor one that says otherwise brings it back.
    let text = "kind: Gateway\nmetadata: {name: edge-a-gw1}\nspec: {site: edge-a, publicKey: \
                AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    deployment.apply(&format!("{text}}}")).await;
    assert_eq!(deployment.state("edge-a-gw1").await, "revoked");
    let declared = read(&format!("{text}, state: active}}")).unwrap();
    let force = Author { force: true, ..author() };
    let back = deployment.controller.apply(&declared, &force, NOW).await.unwrap_err().to_string();
    assert!(back.contains("gateway edge-a-gw1 was revoked and stays so"), "{back}");
    // A new token is a new gateway, and the old certificate none of its.
    deployment.token(2, "site: edge-a, expires: 2030-01-31T18:00:00Z").await;
    let joined = deployment.join(2, &LeafKey::generate().unwrap()).await.unwrap();
    assert!(joined.id.to_string().ends_with("/edge-a-gw2"), "{}", joined.id);
    assert!(deployment.controller.admit(&leaf, NOW).await.is_err());
}

#[tokio::test]
async fn a_deleted_gateway_leaves_nothing_that_its_name_could_claim() {
    let deployment = deployment().await;
    let (_, leaf) = deployment.joined().await;
    let key = Key::Gateway("edge-a-gw1".parse().unwrap());
    deployment.controller.delete(&[key], &author(), NOW).await.unwrap();
    let gone = deployment.controller.admit(&leaf, NOW).await.unwrap_err();
    assert_eq!(kind(&gone), Some(RefusalKind::Unknown), "{gone}");
    deployment.token(2, "site: edge-a, expires: 2030-01-31T18:00:00Z").await;
    let joining = joining(2, &LeafKey::generate().unwrap());
    let joined = deployment.controller.redeem(&joining, NOW + 1).await.unwrap();
    assert!(joined.id.to_string().ends_with("/edge-a-gw1"), "{}", joined.id);
    let old = deployment.controller.admit(&leaf, NOW + 1).await.unwrap_err();
    assert_eq!(kind(&old), Some(RefusalKind::Superseded), "{old}");
}

#[tokio::test]
async fn who_is_not_accepted_does_not_end_the_session_of_who_is() {
    let deployment = deployment().await;
    let (_, leaf) = deployment.joined().await;
    let identity = |name: &str, key: [u8; 32]| Identity {
        site: "edge-a".parse().unwrap(),
        gateway: name.parse().unwrap(),
        public_key: key.into(),
    };
    let mut active = deployment.controller.connect(identity("edge-a-gw1", [1; 32])).await.unwrap();
    assert!(active.orders().share.is_ok());
    deployment
        .apply(
            "kind: Gateway\nmetadata: {name: edge-a-gw2}\nspec: {site: edge-a, publicKey: \
             AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=, state: pending}",
        )
        .await;
    let mut pending = deployment.controller.connect(identity("edge-a-gw2", [2; 32])).await.unwrap();
    assert_eq!(pending.orders().share.unwrap_err().kind, RefusalKind::Pending);
    let moment = Duration::from_millis(200);
    assert!(tokio::time::timeout(moment, active.changed()).await.is_err(), "it was told to end");
    assert!(tokio::time::timeout(moment, pending.changed()).await.is_err());
    // Once the place is free, who waits for it is to come again.
    let Subject::Gateway(_, name) = &leaf.id.subject else { panic!("no gateway") };
    deployment.set(name, GatewayState::Revoked).await;
    drop(active);
    let goes_on = tokio::time::timeout(Duration::from_secs(10), pending.changed()).await;
    assert!(!goes_on.expect("in time"));
}
