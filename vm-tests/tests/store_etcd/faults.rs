//! Servers that die, networks that stop, members that differ.

use std::net::TcpListener;
use std::time::Duration;

use gateway_daemon::store::etcd::{EtcdSettings, EtcdStore};
use gateway_daemon::store::{Limits, Prefix, Store, StoreError, Transaction, Watch};
use tokio::time;

use crate::conformance::{PATIENCE, all, commit, key, next, numbered, put, shown, value};
use crate::proxy::Proxy;
use crate::server::Etcd;

/// Short, so that tests that wait for it end; no answer of a server that works is waited for with it.
const BRIEF: Duration = Duration::from_secs(1);

fn brief(endpoints: Vec<String>) -> EtcdSettings {
    EtcdSettings { call_timeout: BRIEF, ..Etcd::settings(endpoints) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_is_there_after_kills() {
    let mut server = Etcd::new().await;
    let mut last = 0;
    for round in 0..5_u64 {
        let store = server.connect().await;
        let writer = tokio::spawn(async move {
            let mut acknowledged = None;
            loop {
                match numbered::write_next(&store).await {
                    Ok(number) => acknowledged = Some(number),
                    Err(_) => return acknowledged,
                }
            }
        });
        let store = server.connect().await;
        let mut watch = store.watch(&Prefix::all(), store.revision().await.unwrap()).await.unwrap();
        for _ in 0..=round * 7 {
            next(&mut *watch).await;
        }
        server.kill();
        let acknowledged = writer.await.unwrap().unwrap_or(last);
        server.start().await;
        let store = server.connect().await;
        last = numbered::verify(&store).await;
        assert!(last == acknowledged || last == acknowledged + 1, "{acknowledged}: {last}");
    }
    assert!(last > 50, "only {last} transactions were written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_after_the_server_was_killed() {
    let mut server = Etcd::new().await;
    let store = server.connect().await;
    let start = store.revision().await.unwrap();
    let mut watch = store.watch(&Prefix::all(), start).await.unwrap();
    for round in 0..3 {
        let name = format!("{round}");
        put(&store, &name, "seen").await;
        assert_eq!(shown(&next(&mut *watch).await), [format!("{round}=seen")]);
        put(&store, &name, "before").await;
        let waiting = tokio::spawn(async move {
            let changes = [next(&mut *watch).await, next(&mut *watch).await];
            (watch, changes)
        });
        server.kill();
        server.start().await;
        put(&store, &name, "after").await;
        let (same, changes) = waiting.await.unwrap();
        watch = same;
        let expected = [format!("{round}=before"), format!("{round}=after")];
        assert_eq!(changes.iter().flat_map(shown).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // It listens and says nothing.
    let error = EtcdStore::connect(brief(vec![endpoint.clone()])).await.unwrap_err();
    drop(listener);
    let refused = EtcdStore::connect(brief(vec![endpoint.clone()])).await.unwrap_err();
    for error in [error, refused] {
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&endpoint) && text.contains("etcdctl"), "{text}");
    }
    for wrong in ["127.0.0.1:2379", "https://127.0.0.1:2379", "http://", "http://a b"] {
        let error = EtcdStore::connect(brief(vec![wrong.to_owned()])).await.unwrap_err();
        assert!(error.to_string().contains("http://HOST:PORT"), "{wrong}: {error}");
    }
    assert!(EtcdStore::connect(brief(Vec::new())).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_stops_ends_every_call_and_loses_nothing() {
    let server = Etcd::new().await;
    let proxy = Proxy::new(server.port()).await;
    let store = EtcdStore::connect(brief(vec![proxy.endpoint()])).await.unwrap();
    let start = commit(&store, Transaction::new().put(key("a"), value("1"))).await;
    let lease = store.grant(Duration::from_secs(3600)).await.unwrap();
    let mut watch = store.watch(&Prefix::all(), start).await.unwrap();
    put(&store, "a", "2").await;
    assert_eq!(shown(&next(&mut *watch).await), ["a=2"]);

    proxy.stop();
    let names_it = |error: StoreError| {
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(&proxy.endpoint()), "{error}");
    };
    names_it(within(store.get(&key("a"))).await);
    names_it(within(store.revision()).await);
    names_it(within(store.keep_alive(lease.id)).await);
    names_it(within(watch.next()).await);
    // Of a transaction it is said that it may have been done.
    let write = Transaction::new().put(key("a"), value("3"));
    let error = within(store.transact(write)).await;
    assert!(
        matches!(error, StoreError::Uncertain { .. } | StoreError::Unreachable { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&proxy.endpoint()), "{error}");

    // From elsewhere it goes on meanwhile.
    let other = server.connect().await;
    put(&other, "b", "1").await;
    proxy.go_on();
    let give_up = time::Instant::now() + PATIENCE;
    while let Err(error) = store.get(&key("a")).await {
        assert!(time::Instant::now() < give_up, "{error}");
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&"b=1".to_owned()) {
        match time::timeout(PATIENCE, watch.next()).await.expect("it hangs") {
            Ok(changes) => seen.extend(shown(&changes)),
            Err(error) => assert!(time::Instant::now() < give_up, "{error}"),
        }
    }
    assert!(seen == ["b=1"] || seen == ["a=3", "b=1"], "{seen:?}");
}

/// The error of a call that must end by itself.
async fn within<T>(call: impl Future<Output = Result<T, StoreError>>) -> StoreError {
    match time::timeout(PATIENCE, call).await.expect("it hangs") {
        Ok(_) => panic!("it was answered"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_endpoint_takes_over() {
    let server = Etcd::new().await;
    let proxies = [Proxy::new(server.port()).await, Proxy::new(server.port()).await];
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut endpoints = vec![format!("http://{closed}")];
    endpoints.extend(proxies.iter().map(Proxy::endpoint));
    let store = EtcdStore::connect(brief(endpoints)).await.unwrap();
    let start = put(&store, "a", "1").await;
    let mut watch = store.watch(&Prefix::all(), start).await.unwrap();
    put(&store, "a", "2").await;
    assert_eq!(shown(&next(&mut *watch).await), ["a=2"]);
    for proxy in &proxies {
        proxy.stop();
        let give_up = time::Instant::now() + PATIENCE;
        while let Err(error) = store.get(&key("a")).await {
            assert!(time::Instant::now() < give_up, "{error}");
        }
        let revision = put(&store, "a", "later").await;
        let changes = loop {
            match time::timeout(PATIENCE, watch.next()).await.expect("it hangs") {
                Ok(changes) => break changes,
                Err(error) => assert!(time::Instant::now() < give_up, "{error}"),
            }
        };
        assert_eq!(changes.revision, revision);
        proxy.go_on();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_server_come_with_a_remedy() {
    let server = Etcd::new().await;
    // This store was told more than the server was configured for.
    let limits = Limits { operations: 1000, bytes: 8 << 20 };
    let settings = EtcdSettings { limits, ..Etcd::settings(vec![server.endpoint()]) };
    let store = EtcdStore::connect(settings).await.unwrap();
    let mut many = Transaction::new();
    for number in 0..200 {
        many = many.put(key(format!("{number}")), value(""));
    }
    // Somewhat too large is refused by etcd, and far too large by its transport.
    let large = |size: usize| {
        let half = value(vec![0; size / 2]);
        Transaction::new().put(key("1"), half.clone()).put(key("2"), half)
    };
    for (transaction, remedy) in [
        (many, "--max-txn-ops"),
        (large(7 << 18), "--max-request-bytes"),
        (large(8 << 18), "--max-request-bytes"),
    ] {
        let error = store.transact(transaction).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(remedy) && text.contains(&server.endpoint()), "{text}");
    }
    assert!(all(&store, "").await.is_empty());
}

#[tokio::test]
async fn deployments_do_not_see_each_other() {
    let server = Etcd::new().await;
    let of = |name: &str| EtcdSettings {
        deployment: name.parse().unwrap(),
        ..Etcd::settings(vec![server.endpoint()])
    };
    let one = EtcdStore::connect(of("one")).await.unwrap();
    let longer = EtcdStore::connect(of("one-more")).await.unwrap();
    let start = one.revision().await.unwrap();
    let mut watch: Box<dyn Watch> = one.watch(&Prefix::all(), start).await.unwrap();
    put(&longer, "a", "1").await;
    let revision = put(&one, "b", "1").await;
    assert_eq!(all(&one, "").await, ["b=1"]);
    assert_eq!(all(&longer, "").await, ["a=1"]);
    assert_eq!(next(&mut *watch).await.revision, revision);
    assert!("one/more".parse::<gateway_daemon::store::etcd::DeploymentName>().is_err());
}
