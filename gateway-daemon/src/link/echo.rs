//! One question to an address, of a chosen size: does a packet that may not be fragmented get there?
//!
//! ICMP echo with the DF bit (RFC 8899 section 6.2.2 allows any probe that is acknowledged). The
//! socket sends what it is told to, whatever the kernel believes of the path. It blocks: tokio lends
//! descriptors that are not its own only to code with `unsafe`. Used by [`super::survey`] and by [`crate::health`].

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Slice, Icmpv4Type, Icmpv6Header, Icmpv6Slice, Icmpv6Type,
};
use nix::errno::Errno;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, Socket, Type};

const IPV4: usize = 20;
const IPV6: usize = 40;
const ICMP: usize = 8;
/// Random bytes at the start of the payload, by which an answer is known as ours.
const NONCE: usize = 8;

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered.
    Answered,
    /// Nothing came in time.
    Missed,
    /// This host, or a router that said so, does not take packets of that size.
    TooLarge,
}

/// A socket for questions to one address.
#[derive(Debug)]
pub(crate) struct Echo {
    socket: Socket,
    to: IpAddr,
    sequence: u16,
}

impl Echo {
    /// Needs CAP_NET_RAW.
    pub(crate) fn open(to: IpAddr) -> io::Result<Self> {
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        match to {
            IpAddr::V4(_) => set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?,
            IpAddr::V6(_) => set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?,
        }
        socket.connect(&SocketAddr::new(to, 0).into())?;
        Ok(Self { socket, to, sequence: 0 })
    }

    /// Sends a packet of `size` bytes, IP header included, and waits for its answer.
    pub(crate) fn ask(&mut self, size: u32, patience: Duration) -> io::Result<Outcome> {
        self.sequence = self.sequence.wrapping_add(1);
        let nonce = RandomState::new().hash_one(self.sequence).to_ne_bytes();
        let deadline = Instant::now() + patience;
        match self.socket.send(&self.question(size, nonce)) {
            Ok(_) => {}
            Err(error) if is_too_large(&error) => return Ok(Outcome::TooLarge),
            // What a router reported of an earlier packet, or no way there at the moment.
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Outcome::Missed);
            }
            self.socket.set_read_timeout(Some(left))?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) if self.is_answer(&buffer[..length], nonce) => {
                    return Ok(Outcome::Answered);
                }
                Ok(_) => {}
                Err(error) if is_too_large(&error) => return Ok(Outcome::TooLarge),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn question(&self, size: u32, nonce: [u8; NONCE]) -> Vec<u8> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let echo = IcmpEchoHeader { id: 0, seq: self.sequence };
        let headers = ICMP + if self.to.is_ipv4() { IPV4 } else { IPV6 };
        let mut payload = nonce.to_vec();
        payload.resize(size.saturating_sub(headers).max(NONCE), 0);
        let header = match self.to {
            IpAddr::V4(_) => {
                Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(echo), &payload).to_bytes()
            }
            // The kernel computes the checksum (RFC 3542 section 3.1).
            IpAddr::V6(_) => {
                return [
                    &Icmpv6Header::new(Icmpv6Type::EchoRequest(echo)).to_bytes()[..],
                    &payload,
                ]
                .concat();
            }
        };
        [&header[..], &payload].concat()
    }

    fn is_answer(&self, packet: &[u8], nonce: [u8; NONCE]) -> bool {
        let (echo, payload) = match self.to {
            IpAddr::V4(_) => {
                let length = packet.first().map_or(0, |byte| usize::from(byte & 15) * 4);
                let message =
                    packet.get(length..).and_then(|rest| Icmpv4Slice::from_slice(rest).ok());
                let Some(message) = message else { return false };
                let Icmpv4Type::EchoReply(echo) = message.icmp_type() else { return false };
                (echo, message.payload())
            }
            IpAddr::V6(_) => {
                let Ok(message) = Icmpv6Slice::from_slice(packet) else { return false };
                let Icmpv6Type::EchoReply(echo) = message.icmp_type() else { return false };
                (echo, message.payload())
            }
        };
        echo.seq == self.sequence && payload.starts_with(&nonce)
    }
}

fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
}

/// Whether it is the way there that fails at the moment, not this host.
pub(super) fn is_passing(error: &io::Error) -> bool {
    use Errno::{
        EAGAIN, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENOBUFS,
        EPROTO,
    };
    [EAGAIN, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENOBUFS, EPROTO]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}
