//! A gateway's end: says who it is and how far, and keeps the share that it is told.
//!
//! Its daemon has one for each connection that it dials. What is to be said waits in one place a kind, the newest in
//! place of the one before, so that nothing grows while the connection stalls.

use std::time::Instant;

use super::frame::Limits;
use super::holding::PatchError;
use super::line::Line;
use super::{
    Certificate, CloseReason, End, FROM_CONTROLLER_MAX_LEN, FROM_GATEWAY_MAX_LEN, FromController,
    FromGateway, Hello, Holding, Lease, Orders, Refusal, Renew, Report, Taken, Told,
};
use crate::model::PublicKey;

const FROM_CONTROLLER: Limits = Limits { content: FROM_CONTROLLER_MAX_LEN, compressed: true };
const FROM_GATEWAY: Limits = Limits { content: FROM_GATEWAY_MAX_LEN, compressed: false };

/// A gateway's end of a session.
#[derive(Debug)]
pub struct GatewayEnd {
    line: Line,
    holding: Option<Holding>,
    /// That of the last orders of this session.
    revision: Option<u64>,
    hello: Option<Hello>,
    report: Option<Report>,
    taken: Option<Taken>,
    renew: Option<Renew>,
    link_key: Option<PublicKey>,
    events: Events,
}

/// What a gateway's end tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayEvent {
    /// What the gateway is to have. [`GatewayEnd::report`] says when its kernel has it.
    Orders {
        /// When it was last changed.
        revision: Option<u64>,
        /// The share, or why there is none for it.
        share: Result<Holding, Refusal>,
    },
    /// What it has holds from now on for so long.
    Renewed(Lease),
    /// A difference did not lead to the share that it should have led to; the controller is asked for the whole.
    Astray(PatchError),
    /// Another certificate.
    Certificate(Certificate),
    /// The controller knows the link by this key from now on.
    LinkKeyTaken(PublicKey),
    /// The session is over.
    Closed(CloseReason),
}

/// What is to be told, the newest of each kind.
#[derive(Debug, Default)]
struct Events {
    orders: Option<GatewayEvent>,
    renewed: Option<Lease>,
    astray: Option<PatchError>,
    certificate: Option<Certificate>,
    link_key_taken: Option<PublicKey>,
    closed: Option<CloseReason>,
}

impl GatewayEnd {
    /// For a connection that is open. `holding` is the share that the gateway has from before; what `hello` says of it
    /// is put right.
    pub fn new(now: Instant, hello: Hello, holding: Option<Holding>) -> Self {
        let hello = Hello { holds: holding.as_ref().map(Holding::held), ..hello };
        Self {
            line: Line::new(now, FROM_CONTROLLER, FROM_GATEWAY),
            holding,
            revision: None,
            hello: Some(hello),
            report: None,
            taken: None,
            renew: None,
            link_key: None,
            events: Events::default(),
        }
    }

    /// Says how far the gateway is.
    pub fn report(&mut self, report: Report) {
        self.report = Some(report);
    }

    /// Asks for another certificate.
    pub fn renew(&mut self, renew: Renew) {
        self.renew = Some(renew);
    }

    /// Says that the link is to have another key.
    pub fn link_key(&mut self, key: PublicKey) {
        self.link_key = Some(key);
    }

    /// The share that the gateway was told last.
    pub fn holding(&self) -> Option<&Holding> {
        self.holding.as_ref()
    }

    fn hear(&mut self, number: u64, message: FromController) -> Result<(), CloseReason> {
        match message {
            FromController::Orders(orders) => self.take(number, orders)?,
            FromController::Refused(refusal) => return Err(CloseReason::Refused(refusal)),
            FromController::Certificate(it) => self.events.certificate = Some(it),
            FromController::LinkKeyTaken(key) => self.events.link_key_taken = Some(key),
            FromController::Ping(lease) => {
                self.line.pong = true;
                self.renewed(lease);
            }
            FromController::Pong(lease) => self.renewed(lease),
        }
        Ok(())
    }

