//! Backup and restore.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway_daemon::store::sqlite::{FileError, SqliteSettings, SqliteStore, restore};
use gateway_daemon::store::{Prefix, Store, StoreError, Transaction};

use crate::conformance::{all, commit, key, next, numbered, put, shown, value};
use crate::{Sqlite, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_during_writes_is_of_one_moment() {
    let engine = Sqlite::new().await;
    let store = Arc::new(open(&engine.path()).await);
    for _ in 0..50 {
        numbered::write_next(&*store).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (writing, ends) = (Arc::clone(&store), Arc::clone(&stop));
    let writer = tokio::spawn(async move {
        while !ends.load(Ordering::Relaxed) {
            numbered::write_next(&*writing).await.unwrap();
        }
    });
    let mut last = 0;
    for number in 0..5 {
        let backup = engine.scratch.0.join(format!("backup-{number}"));
        let before = store.revision().await.unwrap();
        let of = store.backup(&backup).await.unwrap();
        assert!(before <= of && of <= store.revision().await.unwrap());
        let to = engine.scratch.0.join(format!("restored-{number}"));
        let restored = restore(&backup, &to).unwrap();
        assert_eq!((restored.of, &restored.replaced), (of, &None));
        let copy = open(&to).await;
        let found = numbered::verify(&copy).await;
        assert!(found >= last.max(50), "{found}");
        last = found;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

#[tokio::test]
async fn a_restored_store_gives_out_nothing_twice() {
    let engine = Sqlite::new().await;
    let store = open(&engine.path()).await;
    let lease = store.grant(Duration::from_secs(3)).await.unwrap();
    let transaction = Transaction::new().put(key("kept"), value("1")).put_with_lease(
        key("leased"),
        value("1"),
        lease.id,
    );
    commit(&store, transaction).await;
    let backup = engine.scratch.0.join("backup");
    let of = store.backup(&backup).await.unwrap();
    let lost = put(&store, "lost", "1").await;

    let error = restore(&backup, &engine.path()).unwrap_err();
    assert!(matches!(error, StoreError::File(FileError::InUse { .. })), "{error}");
    assert!(error.to_string().contains("stop it"), "{error}");
    store.close().await.unwrap();

    // The file is damaged, and what is left of it is kept.
    fs::write(engine.path(), "damaged").unwrap();
    let restored = restore(&backup, &engine.path()).unwrap();
    assert_eq!(restored.of, of);
    assert!(restored.revision > lost);
    assert_eq!(fs::read(restored.replaced.unwrap()).unwrap(), b"damaged");

    let store = open(&engine.path()).await;
    assert_eq!(all(&store, "k").await, ["kept=1"]);
    assert_eq!(store.revision().await.unwrap(), restored.revision);
    // Who watched the store that is lost has to begin anew.
    for after in [of, lost] {
        let mut watch = store.watch(&Prefix::all(), after).await.unwrap();
        let error = watch.next().await.unwrap_err();
        assert!(matches!(error, StoreError::Compacted { .. }), "{error}");
    }
    // The leases begin anew, and end if nobody keeps them alive.
    let mut watch = store.watch(&Prefix::all(), restored.revision).await.unwrap();
    assert_eq!(shown(&next(&mut *watch).await), ["-leased"]);
    assert!(put(&store, "lost", "2").await > restored.revision);
}

#[tokio::test]
async fn what_is_no_backup_is_not_restored_and_a_backup_is_not_opened() {
    let engine = Sqlite::new().await;
    let store = open(&engine.path()).await;
    put(&store, "a", "1").await;
    let backup = engine.scratch.0.join("backup");
    store.backup(&backup).await.unwrap();
    let error = store.backup(&backup).await.unwrap_err();
    assert!(matches!(error, StoreError::File(FileError::Exists { .. })), "{error}");
    store.close().await.unwrap();

    let opened = SqliteStore::open(&backup, SqliteSettings::default()).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, StoreError::File(FileError::IsBackup { .. })), "{error}");
    let to = engine.scratch.0.join("elsewhere");
    let error = restore(&engine.path(), &to).unwrap_err();
    assert!(matches!(error, StoreError::File(FileError::NoBackup { .. })), "{error}");

    // A backup that is damaged does not take the place of anything.
    let whole = fs::read(&backup).unwrap();
    fs::write(&backup, &whole[..whole.len() - 4096]).unwrap();
    let before = fs::read(engine.path()).unwrap();
    let error = restore(&backup, &engine.path()).unwrap_err();
    assert!(matches!(error, StoreError::File(FileError::Corrupt { .. })), "{error}");
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(fs::read(engine.path()).unwrap(), before);
    assert_eq!(all(&open(&engine.path()).await, "").await, ["a=1"]);
    assert!(!to.exists());
}

/// Each opening takes less time than the lease has, and gives it that time once only.
#[tokio::test]
async fn openings_do_not_keep_a_lease_for_ever() {
    let engine = Sqlite::new().await;
    let store = open(&engine.path()).await;
    let lease = store.grant(Duration::from_secs(3)).await.unwrap();
    commit(&store, Transaction::new().put_with_lease(key("a"), value("1"), lease.id)).await;
    store.close().await.unwrap();
    let patience = std::time::Instant::now() + crate::conformance::PATIENCE;
    loop {
        let store = open(&engine.path()).await;
        let is_gone = store.get(&key("a")).await.unwrap().is_none();
        store.close().await.unwrap();
        if is_gone {
            break;
        }
        assert!(std::time::Instant::now() < patience, "it is still there");
    }
}
