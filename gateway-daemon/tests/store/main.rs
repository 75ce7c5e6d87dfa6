//! The store in SQLite: what every store must do, and what a file can suffer. Needs nothing but a disk.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail where a store does not do what it expects")]

mod conformance;
mod crash;
mod damage;
mod full;
mod restore;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use conformance::scratch::Scratch;
use conformance::{Engine, PATIENCE};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use gateway_daemon::store::{Prefix, Store, StoreError};
use tokio::time;

/// A directory with one store in it.
#[derive(Debug)]
struct Sqlite {
    scratch: Scratch,
}

impl Sqlite {
    async fn new() -> Self {
        let scratch = Scratch::new();
        let path = scratch.0.join("store");
        SqliteStore::create(&path, SqliteSettings::default()).await.unwrap().close().await.unwrap();
        Self { scratch }
    }

    fn path(&self) -> PathBuf {
        self.scratch.0.join("store")
    }
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteSettings::default()).await.unwrap()
}

impl Engine for Sqlite {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(open(&self.path()).await)
    }

    /// There is no engine but what is open. Crashes are for `crash.rs`.
    async fn restart(&mut self, open: Vec<Arc<dyn Store>>) {
        drop(open);
    }
}

conformance::suite!(Sqlite::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_says_so() {
    let engine = Sqlite::new().await;
    let store = open(&engine.path()).await;
    let revision = conformance::put(&store, "a", "1").await;
    let mut watch = store.watch(&Prefix::all(), revision).await.unwrap();
    let waiting = tokio::spawn(async move {
        let error = watch.next().await.unwrap_err();
        (watch.next().await.unwrap_err(), error)
    });
    store.close().await.unwrap();
    let (first, second) = time::timeout(PATIENCE, waiting).await.expect("it hangs").unwrap();
    for error in [first, second] {
        assert!(matches!(error, StoreError::Closed { .. }), "{error}");
    }
}
