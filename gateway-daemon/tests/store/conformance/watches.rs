//! Watches: every change once, in order, whole, or an error that says where to go on.

use std::sync::Arc;
use std::time::Duration;

use gateway_daemon::store::{Prefix, Revision, StoreError, Transaction, Watch};
use tokio::task::JoinSet;
use tokio::time;

use super::{Engine, PATIENCE, commit, key, next, prefix, put, shown, value};

pub(crate) async fn each_transaction_comes_once_and_whole(engine: &mut impl Engine) {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    let store = engine.open().await;
    let start = store.revision().await.unwrap();
    let mut watch = store.watch(&Prefix::all(), start).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut done = Vec::new();
            for round in 0..EACH {
                let mut transaction = Transaction::new();
                for part in 0..5 {
                    let content = value(round.to_string());
                    transaction = transaction.put(key(format!("{writer}/{part}")), content);
                }
                let revision = commit(&*store, transaction).await;
                let parts = (0..5).map(|part| format!("{writer}/{part}={round}"));
                done.push((revision, parts.collect::<Vec<_>>()));
            }
            done
        });
    }
    let mut seen = Vec::new();
    while seen.len() < WRITERS * EACH {
        let changes = next(&mut *watch).await;
        seen.push((changes.revision, shown(&changes)));
    }
    let mut expected: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    expected.sort();
    assert_eq!(seen, expected);

    // Watched again from the middle, the rest is the same.
    let middle = seen.len() / 2;
    let mut again = store.watch(&Prefix::all(), seen[middle].0).await.unwrap();
    for (revision, parts) in &seen[middle + 1..] {
        let changes = next(&mut *again).await;
        assert_eq!((changes.revision, &shown(&changes)), (*revision, parts));
    }
}

pub(crate) async fn only_the_prefix_is_seen(engine: &mut impl Engine) {
    let store = engine.open().await;
    let start = store.revision().await.unwrap();
    let mut watch = store.watch(&prefix("a/"), start).await.unwrap();
    put(&*store, "a", "not it").await;
    put(&*store, "a0", "nor it").await;
    let both = Transaction::new().put(key("a/1"), value("it")).put(key("b/1"), value("not it"));
    let first = commit(&*store, both).await;
    put(&*store, "b/1", "not it").await;
    let gone = Transaction::new().delete(key("a/1")).delete(key("b/1")).delete(key("a/2"));
    let second = commit(&*store, gone).await;
    let third = put(&*store, "a/\u{ff}", "it").await;

    for (revision, expected) in [(first, "a/1=it"), (second, "-a/1"), (third, r"a/\xc3\xbf=it")] {
        let changes = next(&mut *watch).await;
        assert_eq!((changes.revision, shown(&changes)), (revision, vec![expected.to_owned()]));
    }
}

pub(crate) async fn the_past_and_the_future_can_be_watched(engine: &mut impl Engine) {
    let store = engine.open().await;
    let first = put(&*store, "a", "1").await;
    let second = put(&*store, "a", "2").await;
    let mut from_first = store.watch(&Prefix::all(), first).await.unwrap();
    let changes = next(&mut *from_first).await;
    assert_eq!((changes.revision, shown(&changes)), (second, vec!["a=2".to_owned()]));
    let mut from_start = store.watch(&Prefix::all(), Revision::new(0)).await.unwrap();
    assert_eq!(next(&mut *from_start).await.revision, first);
    assert_eq!(next(&mut *from_start).await.revision, second);

    let ahead = Revision::new(second.number() + 3);
    let mut from_ahead = store.watch(&Prefix::all(), ahead).await.unwrap();
    // It is waiting already when they are made.
    let waiting = tokio::spawn(async move { next(&mut *from_ahead).await });
    let mut last = second;
    while last <= ahead {
        last = put(&*store, "a", "later").await;
    }
    assert_eq!(waiting.await.unwrap().revision, last);
}

