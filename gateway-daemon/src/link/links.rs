//! All links of a gateway over time: which devices there should be, where each peer is dialled, by
//! which device its traffic goes, and how large its packets may be.
//!
//! The daemon asks for a [`Decision`] at start, on every change and once a second, and brings it
//! about where it differs from the one in force. A decision changes nothing by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use std::time::{Duration, Instant, SystemTime};

use super::account::{Account, DeviceAccount, MtuKnown, PeerAccount};
use super::dial::{Dial, Move};
use super::leaving::{self, End, Leaving, Now};
use super::paths::{Known, Paths};
use super::peers::ObservedPeer;
use super::rotation::{self, Assigned, Candidate, Found, Role, Slot};
use super::settings::{LinkHost, LinkPeer, LinkSettings, PublicKey};
use super::wanted::{Dialled, LinksWanted, WantedPeer};
use super::wireguard::{self, Observed};
use super::{Backend, LinkError, adoptable, apply, mtu};
use crate::clock;
use crate::netlink::{InterfaceName, Netlink};

/// How often the daemon asks.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the links of a gateway should be now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The devices, the one in use first.
    pub devices: Vec<LinkSettings>,
    /// How each site is reached.
    pub routes: Vec<SiteRoute>,
    /// Devices that only carry what is on its way by keys that were replaced. They stay as they are.
    pub leaving: Vec<InterfaceName>,
    /// Names a device of this gateway may have and should not have now.
    pub unwanted: Vec<InterfaceName>,
}

/// How a site is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRoute {
    /// The site.
    pub site: String,
    /// The device that packets for it are sent by.
    pub send: InterfaceName,
    /// Another device that packets from it are accepted from.
    pub also: Option<InterfaceName>,
    /// Largest packet towards it, inside the link, in bytes.
    pub mtu: u32,
}

impl Decision {
    /// The names of the devices, the one in use first, those that leave last.
    pub fn interfaces(&self) -> impl Iterator<Item = &InterfaceName> {
        self.devices.iter().map(|device| &device.interface).chain(&self.leaving)
    }
}

/// The links of a gateway.
#[derive(Debug)]
pub struct Links {
    host: LinkHost,
    dials: BTreeMap<(Slot, PublicKey), Watched>,
    sending: BTreeMap<String, Slot>,
    paths: Paths,
    leaving: Leaving,
    /// What is in force.
    account: Account,
    /// What will be when the last decision is.
    coming: Account,
}

#[derive(Debug)]
struct Watched {
    dial: Dial,
    since: u64,
}

/// A peer on one device, as it should be and as it was found.
struct Seen<'a> {
    peer: &'a WantedPeer,
    dialled: &'a Dialled,
    role: Role,
    slot: Slot,
    observed: Option<&'a ObservedPeer>,
    endpoint: Option<std::net::SocketAddr>,
    unanswered: bool,
    since: u64,
}

type Looked = [Option<(Backend, Observed)>; 2];

impl Links {
    /// Links of which nothing is known yet. Must be called inside a tokio runtime.
    pub fn new(host: LinkHost) -> Self {
        let account = Account::load(&host.directory).unwrap_or_default();
        let paths = Paths::new(account.paths.clone());
        let coming = account.clone();
        let leaving = Leaving::default();
        Self {
            host,
            dials: BTreeMap::new(),
            sending: BTreeMap::new(),
            paths,
            leaving,
            account,
            coming,
        }
    }

    /// Takes note that addresses or routes changed.
    pub fn underlay_changed(&mut self) {
        self.paths.changed();
    }

    /// Takes note that the last decision is in force, for `gatewayctl` and for a daemon that starts
    /// again.
    pub fn in_force(&mut self) {
        if self.coming != self.account {
            self.account = self.coming.clone();
            self.store();
        }
    }

