//! The daemon from start to end: what is checked before anything is touched, and the loop in which
//! one task owns the gateway. Signals and interface changes come to it through bounded channels from
//! tasks of their own; that one of these ends is noticed here and ends the daemon, which leaves the
//! data path as it is.

mod controller;
mod follower;
mod joined;
mod network;
mod source;

use std::future::pending;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
#[cfg(feature = "debug")]
use gateway_dataplane::KernelLog;
use gateway_dataplane::{BPFFS, require_file_system};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::{Role, SiteFile};
use crate::gateway::Gateway;
use crate::health::Verdict;
use crate::host;
use crate::instance::Instance;
use crate::link::{LOOK_INTERVAL, LinkHost};
use crate::netlink::{InterfaceEvents, NetlinkError, UnderlayEvents};
use crate::sandbox::{self, Confinement, Setting};
use crate::service_manager;
pub(crate) use controller::open_store;
use source::{Source, Wanted};

/// How often timed-out flows are removed, and a failed attempt to follow the interfaces is repeated.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// A device process that hangs holds up each look for seconds; the daemon has other things to do.
const LOOKS_LEFT_OUT: u32 = 10;
/// How often the programs' log is read. By the clock, since tokio takes a descriptor that is not its
/// own only from code with `unsafe`.
#[cfg(feature = "debug")]
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// Runs the daemon of a file until it is told to end.
pub fn run(config: &Path, sandbox: Setting) -> Result<()> {
    let config = std::path::absolute(config).unwrap_or_else(|_| config.into());
    let role = Role::load(&config)?;
    if !matches!(&role, Role::Controller(file) if file.gateway.is_none()) {
        host::check()?;
        // What is confined can mount nothing.
        require_file_system(Path::new(BPFFS))?;
        if sandbox == Setting::On {
            sandbox::start_mounter()?;
        }
    }
    match sandbox::enter(sandbox, &role)? {
        Some(confinement) => tell_confinement(&confinement),
        None => {
            tracing::warn!(
                "gatewayd runs with all rights that it was started with (--sandbox off)"
            );
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        match role {
            Role::Standalone(file) => {
                let instance = Instance::new(file.model.gateway().instance.clone());
                let _lock = instance.lock()?;
                Loop::begin(Source::File(file.path), instance).await?.run().await
            }
            Role::Controller(file) => controller::serve(file).await,
            Role::Gateway(file) => follower::serve(file).await,
        }
    });
    // Under a flood of refusals the task that tells them may not come to a point where it can end.
    #[cfg(feature = "debug")]
    runtime.shutdown_background();
    ended
}

fn tell_confinement(confinement: &Confinement) {
    tracing::info!(%confinement, "confined");
    for lack in confinement.lacks() {
        tracing::warn!(lack, "this kernel cannot confine gatewayd by this; the rest is in force");
    }
}

fn tell_notes(file: &SiteFile) {
    for note in file.model.notes() {
        tracing::info!(%note, "site file");
    }
}

/// What the loop is told by other tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Read the site file again.
    Reload,
    /// Some interface changed.
    Interfaces,
    /// Some address or route changed.
    Underlay,
}

struct Loop {
    source: Source,
    instance: Instance,
    host: LinkHost,
    /// `None` until a controller has told what is to be in force.
    gateway: Option<Gateway>,
    /// What a controller told last is not in force.
    behind: bool,
    reloads: mpsc::Receiver<Told>,
    changes: mpsc::Receiver<Told>,
    moves: mpsc::Receiver<Told>,
    tasks: JoinSet<Result<()>>,
    /// Why the last attempt to follow the interfaces failed, which is told once.
    failure: Option<String>,
    /// So many looks at the links are left out, since one failed.
    resting: u32,
    /// When the last sweep of the flow table ended, and how long it took.
    swept: Option<(Instant, Duration)>,
}

impl Loop {
    /// With a site file its site is in force now; what a controller tells is when it tells it.
    async fn begin(source: Source, instance: Instance) -> Result<Self> {
        // From here on SIGHUP means a reload, also while starting.
        let hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let events = InterfaceEvents::subscribe()?;
        let underlay = UnderlayEvents::subscribe()?;
        instance.record_confinement(sandbox::in_force())?;
        let host = LinkHost::of_this_process(instance.directory().to_path_buf())
            .context("cannot find gatewayd's own executable")?;
        // One place each: what is told a second time before it was heard is the same news.
        let (reload, reloads) = mpsc::channel(1);
        let (change, changes) = mpsc::channel(1);
        let (moved, moves) = mpsc::channel(1);
        let mut looping = Self {
            source,
            instance,
            host,
            gateway: None,
            behind: false,
            reloads,
            changes,
            moves,
            tasks: JoinSet::new(),
            failure: None,
            resting: 0,
            swept: None,
        };
        if !looping.source.is_told() {
            looping.establish().await?;
        }
        looping.tasks.spawn(listen_for_hangups(hangups, reload));
        looping.tasks.spawn(listen_for_interfaces(events, change));
        looping.tasks.spawn(listen_for_underlay(underlay, moved));
        service_manager::ready(&looping.summary());
        Ok(looping)
    }

