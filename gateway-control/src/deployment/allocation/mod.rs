//! Which addresses and numbers belong to whom: a transit block for each site, a number for each service,
//! a presence for each service at each site that it is exposed to, client presences.
//!
//! What was allocated stays as long as it is wanted. What nobody wants any more cools off before another
//! gets it; whoever had it last may have it back at once. The same deployment, record and time always give
//! the same record; the caller stores it in the transaction that stores the resources, so that of two
//! controllers that allocate at once one has to begin again from what the other recorded.

mod error;
mod ledger;
mod record;
mod site;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

pub use error::AllocationError;
use gateway_policy::{ServiceId, SiteName};
use ipnet::Ipv4Net;
use ledger::{Clock, Ledger, Range};
pub use record::{Record, RecordError, RecordKey, Recorded, Space, Stands};

use super::{Deployment, Problem};
use crate::model::{ClientPresences, Network, ServiceNumber, TransitBlock};
use crate::resource::{AppearAs, Key, Site};

/// What a freed range cools off by default: a day, in seconds.
pub const COOLING: u64 = 24 * 3600;

impl Default for Recorded {
    fn default() -> Self {
        Self::new(COOLING)
    }
}

impl Recorded {
    /// Nothing allocated; what is freed cools off for so many seconds.
    pub fn new(cooling: u64) -> Self {
        Self { cooling, transit: Ledger::default(), sites: Default::default() }
    }

    /// The transit addresses of a site.
    pub fn transit(&self, site: &SiteName) -> Option<TransitBlock> {
        block(self.transit.held(site)?)
    }

    /// The number of a service.
    pub fn number(&self, id: &ServiceId) -> Option<ServiceNumber> {
        let range = self.sites.get(&id.site)?.numbers.held(&id.name)?;
        ServiceNumber::try_from(i64::from(range.first)).ok()
    }

    /// The address that stands for something at a site.
    pub fn presence(&self, site: &SiteName, stands: &Stands) -> Option<Ipv4Addr> {
        let range = self.sites.get(site)?.presences.held(stands)?;
        Some(Ipv4Addr::from(range.first))
    }

    /// What the clients `from` of a site appear as at a service, where they have presences of their own.
    pub fn clients(
        &self,
        id: &ServiceId,
        site: &SiteName,
        from: Network,
    ) -> Option<ClientPresences> {
        let stands = Stands::ClientsOf(site.clone(), id.name.clone());
        let first = self.presence(&id.site, &stands)?;
        let presences = Ipv4Net::new(first, from.prefix().prefix_len()).ok()?;
        Some(ClientPresences::PerClient { from, presences: presences.try_into().ok()? })
    }

    /// Every address of a site's pool that is held, with its prefix.
    pub fn presences_at(&self, site: &SiteName) -> impl Iterator<Item = (Ipv4Net, &Stands)> {
        let entries = self.sites.get(site).into_iter().flat_map(|it| it.presences.entries());
        entries.filter(|entry| entry.freed.is_none()).filter_map(|entry| {
            let length = 32 - u8::try_from(entry.range.size.ilog2()).ok()?;
            Some((Ipv4Net::new(Ipv4Addr::from(entry.range.first), length).ok()?, &entry.holder))
        })
    }

    /// Allocates what the sites in `concerned` want and frees what they do not, or does nothing and says
    /// everything for which there is nothing. `now` is in seconds.
    pub fn settle_sites(
        &mut self,
        deployment: &Deployment,
        concerned: &BTreeSet<SiteName>,
        now: u64,
    ) -> Result<Settled, Vec<Problem>> {
        let clock = Clock { now, cooling: self.cooling };
        self.transit.begin();
        let mut problems = Vec::new();
        for name in concerned {
            let record = self.sites.entry(name.clone()).or_default();
            record.begin();
            record.settle(deployment, name, clock, &mut problems);
        }
        self.settle_transit(deployment, concerned, clock, &mut problems);
        let settled = self.outcome(concerned);
        if problems.is_empty() {
            return Ok(settled);
        }
        self.undo(settled);
        Err(problems)
    }