    fn renewed(&mut self, lease: Option<Lease>) {
        self.events.renewed = lease.or(self.events.renewed);
    }

    fn take(&mut self, number: u64, orders: Orders) -> Result<(), CloseReason> {
        let Orders { revision, lease, told } = orders;
        if let (Some(before), Some(now)) = (self.revision, revision)
            && now < before
        {
            let why = format!("revision {now} came behind revision {before}");
            return Err(CloseReason::Orders { why });
        }
        let share = match told {
            Told::Snapshot { octets, digest } => {
                let holding = Holding::new(revision, octets)?;
                if holding.held().digest != digest {
                    let found = holding.held().digest;
                    let why = format!("the share is {found}, and is to be {digest}");
                    return Err(CloseReason::Orders { why });
                }
                Ok(holding)
            }
            Told::Delta(patch) => {
                let Some(holding) = &self.holding else {
                    let why = "a difference came, and there is no share".to_owned();
                    return Err(CloseReason::Orders { why });
                };
                match holding.patched(revision, &patch) {
                    Ok(holding) => Ok(holding),
                    Err(PatchError::Share(error)) => return Err(error.into()),
                    Err(error) => {
                        self.taken = Some(Taken { number, holds: None });
                        self.events.astray = Some(error);
                        return Ok(());
                    }
                }
            }
            Told::Nothing(why) => Err(why),
        };
        if let Ok(holding) = &share {
            self.holding = Some(holding.clone());
        }
        self.revision = revision.or(self.revision);
        let holds = self.holding.as_ref().map(Holding::held);
        self.taken = Some(Taken { number, holds });
        self.events.orders = Some(GatewayEvent::Orders { revision, share });
        self.renewed(lease);
        Ok(())
    }

    fn close(&mut self, reason: CloseReason) {
        self.line.cut();
        self.events.closed = Some(reason);
    }

    fn next_message(&mut self) -> Option<FromGateway> {
        if let Some(hello) = self.hello.take() {
            return Some(FromGateway::Hello(hello));
        }
        if std::mem::take(&mut self.line.pong) {
            return Some(FromGateway::Pong);
        }
        if let Some(taken) = self.taken.take() {
            return Some(FromGateway::Taken(taken));
        }
        if let Some(key) = self.link_key.take() {
            return Some(FromGateway::LinkKey(key));
        }
        if let Some(renew) = self.renew.take() {
            return Some(FromGateway::Renew(renew));
        }
        if let Some(report) = self.report.take() {
            return Some(FromGateway::Report(report));
        }
        std::mem::take(&mut self.line.ping).then_some(FromGateway::Ping)
    }
}

impl End for GatewayEnd {
    type Event = GatewayEvent;

    fn handle_input(&mut self, now: Instant, octets: &[u8]) {
        let mut rest = octets;
        loop {
            let heard = match self.line.read(now, &mut rest) {
                Ok(None) => return,
                Ok(Some((number, content))) => match FromController::decode(&content) {
                    Ok(Some(message)) => self.hear(number, message),
                    Ok(None) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Err(reason) => Err(reason),
            };
            if let Err(reason) = heard {
                return self.close(reason);
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Err(reason) = self.line.handle_timeout(now) {
            self.close(reason);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.line.timeout()
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        if self.line.is_free()
            && !self.line.is_over()
            && let Some(message) = self.next_message()
        {
            self.line.send(message.encode());
        }
        self.line.piece()
    }

    fn poll_event(&mut self) -> Option<GatewayEvent> {
        let events = &mut self.events;
        if let Some(orders) = events.orders.take() {
            return Some(orders);
        }
        if let Some(lease) = events.renewed.take() {
            return Some(GatewayEvent::Renewed(lease));
        }
        if let Some(why) = events.astray.take() {
            return Some(GatewayEvent::Astray(why));
        }
        if let Some(certificate) = events.certificate.take() {
            return Some(GatewayEvent::Certificate(certificate));
        }
        if let Some(key) = events.link_key_taken.take() {
            return Some(GatewayEvent::LinkKeyTaken(key));
        }
        events.closed.take().map(GatewayEvent::Closed)
    }
}
