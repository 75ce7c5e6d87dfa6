//! The controller on a store in a file: what is declared is kept and found again, several controllers on one
//! store agree, and what fails changes nothing.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

#[path = "common/scratch.rs"]
mod scratch;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway_control::deployment::allocation::COOLING;
use gateway_control::deployment::share::Share;
use gateway_control::model::PublicKey;
use gateway_control::model::SiteName;
use gateway_control::resource::{Declared, Key, Kind, Resource, read};
use gateway_daemon::api::wire::{Progress, Truth, View};
use gateway_daemon::controller::{
    Author, Conflict, Controller, ControllerError, Fate, Identity, Report, Wanted,
};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use gateway_daemon::store::{self, Outcome, Store, StoreError, Transaction, Value};
use scratch::Scratch;

const NOW: u64 = 1_800_000_000;

impl Scratch {
    fn file(&self) -> PathBuf {
        self.0.join("store")
    }
}

async fn open(path: &Path) -> Arc<SqliteStore> {
    let settings = SqliteSettings::default();
    let made = if path.exists() {
        SqliteStore::open(path, settings).await
    } else {
        SqliteStore::create(path, settings).await
    };
    Arc::new(made.unwrap())
}

async fn controller(store: &Arc<SqliteStore>) -> Controller {
    Controller::open(Arc::clone(store) as Arc<dyn Store>, COOLING, NOW).await.unwrap()
}

fn author(name: &str) -> Author {
    Author { manager: name.parse().unwrap(), force: false }
}

fn root() -> Author {
    author("root")
}

fn three_sites() -> Vec<Declared> {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples/three-sites/resources");
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let texts = files.iter().map(|path| fs::read_to_string(path).unwrap());
    texts.flat_map(|text| declared(&text)).collect()
}

fn declared(text: &str) -> Vec<Declared> {
    read(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A service of the cloud and its exposure to edge A.
fn service(name: &str) -> Vec<Declared> {
    declared(&format!(
        "kind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{site: cloud, ports: [tcp/80], backends: [{{address: 10.0.0.10}}]}}\n---\n\
         kind: Exposure\nmetadata: {{name: {name}}}\n\
         spec: {{service: {name}.cloud, to: {{sites: [edge-a]}}}}"
    ))
}

async fn all(controller: &Controller) -> Vec<View> {
    controller.list(&Wanted::default(), None, usize::MAX, NOW).await.unwrap().views
}

async fn shares(controller: &Controller) -> Vec<Share> {
    let mut shares = Vec::new();
    for site in all(controller).await.into_iter().filter(|view| view.kind == "Site") {
        let name = site.metadata.name.parse().unwrap();
        shares.push(controller.share(&name, NOW).await.unwrap().unwrap());
    }
    shares
}

#[tokio::test]
async fn what_is_declared_is_kept_and_found_again() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    let changes = three_sites();
    let done = one.apply(&changes, &root(), NOW).await.unwrap();
    assert_eq!(done.fates.len(), changes.len());
    assert!(done.fates.iter().all(|(_, fate)| *fate == Fate::Created), "{:?}", done.fates);
    assert_eq!(done.diff.sites().count(), 3);
    let (kept, told) = (all(&one).await, shares(&one).await);
    assert_eq!(kept.len(), changes.len());
    assert!(
        kept.iter().all(|it| Some(it.metadata.revision) == done.revision.map(|it| it.number()))
    );
    drop(one);

    let again = controller(&store).await;
    assert_eq!((all(&again).await, shares(&again).await), (kept, told));
    let before = store.revision().await.unwrap();
    let done = again.apply(&changes, &root(), NOW + 1).await.unwrap();
    assert!(done.fates.iter().all(|(_, fate)| *fate == Fate::Unchanged) && done.diff.is_empty());
    assert_eq!((done.revision, store.revision().await.unwrap()), (None, before));

    let key = Key::new(Kind::Site, "edge-a").unwrap();
    let found = again.get(&key, NOW).await.unwrap().unwrap();
    assert_eq!(found.resource.key(), key);
    let wanted = Wanted { kind: Some(Kind::Site), selector: Some("tier=edge".parse().unwrap()) };
    let first = again.list(&wanted, None, 1, NOW).await.unwrap();
    assert_eq!(first.last.as_ref(), Some(&key));
    let second = again.list(&wanted, Some(&key), 1, NOW).await.unwrap();
    assert_eq!((second.views.len(), second.last), (1, None));
    assert_eq!(second.views[0].metadata.name, "edge-b");
}

#[tokio::test]
async fn a_preview_says_what_a_change_does_and_does_nothing() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    one.apply(&three_sites(), &root(), NOW).await.unwrap();
    let (before, revision) = (all(&one).await, store.revision().await.unwrap());
    let previewed = one.preview(&service("web"), &root(), NOW).await.unwrap();
    assert_eq!((all(&one).await, store.revision().await.unwrap()), (before, revision));
    let done = one.apply(&service("web"), &root(), NOW).await.unwrap();
    assert_eq!((&done.diff, &done.fates), (&previewed.diff, &previewed.fates));
    assert!(done.diff.to_string().contains("web.cloud"), "{}", done.diff);
    let gone = [(Kind::Exposure, "web"), (Kind::Service, "web.cloud")];
    let gone = gone.map(|(kind, name)| Key::new(kind, name).unwrap());
    let seen = one.preview_deletion(&gone, &root(), NOW).await.unwrap();
    let done = one.delete(&gone, &root(), NOW).await.unwrap();
    assert_eq!((done.diff, seen.revision), (seen.diff, None));
    assert!(done.fates.iter().all(|(_, fate)| *fate == Fate::Deleted));
    let key = Key::new(Kind::Service, "web.cloud").unwrap();
    assert_eq!(controller(&store).await.get(&key, NOW).await.unwrap(), None);
}

