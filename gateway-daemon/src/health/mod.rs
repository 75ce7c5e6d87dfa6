//! Whether the back ends of this site's services serve: each is asked from the gateway's own address on
//! the LAN, as its service's `health` says, and its neighbour entry is looked at.
//!
//! [`crate::gateway`] owns a [`Health`], tells it which model is in force, and compiles the tables anew
//! when [`Health::next`] says that a back end came or went. Nothing here changes tables. What is known
//! stands in `backends.json` of the run directory, for `gatewayctl` and for the next daemon, so that a
//! restart neither brings a dead back end back nor takes a good one away.
//!
//! | file | holds |
//! |---|---|
//! | tally | when failures in a row count; pure |
//! | probe | one question: TCP, HTTP or ICMP echo |
//! | neighbours | which LAN addresses the kernel cannot resolve |
//! | account | the file in the run directory |

mod account;
mod neighbours;
mod probe;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gateway_common::TransitAddress;
use gateway_common::map::BackendKey;
use gateway_control::model::{HealthCheck, SiteModel};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::jitter::jitter;
pub use account::{Account, BackendAccount};
pub use neighbours::Neighbours;
use probe::Answer;
use tally::Tally;

/// Questions under way at a time.
const MOST_QUESTIONS: usize = 64;

/// What became of a back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    key: BackendKey,
    up: bool,
    why: String,
}

/// The back ends of a gateway, and what is known of them.
#[derive(Debug)]
pub struct Health {
    directory: PathBuf,
    account: Account,
    watched: BTreeMap<(BackendKey, HealthCheck), Watched>,
    addresses: BTreeSet<Ipv4Addr>,
    neighbours: Option<Neighbours>,
    questions: Arc<Semaphore>,
    told: mpsc::Sender<Verdict>,
    verdicts: mpsc::Receiver<Verdict>,
}

/// A task that asks one back end; ends with this value.
#[derive(Debug)]
struct Watched(AbortHandle);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Health {
    /// What an earlier daemon knew is known; nothing is asked yet. `directory` is the run directory.
    pub fn new(directory: PathBuf) -> Self {
        let (told, verdicts) = mpsc::channel(MOST_QUESTIONS);
        Self {
            account: Account::load(&directory),
            directory,
            watched: BTreeMap::new(),
            addresses: BTreeSet::new(),
            neighbours: None,
            questions: Arc::new(Semaphore::new(MOST_QUESTIONS)),
            told,
            verdicts,
        }
    }

    /// Those of the model's back ends that are known not to serve.
    pub fn down(&self, model: &SiteModel) -> BTreeSet<BackendKey> {
        let wanted = wanted(model);
        wanted.into_iter().map(|(key, _)| key).filter(|key| self.account.is_down(key)).collect()
    }

    /// Asks the back ends of `model` from now on, and no others. Those asked in the same way already go
    /// on as they are. Must be called inside a tokio runtime.
    pub fn watch(&mut self, model: &SiteModel) {
        let wanted = wanted(model);
        self.watched.retain(|target, _| wanted.contains(target));
        for target in wanted {
            let (key, check) = target.clone();
            let (up, questions, told) =
                (!self.account.is_down(&key), self.questions.clone(), self.told.clone());
            self.watched.entry(target).or_insert_with(|| {
                let asking = tokio::spawn(attend(key, check, up, questions, told));
                Watched(asking.abort_handle())
            });
        }
        let keys = self.watched.keys().map(|(key, _)| *key).collect();
        if self.account.keep(&keys, clock::now()) {
            self.store();
        }
        let services = model.local_services().iter();
        self.addresses =
            services.flat_map(|it| &it.backends).map(|backend| backend.address).collect();
    }

    /// Waits for a back end to come or go. Cancel safe.
    pub async fn next(&mut self) -> Verdict {
        match self.verdicts.recv().await {
            Some(verdict) => verdict,
            // Not reached: a sender is in this value.
            None => std::future::pending().await,
        }
    }

