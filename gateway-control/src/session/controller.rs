//! A controller's end: hears who a gateway is and how far, and tells it what it is to have.
//!
//! Its daemon has one for each connection that it accepts. Of orders one is on its way at most and one waits, the
//! newest; everything else that is to be said waits in one place a kind. In silence an end holds no buffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_policy::SiteName;

use super::frame::Limits;
use super::line::Line;
use super::{
    Certificate, CloseReason, Digest, Edition, End, FROM_CONTROLLER_MAX_LEN, FROM_GATEWAY_MAX_LEN,
    FromController, FromGateway, Hello, Lease, Orders, Refusal, RefusalKind, Renew, Report, Taken,
    Told, VERSION,
};
use crate::model::{GatewayName, PublicKey};

/// How long a gateway has to say who it is.
pub const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Changes of what a gateway is to have become one message within this time of the first.
pub const MERGED: Duration = Duration::from_millis(20);

const FROM_CONTROLLER: Limits = Limits { content: FROM_CONTROLLER_MAX_LEN, compressed: true };
const FROM_GATEWAY: Limits = Limits { content: FROM_GATEWAY_MAX_LEN, compressed: false };

/// A controller's end of a session.
#[derive(Debug)]
pub struct ControllerEnd {
    line: Line,
    peer: Peer,
    /// Until when the gateway has to say who it is; `None` once it has.
    hello_by: Option<Instant>,
    lease: Option<Lease>,
    wanted: Option<Wanted>,
    due: Due,
    on_its_way: Option<OnItsWay>,
    /// The share that the gateway has, as far as it is known.
    holds: Option<Digest>,
    certificate: Option<Certificate>,
    link_key_taken: Option<PublicKey>,
    refusal: Option<Refusal>,
    events: Events,
}

/// Who is at the other end, by the way it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Root of this host, who is believed whatever gateway he says he is.
    Host,
    /// A gateway with a certificate; it may say nothing else.
    Certified {
        /// Its site.
        site: SiteName,
        /// Its name.
        gateway: GatewayName,
    },
}

/// What a gateway is to have.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// When it was last changed.
    pub revision: Option<u64>,
    /// The share, or why there is none for it.
    pub share: Result<Arc<Edition>, Refusal>,
}

/// What a controller's end tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerEvent {
    /// Who the gateway is; first of all. It waits for [`ControllerEnd::set_orders`] or [`ControllerEnd::refuse`].
    Hello(Hello),
    /// How far it is.
    Report(Report),
    /// It wants another certificate.
    Renew(Renew),
    /// Its link is to have another key.
    LinkKey(PublicKey),
    /// A difference did not lead the gateway to the share that it should have led to; it is told the whole.
    Astray,
    /// The session is over.
    Closed(CloseReason),
}

/// Whether there are orders that the gateway was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    At(Instant),
    Now,
}

/// Orders that the gateway has not said to have taken.
#[derive(Clone, Copy, Debug)]
struct OnItsWay {
    number: u64,
    /// What it holds then; `None` if it was told that there is nothing for it.
    share: Option<Digest>,
    is_whole: bool,
}

/// What is to be told, the newest of each kind.
#[derive(Debug, Default)]
struct Events {
    hello: Option<Box<Hello>>,
    report: Option<Report>,
    renew: Option<Renew>,
    link_key: Option<PublicKey>,
    astray: bool,
    closed: Option<CloseReason>,
}

impl Wanted {
    fn is_same(&self, other: &Self) -> bool {
        let is_same_share = match (&self.share, &other.share) {
            (Ok(one), Ok(other)) => one.digest() == other.digest(),
            (Err(one), Err(other)) => one == other,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        self.revision == other.revision && is_same_share
    }
}

impl ControllerEnd {
    /// For a connection that was accepted. `lease` is for how long what the gateway has may be used without word from
    /// a controller.
    pub fn new(now: Instant, peer: Peer, lease: Option<Lease>) -> Self {
        Self {
            line: Line::new(now, FROM_GATEWAY, FROM_CONTROLLER),
            peer,
            hello_by: Some(now + HELLO_WITHIN),
            lease,
            wanted: None,
            due: Due::Nothing,
            on_its_way: None,
            holds: None,
            certificate: None,
            link_key_taken: None,
            refusal: None,
            events: Events::default(),
        }
    }

    /// What the gateway is to have from now on. Nothing happens if it is to have that already.
    pub fn set_orders(&mut self, now: Instant, wanted: Wanted) {
        if self.wanted.as_ref().is_some_and(|before| before.is_same(&wanted)) {
            return;
        }
        if self.due == Due::Nothing {
            self.due = if self.wanted.is_none() { Due::Now } else { Due::At(now + MERGED) };
        }
        self.wanted = Some(wanted);
    }

    /// For how long what the gateway has may be used from the next sign of life on; `None`: nothing is said of it, so
    /// that what was said before runs out.
    pub fn set_lease(&mut self, lease: Option<Lease>) {
        self.lease = lease;
    }

    /// Gives the gateway another certificate.
    pub fn certificate(&mut self, certificate: Certificate) {
        self.certificate = Some(certificate);
    }

    /// Says that the gateway's link is known by this key from now on.
    pub fn link_key_taken(&mut self, key: PublicKey) {
        self.link_key_taken = Some(key);
    }

    /// Ends the session and says why. Nothing that comes is taken any more.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.close_with(refusal.clone(), CloseReason::Refused(refusal));
    }

