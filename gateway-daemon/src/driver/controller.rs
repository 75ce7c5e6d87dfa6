//! The controller from start to end, and the gateway in the same process if the host is one: they tell each other
//! by channels what another gateway is told over a socket.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::unistd::{Uid, User};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::network::Network;
use super::source::{Source, Told, Wire};
use super::{Loop, due, every};
use crate::api::{self, Access, Listener};
use crate::clock;
use crate::config::{ConfigError, ControllerFile, StoreChoice};
use crate::controller::Controller;
use crate::instance::Instance;
use crate::service_manager;
use crate::session::Sessions;
use crate::store::etcd::EtcdStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Revision, Store};

/// How often a store in a file forgets what was superseded before the last time.
const HISTORY: Duration = Duration::from_secs(3600);

/// Serves operators and gateways until it is told to end.
pub(super) async fn serve(file: ControllerFile) -> Result<()> {
    let mut terminations = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupts = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut hangups = signal(SignalKind::hangup()).context("SIGHUP")?;
    let store = open_store(&file.store).await?;
    let description = store.description();
    let now = clock::now();
    let controller = Arc::new(Controller::open(Arc::clone(&store), file.cooling, now).await?);
    let network = match &file.network {
        Some(settings) => {
            Some(Network::open(settings, &file.seal, store.as_ref(), &controller).await?)
        }
        None => None,
    };
    let access = access(&file)?;
    let listener = Listener::bind(&file.socket)?;
    tracing::info!(store = description, socket = %file.socket.display(), "the controller serves");

    let (end, ending) = watch::channel(false);
    let mut tasks = JoinSet::new();
    // What ends by itself when it is told to, and is waited for.
    let mut ended_by_itself = JoinSet::new();
    let (serving, mut until) = (Arc::clone(&controller), ending.clone());
    ended_by_itself.spawn(async move {
        let until = async move { until.wait_for(|end| *end).await.map_or((), |_| ()) };
        api::serve(listener, serving, access, until).await.context("the API")
    });
    let following = Arc::clone(&controller);
    tasks.spawn(async move { Err(anyhow!(following.follow().await)) });
    let sessions = Listener::bind_private(&file.sessions)?;
    let sessions = Sessions::new(sessions, Arc::clone(&controller));
    tasks.spawn(async move { Err(sessions.serve().await).context("the socket of gateways") });
    if let Some(network) = network {
        tasks.spawn(network.serve());
    }
    match file.store {
        StoreChoice::File(..) => {
            tasks.spawn(forget(Arc::clone(&controller)));
        }
        // Its history is that of all who use it, and compacted by its own settings.
        StoreChoice::Etcd(_) => {}
    }
    let has_gateway = file.gateway.is_some();
    if let Some(gateway) = &file.gateway {
        let (told, wire) = Told::new(&file.path, gateway)?;
        let instance = Instance::new(gateway.facts.instance.clone());
        ended_by_itself.spawn(carry(controller, wire));
        ended_by_itself.spawn(gateway_beside(Source::Told(Box::new(told)), instance));
    }
    service_manager::ready(&format!("controller, {description}"));
    let mut watchdog = service_manager::watchdog_interval().map(every);
    loop {
        tokio::select! {
            _ = terminations.recv() => break,
            _ = interrupts.recv() => break,
            _ = hangups.recv() => tracing::info!(
                file = %file.path.display(),
                "a gateway's part of the file is read again; the controller's is when gatewayd starts"
            ),
            () = due(&mut watchdog), if !has_gateway => service_manager::alive(),
            // The gateway's loop hears of the same signals.
            Some(ended) = ended_by_itself.join_next() => {
                ended.context("a task of the controller ended")??;
                break;
            }
            Some(ended) = tasks.join_next() => {
                ended.context("a task of the controller ended")??;
            }
        }
    }
    service_manager::stopping();
    tracing::info!("ending; gateways go on with what they have");
    // Nobody waits for it if the API has ended.
    let _ = end.send(true);
    drop(ending);
    while let Some(ended) = ended_by_itself.join_next().await {
        ended.context("a task of the controller ended")??;
    }
    Ok(())
}

fn access(file: &ControllerFile) -> Result<Access> {
    let users = |key: &'static str, names: &[String]| -> Result<Vec<Uid>> {
        let uid = |name: &String| {
            let user = User::from_name(name).ok().flatten();
            let unknown = || ConfigError::Value {
                path: file.path.clone(),
                key,
                error: format!("there is no user {name:?}; correct the name, or add the user"),
            };
            Ok(user.ok_or_else(unknown)?.uid)
        };
        names.iter().map(uid).collect()
    };
    let operators = users("api.operators", &file.operators)?;
    let readers = users("api.readers", &file.readers)?;
    Ok(Access::new(Uid::effective(), operators, readers))
}

/// The store that a controller's file names; a file is made where there is none.
pub(crate) async fn open_store(store: &StoreChoice) -> Result<Arc<dyn Store>> {
    Ok(match store {
        StoreChoice::Etcd(settings) => Arc::new(EtcdStore::connect(settings.clone()).await?),
        StoreChoice::File(path, settings) if path.exists() => {
            Arc::new(SqliteStore::open(path, *settings).await?)
        }
        StoreChoice::File(path, settings) => {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory).map_err(|error| {
                    let (store, directory) = (path.display(), directory.display());
                    anyhow!(
                        "store {store}: cannot make its directory {directory}: {error}; make it by hand, or \
                         correct store.path"
                    )
                })?;
            }
            tracing::info!(store = %path.display(), "there is no store yet; making an empty one");
            Arc::new(SqliteStore::create(path, *settings).await?)
        }
    })
}

/// Keeps the history of a store in a file to an hour or two, so that the file does not grow with each change.
async fn forget(controller: Arc<Controller>) -> Result<()> {
    let mut hours = every(HISTORY);
    let mut before = Revision::default();
    loop {
        hours.tick().await;
        match controller.forget(before).await {
            Ok(now) => before = now,
            Err(error) => tracing::warn!(%error, "the store keeps its history; trying again"),
        }
    }
}

async fn gateway_beside(source: Source, instance: Instance) -> Result<()> {
    let _lock = instance.lock()?;
    Loop::begin(source, instance).await?.run().await
}

/// Carries orders and reports between a controller and a gateway of one process, until the gateway ends.
async fn carry(controller: Arc<Controller>, mut wire: Wire) -> Result<()> {
    loop {
        let identity = wire.identity.borrow_and_update().clone();
        let mut connection = controller.reside(identity).await?;
        connection.report(wire.report.borrow_and_update().clone());
        loop {
            let orders = connection.orders();
            wire.orders.send_if_modified(|now| {
                let changed = now.as_ref() != Some(&orders);
                *now = Some(orders);
                changed
            });
            tokio::select! {
                goes_on = connection.changed() => if !goes_on {
                    bail!("the controller has given the site of this process's gateway to another")
                },
                heard = wire.report.changed() => {
                    if heard.is_err() {
                        return Ok(());
                    }
                    connection.report(wire.report.borrow_and_update().clone());
                }
                heard = wire.identity.changed() => {
                    if heard.is_err() {
                        return Ok(());
                    }
                    break;
                }
            }
        }
    }
}
