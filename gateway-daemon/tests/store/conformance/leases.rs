//! Leases: keys go when the lease ends, and not before.

use std::sync::Arc;
use std::time::Duration;

use gateway_daemon::store::{Prefix, StoreError, Transaction};
use tokio::time::{self, MissedTickBehavior};

use super::{Engine, all, commit, key, next, put, shown, value};

/// Short, but longer than a busy machine stands still.
const SHORT: Duration = Duration::from_secs(3);

pub(crate) async fn an_ended_lease_takes_its_keys_along(engine: &mut impl Engine) {
    let store = engine.open().await;
    put(&*store, "stays", "1").await;
    let shortest = store.grant(Duration::from_millis(1)).await.unwrap();
    assert!(shortest.ttl >= Duration::from_secs(1), "{shortest:?}");
    let lease = store.grant(SHORT - Duration::from_millis(1)).await.unwrap();
    assert_eq!(lease.ttl, SHORT);
    let transaction = Transaction::new()
        .put_with_lease(key("goes/1"), value("1"), lease.id)
        .put_with_lease(key("goes/2"), value("1"), lease.id)
        .put_with_lease(key("taken off"), value("1"), lease.id);
    commit(&*store, transaction).await;
    let entry = store.get(&key("goes/1")).await.unwrap().unwrap();
    assert_eq!(entry.lease, Some(lease.id));
    // A key that is written without the lease goes with it no more.
    let revision = put(&*store, "taken off", "2").await;
    assert_eq!(store.get(&key("taken off")).await.unwrap().unwrap().lease, None);

    let mut watch = store.watch(&Prefix::all(), revision).await.unwrap();
    let changes = next(&mut *watch).await;
    assert!(changes.revision > revision);
    assert_eq!(shown(&changes), ["-goes/1", "-goes/2"]);
    assert_eq!(all(&*store, "").await, ["stays=1", "taken off=2"]);
    let error = store.keep_alive(lease.id).await.unwrap_err();
    assert!(matches!(error, StoreError::LeaseEnded { lease: named } if named == lease.id));
    let late = Transaction::new().put_with_lease(key("late"), value("1"), lease.id);
    let error = store.transact(late).await.unwrap_err();
    assert!(matches!(error, StoreError::LeaseEnded { lease: named } if named == lease.id));
}

pub(crate) async fn a_lease_that_is_kept_alive_lasts(engine: &mut impl Engine) {
    let store = engine.open().await;
    let kept = store.grant(SHORT).await.unwrap();
    let transaction = Transaction::new().put_with_lease(key("kept"), value("1"), kept.id);
    commit(&*store, transaction).await;
    let keeping = Arc::clone(&store);
    let keeper = tokio::spawn(async move {
        let mut ticks = time::interval(SHORT / 20);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            assert_eq!(keeping.keep_alive(kept.id).await.unwrap(), kept.ttl);
        }
    });
    // Two others of the same length end one after the other meanwhile.
    for name in ["first", "second"] {
        let lease = store.grant(SHORT).await.unwrap();
        let transaction = Transaction::new().put_with_lease(key(name), value("1"), lease.id);
        let revision = commit(&*store, transaction).await;
        let mut watch = store.watch(&Prefix::all(), revision).await.unwrap();
        assert_eq!(shown(&next(&mut *watch).await), [format!("-{name}")]);
    }
    assert_eq!(all(&*store, "").await, ["kept=1"]);
    assert!(!keeper.is_finished());
    keeper.abort();
    let revision = store.revision().await.unwrap();
    let mut watch = store.watch(&Prefix::all(), revision).await.unwrap();
    assert_eq!(shown(&next(&mut *watch).await), ["-kept"]);
}

pub(crate) async fn a_revoked_lease_is_over(engine: &mut impl Engine) {
    let store = engine.open().await;
    let lease = store.grant(Duration::from_secs(3600)).await.unwrap();
    let other = store.grant(Duration::from_secs(3600)).await.unwrap();
    assert_ne!(lease.id, other.id);
    let transaction = Transaction::new()
        .put_with_lease(key("a"), value("1"), lease.id)
        .put_with_lease(key("b"), value("1"), lease.id)
        .put_with_lease(key("c"), value("1"), other.id);
    let revision = commit(&*store, transaction).await;
    let mut watch = store.watch(&Prefix::all(), revision).await.unwrap();
    store.revoke(lease.id).await.unwrap();
    assert_eq!(all(&*store, "").await, ["c=1"]);
    assert_eq!(shown(&next(&mut *watch).await), ["-a", "-b"]);
    for error in
        [store.revoke(lease.id).await.unwrap_err(), store.keep_alive(lease.id).await.unwrap_err()]
    {
        assert!(matches!(error, StoreError::LeaseEnded { lease: named } if named == lease.id));
    }
    store.keep_alive(other.id).await.unwrap();
}

/// Neither does a restart end a lease whose holder could not keep it alive meanwhile, nor does it keep one for ever.
pub(crate) async fn leases_outlive_a_restart_and_end(engine: &mut impl Engine) {
    let store = engine.open().await;
    let held = store.grant(Duration::from_secs(3600)).await.unwrap();
    let left = store.grant(SHORT).await.unwrap();
    let transaction = Transaction::new()
        .put_with_lease(key("held"), value("1"), held.id)
        .put_with_lease(key("left"), value("1"), left.id);
    let revision = commit(&*store, transaction).await;
    engine.restart(vec![store]).await;

    let store = engine.open().await;
    store.keep_alive(held.id).await.unwrap();
    let mut watch = store.watch(&Prefix::all(), revision).await.unwrap();
    assert_eq!(shown(&next(&mut *watch).await), ["-left"]);
    assert_eq!(all(&*store, "").await, ["held=1"]);
}
