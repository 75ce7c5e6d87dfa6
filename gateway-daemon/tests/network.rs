//! Gateways that join a controller over loopback and follow it there: the parts of both programs that have no kernel
//! to do with.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

#[path = "common/scratch.rs"]
mod scratch;

use std::sync::Arc;
use std::time::Duration;

use gateway_control::identity::{JoinToken, Joining, Secret};
use gateway_control::model::GatewayName;
use gateway_control::resource::{GatewayState, ManagerName, read};
use gateway_control::session::{Lease, RefusalKind};
use gateway_daemon::controller::members::Members;
use gateway_daemon::controller::{Author, Controller, Identity, Orders, Report};
use gateway_daemon::identity::{
    Authority, Credential, LeafKey, Membership, SESSION_PROTOCOL, ServerCredential, Trust,
    client_config, gateways_config, joining_config,
};
use gateway_daemon::link::PrivateKey;
use gateway_daemon::seal::{Sealer, Strongbox};
use gateway_daemon::session::{
    Carried, DialSettings, Dialler, Door, Follower, Keeper, KeptShare, ListenSettings, Listener,
    SessionError, ask_to_join,
};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use scratch::Scratch;

const LIFE: Duration = Duration::from_secs(86_400);
const PATIENCE: Duration = Duration::from_secs(30);
const SITES: &str = "\
kind: Site
metadata: {name: cloud}
spec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}
---
kind: Site
metadata: {name: edge-a}
spec: {role: edge, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}
---
kind: Site
metadata: {name: edge-b}
spec: {role: edge, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}
---
kind: Gateway
metadata: {name: cloud-gw}
spec: {site: cloud, publicKey: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, endpoints: ['192.0.2.1:51820']}
";

/// A controller with its door on loopback.
struct Deployment {
    controller: Arc<Controller>,
    token: JoinToken,
    _serving: JoinSet<()>,
    scratch: Scratch,
}

/// A gateway of it, as far as it follows the controller.
struct Gateway {
    strongbox: Arc<Strongbox>,
    orders: watch::Receiver<Option<Orders>>,
    report: watch::Sender<Report>,
    _identity: watch::Sender<Identity>,
    talking: JoinHandle<SessionError>,
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn author() -> Author {
    let manager: ManagerName = "root".parse().unwrap();
    Author { manager, force: false }
}

async fn deployment(lease: Option<Duration>) -> Deployment {
    let scratch = Scratch::new();
    let store =
        SqliteStore::create(&scratch.0.join("store"), SqliteSettings::default()).await.unwrap();
    let controller = Arc::new(Controller::open(Arc::new(store), 0, now()).await.unwrap());
    let authority = Authority::create("presence.example".parse().unwrap(), now()).unwrap();
    let own = {
        let key = LeafKey::generate().unwrap();
        let id = "spiffe://presence.example/controller/main".parse().unwrap();
        let serial = gateway_control::identity::Serial { epoch: now(), generation: 1, random: 1 };
        let certificate =
            authority.issue(&id, &key.request().unwrap(), serial, now(), LIFE).unwrap();
        ServerCredential::new(&Credential { key, certificate }, authority.certificate().clone())
            .unwrap()
    };
    let trust =
        Trust::new(authority.trust_domain().clone(), [authority.certificate().as_ref()]).unwrap();
    let tls = gateways_config(trust, LIFE, own).unwrap();
    let addresses = ["127.0.0.1:0".parse().unwrap()];
    let listener = Listener::bind(&addresses, &tls, ListenSettings::default()).unwrap();
    let controllers = vec![listener.addresses()[0].into()];
    let token = JoinToken {
        trust_domain: authority.trust_domain().clone(),
        controllers: controllers.clone(),
        authority: authority.pin(),
        secret: Secret::new([1; 32]),
    };
    controller.enrol(Members { authority, life: LIFE, controllers });
    let mut serving = JoinSet::new();
    let door = Door::new(listener, Arc::clone(&controller), lease);
    serving.spawn(async move {
        panic!("the door closed: {}", door.serve().await);
    });
    let deployment = Deployment { controller, token, _serving: serving, scratch };
    deployment.apply(SITES).await;
    for (site, number) in [("edge-a", 1), ("edge-b", 2)] {
        let hash = Secret::new([number; 32]).hash();
        deployment
            .apply(&format!(
                "kind: Token\nmetadata: {{name: t{number}}}\nspec: {{site: {site}, expires: \
                 2100-01-31T18:00:00Z, secretHash: '{hash}'}}"
            ))
            .await;
    }
    deployment
}

impl Deployment {
    async fn apply(&self, text: &str) {
        let declared = read(text).unwrap();
        self.controller.apply(&declared, &author(), now()).await.unwrap();
    }

