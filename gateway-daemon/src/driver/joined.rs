//! A gateway that has joined a deployment, from start to end: it begins with what it has, follows a controller by
//! whatever way gets through, and goes on alone while none answers.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use gateway_control::session::{CloseReason, Holding, RefusalKind};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Loop;
use super::source::{Source, Told, Wire};
use crate::config::GatewayFile;
use crate::controller::Orders;
use crate::identity::{Membership, SESSION_PROTOCOL, client_config};
use crate::instance::Instance;
use crate::jitter::jitter;
use crate::session::{
    CarrierKind, DialSettings, Dialler, Follower, Keeper, KeptShare, SessionError,
};
use crate::store::Revision;

/// How long a gateway that was revoked waits before it asks again.
const REVOKED: Duration = Duration::from_secs(300);
/// How often it is looked whether the lease is over: clocks are set, and hosts sleep.
const LOOK: Duration = Duration::from_secs(60);

/// Serves until it is told to end.
pub(super) async fn serve(file: GatewayFile) -> Result<()> {
    let instance = Instance::new(file.gateway.facts.instance.clone());
    let _lock = instance.lock()?;
    let strongbox = file.seal.open().with_context(|| not_joined(&file))?;
    let strongbox = Arc::new(strongbox);
    let Some(membership) = Membership::load(&strongbox)? else { bail!(not_joined(&file)) };
    let own = membership.own_name()?;
    let kept = match KeptShare::load(&strongbox) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::error!(%error, "this gateway has nothing to begin with");
            None
        }
    };
    let tls = client_config(membership.trust()?, &membership.credential, SESSION_PROTOCOL)?;
    let controllers = membership.controllers.clone();
    let dialler = Arc::new(Dialler::new(controllers, &tls, DialSettings::default())?);
    let link_key = membership.link_key.clone();
    tracing::info!(id = %membership.id, share = kept.is_some(), "this host is a gateway of a deployment");
    let keeper =
        Keeper::new(Arc::clone(&strongbox), membership, Arc::clone(&dialler), kept.as_ref());
    let orders = kept.as_ref().map(begin_with);
    let (told, wire) = Told::joined(&file.path, &own, &file.gateway, link_key, orders)?;
    let looping = Loop::begin(Source::Told(Box::new(told)), instance).await?;
    let mut tasks = JoinSet::new();
    let watching = Arc::clone(&dialler);
    tasks.spawn(async move {
        let error = watching.watch().await;
        tracing::warn!(%error, "changes of the network are not seen; a session that they break ends by silence");
        pending::<Result<()>>().await
    });
    tasks.spawn(follow(dialler, follower(wire, keeper, kept.map(|kept| kept.holding))));
    tokio::select! {
        ended = looping.run() => ended,
        Some(ended) = tasks.join_next() => ended.context("the session's task ended")?,
    }
}

fn not_joined(file: &GatewayFile) -> String {
    format!(
        "{}: this host has not joined a deployment; run `gatewayd join --config {}` with a token, or write \
         gateway.name and gateway.site if the controller is on this host",
        file.path.display(),
        file.path.display()
    )
}

/// What a gateway begins with.
fn begin_with(kept: &KeptShare) -> Orders {
    let revision = kept.holding.revision().map(Revision::new);
    match kept.lease.rest() {
        Some(Duration::ZERO) => alone(&kept.holding),
        _ => Orders { revision, share: Ok(Arc::clone(kept.holding.share())) },
    }
}

/// The site without others.
fn alone(holding: &Holding) -> Orders {
    Orders { revision: None, share: Ok(Arc::new(holding.share().alone())) }
}

fn follower(wire: Wire, keeper: Keeper, holding: Option<Holding>) -> Follower {
    let Wire { orders, identity, report } = wire;
    let (holding, keeper) = (watch::Sender::new(holding), Some(keeper));
    Follower { orders, holding, identity, report, keeper }
}

/// One session after the other, for as long as the gateway is there.
async fn follow(dialler: Arc<Dialler>, mut follower: Follower) -> Result<()> {
    let mut better = None;
    loop {
        let carried = match better.take() {
            Some(carried) => carried,
            None => {
                let dialled = tokio::select! {
                    carried = dialler.dial() => Some(carried),
                    () = lapse(&follower) => None,
                };
                match dialled {
                    Some(carried) => carried,
                    None => {
                        let why = "no controller was heard of for as long as its lease allows";
                        go_alone(&follower, why);
                        dialler.dial().await
                    }
                }
            }
        };
        if follower.is_left() {
            bail!("the gateway ended");
        }
        let kind = carried.kind();
        tracing::info!(controller = %carried.peer(), by = %kind, "a controller answers");
        let ended = tokio::select! {
            ended = follower.talk(carried) => ended,
            carried = dialler.upgrade(), if kind == CarrierKind::Tcp => {
                tracing::info!("QUIC gets through again; the session goes on by it");
                better = Some(carried);
                continue;
            }
        };
        let Err(error) = ended else { continue };
        match &error {
            SessionError::Closed(CloseReason::Refused(refusal))
                if refusal.kind == RefusalKind::Revoked =>
            {
                tracing::error!(why = refusal.why, "this gateway was revoked");
                go_alone(&follower, "it was revoked");
                if let Some(keeper) = &mut follower.keeper
                    && let Err(error) = keeper.forget_share()
                {
                    tracing::error!(%error, "the share of this gateway stays on the disk");
                }
                follower.holding.send_replace(None);
                sleep(REVOKED / 2 + jitter(REVOKED / 2)).await;
            }
            _ => {
                let complaint = follower.keeper.as_ref().and_then(Keeper::complaint);
                let complaint = complaint.as_deref().unwrap_or("none");
                tracing::warn!(
                    %error, complaint, "the session ended; going on with what there is, trying again"
                );
            }
        }
    }
}

/// Waits until what the gateway has may no longer be used.
async fn lapse(follower: &Follower) {
    let Some(keeper) = &follower.keeper else { return pending().await };
    loop {
        match keeper.lease().rest() {
            Some(Duration::ZERO) => return,
            Some(rest) => sleep(rest.min(LOOK)).await,
            None => return pending().await,
        }
    }
}

/// Withdraws what is of others.
fn go_alone(follower: &Follower, why: &str) {
    let Some(holding) = follower.holding.borrow().clone() else { return };
    let orders = alone(&holding);
    follower.orders.send_if_modified(|now| {
        let changed = now.as_ref() != Some(&orders);
        if changed {
            tracing::error!(why, "what this gateway had of other sites is withdrawn");
        }
        *now = Some(orders);
        changed
    });
}
