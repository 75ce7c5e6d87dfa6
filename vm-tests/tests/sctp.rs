//! SCTP associations across presences, between the kernels of client and server: in guests, since it needs a
//! kernel with SCTP.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{CLIENT_PRESENCE, CLOUD, ECHO, ECHO_PORT, EDGE_A, EDGE_B, SitePlan};
use vm_tests::lab::{Lab, scenario};

const BOUND: Duration = Duration::from_secs(30);
/// Octets there and back: many packets each way.
const LENGTH: usize = 200_000;
const CLIENT_PORT: u16 = 46_000;

/// A socket for one association, as TCP's is for one connection (RFC 6458 section 4).
fn socket() -> Result<Socket> {
    const SCTP: i32 = 132;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(SCTP)))
        .context("an SCTP socket")?;
    socket.set_read_timeout(Some(BOUND))?;
    socket.set_write_timeout(Some(BOUND))?;
    Ok(socket)
}

#[test]
fn associations_go_there_and_back_and_keep_their_ports() -> Result<()> {
    Lab::up(LabName::unique(), Choices::default())?.during(|lab| {
        scenario::datagrams(lab).context("links and neighbours")?;
        let listener = lab.site(&CLOUD).server.run(|| -> Result<Socket> {
            let listener = socket()?;
            listener.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, ECHO_PORT).into())?;
            listener.listen(4)?;
            Ok(listener)
        })??;
        exchange(lab, &listener, &EDGE_A, CLIENT_PORT)?;
        exchange(lab, &listener, &EDGE_B, CLIENT_PORT + 1)?;
        let flows = lab.site(&CLOUD).gateway.ctl("flow list --protocol sctp")?;
        let flows = flows.as_array().cloned().unwrap_or_default();
        ensure!(flows.len() == 2, "{flows:?}");
        closed(lab)
    })
}

/// Sends a text from a site's client and gets it back from whoever `listener` takes it from.
fn exchange(lab: &Lab, listener: &Socket, from: &SitePlan, port: u16) -> Result<()> {
    let text: Vec<u8> = (0..LENGTH).map(|number| (number % 251) as u8).collect();
    let client = lab.site(from).client.run(|| -> Result<Socket> {
        let client = socket()?;
        client.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        let to = ECHO.at(ECHO_PORT);
        client.connect_timeout(&to.into(), BOUND).with_context(|| format!("connect to {to}"))?;
        Ok(client)
    })??;
    let (server, peer) = listener.accept().context("an association at the server")?;
    let seen = peer.as_socket_ipv4().context("an IPv4 peer")?;
    ensure!(seen == SocketAddrV4::new(CLIENT_PRESENCE, port), "the server sees {seen}");
    server.set_read_timeout(Some(BOUND))?;
    thread::scope(|scope| -> Result<()> {
        let echo = scope.spawn(|| -> Result<()> {
            let mut text = vec![0; LENGTH];
            (&server).read_exact(&mut text).context("the text at the server")?;
            (&server).write_all(&text).context("the answer")
        });
        let sent = scope.spawn(|| (&client).write_all(&text).context("the text"));
        let mut back = vec![0; LENGTH];
        (&client).read_exact(&mut back).context("the answer at the client")?;
        sent.join().expect("the sender does not panic")?;
        echo.join().expect("the server does not panic")?;
        ensure!(back == text, "another text came back");
        Ok(())
    })
}

/// A port on which nobody listens: the server's kernel ends the association at once (RFC 9260 section 8.4).
fn closed(lab: &Lab) -> Result<()> {
    let refused = lab.site(&EDGE_A).client.run(|| -> Result<ErrorKind> {
        let client = socket()?;
        match client.connect_timeout(&ECHO.at(ECHO_PORT + 1).into(), Duration::from_secs(3)) {
            Ok(()) => anyhow::bail!("a port that is not declared was connected to"),
            Err(error) => Ok(error.kind()),
        }
    })??;
    ensure!(refused == ErrorKind::TimedOut, "{refused:?}");
    let count = lab.site(&EDGE_A).gateway.refused("port-not-served")?;
    ensure!(count > 0, "the gateway did not refuse it");
    Ok(())
}
