//! What all links of a gateway should be: the site file's part, before anything was looked at.
//!
//! Made by the daemon from the site file; [`super::rotation`] makes one or two devices of it.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use ipnet::Ipv4Net;

use super::settings::{LinkKind, PrivateKey, PublicKey};
use crate::netlink::InterfaceName;

/// The links a gateway should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinksWanted {
    /// Names of the two devices there may be. Either may be the one in use: a device is known by
    /// its key, and keeps its name when its key becomes the current one.
    pub interfaces: [InterfaceName; 2],
    /// Which implementation of WireGuard is wanted.
    pub kind: LinkKind,
    /// MTU in bytes; `None`: what the paths are found to carry.
    pub mtu: Option<u32>,
    /// The device in use.
    pub current: DeviceKey,
    /// The second one, while keys are rotated.
    pub next: Option<DeviceKey>,
    /// The gateways at the other ends.
    pub peers: Vec<WantedPeer>,
}

/// What makes a device this gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKey {
    /// Its private key.
    pub private_key: PrivateKey,
    /// UDP port to listen on; `None`: whichever is free.
    pub listen_port: Option<NonZeroU16>,
}

/// One gateway this one has a link to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPeer {
    /// Name of its site.
    pub site: String,
    /// Sites whose traffic goes to it: its own and those it relays.
    pub sites: Vec<String>,
    /// Transit prefixes it may send from and is sent to.
    pub transit: Vec<Ipv4Net>,
    /// How it is known on the device in use.
    pub current: Dialled,
    /// How it is known on the second one; `None`: it is not there.
    pub next: Option<Dialled>,
}

/// How a peer is known on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialled {
    /// Its public key.
    pub public_key: PublicKey,
    /// Where to dial it, the first that works; none: it dials us.
    pub endpoints: Vec<SocketAddr>,
    /// Seconds between keepalives; `None`: none are sent.
    pub keepalive: Option<NonZeroU16>,
}

impl LinksWanted {
    /// Whether both devices would have one key, so that a peer may choose between them.
    pub(super) fn one_key(&self) -> bool {
        let key = self.current.private_key.public_key();
        self.next.as_ref().is_some_and(|next| next.private_key.public_key() == key)
    }
}
