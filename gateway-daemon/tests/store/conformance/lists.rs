//! Lists, page by page, and what keys and values may be.

use std::sync::Arc;

use gateway_daemon::store::{Key, Prefix, Revision, Store, StoreError, Transaction, Value};

use super::{Engine, all, commit, key, limit, next, prefix, put, show, value};

pub(crate) async fn pages_are_of_one_revision(engine: &mut impl Engine) {
    let store = engine.open().await;
    for number in 0..4 {
        let mut some = Transaction::new();
        for key_number in 0..64 {
            some = some.put(key(format!("k/{:03}", number * 64 + key_number)), value("old"));
        }
        commit(&*store, some).await;
    }
    let expected = all(&*store, "k/").await;
    assert_eq!(expected.len(), 256);

    let mut page = store.list(&prefix("k/"), limit(7), None).await.unwrap();
    let revision = page.revision;
    // From here on writes go on, between and during the pages: changes, deletions and new keys.
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for number in (0..256).rev() {
            let old = key(format!("k/{number:03}"));
            let change = Transaction::new().put(key(format!("k/{number:03}+")), value("new"));
            let change = match number % 2 {
                0 => change.delete(old),
                _ => change.put(old, value("new")),
            };
            commit(&*writing, change).await;
        }
    });
    let mut found = Vec::new();
    loop {
        assert_eq!(page.revision, revision);
        found.extend(page.entries.iter().map(show));
        let Some(cursor) = page.next else { break };
        assert_eq!(page.entries.len(), 7);
        put(&*store, "elsewhere", "so that no page is of the present").await;
        page = store.list(&prefix("k/"), limit(7), Some(&cursor)).await.unwrap();
    }
    assert_eq!(found, expected);
    writer.await.unwrap();
    assert_eq!(all(&*store, "k/").await.len(), 256 + 128);
}

pub(crate) async fn a_compacted_list_is_refused(engine: &mut impl Engine) {
    let store = engine.open().await;
    for name in ["a", "b", "c"] {
        put(&*store, name, "1").await;
    }
    let page = store.list(&Prefix::all(), limit(1), None).await.unwrap();
    let cursor = page.next.unwrap();
    store.compact(page.revision).await.unwrap();
    let second = store.list(&Prefix::all(), limit(1), Some(&cursor)).await.unwrap();
    assert_eq!(second.entries[0].key, key("b"));

    for content in ["1", "2", "3"] {
        put(&*store, "gone", content).await;
    }
    commit(&*store, Transaction::new().delete(key("gone"))).await;
    let now = put(&*store, "b", "2").await;
    store.compact(now).await.unwrap();
    assert_eq!(store.get(&key("gone")).await.unwrap(), None);
    let error = store.list(&Prefix::all(), limit(1), Some(&cursor)).await.unwrap_err();
    let StoreError::Compacted { asked, kept } = error else { panic!("{error}") };
    assert_eq!((asked, kept), (page.revision, now));
    let text = StoreError::Compacted { asked, kept }.to_string();
    assert!(text.contains("list the entries anew"), "{text}");
    assert_eq!(all(&*store, "").await, ["a=1", "b=2", "c=1"]);
}

pub(crate) async fn prefixes_end_where_others_begin(engine: &mut impl Engine) {
    let store = engine.open().await;
    let names: [&[u8]; 7] = [b"a", b"a/", b"a/b", b"a/\xff", b"a/\xff\xff", b"a0", b"\xff\xff"];
    for name in names {
        commit(&*store, Transaction::new().put(key(name), value("x"))).await;
    }
    let cases: [(&[u8], &[&[u8]]); 6] = [
        (b"", &names),
        (b"a/", &names[1..5]),
        (b"a/\xff", &names[3..5]),
        (b"a", &names[..6]),
        (b"\xff", &names[6..]),
        (b"b", &[]),
    ];
    for (with, expected) in cases {
        let page = store.list(&prefix(with), limit(100), None).await.unwrap();
        let found: Vec<&[u8]> = page.entries.iter().map(|entry| entry.key.as_bytes()).collect();
        assert_eq!(found, expected, "{}", with.escape_ascii());
        assert_eq!(page.next, None);
    }
}

pub(crate) async fn odd_keys_and_values_come_back(engine: &mut impl Engine) {
    let store = engine.open().await;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let keys = [
        vec![0],
        vec![0, 0],
        b"' OR 1=1; --".to_vec(),
        "Größe/名前".as_bytes().to_vec(),
        every_byte.clone(),
        vec![0xff],
        vec![0xff; Key::MAX_LEN],
    ];
    let values = [
        vec![],
        vec![0],
        every_byte,
        b"NULL".to_vec(),
        vec![0xff; 1000],
        vec![b'x'; Value::MAX_LEN],
        vec![0; Value::MAX_LEN],
    ];
    for (one, content) in keys.iter().zip(&values) {
        commit(&*store, Transaction::new().put(key(one), value(content))).await;
    }
    for (one, content) in keys.iter().zip(&values) {
        let entry = store.get(&key(one)).await.unwrap().unwrap();
        assert_eq!(entry.value, value(content));
    }
    let mut ordered = keys.to_vec();
    ordered.sort();
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list(&Prefix::all(), limit(2), cursor.as_ref()).await.unwrap();
        found.extend(page.entries.into_iter().map(|entry| entry.key.as_bytes().to_vec()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, ordered);
}

/// More than any store reads at once, so that the caller need not know how large its values are.
pub(crate) async fn pages_of_large_values_come_in_parts(engine: &mut impl Engine) {
    const MANY: usize = 36;
    let store: Arc<dyn Store> = engine.open().await;
    for number in 0..MANY {
        let content = vec![u8::try_from(number).unwrap(); Value::MAX_LEN];
        commit(&*store, Transaction::new().put(key(format!("{number:02}")), value(content))).await;
    }
    let (mut count, mut pages, mut cursor) = (0, 0, None);
    loop {
        let page = store.list(&Prefix::all(), limit(MANY), cursor.as_ref()).await.unwrap();
        assert!(!page.entries.is_empty());
        for entry in &page.entries {
            assert_eq!(entry.value.as_bytes()[0], u8::try_from(count).unwrap());
            count += 1;
        }
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(count, MANY);
    assert!(pages > 1);

    let mut watch = store.watch(&Prefix::all(), Revision::new(0)).await.unwrap();
    for number in 0..MANY {
        let changes = next(&mut *watch).await;
        assert_eq!(changes.changes.len(), 1);
        assert_eq!(*changes.changes[0].key(), key(format!("{number:02}")));
    }
}
