//! The gateways that are told their shares: what each is to have, and how far it has come. Known only while
//! this controller runs; a gateway that connects anew reports anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_control::deployment::share::Share;
use gateway_control::model::{GatewayName, PublicKey, SiteName};
use gateway_control::session::{Edition, Refusal, RefusalKind, Wanted};
use tokio::sync::watch;

use super::state::State;
use crate::api::wire::{Event, Reference};
use crate::store::Revision;

/// Events of gateways that are kept.
const EVENTS: usize = 1000;

/// What a gateway is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    /// When it was last changed.
    pub revision: Option<Revision>,
    /// The share, or why there is none for it.
    pub share: Result<Arc<Share>, Lack>,
}

/// Why a gateway has nothing to apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Lack {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// What is wrong, with the remedy.
    pub why: String,
}

impl From<Lack> for Refusal {
    fn from(Lack { kind, why }: Lack) -> Self {
        Self { kind, why }
    }
}

impl From<Refusal> for Lack {
    fn from(Refusal { kind, why }: Refusal) -> Self {
        Self { kind, why }
    }
}

impl Lack {
    /// Of which only the words came over.
    pub fn nothing(why: String) -> Self {
        Self { kind: RefusalKind::Other, why }
    }
}

/// What a gateway says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The revision of the share that its kernel has.
    pub applied: Option<Revision>,
    /// Why it could not apply a later one, with the remedy.
    pub refused: Option<String>,
    /// How many of its links are up.
    pub links_up: Option<usize>,
}

/// Who a gateway says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its site.
    pub site: SiteName,
    /// Its name.
    pub gateway: GatewayName,
    /// Its link's public key.
    pub public_key: PublicKey,
}

/// A gateway that is told its share, until it is dropped.
#[derive(Debug)]
pub struct Connection {
    fleet: Arc<Fleet>,
    identity: Identity,
    number: u64,
    orders: watch::Receiver<Orders>,
    editions: Editions,
    /// Of one that came to a site that has its gateway: it waits until that one is gone.
    idle: Option<Idle>,
    clock: fn() -> u64,
}

/// What a connection has that waits for its site.
#[derive(Debug)]
struct Idle {
    _orders: watch::Sender<Orders>,
    news: watch::Receiver<u64>,
}

/// The share that a site's gateway was told last, and by what it differs from those before: what a gateway missed while
/// it was away is told by the difference.
type Editions = Arc<Mutex<Option<Arc<Edition>>>>;

/// All of them.
#[derive(Debug)]
pub(super) struct Fleet {
    inner: Mutex<Inner>,
    /// Counts up with each change of what is declared or reported.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    members: BTreeMap<SiteName, Member>,
    events: VecDeque<Event>,
    connections: u64,
}

/// How a site's gateway was last seen.
#[derive(Debug)]
pub(super) struct Member {
    identity: Identity,
    /// Which connection it has; `None` if it has none now.
    number: Option<u64>,
    /// Whether it is the gateway of the controller's own process, whose place no other takes.
    resides: bool,
    orders: watch::Sender<Orders>,
    editions: Editions,
    report: Report,
}

fn beside_a_resident(site: &SiteName) -> String {
    format!(
        "the gateway of site {site} runs in the controller's process, and a site has one; correct gateway.site of \
         this one, or take [gateway] out of the controller's file"
    )
}

impl Member {
    /// Whether another that comes to this one's site does not take its place: while it is connected, who is of this
    /// process stays, and who takes part is not displaced by one of another name that does not.
    fn keeps_out(&self, comes: &Identity, orders: &Orders) -> bool {
        let takes_part = self.orders.borrow().share.is_ok();
        let is_idle = self.identity.gateway != comes.gateway && orders.share.is_err();
        self.is_connected() && (self.resides || takes_part && is_idle)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.number.is_some()
    }

    /// Whether it is, or was, the gateway of this name.
    pub(super) fn is(&self, name: &GatewayName) -> bool {
        self.identity.gateway == *name
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Why there is nothing for it to apply.
    pub(super) fn lacks_share(&self) -> Option<String> {
        self.orders.borrow().share.as_ref().err().map(|it| it.why.clone())
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self { inner: Mutex::default(), news: watch::Sender::new(0) }
    }
}

impl Fleet {
    /// What is known stays usable whatever happened to a task that held it.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Says that something has changed.
    pub(super) fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes note of something about a gateway.
    pub(super) fn remark(&self, gateway: &GatewayName, at: u64, reason: &str, message: &str) {
        let mut inner = self.inner();
        // Somebody who comes again and again makes no room for himself.
        let is_again = inner.events.iter().rev().find(|it| it.about.name == gateway.as_str());
        if is_again.is_some_and(|it| it.reason == reason && it.message == message) {
            return;
        }
        inner.happened(gateway, at, reason, message);
        drop(inner);
        self.tell();
    }

    /// Looks at the gateways by site.
    pub(super) fn look<T>(&self, at: impl FnOnce(&BTreeMap<SiteName, Member>) -> T) -> T {
        at(&self.inner().members)
    }

