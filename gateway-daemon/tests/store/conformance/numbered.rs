//! Numbered transactions, of which it can be seen afterwards whether all are there and none by half.

use gateway_daemon::store::{Condition, Key, Outcome, Store, StoreError, Transaction};

use super::{key, limit, prefix, value};

/// Keys that each transaction writes besides the counter.
const PARTS: usize = 3;

fn counter() -> Key {
    key("counter")
}

/// Writes the transaction with the next number, whatever came before; gives the number.
pub(crate) async fn write_next(store: &dyn Store) -> Result<u64, StoreError> {
    let last = store.get(&counter()).await?;
    let (number, condition) = match &last {
        None => (1, Condition::Absent),
        Some(entry) => (number(entry.value.as_bytes()) + 1, Condition::from(entry)),
    };
    let text = value(number.to_string());
    let mut transaction = Transaction::new().when(counter(), condition).put(counter(), text);
    for part in 0..PARTS {
        // Of many sizes, so that pages fill and divide.
        let size = usize::try_from(number % 40).unwrap() * 100;
        transaction = transaction.put(name(number, part), value(vec![b'x'; size]));
    }
    match store.transact(transaction).await? {
        Outcome::Committed(_) => Ok(number),
        Outcome::Conflict(conflict) => panic!("nobody else writes: {conflict}"),
    }
}

/// The last number; all up to it are there whole, and nothing else is.
pub(crate) async fn verify(store: &dyn Store) -> u64 {
    let last = store.get(&counter()).await.unwrap();
    let last = last.map_or(0, |entry| number(entry.value.as_bytes()));
    let mut expected = (1..=last).flat_map(|number| (0..PARTS).map(move |part| name(number, part)));
    let mut cursor = None;
    loop {
        let page = store.list(&prefix("n/"), limit(1000), cursor.as_ref()).await.unwrap();
        for entry in page.entries {
            assert_eq!(Some(entry.key), expected.next());
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(expected.next(), None);
    last
}

fn name(number: u64, part: usize) -> Key {
    key(format!("n/{number:09}/{part}"))
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}
