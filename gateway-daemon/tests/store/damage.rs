//! Files that are no whole store: refused, with what to do.

use std::fs;
use std::path::{Path, PathBuf};

use gateway_daemon::store::sqlite::{FileError, SqliteSettings, SqliteStore};
use gateway_daemon::store::{Prefix, Revision, Store, StoreError, Transaction};
use rusqlite::Connection;

use crate::conformance::scratch::Scratch;
use crate::conformance::{all, commit, key, next, put, value};
use crate::open;

async fn refusal(path: &Path) -> StoreError {
    match SqliteStore::open(path, SqliteSettings::default()).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// Says what to do, and about which file.
fn is_helpful(error: &StoreError, path: &Path) {
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains("restore"), "{text}");
}

/// A store with some of everything in it: history, deletions, large values, a lease.
async fn filled(directory: &Path) -> (PathBuf, Vec<String>) {
    let path = directory.join("store");
    let store = SqliteStore::create(&path, SqliteSettings::default()).await.unwrap();
    let lease = store.grant(std::time::Duration::from_secs(3600)).await.unwrap();
    for number in 0..30 {
        put(&store, &format!("k/{}", number % 7), &number.to_string()).await;
    }
    let transaction = Transaction::new()
        .delete(key("k/3"))
        .put_with_lease(key("leased"), value("1"), lease.id)
        .put(key("large"), value(vec![b'x'; 20_000]));
    commit(&store, transaction).await;
    let content = content(&store).await;
    store.close().await.unwrap();
    (path, content)
}

/// All that can be read of a store, with its history.
async fn content(store: &dyn Store) -> Vec<String> {
    let mut content = all(store, "").await;
    let last = store.revision().await.unwrap();
    let mut watch = store.watch(&Prefix::all(), Revision::new(0)).await.unwrap();
    loop {
        let changes = next(&mut *watch).await;
        content.push(format!("{changes:?}"));
        if changes.revision == last {
            return content;
        }
    }
}

#[tokio::test]
async fn a_missing_or_empty_file_is_not_taken_for_an_empty_store() {
    let scratch = Scratch::new();
    let path = scratch.0.join("store");
    let error = refusal(&path).await;
    assert!(matches!(error, StoreError::File(FileError::Missing { .. })), "{error}");
    is_helpful(&error, &path);
    fs::write(&path, "").unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, StoreError::File(FileError::Corrupt { .. })), "{error}");
    is_helpful(&error, &path);
    let created = SqliteStore::create(&path, SqliteSettings::default()).await;
    assert!(matches!(created.unwrap_err(), StoreError::File(FileError::Exists { .. })));
}

#[tokio::test]
async fn foreign_files_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.0.join("store");
    fs::write(&path, "[gateway]\nname = \"edge-a\"\n".repeat(1000)).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, StoreError::File(FileError::Foreign { .. })), "{error}");
    is_helpful(&error, &path);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("[gateway]"), "it was written to");

    let other = scratch.0.join("other");
    let database = Connection::open(&other).unwrap();
    database.execute_batch("CREATE TABLE t (a)").unwrap();
    database.close().unwrap();
    let error = refusal(&other).await;
    assert!(matches!(error, StoreError::File(FileError::Foreign { .. })), "{error}");
    is_helpful(&error, &other);
}

#[tokio::test]
async fn a_later_layout_is_refused() {
    let scratch = Scratch::new();
    let (path, _) = filled(&scratch.0).await;
    let database = Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 2).unwrap();
    database.close().unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, StoreError::File(FileError::Newer { found: 2, .. })), "{error}");
    is_helpful(&error, &path);
}

#[tokio::test]
async fn a_table_that_was_changed_by_hand_is_refused() {
    let scratch = Scratch::new();
    for change in [
        "DROP INDEX changes_by_key",
        "UPDATE changes SET value = x'00' WHERE revision = 5",
        "UPDATE changes SET revision = 500 WHERE revision = 5",
        "UPDATE state SET revision = 3",
        "DELETE FROM state",
        "UPDATE leases SET ttl = 1",
    ] {
        let (path, _) = filled(&scratch.0).await;
        let database = Connection::open(&path).unwrap();
        database.execute_batch(change).unwrap();
        database.close().unwrap();
        let error = refusal(&path).await;
        assert!(matches!(error, StoreError::File(FileError::Corrupt { .. })), "{change}: {error}");
        is_helpful(&error, &path);
        fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn truncated_files_are_refused() {
    let scratch = Scratch::new();
    let (path, _) = filled(&scratch.0).await;
    let whole = fs::read(&path).unwrap();
    for length in
        [1, 50, 100, 4095, 4096, 4097, whole.len() / 2, whole.len() - 4096, whole.len() - 1]
    {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refusal(&path).await;
        assert!(matches!(error, StoreError::File(_)), "{length}: {error}");
        is_helpful(&error, &path);
    }
}

/// Wherever octets are changed: the store is refused, or what changed is of no account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_refused_or_of_no_account() {
    let scratch = Scratch::new();
    let (path, expected) = filled(&scratch.0).await;
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut places) = (0, 0);
    // A step that is prime to the sizes in the file; the header octet by octet.
    for place in (0..100).chain((100..whole.len()).step_by(211)) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x55;
        fs::write(&path, &damaged).unwrap();
        places += 1;
        match SqliteStore::open(&path, SqliteSettings::default()).await {
            Err(_) => refused += 1,
            Ok(store) => {
                assert_eq!(content(&store).await, expected, "octet {place}");
                store.close().await.unwrap();
            }
        }
    }
    // Much of a small file is room that is not used yet.
    assert!(refused * 4 > places, "{refused} of {places} refused");
}

/// What happens to the file of a store that is open shows as soon as it is read.
#[tokio::test]
async fn damage_under_an_open_store_is_reported_not_served() {
    let scratch = Scratch::new();
    let (path, _) = filled(&scratch.0).await;
    let store = open(&path).await;
    let database = Connection::open(&path).unwrap();
    database.execute_batch("UPDATE changes SET value = x'00' WHERE key = x'6b2f31'").unwrap();
    let error = store.get(&key("k/1")).await.unwrap_err();
    assert!(matches!(error, StoreError::File(FileError::Corrupt { .. })), "{error}");
    is_helpful(&error, &path);
    let write = Transaction::new().put(key("k/1"), value("new"));
    let error = store.transact(write).await.unwrap_err();
    assert!(matches!(error, StoreError::File(FileError::Corrupt { .. })), "{error}");
    assert!(store.get(&key("k/2")).await.unwrap().is_some());
}