#[tokio::test]
async fn one_fault_among_many_changes_nothing() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    one.apply(&three_sites(), &root(), NOW).await.unwrap();
    let (before, revision) = (all(&one).await, store.revision().await.unwrap());
    let mut changes: Vec<_> = (0..50).flat_map(|n| service(&format!("web{n}"))).collect();
    changes.insert(40, service("orphan").remove(1));
    let error = one.apply(&changes, &root(), NOW).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("exposure orphan"), "{said}");
    assert_eq!((all(&one).await, store.revision().await.unwrap()), (before.clone(), revision));
    let cloud = Key::new(Kind::Site, "cloud").unwrap();
    let said = one.delete(&[cloud], &root(), NOW).await.unwrap_err().to_string();
    assert!(said.contains("site cloud: it is in use by"), "{said}");
    assert_eq!((all(&one).await, store.revision().await.unwrap()), (before, revision));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_controllers_on_one_store_never_give_an_address_twice() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    controller(&store).await.apply(&three_sites(), &root(), NOW).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for controller_number in 0..3 {
        let store = open(&scratch.file()).await;
        tasks.spawn(async move {
            let one = controller(&store).await;
            for n in 0..4 {
                let changes = service(&format!("web-{controller_number}-{n}"));
                loop {
                    match one.apply(&changes, &root(), NOW).await {
                        Ok(_) => break,
                        Err(ControllerError::Contended { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let last = controller(&store).await;
    let edge: SiteName = "edge-a".parse().unwrap();
    let share = last.share(&edge, NOW).await.unwrap().unwrap();
    let items = share.items().values().map(ToString::to_string);
    let webs: Vec<_> = items.filter(|item| item.contains("web-")).collect();
    assert_eq!(webs.len(), 12, "{webs:#?}");
    let prefix = store::Prefix::new("allocation/presences/edge-a/").unwrap();
    let presences = store.list(&prefix, 100.try_into().unwrap(), None);
    let entries = presences.await.unwrap().entries;
    let holders: BTreeSet<_> = entries
        .iter()
        .map(|it| String::from_utf8_lossy(it.value.as_bytes()).into_owned())
        .collect();
    assert_eq!(holders.iter().filter(|it| it.contains("web-")).count(), 12, "{holders:#?}");
}

#[tokio::test]
async fn what_no_controller_wrote_is_refused_by_its_key() {
    let resource = "{\"managers\":{},\"resource\":{\"kind\":\"Site\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"role\":\"edge\",\
                    \"clientNetworks\":[],\"presencePool\":\"10.0.0.0/24\"}}}";
    let cases = [
        ("turn", "2", "the store's key turn: it is of layout 2, and this version reads 1"),
        (
            "secret/x",
            "",
            "the store's key secret/x: this version of the controller knows no such key",
        ),
        (
            "resource/Site/edge-z",
            resource,
            "the store's key resource/Site/edge-z: its value is site x",
        ),
        ("resource/Site/x", "{", "the store's key resource/Site/x: "),
        ("event/x", "[]", "the store's key event/x: its name is no number"),
        ("event/00000000000000000000", "{}", "the store's key event/00000000000000000000: "),
        (
            "allocation/transit/x",
            "{\"size\":1,\"holder\":\"x\"}",
            "\"transit/x\" names no allocation",
        ),
        (
            "allocation/transit/240.0.0.0",
            "{}",
            "the store's key allocation/transit/240.0.0.0: missing",
        ),
        ("allocation/transit/240.0.0.0", "{\"size\":3,\"holder\":\"x\"}", "out of shape"),
    ];
    for (key, value, said) in cases {
        let scratch = Scratch::new();
        let store = open(&scratch.file()).await;
        let put = Transaction::new().put(store::Key::new(key).unwrap(), Value::new(value).unwrap());
        assert!(matches!(store.transact(put).await.unwrap(), Outcome::Committed(_)));
        let store = Arc::clone(&store) as Arc<dyn Store>;
        let error = Controller::open(store, COOLING, NOW).await.unwrap_err().to_string();
        assert!(error.contains(said), "{key}: {error}");
        assert!(error.contains("restore"), "{key}: {error}");
    }
}

#[tokio::test]
async fn a_change_that_is_given_up_leaves_what_the_store_has() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    one.apply(&three_sites(), &root(), NOW).await.unwrap();
    for n in 0..20 {
        let name = format!("web{n}");
        // Whoever asked is gone after some time; the store may have the change or not.
        let (service, root) = (service(&name), root());
        let change = one.apply(&service, &root, NOW);
        let _ = tokio::time::timeout(Duration::from_micros(100 * n), change).await;
        // What the store was given before is done once it has answered this.
        let _ = store.transact(Transaction::new()).await.unwrap();
        let other = controller(&store).await;
        let (here, there) = (all(&one).await, all(&other).await);
        assert_eq!(here.len(), there.len(), "after {name}");
        assert_eq!(shares(&one).await, shares(&other).await, "after {name}");
    }
}

#[tokio::test]
async fn a_full_store_refuses_and_the_controller_goes_on_with_what_it_has() {
    let scratch = Scratch::new();
    drop(open(&scratch.file()).await);
    let settings = SqliteSettings { most_bytes: 120_000 };
    let store = Arc::new(SqliteStore::open(&scratch.file(), settings).await.unwrap());
    let one = Controller::open(Arc::clone(&store) as Arc<dyn Store>, COOLING, NOW).await.unwrap();
    one.apply(&three_sites(), &root(), NOW).await.unwrap();
    let mut entered = 0;
    let error = loop {
        let service = service(&format!("web{entered}"));
        match one.apply(&service[..1], &root(), NOW).await {
            Ok(_) => entered += 1,
            Err(error) => break error,
        }
        assert!(entered < 1_000, "never full");
    };
    let is_full = matches!(&error, ControllerError::Store(StoreError::Unwritable { .. }));
    assert!(is_full, "{error}");
    let services = all(&one).await.into_iter();
    let services =
        services.filter(|it| it.kind == "Service" && it.metadata.name.starts_with("web"));
    assert_eq!(services.count(), entered);
}

/// Exposes `files.cloud` to the edges otherwise than the example does.
fn files(clients: &str) -> Vec<Declared> {
    declared(&format!(
        "kind: Exposure\nmetadata: {{name: files-to-a}}\n\
         spec: {{service: files.cloud, to: {{sites: [edge-a]}}, address: {clients}}}"
    ))
}

#[tokio::test]
async fn what_others_have_set_is_not_lost_unnoticed() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    one.apply(&three_sites(), &author("alice"), NOW).await.unwrap();
    let error = one.apply(&files("10.0.0.203"), &author("bob"), NOW).await.unwrap_err();
    let ControllerError::Conflicts { conflicts } = &error else { panic!("{error}") };
    assert!(matches!(conflicts.as_slice(), [Conflict::Field(_)]), "{conflicts:?}");
    let said = error.to_string();
    for part in ["exposure files-to-a", "spec.address", "alice", "10.0.0.201", "10.0.0.203"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let forced = Author { force: true, ..author("bob") };
    let done = one.apply(&files("10.0.0.203"), &forced, NOW).await.unwrap();
    assert_eq!(done.fates[0].1, Fate::Changed);

    let key = Key::new(Kind::Exposure, "files-to-a").unwrap();
    let again = controller(&store).await;
    let view = again.view(&key, NOW).await.unwrap().unwrap();
    assert_eq!(view.metadata.managers["spec.address"], "bob");
    assert_eq!(view.metadata.managers["spec.service"], "alice");
    assert_eq!(view.status.allocated["presence at edge-a"], "10.0.0.203");

    let mut old = files("10.0.0.204");
    old[0].revision = Some(view.metadata.revision - 1);
    let said = again.apply(&old, &forced, NOW).await.unwrap_err().to_string();
    assert!(said.contains("metadata.revision") && said.contains("read it again"), "{said}");
    old[0].revision = Some(view.metadata.revision);
    again.apply(&old, &forced, NOW).await.unwrap();

    let events = again.events(|event| event.about.name == "files-to-a", 10, NOW).await.unwrap();
    let told: Vec<_> =
        events.iter().map(|it| (it.reason.as_str(), it.by.as_deref().unwrap_or("-"))).collect();
    assert_eq!(told, [("Created", "alice"), ("Changed", "bob"), ("Changed", "bob")]);
}

fn identity(gateway: &str, key: PublicKey) -> Identity {
    let site = gateway.trim_end_matches("-gw").parse().unwrap();
    Identity { site, gateway: gateway.parse().unwrap(), public_key: key }
}

#[tokio::test]
async fn a_gateway_is_told_its_share_and_says_how_far_it_is() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    let declared = three_sites();
    let key = declared.iter().find_map(|it| match &it.resource {
        Resource::Gateway(gateway) if gateway.name.as_str() == "edge-a-gw" => {
            Some(gateway.public_key)
        }
        _ => None,
    });
    let identity = identity("edge-a-gw", key.unwrap());
    let mut connection = one.connect(identity.clone()).await.unwrap();
    let none = connection.orders().share.unwrap_err();
    assert!(none.why.contains("site edge-a is not declared"), "{none}");

    one.apply(&declared, &root(), NOW).await.unwrap();
    assert!(connection.changed().await);
    let orders = connection.orders();
    let share = one.share(&identity.site, NOW).await.unwrap().unwrap();
    assert_eq!(orders.share.as_deref(), Ok(&share));

    let rabbitmq = Key::new(Kind::Exposure, "rabbitmq-to-a").unwrap();
    let state = async |key: &Key| {
        let view = one.view(key, NOW).await.unwrap().unwrap();
        let gateway = view.status.gateways.iter().find(|it| it.site == "edge-a").cloned().unwrap();
        (gateway, view.status.conditions)
    };
    assert_eq!(state(&rabbitmq).await.0.state, Progress::Pending);
    let why = "interface lan0: there is none; make it".to_owned();
    connection.report(Report { refused: Some(why.clone()), ..Report::default() });
    let (gateway, conditions) = state(&rabbitmq).await;
    assert_eq!((gateway.state, gateway.why), (Progress::Refused, Some(why)));
    assert_eq!((conditions[0].status, conditions[0].reason.as_str()), (Truth::False, "Refused"));
    connection.report(Report { applied: orders.revision, refused: None, links_up: Some(0) });
    let (gateway, conditions) = state(&rabbitmq).await;
    assert_eq!((gateway.state, gateway.applied), (Progress::Applied, Some(gateway.wanted)));
    // The cloud's gateway has a part in it as well, and is not there.
    assert_eq!(conditions[0].reason, "NotConnected");
    let status = one.status(NOW).await.unwrap();
    assert_eq!(status.counts["Site"], 3);
    assert!(status.problems.iter().any(|it| it.contains("site cloud")), "{:?}", status.problems);
    assert!(status.problems.iter().any(|it| it.contains("1 of its 1 links are down")));
    let cloud = status.sites.iter().find(|it| it.name == "cloud").unwrap();
    assert_eq!(cloud.links, 2);
    let lone = crate::declared(
        "kind: Site\nmetadata: {name: edge-c}\nspec: {role: edge, clientNetworks: \
                         [10.0.0.0/24], presencePool: 10.0.0.192/26}\n",
    );
    one.apply(&lone, &root(), NOW).await.unwrap();
    let status = one.status(NOW).await.unwrap();
    let links = |name: &str| status.sites.iter().find(|it| it.name == name).unwrap().links;
    assert_eq!((links("cloud"), links("edge-c")), (2, 1), "a site without a gateway has no link");
    assert!(status.problems.contains(&"site edge-c: it has no gateway; declare one".to_owned()));

    // Another controller changes what concerns it.
    let other = controller(&store).await;
    other.apply(&service("web"), &root(), NOW).await.unwrap();
    let follow = async { panic!("{}", one.follow().await) };
    tokio::select! {
        changed = connection.changed() => assert!(changed),
        () = follow => {}
    }
    let share = one.share(&identity.site, NOW).await.unwrap().unwrap();
    assert_eq!(connection.orders().share.as_deref(), Ok(&share));
    assert_eq!(state(&rabbitmq).await.0.state, Progress::Pending);

    // Once it connects anew, the connection before is of no use.
    let mut again = one.connect(identity.clone()).await.unwrap();
    assert!(!connection.changed().await);
    drop(connection);
    assert_eq!(state(&rabbitmq).await.0.state, Progress::Pending);
    let stranger = Identity {
        public_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".parse().unwrap(),
        ..identity
    };
    let mut strange = one.connect(stranger).await.unwrap();
    let none = strange.orders().share.unwrap_err();
    assert!(none.why.contains("is declared with"), "{none}");
    assert!(!again.changed().await);
    let (gateway, _) = state(&rabbitmq).await;
    assert_eq!((gateway.state, gateway.why), (Progress::Refused, Some(none.why)));
    drop(strange);
    assert_eq!(state(&rabbitmq).await.0.state, Progress::Absent);
    let reasons: Vec<_> = one.events(|it| it.about.name == "edge-a-gw", 10, NOW).await.unwrap();
    let reasons: Vec<_> = reasons.iter().map(|it| it.reason.as_str()).collect();
    for reason in ["Connected", "Refused", "Applied", "Disconnected"] {
        assert!(reasons.contains(&reason), "{reasons:?}");
    }
}

#[tokio::test]
async fn no_other_gateway_takes_the_place_of_the_one_in_the_controllers_process() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    let declared = three_sites();
    one.apply(&declared, &root(), NOW).await.unwrap();
    let key = declared.iter().find_map(|it| match &it.resource {
        Resource::Gateway(gateway) if gateway.name.as_str() == "cloud-gw" => {
            Some(gateway.public_key)
        }
        _ => None,
    });
    let identity = identity("cloud-gw", key.unwrap());
    let mut resident = one.reside(identity.clone()).await.unwrap();
    let orders = resident.orders();
    assert!(orders.share.is_ok());
    let mut other = one.connect(identity.clone()).await.unwrap();
    let none = other.orders().share.unwrap_err();
    assert!(none.why.contains("site cloud runs in the controller's process"), "{none}");
    other.report(Report {
        refused: Some("what it says is of no account".into()),
        ..Report::default()
    });
    resident.report(Report { applied: orders.revision, refused: None, links_up: None });
    drop(other);
    one.apply(&service("web"), &root(), NOW).await.unwrap();
    assert!(resident.changed().await, "its place was taken");
    let site = Key::new(Kind::Site, "cloud").unwrap();
    let view = one.view(&site, NOW).await.unwrap().unwrap();
    let cloud = view.status.gateways.iter().find(|it| it.site == "cloud").unwrap();
    assert_eq!((cloud.state, &cloud.why), (Progress::Pending, &None));
    // Once it has gone, another may have the site.
    drop(resident);
    assert!(one.connect(identity).await.unwrap().orders().share.is_ok());
}

#[tokio::test]
async fn what_was_superseded_is_forgotten_and_nothing_else() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    one.apply(&three_sites(), &root(), NOW).await.unwrap();
    let from = one.forget(store::Revision::default()).await.unwrap();
    let prefix = store::Prefix::new(b"").unwrap();
    let mut watch = store.watch(&prefix, from).await.unwrap();
    for number in 0..20 {
        one.apply(&service(&format!("web-{number}")), &root(), NOW).await.unwrap();
    }
    // How far gateways are is not in the store.
    let kept = async |of: &Controller| {
        let views = all(of).await.into_iter();
        (views.map(|it| (it.kind, it.metadata, it.spec)).collect::<Vec<_>>(), shares(of).await)
    };
    let before = kept(&one).await;
    let to = one.forget(from).await.unwrap();
    assert!(to > from && watch.next().await.is_ok(), "what came after is there still");
    assert_eq!(one.forget(to).await.unwrap(), to);
    let mut late = store.watch(&prefix, from).await.unwrap();
    assert!(matches!(late.next().await, Err(StoreError::Compacted { .. })));
    assert!(kept(&one).await == before);
    drop((one, watch, late, store));
    let again = controller(&open(&scratch.file()).await).await;
    assert!(kept(&again).await == before);
    again.apply(&service("one-more"), &root(), NOW).await.unwrap();
}