    fn close_with(&mut self, refusal: Refusal, reason: CloseReason) {
        if !self.line.is_over() {
            self.line.end();
            self.refusal = Some(refusal);
            self.events.closed = Some(reason);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.line.cut();
        self.events.closed = Some(reason);
    }

    fn hear(&mut self, message: FromGateway) -> Result<(), CloseReason> {
        let out_of_turn = |what| Err(CloseReason::OutOfTurn { what });
        match message {
            FromGateway::Hello(hello) if self.hello_by.is_some() => self.greet(hello),
            FromGateway::Hello(_) => return out_of_turn("a second hello"),
            _ if self.hello_by.is_some() => return out_of_turn("something before the hello"),
            FromGateway::Report(report) => self.events.report = Some(report),
            FromGateway::Taken(taken) => self.taken(taken)?,
            FromGateway::Renew(renew) => self.events.renew = Some(renew),
            FromGateway::LinkKey(key) => self.events.link_key = Some(key),
            FromGateway::Ping => self.line.pong = true,
            FromGateway::Pong => {}
        }
        Ok(())
    }

    fn greet(&mut self, hello: Hello) {
        self.hello_by = None;
        if hello.version != VERSION {
            let version = hello.version;
            let why = format!(
                "the gateway speaks version {version} of the protocol and the controller {VERSION}; \
                 upgrade the older one"
            );
            let refusal = Refusal { kind: RefusalKind::Version, why };
            return self.close_with(refusal, CloseReason::Version { version });
        }
        if let Peer::Certified { site, gateway } = &self.peer
            && (*site != hello.site || *gateway != hello.gateway)
        {
            let reason = CloseReason::Misnamed {
                site: hello.site,
                gateway: hello.gateway,
                certified_site: site.clone(),
                certified_gateway: gateway.clone(),
            };
            let why = format!(
                "the certificate is of gateway {gateway} of site {site}; correct the gateway's file, or let \
                 it join anew"
            );
            let refusal = Refusal { kind: RefusalKind::Other, why };
            return self.close_with(refusal, reason);
        }
        self.holds = hello.holds.map(|held| held.digest);
        self.events.hello = Some(Box::new(hello));
    }

    fn taken(&mut self, taken: Taken) -> Result<(), CloseReason> {
        let orders = self.on_its_way.take_if(|orders| orders.number == taken.number);
        let Some(orders) = orders else {
            return Err(CloseReason::OutOfTurn {
                what: "word of orders that are not on their way",
            });
        };
        self.holds = taken.holds.map(|held| held.digest);
        if orders.share.is_none() || orders.share == self.holds {
            return Ok(());
        }
        if orders.is_whole {
            return Err(CloseReason::OutOfTurn {
                what: "another share than the one that was told",
            });
        }
        self.holds = None;
        self.due = Due::Now;
        self.events.astray = true;
        Ok(())
    }

    fn next_message(&mut self) -> Option<FromController> {
        if std::mem::take(&mut self.line.pong) {
            return Some(FromController::Pong(self.lease));
        }
        if let Some(key) = self.link_key_taken.take() {
            return Some(FromController::LinkKeyTaken(key));
        }
        if let Some(certificate) = self.certificate.take() {
            return Some(FromController::Certificate(certificate));
        }
        std::mem::take(&mut self.line.ping).then_some(FromController::Ping(self.lease))
    }

    fn send_orders(&mut self) {
        let is_due = self.due == Due::Now && self.on_its_way.is_none() && self.hello_by.is_none();
        let Some(Wanted { revision, share }) = self.wanted.as_ref().filter(|_| is_due) else {
            return;
        };
        let (told, digest) = match share {
            Ok(edition) => (edition.told(self.holds), Some(edition.digest())),
            Err(why) => (Told::Nothing(why.clone()), None),
        };
        let is_whole = matches!(told, Told::Snapshot { .. });
        let orders = Orders { revision: *revision, lease: self.lease, told };
        let number = self.line.send(FromController::Orders(orders).encode());
        self.due = Due::Nothing;
        self.on_its_way = Some(OnItsWay { number, share: digest, is_whole });
    }
}

impl End for ControllerEnd {
    type Event = ControllerEvent;

    fn handle_input(&mut self, now: Instant, octets: &[u8]) {
        let mut rest = octets;
        loop {
            let heard = match self.line.read(now, &mut rest) {
                Ok(None) => return,
                Ok(Some((_, content))) => match FromGateway::decode(&content) {
                    Ok(Some(message)) => self.hear(message),
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
        if !self.line.is_over() && self.hello_by.is_some_and(|by| now >= by) {
            return self.close(CloseReason::Nameless);
        }
        if matches!(self.due, Due::At(at) if now >= at) {
            self.due = Due::Now;
        }
        if let Err(reason) = self.line.handle_timeout(now) {
            self.close(reason);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let line = self.line.timeout()?;
        let due = match self.due {
            Due::At(at) => Some(at),
            Due::Nothing | Due::Now => None,
        };
        Some([due, self.hello_by].into_iter().flatten().fold(line, Instant::min))
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        if self.line.is_free() {
            if let Some(refusal) = self.refusal.take() {
                self.line.send(FromController::Refused(refusal).encode());
            } else if !self.line.is_over() {
                match self.next_message() {
                    Some(message) => drop(self.line.send(message.encode())),
                    None => self.send_orders(),
                }
            }
        }
        self.line.piece()
    }

    fn poll_event(&mut self) -> Option<ControllerEvent> {
        let events = &mut self.events;
        if let Some(hello) = events.hello.take() {
            return Some(ControllerEvent::Hello(*hello));
        }
        if let Some(key) = events.link_key.take() {
            return Some(ControllerEvent::LinkKey(key));
        }
        if let Some(renew) = events.renew.take() {
            return Some(ControllerEvent::Renew(renew));
        }
        if let Some(report) = events.report.take() {
            return Some(ControllerEvent::Report(report));
        }
        if std::mem::take(&mut events.astray) {
            return Some(ControllerEvent::Astray);
        }
        events.closed.take().map(ControllerEvent::Closed)
    }
}
