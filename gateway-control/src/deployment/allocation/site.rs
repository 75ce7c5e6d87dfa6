//! What is allocated at one site: numbers of its services, and addresses of its presence pool.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::SiteName;

use super::error::shown;
use super::ledger::{Clock, Range};
use super::record::{SiteRecord, Stands};
use super::{AllocationError, range};
use crate::deployment::{Deployment, Problem};
use crate::model::{Network, ServiceNumber};
use crate::resource::{AppearAs, Key, Site};

/// Largest number of a service: that of the largest block.
const MOST: u32 = (1 << 23) - 1;

/// What something at a site is to have.
struct Want {
    size: u32,
    wish: Option<u32>,
    /// What to name where it cannot have it.
    key: Key,
    field: &'static str,
}

impl SiteRecord {
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.presences.is_empty()
    }

    /// The highest number that a service holds.
    pub(super) fn highest_number(&self) -> u32 {
        let held = self.numbers.entries().filter(|entry| entry.freed.is_none());
        held.map(|entry| entry.range.last()).max().unwrap_or(0)
    }

    /// Forgets how to undo.
    pub(super) fn begin(&mut self) {
        self.numbers.begin();
        self.presences.begin();
    }

    /// Undoes everything since [`Self::begin`].
    pub(super) fn undo(&mut self) {
        self.numbers.undo();
        self.presences.undo();
    }

    pub(super) fn settle(
        &mut self,
        deployment: &Deployment,
        name: &SiteName,
        clock: Clock,
        problems: &mut Vec<Problem>,
    ) {
        self.settle_numbers(deployment, name, clock, problems);
        self.presences.sweep(clock);
        let site = deployment.site(name);
        let wants = site.map_or_else(BTreeMap::new, |site| wants(deployment, site));
        let pool = site.map(|site| range(site.presence_pool.prefix()));
        let kept: Vec<Stands> = self.presences.holders().cloned().collect();
        for stands in kept {
            let held = self.presences.held(&stands);
            let stays = wants.get(&stands).is_some_and(|want| {
                let wished = |range: Range| want.wish.is_none_or(|wish| wish == range.first);
                let inside = |range: Range| {
                    pool.is_some_and(|pool| {
                        pool.first <= range.first && range.last() <= pool.last()
                    })
                };
                held.is_some_and(|it| it.size == want.size && wished(it) && inside(it))
            });
            if !stays {
                self.presences.free(&stands, clock.now);
            }
        }
        let Some(site) = site else { return };
        let avoided = avoided(site);
        let missing = |(stands, _): &(&Stands, &Want)| self.presences.held(stands).is_none();
        let mut missing: Vec<_> = wants.iter().filter(missing).collect();
        // Wishes before free choices, ranges before single addresses.
        missing.sort_by_key(|(stands, want)| {
            (want.wish.is_none(), std::cmp::Reverse(want.size), (*stands).clone())
        });
        let mut from = (0, 0);
        for (stands, want) in missing {
            let given = match want.wish {
                Some(first) => {
                    let range = Range { first, size: want.size };
                    match self.presences.in_the_way(range, stands, clock) {
                        None => Ok(range),
                        Some(entry) => Err(AllocationError::taken(
                            shown(first, want.size),
                            holder(name, &entry.holder),
                            entry.freed.and_then(|at| clock.left(at)),
                        )),
                    }
                }
                None => {
                    if from.0 != want.size {
                        from = (want.size, 0);
                    }
                    self.any_presence(site, stands, want.size, from.1, &avoided, clock)
                }
            };
            match given {
                Ok(range) => {
                    if want.wish.is_none() {
                        from.1 = range.first;
                    }
                    self.presences.place(stands.clone(), range);
                }
                Err(error) => problems.push(Problem::of(&want.key, want.field, error)),
            }
        }
    }

    fn any_presence(
        &self,
        site: &Site,
        stands: &Stands,
        size: u32,
        from: u32,
        avoided: &BTreeSet<u32>,
        clock: Clock,
    ) -> Result<Range, AllocationError> {
        let pool = range(site.presence_pool.prefix());
        let space = (pool.first, pool.last());
        let usable = |range: Range| avoided.range(range.first..=range.last()).next().is_none();
        let back = self.presences.returning(stands, size).filter(|range| {
            range.first >= space.0
                && range.last() <= space.1
                && self.presences.in_the_way(*range, stands, clock).is_none()
        });
        back.or_else(|| self.presences.find(space, size, from, clock, usable))
            .or_else(|| self.presences.find(space, size, 0, clock, usable))
            .ok_or_else(|| {
                let taken = self.presences.taken(clock);
                let (pool, name) = (site.presence_pool, &site.name);
                AllocationError::pool_full(pool, name, size, taken, avoided.len())
            })
    }

    fn settle_numbers(
        &mut self,
        deployment: &Deployment,
        name: &SiteName,
        clock: Clock,
        problems: &mut Vec<Problem>,
    ) {
        self.numbers.sweep(clock);
        let wants: BTreeMap<_, _> = deployment
            .services_at(name)
            .map(|service| (&service.id.name, service.number.map(ServiceNumber::value)))
            .collect();
        let kept: Vec<_> = self.numbers.holders().cloned().collect();
        for service in kept {
            let held = self.numbers.held(&service).map(|range| range.first);
            let stays =
                wants.get(&service).is_some_and(|wish| wish.is_none_or(|wish| held == Some(wish)));
            if !stays {
                self.numbers.free(&service, clock.now);
            }
        }
        let missing = wants.iter().filter(|(service, _)| self.numbers.held(service).is_none());
        let mut missing: Vec<_> = missing.map(|(service, wish)| (*service, *wish)).collect();
        missing.sort_by_key(|(_, wish)| wish.is_none());
        let mut from = 1;
        for (service, wish) in missing {
            let given = match wish {
                Some(first) => {
                    let range = Range { first, size: 1 };
                    match self.numbers.in_the_way(range, service, clock) {
                        None => Ok(range),
                        Some(entry) => Err(AllocationError::taken(
                            format!("number {first}"),
                            format!("service {}.{name}", entry.holder),
                            entry.freed.and_then(|at| clock.left(at)),
                        )),
                    }
                }
                None => {
                    let space = (1, MOST);
                    let back = self.numbers.returning(service, 1);
                    back.filter(|it| self.numbers.in_the_way(*it, service, clock).is_none())
                        .or_else(|| self.numbers.find(space, 1, from, clock, |_| true))
                        .or_else(|| self.numbers.find(space, 1, 1, clock, |_| true))
                        .ok_or(AllocationError::NumbersFull { most: MOST })
                }
            };
            match given {
                Ok(range) => {
                    if wish.is_none() {
                        from = range.first;
                    }
                    self.numbers.place(service.clone(), range);
                }
                Err(error) => {
                    let (site, name) = (name.clone(), service.clone());
                    let key = Key::Service(gateway_policy::ServiceId { site, name });
                    problems.push(Problem::of(&key, "number", error));
                }
            }
        }
    }
}