    /// Looks at the devices and the underlay, and says what should be.
    pub async fn decide(&mut self, wanted: &LinksWanted) -> Result<Decision, LinkError> {
        let netlink = Netlink::connect()?;
        let looked = look(wanted, &netlink).await?;
        let found = [observed(&looked, Slot::First), observed(&looked, Slot::Second)];
        let mut assigned = rotation::devices(wanted, found, SystemTime::now());
        let taken = self.see_off(wanted, &assigned, found);
        // The next keys wait until what has their place is gone.
        assigned.retain(|it| !(it.needs_another_key(found) && taken.contains(&it.slot)));
        let mut seen = Vec::new();
        for device in &assigned {
            for (peer, dialled, role) in &device.peers {
                seen.push(self.watch(device, (peer, dialled, *role), found[device.slot as usize]));
            }
        }
        self.forget(&seen);
        let (used, watched) = addresses(&seen);
        let moved = self.paths.tend(&used, &watched, &netlink).await;
        let again = seen.iter().filter(|it| it.address().is_some_and(|to| moved.contains(&to)));
        for seen in again {
            self.dial_again(wanted, &looked, seen).await;
        }
        let mut decision = self.decision(wanted, &assigned, &seen, found);
        let free = |name: &&InterfaceName| decision.interfaces().all(|it| it != *name);
        decision.unwanted = wanted.interfaces.iter().filter(free).cloned().collect();
        self.coming = self.account_of(wanted, &assigned, &seen, &decision);
        self.announce();
        Ok(decision)
    }

