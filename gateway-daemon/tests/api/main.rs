//! The controller's API over its socket, with a client that knows no more than HTTP: every route, what it refuses,
//! and what bounds it. Every answer is held against the OpenAPI document.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

mod access;
mod bodies;
mod changes;
mod client;
mod conform;
mod deployment;
mod identity;
mod limits;
mod listener;
mod resources;
#[path = "../common/scratch.rs"]
mod scratch;
mod stores;
mod watches;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway_control::deployment::allocation::COOLING;
use gateway_daemon::api::wire::View;
use gateway_daemon::api::{self, Access, ApiError, Listener, Rate, Settings};
use gateway_daemon::controller::Controller;
use gateway_daemon::store::Store;
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use nix::unistd::Uid;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use client::Answer;
use scratch::Scratch;

const NOW: u64 = 1_800_000_000;
/// Longest that anything may take that is not meant to.
const PATIENCE: Duration = Duration::from_secs(60);

/// A controller that is served at a socket of its own, with a store of its own.
struct Api {
    scratch: Scratch,
    controller: Arc<Controller>,
    end: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<Result<(), ApiError>>>,
}

impl Scratch {
    async fn store(&self, settings: SqliteSettings) -> Arc<SqliteStore> {
        Arc::new(SqliteStore::create(&self.0.join("store"), settings).await.unwrap())
    }
}

/// As the server is shipped, but for rates that a test may meet.
fn settings() -> Settings {
    let mut settings = Settings { watch_pause: Duration::ZERO, ..Settings::default() };
    let plenty = Rate { burst: 1_000_000, per_second: 1_000_000.0 };
    (settings.share.reads, settings.share.changes) = (plenty, plenty);
    settings
}

fn nobody_else() -> Access {
    Access::new(Uid::effective(), Vec::new(), Vec::new())
}

impl Api {
    async fn start() -> Self {
        Self::within(settings()).await
    }

    async fn within(settings: Settings) -> Self {
        let scratch = Scratch::new();
        let store = scratch.store(SqliteSettings::default()).await;
        Self::on(scratch, store, settings, nobody_else()).await
    }

    async fn on(
        scratch: Scratch,
        store: Arc<dyn Store>,
        mut settings: Settings,
        access: Access,
    ) -> Self {
        settings.scratch = scratch.0.join("backups");
        fs::create_dir(&settings.scratch).unwrap();
        let opened = Controller::open(store, COOLING, NOW).await;
        let controller = Arc::new(opened.unwrap());
        let listener = Listener::bind(&scratch.0.join("socket")).unwrap();
        let (end, ended) = oneshot::channel();
        let served = Arc::clone(&controller);
        let serving = api::serve_within(listener, served, access, settings, async move {
            // A test that is over wants no answer.
            let _ = ended.await;
        });
        let served = Some(tokio::spawn(serving));
        Self { scratch, controller, end: Some(end), served }
    }

    fn socket(&self) -> PathBuf {
        self.scratch.0.join("socket")
    }

    fn backups(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(self.scratch.0.join("backups")).unwrap();
        found.map(|entry| entry.unwrap().path()).collect()
    }

    /// Ends the server and waits for it.
    async fn end(&mut self) {
        self.end.take().unwrap().send(()).unwrap();
        let served = tokio::time::timeout(PATIENCE, self.served.take().unwrap()).await;
        served.unwrap().unwrap().unwrap();
    }

    async fn get(&self, target: &str) -> Answer {
        client::ask(&self.socket(), "GET", target, "").await
    }

    async fn apply(&self, query: &str, text: impl Into<String>) -> Answer {
        client::ask(&self.socket(), "POST", &format!("/v1/apply{query}"), text.into()).await
    }

    /// Applies what must be taken.
    async fn declare(&self, text: impl Into<String>) -> Value {
        let answer = self.apply("", text).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn delete(&self, body: impl Into<String>) -> Answer {
        client::ask(&self.socket(), "POST", "/v1/delete", body.into()).await
    }

    /// Everything that is declared, by pages.
    async fn all(&self, query: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/resources?{query}{after}")).await.json();
            all.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return all };
            after = format!("&after={next}");
        }
    }
}

/// The resources of the three sites of the examples.
fn three_sites() -> String {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples/three-sites/resources");
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let texts: Vec<_> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.join("\n---\n")
}

fn site(name: &str) -> String {
    format!(
        "kind: Site\nmetadata: {{name: {name}}}\n\
         spec: {{role: cloud, clientNetworks: [10.0.0.0/24], presencePool: 10.0.1.0/24}}\n---\n"
    )
}

/// Services `FIRST-0` and so on at site `cloud`.
fn services(first: &str, count: usize, labels: &str, port: u16) -> String {
    let mut text = String::new();
    for n in 0..count {
        write!(
            text,
            "kind: Service\nmetadata: {{name: {first}-{n}, labels: {{{labels}}}}}\n\
             spec: {{site: cloud, ports: [tcp/{port}], backends: [{{address: 10.0.0.10}}]}}\n---\n"
        )
        .unwrap();
    }
    text
}

/// Kind and name of a view, as they are asked for.
fn name(view: &Value) -> String {
    let reference = serde_json::from_value::<View>(view.clone()).unwrap().reference();
    format!("{} {}", reference.kind, reference.name)
}