    async fn run(mut self) -> Result<()> {
        let mut terminations = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut interrupts = signal(SignalKind::interrupt()).context("SIGINT")?;
        let mut sweeps = every(SWEEP_INTERVAL);
        let mut looks = every(LOOK_INTERVAL);
        let mut watchdog = service_manager::watchdog_interval().map(every);
        loop {
            tokio::select! {
                Some(told) = self.reloads.recv() => self.heard(told).await,
                Some(told) = self.changes.recv() => self.heard(told).await,
                _ = sweeps.tick() => self.sweep().await,
                _ = looks.tick() => self.tend().await,
                verdict = verdict(&mut self.gateway) => self.judge(verdict).await,
                () = self.source.changed() => self.take_orders().await,
                Some(told) = self.moves.recv() => self.heard(told).await,
                () = due(&mut watchdog) => service_manager::alive(),
                _ = terminations.recv() => return end("SIGTERM"),
                _ = interrupts.recv() => return end("SIGINT"),
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(Ok(())) => bail!("a task of the daemon ended"),
                    Ok(Err(error)) => return Err(error),
                    Err(error) => return Err(error).context("a task of the daemon ended"),
                },
            }
        }
    }

    async fn heard(&mut self, told: Told) {
        match told {
            Told::Reload => self.reload().await,
            Told::Interfaces => {
                self.underlay_changed();
                self.follow().await;
            }
            // Looked at with the next tick, so that a host with a busy routing daemon is not held up.
            Told::Underlay => self.underlay_changed(),
        }
    }

    fn underlay_changed(&mut self) {
        if let Some(gateway) = &mut self.gateway {
            gateway.underlay_changed();
        }
    }

    /// Brings in force what is wanted now.
    async fn establish(&mut self) -> Result<()> {
        let Some(Wanted { file, revision }) = self.source.wanted()? else { return Ok(()) };
        tell_notes(&file);
        match &mut self.gateway {
            Some(gateway) => gateway.reload(file).await?,
            None => {
                let (instance, host) = (self.instance.clone(), self.host.clone());
                let gateway = Gateway::start(file, instance, host).await?;
                #[cfg(feature = "debug")]
                self.tasks.spawn(tell_refusals(gateway.kernel_log()?));
                self.gateway = Some(gateway);
            }
        }
        self.behind = false;
        self.source.report(|report| {
            report.applied = revision;
            report.refused = None;
        });
        Ok(())
    }

    /// Brings in force what a controller tells; what fails is tried again with each sweep.
    async fn take_orders(&mut self) {
        match self.establish().await {
            Ok(()) => {
                self.failure = None;
                service_manager::status(&self.summary());
            }
            Err(error) => {
                self.behind = true;
                let error = format!("{error:#}");
                self.source.report(|report| report.refused = Some(error.clone()));
                if self.failure.as_ref() != Some(&error) {
                    tracing::error!(
                        %error,
                        "could not bring in force what the controller tells; what was in force stays, trying again"
                    );
                    service_manager::status(&error);
                    self.failure = Some(error);
                }
            }
        }
    }

    fn summary(&self) -> String {
        match &self.gateway {
            Some(gateway) => gateway.summary(),
            None => "waiting to be told by a controller what is to be in force".to_owned(),
        }
    }

    async fn reload(&mut self) {
        service_manager::reloading();
        let reloaded = match self.source.reread() {
            Ok(()) => self.establish().await,
            Err(error) => Err(error),
        };
        match reloaded {
            Ok(()) => {
                self.failure = None;
                service_manager::ready(&self.summary());
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(%error, "reload failed; what was in force stays");
                let status = format!("{}; the last reload failed, see the log", self.summary());
                service_manager::ready(&status);
            }
        }
    }

    async fn follow(&mut self) {
        let Some(gateway) = &mut self.gateway else { return };
        match gateway.follow().await {
            Ok(()) => {
                if !self.behind && self.failure.take().is_some() {
                    service_manager::status(&self.summary());
                }
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                if self.failure.as_ref() != Some(&error) {
                    tracing::warn!(%error, "could not follow a change of the interfaces; trying again");
                    service_manager::status(&error);
                    self.failure = Some(error);
                }
            }
        }
    }

    async fn tend(&mut self) {
        if self.resting > 0 {
            self.resting -= 1;
            return;
        }
        let Some(gateway) = &mut self.gateway else { return };
        if let Err(error) = gateway.tend().await {
            self.resting = LOOKS_LEFT_OUT;
            let error = format!("{:#}", anyhow::Error::from(error));
            if self.failure.as_ref() != Some(&error) {
                tracing::warn!(%error, "could not look after the links; trying again");
                self.failure = Some(error);
            }
        }
    }

    async fn judge(&mut self, verdict: Verdict) {
        let Some(gateway) = &mut self.gateway else { return };
        if let Err(error) = gateway.judge(verdict).await {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(%error, "could not follow what became of a back end; trying again");
            self.failure = Some(error);
        }
    }

    async fn sweep(&mut self) {
        if self.behind {
            self.take_orders().await;
        }
        let Some(gateway) = &mut self.gateway else { return };
        gateway.look_at_neighbours().await;
        if self.source.is_told() {
            match gateway.links_up().await {
                Ok(up) => self.source.report(|report| report.links_up = Some(up)),
                Err(error) => tracing::debug!(%error, "cannot tell how many links are up"),
            }
        }
        if let Err(error) = gateway.look_after().await {
            let error = format!("{:#}", anyhow::Error::from(error));
            if self.failure.as_ref() != Some(&error) {
                tracing::warn!(%error, "could not put back what is missing; trying again");
                service_manager::status(&error);
                self.failure = Some(error);
            }
        }
        self.sweep_flows();
        if self.gateway.as_ref().is_some_and(Gateway::is_unsettled) {
            self.follow().await;
        }
    }

    fn sweep_flows(&mut self) {
        if self.swept.is_some_and(|(end, took)| end.elapsed() < took * REST) {
            return;
        }
        let Some(gateway) = &mut self.gateway else { return };
        let begun = Instant::now();
        // Links and health checks go on meanwhile.
        if let Err(error) = tokio::task::block_in_place(|| gateway.sweep()) {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(%error, "could not sweep the flow table");
        }
        self.swept = Some((Instant::now(), begun.elapsed()));
    }
}

