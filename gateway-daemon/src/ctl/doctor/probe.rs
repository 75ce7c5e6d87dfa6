//! Looks at controllers' addresses: names, handshakes by both carriers, and sizes of packets. Nothing is asked of whoever
//! answers, and nothing of this host's identity is said.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::rand;
use futures_util::future::join_all;
use gateway_control::identity::ControllerAddress;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::path::{Way, headers};
use super::reach::{Both, Reached};
use super::report::{Check, Finding};
use crate::identity::{Expected, Shown, inquiring_config};
use crate::netlink::Netlink;
use crate::session::{CarrierError, CarrierKind, probe};

/// How long each look may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The addresses of a name.
    pub lookup: Duration,
    /// One handshake, or one answer.
    pub answer: Duration,
    /// Anything on this host.
    pub local: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lookup: Duration::from_secs(5),
            answer: Duration::from_secs(4),
            local: Duration::from_secs(15),
        }
    }
}

/// What was found at an address.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) to: SocketAddr,
    pub(super) both: Both,
    pub(super) way: Result<Way, String>,
}

/// Addresses that are looked at, at most.
const MOST: usize = 16;
/// How often a packet is sent that is not answered.
const TRIES: u32 = 3;

/// The addresses of controllers, and what is to be said of their names.
pub(super) async fn addresses(
    controllers: &[ControllerAddress],
    limits: Limits,
) -> (Vec<SocketAddr>, Vec<Finding>) {
    let looked = controllers.iter().map(|controller| async move {
        let host = controller.host();
        if let Ok(address) = host.parse::<IpAddr>() {
            return (vec![SocketAddr::new(address, controller.port())], None);
        }
        let found = timeout(limits.lookup, lookup_host((host, controller.port()))).await;
        let found = match found {
            Ok(Ok(found)) => found.collect::<Vec<_>>(),
            Ok(Err(error)) => return (Vec::new(), Some(unresolved(host, &error.to_string()))),
            Err(_) => {
                let late = format!("no answer within {} s", limits.lookup.as_secs());
                return (Vec::new(), Some(unresolved(host, &late)));
            }
        };
        if found.is_empty() {
            return (Vec::new(), Some(unresolved(host, "it has no address")));
        }
        let text: Vec<_> = found.iter().map(|it| it.ip().to_string()).collect();
        let finding = Finding::ok(Check::Name, format!("is {}", text.join(", "))).of(host);
        (found, Some(finding))
    });
    let (mut addresses, mut findings) = (BTreeSet::new(), Vec::new());
    for (found, finding) in join_all(looked).await {
        addresses.extend(found);
        findings.extend(finding);
    }
    (addresses.into_iter().take(MOST).collect(), findings)
}

fn unresolved(host: &str, why: &str) -> Finding {
    let remedy = "correct the name, or the host's name servers (`getent ahosts` shows what it finds); an address \
                  instead of the name needs none";
    Finding::fail(Check::Name, format!("its address is not found: {why}"), remedy).of(host)
}

/// Looks at one address, all of it side by side.
pub(super) async fn look(to: SocketAddr, expected: Expected, now: u64, limits: Limits) -> Probed {
    let handshake = |kind| handshake(to, kind, expected.clone(), now, limits.answer);
    let (quic, tls, knocked, way) = tokio::join!(
        handshake(CarrierKind::Quic),
        handshake(CarrierKind::Tcp),
        knock(to, 0, limits.answer),
        way(to, limits.answer),
    );
    let udp = quic.unwrap_or_else(|error| match (error, knocked) {
        (_, Err(error)) => unsent(&error),
        (CarrierError::Late(_), Ok(true)) => Reached::Stuck,
        (CarrierError::Late(_), Ok(false)) => Reached::Silent,
        (error, Ok(_)) => Reached::Odd(error.to_string()),
    });
    let tcp = match tls {
        Ok(reached) => reached,
        Err(CarrierError::Io(error)) => unsent(&error),
        Err(CarrierError::Late(_)) => opens(to, limits.answer).await,
        Err(error) => Reached::Odd(error.to_string()),
    };
    Probed { to, both: Both { udp, tcp }, way }
}

/// What a socket's error says.
fn unsent(error: &io::Error) -> Reached {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reached::Refused,
        io::ErrorKind::TimedOut => Reached::Silent,
        _ => Reached::Unsent(error.to_string()),
    }
}

