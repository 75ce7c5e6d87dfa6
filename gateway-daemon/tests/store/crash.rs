//! Processes that are killed while they write.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use gateway_daemon::store::{Prefix, Revision, Store};

use crate::conformance::scratch::Scratch;
use crate::conformance::{next, numbered};
use crate::{Sqlite, open};

/// Names the store to the process that is to be killed.
const CHILD: &str = "PRESENCE_STORE_CRASH_CHILD";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_is_there_after_kills() {
    let test = "crash::whatever_was_acknowledged_is_there_after_kills";
    if let Some(path) = env::var_os(CHILD) {
        write_until_killed(Path::new(&path)).await;
    }
    let engine = Sqlite::new().await;
    let mut last = 0;
    for round in 0..25_u64 {
        let acknowledged = kill_after(&engine.path(), test, round % 9 * 4, random(8_000));
        let store = open(&engine.path()).await;
        let found = numbered::verify(&store).await;
        // What was written and not acknowledged may be there: one, since each waits for the one before.
        let acknowledged = acknowledged.unwrap_or(last);
        assert!(found == acknowledged || found == acknowledged + 1, "{acknowledged}: {found}");
        last = found;
        store.close().await.unwrap();
    }
    assert!(last > 50, "only {last} transactions were written");
}

/// The process that writes is killed while this one, which has the file open, reads and writes, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_the_file_to_others() {
    let test = "crash::a_killed_process_leaves_the_file_to_others";
    if let Some(path) = env::var_os(CHILD) {
        write_until_killed(Path::new(&path)).await;
    }
    let engine = Sqlite::new().await;
    let store = open(&engine.path()).await;
    let mut watch = store.watch(&Prefix::all(), Revision::new(0)).await.unwrap();
    for round in 0..8_u64 {
        kill_after(&engine.path(), test, round * 3, random(4_000));
        let found = numbered::verify(&store).await;
        assert_eq!(numbered::write_next(&store).await.unwrap(), found + 1);
        let last = store.revision().await.unwrap();
        while next(&mut *watch).await.revision < last {}
    }
    store.close().await.unwrap();
    numbered::verify(&open(&engine.path()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_while_it_is_made_is_whole_or_missing() {
    let test = "crash::a_store_that_is_killed_while_it_is_made_is_whole_or_missing";
    if let Some(path) = env::var_os(CHILD) {
        SqliteStore::create(Path::new(&path), SqliteSettings::default()).await.unwrap();
        loop {
            thread::park();
        }
    }
    for _ in 0..15 {
        let scratch = Scratch::new();
        let path = scratch.0.join("store");
        let mut child = spawn(&path, test);
        thread::sleep(random(40_000));
        end(&mut child);
        if path.exists() {
            numbered::write_next(&open(&path).await).await.unwrap();
        } else {
            SqliteStore::create(&path, SqliteSettings::default()).await.unwrap();
        }
    }
}

async fn write_until_killed(path: &Path) -> ! {
    let store = open(path).await;
    loop {
        let number = numbered::write_next(&store).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nacknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Lets a process write until it has acknowledged so many transactions, and some time more; gives the last number that
/// it acknowledged.
fn kill_after(path: &Path, test: &str, acknowledgements: u64, more: Duration) -> Option<u64> {
    let mut child = spawn(path, test);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut acknowledged =
        lines.by_ref().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
    let mut last = None;
    for _ in 0..acknowledgements {
        last = Some(acknowledged.next().expect("the process ended by itself"));
    }
    thread::sleep(more);
    end(&mut child);
    acknowledged.last().or(last)
}

/// This test again, in a process of its own.
fn spawn(path: &Path, test: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A moment that is another one in every run, up to so many microseconds.
fn random(most: u64) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    Duration::from_micros(RandomState::new().hash_one(()) % most)
}
