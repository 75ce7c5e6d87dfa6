//! The controller: what operators declare, kept in a store, and what each gateway is to be told of it.
//!
//! | file | holds |
//! |---|---|
//! | state | what the store holds, in memory; a change as a transaction |
//! | layout | resources, allocations and events as keys and values of the store |
//! | members | who may call himself a gateway: tokens, certificates, revocation |
//! | fleet | the gateways that are told their shares, and how far they are |
//! | view | resources and the deployment as operators see them |
//! | error | why the controller did not do what it was asked for |
//!
//! What always holds: a change is in the store before it is answered, whole or not at all, together with the
//! addresses that it needs. Several controllers may work on one store: each transaction holds only if there
//! was none since what it was computed from, so of two that meet one begins again.

mod error;
mod fleet;
mod layout;
pub mod members;
mod state;
mod view;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway_control::deployment::Diff;
use gateway_control::deployment::share::Share;
use gateway_control::model::{GatewayName, SiteName};
use gateway_control::resource::{Declared, Key, Kind, ManagerName, Resource, Selector};
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::api::wire::{DeploymentStatus, Event, View};
use crate::clock::now;
use crate::store::{Outcome, Prefix, Revision, Store};
pub use error::{Conflict, ControllerError};
use fleet::Fleet;
pub use fleet::{Connection, Identity, Lack, Orders, Report};
use members::Members;
use state::{Prepared, State};

/// How often a change is computed anew because another controller was faster.
const ATTEMPTS: u32 = 16;
/// How long a store that does not answer is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// Declared resources, in a store and in memory.
#[derive(Debug)]
pub struct Controller {
    store: Arc<dyn Store>,
    /// How long an address that is no longer used is kept from others, in seconds.
    cooling: u64,
    state: Mutex<Option<State>>,
    fleet: Arc<Fleet>,
    /// Of a controller that takes gateways in over the network.
    members: OnceLock<Arc<Members>>,
}

/// In whose name something is changed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Who holds the fields that are set.
    pub manager: ManagerName,
    /// Whether fields that others hold are taken over.
    pub force: bool,
}

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is new.
    Created,
    /// It is another than before.
    Changed,
    /// It was declared just so already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// A change that was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Each resource that was named, as often as it was.
    pub fates: Vec<(Key, Fate)>,
    /// What gateways are told.
    pub diff: Diff,
    /// The revision that the change has in the store; `None` if there was nothing to write, or nothing was to be.
    pub revision: Option<Revision>,
}

/// A resource as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is declared.
    pub resource: Resource,
    /// When it was last written.
    pub revision: Revision,
}

/// Part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The resources.
    pub views: Vec<View>,
    /// The last of them if there are more.
    pub last: Option<Key>,
    /// The revision that they are of; `None` in a store that holds nothing yet.
    pub revision: Option<Revision>,
}

/// Which resources are asked for: all, unless something is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of one kind.
    pub kind: Option<Kind>,
    /// With these labels.
    pub selector: Option<Selector>,
}

impl Wanted {
    fn wants(&self, resource: &Resource) -> bool {
        self.kind.is_none_or(|kind| kind == resource.key().kind())
            && self.selector.as_ref().is_none_or(|it| it.selects(resource.labels()))
    }
}

