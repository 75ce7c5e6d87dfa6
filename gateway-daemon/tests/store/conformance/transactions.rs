//! Transactions and their revisions.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_daemon::store::{
    Condition, Conflict, LeaseId, Outcome, Revision, StoreError, Transaction,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Engine, all, commit, key, put, value};

pub(crate) async fn revisions_grow_and_none_is_used_twice(engine: &mut impl Engine) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let store = engine.open().await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut revisions = Vec::new();
            for round in 0..EACH {
                let name = format!("{writer}/{}", round % 3);
                let revision = put(&*store, &name, &round.to_string()).await;
                let entry = store.get(&key(&name)).await.unwrap().unwrap();
                assert_eq!(entry.modified, revision);
                assert_eq!(entry.value, value(round.to_string()));
                revisions.push(revision);
            }
            assert!(revisions.is_sorted(), "{revisions:?}");
            revisions
        });
    }
    let all: Vec<Revision> = writers.join_all().await.into_iter().flatten().collect();
    let unique: BTreeSet<Revision> = all.iter().copied().collect();
    assert_eq!(unique.len(), WRITERS * EACH);
    assert_eq!(store.revision().await.unwrap(), *unique.last().unwrap());

    // An entry knows when it was made, and a deletion ends that.
    let first = put(&*store, "made", "once").await;
    let second = put(&*store, "made", "twice").await;
    let entry = store.get(&key("made")).await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified), (first, second));
    commit(&*store, Transaction::new().delete(key("made"))).await;
    assert_eq!(store.get(&key("made")).await.unwrap(), None);
    let third = put(&*store, "made", "again").await;
    let entry = store.get(&key("made")).await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified), (third, third));

    // What changes nothing takes no revision.
    let nothing = Transaction::new().delete(key("never there"));
    assert_eq!(commit(&*store, nothing).await, third);
    assert_eq!(commit(&*store, Transaction::new()).await, third);
    assert_eq!(store.revision().await.unwrap(), third);
}

pub(crate) async fn of_sixteen_that_race_one_wins(engine: &mut impl Engine) {
    const RACERS: usize = 16;
    let store = engine.open().await;
    let mut condition = Condition::Absent;
    for round in 0..10 {
        let start = Arc::new(Barrier::new(RACERS));
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, start) = (Arc::clone(&store), Arc::clone(&start));
            racers.spawn(async move {
                let transaction = Transaction::new()
                    .when(key("prize"), condition)
                    .put(key("prize"), value(format!("{round} {racer}")));
                start.wait().await;
                (racer, store.transact(transaction).await.unwrap())
            });
        }
        let outcomes = racers.join_all().await;
        let mut winners = outcomes.iter().filter_map(|(racer, outcome)| match outcome {
            Outcome::Committed(revision) => Some((*racer, *revision)),
            Outcome::Conflict(_) => None,
        });
        let (winner, revision) = winners.next().expect("nobody won");
        assert_eq!(winners.next(), None, "more than one won");
        for (racer, outcome) in &outcomes {
            if *racer != winner {
                let lost = Conflict { key: key("prize"), condition, found: Some(revision) };
                assert_eq!(*outcome, Outcome::Conflict(lost));
            }
        }
        let entry = store.get(&key("prize")).await.unwrap().unwrap();
        assert_eq!(entry.value, value(format!("{round} {winner}")));
        condition = Condition::from(&entry);
        assert_eq!(condition, Condition::Unchanged(revision));
    }
}

pub(crate) async fn all_or_nothing(engine: &mut impl Engine) {
    let store = engine.open().await;
    let transaction = Transaction::new()
        .when(key("a"), Condition::Absent)
        .put(key("a"), value("1"))
        .put(key("b"), value("1"))
        .delete(key("c"));
    let first = commit(&*store, transaction).await;
    for name in ["a", "b"] {
        assert_eq!(store.get(&key(name)).await.unwrap().unwrap().modified, first);
    }

    let change = Transaction::new().put(key("a"), value("2")).delete(key("b"));
    let cases = [
        (key("b"), Condition::Absent, Some(first)),
        (key("c"), Condition::Present, None),
        (key("c"), Condition::Unchanged(first), None),
        (key("a"), Condition::Unchanged(Revision::new(first.number() + 1)), Some(first)),
    ];
    for (failing, condition, found) in cases {
        let transaction = change
            .clone()
            .when(key("a"), Condition::Present)
            .when(failing.clone(), condition)
            .when(key("b"), Condition::Unchanged(first));
        let conflict = Conflict { key: failing, condition, found };
        assert_eq!(store.transact(transaction).await.unwrap(), Outcome::Conflict(conflict));
    }
    assert_eq!(all(&*store, "").await, ["a=1", "b=1"]);

    let lease = LeaseId::new(0x1234_u64.try_into().unwrap());
    let transaction = change.clone().put_with_lease(key("d"), value("3"), lease);
    let error = store.transact(transaction).await.unwrap_err();
    assert!(matches!(error, StoreError::LeaseEnded { lease: named } if named == lease), "{error}");
    assert_eq!(all(&*store, "").await, ["a=1", "b=1"]);
    assert_eq!(store.revision().await.unwrap(), first);

    commit(&*store, change).await;
    assert_eq!(all(&*store, "").await, ["a=2"]);
}

pub(crate) async fn too_large_ones_are_refused(engine: &mut impl Engine) {
    let store = engine.open().await;
    let limits = store.limits();
    let mut many = Transaction::new();
    for number in 0..limits.operations {
        many = many.put(key(format!("{number:06}")), value(""));
    }
    let revision = commit(&*store, many.clone()).await;
    let error = store.transact(many.delete(key("one more"))).await.unwrap_err();
    assert!(matches!(error, StoreError::TooManyOperations { .. }), "{error}");

    let mut conditions = Transaction::new();
    for number in 0..limits.operations {
        conditions = conditions.when(key(format!("{number:06}")), Condition::Present);
    }
    assert_eq!(commit(&*store, conditions.clone()).await, revision);
    let failing = conditions.clone().delete(key("000000"));
    let error = store.transact(failing.when(key("one more"), Condition::Absent)).await.unwrap_err();
    assert!(matches!(error, StoreError::TooManyOperations { .. }), "{error}");

    let mut large = Transaction::new();
    for number in 0..=limits.bytes >> 20 {
        large = large.put(key(format!("large {number}")), value(vec![0; 1 << 20]));
    }
    let error = store.transact(large).await.unwrap_err();
    assert!(matches!(error, StoreError::TooManyBytes { .. }), "{error}");
    assert_eq!(store.revision().await.unwrap(), revision);
}
