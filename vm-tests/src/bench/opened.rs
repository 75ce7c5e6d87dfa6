//! D8: new flows at one gateway, out of the LAN into a link device that swallows them. Every datagram is
//! for another port, and so of another flow.
//!
//! Meant for the guest whose clock counts instructions. What sending costs is measured too, by a program
//! that drops everything at the same hook.

use std::fs;
use std::net::{SocketAddrV4, UdpSocket};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gateway_common::map::{Counter, Outcome};
use gateway_dataplane::{Mode, Place, WantedAttachment};

use super::assembly::{Code, R0};
use super::path::run_to_the_end;
use super::peer::Peer;
use super::stand::{CLIENT, FAR, LAN, LAN_MAC, LINK, POOL, Stand};
use super::wires::{nft, translation};
use super::{Row, goals, median};
use crate::lab::namespace::Namespace;

const ROUNDS: u16 = 7;
const FLOWS: u16 = 4_000;
const FIRST_PORT: u16 = 10_000;
const DROP: i32 = 2;

/// Measures D8 and D8b.
pub fn rows() -> Result<Vec<Row>> {
    run_to_the_end()?;
    let [ours, nftables, dropped] = ["ours", "nft", "drop"].map(Hosts::new);
    let (ours, nftables, dropped) = (ours?, nftables?, dropped?);
    nftables.translates()?;
    let times = dropped.gateway.namespace().run(|| {
        let mut drop = Peer::classifier(&Code::default().set(R0, DROP).exit(), None)?;
        drop.at_ingress(LAN)?;
        ours.gateway.run(|loaded| {
            loaded.apply(10)?;
            loaded.dataplane.attach(&[WantedAttachment {
                interface: LAN.to_owned(),
                place: Place::Lan(Mode::Tc),
            }])?;
            let mut times = [const { Vec::new() }; 3];
            for round in 0..ROUNDS {
                for (place, times) in [&ours, &nftables, &dropped].into_iter().zip(&mut times) {
                    times.push(place.client.run(|| send(FIRST_PORT + round * FLOWS))??);
                }
            }
            let expected = u64::from(ROUNDS) * u64::from(FLOWS);
            let opened = loaded.counted(Counter::Outcome(Outcome::Opened))?;
            ensure!(opened == expected, "{opened} of {expected} flows were opened");
            let tracked = nftables.tracked()?;
            ensure!(tracked >= expected, "{tracked} of {expected} flows were tracked");
            println!("# D8, ns a flow: ours, nftables, dropped: {times:.0?}");
            Ok(times)
        })
    })??;
    let [ours, nftables, dropped] = times.map(|times| median(&times));
    Ok(vec![
        goals::OPENED.measured(1e9 / ours, 1e9 / nftables),
        goals::OPENED_ALONE.measured(1e9 / (ours - dropped), 1e9 / (nftables - dropped)),
    ])
}

/// Nanoseconds a datagram, each to a port of its own.
fn send(first: u16) -> Result<f64> {
    let socket = UdpSocket::bind("0.0.0.0:40000")?;
    let begun = Instant::now();
    for port in first..first + FLOWS {
        socket.send_to(&[0x2e; 64], SocketAddrV4::new(POOL, port))?;
    }
    Ok(begun.elapsed().as_nanos() as f64 / f64::from(FLOWS))
}

/// A client and a gateway.
struct Hosts {
    client: Namespace,
    gateway: Stand,
}

impl Hosts {
    fn new(name: &str) -> Result<Self> {
        let gateway = Stand::new(&format!("d8-{name}"))?;
        let client =
            Namespace::create(&format!("presence-bench-{}-c8-{name}", std::process::id()))?;
        let place = Self { client, gateway };
        for words in [
            format!("link set {FAR} netns {}", place.client.name()),
            format!("link delete {LINK}"),
            // Swallows what is sent.
            format!("link add {LINK} type dummy"),
            format!("link set {LINK} up"),
        ] {
            place.gateway.namespace().ip(&words)?;
        }
        for words in [
            format!("link set {FAR} up"),
            format!("address add {CLIENT}/23 dev {FAR}"),
            format!("route add {POOL}/15 dev {FAR}"),
            format!("neighbour add {POOL} lladdr {LAN_MAC} dev {FAR}"),
        ] {
            place.client.ip(&words)?;
        }
        Ok(place)
    }

    /// Makes the gateway one of nftables.
    fn translates(&self) -> Result<()> {
        let gateway = self.gateway.namespace();
        gateway.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
        gateway.ip(&format!("address add 240.0.16.1/23 dev {LAN}"))?;
        gateway.ip(&format!("address add 172.30.0.1/24 dev {LINK}"))?;
        gateway.ip(&format!("neighbour add 172.30.0.2 lladdr {LAN_MAC} dev {LINK}"))?;
        nft(gateway, &translation(LAN, POOL, "172.30.0.2", LINK))
    }

    /// Flows that nftables knows.
    fn tracked(&self) -> Result<u64> {
        let file = "/proc/sys/net/netfilter/nf_conntrack_count";
        let count = self.gateway.namespace().run(|| fs::read_to_string(file))?.context(file)?;
        Ok(count.trim().parse()?)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.client.remove();
    }
}
