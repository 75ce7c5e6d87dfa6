//! The controller: what operators declare, kept in a store, and what each gateway is to be told of it.
//!
//! | file | holds |
//! |---|---|
//! | layout | resources and allocations as keys and values of the store |
//! | error | why the controller did not do what it was asked for |
//!
//! What always holds: a change is in the store before it is answered, whole or not at all, together with the
//! addresses that it needs. Several controllers may work on one store: each transaction holds only if there
//! was none since what it was computed from, so of two that meet one begins again.

mod error;
mod layout;

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_control::deployment::allocation::Recorded;
use gateway_control::deployment::share::Share;
use gateway_control::deployment::{Change, Deployment, Desired, Diff};
use gateway_control::model::SiteName;
use gateway_control::resource::{Key, Resource, Selector};
use tokio::sync::Mutex;

use crate::store::{Outcome, Revision, Store, Transaction};
pub use error::ControllerError;

/// How often a change is computed anew because another controller was faster.
const ATTEMPTS: u32 = 16;

/// Declared resources, in a store and in memory.
#[derive(Debug)]
pub struct Controller {
    store: Arc<dyn Store>,
    /// How long an address that is no longer used is kept from others, in seconds.
    cooling: u64,
    state: Mutex<Option<State>>,
}

/// What the store holds, as of one revision.
#[derive(Debug)]
struct State {
    desired: Desired,
    /// When each resource was last written.
    written: BTreeMap<Key, Revision>,
    /// When any of it was last changed; `None` in a store that holds nothing yet.
    turn: Option<Revision>,
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

impl Controller {
    /// A controller of what this store holds. An address that is no longer used is kept from others for `cooling`
    /// seconds.
    pub async fn open(
        store: Arc<dyn Store>,
        cooling: u64,
        now: u64,
    ) -> Result<Self, ControllerError> {
        let state = State::read(store.as_ref(), cooling, now).await?;
        Ok(Self { store, cooling, state: Mutex::new(Some(state)) })
    }

    /// Takes all changes, or none and says everything that is wrong. `now` is in seconds since 1970.
    pub async fn change(&self, changes: Vec<Change>, now: u64) -> Result<Done, ControllerError> {
        let mut place = self.state.lock().await;
        for _ in 0..ATTEMPTS {
            // Out of its place until the store has answered: if this future is dropped or the store fails, what the
            // store has is not known, and is read anew.
            let mut state = self.current(&mut place, now).await?;
            let fates = state.fates(&changes);
            let diff = match state.desired.change(changes.clone(), now) {
                Ok(diff) => diff,
                Err(problems) => {
                    *place = Some(state);
                    return Err(ControllerError::Refused { problems });
                }
            };
            let Some(transaction) = state.transaction(&fates)? else {
                *place = Some(state);
                return Ok(Done { fates, diff, revision: None });
            };
            if let Outcome::Committed(revision) = self.store.transact(transaction).await? {
                state.committed(&fates, revision);
                *place = Some(state);
                return Ok(Done { fates, diff, revision: Some(revision) });
            }
        }
        Err(ControllerError::Contended { attempts: ATTEMPTS })
    }

    /// What changes would do. Nothing is written.
    pub async fn preview(&self, changes: Vec<Change>, now: u64) -> Result<Done, ControllerError> {
        let mut place = self.state.lock().await;
        let state = self.current(&mut place, now).await?;
        let state = place.insert(state);
        let fates = state.fates(&changes);
        let diff = state.desired.preview(changes, now);
        let diff = diff.map_err(|problems| ControllerError::Refused { problems })?;
        Ok(Done { fates, diff, revision: None })
    }

    /// A resource, if there is one.
    pub async fn get(&self, key: &Key, now: u64) -> Result<Option<Kept>, ControllerError> {
        self.look(now, |state| state.kept(state.desired.deployment().resource(key)?)).await
    }

