//! The controller on a store in a file: what is declared is kept and found again, several controllers on one
//! store agree, and what fails changes nothing.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, process};

use gateway_control::deployment::Change;
use gateway_control::deployment::allocation::COOLING;
use gateway_control::deployment::share::Share;
use gateway_control::model::SiteName;
use gateway_control::resource::{Key, Kind, Resource, Selector, read, read_one};
use gateway_daemon::controller::{Controller, ControllerError, Fate, Kept};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use gateway_daemon::store::{self, Outcome, Store, StoreError, Transaction, Value};

const NOW: u64 = 1_800_000_000;

/// Removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = env::temp_dir().join(format!("presence-controller-{test}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("store")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
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

fn three_sites() -> Vec<Change> {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples/three-sites/resources");
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let texts = files.iter().map(|path| fs::read_to_string(path).unwrap());
    let declared = texts.flat_map(|text| read(&text).unwrap_or_else(|error| panic!("{error}")));
    declared.map(|it| Change::Put(it.resource)).collect()
}

fn service(name: &str) -> [Change; 2] {
    let texts = [
        format!(
            "kind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{site: cloud, ports: [tcp/80], backends: [{{address: 10.0.0.10}}]}}"
        ),
        format!(
            "kind: Exposure\nmetadata: {{name: {name}}}\n\
             spec: {{service: {name}.cloud, to: {{sites: [edge-a]}}}}"
        ),
    ];
    texts.map(|text| Change::Put(read_one(&text).unwrap_or_else(|error| panic!("{error}"))))
}

async fn all(controller: &Controller) -> Vec<Kept> {
    controller.list(None, NOW).await.unwrap()
}

async fn shares(controller: &Controller) -> Vec<Share> {
    let mut shares = Vec::new();
    for kept in all(controller).await {
        if let Resource::Site(site) = kept.resource {
            shares.push(controller.share(&site.name, NOW).await.unwrap().unwrap());
        }
    }
    shares
}

#[tokio::test]
async fn what_is_declared_is_kept_and_found_again() {
    let scratch = Scratch::new("kept");
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    let changes = three_sites();
    let done = one.change(changes.clone(), NOW).await.unwrap();
    assert_eq!(done.fates.len(), changes.len());
    assert!(done.fates.iter().all(|(_, fate)| *fate == Fate::Created), "{:?}", done.fates);
    assert_eq!(done.diff.sites().count(), 3);
    let (kept, told) = (all(&one).await, shares(&one).await);
    assert_eq!(kept.len(), changes.len());
    assert!(kept.iter().all(|it| Some(it.revision) == done.revision));
    drop(one);

    let again = controller(&store).await;
    assert_eq!((all(&again).await, shares(&again).await), (kept, told));
    let before = store.revision().await.unwrap();
    let done = again.change(changes, NOW + 1).await.unwrap();
    assert!(done.fates.iter().all(|(_, fate)| *fate == Fate::Unchanged) && done.diff.is_empty());
    assert_eq!((done.revision, store.revision().await.unwrap()), (None, before));

    let key = Key::new(Kind::Site, "edge-a").unwrap();
    let found = again.get(&key, NOW).await.unwrap().unwrap();
    assert_eq!(found.resource.key(), key);
    let labels = found.resource.labels().clone();
    if let Ok(selector) = Selector::new(labels) {
        let selected = again.list(Some(&selector), NOW).await.unwrap();
        assert!(selected.iter().any(|it| it.resource.key() == key));
    }
}

#[tokio::test]
async fn a_preview_says_what_a_change_does_and_does_nothing() {
    let scratch = Scratch::new("preview");
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    one.change(three_sites(), NOW).await.unwrap();
    let (before, revision) = (all(&one).await, store.revision().await.unwrap());
    let previewed = one.preview(service("web").to_vec(), NOW).await.unwrap();
    assert_eq!((all(&one).await, store.revision().await.unwrap()), (before, revision));
    let done = one.change(service("web").to_vec(), NOW).await.unwrap();
    assert_eq!((&done.diff, &done.fates), (&previewed.diff, &previewed.fates));
    assert!(done.diff.to_string().contains("web.cloud"), "{}", done.diff);
    let gone = vec![
        Change::Delete(Key::new(Kind::Exposure, "web").unwrap()),
        Change::Delete(Key::new(Kind::Service, "web.cloud").unwrap()),
    ];
    let done = one.change(gone, NOW).await.unwrap();
    assert!(done.fates.iter().all(|(_, fate)| *fate == Fate::Deleted));
    let key = Key::new(Kind::Service, "web.cloud").unwrap();
    assert_eq!(controller(&store).await.get(&key, NOW).await.unwrap(), None);
}

#[tokio::test]
async fn one_fault_among_many_changes_nothing() {
    let scratch = Scratch::new("refused");
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    one.change(three_sites(), NOW).await.unwrap();
    let (before, revision) = (all(&one).await, store.revision().await.unwrap());
    let mut changes: Vec<_> = (0..50).flat_map(|n| service(&format!("web{n}"))).collect();
    let [_, orphan] = service("orphan");
    changes.insert(40, orphan);
    changes.push(Change::Delete(Key::new(Kind::Site, "cloud").unwrap()));
    let error = one.change(changes, NOW).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("exposure orphan") && said.contains("site cloud"), "{said}");
    assert_eq!((all(&one).await, store.revision().await.unwrap()), (before, revision));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_controllers_on_one_store_never_give_an_address_twice() {
    let scratch = Scratch::new("several");
    let store = open(&scratch.file()).await;
    controller(&store).await.change(three_sites(), NOW).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for controller_number in 0..3 {
        let store = open(&scratch.file()).await;
        tasks.spawn(async move {
            let one = controller(&store).await;
            for n in 0..4 {
                let changes = service(&format!("web-{controller_number}-{n}")).to_vec();
                loop {
                    match one.change(changes.clone(), NOW).await {
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
    let resource = "{\"kind\":\"Site\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"role\":\"edge\",\
                    \"clientNetworks\":[],\"presencePool\":\"10.0.0.0/24\"}}";
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
    for (n, (key, value, said)) in cases.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("alien{n}"));
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
    let scratch = Scratch::new("given-up");
    let store = open(&scratch.file()).await;
    let one = controller(&store).await;
    one.change(three_sites(), NOW).await.unwrap();
    for n in 0..20 {
        let name = format!("web{n}");
        // Whoever asked is gone after some time; the store may have the change or not.
        let change = one.change(service(&name).to_vec(), NOW);
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
    let scratch = Scratch::new("full");
    drop(open(&scratch.file()).await);
    let settings = SqliteSettings { most_bytes: 120_000 };
    let store = Arc::new(SqliteStore::open(&scratch.file(), settings).await.unwrap());
    let one = Controller::open(Arc::clone(&store) as Arc<dyn Store>, COOLING, NOW).await.unwrap();
    one.change(three_sites(), NOW).await.unwrap();
    let mut entered = 0;
    let error = loop {
        let [service, _] = service(&format!("web{entered}"));
        match one.change(vec![service], NOW).await {
            Ok(_) => entered += 1,
            Err(error) => break error,
        }
        assert!(entered < 1_000, "never full");
    };
    let is_full = matches!(&error, ControllerError::Store(StoreError::Unwritable { .. }));
    assert!(is_full, "{error}");
    let services = all(&one).await.into_iter().filter(|it| match &it.resource {
        Resource::Service(service) => service.id.to_string().starts_with("web"),
        _ => false,
    });
    assert_eq!(services.count(), entered);
}
