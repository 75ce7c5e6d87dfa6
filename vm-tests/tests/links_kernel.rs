//! Links on the kernel's WireGuard: the same calls, and the two implementations with each other.
//!
//! Runs in guests alone: it demands a kernel with WireGuard, which hosts may lack.
#![forbid(unsafe_code)]

mod link_scenario;

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context, Result};
use gateway_daemon::link::{Backend, Disturbance, LinkError, LinkKind, LinkWatch, PeerState};
use link_scenario::{End, PORT_A, Pair, UNDERLAY};

const PATIENCE: Duration = Duration::from_secs(15);

fn kernel() -> Result<Pair> {
    Pair::new(LinkKind::Auto, 1500)
}

fn linked() -> Result<Pair> {
    let pair = kernel()?;
    pair.ensure(End::A)?;
    pair.ensure(End::B)?;
    pair.echo(End::B)?;
    Ok(pair)
}

#[test]
fn a_link_without_addresses_carries_packets_both_ways() -> Result<()> {
    let pair = kernel()?;
    for (end, mtu) in [(End::A, 1420), (End::B, 1440)] {
        let device = pair.ensure(end)?;
        assert_eq!((device.backend, device.mtu), (Backend::Kernel, mtu));
        let addresses =
            pair.gateway(end).ip(&format!("-o addr show dev {}", pair.interface(end)))?;
        assert!(!addresses.contains("inet"), "{addresses}");
    }
    pair.echo(End::B)?;
    pair.echo(End::A)?;
    for end in [End::A, End::B] {
        let health = pair.health(end)?;
        assert_eq!(health.state, PeerState::Up, "{health:?}");
        assert!(health.received > 0 && health.sent > 0, "{health:?}");
    }
    Ok(())
}

#[test]
fn the_kernel_and_the_embedded_device_understand_each_other() -> Result<()> {
    let mut pair = kernel()?;
    pair.settings[1].kind = LinkKind::Userspace;
    assert_eq!(pair.ensure(End::A)?.backend, Backend::Kernel);
    assert_eq!(pair.ensure(End::B)?.backend, Backend::Userspace);
    pair.echo(End::B)?;
    pair.echo_sized(End::A, 1400 - 28)
}

#[test]
fn ensuring_again_changes_nothing() -> Result<()> {
    let pair = linked()?;
    let before = pair.health(End::B)?;
    let first = pair.ensure(End::B)?;
    assert_eq!(pair.ensure(End::B)?, first);
    let after = pair.health(End::B)?;
    assert!(after.sent >= before.sent && after.received >= before.received);
    assert!(after.last_handshake >= before.last_handshake, "{before:?} {after:?}");
    pair.echo_once(End::B, 64, Duration::from_secs(1))
}

#[test]
fn peers_and_prefixes_are_replaced() -> Result<()> {
    let mut pair = linked()?;
    let allowed =
        std::mem::replace(&mut pair.settings[0].peers[0].transit, vec!["240.9.0.0/16".parse()?]);
    pair.ensure(End::A)?;
    let answered = pair.echo_once(End::B, 64, Duration::from_secs(1));
    assert!(answered.is_err(), "a packet from outside the peer's prefixes got through");
    pair.settings[0].peers[0].transit = allowed;
    pair.ensure(End::A)?;
    pair.echo(End::B)?;

    pair.settings[0].peers.clear();
    pair.ensure(End::A)?;
    assert!(pair.peers(End::A)?.is_empty());
    let answered = pair.echo_once(End::B, 64, Duration::from_secs(1));
    assert!(answered.is_err(), "a peer that was removed still gets through");
    Ok(())
}

#[test]
fn a_roamed_endpoint_is_kept_until_the_configured_one_changes() -> Result<()> {
    let mut pair = kernel()?;
    let home = SocketAddr::from((UNDERLAY[1], 40_001));
    pair.settings[0].peers[0].endpoint = Some(home);
    pair.settings[1].listen_port = NonZeroU16::new(home.port());
    pair.ensure(End::A)?;
    pair.ensure(End::B)?;
    pair.echo(End::B)?;
    assert_eq!(pair.health(End::A)?.endpoint, Some(home));

    let away = SocketAddr::from((UNDERLAY[1], 40_002));
    pair.settings[1].listen_port = NonZeroU16::new(away.port());
    pair.ensure(End::B)?;
    pair.echo(End::B)?;
    pair.ensure(End::A)?;
    assert_eq!(pair.health(End::A)?.endpoint, Some(away), "the roamed endpoint was reset");

    let elsewhere = SocketAddr::from((UNDERLAY[1], 40_003));
    pair.settings[0].peers[0].endpoint = Some(elsewhere);
    pair.ensure(End::A)?;
    assert_eq!(pair.health(End::A)?.endpoint, Some(elsewhere));
    Ok(())
}

#[test]
fn a_port_in_use_leaves_things_as_they_were() -> Result<()> {
    let mut pair = kernel()?;
    let taken = pair.gateway(End::A).run(|| UdpSocket::bind(("0.0.0.0", PORT_A)))??;
    let refused = pair.try_ensure(End::A, &pair.settings[0])?;
    assert!(matches!(&refused, Err(LinkError::PortInUse { port: PORT_A, .. })), "{refused:?}");
    let device = pair.gateway(End::A).ip(&format!("link show dev {}", pair.interface(End::A)));
    assert!(device.is_err(), "a half-made device was left");
    drop(taken);

    pair.ensure(End::A)?;
    pair.ensure(End::B)?;
    pair.echo(End::B)?;
    let taken = pair.gateway(End::A).run(|| UdpSocket::bind(("0.0.0.0", 0)))??;
    pair.settings[0].listen_port = NonZeroU16::new(taken.local_addr()?.port());
    let refused = pair.try_ensure(End::A, &pair.settings[0])?;
    assert!(matches!(&refused, Err(LinkError::PortInUse { .. })), "{refused:?}");
    pair.echo_once(End::B, 64, Duration::from_secs(1))
}

#[test]
fn a_deleted_device_is_noticed_and_made_anew() -> Result<()> {
    let pair = linked()?;
    let device = pair.ensure(End::B)?;
    let delete = format!("link del {}", pair.interface(End::B));
    let noticed = pair.at(End::B, || async {
        let mut watch = LinkWatch::open()?;
        pair.gateway(End::B).ip(&delete)?;
        let noticed = tokio::time::timeout(PATIENCE, watch.disturbed(&device)).await;
        anyhow::Ok(noticed.context("nothing was noticed")??)
    })??;
    assert_eq!(noticed, Disturbance::Gone);
    assert_ne!(pair.ensure(End::B)?.index, device.index);
    pair.echo(End::B)
}

#[test]
fn removing_leaves_nothing_and_twice_is_no_error() -> Result<()> {
    let pair = kernel()?;
    pair.ensure(End::A)?;
    pair.remove(End::A)?;
    let device = pair.gateway(End::A).ip(&format!("link show dev {}", pair.interface(End::A)));
    assert!(device.is_err());
    pair.remove(End::A)
}
