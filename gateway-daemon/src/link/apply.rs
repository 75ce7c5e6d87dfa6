//! Sending a change to a device so that it works afterwards, with the old port if need be.
//!
//! Called by [`super::ensure`]. The kernel binds a new port before it lets go of the old one; the
//! userspace device does not, and is handled with that in mind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;

use super::peers::PeerChange;
use super::settings::PublicKey;
use super::wireguard::{self, Change, Observed};
use super::{Backend, LinkError, permission};
use crate::netlink::InterfaceName;

/// Sends `change` to the device, if there is anything in it.
pub(super) async fn apply(
    interface: &InterfaceName,
    backend: Backend,
    observed: &Observed,
    change: Change,
) -> Result<(), LinkError> {
    if change.is_empty() {
        return Ok(());
    }
    tracing::info!(
        %interface,
        %backend,
        key = change.private_key.is_some(),
        port = change.listen_port,
        peers = change.peers.len(),
        "changing the link device"
    );
    if let Some(port) = change.listen_port {
        try_port(interface, port)?;
    }
    let new_port = change.listen_port;
    let rebinds = change.private_key.is_some() || new_port.is_some();
    match wireguard::apply(interface, backend, change).await {
        Err(LinkError::WireGuard { .. }) if rebinds && backend == Backend::Userspace => {
            rebind(interface, new_port, observed.listen_port).await
        }
        other => other,
    }
}

/// Makes a device send to a peer at once: a keepalive that is switched on is sent without delay.
pub(super) async fn dial_again(
    interface: &InterfaceName,
    backend: Backend,
    key: PublicKey,
    keepalive: NonZeroU16,
) -> Result<(), LinkError> {
    for seconds in [0, keepalive.get()] {
        let peer = PeerChange::Set {
            key,
            endpoint: None,
            keepalive: Some(seconds),
            allowed: None,
            clear_preshared_key: false,
        };
        let change = Change { peers: vec![peer], ..Change::default() };
        wireguard::apply(interface, backend, change).await?;
    }
    Ok(())
}

/// Gives a userspace device a socket again after it failed to bind one.
///
/// gotatun 0.10 closes its old socket in the background and then binds anew, so a new private key
/// can fail for the port that the device itself still holds; everything else of the change has
/// been taken over by then. Binding any free port first lets the old socket go.
async fn rebind(
    interface: &InterfaceName,
    new: Option<u16>,
    old: Option<u16>,
) -> Result<(), LinkError> {
    let bind = async |port| {
        let change = Change { listen_port: Some(port), ..Change::default() };
        wireguard::apply(interface, Backend::Userspace, change).await
    };
    tracing::warn!(%interface, new, old, "the link device lost its socket; binding another");
    bind(0).await?;
    match (new, old) {
        (None, None) => Ok(()),
        (None, Some(old)) => bind(old).await,
        (Some(new), None) => bind(new).await,
        (Some(new), Some(old)) => {
            if bind(new).await.is_ok() {
                return Ok(());
            }
            bind(0).await?;
            bind(old).await?;
            Err(LinkError::PortInUse { interface: interface.clone(), port: new })
        }
    }
}

/// Fails if the port cannot be had, before anything is changed.
fn try_port(interface: &InterfaceName, port: u16) -> Result<(), LinkError> {
    let any = |address: IpAddr| UdpSocket::bind(SocketAddr::new(address, port));
    let bound = match any(Ipv6Addr::UNSPECIFIED.into()) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => any(Ipv4Addr::UNSPECIFIED.into()),
        other => other,
    };
    match bound {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(LinkError::PortInUse { interface: interface.clone(), port })
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(permission(interface, format!("listen on UDP port {port}")))
        }
        Err(reason) => Err(LinkError::WireGuard {
            interface: interface.clone(),
            doing: "listen on its UDP port",
            reason,
        }),
    }
}
