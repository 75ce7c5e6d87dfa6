//! Datagrams in fragments across presences, sent by the kernel of a client and by hand: in any order, and
//! with overlaps that the gateway refuses. On the host, with userspace links and real packets.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{AGENT_B, CLIENT, CLOUD, ECHO, ECHO_PORT, EDGE_A, FILES};
use vm_tests::lab::wait::wait_until;
use vm_tests::lab::{Lab, scenario};

const BOUND: Duration = Duration::from_secs(30);
/// Octets of the datagrams made by hand.
const LENGTH: usize = 4000;
const PORT: u16 = 47_000;

fn in_a_lab(choices: Choices, steps: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    Lab::up(LabName::unique(), choices)?.during(|lab| {
        // The link's handshake, the neighbours and the flow of the ports used below.
        scenario::datagrams(lab).context("small datagrams")?;
        steps(lab)
    })
}

#[test]
fn large_datagrams_and_pings_cross_both_ways() -> Result<()> {
    in_a_lab(Choices::default(), cross)
}

#[test]
fn large_datagrams_cross_with_xdp_on_the_lan() -> Result<()> {
    in_a_lab(Choices { mode: "xdp", ..Choices::default() }, cross)
}

fn cross(lab: &Lab) -> Result<()> {
    scenario::large_datagrams(lab)?;
    for (from, to) in [(&EDGE_A, &FILES), (&EDGE_A, &AGENT_B), (&CLOUD, &AGENT_B)] {
        let mut ping = Command::new("ping");
        ping.args(["-n", "-c", "3", "-i", "0.2", "-W", "3", "-s", "8000"]);
        let output = lab.site(from).client.output(ping.arg(to.address().to_string()), BOUND)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(text.contains("8008 bytes from"), "{} to {}: {text}", from.name, to.address());
        ensure!(text.contains(" 0% packet loss"), "{} to {}: {text}", from.name, to.address());
    }
    for site in [&EDGE_A, &CLOUD] {
        for reason in ["fragment", "fragment-unknown", "fragment-overlap", "fragment-scattered"] {
            let count = lab.site(site).gateway.refused(reason)?;
            ensure!(count == 0, "{} counted {count} as {reason}", site.name);
        }
    }
    Ok(())
}

#[test]
fn fragments_out_of_order_arrive_and_overlapping_ones_are_refused() -> Result<()> {
    in_a_lab(Choices::default(), |lab| {
        let refused = |reason| lab.site(&EDGE_A).gateway.refused(reason);
        let sender = lab.site(&EDGE_A).client.run(Sender::new)??;
        let [first, middle, last] = [(0, 1480), (1480, 2960), (2960, 8 + LENGTH)];

        sender.send(1, &[first, last, middle])?;
        sender.must_hear(1).context("the last before the middle")?;
        ensure!(refused("fragment-overlap")? == 0 && refused("fragment-unknown")? == 0);

        sender.send(2, &[last, first, middle])?;
        wait_until("a later fragment to be refused", BOUND, || {
            Ok((refused("fragment-unknown")? == 1).then_some(()))
        })?;

        // The octets that came already come again with others, the rest of the datagram is refused too.
        sender.send(3, &[first, middle, (1472, 2944), last])?;
        wait_until("an overlap to be refused", BOUND, || {
            Ok((refused("fragment-overlap")? == 2).then_some(()))
        })?;
        sender.send(4, &[first, first, middle, last])?;
        wait_until("a second first fragment to be refused", BOUND, || {
            Ok((refused("fragment-overlap")? == 5).then_some(()))
        })?;

        // What was spoilt spoils nothing else; and nothing of it was answered before this is.
        sender.send(5, &[first, middle, last])?;
        sender.must_hear(5).context("a datagram after those refused")?;
        let elsewhere = lab.site(&CLOUD).gateway.refused("fragment-overlap")?;
        ensure!(elsewhere == 0, "the overlap came as far as the cloud");
        Ok(())
    })
}

/// Sends fragments of datagrams to the cloud's echo server and hears its answers.
struct Sender {
    raw: Socket,
    answers: UdpSocket,
}

impl Sender {
    fn new() -> Result<Self> {
        // Packets with their IP header (raw(7)); the kernel fills its checksum in.
        const HEADER_INCLUDED: i32 = 255;
        let protocol = Some(Protocol::from(HEADER_INCLUDED));
        let raw = Socket::new(Domain::IPV4, Type::RAW, protocol).context("a raw socket")?;
        let answers = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("a UDP socket")?;
        answers.set_read_timeout(Some(BOUND))?;
        Ok(Self { raw, answers })
    }

    /// Sends parts of the payload of datagram `number`, which consists of that number.
    fn send(&self, number: u8, parts: &[(usize, usize)]) -> Result<()> {
        let server = ECHO.at(ECHO_PORT);
        let mut payload = [PORT.to_be_bytes(), ECHO_PORT.to_be_bytes()].concat();
        payload.extend(((8 + LENGTH) as u16).to_be_bytes());
        // No checksum (RFC 768): what is to be seen is which datagrams arrive.
        payload.extend([0, 0]);
        payload.resize(8 + LENGTH, b'0' + number);
        for (start, end) in parts {
            let more = if *end < payload.len() { 0x2000 } else { 0 };
            let fragment = (start / 8) as u16 | more;
            let mut packet = vec![0x45, 0];
            packet.extend(((20 + end - start) as u16).to_be_bytes());
            packet.extend([0x50, number]);
            packet.extend(fragment.to_be_bytes());
            packet.extend([64, 17, 0, 0]);
            packet.extend(CLIENT.octets());
            packet.extend(server.ip().octets());
            packet.extend(&payload[*start..*end]);
            let to = SocketAddrV4::new(*server.ip(), 0);
            self.raw.send_to(&packet, &to.into()).context("send a fragment")?;
        }
        Ok(())
    }

    /// The next answer is the one to this datagram, whole.
    fn must_hear(&self, number: u8) -> Result<()> {
        let mut answer = vec![0; 2 * LENGTH];
        let length = self.answers.recv(&mut answer).context("an answer")?;
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        let expected = String::from_utf8(vec![b'0' + number; LENGTH])?;
        let end = text.rsplit(' ').next().unwrap_or_default();
        ensure!(end == expected, "datagram {number}: {} octets, {:.60}", end.len(), text);
        Ok(())
    }
}