    async fn revoke(&self, gateway: &str) {
        let name: GatewayName = gateway.parse().unwrap();
        self.controller
            .set_gateway_state(&name, GatewayState::Revoked, &author(), now())
            .await
            .unwrap();
    }

    fn strongbox(&self, name: &str) -> Arc<Strongbox> {
        let sealer = Sealer::File(self.scratch.0.join("key"));
        Arc::new(Strongbox::establish(&self.scratch.0.join(name), &sealer).unwrap())
    }

    /// Somebody joins with the token of this number.
    async fn join(&self, token: &JoinToken, number: u8) -> Result<Membership, String> {
        let (key, link_key) = (LeafKey::generate().unwrap(), PrivateKey::generate());
        let joining = Joining {
            secret: Secret::new([number; 32]),
            request: key.request().unwrap(),
            link_key: Some((*link_key.public_key().as_bytes()).into()),
            endpoints: Vec::new(),
        };
        let tls = joining_config(token).unwrap();
        let dialler =
            Dialler::new(token.controllers.clone(), &tls, DialSettings::default()).unwrap();
        let carried = dialler.try_once().await?;
        let joined = ask_to_join(carried, &joining).await.map_err(|error| error.to_string())?;
        Ok(Membership {
            id: joined.id,
            credential: Credential { key, certificate: CertificateDer::from(joined.certificate) },
            authorities: joined.authorities,
            controllers: joined.controllers,
            next_key: None,
            link_key,
        })
    }

    /// Edge A's gateway has joined; its strongbox is called so.
    async fn joined(&self, name: &str) -> Arc<Strongbox> {
        let strongbox = self.strongbox(name);
        self.join(&self.token, 1).await.unwrap().save(&strongbox).unwrap();
        strongbox
    }
}

impl Gateway {
    /// Follows the controller with what the strongbox has, for one session.
    fn start(strongbox: &Arc<Strongbox>) -> Self {
        let membership = Membership::load(strongbox).unwrap().unwrap();
        let own = membership.own_name().unwrap();
        let public_key = (*membership.link_key.public_key().as_bytes()).into();
        let identity = Identity { site: own.site, gateway: own.name, public_key };
        let tls =
            client_config(membership.trust().unwrap(), &membership.credential, SESSION_PROTOCOL)
                .unwrap();
        let controllers = membership.controllers.clone();
        let dialler = Arc::new(Dialler::new(controllers, &tls, DialSettings::default()).unwrap());
        let kept = KeptShare::load(strongbox).unwrap();
        let keeper =
            Keeper::new(Arc::clone(strongbox), membership, Arc::clone(&dialler), kept.as_ref());
        let (orders, heard) = watch::channel(None);
        let (says, identity) = watch::channel(identity);
        let (report, reported) = watch::channel(Report::default());
        let holding = watch::Sender::new(kept.map(|it| it.holding));
        let mut follower =
            Follower { orders, holding, identity, report: reported, keeper: Some(keeper) };
        let talking = tokio::spawn(async move {
            let carried: Carried = dialler.dial().await;
            follower.talk(carried).await.expect_err("the gateway is not left")
        });
        let strongbox = Arc::clone(strongbox);
        Self { strongbox, orders: heard, report, _identity: says, talking }
    }

    /// Waits for orders that are as wanted.
    async fn heard(&mut self, wanted: impl Fn(&Orders) -> bool) -> Orders {
        let heard = self.orders.wait_for(|it| it.as_ref().is_some_and(&wanted));
        timeout(PATIENCE, heard).await.expect("in time").unwrap().clone().unwrap()
    }

    /// Says that the kernel has what was told last.
    async fn apply(&mut self) -> Orders {
        let orders = self.heard(|it| it.share.is_ok()).await;
        self.report.send_modify(|report| report.applied = orders.revision);
        orders
    }

