//! Several handles on one store, as several processes have, one after the other or at once.

use std::sync::Arc;
use std::time::Duration;

use gateway_daemon::store::{Condition, Outcome, Prefix, Transaction};
use tokio::task::JoinSet;

use super::{Engine, all, commit, key, next, put, shown, value};

pub(crate) async fn handles_see_each_other(engine: &mut impl Engine) {
    const EACH: usize = 20;
    let (one, other) = (engine.open().await, engine.open().await);
    let start = other.revision().await.unwrap();
    let mut watch = other.watch(&Prefix::all(), start).await.unwrap();
    let revision = put(&*one, "a", "1").await;
    assert_eq!(other.get(&key("a")).await.unwrap().unwrap().modified, revision);
    assert_eq!(next(&mut *watch).await.revision, revision);

    // Both count up the same number; no step is lost and none is done twice.
    let mut writers = JoinSet::new();
    for store in [Arc::clone(&one), Arc::clone(&other)] {
        writers.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let entry = store.get(&key("a")).await.unwrap().unwrap();
                let text = String::from_utf8(entry.value.as_bytes().to_vec()).unwrap();
                let number = text.parse::<usize>().unwrap();
                let step = Transaction::new()
                    .when(key("a"), Condition::from(&entry))
                    .put(key("a"), value((number + 1).to_string()));
                if let Outcome::Committed(_) = store.transact(step).await.unwrap() {
                    done += 1;
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(all(&*one, "").await, [format!("a={}", 1 + 2 * EACH)]);
    for number in 2..=1 + 2 * EACH {
        assert_eq!(shown(&next(&mut *watch).await), [format!("a={number}")]);
    }

    // A lease ends also when the handle that granted it is gone.
    let lease = one.grant(Duration::from_secs(3)).await.unwrap();
    commit(&*one, Transaction::new().put_with_lease(key("b"), value("1"), lease.id)).await;
    drop(one);
    assert_eq!(shown(&next(&mut *watch).await), ["b=1"]);
    assert_eq!(shown(&next(&mut *watch).await), ["-b"]);
}

pub(crate) async fn what_was_written_outlives_a_restart(engine: &mut impl Engine) {
    let store = engine.open().await;
    let first = put(&*store, "a", "1").await;
    put(&*store, "b", "1").await;
    let third = commit(&*store, Transaction::new().delete(key("b"))).await;
    engine.restart(vec![store]).await;

    let store = engine.open().await;
    assert_eq!(all(&*store, "").await, ["a=1"]);
    assert_eq!(store.revision().await.unwrap(), third);
    let mut watch = store.watch(&Prefix::all(), first).await.unwrap();
    assert_eq!(shown(&next(&mut *watch).await), ["b=1"]);
    assert_eq!(shown(&next(&mut *watch).await), ["-b"]);
    assert!(put(&*store, "b", "2").await > third);
    assert_eq!(shown(&next(&mut *watch).await), ["b=2"]);
}
