//! The lab itself: its hosts, its sniffers and that nothing of it is left behind. Needs no gateway.

use std::net::{SocketAddrV4, UdpSocket};

use anyhow::{Result, bail, ensure};
use nix::sys::signal::kill;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::plan::{CLOUD, EDGE_A, GATEWAY, HTTP_PORT, LINK_PORT, SERVER, SITES, VISITOR};
use vm_tests::lab::sniffer::{Sniffer, Wire};
use vm_tests::lab::sweep::{leftovers, sweep};
use vm_tests::lab::{Lab, traffic};

fn network() -> Result<Lab> {
    Lab::network(LabName::unique(), Choices::default())
}

#[test]
fn hosts_of_one_address_live_side_by_side() -> Result<()> {
    let mut lab = network()?;
    lab.start_servers()?;
    for plan in SITES {
        let site = lab.site(plan);
        Lab::ping(&site.client, GATEWAY)?;
        Lab::ping(&site.client, VISITOR)?;
        let http = SocketAddrV4::new(SERVER, HTTP_PORT);
        let seen = site.client.run(|| traffic::fetch(http, "/"))??;
        assert!(seen.starts_with(&format!("{} 10.0.0.5:", plan.name)), "{seen}");
        let route = site.client.ip("route get 192.0.2.1");
        assert!(route.is_err_and(|error| error.to_string().contains("unreachable")));
    }
    Lab::ping(lab.site(&EDGE_A).gateway.namespace(), CLOUD.underlay)?;
    lab.down()
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    let lab = network()?;
    let name = lab.name().clone();
    assert!(!leftovers(&name)?.is_empty());
    lab.down()?;
    assert_eq!(leftovers(&name)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn steps_that_fail_are_told_with_the_logs_and_leave_nothing() -> Result<()> {
    let lab = network()?;
    let name = lab.name().clone();
    let outcome = lab.during(|lab| -> Result<()> { bail!("a step in {}", lab.name()) });
    let said = outcome.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(said.contains(&format!("a step in {name}")) && said.contains("log of cloud"), "{said}");
    assert_eq!(leftovers(&name)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_sweep_by_name_removes_a_lab_with_its_processes() -> Result<()> {
    let mut lab = network()?;
    let name = lab.name().clone();
    lab.start_servers()?;
    let pids = lab.site(&CLOUD).server.pids()?;
    assert_eq!(pids.len(), 1);
    sweep(&name)?;
    assert_eq!(leftovers(&name)?, Vec::<String>::new());
    drop(lab);
    assert!(kill(pids[0], None).is_err(), "the server lives on");
    Ok(())
}

#[test]
fn one_name_is_one_lab() -> Result<()> {
    let lab = network()?;
    let second = Lab::network(lab.name().clone(), Choices::default());
    assert!(second.is_err_and(|error| error.to_string().contains("in use")));
    lab.down()
}

#[test]
fn the_sniffers_see_what_must_not_be_there() -> Result<()> {
    let lab = network()?;
    let edge = lab.site(&EDGE_A);

    let lan = Sniffer::start(Wire::Lan, &edge.lan)?;
    Lab::ping(&edge.client, GATEWAY)?;
    lan.finish()?.must_be_busy_and_clean()?;

    let lan = Sniffer::start(Wire::Lan, &edge.lan)?;
    edge.client.ip("address add 198.51.100.5/24 broadcast 198.51.100.255 dev lan0")?;
    send(&edge.client, "198.51.100.255:9", b"to everybody")?;
    let found = lan.finish()?;
    assert!(found.wrong > 0 && found.examples[0].contains("198.51.100.255"), "{found:?}");

    let (gateway, hub) = (edge.gateway.namespace(), format!("{}:{LINK_PORT}", CLOUD.underlay));
    let listener = lab.site(&CLOUD).gateway.namespace().run(|| UdpSocket::bind(&hub))??;
    let underlay = Sniffer::start(Wire::Underlay, lab.underlay())?;
    send(gateway, &hub, &[4, 0, 0, 0, 1, 2, 3])?;
    underlay.finish()?.must_be_busy_and_clean()?;

    for (server, payload) in [(&*hub, &b"in clear"[..]), ("192.0.2.1:53", &[4, 0, 0, 0])] {
        let underlay = Sniffer::start(Wire::Underlay, lab.underlay())?;
        send(gateway, server, payload)?;
        let found = underlay.finish()?;
        assert!(found.wrong > 0, "{server} {payload:?}: {found:?}");
    }
    drop(listener);

    let quiet = Sniffer::start(Wire::Lan, &lab.site(&CLOUD).lan)?;
    ensure!(quiet.finish()?.must_be_busy_and_clean().is_err(), "nothing was to be seen");
    lab.down()
}

fn send(from: &Namespace, server: &str, payload: &[u8]) -> Result<()> {
    from.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_broadcast(true)?;
        socket.send_to(payload, server)?;
        Ok(())
    })?
}
