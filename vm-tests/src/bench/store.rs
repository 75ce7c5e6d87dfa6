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
    let store = SqliteStore::create(&path, SqliteSettings::default()).await?;
    let bare = Bare::Sqlite(BareSqlite::new(&scratch.0.join("bare"))?);
    measured(Arc::new(store), bare, goals::SQLITE).await
}

async fn etcd(scratch: &Scratch) -> Result<Vec<Row>> {
    let server = Etcd::start(&scratch.0.join("etcd")).await?;
    let store = server.connect().await?;
    let bare = Bare::Etcd(BareEtcd::connect(server.endpoint()).await?);
    measured(Arc::new(store), bare, goals::ETCD).await
}

async fn measured(store: Arc<dyn Store>, mut bare: Bare, goals: [Goal; 4]) -> Result<Vec<Row>> {
    let [mut ours, mut theirs, mut seen, mut beside] = [const { Vec::new() }; 4];
    let [mut ours_together, mut theirs_together] = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        // In turn, and who is first in turn, so that whatever else the disk does meets both.
        for n in 0..WRITES {
            if n % 2 == 0 {
                theirs.push(bare.write(n).await?);
            }
            let begun = Instant::now();
            write(store.as_ref(), n).await?;
            ours.push(micros(begun));
            if n % 2 == 1 {
                theirs.push(bare.write(n).await?);
            }
        }
        watched(&store, &mut bare, &mut seen, &mut beside).await?;
        let one = |n| {
            let store = Arc::clone(&store);
            async move { write(store.as_ref(), n).await.map(drop) }
        };
        ours_together.push(together(one).await?);
        theirs_together.push(bare.together().await?);
    }
    println!(
        "# {}: {} writes, {} watched; p50 {:.0} us, bare {:.0} us, watched {:.0} us",
        store.description(),
        ours.len(),
        seen.len(),
        median(&ours),
        median(&theirs),
        median(&seen),
    );
    let rate = |latencies: &[f64]| latencies.len() as f64 * 1e6 / latencies.iter().sum::<f64>();
    let late = |latencies: &[f64]| percentile(latencies, 99);
    let [one, several, middle, slow] = goals;
    Ok(vec![
        one.measured(rate(&ours), rate(&theirs)),
        several.measured(median(&ours_together), median(&theirs_together)),
        middle.measured(median(&seen), median(&beside)),
        slow.measured(late(&seen), late(&beside)),
    ])
}

/// Microseconds from the beginning of each write until a watch has given it; and of a bare write before or after.
async fn watched(
    store: &Arc<dyn Store>,
    bare: &mut Bare,
    seen: &mut Vec<f64>,
    beside: &mut Vec<f64>,
) -> Result<()> {
    let mut watch = store.watch(&Prefix::all(), store.revision().await?).await?;
    let (tell, mut known) = mpsc::channel(WRITES);
    let watcher = tokio::spawn(async move {
        for _ in 0..WRITES {
            let changes = watch.next().await?;
            // Who has ended takes nothing more.
            let _ = tell.send((changes.revision, Instant::now())).await;
        }
        Ok::<_, anyhow::Error>(())
    });
    for n in 0..WRITES {
        if n % 2 == 0 {
            beside.push(bare.write(n).await?);
        }
        let begun = Instant::now();
        let revision = write(store.as_ref(), n).await?;
        let (found, at) = known.recv().await.context("the watch has ended")?;
        if found != revision {
            bail!("the watch shows {found}, and {revision} was written");
        }
        seen.push((at - begun).as_secs_f64() * 1e6);
        if n % 2 == 1 {
            beside.push(bare.write(n).await?);
        }
    }
    watcher.await?
}

/// The engine without our layer.
enum Bare {
    Sqlite(BareSqlite),
    Etcd(BareEtcd),
}

impl Bare {
    /// Microseconds of one write.
    async fn write(&mut self, n: usize) -> Result<f64> {
        let begun = Instant::now();
        match self {
            Self::Sqlite(bare) => bare.write(&key(n), &VALUE)?,
            Self::Etcd(bare) => bare.write(key(n), VALUE.to_vec()).await?,
        }
        Ok(micros(begun))
    }

    /// Writes a second of several writers. A connection to SQLite does one thing after the other, whoever asks.
    async fn together(&mut self) -> Result<f64> {
        match self {
            Self::Sqlite(bare) => {
                let begun = Instant::now();
                (0..WRITES).try_for_each(|n| bare.write(&key(n), &VALUE))?;
                Ok(rate(WRITES, begun))
            }
            Self::Etcd(bare) => {
                let write = |n| {
                    let bare = bare.clone();
                    async move { bare.write(key(n), VALUE.to_vec()).await }
                };
                together(write).await
            }
        }
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
