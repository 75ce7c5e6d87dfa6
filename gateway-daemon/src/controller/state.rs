//! What the store holds, in memory, as of one revision; how a change of it becomes a transaction.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use gateway_control::deployment::allocation::Recorded;
use gateway_control::deployment::{Change, Deployment, Desired, Diff};
use gateway_control::model::{GatewayName, SiteName};
use gateway_control::resource::{
    self, Declared, Field, Gateway, GatewayState, Key, ManagerName, Managers, Resource,
};
use gateway_control::session::RefusalKind;

use super::fleet::{Identity, Lack, Orders};
use super::members::{Write, enrolment_key, uses_key};
use super::{Author, Conflict, ControllerError, Fate, layout};
use crate::api::wire::{Event, Reference};
use crate::store::{Revision, Store, Transaction};

/// Changes whose events are kept.
const EVENTS: usize = 1000;
/// Resources of one change that have an event of their own.
const NAMED: usize = 100;

/// What the store holds, as of one revision.
#[derive(Debug)]
pub(super) struct State {
    pub(super) desired: Desired,
    /// When each resource was last written, and who set its fields.
    pub(super) written: BTreeMap<Key, Written>,
    /// When any of it was last changed; `None` in a store that holds nothing yet.
    pub(super) turn: Option<Revision>,
    /// When each site's share was last changed, if that was after `read`.
    told: BTreeMap<SiteName, Revision>,
    /// The revision that all of it was read at.
    read: Option<Revision>,
    /// What changes did, the oldest first, each with its number.
    pub(super) events: VecDeque<(u64, Vec<Event>)>,
}

/// How a resource was last written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) revision: Revision,
    pub(super) managers: Managers,
}

/// A change that was asked for, as it comes out against what is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Prepared {
    pub(super) changes: Vec<Change>,
    pub(super) fates: Vec<(Key, Fate)>,
    /// Who is to hold the fields of what is put.
    managers: BTreeMap<Key, Managers>,
    /// What is written in the same transaction.
    also: Vec<Write>,
    /// What its event says was done, as a word and in a sentence, if that is more than that something changed.
    deed: Option<(&'static str, &'static str)>,
}

impl Prepared {
    /// Writes this in the same transaction.
    pub(super) fn also(&mut self, write: Write) {
        self.also.push(write);
    }
}

impl State {
    /// All that the store holds, at one revision.
    pub(super) async fn read(
        store: &dyn Store,
        cooling: u64,
        now: u64,
    ) -> Result<Self, ControllerError> {
        let found = layout::read(store).await?;
        let resources = found.resources.iter().map(|it| Change::Put(it.resource.clone()));
        let mut deployment = Deployment::default();
        let disagree = |problems| ControllerError::Disagrees { problems };
        deployment.apply(resources.collect()).map_err(disagree)?;
        let recorded = Recorded::read(cooling, found.records)?;
        let desired = Desired::new(deployment, recorded, now).map_err(disagree)?;
        let written = found.resources.into_iter().map(|it| {
            (it.resource.key(), Written { revision: it.revision, managers: it.managers })
        });
        Ok(Self {
            desired,
            written: written.collect(),
            turn: found.turn,
            told: BTreeMap::new(),
            read: found.turn,
            events: found.events.into(),
        })
    }

    /// What applying these resources comes to.
    pub(super) fn applied(
        &self,
        declared: &[Declared],
        author: &Author,
    ) -> Result<Prepared, ControllerError> {
        let mut prepared = Prepared::default();
        let mut conflicts = Vec::new();
        for Declared { resource, fields, revision, .. } in declared {
            let key = resource.key();
            let before = self.desired.deployment().resource(&key);
            let written = self.written.get(&key);
            let stored = written.map(|it| it.revision);
            if let Some(given) = revision.map(Revision::new).filter(|it| Some(*it) != stored) {
                conflicts.push(Conflict::Revision { key, given, stored });
                continue;
            }
            let known = before.as_ref().zip(written.map(|it| &it.managers));
            match resource::merge(known, resource, fields, &author.manager, author.force) {
                Ok((merged, managers)) => {
                    stays_revoked(before.as_ref(), &merged)?;
                    let fate = match &before {
                        None => Fate::Created,
                        Some(before) if *before == merged => Fate::Unchanged,
                        Some(_) => Fate::Changed,
                    };
                    prepared.fates.push((key.clone(), fate));
                    prepared.changes.push(Change::Put(merged));
                    prepared.managers.insert(key, managers);
                }
                Err(found) => conflicts.extend(found.into_iter().map(Conflict::Field)),
            }
        }
        if conflicts.is_empty() {
            Ok(prepared)
        } else {
            Err(ControllerError::Conflicts { conflicts })
        }
    }

