//! Links on the userspace device, in namespaces: made, used, changed, disturbed, removed; and what
//! an operator is told when they cannot be.
#![forbid(unsafe_code)]

mod link_scenario;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gateway_daemon::link::{
    Account, Backend, DeviceKey, Dialled, Disturbance, LinkError, LinkKind, LinkWatch, Links,
    LinksWanted, MtuKnown, PeerState, PrivateKey, REJECT_AFTER_TIME, WantedPeer,
};
use link_scenario::{End, HOSTS, PORT_A, Pair, UNDERLAY};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getsid};
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::traffic::Body;
use vm_tests::lab::wait::wait_for;
use wireguard_control::Key;

const PATIENCE: Duration = Duration::from_secs(15);

fn userspace() -> Result<Pair> {
    Pair::new(LinkKind::Userspace, 1500)
}

fn linked() -> Result<Pair> {
    let pair = userspace()?;
    pair.ensure(End::A)?;
    pair.ensure(End::B)?;
    pair.echo(End::B)?;
    Ok(pair)
}

/// The process of a gateway's link device: the only one in its namespace.
fn process(pair: &Pair, end: End) -> Result<Pid> {
    let pids = pair.gateway(end).pids()?;
    ensure!(pids.len() == 1, "one process was expected: {pids:?}");
    Ok(pids[0])
}

fn socket(pair: &Pair, end: End) -> PathBuf {
    Path::new("/run/wireguard").join(format!("{}.sock", pair.interface(end)))
}

#[test]
fn a_link_without_addresses_carries_packets_both_ways() -> Result<()> {
    let pair = userspace()?;
    for end in [End::A, End::B] {
        // The kernel would give the device an IPv6 address of its own accord.
        pair.gateway(end).run(|| {
            ["all", "default"].into_iter().try_for_each(|scope| {
                fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "0")
            })
        })??;
        let device = pair.ensure(end)?;
        assert_eq!(
            (device.backend, device.mtu),
            (Backend::Userspace, if end == End::B { 1440 } else { 1420 })
        );
        let addresses =
            pair.gateway(end).ip(&format!("-o addr show dev {}", pair.interface(end)))?;
        assert!(!addresses.contains("inet"), "{addresses}");
    }
    pair.echo(End::B)?;
    pair.echo(End::A)?;
    for end in [End::A, End::B] {
        let health = pair.health(end)?;
        assert_eq!(health.state, PeerState::Up, "{health:?}");
        assert!(health.last_handshake.is_some_and(|age| age < REJECT_AFTER_TIME));
        assert!(health.received > 0 && health.sent > 0, "{health:?}");
        let from = health.endpoint.map(|endpoint| endpoint.ip());
        assert_eq!(from, Some(UNDERLAY[end.other() as usize].into()));
    }
    Ok(())
}

#[test]
fn before_the_first_handshake_health_says_who_has_to_move() -> Result<()> {
    let pair = userspace()?;
    pair.ensure(End::A)?;
    assert_eq!(pair.health(End::A)?.state, PeerState::WaitingForPeer);
    pair.remove(End::A)?;
    pair.ensure(End::B)?;
    assert_eq!(pair.health(End::B)?.state, PeerState::NeverAnswered);
    Ok(())
}

/// A forwarded TCP stream arrives at the device in 64 KiB segments with unfinished checksums; a
/// device that offers no offloads must get them cut and finished.
#[test]
fn bulk_tcp_crosses_with_its_checksums_finished() -> Result<()> {
    const LENGTH: usize = 16 * 1024 * 1024;
    let pair = linked()?;
    let [a, b] = [End::A, End::B].map(|end| pair.host(end));
    let listener = a.run(|| TcpListener::bind((HOSTS[0], 0)))??;
    let server = listener.local_addr()?;
    let sent = body(LENGTH);
    let received = std::thread::scope(|scope| -> Result<Vec<u8>> {
        let sender = scope.spawn(|| listener.accept()?.0.write_all(&sent));
        let mut stream = b.run(|| TcpStream::connect(server))??;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        sender.join().expect("the sender does not panic")?;
        Ok(bytes)
    })?;
    assert!(received == sent, "{} of {LENGTH} bytes arrived, or changed ones", received.len());
    let mean = mean_received(pair.gateway(End::A), "lan0")?;
    assert!(mean > 1500, "no segments to cut: packets of {mean} bytes reached the gateway");
    Ok(())
}

