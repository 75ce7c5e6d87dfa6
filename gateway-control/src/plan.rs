//! What a gateway needs besides tables: its link and its LAN interfaces, as plain values. `gatewayd`
//! carries it out by netlink and by attaching programs.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use ipnet::Ipv4Net;

use crate::model::{
    Endpoint, InterfaceName, Keepalive, KeyFile, LanMode, LinkKind, PublicKey, SiteModel, SiteName,
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
    /// What it is made of.
    pub kind: LinkKind,
    /// Where its private key is.
    pub private_key_file: KeyFile,
    /// UDP port; `None`: any free one.
    pub listen_port: Option<NonZeroU16>,
    /// MTU in octets; `None`: the underlay's less the link's own headers.
    pub mtu: Option<NonZeroU32>,
    /// The gateways at the other ends, in the order of the site file.
    pub peers: Vec<PeerPlan>,
}

/// A gateway at the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPlan {
    /// Its site.
    pub site: SiteName,
    /// Its key.
    pub public_key: PublicKey,
    /// Where to dial it; `None`: it dials us.
    pub endpoint: Option<Endpoint>,
    /// How often to send something in silence; `None`: never.
    pub keepalive: Option<Keepalive>,
    /// Transit addresses that it may send from and is sent to: its site's block and those of the
    /// sites it relays, sorted.
    pub transit: Vec<Ipv4Net>,
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
        let mut transit: BTreeMap<&SiteName, Vec<Ipv4Net>> = BTreeMap::new();
        for site in model.remote_sites() {
            transit.entry(&site.via).or_default().push(site.transit.prefix());
        }
        let peers = model.peers().iter().map(|peer| {
            let mut transit = transit.get(&peer.site).cloned().unwrap_or_default();
            transit.sort();
            PeerPlan {
                site: peer.site.clone(),
                public_key: peer.public_key,
                endpoint: peer.endpoint,
                keepalive: peer.keepalive,
                transit,
            }
        });
        let link = model.link();
        Self {
            link: LinkPlan {
                interface: link.interface.clone(),
                kind: link.kind,
                private_key_file: link.private_key_file.clone(),
                listen_port: link.listen_port,
                mtu: link.mtu.and_then(|mtu| NonZeroU32::new(mtu.octets())),
                peers: peers.collect(),
            },
            lans: model
                .lans()
                .iter()
                .map(|lan| LanPlan { interface: lan.interface.clone(), mode: lan.mode })
                .collect(),
        }
    }
}
