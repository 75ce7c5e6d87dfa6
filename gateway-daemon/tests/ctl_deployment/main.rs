//! `gatewayctl` from outside, as operators of a deployment run it: the built program against a controller that
//! serves its API at a socket of its own.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

mod begin;
mod changes;
mod listing;
mod members;
#[path = "../common/scratch.rs"]
mod scratch;
mod stores;
mod versions;
mod waiting;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway_control::deployment::allocation::COOLING;
use gateway_daemon::api::{self, Access, ApiError, Listener, Rate, Settings};
use gateway_daemon::controller::Controller;
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use nix::unistd::Uid;
use scratch::Scratch;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const GATEWAYCTL: &str = env!("CARGO_BIN_EXE_gatewayctl");

/// Longest that anything may take that is not meant to.
const PATIENCE: Duration = Duration::from_secs(60);

/// The resources of three sites that have the very same addresses.
fn three_sites() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples/three-sites/resources")
}

impl Scratch {
    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A program for the operator's `EDITOR`.
    fn editor(&self, script: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.file("editor", &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// What editors were given and was kept.
    fn kept(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(self.0.join("tmp")).unwrap();
        found.map(|entry| entry.unwrap().path()).collect()
    }

    /// Runs `gatewayctl` with this socket.
    fn ctl_at(&self, socket: &str, words: &[&str], input: &str) -> Ran {
        self.with(socket, words, input, &[])
    }

    fn with(&self, socket: &str, words: &[&str], input: &str, set: &[(&str, &str)]) -> Ran {
        let temporary = self.0.join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mut child = Command::new(GATEWAYCTL)
            .args(words)
            .env("PRESENCE_CONTROLLER", socket)
            .env("TMPDIR", temporary)
            .env_remove("VISUAL")
            .env_remove("EDITOR")
            .envs(set.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that reads nothing may be gone already.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        Ran::of(words, child.wait_with_output().unwrap())
    }
}

/// What a run of `gatewayctl` came to.
#[derive(Debug)]
struct Ran {
    words: String,
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(words: &[&str], output: Output) -> Self {
        Self {
            words: words.join(" "),
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it answered, if it did what it was asked for.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}: {}", self.words, self.err);
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// What it said when it failed with this exit code.
    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}: {}{}", self.words, self.out, self.err);
        assert!(
            ["gatewayctl: ", "error: "].iter().any(|it| self.err.starts_with(it)),
            "{}",
            self.err
        );
        self.err
    }
}

/// A controller with its API.
struct Deployment {
    scratch: Scratch,
    store: Arc<SqliteStore>,
    controller: Arc<Controller>,
    runtime: Runtime,
    end: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<Result<(), ApiError>>>,
}

impl Deployment {
    /// With nothing declared.
    fn empty() -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.0.join("backups")).unwrap();
        let path = scratch.0.join("store");
        Runtime::new().unwrap().block_on(async {
            let store = SqliteStore::create(&path, SqliteSettings::default()).await.unwrap();
            store.close().await.unwrap();
        });
        Self::in_place(scratch)
    }

    /// With what the store in this directory holds.
    fn in_place(scratch: Scratch) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let plenty = Rate { burst: 1_000_000, per_second: 1_000_000.0 };
        let mut settings = Settings {
            watch_pause: Duration::ZERO,
            scratch: scratch.0.join("backups"),
            ..Settings::default()
        };
        (settings.share.reads, settings.share.changes) = (plenty, plenty);
        let path = scratch.0.join("store");
        let (end, ended) = oneshot::channel();
        let (store, controller, served) = runtime.block_on(async {
            let store = SqliteStore::open(&path, SqliteSettings::default()).await.unwrap();
            let store = Arc::new(store);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let controller = Controller::open(store.clone(), COOLING, now).await.unwrap();
            let controller = Arc::new(controller);
            let listener = Listener::bind(&scratch.0.join("socket")).unwrap();
            let access = Access::new(Uid::effective(), Vec::new(), Vec::new());
            let shutdown = async move { ended.await.unwrap_or_default() };
            let serving =
                api::serve_within(listener, Arc::clone(&controller), access, settings, shutdown);
            (store, controller, tokio::spawn(serving))
        });
        Self { scratch, store, controller, runtime, end: Some(end), served: Some(served) }
    }

    /// With the three sites declared.
    fn of_three_sites() -> Self {
        let this = Self::empty();
        this.ctl(&["apply", "-f", three_sites().to_str().unwrap()]).ok();
        this
    }

    fn socket(&self) -> String {
        self.scratch.path("socket")
    }

    fn ctl(&self, words: &[&str]) -> Ran {
        self.ctl_with(words, "")
    }

    fn ctl_with(&self, words: &[&str], input: &str) -> Ran {
        self.scratch.ctl_at(&self.socket(), words, input)
    }

    fn edit(&self, words: &[&str], script: &str) -> Ran {
        let editor = self.scratch.editor(script);
        self.scratch.with(&self.socket(), words, "", &[("EDITOR", &editor)])
    }

    /// Ends the controller, so that its store is free.
    fn end(mut self) -> Scratch {
        self.end.take().unwrap().send(()).unwrap();
        let served = self.served.take().unwrap();
        let ended = async { tokio::time::timeout(PATIENCE, served).await };
        self.runtime.block_on(ended).unwrap().unwrap().unwrap();
        let Self { scratch, store, controller, runtime, .. } = self;
        drop(controller);
        runtime.shutdown_timeout(PATIENCE);
        let store = Arc::into_inner(store).expect("nobody else has it any more");
        Runtime::new().unwrap().block_on(store.close()).unwrap();
        scratch
    }
}

/// Rows of a table, each with single spaces between its cells.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}
