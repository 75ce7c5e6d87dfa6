//! What every store must do, whatever is below it. Run on SQLite by this directory's `main.rs` and on etcd by
//! `vm-tests/tests/store_etcd.rs`, both of which give an [`Engine`].

pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod numbered;
#[path = "../../common/scratch.rs"]
pub(crate) mod scratch;
pub(crate) mod several;
pub(crate) mod transactions;
pub(crate) mod watches;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use gateway_daemon::store::{
    Change, Changes, Entry, Key, Outcome, Prefix, Revision, Store, Transaction, Value, Watch,
};
use tokio::time;

/// Long enough for what must come on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An engine with a store of its own, empty at first; both are gone when this is dropped.
pub(crate) trait Engine {
    /// Opens the store; any number of times.
    fn open(&self) -> impl Future<Output = Arc<dyn Store>>;

    /// Ends the engine with all that is open in it, and starts it again.
    fn restart(&mut self, open: Vec<Arc<dyn Store>>) -> impl Future<Output = ()>;
}

/// Declares a test for each part of the suite, on the engine that the expression makes.
macro_rules! suite {
    ($engine:expr; $($part:ident :: $test:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let mut engine = $engine.await;
                $crate::conformance::$part::$test(&mut engine).await;
            }
        )*
    };
    ($engine:expr) => {
        $crate::conformance::suite! {
            $engine;
            leases::an_ended_lease_takes_its_keys_along,
            leases::a_lease_that_is_kept_alive_lasts,
            leases::a_revoked_lease_is_over,
            leases::leases_outlive_a_restart_and_end,
            lists::pages_are_of_one_revision,
            lists::a_compacted_list_is_refused,
            lists::prefixes_end_where_others_begin,
            lists::odd_keys_and_values_come_back,
            lists::pages_of_large_values_come_in_parts,
            several::handles_see_each_other,
            several::what_was_written_outlives_a_restart,
            transactions::revisions_grow_and_none_is_used_twice,
            transactions::of_sixteen_that_race_one_wins,
            transactions::all_or_nothing,
            transactions::too_large_ones_are_refused,
            watches::each_transaction_comes_once_and_whole,
            watches::only_the_prefix_is_seen,
            watches::the_past_and_the_future_can_be_watched,
            watches::what_was_compacted_is_an_error_that_says_where_to_go_on,
            watches::a_slow_reader_misses_nothing_unseen,
            watches::a_dropped_wait_loses_nothing,
        }
    };
}
pub(crate) use suite;

pub(crate) fn key(text: impl AsRef<[u8]>) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn value(text: impl AsRef<[u8]>) -> Value {
    Value::new(text).unwrap()
}

pub(crate) fn prefix(text: impl AsRef<[u8]>) -> Prefix {
    Prefix::new(text).unwrap()
}

pub(crate) fn limit(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// A transaction that must be done.
pub(crate) async fn commit(store: &dyn Store, transaction: Transaction) -> Revision {
    match store.transact(transaction).await.unwrap() {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict(conflict) => panic!("{conflict}"),
    }
}

pub(crate) async fn put(store: &dyn Store, name: &str, content: &str) -> Revision {
    commit(store, Transaction::new().put(key(name), value(content))).await
}

/// What the watch shows next; it must come.
pub(crate) async fn next(watch: &mut dyn Watch) -> Changes {
    time::timeout(PATIENCE, watch.next()).await.expect("nothing came").unwrap()
}

/// An entry for comparing: `NAME=CONTENT`.
pub(crate) fn show(entry: &Entry) -> String {
    format!("{}={}", entry.key, entry.value.as_bytes().escape_ascii())
}

/// Changes for comparing: as [`show`], or `-NAME`.
pub(crate) fn shown(changes: &Changes) -> Vec<String> {
    let one = |change: &Change| match change {
        Change::Put(entry) => {
            assert_eq!(entry.modified, changes.revision);
            show(entry)
        }
        Change::Deleted(key) => format!("-{key}"),
    };
    changes.changes.iter().map(one).collect()
}

/// All entries with the prefix now, as [`shown`] writes them.
pub(crate) async fn all(store: &dyn Store, with: &str) -> Vec<String> {
    let mut shown = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list(&prefix(with), limit(1000), cursor.as_ref()).await.unwrap();
        shown.extend(page.entries.iter().map(show));
        cursor = page.next;
        if cursor.is_none() {
            return shown;
        }
    }
}