/// What is to have an address of a site's pool.
fn wants(deployment: &Deployment, site: &Site) -> BTreeMap<Stands, Want> {
    let name = &site.name;
    let mut wants = BTreeMap::new();
    if site.client_presence.is_some() || deployment.services_at(name).next().is_some() {
        let (key, field) = (Key::Site(name.clone()), "clientPresence");
        let want = Want { size: 1, wish: site.client_presence.map(u32::from), key, field };
        wants.insert(Stands::Clients, want);
    }
    for id in deployment.used_by(name) {
        let Some(exposure) = deployment.exposure(&id, name) else { continue };
        let (key, field) = (Key::Exposure(exposure.name.clone()), "address");
        let want = Want { size: 1, wish: exposure.address.map(u32::from), key, field };
        wants.insert(Stands::Service(id), want);
    }
    for service in deployment.services_at(name) {
        for client in deployment.with_own_clients(&service.id) {
            let Some(exposure) = deployment.exposure(&service.id, client) else { continue };
            let AppearAs::PerClient { presences, .. } = exposure.clients else { continue };
            let Some(from) = deployment.clients_of_their_own(&service.id, client) else { continue };
            let wish = presences.map(|it: Network| u32::from(it.prefix().network()));
            let (key, field) = (Key::Exposure(exposure.name.clone()), "presences");
            let want = Want { size: range(from.prefix()).size, wish, key, field };
            wants.insert(Stands::ClientsOf(client.clone(), service.id.name.clone()), want);
        }
    }
    wants
}

/// Addresses that nobody is given unasked: the first and last of the pool and of the client networks
/// around it, which hosts hold to be those of the network and of all its hosts.
fn avoided(site: &Site) -> BTreeSet<u32> {
    let pool = site.presence_pool.prefix();
    let networks = site.client_networks.indexed().map(|(network, _)| network.prefix());
    let ends = networks.chain([pool]).flat_map(|net| [net.network(), net.broadcast()]);
    ends.filter(|address| pool.contains(address)).map(u32::from).collect()
}

fn holder(site: &SiteName, stands: &Stands) -> String {
    match stands {
        Stands::Clients => format!("the client presence of site {site}"),
        Stands::ClientsOf(client, service) => {
            format!("the clients of site {client} at service {service}.{site}")
        }
        Stands::Service(id) => format!("service {id} at site {site}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_named() {
        let site: SiteName = "a".parse().unwrap();
        let of = |text: &str| holder(&site, &text.parse().unwrap());
        assert_eq!(of("clients"), "the client presence of site a");
        assert_eq!(of("service web.b"), "service web.b at site a");
        assert_eq!(of("clients b at web"), "the clients of site b at service web.a");
    }
}
