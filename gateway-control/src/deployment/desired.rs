//! A deployment with its allocations and every gateway's share, kept together: a change is taken as a
//! whole, in time proportional to what it touches, and what it does on which gateway is a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gateway_policy::SiteName;

use super::allocation::{self, RecordKey, Recorded, Settled};
use super::share::{self, Item, ItemKey, Share};
use super::{Change, Deployment, Problem, Undo};
use crate::model::GatewayName;
use crate::resource::Key;

/// What is declared, what is allocated, and what each gateway is to be told. The three always agree.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    deployment: Deployment,
    recorded: Recorded,
    shares: BTreeMap<SiteName, Share>,
    /// Records that the store may not have as they are now.
    unsaved: BTreeSet<RecordKey>,
}

/// What a change does, by site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff(BTreeMap<SiteName, SiteDiff>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct SiteDiff {
    gateway: Option<GatewayName>,
    changes: Vec<ItemChange>,
}

/// One item of a share that changes; one of both is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemChange {
    /// Which.
    pub key: ItemKey,
    /// What it was.
    pub before: Option<Item>,
    /// What it is.
    pub after: Option<Item>,
}

impl Desired {
    /// From what a store keeps. `now` is in seconds.
    pub fn new(
        deployment: Deployment,
        mut recorded: Recorded,
        now: u64,
    ) -> Result<Self, Vec<Problem>> {
        let settled = allocation::settle(&deployment, &mut recorded, now)?;
        let shares = shares(&deployment, &recorded);
        Ok(Self { deployment, recorded, shares, unsaved: settled.records })
    }

    /// What is declared.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// What is allocated.
    pub fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// Records of allocations that are new, changed or gone since [`Self::saved`].
    pub fn unsaved(&self) -> &BTreeSet<RecordKey> {
        &self.unsaved
    }

    /// Notes that the store has all records as they are now.
    pub fn saved(&mut self) {
        self.unsaved.clear();
    }

    /// What a site's gateway is to be told.
    pub fn share(&self, site: &SiteName) -> Option<&Share> {
        self.shares.get(site)
    }

    /// Takes all changes and says what they do, or takes none and says everything that is wrong.
    pub fn change(&mut self, changes: Vec<Change>, now: u64) -> Result<Diff, Vec<Problem>> {
        let (_, settled, diff) = self.attempt(changes, now)?;
        self.unsaved.extend(settled.records);
        for (site, found) in &diff.0 {
            let share = self.shares.entry(site.clone()).or_default();
            for change in &found.changes {
                share.set(change.key.clone(), change.after.clone());
            }
            if share.is_empty() && self.deployment.site(site).is_none() {
                self.shares.remove(site);
            }
        }
        Ok(diff)
    }

    /// What changes would do. Nothing is kept of them.
    pub fn preview(&mut self, changes: Vec<Change>, now: u64) -> Result<Diff, Vec<Problem>> {
        let (undo, settled, diff) = self.attempt(changes, now)?;
        self.recorded.undo(settled);
        self.deployment.undo(undo);
        Ok(diff)
    }

    /// Changes all but the shares.
    fn attempt(
        &mut self,
        changes: Vec<Change>,
        now: u64,
    ) -> Result<(Undo, Settled, Diff), Vec<Problem>> {
        let keys: BTreeSet<Key> = changes.iter().map(Change::key).collect();
        let (mut touched, mut concerned) = (BTreeSet::new(), BTreeSet::new());
        self.look(&keys, &mut touched, &mut concerned);
        let undo = self.deployment.apply(changes)?;
        self.look(&keys, &mut touched, &mut concerned);
        let settled = match self.recorded.settle_sites(&self.deployment, &concerned, now) {
            Ok(settled) => settled,
            Err(problems) => {
                self.deployment.undo(undo);
                return Err(problems);
            }
        };
        share::of_allocations(&self.deployment, &settled, &mut touched);
        let diff = self.diff(touched);
        Ok((undo, settled, diff))
    }

    fn look(
        &self,
        keys: &BTreeSet<Key>,
        touched: &mut BTreeSet<(SiteName, ItemKey)>,
        concerned: &mut BTreeSet<SiteName>,
    ) {
        for key in keys {
            share::footprint(&self.deployment, key, touched);
            concerned.extend(allocation::concerned(&self.deployment, key));
        }
    }

    fn diff(&self, touched: BTreeSet<(SiteName, ItemKey)>) -> Diff {
        let mut diff = Diff::default();
        for (site, key) in touched {
            let before = self.shares.get(&site).and_then(|share| share.items().get(&key)).cloned();
            let after = share::item(&self.deployment, &self.recorded, &site, &key);
            if before == after {
                continue;
            }
            let gateway = || self.deployment.gateway_of(&site).map(|it| it.name.clone());
            let found = diff.0.entry(site.clone());
            let found =
                found.or_insert_with(|| SiteDiff { gateway: gateway(), changes: Vec::new() });
            found.changes.push(ItemChange { key, before, after });
        }
        diff
    }
}

/// Whether the store has the records is no part of what is desired.
impl PartialEq for Desired {
    fn eq(&self, other: &Self) -> bool {
        self.deployment == other.deployment
            && self.recorded == other.recorded
            && self.shares == other.shares
    }
}

/// Every share, computed as a whole.
pub(super) fn shares(deployment: &Deployment, recorded: &Recorded) -> BTreeMap<SiteName, Share> {
    let mut shares = BTreeMap::new();
    for site in deployment.sites().keys() {
        let mut share = Share::default();
        for key in share::keys(deployment, site) {
            let item = share::item(deployment, recorded, site, &key);
            share.set(key, item);
        }
        shares.insert(site.clone(), share);
    }
    shares
}

impl Diff {
    /// Gateways whose shares change.
    pub fn gateways(&self) -> impl Iterator<Item = &GatewayName> {
        self.0.values().filter_map(|site| site.gateway.as_ref())
    }

    /// Sites whose shares change, each with what does.
    pub fn sites(&self) -> impl Iterator<Item = (&SiteName, &[ItemChange])> {
        self.0.iter().map(|(site, found)| (site, found.changes.as_slice()))
    }

    /// The gateway of a site whose share changes, if it has one.
    pub fn gateway_of(&self, site: &SiteName) -> Option<&GatewayName> {
        self.0.get(site)?.gateway.as_ref()
    }

    /// Whether nothing changes anywhere.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (site, SiteDiff { gateway, changes }) in &self.0 {
            match gateway {
                Some(gateway) => writeln!(f, "gateway {gateway} of site {site}:")?,
                None => writeln!(f, "site {site}, which has no gateway yet:")?,
            }
            for ItemChange { before, after, .. } in changes {
                if let Some(before) = before {
                    writeln!(f, "  - {before}")?;
                }
                if let Some(after) = after {
                    writeln!(f, "  + {after}")?;
                }
            }
        }
        Ok(())
    }
}
