//! What a gateway needs besides tables: its link and its LAN interfaces, as plain values. `gatewayd`
//! carries it out by netlink and by attaching programs.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use ipnet::Ipv4Net;

use crate::model::{
    Endpoint, InterfaceName, Keepalive, KeyFile, LanMode, Link, LinkKind, Peer, PublicKey,
    RemoteSite, SiteModel, SiteName,
};

/// Link and LAN interfaces of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The link device.
    pub link: LinkPlan,
    /// Interfaces towards the site, in the order of the site file.
    pub lans: Vec<LanPlan>,
}

/// What the link device should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPlan {
    /// Its name.
    pub interface: InterfaceName,
    /// What a second one beside it is called.
    pub second_interface: InterfaceName,
    /// What it is made of.
    pub kind: LinkKind,
    /// Key and port of the device in use.
    pub current: DevicePlan,
    /// Key and port of the second device, where keys are rotated.
    pub next: Option<DevicePlan>,
    /// MTU in octets; `None`: what the paths to the peers are found to carry.
    pub mtu: Option<NonZeroU32>,
    /// The gateways at the other ends, in the order of the site file.
    pub peers: Vec<PeerPlan>,
}

/// What makes a link device this gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePlan {
    /// Where its private key is.
    pub private_key_file: KeyFile,
    /// UDP port; `None`: any free one.
    pub listen_port: Option<NonZeroU16>,
}

/// A gateway at the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPlan {
    /// Its site.
    pub site: SiteName,
    /// Transit addresses that it may send from and is sent to: its site's block and those of the
    /// sites it relays, sorted.
    pub transit: Vec<Ipv4Net>,
    /// Sites whose traffic goes to it: its own and those it relays.
    pub sites: Vec<SiteName>,
    /// On the device in use.
    pub current: DialPlan,
    /// On the second device, if it is there.
    pub next: Option<DialPlan>,
}

/// How a peer is known on one link device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialPlan {
    /// Its key.
    pub public_key: PublicKey,
    /// Where to dial it, the first that works; none: it dials us.
    pub endpoints: Vec<Endpoint>,
    /// How often to send something in silence; `None`: never.
    pub keepalive: Option<Keepalive>,
}

/// An interface towards the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanPlan {
    /// Its name.
    pub interface: InterfaceName,
    /// Which hooks to use on it.
    pub mode: LanMode,
}

impl Plan {
    /// What `model` asks for.
    pub fn new(model: &SiteModel) -> Self {
        let mut reached: BTreeMap<&SiteName, Vec<&RemoteSite>> = BTreeMap::new();
        for site in model.remote_sites() {
            reached.entry(&site.via).or_default().push(site);
        }
        let link = model.link();
        let peers = model.peers().iter().map(|peer| {
            let reached = reached.get(&peer.site).map_or(&[][..], Vec::as_slice);
            let mut transit: Vec<_> = reached.iter().map(|site| site.transit.prefix()).collect();
            transit.sort();
            PeerPlan {
                site: peer.site.clone(),
                transit,
                sites: reached.iter().map(|site| site.name.clone()).collect(),
                current: DialPlan {
                    public_key: peer.public_key,
                    endpoints: peer.endpoints.clone(),
                    keepalive: peer.keepalive,
                },
                next: next(link, peer),
            }
        });
        let peers: Vec<_> = peers.collect();
        let second = link.next.is_some() || peers.iter().any(|peer| peer.next.is_some());
        let next = link.next.clone().unwrap_or_default();
        Self {
            link: LinkPlan {
                interface: link.interface.clone(),
                second_interface: link.second_interface(),
                kind: link.kind,
                next: second.then(|| DevicePlan {
                    private_key_file: next
                        .private_key_file
                        .unwrap_or_else(|| link.private_key_file.clone()),
                    listen_port: next.listen_port,
                }),
                current: DevicePlan {
                    private_key_file: link.private_key_file.clone(),
                    listen_port: link.listen_port,
                },
                mtu: link.mtu.and_then(|mtu| NonZeroU32::new(mtu.octets())),
                peers,
            },
            lans: model
                .lans()
                .iter()
                .map(|lan| LanPlan { interface: lan.interface.clone(), mode: lan.mode })
                .collect(),
        }
    }
}

/// How a peer is known on the second device: where its key or ours changes, or where it dials and
/// may choose either device. A peer that is dialled and changes nothing is not on it, since it
/// would answer one of the two devices at a time.
fn next(link: &Link, peer: &Peer) -> Option<DialPlan> {
    let new_key = link.next.as_ref().is_some_and(|next| next.private_key_file.is_some());
    let may_choose = link.next.is_some() && peer.endpoints.is_empty();
    if !new_key && peer.next.is_none() && !may_choose {
        return None;
    }
    let next = peer.next.clone().unwrap_or_default();
    let dialled = (!next.endpoints.is_empty()).then_some(Keepalive::DEFAULT);
    Some(DialPlan {
        public_key: next.public_key.unwrap_or(peer.public_key),
        endpoints: next.endpoints,
        // Without it nothing would begin a session that no traffic is sent by yet.
        keepalive: peer.keepalive.or(dialled),
    })
}
