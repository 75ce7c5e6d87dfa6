//! A disk that is full, a file that may not grow, a file that another keeps locked.

use std::env;
use std::path::Path;
use std::process::Command;

use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use gateway_daemon::store::{Store, StoreError, Transaction};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use rusqlite::Connection;

use crate::conformance::{commit, key, numbered, value};
use crate::{Sqlite, open};

const CHILD: &str = "PRESENCE_STORE_FULL_CHILD";

/// Writes until it is refused for want of room; gives the number of transactions.
async fn fill(store: &dyn Store) -> u64 {
    let mut last = 0;
    loop {
        match numbered::write_next(store).await {
            Ok(number) => last = number,
            Err(error) => {
                assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
                let text = error.to_string();
                assert!(text.contains("nothing was written") && text.contains("room"), "{text}");
                return last;
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_may_not_grow_refuses() {
    let engine = Sqlite::new().await;
    let settings = SqliteSettings { most_bytes: 512 << 10 };
    let store = SqliteStore::open(&engine.path(), settings).await.unwrap();
    let last = fill(&store).await;
    assert!(last > 20, "{last}");
    assert_eq!(numbered::verify(&store).await, last);
    store.close().await.unwrap();

    let store = SqliteStore::open(&engine.path(), settings).await.unwrap();
    assert_eq!(numbered::verify(&store).await, last);
}

#[tokio::test]
async fn a_full_store_goes_on_when_it_is_compacted() {
    let engine = Sqlite::new().await;
    let settings = SqliteSettings { most_bytes: 512 << 10 };
    let store = SqliteStore::open(&engine.path(), settings).await.unwrap();
    let write = || store.transact(Transaction::new().put(key("a"), value(vec![b'x'; 10_000])));
    for _ in 0..3 {
        let mut written = 0;
        let error = loop {
            match write().await {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
        assert!(written > 20, "{written}");
        store.compact(store.revision().await.unwrap()).await.unwrap();
    }
}

/// As on a full disk or with a quota, by a limit on the size of files that this process's child gets.
#[tokio::test]
async fn a_full_disk_refuses_and_keeps_what_was_there() {
    let test = "full::a_full_disk_refuses_and_keeps_what_was_there";
    if let Some(path) = env::var_os(CHILD) {
        return fill_and_recover(Path::new(&path)).await;
    }
    let engine = Sqlite::new().await;
    // Its result line is not this process's.
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, engine.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(numbered::verify(&open(&engine.path()).await).await > 20);
}

async fn fill_and_recover(path: &Path) {
    // Otherwise the kernel ends the process that writes beyond the limit. Inherited by the store's threads.
    let mut ignored = SigSet::empty();
    ignored.add(Signal::SIGXFSZ);
    ignored.thread_block().unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 6 << 20, hard).unwrap();
    let store = open(path).await;
    let last = fill(&store).await;
    assert_eq!(fill(&store).await, 0, "it did not stay full");
    assert_eq!(numbered::verify(&store).await, last);

    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    assert_eq!(numbered::write_next(&store).await.unwrap(), last + 1);
    assert_eq!(numbered::verify(&store).await, last + 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_another_keeps_locked_is_named() {
    let engine = Sqlite::new().await;
    let store = open(&engine.path()).await;
    let other = Connection::open(engine.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.transact(Transaction::new().put(key("a"), value("1"))).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    assert_eq!(store.get(&key("a")).await.unwrap(), None);
    other.execute_batch("ROLLBACK").unwrap();
    commit(&store, Transaction::new().put(key("a"), value("1"))).await;
}
