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

use conformance::Engine;
use conformance::scratch::Scratch;
use gateway_daemon::store::Store;
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};

/// A directory with one store in it.
#[derive(Debug)]
struct Sqlite {
    scratch: Scratch,
}

impl Sqlite {
    async fn new() -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("store");
        SqliteStore::create(&path, SqliteSettings::default()).await.unwrap().close().await.unwrap();
        Self { scratch }
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("store")
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
