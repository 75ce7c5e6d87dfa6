//! What hosts learn by ICMP across presences, with the kernels of clients and servers as they are: hops,
//! path MTUs, closed ports. On the host with userspace links, in guests with the kernel's.
#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{AGENT_B, ECHO, ECHO_PORT, EDGE_A, ServicePlan};
use vm_tests::lab::wait::wait_until;
use vm_tests::lab::{Lab, scenario, way};

const BOUND: Duration = Duration::from_secs(30);
/// What a program is told of a datagram that did not fit (EMSGSIZE).
const MESSAGE_TOO_LONG: i32 = 90;

fn in_a_lab(choices: Choices, steps: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    Lab::up(LabName::unique(), choices)?.during(|lab| {
        // The links' handshakes and the neighbours of all that is asked below.
        scenario::datagrams(lab).context("small datagrams")?;
        scenario::pings(lab).context("small pings")?;
        steps(lab)
    })
}

#[test]
fn hops_and_path_mtus_are_found() -> Result<()> {
    in_a_lab(Choices::default(), |lab| {
        way::traceroutes(lab)?;
        way::path_mtu(lab).map(drop)
    })
}

#[test]
fn hops_and_path_mtus_are_found_with_xdp_on_the_lan() -> Result<()> {
    in_a_lab(Choices { mode: "xdp", ..Choices::default() }, |lab| {
        way::traceroutes(lab)?;
        way::path_mtu(lab).map(drop)
    })
}

/// The datagram leaves the client with a checksum that its network card is to finish. UDP that does not ask
/// for it sends the next one in fragments, since its kernel was told.
#[test]
fn a_datagram_that_is_too_big_comes_in_fragments_the_next_time() -> Result<()> {
    in_a_lab(Choices::default(), |lab| {
        let text = "x".repeat(1472);
        let site = lab.site(&EDGE_A);
        site.client.run(|| -> Result<()> {
            let socket = connected(ECHO.at(ECHO_PORT))?;
            socket.send(text.as_bytes())?;
            wait_until("the client's kernel to be told the path MTU", BOUND, || {
                let route = site.client.ip(&format!("route get {}", ECHO.address()))?;
                Ok(route.contains("mtu ").then_some(()))
            })?;
            let told = socket.take_error()?.context("the program is not told")?;
            ensure!(told.raw_os_error() == Some(MESSAGE_TOO_LONG), "{told}");
            socket.send(text.as_bytes())?;
            let mut answer = [0; 2000];
            let length = socket.recv(&mut answer).context("the answer to the second")?;
            ensure!(answer[..length].ends_with(text.as_bytes()), "{length} other octets");
            Ok(())
        })??;
        let refused = site.gateway.refused("too-big")?;
        ensure!(refused == 1, "{refused} were too big");
        Ok(())
    })
}

/// A port that the service declares and nobody listens on: the server's kernel says so, and the client's
/// program is told as if the server stood beside it.
#[test]
fn a_closed_port_is_told_to_the_clients_program() -> Result<()> {
    Lab::network(LabName::unique(), Choices::default())?.during(|lab| {
        lab.start_gateways()?;
        [&ECHO, &AGENT_B].into_iter().try_for_each(|it| must_be_closed(lab, it))
    })
}

fn must_be_closed(lab: &Lab, service: &ServicePlan) -> Result<()> {
    let refused = lab.site(&EDGE_A).client.run(|| -> Result<ErrorKind> {
        let socket = connected(service.at(ECHO_PORT))?;
        socket.send(b"hello")?;
        let mut answer = [0; 100];
        match socket.recv(&mut answer) {
            Ok(length) => bail!("{length} octets came back"),
            Err(error) => Ok(error.kind()),
        }
    })??;
    ensure!(refused == ErrorKind::ConnectionRefused, "{refused:?}");
    Ok(())
}

fn connected(to: SocketAddrV4) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(BOUND))?;
    socket.connect(to)?;
    Ok(socket)
}
