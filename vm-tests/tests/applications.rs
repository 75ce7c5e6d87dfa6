//! Real applications through presences: edge A's client uses servers of the cloud that were never meant
//! to be anywhere but beside it. What cannot work is refused with a reason that says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::lab::Lab;
use vm_tests::lab::applications::ftp::{self, FTP, FTP_CONTROL_ONLY, Mode};
use vm_tests::lab::applications::http2::{self, HTTP2};
use vm_tests::lab::applications::iperf::{self, IPERF};
use vm_tests::lab::applications::postgresql::{self, POSTGRESQL};
use vm_tests::lab::applications::ssh::{self, SSH};
use vm_tests::lab::applications::tftp::{self, TFTP};
use vm_tests::lab::applications::{Application, amqp, dns as kdig, offer};
use vm_tests::lab::dns;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::plan::{CLIENT_PRESENCE, CLOUD, EDGE_A, RABBITMQ, SERVER, SitePlan};
use vm_tests::lab::rabbitmq::{self, Broker};
use vm_tests::lab::sweep::leftovers;
use vm_tests::lab::wait::wait_for;

const GIGABYTE: u64 = 1_000_000_000;
const COPY_BOUND: Duration = Duration::from_secs(240);
const COUNTER_BOUND: Duration = Duration::from_secs(10);

/// Runs `steps` with edge A's client in a lab that offers these applications, the wires watched
/// throughout; nothing may be left afterwards.
fn with(
    applications: &[&Application],
    steps: impl FnOnce(&mut Lab, &Namespace) -> Result<()>,
) -> Result<()> {
    let mut lab = Lab::network(LabName::unique(), Choices::default())?;
    let name = lab.name().clone();
    let outcome = offer(&lab, applications)
        .and_then(|()| lab.start_gateways())
        .and_then(|()| watched(&mut lab, steps))
        .with_context(|| lab.logs());
    lab.down()?;
    outcome?;
    assert_eq!(leftovers(&name)?, Vec::<String>::new());
    Ok(())
}

fn watched(lab: &mut Lab, steps: impl FnOnce(&mut Lab, &Namespace) -> Result<()>) -> Result<()> {
    let sniffers = lab.sniff()?;
    let client = lab.site(&EDGE_A).client.clone();
    let outcome = steps(lab, &client);
    let mut findings = Vec::new();
    for (place, sniffer) in sniffers {
        findings.push((place, sniffer.finish()?));
    }
    outcome?;
    findings.iter().try_for_each(|(place, it)| it.must_be_clean().context(*place))
}

/// Fails unless `attempt` makes a site's gateway refuse something for this reason.
fn must_be_counted(
    lab: &Lab,
    site: &SitePlan,
    reason: &str,
    attempt: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let gateway = &lab.site(site).gateway;
    let before = gateway.refused(reason)?;
    attempt()?;
    wait_for(format!("{} to count {reason}", site.name), COUNTER_BOUND, || {
        Ok(gateway.refused(reason)? > before)
    })
}

#[test]
fn postgresql_under_pgbench() -> Result<()> {
    with(&[&POSTGRESQL], |lab, client| {
        let server = postgresql::start(lab)?;
        lab.adopt(server);
        let seen = postgresql::query(client, "select host(inet_client_addr())")?;
        assert_eq!(seen, CLIENT_PRESENCE.to_string());
        postgresql::fill(client, 2)?;
        postgresql::transact(client, 10, 300)
    })
}

#[test]
fn a_gigabyte_by_ssh() -> Result<()> {
    with(&[&SSH], |lab, client| {
        let server = ssh::Server::start(lab)?;
        server.copy(client, GIGABYTE, COPY_BOUND)
    })
}

#[test]
fn amqp_with_a_hundred_channels_on_one_connection() -> Result<()> {
    const CHANNELS: usize = 100;
    with(&[], |lab, client| {
        let server = lab.site(&CLOUD).server.clone();
        let mut broker = Broker::launch(&server, SERVER, lab.directory("rabbitmq"))?;
        broker.wait_ready(SERVER)?;
        amqp::exchange(client, RABBITMQ.at(rabbitmq::PORT), CHANNELS, 20, || {
            let channels = broker.channels()?;
            ensure!(channels == [CHANNELS], "the broker has {channels:?} channels");
            let peers = broker.peers()?;
            ensure!(peers == [CLIENT_PRESENCE], "the broker sees {peers:?}");
            Ok(())
        })
    })
}