/// Mean length in bytes of the packets a device has received.
fn mean_received(namespace: &Namespace, device: &str) -> Result<u64> {
    let table = namespace.run(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{device}:")));
    let mut numbers = line.context("no such device")?.split_whitespace();
    let bytes: u64 = numbers.next().context("no bytes")?.parse()?;
    let packets: u64 = numbers.next().context("no packets")?.parse()?;
    Ok(bytes / packets.max(1))
}

fn body(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Body::new(length as u64).fill(&mut bytes);
    bytes
}

#[test]
fn a_jumbo_underlay_gives_the_largest_mtu_the_device_reads_whole() -> Result<()> {
    let mut pair = Pair::new(LinkKind::Userspace, 9000)?;
    pair.settings[0].mtu = Some(4096);
    for end in [End::A, End::B] {
        assert_eq!(pair.ensure(end)?.mtu, 4096);
    }
    pair.echo_sized(End::B, 4096 - 28)
}

#[test]
fn ensuring_again_changes_nothing() -> Result<()> {
    let pair = linked()?;
    let before = (pair.health(End::B)?, process(&pair, End::B)?);
    let first = pair.ensure(End::B)?;
    assert_eq!(pair.ensure(End::B)?, first);
    let after = (pair.health(End::B)?, process(&pair, End::B)?);
    // A session begun anew would start its counters and its age from zero.
    assert!(after.0.sent >= before.0.sent && after.0.received >= before.0.received);
    assert!(after.0.last_handshake >= before.0.last_handshake, "{before:?} {after:?}");
    assert_eq!(after.1, before.1);
    pair.echo_once(End::B, 64, Duration::from_secs(1))
}

#[test]
fn a_change_to_one_peer_leaves_the_other_peers_session_alone() -> Result<()> {
    let mut pair = linked()?;
    let before = pair.health(End::A)?;
    let mut second = pair.settings[0].peers[0].clone();
    second.public_key = "DD5yKRfzExcV5+kDnTroDgCU15latdMjiQ59j1hEuk8=".parse()?;
    second.transit = vec!["240.0.48.0/20".parse()?];
    pair.settings[0].peers.push(second);
    pair.ensure(End::A)?;
    let peers = pair.peers(End::A)?;
    assert_eq!(peers.len(), 2);
    let kept = peers.iter().find(|peer| peer.public_key == before.public_key);
    assert!(kept.is_some_and(|kept| kept.received >= before.received), "{peers:?}");
    pair.echo_once(End::A, 64, Duration::from_secs(1))
}

#[test]
fn a_removed_peer_is_cut_off_and_a_returned_one_is_not() -> Result<()> {
    let mut pair = linked()?;
    let peers = std::mem::take(&mut pair.settings[0].peers);
    pair.ensure(End::A)?;
    assert!(pair.peers(End::A)?.is_empty());
    let answered = pair.echo_once(End::B, 64, Duration::from_secs(1));
    assert!(answered.is_err(), "a peer that was removed still gets through");
    pair.settings[0].peers = peers;
    pair.ensure(End::A)?;
    // B's session died with the peer; a new one begins when B finds out or its device is told.
    pair.remove(End::B)?;
    pair.ensure(End::B)?;
    pair.echo(End::B)
}

#[test]
fn changed_prefixes_decide_what_a_peer_may_send() -> Result<()> {
    let mut pair = linked()?;
    let allowed =
        std::mem::replace(&mut pair.settings[0].peers[0].transit, vec!["240.9.0.0/16".parse()?]);
    pair.ensure(End::A)?;
    let answered = pair.echo_once(End::B, 64, Duration::from_secs(1));
    assert!(answered.is_err(), "a packet from outside the peer's prefixes got through");
    pair.settings[0].peers[0].transit = allowed;
    pair.ensure(End::A)?;
    pair.remove(End::B)?;
    pair.ensure(End::B)?;
    pair.echo(End::B)
}

#[test]
fn a_roamed_endpoint_is_kept_until_the_configured_one_changes() -> Result<()> {
    let mut pair = userspace()?;
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
    assert_eq!(pair.health(End::A)?.endpoint, Some(away));
    pair.ensure(End::A)?;
    assert_eq!(pair.health(End::A)?.endpoint, Some(away), "the roamed endpoint was reset");

    let elsewhere = SocketAddr::from((UNDERLAY[1], 40_003));
    pair.settings[0].peers[0].endpoint = Some(elsewhere);
    pair.ensure(End::A)?;
    assert_eq!(pair.health(End::A)?.endpoint, Some(elsewhere));
    Ok(())
}

/// Each rebinding may make gotatun believe that its TUN device is gone.
#[test]
fn many_new_ports_leave_the_device_alive() -> Result<()> {
    let mut pair = linked()?;
    let before = (pair.ensure(End::B)?, process(&pair, End::B)?);
    for port in 40_001..40_041 {
        pair.settings[1].listen_port = NonZeroU16::new(port);
        pair.ensure(End::B)?;
    }
    pair.echo(End::B)?;
    assert_eq!((pair.ensure(End::B)?, process(&pair, End::B)?), before);
    Ok(())
}

/// A new key makes gotatun bind the same port again.
#[test]
fn new_private_keys_are_taken_over() -> Result<()> {
    let mut pair = linked()?;
    for _ in 0..10 {
        let key: PrivateKey = Key::generate_private().to_base64().parse()?;
        pair.settings[1].peers[0].public_key = key.public_key();
        pair.settings[0].private_key = key;
        pair.ensure(End::A)?;
        pair.ensure(End::B)?;
        pair.echo(End::B)?;
    }
    Ok(())
}

#[test]
fn the_device_process_is_on_its_own_and_closed_to_others() -> Result<()> {
    let pair = userspace()?;
    pair.ensure(End::A)?;
    let pid = process(&pair, End::A)?;
    assert_eq!(getsid(Some(pid))?, pid, "it is in the daemon's session");
    let mode = fs::metadata(socket(&pair, End::A))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let log = pair.host.directory.join(format!("link-{}.log", pair.interface(End::A)));
    assert_eq!(fs::metadata(log)?.permissions().mode() & 0o777, 0o600);
    for descriptor in 0..=1 {
        let open = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"))?;
        assert_eq!(open, Path::new("/dev/null"), "descriptor {descriptor}");
    }
    Ok(())
}

/// As when a terminal or a service manager ends all of gatewayd at once.
#[test]
fn a_device_outlives_the_group_that_started_it_and_is_adopted() -> Result<()> {
    let pair = userspace()?;
    let name = pair.interface(End::A);
    let mut starter = pair.gateway(End::A).run(|| {
        Command::new("sh")
            .args(["-c", "\"$0\" link-device --interface \"$1\" & wait"])
            .args([pair.host.program.as_os_str(), name.as_str().as_ref()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    })??;
    wait_for("the control socket", PATIENCE, || Ok(socket(&pair, End::A).exists()))?;
    killpg(Pid::from_raw(starter.id().try_into()?), Signal::SIGKILL)?;
    starter.wait()?;
    let survivor = process(&pair, End::A)?;
    let before = pair.gateway(End::A).ip(&format!("-o link show dev {name}"))?;

    let device = pair.ensure(End::A)?;
    assert!(before.starts_with(&format!("{}:", device.index.value())), "{before} {device:?}");
    assert_eq!(process(&pair, End::A)?, survivor);
    pair.ensure(End::B)?;
    pair.echo(End::B)
}

#[test]
fn a_killed_device_process_is_noticed_and_replaced() -> Result<()> {
    let pair = linked()?;
    let pid = process(&pair, End::B)?;
    let settings = &pair.settings[1];
    let (device, disturbance) = pair.at(End::B, || async {
        let mut watch = LinkWatch::open()?;
        let device = gateway_daemon::link::ensure(settings, &pair.host).await?;
        kill(pid, Signal::SIGKILL).map_err(std::io::Error::from)?;
        let noticed = tokio::time::timeout(PATIENCE, watch.disturbed(&device)).await;
        anyhow::Ok((device, noticed.context("nothing was noticed")??))
    })??;
    assert_eq!(disturbance, Disturbance::Gone);
    let again = pair.ensure(End::B)?;
    assert_ne!(again.index, device.index);
    pair.echo(End::B)
}

#[test]
fn a_device_set_down_is_noticed_and_set_up() -> Result<()> {
    let pair = linked()?;
    let device = pair.ensure(End::B)?;
    pair.gateway(End::B).ip(&format!("link set {} down", pair.interface(End::B)))?;
    let noticed = pair.at(End::B, || async {
        let mut watch = LinkWatch::open()?;
        let noticed = tokio::time::timeout(PATIENCE, watch.disturbed(&device)).await;
        anyhow::Ok(noticed.context("nothing was noticed")??)
    })??;
    assert_eq!(noticed, Disturbance::Down);
    assert_eq!(pair.ensure(End::B)?, device);
    pair.echo(End::B)
}

#[test]
fn a_deleted_device_takes_its_process_with_it() -> Result<()> {
    let pair = userspace()?;
    pair.ensure(End::A)?;
    pair.gateway(End::A).ip(&format!("link del {}", pair.interface(End::A)))?;
    wait_for("the process to end", PATIENCE, || Ok(pair.gateway(End::A).pids()?.is_empty()))?;
    assert!(!socket(&pair, End::A).exists(), "its control socket is still there");
    Ok(())
}

#[test]
fn removing_leaves_nothing_and_twice_is_no_error() -> Result<()> {
    let pair = userspace()?;
    pair.ensure(End::A)?;
    pair.remove(End::A)?;
    assert!(!socket(&pair, End::A).exists());
    let device = pair.gateway(End::A).ip(&format!("link show dev {}", pair.interface(End::A)));
    assert!(device.is_err());
    assert_eq!(fs::read_dir(&pair.host.directory)?.count(), 0);
    wait_for("the process to end", PATIENCE, || Ok(pair.gateway(End::A).pids()?.is_empty()))?;
    pair.remove(End::A)
}

#[test]
fn a_port_in_use_leaves_things_as_they_were() -> Result<()> {
    let mut pair = userspace()?;
    let taken = pair.gateway(End::A).run(|| UdpSocket::bind(("0.0.0.0", PORT_A)))??;
    let refused = pair.try_ensure(End::A, &pair.settings[0])?;
    assert!(matches!(&refused, Err(LinkError::PortInUse { port: PORT_A, .. })), "{refused:?}");
    wait_for("the process to end", PATIENCE, || Ok(pair.gateway(End::A).pids()?.is_empty()))?;
    drop(taken);

    pair.ensure(End::A)?;
    pair.ensure(End::B)?;
    pair.echo(End::B)?;
    let taken = pair.gateway(End::A).run(|| UdpSocket::bind(("0.0.0.0", 0)))??;
    let port = taken.local_addr()?.port();
    pair.settings[0].listen_port = NonZeroU16::new(port);
    let refused = pair.try_ensure(End::A, &pair.settings[0])?;
    let message = refused.expect_err("the port is in use").to_string();
    assert!(message.contains(&port.to_string()) && message.contains("link.listen_port"));
    pair.echo_once(End::B, 64, Duration::from_secs(1))
}

#[test]
fn a_name_that_is_not_ours_is_left_alone() -> Result<()> {
    let pair = userspace()?;
    let name = pair.interface(End::A);
    pair.gateway(End::A).ip(&format!("link add {name} type veth"))?;
    let refused = pair.try_ensure(End::A, &pair.settings[0])?;
    assert!(matches!(&refused, Err(LinkError::NameTaken { .. })), "{refused:?}");
    assert!(pair.remove(End::A).is_err(), "a foreign device was removed");
    pair.gateway(End::A).ip(&format!("link show dev {name}"))?;

    pair.gateway(End::A).ip(&format!("link del {name}"))?;
    pair.gateway(End::A).ip(&format!("tuntap add {name} mode tun"))?;
    let refused = pair.try_ensure(End::A, &pair.settings[0])?;
    assert!(matches!(&refused, Err(LinkError::NameTaken { .. })), "{refused:?}");

    pair.ensure(End::B)?;
    let mut same_name = pair.settings[0].clone();
    same_name.interface = pair.interface(End::B).clone();
    let refused = pair.try_ensure(End::A, &same_name)?;
    assert!(matches!(&refused, Err(LinkError::NameInUseElsewhere { .. })), "{refused:?}");
    assert_eq!(pair.health(End::B)?.state, PeerState::NeverAnswered);
    Ok(())
}

#[test]
fn another_kind_and_an_impossible_mtu_are_refused_while_traffic_goes_on() -> Result<()> {
    let pair = linked()?;
    let mut other = pair.settings[0].clone();
    other.kind = LinkKind::Kernel;
    let refused = pair.try_ensure(End::A, &other)?;
    assert!(matches!(&refused, Err(LinkError::OtherBackend { .. })), "{refused:?}");
    other.kind = LinkKind::Auto;
    other.mtu = Some(9000);
    let refused = pair.try_ensure(End::A, &other)?;
    assert!(matches!(&refused, Err(LinkError::Mtu { most: 4096, .. })), "{refused:?}");
    pair.echo_once(End::B, 64, Duration::from_secs(1))
}

#[test]
fn without_a_tun_device_the_error_says_so() -> Result<()> {
    let pair = userspace()?;
    let refused = pair.gateway(End::A).run(|| -> Result<_> {
        use nix::mount::{MsFlags, mount};
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )?;
        mount(Some("tmpfs"), "/dev/net", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(gateway_daemon::link::ensure(&pair.settings[0], &pair.host)))
    })??;
    assert!(matches!(&refused, Err(LinkError::NoTun { .. })), "{refused:?}");
    Ok(())
}

#[test]
fn without_permission_the_device_process_says_so() -> Result<()> {
    const NOBODY: u32 = 65_534;
    let pair = userspace()?;
    let public = Path::new("/run").join(format!("{}-gatewayd", pair.interface(End::A)));
    fs::copy(&pair.host.program, &public)?;
    let mut command = Command::new(&public);
    command.args(["link-device", "--interface", pair.interface(End::A).as_str()]);
    let output = pair.gateway(End::A).output(command.uid(NOBODY).gid(NOBODY), PATIENCE);
    fs::remove_file(&public)?;
    let output = output?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout)?;
    assert!(said.contains("CAP_NET_ADMIN"), "{said}");
    Ok(())
}

#[test]
fn the_kernel_decides_what_auto_means() -> Result<()> {
    let pair = Pair::new(LinkKind::Auto, 1500)?;
    let probe = pair.gateway(End::A).ip("link add probe0 type wireguard");
    let expected = if probe.is_ok() { Backend::Kernel } else { Backend::Userspace };
    assert_eq!(pair.ensure(End::A)?.backend, expected);
    pair.remove(End::A)?;

    let mut insisting = pair.settings[0].clone();
    insisting.kind = LinkKind::Kernel;
    match (expected, pair.try_ensure(End::A, &insisting)?) {
        (Backend::Kernel, Ok(device)) => assert_eq!(device.backend, Backend::Kernel),
        (Backend::Userspace, Err(LinkError::NoKernelWireGuard { .. })) => {}
        (_, other) => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn the_least_mtu_of_the_routes_to_the_endpoints_counts() -> Result<()> {
    let mut pair = userspace()?;
    let mut farther = pair.settings[1].peers[0].clone();
    farther.public_key = "DD5yKRfzExcV5+kDnTroDgCU15latdMjiQ59j1hEuk8=".parse()?;
    farther.endpoint = Some(SocketAddr::from(([198, 51, 100, 1], PORT_A)));
    farther.transit.clear();
    pair.settings[1].peers.push(farther);
    let route = format!("route add 198.51.100.0/24 via {} mtu 1300", UNDERLAY[0]);
    pair.gateway(End::B).ip(&route)?;
    assert_eq!(pair.ensure(End::B)?.mtu, 1240);

    pair.gateway(End::B).ip(&route.replace("add", "replace").replace("1300", "1200"))?;
    assert_eq!(pair.ensure(End::B)?.mtu, 1140);
    Ok(())
}

#[test]
fn a_device_process_that_hangs_holds_up_nobody() -> Result<()> {
    let pair = linked()?;
    let pid = process(&pair, End::B)?;
    kill(pid, Signal::SIGSTOP)?;
    let refused = pair.try_ensure(End::B, &pair.settings[1]);
    kill(pid, Signal::SIGCONT)?;
    let refused = refused?;
    assert!(matches!(&refused, Err(LinkError::Unresponsive { .. })), "{refused:?}");
    pair.ensure(End::B)?;
    pair.echo(End::B)
}

/// What a pair's gateway B wants of its links, with A at `endpoints`.
fn wanted(pair: &Pair, endpoints: &[&str]) -> Result<LinksWanted> {
    let settings = &pair.settings[1];
    let peer = &settings.peers[0];
    let endpoints = endpoints.iter().map(|it| Ok(it.parse()?)).collect::<Result<_>>()?;
    Ok(LinksWanted {
        interfaces: [settings.interface.clone(), format!("{}2", settings.interface).parse()?],
        kind: settings.kind,
        mtu: None,
        current: DeviceKey { private_key: settings.private_key.clone(), listen_port: None },
        next: None,
        peers: vec![WantedPeer {
            site: peer.site.clone(),
            sites: vec![peer.site.clone()],
            transit: peer.transit.clone(),
            current: Dialled { public_key: peer.public_key, endpoints, keepalive: peer.keepalive },
            next: None,
        }],
    })
}

/// Looks at the links of B until the MTU towards A is known as it should be, and gives it.
fn mtu_found(pair: &Pair, wanted: &LinksWanted, known: MtuKnown) -> Result<u32> {
    pair.at(End::B, || async {
        let mut links = Links::new(pair.host.clone());
        let found = async {
            loop {
                let decision = links.decide(wanted).await?;
                links.in_force();
                let account = Account::load(&pair.host.directory).context("an account")?;
                if account.devices[0].peers[0].mtu_known == known {
                    return anyhow::Ok(decision.routes[0].mtu);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.context("nothing was found")?
    })?
}

#[test]
fn paths_are_probed_over_ipv4_and_ipv6() -> Result<()> {
    let pair = userspace()?;
    for (end, address) in [(End::A, "2001:db8::1"), (End::B, "2001:db8::2")] {
        let gateway = pair.gateway(end);
        gateway.run(|| fs::write("/proc/sys/net/ipv6/conf/wan0/disable_ipv6", "0"))??;
        gateway.ip(&format!("addr add {address}/64 dev wan0 nodad"))?;
    }
    let [v4, v6] = ["192.0.2.1:51820", "[2001:db8::1]:51820"].map(|it| wanted(&pair, &[it]));
    assert_eq!(mtu_found(&pair, &v4?, MtuKnown::Probed)?, 1440);
    assert_eq!(mtu_found(&pair, &v6?, MtuKnown::Probed)?, 1420);
    Ok(())
}

/// A router on the way that takes 1400 and says so, and an address behind it that answers nothing.
#[test]
fn a_path_behind_a_narrow_router_is_found_and_a_silent_one_assumed() -> Result<()> {
    let pair = userspace()?;
    let [a, b] = [End::A, End::B].map(|end| pair.gateway(end));
    // A routes to its host, whose wire is narrower.
    a.ip("link set lan0 mtu 1400")?;
    pair.host(End::A).ip("link set lan0 mtu 1400")?;
    b.ip(&format!("route add {}/24 via {}", Ipv4Addr::new(240, 0, 16, 0), UNDERLAY[0]))?;
    pair.host(End::A).ip("addr add 203.0.113.5/32 dev lan0")?;
    a.ip(&format!("route add 203.0.113.0/24 via {}", HOSTS[0]))?;
    b.ip(&format!("route add 203.0.113.0/24 via {}", UNDERLAY[0]))?;
    let narrow = wanted(&pair, &["203.0.113.5:51820"])?;
    assert_eq!(mtu_found(&pair, &narrow, MtuKnown::Probed)?, 1340);
    // There is nobody of that address.
    let silent = wanted(&pair, &["203.0.113.77:51820"])?;
    assert_eq!(mtu_found(&pair, &silent, MtuKnown::Unanswered)?, 1440);
    // Nor a way there.
    let nowhere = wanted(&pair, &["198.51.100.99:51820"])?;
    assert_eq!(mtu_found(&pair, &nowhere, MtuKnown::NoEndpoint)?, 1420);
    Ok(())
}

#[test]
fn a_damaged_account_is_written_anew() -> Result<()> {
    let pair = userspace()?;
    fs::create_dir_all(&pair.host.directory)?;
    fs::write(pair.host.directory.join("links.json"), "{\"devices\": 7")?;
    let wanted = wanted(&pair, &["192.0.2.1:51820"])?;
    mtu_found(&pair, &wanted, MtuKnown::Probed)?;
    Ok(())
}
