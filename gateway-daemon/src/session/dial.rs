//! How a gateway reaches a controller, for as long as it runs: by all addresses, by QUIC rather than by TCP, with
//! waits that grow, and anew at once when the host's network changes. The gateway's session owns one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_control::identity::ControllerAddress;
use rustls::client::Resumption;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::carrier::{Carried, CarrierError, CarrierKind, Closer};
use super::quic;
use super::race::{Failures, Race};
use crate::jitter::jitter;

/// How long an attempt goes on that began before the network changed.
const STALE: Duration = Duration::from_secs(1);
/// The longest wait after the network has changed, as one change seldom comes alone.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a dialler waits for what.
#[derive(Clone, Debug)]
pub struct DialSettings {
    /// The addresses of a name.
    pub lookup: Duration,
    /// One address before the next is tried too.
    pub between: Duration,
    /// QUIC, before TCP is tried too.
    pub quic: Duration,
    /// One address by one carrier, until it counts as dead.
    pub attempt: Duration,
    /// The first wait after a failure; each is taken at random up to it, and it doubles.
    pub first_wait: Duration,
    /// The longest such wait.
    pub longest_wait: Duration,
    /// The first wait before QUIC is tried again while TCP carries the session; it doubles.
    pub first_upgrade: Duration,
    /// The longest such wait.
    pub longest_upgrade: Duration,
}

/// Reaches controllers.
#[derive(Debug)]
pub struct Dialler {
    controllers: Vec<ControllerAddress>,
    settings: DialSettings,
    /// Counts the changes of the network.
    changed: watch::Sender<u64>,
    /// The addresses of the last attempt.
    tried: watch::Sender<BTreeSet<SocketAddr>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Config,
    /// Attempts since a session was of use.
    attempts: u32,
    /// Whether the last session came up by TCP because QUIC did not.
    quic_is_blocked: bool,
    told: Option<String>,
    /// What was given out last, and where it leads.
    current: Option<(SocketAddr, Closer)>,
}

#[derive(Clone, Debug)]
struct Config {
    tls: Arc<rustls::ClientConfig>,
    quic: quinn::ClientConfig,
}

impl Default for DialSettings {
    fn default() -> Self {
        Self {
            lookup: Duration::from_secs(5),
            between: Duration::from_millis(250),
            quic: Duration::from_secs(3),
            attempt: Duration::from_secs(10),
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(30),
            first_upgrade: Duration::from_secs(60),
            longest_upgrade: Duration::from_secs(15 * 60),
        }
    }
}

impl Config {
    /// Sessions are not resumed, whatever `tls` says: what is sent early can be sent again by others.
    fn new(tls: &rustls::ClientConfig) -> Result<Self, CarrierError> {
        let mut tls = tls.clone();
        tls.resumption = Resumption::disabled();
        tls.enable_early_data = false;
        let tls = Arc::new(tls);
        Ok(Self { quic: quic::client_config(Arc::clone(&tls))?, tls })
    }
}

impl Dialler {
    /// Reaches whichever of `controllers` answers first.
    ///
    /// # Errors
    /// If `tls` does not do for QUIC.
    pub fn new(
        controllers: Vec<ControllerAddress>,
        tls: &rustls::ClientConfig,
        settings: DialSettings,
    ) -> Result<Self, CarrierError> {
        let config = Config::new(tls)?;
        let state =
            State { config, attempts: 0, quic_is_blocked: false, told: None, current: None };
        Ok(Self {
            controllers,
            settings,
            changed: watch::Sender::new(0),
            tried: watch::Sender::new(BTreeSet::new()),
            state: Mutex::new(state),
        })
    }

    /// A connection to a controller, however long it takes. Waits first if earlier ones came to nothing. Cancel safe.
    ///
    /// Whether the controller takes this gateway's certificate is not known yet: it says so by what follows.
    pub async fn dial(&self) -> Carried {
        let mut changed = self.changed.subscribe();
        loop {
            self.wait(&mut changed).await;
            self.state().attempts += 1;
            let race = self.race();
            let stale = async {
                // The dialler has the sender.
                let _ = changed.changed().await;
                sleep(STALE).await;
            };
            let raced = tokio::select! {
                raced = self.run(&race) => raced,
                () = stale => {
                    self.state().attempts = 0;
                    continue;
                }
            };
            match raced {
                Ok(carried) => return carried,
                Err(failures) => self.tell(&failures),
            }
        }
    }

