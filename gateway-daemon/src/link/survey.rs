//! Asking a path what it carries: [`super::search`] carried out with [`super::echo`]. Blocks, for a
//! minute at most; [`super::paths`] gives it a thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{ip_mtu, ipv6_mtu};

use super::echo::{Echo, Outcome, is_passing};
use super::search::{ATTEMPTS, BASE, Search, Step};
use crate::netlink::Path;

/// Longest wait for an answer; shorter once it is known how fast the path answers.
const PATIENCE: Duration = Duration::from_secs(1);
const LEAST_PATIENCE: Duration = Duration::from_millis(200);

/// What a path answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surveyed {
    /// It carries packets of that size in bytes, IP header included, and no larger ones.
    Carries(u32),
    /// Nothing answers.
    Silent,
}

/// Finds out what the path to an address carries. `known` is what an earlier survey found: if that is
/// still answered, and not `anew`, no more is asked.
pub(super) fn survey(
    to: IpAddr,
    path: Path,
    known: Option<u32>,
    anew: bool,
) -> io::Result<Surveyed> {
    let Some(mut asking) = Asking::begin(to)? else { return Ok(Surveyed::Silent) };
    if let Some(size) = known.filter(|size| !anew && *size <= path.first_hop)
        && asking.is_carried(size)?
    {
        return Ok(Surveyed::Carries(size));
    }
    let mut search = Search::new(path.first_hop);
    loop {
        match search.step() {
            Step::Found(size) => return Ok(Surveyed::Carries(size)),
            Step::Silent => return Ok(Surveyed::Silent),
            Step::Probe(size) => match asking.ask(size)? {
                Outcome::Answered => search.answered(),
                Outcome::Missed => search.missed(claimed(to)),
                Outcome::TooLarge => search.too_large(claimed(to)),
            },
        }
    }
}

/// Whether an address answers at all.
pub(super) fn answers(to: IpAddr) -> io::Result<bool> {
    Asking::begin(to)?.map_or(Ok(false), |mut asking| asking.is_carried(LEAST_QUESTION))
}

/// An echo of ordinary size: 84 bytes with an IPv4 header, as `ping` sends it.
const LEAST_QUESTION: u32 = 84;

struct Asking {
    echo: Echo,
    patience: Duration,
}

impl Asking {
    /// Nothing while there is no way there.
    fn begin(to: IpAddr) -> io::Result<Option<Self>> {
        match Echo::open(to) {
            Ok(echo) => Ok(Some(Self { echo, patience: PATIENCE })),
            Err(error) if is_passing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ask(&mut self, size: u32) -> io::Result<Outcome> {
        let asked = Instant::now();
        let outcome = self.echo.ask(size, self.patience)?;
        if outcome == Outcome::Answered {
            self.patience = (asked.elapsed() * 4).clamp(LEAST_PATIENCE, PATIENCE);
        }
        Ok(outcome)
    }

    fn is_carried(&mut self, size: u32) -> io::Result<bool> {
        for _ in 0..ATTEMPTS {
            match self.ask(size)? {
                Outcome::Answered => return Ok(true),
                Outcome::TooLarge => return Ok(false),
                Outcome::Missed => {}
            }
        }
        Ok(false)
    }
}

/// What the kernel believes of the path: a router farther on may have told it when a probe was refused.
fn claimed(to: IpAddr) -> Option<u32> {
    /// Nothing is sent there.
    const DISCARD: u16 = 9;
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(to, DISCARD)).ok()?;
    let believed = match to {
        IpAddr::V4(_) => ip_mtu(&socket),
        IpAddr::V6(_) => ipv6_mtu(&socket),
    };
    believed.ok().filter(|size| *size >= BASE)
}