/// What a change is computed from.
enum Asked<'a> {
    Apply(&'a [Declared]),
    Delete(&'a [Key]),
}

impl Controller {
    /// A controller of what this store holds. An address that is no longer used is kept from others for `cooling`
    /// seconds.
    pub async fn open(
        store: Arc<dyn Store>,
        cooling: u64,
        now: u64,
    ) -> Result<Self, ControllerError> {
        let state = State::read(store.as_ref(), cooling, now).await?;
        let (state, fleet, members) = (Mutex::new(Some(state)), Arc::default(), OnceLock::new());
        Ok(Self { store, cooling, state, fleet, members })
    }

    /// Applies all of these resources, or none and says everything that is wrong. `now` is in seconds since 1970.
    pub async fn apply(
        &self,
        declared: &[Declared],
        author: &Author,
        now: u64,
    ) -> Result<Done, ControllerError> {
        self.change(Asked::Apply(declared), author, now).await
    }

    /// What applying these resources would do. Nothing is written.
    pub async fn preview(
        &self,
        declared: &[Declared],
        author: &Author,
        now: u64,
    ) -> Result<Done, ControllerError> {
        self.look_ahead(Asked::Apply(declared), author, now).await
    }

    /// Deletes all of these resources, or none and says everything that is wrong.
    pub async fn delete(
        &self,
        keys: &[Key],
        author: &Author,
        now: u64,
    ) -> Result<Done, ControllerError> {
        self.change(Asked::Delete(keys), author, now).await
    }

    /// What deleting these resources would do. Nothing is written.
    pub async fn preview_deletion(
        &self,
        keys: &[Key],
        author: &Author,
        now: u64,
    ) -> Result<Done, ControllerError> {
        self.look_ahead(Asked::Delete(keys), author, now).await
    }

    async fn change(
        &self,
        asked: Asked<'_>,
        author: &Author,
        now: u64,
    ) -> Result<Done, ControllerError> {
        let mut place = self.state.lock().await;
        for _ in 0..ATTEMPTS {
            let state = self.current(&mut place, now).await?;
            let prepared = match prepare(&state, &asked, author) {
                Ok(prepared) => prepared,
                Err(refused) => {
                    *place = Some(state);
                    return Err(refused);
                }
            };
            if let Some(done) = self.commit(&mut place, state, prepared, author, now).await? {
                return Ok(done);
            }
        }
        Err(ControllerError::Contended { attempts: ATTEMPTS })
    }

    /// Takes a change to the store; `None` if another controller was faster. The state is out of its place until the
    /// store has answered: if this future is dropped or the store fails, what the store has is not known, and is read
    /// anew.
    async fn commit(
        &self,
        place: &mut Option<State>,
        mut state: State,
        prepared: Prepared,
        author: &Author,
        now: u64,
    ) -> Result<Option<Done>, ControllerError> {
        let diff = match state.desired.change(prepared.changes.clone(), now) {
            Ok(diff) => diff,
            Err(problems) => {
                *place = Some(state);
                return Err(ControllerError::Refused { problems });
            }
        };
        let fates = prepared.fates.clone();
        let events = state::events(&prepared, author.manager.as_str(), now);
        let Some(transaction) = state.transaction(&prepared, &events)? else {
            *place = Some(state);
            return Ok(Some(Done { fates, diff, revision: None }));
        };
        let Outcome::Committed(revision) = self.store.transact(transaction).await? else {
            return Ok(None);
        };
        state.committed(prepared, events, &diff, revision);
        let sites: Vec<SiteName> = diff.sites().map(|(site, _)| site.clone()).collect();
        let concerned = state.with_gateways(&fates, sites);
        self.fleet.publish(&state, concerned.as_deref());
        *place = Some(state);
        self.fleet.tell();
        Ok(Some(Done { fates, diff, revision: Some(revision) }))
    }

    async fn look_ahead(
        &self,
        asked: Asked<'_>,
        author: &Author,
        now: u64,
    ) -> Result<Done, ControllerError> {
        let mut place = self.state.lock().await;
        let state = self.current(&mut place, now).await?;
        let state = place.insert(state);
        let prepared = prepare(state, &asked, author)?;
        let diff = state.desired.preview(prepared.changes, now);
        let diff = diff.map_err(|problems| ControllerError::Refused { problems })?;
        Ok(Done { fates: prepared.fates, diff, revision: None })
    }

    /// A resource, if there is one.
    pub async fn get(&self, key: &Key, now: u64) -> Result<Option<Kept>, ControllerError> {
        self.look(now, |state| {
            let revision = state.written.get(key)?.revision;
            Some(Kept { resource: state.desired.deployment().resource(key)?, revision })
        })
        .await
    }

    /// A resource with its status, if there is one.
    pub async fn view(&self, key: &Key, now: u64) -> Result<Option<View>, ControllerError> {
        let fleet = Arc::clone(&self.fleet);
        self.look(now, |state| {
            view::view(state, &fleet, &state.desired.deployment().resource(key)?)
        })
        .await
    }

    /// At most `most` resources behind `after`, those that others refer to first, then by name.
    pub async fn list(
        &self,
        wanted: &Wanted,
        after: Option<&Key>,
        most: usize,
        now: u64,
    ) -> Result<Listed, ControllerError> {
        let fleet = Arc::clone(&self.fleet);
        self.look(now, |state| {
            let deployment = state.desired.deployment();
            let first = after.is_none().then(|| deployment.resources());
            let behind = after.map(|after| deployment.resources_behind(after));
            let resources = first.into_iter().flatten().chain(behind.into_iter().flatten());
            let mut found = resources.filter(|it| wanted.wants(it));
            let page: Vec<Resource> = found.by_ref().take(most).collect();
            let more = found.next().is_some();
            Listed {
                last: page.last().filter(|_| more).map(Resource::key),
                views: page.iter().filter_map(|it| view::view(state, &fleet, it)).collect(),
                revision: state.turn,
            }
        })
        .await
    }

    /// What a site's gateway is to be told, if there is such a site.
    pub async fn share(&self, site: &SiteName, now: u64) -> Result<Option<Share>, ControllerError> {
        self.look(now, |state| state.desired.share(site).cloned()).await
    }

    /// The deployment at one look.
    pub async fn status(&self, now: u64) -> Result<DeploymentStatus, ControllerError> {
        let (fleet, store) = (Arc::clone(&self.fleet), self.store.description());
        self.look(now, |state| view::deployment(state, &fleet, store)).await
    }

    /// At most `most` of the last events, of a kind or of one resource if that is asked for, the oldest first.
    pub async fn events(
        &self,
        about: impl Fn(&Event) -> bool,
        most: usize,
        now: u64,
    ) -> Result<Vec<Event>, ControllerError> {
        let of_gateways = self.fleet.events();
        self.look(now, |state| {
            let of_changes = state.events.iter().flat_map(|(_, events)| events).cloned();
            let mut events: Vec<Event> =
                of_changes.chain(of_gateways).filter(|event| about(event)).collect();
            events.sort_by_key(|event| event.at);
            events.split_off(events.len().saturating_sub(most))
        })
        .await
    }

    /// Counts up with each change of what is declared or reported.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.fleet.news()
    }

    /// A gateway that is to be told its share from now on. Another connection of the same site ends, unless it
    /// is that of the gateway in this process.
    pub async fn connect(&self, identity: Identity) -> Result<Connection, ControllerError> {
        let orders = self.look(now(), |state| state.orders(&identity)).await?;
        Ok(self.fleet.connect(identity, orders, false, now))
    }

    /// As [`Self::connect`], for the gateway in the controller's own process: no other takes its place.
    pub async fn reside(&self, identity: Identity) -> Result<Connection, ControllerError> {
        let orders = self.look(now(), |state| state.orders(&identity)).await?;
        Ok(self.fleet.connect(identity, orders, true, now))
    }

    /// Takes note of something about a gateway, for operators to see.
    pub fn remark(&self, gateway: &GatewayName, reason: &str, message: &str) {
        self.fleet.remark(gateway, now(), reason, message);
    }

    /// Writes a copy of the store as it is at one moment to a new file; gives its revision.
    pub async fn backup(&self, to: &Path) -> Result<Revision, ControllerError> {
        Ok(self.store.backup(to).await?)
    }

    /// Lets the store forget what was superseded up to a revision, and gives the revision of now. Only for a store
    /// whose history is this controller's own; followers of older revisions begin anew.
    pub async fn forget(&self, up_to: Revision) -> Result<Revision, ControllerError> {
        let now = self.store.revision().await?;
        self.store.compact(up_to).await?;
        Ok(now)
    }

    /// Follows what other controllers of this store change, until the store fails for good. A store that cannot
    /// be reached is tried again.
    pub async fn follow(&self) -> ControllerError {
        let mut is_away = false;
        loop {
            match self.follow_once(&mut is_away).await {
                Ok(()) => {}
                Err(ControllerError::Store(error)) if error.may_pass() => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(%error, "the store does not answer; trying again");
                    }
                    sleep(RETRY).await;
                }
                Err(error) => return error,
            }
        }
    }

    async fn follow_once(&self, is_away: &mut bool) -> Result<(), ControllerError> {
        let turn = Prefix::new(layout::turn().as_bytes())?;
        let mut watch = self.store.watch(&turn, self.store.revision().await?).await?;
        loop {
            // Whatever was changed before the watch began, or was seen by it.
            self.look(now(), |_| ()).await?;
            if std::mem::take(is_away) {
                tracing::info!("the store answers again");
            }
            match watch.next().await {
                Ok(_) => {}
                Err(crate::store::StoreError::Compacted { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn look<T>(&self, now: u64, at: impl FnOnce(&State) -> T) -> Result<T, ControllerError> {
        let mut place = self.state.lock().await;
        let state = self.current(&mut place, now).await?;
        Ok(at(place.insert(state)))
    }

    /// The state as the store has it now, taken out of its place.
    async fn current(&self, place: &mut Option<State>, now: u64) -> Result<State, ControllerError> {
        let turn = self.store.get(&layout::turn()).await?.map(|entry| entry.modified);
        if let Some(state) = place.take_if(|state| state.turn == turn) {
            return Ok(state);
        }
        let state = State::read(self.store.as_ref(), self.cooling, now).await?;
        self.fleet.publish(&state, None);
        self.fleet.tell();
        Ok(state)
    }
}

fn prepare(state: &State, asked: &Asked<'_>, author: &Author) -> Result<Prepared, ControllerError> {
    match asked {
        Asked::Apply(declared) => state.applied(declared, author),
        Asked::Delete(keys) => Ok(State::deleted(keys)),
    }
}