pub(crate) async fn what_was_compacted_is_an_error_that_says_where_to_go_on(
    engine: &mut impl Engine,
) {
    let store = engine.open().await;
    let first = put(&*store, "a", "1").await;
    let second = put(&*store, "b", "1").await;
    // A deletion is what compaction removes altogether.
    let third = commit(&*store, Transaction::new().delete(key("a"))).await;
    let fourth = put(&*store, "b", "2").await;
    store.compact(third).await.unwrap();
    store.compact(third).await.unwrap();
    store.compact(first).await.unwrap();

    for after in [first, second] {
        let mut watch = store.watch(&Prefix::all(), after).await.unwrap();
        let waited = time::timeout(PATIENCE, watch.next()).await.unwrap();
        let error = waited.unwrap_err();
        let text = error.to_string();
        let StoreError::Compacted { asked, kept } = error else { panic!("{error}") };
        assert_eq!((asked, kept), (after, third));
        assert!(text.contains("list the entries anew"), "{text}");
        let mut watch = store.watch(&Prefix::all(), kept).await.unwrap();
        assert_eq!(next(&mut *watch).await.revision, fourth);
    }

    let future = Revision::new(fourth.number() + 1);
    let error = store.compact(future).await.unwrap_err();
    let StoreError::Future { asked, now } = error else { panic!("{error}") };
    assert_eq!((asked, now), (future, fourth));
    assert_eq!(super::all(&*store, "").await, ["b=2"]);
}

pub(crate) async fn a_slow_reader_misses_nothing_unseen(engine: &mut impl Engine) {
    const MANY: usize = 40;
    let store = engine.open().await;
    let start = store.revision().await.unwrap();
    let mut watch = store.watch(&Prefix::all(), start).await.unwrap();
    let mut revisions = Vec::new();
    let large = value(vec![b'x'; 256 << 10]);
    for number in 0..MANY {
        let transaction = Transaction::new().put(key(format!("{}", number % 5)), large.clone());
        revisions.push(commit(&*store, transaction).await);
        if number == 0 {
            assert_eq!(next(&mut *watch).await.revision, revisions[0]);
        }
    }
    let last = revisions[MANY - 1];
    store.compact(last).await.unwrap();
    // What was on its way still comes, without a gap; then it says that the rest is lost.
    let mut expected = revisions[1..].iter();
    loop {
        match time::timeout(PATIENCE, watch.next()).await.expect("it hangs") {
            Ok(changes) => assert_eq!(Some(&changes.revision), expected.next()),
            Err(StoreError::Compacted { kept, .. }) => {
                assert_eq!(kept, last);
                break;
            }
            Err(error) => panic!("{error}"),
        }
        if expected.len() == 0 {
            break;
        }
    }
    // Either way the state and all that follows can be had.
    let page = store.list(&Prefix::all(), super::limit(5), None).await.unwrap();
    let mut watch = store.watch(&Prefix::all(), page.revision).await.unwrap();
    let following = put(&*store, "0", "small").await;
    assert_eq!(next(&mut *watch).await.revision, following);
}

pub(crate) async fn a_dropped_wait_loses_nothing(engine: &mut impl Engine) {
    const MANY: u32 = 200;
    let store = engine.open().await;
    let start = store.revision().await.unwrap();
    let mut watch: Box<dyn Watch> = store.watch(&Prefix::all(), start).await.unwrap();
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for number in 0..MANY {
            put(&*writing, "a", &number.to_string()).await;
        }
    });
    let mut expected = 0;
    let give_up = time::Instant::now() + PATIENCE;
    while expected < MANY {
        assert!(time::Instant::now() < give_up, "only {expected} came");
        // Dropped at many different moments.
        let patience = Duration::from_micros(u64::from(expected % 50) * 20 + 1);
        if let Ok(changes) = time::timeout(patience, watch.next()).await {
            assert_eq!(shown(&changes.unwrap()), [format!("a={expected}")]);
            expected += 1;
        } else {
            let changes = next(&mut *watch).await;
            assert_eq!(shown(&changes), [format!("a={expected}")]);
            expected += 1;
        }
    }
    writer.await.unwrap();
}