#[test]
fn http2_with_many_streams_on_one_connection() -> Result<()> {
    const STREAMS: usize = 20;
    with(&[&HTTP2], |lab, client| {
        let server = http2::start(lab)?;
        lab.adopt(server);
        assert_eq!(http2::fetch(lab, client)?, "2");
        let changes = http2::interleavings(client, STREAMS)?;
        ensure!(changes >= STREAMS, "{STREAMS} streams, and only {changes} changes between them");
        http2::load(client, 200, 4, 10)
    })
}

#[test]
fn dns_over_udp_and_tcp() -> Result<()> {
    with(&[], |lab, client| {
        let server = lab.site(&CLOUD).server.clone();
        let server = dns::start(&server, SERVER, &lab.directory("dns"))?;
        lab.adopt(server);

        for transport in ["UDP", "TCP"] {
            let option = if transport == "TCP" { "+tcp" } else { "+notcp" };
            let short = kdig::ask(client, dns::NAME, &[option])?;
            ensure!(short.transport == transport && !short.retried, "{short:?}");
            ensure!(short.text.contains(dns::TEXT), "{short:?}");
        }
        let long = dns::LONG_TEXT as u64;

        // Without EDNS an answer over UDP has at most 512 octets: RFC 1035 section 2.3.4.
        let retried = kdig::ask(client, dns::LONG_NAME, &["+noedns"])?;
        ensure!(retried.retried && retried.transport == "TCP", "{retried:?}");
        ensure!(retried.octets > long, "{retried:?}");

        let cut = kdig::ask(client, dns::LONG_NAME, &["+noedns", "+ignore"])?;
        ensure!(cut.transport == "UDP" && cut.octets <= 512, "{cut:?}");
        ensure!(cut.text.contains(" tc"), "{cut:?}");

        let whole = kdig::ask(client, dns::LONG_NAME, &["+bufsize=1232"])?;
        ensure!(whole.transport == "UDP" && !whole.retried && whole.octets > long, "{whole:?}");
        Ok(())
    })
}

#[test]
fn iperf3_both_ways_at_once() -> Result<()> {
    const SOME: u64 = 1 << 20;
    with(&[&IPERF], |lab, client| {
        let tcp = iperf::tcp(lab, client)?;
        let udp = iperf::udp(lab, client)?;
        println!("octets there and back: {tcp:?} over TCP, {udp:?} over UDP");
        ensure!(tcp.iter().chain(&udp).all(|octets| *octets > SOME), "{tcp:?} {udp:?}");
        Ok(())
    })
}

/// The server answers from a port of its own, which is no reply to anything, unless told not to.
#[test]
fn tftp_is_refused_as_not_a_reply_and_works_from_a_single_port() -> Result<()> {
    with(&[&TFTP], |lab, client| {
        let server = tftp::start(lab, false)?;
        must_be_counted(lab, &CLOUD, "not-a-reply", || {
            let fetched = tftp::fetch(lab, client, 4)?;
            ensure!(!fetched.status.success(), "TFTP came through");
            Ok(())
        })?;
        drop(server);

        let server = tftp::start(lab, true)?;
        lab.adopt(server);
        let fetched = tftp::fetch(lab, client, 30)?;
        ensure!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        tftp::must_have_come(lab)
    })
}

#[test]
fn ftp_works_in_passive_modes_and_is_refused_in_active_mode() -> Result<()> {
    with(&[&FTP, &FTP_CONTROL_ONLY], |lab, client| {
        let server = ftp::start(lab)?;
        lab.adopt(server);
        for mode in [Mode::ExtendedPassive, Mode::Passive] {
            let fetched = ftp::fetch(lab, client, &FTP, mode)?;
            let complaint = String::from_utf8_lossy(&fetched.stderr).into_owned();
            ensure!(fetched.status.success(), "{mode:?}: {complaint}");
            ftp::must_have_come(lab, mode)?;
        }
        let must_fail = |of: &Application, mode| {
            let fetched = ftp::fetch(lab, client, of, mode)?;
            ensure!(!fetched.status.success(), "{mode:?} came through");
            Ok(())
        };
        must_be_counted(lab, &CLOUD, "not-a-reply", || must_fail(&FTP, Mode::Active))
            .context("active mode")?;
        must_be_counted(lab, &EDGE_A, "port-not-served", || {
            must_fail(&FTP_CONTROL_ONLY, Mode::ExtendedPassive)
        })
        .context("a passive port that is not declared")
    })
}

/// The reasons that the refusals above name say what they mean and what to do.
#[test]
fn the_reasons_explain_themselves() -> Result<()> {
    let explained = vm_tests::lab::namespace::run(
        std::process::Command::new(vm_tests::lab::binaries::locate("gatewayctl")?)
            .args(["explain", "not-a-reply"]),
    )?;
    ensure!(explained.contains("TFTP") && explained.contains("passive"), "{explained}");
    Ok(())
}
