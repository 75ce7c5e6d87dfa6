//! Who comes to a controller over the network: gateways with their certificates, whose sessions these are, and those
//! who join by a token.

use std::sync::Arc;
use std::time::Duration;

use gateway_control::identity::Subject;
use gateway_control::session::{ControllerEnd, Lease, Peer, Refusal, RefusalKind};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::joining::{self, JoinError};
use super::serve::{Credentials, attend};
use super::{Carried, CarrierError, Driven, Ending, Listener, SessionError};
use crate::clock::now;
use crate::controller::Controller;
use crate::controller::members::MemberError;
use crate::identity::{JOIN_PROTOCOL, Leaf, SESSION_PROTOCOL};

/// How long somebody who joins has to say what he wants, and to hear the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Those who join at once. The others wait.
const JOINING: usize = 64;

/// A controller's door.
#[derive(Debug)]
pub struct Door {
    listener: Listener,
    controller: Arc<Controller>,
    /// For how long a gateway may go on without word from a controller.
    lease: Lease,
}

impl Door {
    /// Behind which this controller is.
    pub fn new(listener: Listener, controller: Arc<Controller>, lease: Option<Duration>) -> Self {
        let lease = lease.map_or(Lease::Unlimited, Lease::For);
        Self { listener, controller, lease }
    }

    /// Serves those who come, until nobody can any more.
    pub async fn serve(mut self) -> CarrierError {
        let mut sessions = JoinSet::new();
        let joining = Arc::new(tokio::sync::Semaphore::new(JOINING));
        loop {
            let carried = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(carried) => carried,
                    Err(error) => return error,
                },
                Some(_) = sessions.join_next() => continue,
            };
            let (controller, lease) = (Arc::clone(&self.controller), self.lease);
            match (carried.protocol(), carried.certificates().first()) {
                (JOIN_PROTOCOL, _) => {
                    let joining = Arc::clone(&joining);
                    sessions.spawn(async move {
                        // Never closed.
                        let _place = joining.acquire_owned().await;
                        take_in(carried, &controller).await;
                    });
                }
                (SESSION_PROTOCOL, Some(certificate)) => {
                    // The handshake has read it already.
                    match Leaf::read(certificate) {
                        Ok(leaf) => {
                            sessions.spawn(welcome(carried, leaf, lease, controller));
                        }
                        Err(error) => carried.close(Ending::Refused, &error.to_string()),
                    }
                }
                _ => carried.close(Ending::Refused, "a session needs a certificate"),
            }
        }
    }
}

/// A gateway's session, from its certificate to its end.
async fn welcome(carried: Carried, leaf: Leaf, lease: Lease, controller: Arc<Controller>) {
    let Subject::Gateway(site, gateway) = leaf.id.subject.clone() else {
        carried.close(Ending::Refused, "only gateways have sessions");
        return;
    };
    let (from, name) = (carried.peer(), gateway.clone());
    let peer = Peer::Certified { site, gateway };
    match controller.admit(&leaf, now()).await {
        Ok(_) => {
            let credentials = Credentials { id: leaf.id, held: leaf.serial };
            match attend(carried, peer, Some(lease), Some(credentials), &controller).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(gateway = %name, %from, %error, "a gateway's session ended");
                    if let SessionError::Closed(reason) = &error
                        && reason.is_misbehaviour()
                    {
                        controller.remark(&name, "Misbehaved", &error.to_string());
                    }
                }
            }
        }
        Err(error) => {
            tracing::warn!(gateway = %name, %from, %error, "a gateway was not let in");
            let refusal = match error {
                MemberError::Refused(lack) => {
                    controller.remark(&name, "TurnedAway", &lack.why);
                    lack.into()
                }
                // It may come again.
                error => Refusal { kind: RefusalKind::Other, why: error.to_string() },
            };
            let mut end = ControllerEnd::new(Instant::now().into_std(), peer, None);
            end.refuse(refusal);
            Driven::new(carried, end).finish().await;
        }
    }
}

/// Somebody who joins: hears what he wants, and answers.
async fn take_in(mut carried: Carried, controller: &Controller) {
    let from = carried.peer();
    let taken_in = timeout(PATIENCE, async {
        let answer = match joining::hear(&mut carried).await {
            Ok(joining) => {
                controller.redeem(&joining, now()).await.map_err(|error| error.to_string())
            }
            Err(JoinError::Message(error)) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        if let Err(why) = &answer {
            tracing::warn!(%from, why, "somebody wanted to join and was refused");
        }
        joining::answer(&mut carried, &answer).await
    });
    match taken_in.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%from, %error, "somebody who wanted to join is gone"),
        Err(_) => tracing::debug!(%from, "somebody who wanted to join took too long"),
    }
    carried.close(Ending::Done, "");
}