    /// Follows the peers whose keys were replaced; the devices on which there were any.
    fn see_off(
        &mut self,
        wanted: &LinksWanted,
        assigned: &[Assigned<'_>],
        found: Found<'_>,
    ) -> BTreeSet<Slot> {
        let now = Now { instant: Instant::now(), system: SystemTime::now(), seconds: clock::now() };
        self.leaving.take_in(&self.account, wanted, assigned, found, now);
        let taken = Slot::ALL.into_iter().filter(|slot| self.leaving.is_on(*slot)).collect();
        for (slot, site, end) in self.leaving.tend(assigned, found, now) {
            let interface = &wanted.interfaces[slot as usize];
            match end {
                End::Silent => {
                    tracing::info!(%interface, site, "nothing comes by the replaced keys any more");
                }
                End::Late => tracing::warn!(
                    %interface,
                    site,
                    seconds = leaving::LONGEST.as_secs(),
                    "the time of the replaced keys is up; what the peer still sends by them is lost"
                ),
            }
        }
        taken
    }

    fn watch<'a>(
        &mut self,
        device: &Assigned<'_>,
        (peer, dialled, role): (&'a WantedPeer, &'a Dialled, Role),
        observed: Option<&'a Observed>,
    ) -> Seen<'a> {
        let now = Instant::now();
        let observed = observed.and_then(|device| device.peers.get(&dialled.public_key));
        let present = observed.and_then(|peer| peer.endpoint);
        let watched = self.dials.entry((device.slot, dialled.public_key)).or_insert_with(|| {
            Watched { dial: Dial::new(&dialled.endpoints, present), since: clock::now() }
        });
        if let Some(observed) = observed {
            watched.dial.observe(observed, now);
        }
        let answers = |endpoint: std::net::SocketAddr| self.paths.answers(endpoint.ip());
        let unanswered = watched.dial.has_failed(now);
        if let Some(moved) = watched.dial.step(&dialled.endpoints, answers, now) {
            let endpoint = dialled.endpoints.get(watched.dial.place);
            let site = &peer.site;
            match moved {
                Move::Onward => tracing::warn!(
                    site,
                    endpoint = ?endpoint,
                    "the endpoint of a peer does not answer; dialling the next one"
                ),
                Move::Back => tracing::info!(
                    site,
                    endpoint = ?endpoint,
                    "going back to an earlier endpoint of a peer"
                ),
            }
        }
        let endpoint = dialled.endpoints.get(watched.dial.place).copied();
        Seen {
            peer,
            dialled,
            role,
            slot: device.slot,
            observed,
            endpoint,
            unanswered,
            since: watched.since,
        }
    }

    fn forget(&mut self, seen: &[Seen<'_>]) {
        self.dials.retain(|(slot, key), _| {
            seen.iter().any(|it| it.slot == *slot && it.dialled.public_key == *key)
        });
        self.sending.retain(|site, _| seen.iter().any(|it| it.peer.site == *site));
    }

    /// Makes a peer that is dialled hear from this gateway at once, by its new address. A keepalive
    /// that is switched on is sent; gotatun makes a peer that is mentioned anew and begins a
    /// handshake.
    async fn dial_again(&self, wanted: &LinksWanted, looked: &Looked, seen: &Seen<'_>) {
        let Some((backend, _)) = &looked[seen.slot as usize] else { return };
        let (Some(keepalive), true) = (seen.dialled.keepalive, !seen.dialled.endpoints.is_empty())
        else {
            return;
        };
        let interface = &wanted.interfaces[seen.slot as usize];
        tracing::info!(%interface, site = seen.peer.site, "the underlay changed; dialling a peer again");
        let key = seen.dialled.public_key;
        let again = apply::dial_again(interface, *backend, key, keepalive).await;
        if let Err(error) = again {
            tracing::warn!(%interface, site = seen.peer.site, %error, "could not dial a peer again");
        }
    }

    fn decision(
        &mut self,
        wanted: &LinksWanted,
        assigned: &[Assigned<'_>],
        seen: &[Seen<'_>],
        found: Found<'_>,
    ) -> Decision {
        let devices = assigned.iter().map(|device| {
            let here = || seen.iter().filter(|it| it.slot == device.slot);
            let largest = here().map(|it| self.mtu(wanted, it).0).max();
            let leaving = self.leaving_peers(wanted, device.slot, found);
            let has_room = |it: &LinkPeer| leaving.iter().all(|leaves| leaves.site != it.site);
            let mut peers: Vec<_> = here().map(Seen::link_peer).filter(has_room).collect();
            peers.extend(leaving);
            LinkSettings {
                interface: wanted.interfaces[device.slot as usize].clone(),
                kind: wanted.kind,
                private_key: device.key.private_key.clone(),
                listen_port: device.key.listen_port,
                mtu: wanted.mtu,
                found_mtu: Some(largest.unwrap_or(mtu::WITHOUT_ENDPOINT)),
                peers,
            }
        });
        let devices: Vec<_> = devices.collect();
        let mut routes = Vec::new();
        for peer in &wanted.peers {
            let ways: Vec<_> = seen.iter().filter(|it| it.peer.site == peer.site).collect();
            let candidates: Vec<_> = ways.iter().map(|it| it.candidate()).collect();
            let before = self.sending.get(&peer.site).copied();
            let chosen = rotation::choose(&candidates, before, SystemTime::now());
            let Some((send, also)) = chosen else { continue };
            if self.sending.insert(peer.site.clone(), send).is_some_and(|before| before != send) {
                let interface = &wanted.interfaces[send as usize];
                tracing::info!(site = peer.site, %interface, "traffic goes by the other link device now");
            }
            let left = self.leaving.slot_of(&peer.site).filter(|slot| *slot != send);
            let also = also.or(left);
            let way = ways.iter().find(|it| it.slot == send);
            let mtu = way.map_or(mtu::WITHOUT_ENDPOINT, |it| self.mtu(wanted, it).0);
            let device = devices.iter().find(|it| it.interface == wanted.interfaces[send as usize]);
            let mtu = device.and_then(|it| it.found_mtu).map_or(mtu, |it| mtu::beside(mtu, it));
            routes.extend(peer.sites.iter().map(|site| SiteRoute {
                site: site.clone(),
                send: wanted.interfaces[send as usize].clone(),
                also: also.map(|slot| wanted.interfaces[slot as usize].clone()),
                mtu,
            }));
        }
        let is_left = |slot: &Slot| {
            self.leaving.is_on(*slot) && assigned.iter().all(|device| device.slot != *slot)
        };
        let left = Slot::ALL.into_iter().filter(is_left);
        let leaving = left.map(|slot| wanted.interfaces[slot as usize].clone()).collect();
        Decision { devices, routes, leaving, unwanted: Vec::new() }
    }

    /// The peers that leave a device, so that it keeps them as they are. WireGuard gives an address to
    /// one peer of a device, so the keys that come in their place wait.
    fn leaving_peers(&self, wanted: &LinksWanted, slot: Slot, found: Found<'_>) -> Vec<LinkPeer> {
        let peers = self.leaving.on(slot).filter_map(|(public_key, departure)| {
            let observed = found[slot as usize]?.peers.get(&public_key)?;
            let peer = wanted.peers.iter().find(|it| it.site == departure.site)?;
            Some(LinkPeer {
                site: peer.site.clone(),
                public_key,
                endpoint: None,
                keepalive: observed.keepalive,
                transit: peer.transit.clone(),
            })
        });
        peers.collect()
    }

    /// Largest packet towards a peer, and how that is known.
    fn mtu(&self, wanted: &LinksWanted, seen: &Seen<'_>) -> (u32, MtuKnown) {
        if let Some(mtu) = wanted.mtu {
            return (mtu, MtuKnown::Configured);
        }
        let Some(to) = seen.address() else {
            return (mtu::WITHOUT_ENDPOINT, MtuKnown::NoEndpoint);
        };
        let Some((packet, known)) = self.paths.size(to) else {
            return (mtu::WITHOUT_ENDPOINT, MtuKnown::NoEndpoint);
        };
        let fitting = mtu::inside(packet, to);
        let dialled = !seen.dialled.endpoints.is_empty();
        let known = match known {
            Known::Probed => return (fitting, MtuKnown::Probed),
            Known::NotYet => MtuKnown::Probing,
            Known::Unanswered => MtuKnown::Unanswered,
            Known::CannotAsk => MtuKnown::CannotProbe,
        };
        // Of a path that was not measured and that somebody else chose, the cautious guess.
        (if dialled { fitting } else { fitting.min(mtu::WITHOUT_ENDPOINT) }, known)
    }

    fn account_of(
        &self,
        wanted: &LinksWanted,
        assigned: &[Assigned<'_>],
        seen: &[Seen<'_>],
        decision: &Decision,
    ) -> Account {
        let devices = assigned.iter().map(|device| {
            let interface = &wanted.interfaces[device.slot as usize];
            let here = seen.iter().filter(|it| it.slot == device.slot);
            let peers = here.map(|it| {
                let (mtu, mtu_known) = self.mtu(wanted, it);
                let route = decision.routes.iter().find(|route| route.site == it.peer.site);
                PeerAccount {
                    site: it.peer.site.clone(),
                    public_key: it.dialled.public_key.to_string(),
                    role: it.role,
                    endpoints: it.dialled.endpoints.clone(),
                    dialled_since: (!it.dialled.endpoints.is_empty()).then_some(it.since),
                    sends: route.is_some_and(|route| route.send == *interface),
                    unanswered: it.unanswered,
                    mtu,
                    mtu_known,
                    leaving_since: None,
                }
            });
            DeviceAccount {
                interface: interface.to_string(),
                role: device.role,
                public_key: device.key.private_key.public_key().to_string(),
                peers: peers.chain(self.leaving_accounts(interface, device.slot)).collect(),
            }
        });
        let left = decision.leaving.iter().filter_map(|interface| {
            let slot =
                Slot::ALL.into_iter().find(|it| wanted.interfaces[*it as usize] == *interface)?;
            let before =
                self.account.devices.iter().find(|it| it.interface == interface.as_str())?;
            let peers = self.leaving_accounts(interface, slot);
            Some(DeviceAccount { peers: peers.collect(), ..before.clone() })
        });
        let mut paths = self.paths.found();
        // Until a path is probed again, what was found before is the best there is to recall.
        let known = |it: &(&IpAddr, &u32)| !paths.contains_key(it.0) && self.paths.awaits(*it.0);
        let before: Vec<_> =
            self.account.paths.iter().filter(known).map(|(to, size)| (*to, *size)).collect();
        paths.extend(before);
        Account { devices: devices.chain(left).collect(), paths }
    }

    /// Those that leave a device, as they were while they were in force.
    fn leaving_accounts(
        &self,
        interface: &InterfaceName,
        slot: Slot,
    ) -> impl Iterator<Item = PeerAccount> {
        let noted = self.account.devices.iter().find(|it| it.interface == interface.as_str());
        let peers = noted.map_or(&[][..], |noted| &noted.peers);
        self.leaving.on(slot).filter_map(move |(key, departure)| {
            let noted = peers.iter().find(|it| it.public_key == key.to_string())?;
            let leaving_since = Some(departure.since);
            Some(PeerAccount { sends: false, leaving_since, ..noted.clone() })
        })
    }

    /// Names devices before they are made, so that whoever takes the gateway away finds them.
    fn announce(&mut self) {
        let known = |name: &str| self.account.devices.iter().any(|it| it.interface == name);
        let coming: Vec<_> =
            self.coming.devices.iter().filter(|it| !known(&it.interface)).cloned().collect();
        if coming.is_empty() {
            return;
        }
        let unused = coming.into_iter().map(|it| DeviceAccount { peers: Vec::new(), ..it });
        self.account.devices.extend(unused);
        self.store();
    }

    fn store(&self) {
        if let Err(error) = self.account.store(&self.host.directory) {
            tracing::warn!(%error, "could not write what is known of the links");
        }
    }
}

impl Seen<'_> {
    /// Where the peer is: where its packets come from, else where it is dialled.
    fn address(&self) -> Option<IpAddr> {
        let present = self.observed.and_then(|peer| peer.endpoint);
        present.or(self.endpoint).map(|endpoint| endpoint.ip())
    }

    fn link_peer(&self) -> LinkPeer {
        LinkPeer {
            site: self.peer.site.clone(),
            public_key: self.dialled.public_key,
            endpoint: self.endpoint,
            keepalive: self.dialled.keepalive,
            transit: self.peer.transit.clone(),
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            slot: self.slot,
            role: self.role,
            key: self.dialled.public_key,
            last_handshake: self.observed.and_then(|peer| peer.last_handshake),
            unanswered: self.unanswered,
        }
    }
}

async fn look(wanted: &LinksWanted, netlink: &Netlink) -> Result<Looked, LinkError> {
    let mut looked = [None, None];
    for slot in Slot::ALL {
        let name = &wanted.interfaces[slot as usize];
        let Some(found) = netlink.interface(name).await? else { continue };
        // A name that something else bears is refused when a device of that name is needed.
        let Ok(backend) = adoptable(name, &found) else { continue };
        looked[slot as usize] = Some((backend, wireguard::read(name, backend).await?));
    }
    Ok(looked)
}

fn observed(looked: &Looked, slot: Slot) -> Option<&Observed> {
    looked[slot as usize].as_ref().map(|(_, observed)| observed)
}

/// Where peers are, and where else those of several endpoints might be.
fn addresses(seen: &[Seen<'_>]) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
    let used: BTreeSet<IpAddr> = seen.iter().filter_map(Seen::address).collect();
    let several = seen.iter().filter(|it| it.dialled.endpoints.len() > 1);
    let all = several.flat_map(|it| it.dialled.endpoints.iter().map(|endpoint| endpoint.ip()));
    let watched = all.filter(|address| !used.contains(address)).collect();
    (used, watched)
}
