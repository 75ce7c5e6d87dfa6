//! Reading and changing a WireGuard device, kernel or userspace alike, by `wireguard_control`.
//!
//! The library blocks without a bound, so its calls run on threads of their own and are waited
//! for with one. Its userspace half starts `wireguard-go` when the control socket cannot be
//! connected to, so a userspace device is asked for a sign of life first.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::sync::oneshot;
use wireguard_control::{Device, DeviceUpdate, Key, PeerConfigBuilder};

use super::peers::{ObservedPeer, PeerChange};
use super::settings::{PrivateKey, PublicKey};
use super::{Backend, LinkError, process};
use crate::netlink::InterfaceName;

/// Longest wait for a device's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A device's configuration as it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    pub(super) public_key: Option<PublicKey>,
    pub(super) listen_port: Option<u16>,
    pub(super) peers: BTreeMap<PublicKey, ObservedPeer>,
}

/// What to change in a device.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub(super) private_key: Option<PrivateKey>,
    pub(super) listen_port: Option<u16>,
    pub(super) peers: Vec<PeerChange>,
}

/// Reads a device.
pub(super) async fn read(
    interface: &InterfaceName,
    backend: Backend,
) -> Result<Observed, LinkError> {
    let name = library_name(interface)?;
    let device = blocking(interface, backend, "read its WireGuard configuration", move || {
        Device::get(&name, backend.into())
    })
    .await?;
    Ok(Observed::from(device))
}

/// Changes a device. Nothing is sent if there is nothing to change.
pub(super) async fn apply(
    interface: &InterfaceName,
    backend: Backend,
    change: Change,
) -> Result<(), LinkError> {
    if change.is_empty() {
        return Ok(());
    }
    let name = library_name(interface)?;
    blocking(interface, backend, "change its WireGuard configuration", move || {
        DeviceUpdate::from(change).apply(&name, backend.into())
    })
    .await
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.private_key.is_none() && self.listen_port.is_none() && self.peers.is_empty()
    }
}

impl From<Device> for Observed {
    fn from(device: Device) -> Self {
        let mut peers: BTreeMap<PublicKey, ObservedPeer> = BTreeMap::new();
        for info in device.peers {
            // The kernel continues a long list of allowed prefixes in a further message, under
            // the same key.
            let peer = peers.entry(info.config.public_key.into()).or_default();
            peer.endpoint = info.config.endpoint.or(peer.endpoint);
            peer.keepalive = info
                .config
                .persistent_keepalive_interval
                .and_then(NonZeroU16::new)
                .or(peer.keepalive);
            peer.preshared_key |= info.config.preshared_key.is_some_and(|key| key != Key::zero());
            peer.allowed.extend(info.config.allowed_ips.iter().map(|ip| (ip.address, ip.cidr)));
            peer.last_handshake = info.stats.last_handshake_time.or(peer.last_handshake);
            peer.received = peer.received.max(info.stats.rx_bytes);
            peer.sent = peer.sent.max(info.stats.tx_bytes);
        }
        let public_key = device.public_key.filter(|key| *key != Key::zero());
        Self {
            public_key: public_key.map(PublicKey::from),
            listen_port: device.listen_port.filter(|port| *port != 0),
            peers,
        }
    }
}

impl From<Change> for DeviceUpdate {
    fn from(change: Change) -> Self {
        let mut update = DeviceUpdate::new();
        if let Some(key) = change.private_key {
            update = update.set_private_key(key.key());
        }
        if let Some(port) = change.listen_port {
            update = update.set_listen_port(port);
        }
        for peer in change.peers {
            update = match peer {
                PeerChange::Remove(key) => update.remove_peer_by_key(&key.key()),
                PeerChange::Set { key, endpoint, keepalive, allowed, clear_preshared_key } => {
                    let mut peer = PeerConfigBuilder::new(&key.key());
                    if let Some(endpoint) = endpoint {
                        peer = peer.set_endpoint(endpoint);
                    }
                    if let Some(seconds) = keepalive {
                        peer = peer.set_persistent_keepalive_interval(seconds);
                    }
                    if let Some(allowed) = allowed {
                        peer = peer.replace_allowed_ips();
                        for (address, length) in allowed {
                            peer = peer.add_allowed_ip(address, length);
                        }
                    }
                    if clear_preshared_key {
                        peer = peer.unset_preshared_key();
                    }
                    update.add_peer(peer)
                }
            };
        }
        update
    }
}

impl From<Backend> for wireguard_control::Backend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Kernel => Self::Kernel,
            Backend::Userspace => Self::Userspace,
        }
    }
}

fn library_name(interface: &InterfaceName) -> Result<wireguard_control::InterfaceName, LinkError> {
    interface.as_str().parse().map_err(|error: wireguard_control::InvalidInterfaceName| {
        LinkError::Settings { interface: interface.clone(), reason: error.to_string() }
    })
}

/// Runs one blocking call on a thread of its own, which shares this one's network namespace.
///
/// Not one of the runtime's threads: a runtime does not end before all of those do.
async fn blocking<T: Send + 'static>(
    interface: &InterfaceName,
    backend: Backend,
    doing: &'static str,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, LinkError> {
    let (answer, answered) = oneshot::channel();
    let name = interface.clone();
    std::thread::spawn(move || {
        let alive = match backend {
            Backend::Kernel => Ok(()),
            Backend::Userspace => process::sign_of_life(&name, PATIENCE),
        };
        // Nobody listens any more if the wait timed out.
        let _ = answer.send(alive.and_then(|()| call()));
    });
    let failed = |reason| LinkError::WireGuard { interface: interface.clone(), doing, reason };
    let silent =
        || LinkError::Unresponsive { interface: interface.clone(), doing, waited: PATIENCE };
    match tokio::time::timeout(PATIENCE * 2, answered).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(error))) => Err(match error.kind() {
            io::ErrorKind::PermissionDenied => {
                LinkError::Permission { interface: interface.clone(), doing: doing.into() }
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => silent(),
            _ => failed(error),
        }),
        Ok(Err(_)) => Err(failed(io::Error::other("the library call panicked"))),
        Err(_) => Err(silent()),
    }
}