    /// What deleting these resources comes to.
    pub(super) fn deleted(keys: &[Key]) -> Prepared {
        Prepared {
            changes: keys.iter().cloned().map(Change::Delete).collect(),
            fates: keys.iter().map(|key| (key.clone(), Fate::Deleted)).collect(),
            ..Prepared::default()
        }
    }

    /// What putting this resource comes to, if these of its fields are set by `manager`.
    pub(super) fn set(
        &self,
        resource: Resource,
        fields: &[Field],
        manager: &ManagerName,
    ) -> Prepared {
        let key = resource.key();
        let held = self.written.get(&key).map(|it| it.managers.clone()).unwrap_or_default();
        let held = held.iter().map(|(field, holder)| (field.clone(), holder.clone()));
        let set = fields.iter().map(|field| (field.clone(), manager.clone()));
        let managers = held.chain(set).collect();
        let fate = match self.desired.deployment().resource(&key) {
            None => Fate::Created,
            Some(before) if before == resource => Fate::Unchanged,
            Some(_) => Fate::Changed,
        };
        Prepared {
            changes: vec![Change::Put(resource)],
            fates: vec![(key.clone(), fate)],
            managers: BTreeMap::from([(key, managers)]),
            also: Vec::new(),
            deed: None,
        }
    }

    /// What it comes to that a gateway takes part, or no longer.
    pub(super) fn gateway_in(
        &self,
        name: &GatewayName,
        to: GatewayState,
        manager: &ManagerName,
    ) -> Result<Prepared, ControllerError> {
        let Some(gateway) = self.desired.deployment().gateways().get(name) else {
            return Err(ControllerError::NoGateway { name: name.clone() });
        };
        let deed = match (gateway.state, to) {
            (GatewayState::Active, GatewayState::Active) => {
                return Err(ControllerError::NotPending { name: name.clone() });
            }
            (_, GatewayState::Active) => Some(("Accepted", "accepted")),
            (_, GatewayState::Revoked) => Some(("Revoked", "revoked")),
            (_, GatewayState::Pending) => None,
        };
        let field = Field::spec("state").expect("a field of a gateway");
        let before = Resource::Gateway(gateway.clone());
        let resource = Resource::Gateway(Gateway { state: to, ..gateway.clone() });
        stays_revoked(Some(&before), &resource)?;
        Ok(Prepared { deed, ..self.set(resource, &[field], manager) })
    }

    /// What takes a change that was made here to the store; `None` if there is nothing to write.
    pub(super) fn transaction(
        &self,
        prepared: &Prepared,
        events: &[Event],
    ) -> Result<Option<Transaction>, ControllerError> {
        let touched = prepared.fates.iter().filter(|(key, fate)| {
            let managers = self.written.get(key).map(|it| &it.managers);
            *fate != Fate::Unchanged || managers != prepared.managers.get(key)
        });
        let mut touched = touched.map(|(key, _)| key).peekable();
        let unsaved = self.desired.unsaved();
        if touched.peek().is_none() && unsaved.is_empty() && prepared.also.is_empty() {
            return Ok(None);
        }
        let mut transaction = layout::take_turn(self.turn);
        for key in touched {
            let resource = self.desired.deployment().resource(key);
            let managers = prepared.managers.get(key);
            transaction =
                layout::write_resource(transaction, key, resource.as_ref().zip(managers))?;
        }
        for (key, fate) in &prepared.fates {
            // What comes later under the same name has nothing to do with it.
            transaction = match key {
                Key::Gateway(name) if *fate == Fate::Deleted => {
                    transaction.delete(enrolment_key(name))
                }
                Key::Token(name) if *fate == Fate::Deleted => transaction.delete(uses_key(name)),
                _ => transaction,
            };
        }
        for write in &prepared.also {
            transaction = write.clone().within(transaction);
        }
        for key in unsaved {
            let record = self.desired.recorded().record(key);
            transaction = layout::write_record(transaction, key, record.as_ref())?;
        }
        if !events.is_empty() {
            transaction = layout::write_events(transaction, self.next_event(), Some(events))?;
            for (number, _) in self.superfluous() {
                transaction = layout::write_events(transaction, *number, None)?;
            }
        }
        Ok(Some(transaction))
    }

    /// Notes that the store has what is here, as of a revision.
    pub(super) fn committed(
        &mut self,
        prepared: Prepared,
        events: Vec<Event>,
        diff: &Diff,
        revision: Revision,
    ) {
        for (key, fate) in prepared.fates {
            match (fate, prepared.managers.get(&key)) {
                (Fate::Deleted, _) | (_, None) => {
                    self.written.remove(&key);
                }
                (Fate::Created | Fate::Changed | Fate::Unchanged, Some(managers)) => {
                    let written = self.written.entry(key).or_default();
                    if fate != Fate::Unchanged || written.managers != *managers {
                        *written = Written { revision, managers: managers.clone() };
                    }
                }
            }
        }
        for (site, _) in diff.sites() {
            self.told.insert(site.clone(), revision);
        }
        if !events.is_empty() {
            let number = self.next_event();
            let superfluous = self.superfluous().len();
            self.events.drain(..superfluous);
            self.events.push_back((number, events));
        }
        self.desired.saved();
        self.turn = Some(revision);
    }