    /// Puts the record back to what it was before the last [`Self::settle_sites`].
    pub fn undo(&mut self, settled: Settled) {
        self.transit.undo();
        self.sites.extend(settled.emptied);
        for name in &settled.concerned {
            if let Some(record) = self.sites.get_mut(name) {
                record.undo();
                if record.is_empty() {
                    self.sites.remove(name);
                }
            }
        }
    }

    /// What the logs of the ledgers say, with records that hold nothing any more taken out.
    fn outcome(&mut self, concerned: &BTreeSet<SiteName>) -> Settled {
        let records = self.touched(concerned);
        let mut settled = Settled { records, concerned: concerned.clone(), ..Settled::default() };
        settled.transit.extend(self.transit.changed().cloned());
        for name in concerned {
            let Some(record) = self.sites.get(name) else { continue };
            let site = || name.clone();
            let stands = record.presences.changed().cloned();
            settled.presences.extend(stands.map(|stands| (site(), stands)));
            if record.is_empty() {
                settled.emptied.extend(self.sites.remove_entry(name));
            }
        }
        settled
    }

    fn settle_transit(
        &mut self,
        deployment: &Deployment,
        concerned: &BTreeSet<SiteName>,
        clock: Clock,
        problems: &mut Vec<Problem>,
    ) {
        self.transit.sweep(clock);
        let pool = deployment.transit_pool().prefix();
        let mut wanted: Vec<(u32, &Site)> = Vec::new();
        for name in concerned {
            let Some(site) = deployment.site(name) else {
                self.transit.free(name, clock.now);
                continue;
            };
            let size = match self.block_size(site) {
                Ok(size) => size,
                Err(error) => {
                    problems.push(Problem::of(&Key::Site(name.clone()), "clientNetworks", error));
                    continue;
                }
            };
            let held = self.transit.held(name).filter(|held| match site.transit {
                Some(wish) => range(wish.prefix()) == *held,
                None => {
                    held.size >= size
                        && block(*held).is_some_and(|it| deployment.transit_pool().contains(it))
                }
            });
            if held.is_none() {
                self.transit.free(name, clock.now);
                wanted.push((size, site));
            } else if let Some(wish) = site.transit.filter(|wish| range(wish.prefix()).size < size)
            {
                let error = AllocationError::TransitSmall { wish, length: length(size) };
                problems.push(Problem::of(&Key::Site(name.clone()), "transit", error));
            }
        }
        // Wishes before free choices, large blocks before small ones: neither is then in the other's way.
        wanted.sort_by(|(a, one), (b, other)| {
            (one.transit.is_none(), b, &one.name).cmp(&(other.transit.is_none(), a, &other.name))
        });
        let mut from = (0, 0);
        for (size, site) in wanted {
            let key = Key::Site(site.name.clone());
            let given = match site.transit {
                Some(wish) => self.wished_block(deployment, site, wish, size, clock),
                None => {
                    if from.0 != size {
                        from = (size, 0);
                    }
                    self.any_block(pool, &site.name, size, from.1, clock)
                }
            };
            match given {
                Ok(range) => {
                    if site.transit.is_none() {
                        from.1 = range.last();
                    }
                    self.transit.place(site.name.clone(), range);
                }
                Err(error) => problems.push(Problem::of(&key, "transit", error)),
            }
        }
    }

    /// How many transit addresses a site needs: half for its clients, half for its services.
    fn block_size(&self, site: &Site) -> Result<u32, AllocationError> {
        let clients = site.client_networks.size();
        let numbers = self.sites.get(&site.name).map(|record| record.highest_number());
        let half = clients.max(u64::from(numbers.unwrap_or(0)) + 1).next_power_of_two();
        let most = LARGEST / 2;
        let half = u32::try_from(half).ok().filter(|half| *half <= most);
        let half = half.ok_or(AllocationError::TooManyClients { count: clients, most })?;
        Ok((half * 2).max(SMALLEST))
    }

