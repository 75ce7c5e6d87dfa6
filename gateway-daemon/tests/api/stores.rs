//! Stores that fail: the caller is told what is wrong and what to do, and nothing is half done.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gateway_control::deployment::allocation::COOLING;
use gateway_control::resource;
use gateway_daemon::controller::{Author, Controller};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use gateway_daemon::store::{
    Cursor, Entry, Key, Lease, LeaseId, Limits, Outcome, Page, Prefix, Revision, Store, StoreError,
    Transaction, Watch,
};
use http_body_util::BodyExt as _;

use crate::client::{Lines, begin};
use crate::{Api, PATIENCE, Scratch, conform, nobody_else, services, settings, site};

/// A store that fails from when it is told to.
#[derive(Debug)]
struct Failing {
    store: Arc<SqliteStore>,
    with: Mutex<Option<StoreError>>,
    /// From the end of the next transaction on.
    then: Mutex<Option<StoreError>>,
}

impl Failing {
    fn works(&self) -> Result<&SqliteStore, StoreError> {
        self.with.lock().unwrap().clone().map_or(Ok(&self.store), Err)
    }
}

#[async_trait]
impl Store for Failing {
    fn description(&self) -> String {
        self.store.description()
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.works()?.revision().await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.works()?.get(key).await
    }

    async fn list(
        &self,
        prefix: &Prefix,
        limit: NonZeroUsize,
        from: Option<&Cursor>,
    ) -> Result<Page, StoreError> {
        self.works()?.list(prefix, limit, from).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        let outcome = self.works()?.transact(transaction).await;
        if let Some(error) = self.then.lock().unwrap().take() {
            *self.with.lock().unwrap() = Some(error);
        }
        outcome
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        self.works()?.watch(prefix, after).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.works()?.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.works()?.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.works()?.revoke(lease).await
    }

    async fn compact(&self, up_to: Revision) -> Result<(), StoreError> {
        self.works()?.compact(up_to).await
    }

    async fn backup(&self, to: &Path) -> Result<Revision, StoreError> {
        self.works()?.backup(to).await
    }
}

async fn failing() -> (Api, Arc<Failing>) {
    let scratch = Scratch::new();
    let store = scratch.store(SqliteSettings::default()).await;
    let store = Arc::new(Failing { store, with: Mutex::default(), then: Mutex::default() });
    let api =
        Api::on(scratch, Arc::clone(&store) as Arc<dyn Store>, settings(), nobody_else()).await;
    (api, store)
}

#[tokio::test]
async fn a_store_that_is_full_says_so_and_has_all_of_what_it_took() {
    let scratch = Scratch::new();
    let store = scratch.store(SqliteSettings { most_bytes: 1 << 20 }).await;
    let api = Api::on(scratch, store, settings(), nobody_else()).await;
    api.declare(site("cloud")).await;
    let mut taken = 0;
    let refused = loop {
        let answer = api.apply("", services(&format!("web-{taken}"), 50, "", 80)).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 1000, "it never fills");
    };
    refused.refuses(507, "store-full", "store.most_bytes");
    assert_eq!(api.all("kind=service").await.len(), taken * 50);
}

#[tokio::test]
async fn a_store_that_fails_makes_every_route_say_what_is_wrong() {
    let closed = || StoreError::Closed { store: "/srv/store".into() };
    let uncertain =
        || StoreError::Uncertain { store: "/srv/store".into(), reason: "no answer".to_owned() };
    let own = || StoreError::OwnBackup { store: "etcd".to_owned() };
    let engine = || StoreError::Engine {
        store: "/srv/store".into(),
        doing: "read",
        reason: "disk I/O error".to_owned(),
    };
    for (error, status, word, says) in [
        (closed(), 503, "unavailable", "open it again"),
        (uncertain(), 503, "unavailable", "not known"),
        (engine(), 500, "internal", "disk I/O error"),
    ] {
        let (api, store) = failing().await;
        api.declare(site("cloud")).await;
        *store.with.lock().unwrap() = Some(error);
        for (method, path) in conform::routes() {
            if ["/v1/openapi.json", "/v1/identity"].contains(&path.as_str()) {
                continue;
            }
            let path = path.replace("{kind}/{name}", "site/cloud").replace("{name}", "a");
            let body = match path.as_str() {
                "/v1/apply" => services("web", 1, "", 80),
                "/v1/delete" => r#"{"resources": [{"kind": "site", "name": "cloud"}]}"#.to_owned(),
                _ => String::new(),
            };
            let answer = crate::client::ask(&api.socket(), &method, &path, body).await;
            answer.refuses(status, word, says);
        }
        assert!(api.backups().is_empty());
        *store.with.lock().unwrap() = None;
        assert_eq!(api.all("").await.len(), 1, "it works again, and nothing was done");
    }
    let (api, store) = failing().await;
    *store.with.lock().unwrap() = Some(own());
    api.get("/v1/backup").await.refuses(409, "conflict", "etcdctl snapshot save");
}