    /// Every resource, those that others refer to first; with a selector, those that it selects.
    pub async fn list(
        &self,
        selector: Option<&Selector>,
        now: u64,
    ) -> Result<Vec<Kept>, ControllerError> {
        self.look(now, |state| {
            let resources = state.desired.deployment().resources();
            let selected = resources
                .filter(|resource| selector.is_none_or(|it| it.selects(resource.labels())));
            selected.filter_map(|resource| state.kept(resource)).collect()
        })
        .await
    }

    /// What a site's gateway is to be told, if there is such a site.
    pub async fn share(&self, site: &SiteName, now: u64) -> Result<Option<Share>, ControllerError> {
        self.look(now, |state| state.desired.share(site).cloned()).await
    }

    async fn look<T>(&self, now: u64, at: impl FnOnce(&State) -> T) -> Result<T, ControllerError> {
        let mut place = self.state.lock().await;
        let state = self.current(&mut place, now).await?;
        Ok(at(place.insert(state)))
    }

    /// The state as the store has it now, taken out of its place.
    async fn current(&self, place: &mut Option<State>, now: u64) -> Result<State, ControllerError> {
        let turn = self.store.get(&layout::turn()).await?.map(|entry| entry.modified);
        match place.take().filter(|state| state.turn == turn) {
            Some(state) => Ok(state),
            None => State::read(self.store.as_ref(), self.cooling, now).await,
        }
    }
}

impl State {
    /// All that the store holds, at one revision.
    async fn read(store: &dyn Store, cooling: u64, now: u64) -> Result<Self, ControllerError> {
        let found = layout::read(store).await?;
        let resources = found.resources.iter().map(|(resource, _)| Change::Put(resource.clone()));
        let mut deployment = Deployment::default();
        let disagree = |problems| ControllerError::Disagrees { problems };
        deployment.apply(resources.collect()).map_err(disagree)?;
        let recorded = Recorded::read(cooling, found.records)?;
        let desired = Desired::new(deployment, recorded, now).map_err(disagree)?;
        let written = found.resources.iter().map(|(resource, at)| (resource.key(), *at));
        Ok(Self { desired, written: written.collect(), turn: found.turn })
    }

    /// What is to become of the resources that changes name.
    fn fates(&self, changes: &[Change]) -> Vec<(Key, Fate)> {
        let fate = |change: &Change| {
            let key = change.key();
            let fate = match (change, self.desired.deployment().resource(&key)) {
                (Change::Delete(_), _) => Fate::Deleted,
                (Change::Put(_), None) => Fate::Created,
                (Change::Put(resource), Some(before)) if *resource == before => Fate::Unchanged,
                (Change::Put(_), Some(_)) => Fate::Changed,
            };
            (key, fate)
        };
        changes.iter().map(fate).collect()
    }

    /// What takes a change that was made here to the store; `None` if there is nothing to write.
    fn transaction(&self, fates: &[(Key, Fate)]) -> Result<Option<Transaction>, ControllerError> {
        let touched = fates.iter().filter(|(_, fate)| *fate != Fate::Unchanged);
        let mut touched = touched.map(|(key, _)| key).peekable();
        let unsaved = self.desired.unsaved();
        if touched.peek().is_none() && unsaved.is_empty() {
            return Ok(None);
        }
        let mut transaction = layout::take_turn(self.turn);
        for key in touched {
            let resource = self.desired.deployment().resource(key);
            transaction = layout::write_resource(transaction, key, resource.as_ref())?;
        }
        for key in unsaved {
            let record = self.desired.recorded().record(key);
            transaction = layout::write_record(transaction, key, record.as_ref())?;
        }
        Ok(Some(transaction))
    }

    /// Notes that the store has what is here, as of a revision.
    fn committed(&mut self, fates: &[(Key, Fate)], revision: Revision) {
        for (key, fate) in fates {
            match fate {
                Fate::Created | Fate::Changed => {
                    self.written.insert(key.clone(), revision);
                }
                Fate::Deleted => {
                    self.written.remove(key);
                }
                Fate::Unchanged => {}
            }
        }
        self.desired.saved();
        self.turn = Some(revision);
    }

    fn kept(&self, resource: Resource) -> Option<Kept> {
        let revision = *self.written.get(&resource.key())?;
        Some(Kept { resource, revision })
    }
}