    fn wished_block(
        &self,
        deployment: &Deployment,
        site: &Site,
        wish: TransitBlock,
        size: u32,
        clock: Clock,
    ) -> Result<Range, AllocationError> {
        let pool = deployment.transit_pool();
        if !pool.contains(wish) {
            return Err(AllocationError::TransitOutside { wish, pool });
        }
        let range = range(wish.prefix());
        if range.size < size {
            return Err(AllocationError::TransitSmall { wish, length: length(size) });
        }
        match self.transit.in_the_way(range, &site.name, clock) {
            None => Ok(range),
            Some(entry) => Err(AllocationError::taken(
                wish.to_string(),
                format!("site {}", entry.holder),
                entry.freed.and_then(|at| clock.left(at)),
            )),
        }
    }

    fn any_block(
        &self,
        pool: Ipv4Net,
        name: &SiteName,
        size: u32,
        from: u32,
        clock: Clock,
    ) -> Result<Range, AllocationError> {
        let space = (u32::from(pool.network()), u32::from(pool.broadcast()));
        let usable = |range: Range| range.last() != u32::MAX;
        let back = self.transit.returning(name, size).filter(|range| {
            range.first >= space.0
                && range.last() <= space.1
                && self.transit.in_the_way(*range, name, clock).is_none()
        });
        // Behind all others first: it needs no search, and lets what was freed rest.
        let behind = from.max(self.transit.last().unwrap_or(0));
        back.or_else(|| self.transit.find(space, size, behind, clock, usable))
            .or_else(|| self.transit.find(space, size, from, clock, usable))
            .or_else(|| self.transit.find(space, size, 0, clock, usable))
            .ok_or_else(|| {
                let (held, cooling) = self.transit.taken(clock);
                AllocationError::transit_full(pool, size, held, cooling)
            })
    }
}

/// What a settling changed, and how to undo it.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Sites whose transit blocks changed.
    pub transit: BTreeSet<SiteName>,
    /// What other addresses of a site's pool stand for now, or did before.
    pub presences: BTreeSet<(SiteName, Stands)>,
    /// Records that are new, changed or gone.
    pub records: BTreeSet<RecordKey>,
    concerned: BTreeSet<SiteName>,
    emptied: Vec<(SiteName, record::SiteRecord)>,
}

/// Lets everything that a deployment wants be allocated, and everything else cool off. Fails with everything
/// for which there is no address. `now` is in seconds.
pub fn settle(
    deployment: &Deployment,
    recorded: &mut Recorded,
    now: u64,
) -> Result<Settled, Vec<Problem>> {
    let sites = deployment.sites().keys();
    let known = recorded.sites.keys().chain(recorded.transit.holders());
    let concerned = sites.chain(known).cloned().collect();
    recorded.settle_sites(deployment, &concerned, now)
}

/// Sites whose allocations may change with a resource. To be asked before and after the change.
pub fn concerned(deployment: &Deployment, key: &Key) -> BTreeSet<SiteName> {
    match key {
        Key::Site(name) => {
            // Where its clients have presences of their own, their number follows from its networks.
            let servers = deployment.used_by(name).map(|id| id.site);
            servers.chain([name.clone()]).collect()
        }
        Key::Service(id) => [id.site.clone()].into(),
        Key::Exposure(name) => match deployment.exposures.get(name) {
            Some(exposure) => {
                let server = Some(&exposure.service.site);
                let server = server.filter(|_| exposure.clients != AppearAs::Shared);
                deployment.sites_of(exposure).into_iter().chain(server).cloned().collect()
            }
            None => BTreeSet::new(),
        },
        Key::Gateway(_) | Key::Policy(_) | Key::Token(_) => BTreeSet::new(),
    }
}

/// Sizes of transit blocks: /20 to /8.
const SMALLEST: u32 = 1 << 12;
const LARGEST: u32 = 1 << 24;

fn length(size: u32) -> u8 {
    // A power of two that fits an address has at most 31 zeros below its one.
    32 - size.trailing_zeros() as u8
}

fn range(prefix: Ipv4Net) -> Range {
    let size = u32::from(prefix.hostmask()).saturating_add(1);
    Range { first: prefix.network().into(), size }
}

fn block(range: Range) -> Option<TransitBlock> {
    let prefix = Ipv4Net::new(Ipv4Addr::from(range.first), length(range.size)).ok()?;
    prefix.to_string().parse().ok()
}
