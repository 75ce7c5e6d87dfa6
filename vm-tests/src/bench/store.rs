//! C7 and C8: writes and watches of the controller's store, beside the engine below it without our layer.
//!
//! Every write is durable when it is answered, on both sides. Both write to the same disk, in turn.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use gateway_daemon::store::sqlite::{SqliteSettings, SqliteStore};
use gateway_daemon::store::{Key, Outcome, Prefix, Revision, Store, Transaction, Value};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::bare::{BareEtcd, BareSqlite};
use super::etcd::Etcd;
use super::goals::Goal;
use super::{Row, goals, median, percentile};

const ROUNDS: usize = 15;
const WRITES: usize = 200;
const WRITERS: usize = 16;
/// As large as a small resource.
const VALUE: [u8; 300] = [7; 300];

/// Measures C7 to C8d.
pub fn rows() -> Result<Vec<Row>> {
    let scratch = Scratch::new()?;
    Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let mut rows = sqlite(&scratch).await?;
        rows.extend(etcd(&scratch).await?);
        Ok(rows)
    })
}

async fn sqlite(scratch: &Scratch) -> Result<Vec<Row>> {
    let path = scratch.0.join("ours");
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::create(&path, SqliteSettings::default()).await?);
    let mut bare = BareSqlite::new(&scratch.0.join("bare"))?;
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        ours.round(&store).await?;
        let begun = Instant::now();
        for n in 0..WRITES {
            let begun = Instant::now();
            bare.write(&key(n), &VALUE)?;
            theirs.latencies.push(micros(begun));
        }
        let rate = rate(WRITES, begun);
        theirs.rates.push(rate);
        // A connection does one thing after the other, whoever asks.
        theirs.together.push(rate);
    }
    Ok(ours.rows(&theirs, "SQLite", goals::SQLITE))
}

async fn etcd(scratch: &Scratch) -> Result<Vec<Row>> {
    let server = Etcd::start(&scratch.0.join("etcd")).await?;
    let store: Arc<dyn Store> = Arc::new(server.connect().await?);
    let bare = BareEtcd::connect(server.endpoint()).await?;
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        ours.round(&store).await?;
        let begun = Instant::now();
        for n in 0..WRITES {
            let begun = Instant::now();
            bare.write(key(n), VALUE.to_vec()).await?;
            theirs.latencies.push(micros(begun));
        }
        theirs.rates.push(rate(WRITES, begun));
        let write = |n| {
            let bare = bare.clone();
            async move { bare.write(key(n), VALUE.to_vec()).await }
        };
        theirs.together.push(together(write).await?);
    }
    Ok(ours.rows(&theirs, "etcd", goals::ETCD))
}

/// What was measured on one side.
#[derive(Default)]
struct Figures {
    /// Writes a second, one after the other.
    rates: Vec<f64>,
    /// Writes a second of several writers.
    together: Vec<f64>,
    /// Microseconds from the beginning of a write until it is known: to who watches for it on our side, to who
    /// wrote it on the other.
    latencies: Vec<f64>,
}

impl Figures {
    async fn round(&mut self, store: &Arc<dyn Store>) -> Result<()> {
        let begun = Instant::now();
        for n in 0..WRITES {
            write(store.as_ref(), n).await?;
        }
        self.rates.push(rate(WRITES, begun));
        let one = |n| {
            let store = Arc::clone(store);
            async move { write(store.as_ref(), n).await.map(drop) }
        };
        self.together.push(together(one).await?);
        self.watched(store).await
    }

    async fn watched(&mut self, store: &Arc<dyn Store>) -> Result<()> {
        let mut watch = store.watch(&Prefix::all(), store.revision().await?).await?;
        let (seen, mut known) = mpsc::channel(WRITES);
        let watcher = tokio::spawn(async move {
            for _ in 0..WRITES {
                let changes = watch.next().await?;
                // Who has ended takes nothing more.
                let _ = seen.send((changes.revision, Instant::now())).await;
            }
            Ok::<_, anyhow::Error>(())
        });
        for n in 0..WRITES {
            let begun = Instant::now();
            let revision = write(store.as_ref(), n).await?;
            let (found, at) = known.recv().await.context("the watch has ended")?;
            if found != revision {
                bail!("the watch shows {found}, and {revision} was written");
            }
            self.latencies.push((at - begun).as_secs_f64() * 1e6);
        }
        watcher.await?
    }

    fn rows(&self, theirs: &Self, name: &str, goals: [Goal; 4]) -> Vec<Row> {
        let [one, several, middle, slow] = goals;
        println!(
            "# {name}: {} writes on each side, p50 of the bare write {:.0} us",
            ROUNDS * WRITES,
            median(&theirs.latencies)
        );
        let late = |figures: &Self| percentile(&figures.latencies, 99);
        vec![
            one.measured(median(&self.rates), median(&theirs.rates)),
            several.measured(median(&self.together), median(&theirs.together)),
            middle.measured(median(&self.latencies), median(&theirs.latencies)),
            slow.measured(late(self), late(theirs)),
        ]
    }
}

/// Writes a second if several write at once.
async fn together<F>(write: impl Fn(usize) -> F) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let begun = Instant::now();
    let mut writers: JoinSet<Result<()>> = JoinSet::new();
    for writer in 0..WRITERS {
        let writes: Vec<F> = (0..WRITES).filter(|n| n % WRITERS == writer).map(&write).collect();
        writers.spawn(async move {
            for write in writes {
                write.await?;
            }
            Ok(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(rate(WRITES, begun))
}

async fn write(store: &dyn Store, n: usize) -> Result<Revision> {
    let transaction = Transaction::new().put(Key::new(key(n))?, Value::new(VALUE)?);
    match store.transact(transaction).await? {
        Outcome::Committed(revision) => Ok(revision),
        Outcome::Conflict(conflict) => Err(anyhow!("{conflict}")),
    }
}

fn key(n: usize) -> Vec<u8> {
    format!("resource/Policy/p{n}").into_bytes()
}

fn rate(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}

/// A directory on a disk, gone when the value is.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("presence-bench-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is a temporary file's.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