#[tokio::test]
async fn a_watch_goes_on_when_its_store_does() {
    let (api, store) = failing().await;
    api.declare(site("cloud")).await;
    let mut lines = Lines::of(&api.socket(), "/v1/watch").await;
    lines.next().await.unwrap();
    api.declare(services("web", 1, "", 80)).await;
    lines.next().await.unwrap();
    *store.with.lock().unwrap() = Some(StoreError::Closed { store: "/srv/store".into() });
    api.apply("", services("web", 1, "", 81)).await.refuses(503, "unavailable", "");
    *store.with.lock().unwrap() = None;
    api.declare(services("web", 1, "", 82)).await;
    let line = lines.next().await.unwrap();
    let mut put = line["put"].as_array().unwrap().iter();
    assert!(put.any(|view| view["spec"]["ports"][0] == "tcp/82"), "{line}");
}

#[tokio::test]
async fn a_watch_that_cannot_look_breaks_off_and_does_not_seem_to_end() {
    let (api, store) = failing().await;
    api.declare(site("cloud")).await;
    let mut watch = begin(&api.socket(), "GET", "/v1/watch", "").await;
    let first = watch.frame().await.unwrap().unwrap();
    assert!(first.into_data().unwrap().ends_with(b"\n"));
    *store.then.lock().unwrap() = Some(StoreError::Closed { store: "/srv/store".into() });
    api.declare(services("web", 1, "", 80)).await;
    let next = tokio::time::timeout(PATIENCE, watch.frame()).await.expect("it breaks off");
    assert!(next.is_some_and(|frame| frame.is_err()));
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_for_a_time_is_followed_again() {
    let scratch = Scratch::new();
    let store = scratch.store(SqliteSettings::default()).await;
    let away = StoreError::Unreachable {
        endpoints: "http://192.0.2.9:2379".into(),
        doing: "watch",
        reason: "no answer within 5 s".into(),
    };
    let failing =
        Failing { store: Arc::clone(&store), with: Mutex::new(Some(away)), then: Mutex::default() };
    let failing = Arc::new(failing);
    let opened = |store| Controller::open(store, COOLING, 0);
    let other = opened(store).await.unwrap();
    let with = failing.with.lock().unwrap().take();
    let one = opened(Arc::clone(&failing) as Arc<dyn Store>).await.unwrap();
    *failing.with.lock().unwrap() = with;
    let mut news = one.news();
    let back = async {
        // The first attempt fails; the one after it sees what another has done meanwhile.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let declared = resource::read(&site("cloud")).unwrap();
        let author = Author { manager: "root".parse().unwrap(), force: false };
        other.apply(&declared, &author, 0).await.unwrap();
        news.mark_unchanged();
        *failing.with.lock().unwrap() = None;
        tokio::time::timeout(PATIENCE, news.changed()).await.unwrap().unwrap();
    };
    tokio::select! {
        () = back => {}
        error = one.follow() => panic!("{error}"),
    }
    let closed = StoreError::Closed { store: "/srv/store".into() };
    *failing.with.lock().unwrap() = Some(closed);
    let ended = tokio::time::timeout(PATIENCE, one.follow()).await.unwrap();
    assert!(ended.to_string().contains("has been closed"), "{ended}");
}