/// A sweep that took some time is followed by so many times as long without one, so that a table of a million
/// flows costs a tenth of a processor.
const REST: u32 = 9;

fn end(signal: &str) -> Result<()> {
    service_manager::stopping();
    tracing::info!(signal, "ending; the data path stays as it is");
    Ok(())
}

async fn listen_for_hangups(mut hangups: Signal, reload: mpsc::Sender<Told>) -> Result<()> {
    while hangups.recv().await.is_some() {
        tell(&reload, Told::Reload);
    }
    bail!("SIGHUP is no longer delivered")
}

async fn listen_for_interfaces(
    mut events: InterfaceEvents,
    change: mpsc::Sender<Told>,
) -> Result<()> {
    // What happened before the subscription and after the start.
    tell(&change, Told::Interfaces);
    loop {
        if events.next().await.is_none() {
            events = subscribe_again()?;
        }
        tell(&change, Told::Interfaces);
    }
}

async fn listen_for_underlay(mut events: UnderlayEvents, moved: mpsc::Sender<Told>) -> Result<()> {
    loop {
        if events.next().await.is_none() {
            tracing::warn!("the kernel closed the socket of underlay events; opening another");
            events = UnderlayEvents::subscribe()?;
        }
        tell(&moved, Told::Underlay);
    }
}

/// Tells what the programs log. A flood of it takes this task's thread and no other.
#[cfg(feature = "debug")]
async fn tell_refusals(mut log: KernelLog) -> Result<()> {
    let mut reads = every(READ_INTERVAL);
    loop {
        reads.tick().await;
        log.forward();
    }
}

fn subscribe_again() -> Result<InterfaceEvents, NetlinkError> {
    tracing::warn!("the kernel closed the socket of interface events; opening another");
    InterfaceEvents::subscribe()
}

/// Tells unless the same news waits already.
fn tell(channel: &mpsc::Sender<Told>, told: Told) {
    match channel.try_send(told) {
        Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
        // The loop has ended, and this task is about to be.
        Err(mpsc::error::TrySendError::Closed(_)) => {}
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// What became of a back end. Cancel safe.
async fn verdict(gateway: &mut Option<Gateway>) -> Verdict {
    match gateway {
        Some(gateway) => gateway.verdict().await,
        None => pending().await,
    }
}

async fn due(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => pending().await,
    }
}