/// Where no handshake by TCP was over in time: whether that is of TCP or of what came by it.
async fn opens(to: SocketAddr, patience: Duration) -> Reached {
    match timeout(patience, TcpStream::connect(to)).await {
        Ok(Ok(_)) => Reached::Stuck,
        Ok(Err(error)) => unsent(&error),
        Err(_) => Reached::Silent,
    }
}

/// What a handshake shows, or why it shows nothing.
async fn handshake(
    to: SocketAddr,
    kind: CarrierKind,
    expected: Expected,
    now: u64,
    patience: Duration,
) -> Result<Reached, CarrierError> {
    let (tls, witness) = match inquiring_config(expected, now) {
        Ok(made) => made,
        Err(error) => return Ok(Reached::Unsent(error.to_string())),
    };
    let came = probe(to, kind, tls, patience).await;
    match witness.shown() {
        Some(Shown::Clock(leaf)) => Ok(Reached::Clock(leaf)),
        Some(Shown::Stranger(why)) => Ok(Reached::Stranger(why)),
        Some(Shown::Fits(leaf)) => came.map(|_| Reached::Fits(leaf)),
        None => came.map(|_| Reached::Odd("it showed no certificate".to_owned())),
    }
}

/// The way to an address: what this host knows of it, and what is answered there.
async fn way(to: SocketAddr, patience: Duration) -> Result<Way, String> {
    let mut way = route(to.ip()).await?;
    let knocks = way.sizes().into_iter().map(|size| async move {
        let answered = knock(to, size - headers(to.ip()), patience).await;
        answered.is_ok_and(|it| it).then_some(size)
    });
    way.answered = join_all(knocks).await.into_iter().flatten().max();
    Ok(way)
}

/// The way to an address as far as this host knows it.
pub(super) async fn route(to: IpAddr) -> Result<Way, String> {
    let netlink = Netlink::connect().map_err(|error| error.to_string())?;
    let path = netlink.path_to(to).await.map_err(|error| error.to_string())?;
    Ok(Way { to, first_hop: path.first_hop, claimed: path.claimed, answered: None })
}

/// Whether anybody there speaks QUIC: he answers a packet of a version that does not exist with those that he knows
/// (RFC 9000 section 6), and keeps nothing of it. The packet has `size` octets without headers, and 1200 at least.
async fn knock(to: SocketAddr, size: u32, patience: Duration) -> io::Result<bool> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(to).await?;
    let packet = greeting(size)?;
    let mut answer = [0; 256];
    for _ in 0..TRIES {
        match socket.send(&packet).await {
            // Larger than what a router said meanwhile that it takes.
            Err(error) if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => return Ok(false),
            sent => sent?,
        };
        if let Ok(received) = timeout(patience / TRIES, socket.recv(&mut answer)).await
            && is_answer(&answer[..received?], &packet)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Octets of each connection ID in the packet.
const ID: usize = 8;
const LEAST: usize = super::path::LEAST as usize;

fn greeting(size: u32) -> io::Result<Vec<u8>> {
    let mut ids = [0; 2 * ID];
    rand::fill(&mut ids).map_err(|_| io::Error::other("the kernel gives no random numbers"))?;
    let size = usize::try_from(size).unwrap_or(LEAST).max(LEAST);
    // A long header (RFC 9000 section 17.2) of a version that is kept free to make others negotiate (section 15).
    let mut packet = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, ID as u8];
    packet.extend_from_slice(&ids[..ID]);
    packet.push(ID as u8);
    packet.extend_from_slice(&ids[ID..]);
    packet.resize(size, 0);
    Ok(packet)
}

/// Whether it is a version negotiation that answers this packet: without a version, to whom the packet was from (RFC
/// 9000 section 17.2.1).
fn is_answer(answer: &[u8], packet: &[u8]) -> bool {
    let source = &packet[7 + ID..7 + 2 * ID];
    answer.first().is_some_and(|first| first & 0x80 != 0)
        && answer.get(1..5) == Some(&[0; 4])
        && answer.get(5).is_some_and(|&length| usize::from(length) == ID)
        && answer.get(6..6 + ID) == Some(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_answer_counts() {
        let packet = greeting(0).unwrap();
        assert_eq!(packet.len(), 1200);
        assert_eq!(greeting(1472).unwrap().len(), 1472);
        let mut answer = vec![0x80, 0, 0, 0, 0, 8];
        answer.extend_from_slice(&packet[15..23]);
        assert!(is_answer(&answer, &packet));
        assert!(!is_answer(&answer, &greeting(0).unwrap()));
        assert!(!is_answer(&packet, &packet));
        for end in 0..answer.len() {
            assert!(!is_answer(&answer[..end], &packet), "{end}");
        }
    }
}
