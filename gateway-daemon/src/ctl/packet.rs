//! Packets for `gatewayctl trace`: the words an operator describes one with, and what a frame holds,
//! for people. Pure.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use gateway_common::Protocol;
use gateway_common::wire::TcpFlags;
use serde::Serialize;

/// A protocol as an operator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceProtocol {
    /// By its number; ICMP stands for an echo request.
    Number(Protocol),
    /// ICMP, an echo reply.
    EchoReply,
}

impl TraceProtocol {
    /// Its number.
    pub fn number(self) -> Protocol {
        match self {
            Self::Number(protocol) => protocol,
            Self::EchoReply => Protocol::ICMP,
        }
    }
}

/// TCP control bits as an operator lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub TcpFlags);

/// What a frame holds, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// The protocol.
    pub protocol: String,
    /// From whom.
    pub source: Ipv4Addr,
    /// The sender's port, where there is one; of an echo, its identifier.
    pub source_port: Option<u16>,
    /// To whom.
    pub destination: Ipv4Addr,
    /// The receiver's port, where there is one.
    pub destination_port: Option<u16>,
    /// Hops left.
    pub ttl: u8,
    /// Octets from the IP header on.
    pub length: u16,
}

impl Summary {
    /// What a frame with an Ethernet header holds; `None` if that is no whole IPv4 packet.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let NetSlice::Ipv4(ip) = packet.net? else { return None };
        let header = ip.header();
        let (source_port, destination_port) = match packet.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                (Some(tcp.source_port()), Some(tcp.destination_port()))
            }
            Some(TransportSlice::Udp(udp)) => {
                (Some(udp.source_port()), Some(udp.destination_port()))
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                let [_, _, _, _, high, low, _, _] =
                    icmp.header().to_bytes()[..8].try_into().ok()?;
                (Some(u16::from_be_bytes([high, low])), None)
            }
            Some(TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_)) | None => (None, None),
        };
        Some(Self {
            protocol: Protocol(header.protocol().0).to_string(),
            source: header.source_addr(),
            source_port,
            destination: header.destination_addr(),
            destination_port,
            ttl: header.ttl(),
            length: header.total_len(),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |address: Ipv4Addr, port: Option<u16>| match port {
            Some(port) => format!("{address}:{port}"),
            None => address.to_string(),
        };
        let from = end(self.source, self.source_port);
        let to = end(self.destination, self.destination_port);
        write!(f, "{} {from} -> {to} ttl {} length {}", self.protocol, self.ttl, self.length)
    }
}

impl FromStr for TraceProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse().map(Protocol).map_err(|_| {
                format!(
                    "{text:?} is no protocol: write tcp, udp, icmp, icmp-reply or a number from 0 to 255"
                )
            })
        };
        Ok(Self::Number(match text {
            "tcp" => Protocol::TCP,
            "udp" => Protocol::UDP,
            "icmp" | "icmp-echo" => Protocol::ICMP,
            "icmp-reply" => return Ok(Self::EchoReply),
            other => number(other.strip_prefix("ip/").unwrap_or(other))?,
        }))
    }
}

const FLAGS: [(&str, u8); 5] = [
    ("syn", TcpFlags::SYN),
    ("ack", TcpFlags::ACK),
    ("fin", TcpFlags::FIN),
    ("rst", TcpFlags::RST),
    ("psh", PSH),
];
/// Push, RFC 9293 section 3.1; the packet path does not look at it.
const PSH: u8 = 0x08;

impl FromStr for Flags {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bits = 0;
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let known = FLAGS.iter().find(|(name, _)| *name == word);
            let (_, bit) = known.ok_or_else(|| {
                format!("{word:?} is no TCP flag: write some of syn, ack, fin, rst, psh")
            })?;
            bits |= bit;
        }
        Ok(Self(TcpFlags(bits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_dataplane::{PacketDescription, Part, TransportDescription};

    fn told(transport: TransportDescription) -> String {
        let packet = PacketDescription {
            source: [10, 0, 0, 5].into(),
            destination: [10, 0, 0, 200].into(),
            ttl: 64,
            part: Part::default(),
            transport,
            payload: 10,
        };
        Summary::of(&packet.frame().unwrap()).unwrap().to_string()
    }

    #[test]
    fn frames_say_what_was_described() {
        let (source, destination) = (40000, 5672);
        let Flags(flags) = "syn".parse().unwrap();
        assert_eq!(
            told(TransportDescription::Tcp { source, destination, flags }),
            "tcp 10.0.0.5:40000 -> 10.0.0.200:5672 ttl 64 length 50"
        );
        assert_eq!(
            told(TransportDescription::Udp { source, destination }),
            "udp 10.0.0.5:40000 -> 10.0.0.200:5672 ttl 64 length 38"
        );
        assert_eq!(
            told(TransportDescription::EchoRequest { identifier: 7 }),
            "icmp 10.0.0.5:7 -> 10.0.0.200 ttl 64 length 38"
        );
        assert_eq!(
            told(TransportDescription::Other(Protocol(132))),
            "ip/132 10.0.0.5 -> 10.0.0.200 ttl 64 length 30"
        );
    }

    #[test]
    fn flags_by_name() {
        assert_eq!("syn,ack".parse(), Ok(Flags(TcpFlags(TcpFlags::SYN | TcpFlags::ACK))));
        assert_eq!("".parse(), Ok(Flags(TcpFlags(0))));
        assert!("syn,urg".parse::<Flags>().unwrap_err().contains("\"urg\""));
    }

    #[test]
    fn protocols_by_name_and_number() {
        for (text, number) in [("tcp", 6), ("udp", 17), ("icmp", 1), ("132", 132), ("ip/47", 47)] {
            assert_eq!(text.parse(), Ok(TraceProtocol::Number(Protocol(number))));
        }
        assert_eq!("icmp-reply".parse(), Ok(TraceProtocol::EchoReply));
        assert!("sctp".parse::<TraceProtocol>().is_err());
        assert!("256".parse::<TraceProtocol>().is_err());
    }

    #[test]
    fn what_is_no_packet_has_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[0; 20]), None);
    }
}