    /// Events of gateways, the oldest first.
    pub(super) fn events(&self) -> Vec<Event> {
        self.inner().events.iter().cloned().collect()
    }

    /// Tells the gateways of these sites, or all, what they are to have now.
    pub(super) fn publish(&self, state: &State, sites: Option<&[SiteName]>) {
        for (site, member) in &self.inner().members {
            if sites.is_none_or(|sites| sites.contains(site)) {
                let orders = state.orders(&member.identity);
                member.orders.send_if_modified(|now| {
                    let changed = *now != orders;
                    *now = orders;
                    changed
                });
            }
        }
    }

    pub(super) fn connect(
        self: &Arc<Self>,
        identity: Identity,
        orders: Orders,
        resides: bool,
        clock: fn() -> u64,
    ) -> Connection {
        let mut inner = self.inner();
        inner.connections += 1;
        let number = inner.connections;
        let holder = inner.members.get(&identity.site);
        if let Some(holder) = holder.filter(|it| !resides && it.keeps_out(&identity, &orders)) {
            let share = match holder.resides {
                true => Err(Lack::nothing(beside_a_resident(&identity.site))),
                false => orders.share,
            };
            let (sender, receiver) = watch::channel(Orders { share, ..orders });
            let idle = Some(Idle { _orders: sender, news: self.news() });
            let (fleet, editions) = (Arc::clone(self), Editions::default());
            return Connection { fleet, identity, number, orders: receiver, editions, idle, clock };
        }
        let editions = holder.map(|it| Arc::clone(&it.editions)).unwrap_or_default();
        let (sender, receiver) = watch::channel(orders);
        let member = Member {
            identity: identity.clone(),
            number: Some(number),
            resides,
            orders: sender,
            editions: Arc::clone(&editions),
            report: Report::default(),
        };
        inner.members.insert(identity.site.clone(), member);
        inner.happened(
            &identity.gateway,
            clock(),
            "Connected",
            "it is connected to this controller",
        );
        drop(inner);
        self.tell();
        let fleet = Arc::clone(self);
        Connection { fleet, identity, number, orders: receiver, editions, idle: None, clock }
    }
}

impl Inner {
    fn happened(&mut self, gateway: &GatewayName, at: u64, reason: &str, message: &str) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        let about = Reference { kind: "Gateway".to_owned(), name: gateway.to_string() };
        let (reason, message) = (reason.to_owned(), message.to_owned());
        self.events.push_back(Event { at, about, reason, message, by: None });
    }

    /// The member that this connection is of, unless it has another by now.
    fn member(&mut self, site: &SiteName, number: u64) -> Option<&mut Member> {
        self.members.get_mut(site).filter(|member| member.number == Some(number))
    }
}

impl Connection {
    /// What the gateway is to have; seen from now on.
    pub fn orders(&mut self) -> Orders {
        self.orders.borrow_and_update().clone()
    }

    /// As [`Self::orders`], as a session tells it.
    pub fn wanted(&mut self) -> Wanted {
        let Orders { revision, share } = self.orders();
        let share = share.map_err(Refusal::from).map(|share| {
            let mut last = self.editions.lock().unwrap_or_else(PoisonError::into_inner);
            let edition = match last.take() {
                Some(edition) => edition.next(share),
                None => Arc::new(Edition::new(share)),
            };
            Arc::clone(last.insert(edition))
        });
        Wanted { revision: revision.map(Revision::number), share }
    }

    /// Waits until the gateway is to have something else. False once another connection has taken this one's
    /// place: the same gateway connected again; or once the place that this one waits for is free. Cancel safe.
    pub async fn changed(&mut self) -> bool {
        let Some(idle) = &mut self.idle else { return self.orders.changed().await.is_ok() };
        loop {
            // The fleet has the sender.
            let _ = idle.news.changed().await;
            let is_kept_out = self.fleet.look(|members| {
                let holder = members.get(&self.identity.site);
                holder.is_some_and(|it| it.keeps_out(&self.identity, &self.orders.borrow()))
            });
            if !is_kept_out {
                return false;
            }
        }
    }

    /// Takes note of what the gateway says of itself.
    pub fn report(&self, report: Report) {
        let mut inner = self.fleet.inner();
        let Some(member) = inner.member(&self.identity.site, self.number) else { return };
        if member.report == report {
            return;
        }
        let before = std::mem::replace(&mut member.report, report.clone());
        let at = (self.clock)();
        match (&before.refused, &report.refused) {
            (old, Some(why)) if old.as_ref() != Some(why) => {
                inner.happened(&self.identity.gateway, at, "Refused", why);
            }
            (Some(_), None) => {
                let message = "it has applied what it is told";
                inner.happened(&self.identity.gateway, at, "Applied", message);
            }
            _ => {}
        }
        drop(inner);
        self.fleet.tell();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut inner = self.fleet.inner();
        let Some(member) = inner.member(&self.identity.site, self.number) else { return };
        member.number = None;
        let message = "it is no longer connected to this controller; it goes on with what it has";
        inner.happened(&self.identity.gateway, (self.clock)(), "Disconnected", message);
        drop(inner);
        self.fleet.tell();
    }
}