    /// Takes note of a verdict; says whether it is news of a back end that is asked still.
    pub fn note(&mut self, verdict: Verdict, model: &SiteModel) -> bool {
        let Verdict { key, up, why } = verdict;
        let is_watched = self.watched.keys().any(|(watched, _)| *watched == key);
        if !is_watched || self.account.is_down(&key) != up {
            return false;
        }
        let service = model
            .local_services()
            .iter()
            .find(|it| TransitAddress::from(it.transit) == key.service)
            .map_or_else(|| key.service.to_string(), |it| it.id.to_string());
        let backend = Ipv4Addr::from(key.address);
        if up {
            tracing::info!(service, %backend, "the back end answers again and gets new flows");
        } else {
            tracing::warn!(
                service, %backend, why,
                "the back end fails its health check and gets no new flows; mend it, or drain and \
                 remove it in the site file"
            );
        }
        self.account.set(key, up, why, clock::now());
        self.store();
        true
    }

    /// Looks whether the kernel resolves the back ends' addresses, and tells when that changes.
    pub async fn look_at_neighbours(&mut self) {
        if self.addresses.is_empty() {
            return;
        }
        let found = match self.unresolved().await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot read the kernel's neighbour table; trying again");
                self.neighbours = None;
                return;
            }
        };
        for backend in &found {
            if !self.account.unreachable.contains_key(backend) {
                tracing::warn!(
                    %backend,
                    "the back end is unreachable: nobody on the LAN answers for its address; see \
                     whether the host is up, on this LAN, and has that address"
                );
            }
        }
        for backend in self.account.unreachable.keys().filter(|it| !found.contains(it)) {
            tracing::info!(%backend, "the back end is no longer unreachable");
        }
        if self.account.set_unreachable(&found, clock::now()) {
            self.store();
        }
    }

    async fn unresolved(&mut self) -> Result<BTreeSet<Ipv4Addr>, neighbours::NeighbourError> {
        let neighbours = match self.neighbours.take() {
            Some(neighbours) => neighbours,
            None => Neighbours::connect()?,
        };
        let found = neighbours.unresolved(&self.addresses, &self.account.unreachable()).await?;
        self.neighbours = Some(neighbours);
        Ok(found)
    }

    fn store(&self) {
        if let Err(error) = self.account.store(&self.directory) {
            tracing::warn!(%error, "cannot write down how the back ends are; gatewayctl shows them as they were");
        }
    }
}

/// Which back ends are to be asked, and how. Those that drain too: that they are gone is worth knowing.
fn wanted(model: &SiteModel) -> BTreeSet<(BackendKey, HealthCheck)> {
    let mut wanted = BTreeSet::new();
    for service in model.local_services() {
        for backend in service.health.iter().flat_map(|_| &service.backends) {
            let service_address = TransitAddress::from(service.transit);
            let key = BackendKey { service: service_address, address: backend.address.into() };
            wanted.extend(service.health.clone().map(|check| (key, check)));
        }
    }
    wanted
}

/// Asks one back end for ever, and tells when that changes what is held of it.
async fn attend(
    key: BackendKey,
    check: HealthCheck,
    up: bool,
    questions: Arc<Semaphore>,
    told: mpsc::Sender<Verdict>,
) {
    let interval = Duration::from_secs(check.interval.seconds().into());
    let mut tally = Tally::new(up, check.rise.number(), check.fall.number());
    let address = Ipv4Addr::from(key.address);
    let mut cannot: Option<String> = None;
    let mut next = Instant::now();
    loop {
        // Up to a tenth early, so that the questions of many back ends spread out.
        next += interval - jitter(interval / 10);
        let answer = {
            let Ok(_permit) = questions.acquire().await else { return };
            probe::ask(address, &check).await
        };
        let changed = match answer {
            Answer::Served => tally.note(true).map(|up| (up, "answers".to_owned())),
            Answer::Failed(why) => tally.note(false).map(|up| (up, why)),
            // This host's own trouble is no sign of the back end's.
            Answer::Unasked(why) => {
                if cannot.as_ref() != Some(&why) {
                    tracing::warn!(backend = %address, why, "cannot ask the back end; it is held to be as it was");
                }
                cannot = Some(why);
                None
            }
        };
        if let Some((up, why)) = changed
            && told.send(Verdict { key, up, why }).await.is_err()
        {
            return;
        }
        next = next.max(Instant::now());
        sleep_until(next).await;
    }
}