    /// Waits until the certificate of this generation is kept.
    async fn has_certificate(&self, generation: u32) {
        let held = async {
            loop {
                let membership = Membership::load(&self.strongbox).unwrap().unwrap();
                if membership.leaf().unwrap().serial.generation == generation {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, held).await.expect("in time");
    }

    async fn ended(self) -> SessionError {
        timeout(PATIENCE, self.talking).await.expect("in time").unwrap()
    }
}

fn refusal(error: &SessionError) -> Option<RefusalKind> {
    use gateway_control::session::CloseReason;
    match error {
        SessionError::Closed(CloseReason::Refused(refusal)) => Some(refusal.kind),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_joins_follows_renews_and_begins_with_what_it_kept() {
    let deployment = deployment(Some(Duration::from_secs(3600))).await;
    let strongbox = deployment.joined("edge").await;
    let mut gateway = Gateway::start(&strongbox);
    let first = gateway.apply().await;
    gateway.has_certificate(2).await;
    deployment
        .apply(
            "kind: Service\nmetadata: {name: web}\nspec: {site: cloud, ports: [tcp/80], backends: [{address: \
             10.0.0.10}]}\n---\nkind: Exposure\nmetadata: {name: web}\nspec: {service: web.cloud, to: {sites: \
             [edge-a]}}",
        )
        .await;
    gateway.heard(|it| it.revision > first.revision).await;
    let second = gateway.apply().await;
    let kept = async {
        loop {
            let kept = KeptShare::load(&strongbox).unwrap();
            if kept.as_ref().and_then(|it| it.holding.revision())
                == second.revision.map(|it| it.number())
            {
                break kept.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let kept = timeout(PATIENCE, kept).await.expect("in time");
    assert_eq!(kept.holding.share().as_ref(), second.share.unwrap().as_ref());
    assert_eq!(kept.lease.lease(), Lease::For(Duration::from_secs(3600)));
    drop(gateway);
    // The same gateway after a start: it has the share before anybody says anything, and hears the same.
    let mut again = Gateway::start(&strongbox);
    let third = again.apply().await;
    assert_eq!(third.revision, second.revision);
    again.has_certificate(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_gateway_is_told_so_at_once_and_never_let_in_again() {
    let deployment = deployment(None).await;
    let strongbox = deployment.joined("edge").await;
    let mut gateway = Gateway::start(&strongbox);
    gateway.apply().await;
    deployment.revoke("edge-a-gw1").await;
    assert_eq!(refusal(&gateway.ended().await), Some(RefusalKind::Revoked));
    let again = Gateway::start(&strongbox).ended().await;
    assert_eq!(refusal(&again), Some(RefusalKind::Revoked), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_with_one_disk_are_both_locked_out() {
    let deployment = deployment(None).await;
    let strongbox = deployment.joined("edge").await;
    // Before the first start, so that neither has renewed.
    let from = deployment.scratch.0.join("edge");
    let to = deployment.scratch.0.join("copy");
    std::fs::create_dir_all(&to).unwrap();
    std::os::unix::fs::chown(&to, None, None).unwrap();
    std::fs::set_permissions(&to, std::fs::metadata(&from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(&from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let mut gateway = Gateway::start(&strongbox);
    gateway.apply().await;
    gateway.has_certificate(2).await;
    let copy = Gateway::start(&deployment.strongbox("copy")).ended().await;
    assert_eq!(refusal(&copy), Some(RefusalKind::Revoked), "{copy}");
    assert!(copy.to_string().contains("two hosts have the keys"), "{copy}");
    let first = gateway.ended().await;
    assert!(
        matches!(refusal(&first), Some(RefusalKind::Revoked | RefusalKind::Superseded)),
        "{first}"
    );
    let again = Gateway::start(&strongbox).ended().await;
    assert_eq!(refusal(&again), Some(RefusalKind::Revoked), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_claims_another_site_is_cut_off_and_noted() {
    let deployment = deployment(None).await;
    let strongbox = deployment.joined("edge").await;
    let other = deployment.strongbox("other");
    deployment.join(&deployment.token, 2).await.unwrap().save(&other).unwrap();
    // Edge A's certificate with edge B's name.
    let mut rogue = Membership::load(&strongbox).unwrap().unwrap();
    rogue.id = Membership::load(&other).unwrap().unwrap().id;
    let forged = deployment.strongbox("forged");
    rogue.save(&forged).unwrap();
    let ended = Gateway::start(&forged).ended().await;
    assert!(refusal(&ended).is_none() || refusal(&ended) == Some(RefusalKind::Other), "{ended}");
    let noted = async {
        loop {
            let events = deployment
                .controller
                .events(|it| it.reason == "Misbehaved", 9, now())
                .await
                .unwrap();
            if let Some(event) = events.first() {
                break event.message.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let message = timeout(PATIENCE, noted).await.expect("in time");
    assert!(message.contains("edge-b") && message.contains("edge-a"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_another_deployment_reaches_nobody() {
    let deployment = deployment(None).await;
    let wrong = JoinToken {
        authority: Authority::create("presence.example".parse().unwrap(), now()).unwrap().pin(),
        ..deployment.token.clone()
    };
    let refused = deployment.join(&wrong, 1).await.unwrap_err();
    assert!(refused.contains("not signed by the CA that the token names"), "{refused}");
    let wrong =
        JoinToken { trust_domain: "other.example".parse().unwrap(), ..deployment.token.clone() };
    let refused = deployment.join(&wrong, 1).await.unwrap_err();
    assert!(refused.contains("trust domain presence.example"), "{refused}");
    deployment.join(&deployment.token, 1).await.unwrap();
    let used = deployment.join(&deployment.token, 1).await.unwrap_err();
    assert!(used.contains("used 1 times"), "{used}");
}