    /// One attempt at each of the controllers' addresses.
    ///
    /// # Errors
    /// Why none of them answered as a controller of the deployment.
    pub async fn try_once(&self) -> Result<Carried, String> {
        self.run(&self.race()).await.map_err(|failures| failures.describe())
    }

    /// The session was of use: the next one that fails is tried again at once.
    pub fn settled(&self) {
        let mut state = self.state();
        (state.attempts, state.told) = (0, None);
    }

    /// A connection by QUIC for a session that TCP carries, as soon as there is one. Tries now and then, and anew when
    /// the network has changed. Cancel safe.
    pub async fn upgrade(&self) -> Carried {
        let mut changed = self.changed.subscribe();
        let mut wait = self.settings.first_upgrade;
        loop {
            tokio::select! {
                () = sleep(wait / 2 + jitter(wait / 2)) => {
                    wait = (wait * 2).min(self.settings.longest_upgrade);
                }
                // The dialler has the sender.
                _ = changed.changed() => {
                    wait = self.settings.first_upgrade;
                    sleep(jitter(PAUSE)).await;
                }
            }
            let race = Race { head_start: None, attempt: self.settings.quic, ..self.race() };
            match self.run(&race).await {
                Ok(carried) => return carried,
                Err(failures) => tracing::debug!("still no QUIC: {}", failures.describe()),
            }
        }
    }

    /// Goes on with another TLS configuration. Sessions that are there stay.
    ///
    /// # Errors
    /// If `tls` does not do for QUIC.
    pub fn replace(&self, tls: &rustls::ClientConfig) -> Result<(), CarrierError> {
        let config = Config::new(tls)?;
        self.state().config = config;
        Ok(())
    }

    /// What was given out last, and where it leads.
    pub(super) fn current(&self) -> Option<(SocketAddr, Closer)> {
        self.state().current.clone()
    }

    /// The addresses of the last attempt.
    pub(super) fn tried(&self) -> watch::Receiver<BTreeSet<SocketAddr>> {
        let mut tried = self.tried.subscribe();
        tried.mark_changed();
        tried
    }

    /// How long nothing may come by QUIC where something has to.
    pub(super) fn patience(&self) -> Duration {
        self.settings.quic
    }

    /// Whoever waits to try again does so now.
    pub(super) fn cut_waits(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    async fn run(&self, race: &Race<'_>) -> Result<Carried, Failures> {
        self.tried.send_modify(BTreeSet::clear);
        let begun = |address| {
            self.tried.send_modify(|tried| {
                tried.insert(address);
            });
        };
        let carried = race.run(begun).await?;
        let mut state = self.state();
        state.quic_is_blocked = carried.kind() == CarrierKind::Tcp;
        state.current = Some((carried.peer(), carried.closer()));
        Ok(carried)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn race(&self) -> Race<'_> {
        let settings = &self.settings;
        let state = self.state();
        // Where QUIC was blocked it is likely to be so still, and the session is wanted now.
        let head_start = if state.quic_is_blocked { settings.between } else { settings.quic };
        let Config { tls, quic } = state.config.clone();
        Race {
            controllers: &self.controllers,
            tls,
            quic,
            lookup: settings.lookup,
            between: settings.between,
            attempt: settings.attempt,
            head_start: Some(head_start),
        }
    }

    /// Waits as long as is due after so many attempts; shorter if the network changes.
    async fn wait(&self, changed: &mut watch::Receiver<u64>) {
        let (first, longest) = (self.settings.first_wait, self.settings.longest_wait);
        let attempts = self.state().attempts;
        if attempts == 0 {
            return;
        }
        let most = first.saturating_mul(1 << (attempts - 1).min(16)).min(longest);
        let until = Instant::now() + jitter(most);
        tokio::select! {
            () = sleep_until(until) => {}
            // The dialler has the sender.
            _ = changed.changed() => {
                self.state().attempts = 0;
                sleep_until(until.min(Instant::now() + jitter(PAUSE))).await;
            }
        }
    }

    fn tell(&self, failures: &Failures) {
        let why = failures.describe();
        let mut state = self.state();
        if state.told.as_ref() != Some(&why) {
            tracing::warn!("no controller; going on with what there is, trying again: {why}");
            state.told = Some(why);
        }
    }
}
