//! The controller's end: each gateway that connects is told its share, and says how far it is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gateway_control::identity::{Serial, SpiffeId};
use gateway_control::session::{
    self, Certificate, ControllerEnd, ControllerEvent, Hello, Lease, Peer, Refusal, RefusalKind,
    Renew, Wanted,
};
use nix::unistd::Uid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Driven, SessionError};
use crate::api::Listener;
use crate::clock::now;
use crate::controller::members::{MemberError, Renewed};
use crate::controller::{Connection, Controller, Identity, Report};
use crate::store::Revision;

/// The shortest time between two certificates of one session.
const EVERY: Duration = Duration::from_secs(1);
/// Gateways at once: more than share a host.
const MOST: usize = 64;

/// The sessions of a controller with the gateways of its host.
#[derive(Debug)]
pub struct Sessions {
    listener: Listener,
    controller: Arc<Controller>,
}

impl Sessions {
    /// Sessions by this socket.
    pub fn new(listener: Listener, controller: Arc<Controller>) -> Self {
        Self { listener, controller }
    }

    /// Serves gateways until the socket fails.
    pub async fn serve(self) -> io::Error {
        let places = Arc::new(Semaphore::new(MOST));
        let mut sessions = JoinSet::new();
        loop {
            // Never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { continue };
            let accepted = loop {
                tokio::select! {
                    accepted = self.listener.accept() => break accepted,
                    Some(_) = sessions.join_next() => {}
                }
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => return error,
            };
            let controller = Arc::clone(&self.controller);
            sessions.spawn(async move {
                let _place = place;
                if let Err(error) = talk(stream, &controller).await {
                    tracing::warn!(%error, "a gateway's session ended");
                }
            });
        }
    }
}

async fn talk(stream: UnixStream, controller: &Controller) -> Result<(), SessionError> {
    let uid = Uid::from_raw(stream.peer_cred()?.uid());
    if !uid.is_root() && uid != Uid::effective() {
        return Err(SessionError::Stranger { uid });
    }
    attend(stream, Peer::Host, None, None, controller).await
}

/// The certificate that a gateway came with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whom it is of.
    pub id: SpiffeId,
    /// Which one.
    pub held: Serial,
}

/// Certificates of a gateway within one session.
struct Renewals {
    credentials: Credentials,
    /// Given, and perhaps not kept by the gateway.
    given: Option<Serial>,
    /// When another may be asked for.
    next: Instant,
}

impl Renewals {
    async fn renew(
        &mut self,
        asked: Renew,
        controller: &Controller,
    ) -> Result<Certificate, Refusal> {
        let refusal = |why: String| Refusal { kind: RefusalKind::Other, why };
        if Instant::now() < self.next {
            let why =
                format!("it asked for certificates more often than every {} s", EVERY.as_secs());
            return Err(refusal(why));
        }
        self.next = Instant::now() + EVERY;
        if let Some(given) = self.given.filter(|it| u64::from(it.generation) == asked.generation) {
            self.credentials.held = given;
        }
        let Credentials { id, held } = &self.credentials;
        match controller.renew(id, *held, &asked.request, now()).await {
            Ok(Renewed { certificate, serial }) => {
                self.given = Some(serial);
                let generation = serial.generation.into();
                Ok(Certificate { generation, chain: vec![certificate.to_vec()] })
            }
            Err(MemberError::Refused(lack)) => Err(lack.into()),
            Err(error) => Err(refusal(error.to_string())),
        }
    }
}

/// Serves one gateway by this connection until the session is over; without error the gateway has closed it. `peer` is
/// who the gateway is by the way it came, `lease` for how long it may go on without word from a controller, and
/// `credentials` what it is to renew.
pub async fn attend<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Peer,
    lease: Option<Lease>,
    credentials: Option<Credentials>,
    controller: &Controller,
) -> Result<(), SessionError> {
    let mut renewals =
        credentials.map(|credentials| Renewals { credentials, given: None, next: Instant::now() });
    let is_certified = matches!(peer, Peer::Certified { .. });
    let end = ControllerEnd::new(Instant::now().into_std(), peer, lease);
    let mut driven = Driven::new(stream, end);
    let mut gateway: Option<Connection> = None;
    loop {
        tokio::select! {
            event = driven.next() => match event {
                Err(SessionError::Gone) => {
                    tracing::info!("a gateway is gone");
                    return Ok(());
                }
                Err(error) => return Err(error),
                Ok(event) => match event {
                ControllerEvent::Hello(Hello { site, gateway: name, public_key, program, .. }) => {
                    tracing::info!(gateway = %name, program, "a gateway is connected");
                    let identity = Identity { site, gateway: name, public_key };
                    let mut connection = controller.connect(identity).await?;
                    tell(driven.end(), connection.wanted(), is_certified);
                    gateway = Some(connection);
                }
                ControllerEvent::Report(report) => {
                    if let Some(connection) = &gateway {
                        connection.report(reported(report));
                    }
                }
                ControllerEvent::Renew(asked) => match &mut renewals {
                    Some(renewals) => match renewals.renew(asked, controller).await {
                        Ok(certificate) => driven.end().certificate(certificate),
                        Err(refusal) => driven.end().refuse(refusal),
                    },
                    None => driven.end().refuse(out_of_place("certificates")),
                },
                ControllerEvent::LinkKey(_) => driven.end().refuse(out_of_place("keys of links")),
                ControllerEvent::Astray => {
                    tracing::warn!("a gateway had another share than it said; it is told all of it");
                }
                ControllerEvent::Closed(reason) => {
                    driven.finish().await;
                    return Err(reason.into());
                }
                }
            },
            goes_on = changed(&mut gateway) => match &mut gateway {
                Some(connection) if goes_on => {
                    tell(driven.end(), connection.wanted(), is_certified);
                }
                _ => {
                    gateway = None;
                    driven.end().refuse(Refusal {
                        kind: RefusalKind::Superseded,
                        why: "a gateway of the same site has connected since; see that it runs once".to_owned(),
                    });
                }
            },
        }
    }
}

fn out_of_place(what: &str) -> Refusal {
    let why = format!("by this session there are no {what}");
    Refusal { kind: RefusalKind::Other, why }
}

/// Waits until there is something else to tell. False if another session has taken this one's place.
async fn changed(gateway: &mut Option<Connection>) -> bool {
    match gateway {
        Some(connection) => connection.changed().await,
        None => std::future::pending().await,
    }
}

/// Who is not, or no longer, one of the deployment is let go; who only lacks something hears when he has it.
fn tell(end: &mut ControllerEnd, wanted: Wanted, is_certified: bool) {
    match wanted.share {
        Err(refusal)
            if refusal.kind == RefusalKind::Revoked
                || is_certified && refusal.kind == RefusalKind::Unknown =>
        {
            end.refuse(refusal);
        }
        share => end.set_orders(Instant::now().into_std(), Wanted { share, ..wanted }),
    }
}

fn reported(report: session::Report) -> Report {
    Report {
        applied: report.applied.map(Revision::new),
        refused: report.refused,
        links_up: report.links_up.and_then(|up| usize::try_from(up).ok()),
    }
}