    /// When what a site's gateway is told was last changed, as far as this controller knows.
    pub(super) fn told(&self, site: &SiteName) -> Option<Revision> {
        self.told.get(site).copied().or(self.read)
    }

    /// What a gateway is to have.
    pub(super) fn orders(&self, identity: &Identity) -> Orders {
        Orders { revision: self.told(&identity.site), share: self.share(identity) }
    }

    /// These sites, and those of gateways that were changed.
    pub(super) fn with_gateways(
        &self,
        fates: &[(Key, Fate)],
        mut sites: Vec<SiteName>,
    ) -> Option<Vec<SiteName>> {
        for (key, _) in fates {
            let Key::Gateway(name) = key else { continue };
            // Of one that is gone it is not known here where it was.
            let gateway = self.desired.deployment().gateways().get(name)?;
            sites.push(gateway.site.clone());
        }
        Some(sites)
    }

    fn share(&self, identity: &Identity) -> Result<Arc<super::Share>, Lack> {
        let Identity { site, gateway, public_key } = identity;
        let lack = |kind, why: String| Err(Lack { kind, why });
        let deployment = self.desired.deployment();
        if deployment.site(site).is_none() {
            let why = format!("site {site} is not declared; declare it by `gatewayctl apply`");
            return lack(RefusalKind::Unknown, why);
        }
        let Some(declared) = deployment.gateways().get(gateway) else {
            let why = format!(
                "gateway {gateway} is not declared; declare it for site {site} with publicKey {public_key}"
            );
            return lack(RefusalKind::Unknown, why);
        };
        if declared.site != *site {
            let why = format!(
                "gateway {gateway} is declared for site {}, and its own file says {site}; make both the same",
                declared.site
            );
            return lack(RefusalKind::Other, why);
        }
        match declared.state {
            GatewayState::Active => {}
            GatewayState::Pending => {
                let why = format!(
                    "gateway {gateway} waits to be accepted; an operator does so by `gatewayctl gateway accept {gateway}`"
                );
                return lack(RefusalKind::Pending, why);
            }
            GatewayState::Revoked => {
                let why = format!(
                    "gateway {gateway} was revoked; if this host is to take part again, join with a new token"
                );
                return lack(RefusalKind::Revoked, why);
            }
        }
        if declared.public_key != *public_key {
            let why = format!(
                "gateway {gateway} has the key {public_key}, and is declared with {}; correct publicKey, or \
                 give it the private key that belongs to it",
                declared.public_key
            );
            return lack(RefusalKind::Other, why);
        }
        let none =
            || Lack { kind: RefusalKind::Other, why: format!("site {site} has no share yet") };
        self.desired.share(site).cloned().map(Arc::new).ok_or_else(none)
    }

    fn next_event(&self) -> u64 {
        self.events.back().map_or(0, |(number, _)| number + 1)
    }

    /// Events that go when another comes.
    fn superfluous(&self) -> Vec<&(u64, Vec<Event>)> {
        let count = (self.events.len() + 1).saturating_sub(EVENTS);
        self.events.iter().take(count).collect()
    }
}

fn stays_revoked(before: Option<&Resource>, after: &Resource) -> Result<(), ControllerError> {
    match (before, after) {
        (Some(Resource::Gateway(before)), Resource::Gateway(after))
            if before.state == GatewayState::Revoked && after.state != GatewayState::Revoked =>
        {
            Err(ControllerError::StaysRevoked { name: after.name.clone() })
        }
        _ => Ok(()),
    }
}

/// What a change that was done is to be remembered by.
pub(super) fn events(prepared: &Prepared, by: &str, now: u64) -> Vec<Event> {
    let changed = prepared.fates.iter().filter(|(_, fate)| *fate != Fate::Unchanged);
    let count = changed.clone().count();
    let event = |(key, fate): &(Key, Fate)| {
        let (reason, did) = match fate {
            Fate::Created => ("Created", "declared"),
            Fate::Changed => prepared.deed.unwrap_or(("Changed", "changed")),
            Fate::Deleted => ("Deleted", "deleted"),
            Fate::Unchanged => ("Unchanged", "applied as it was"),
        };
        let about = Reference { kind: key.kind().word().to_owned(), name: key.name() };
        let more = match count.saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", in one change with others, {more} of which have no event"),
        };
        Event {
            at: now,
            about,
            reason: reason.to_owned(),
            message: format!("{key} was {did}{more}"),
            by: Some(by.to_owned()),
        }
    };
    changed.take(NAMED).map(event).collect()
}

/// Resources as a store's value has them.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) resource: Resource,
    pub(super) managers: Managers,
    pub(super) revision: Revision,
}
