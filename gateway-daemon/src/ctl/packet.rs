//! Packets for `gatewayctl trace`: the words an operator describes one with, and what a frame holds,
//! for people. Pure.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use etherparse::{NetSlice, SlicedPacket};
use gateway_common::Protocol;
use gateway_common::wire::{IcmpType, SctpChunk, TcpFlags};
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
    /// TCP's control bits, separated by commas.
    pub flags: Option<String>,
    /// What kind of ICMP message it is: `echo-request`, `echo-reply`, or the number of its type.
    pub icmp: Option<String>,
    /// What the first chunk of SCTP is: `init`, `data`, or the number of its type.
    pub chunk: Option<String>,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// Which part of a datagram it is, if it is not all of it.
    pub fragment: Option<Fragment>,
}

/// A part of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fragment {
    /// The datagram's number.
    pub identification: u16,
    /// Octets before it.
    pub offset: u16,
    /// Whether others come after it.
    pub more: bool,
}

impl Summary {
    /// What a frame with an Ethernet header holds; `None` if that is no whole IPv4 packet.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let NetSlice::Ipv4(ip) = packet.net? else { return None };
        let header = ip.header();
        let offset = header.fragments_offset();
        let is_part = header.more_fragments() || offset.value() != 0;
        let fragment = is_part.then(|| Fragment {
            identification: header.identification(),
            offset: offset.value() * 8,
            more: header.more_fragments(),
        });
        let mut summary = Self {
            protocol: Protocol(header.protocol().0).to_string(),
            source: header.source_addr(),
            source_port: None,
            destination: header.destination_addr(),
            destination_port: None,
            ttl: header.ttl(),
            length: header.total_len(),
            flags: None,
            icmp: None,
            chunk: None,
            dont_fragment: header.dont_fragment(),
            fragment,
        };
        if offset.value() == 0 {
            summary.read_transport(Protocol(header.protocol().0), ip.payload().payload);
        }
        Some(summary)
    }

    /// Reads a transport header, as far as it goes.
    fn read_transport(&mut self, protocol: Protocol, segment: &[u8]) {
        let word = |at: usize| match segment.get(at..at + 2) {
            Some(&[high, low]) => Some(u16::from_be_bytes([high, low])),
            _ => None,
        };
        match protocol {
            Protocol::TCP | Protocol::UDP => {
                (self.source_port, self.destination_port) = (word(0), word(2));
                let bits = segment.get(13).filter(|_| protocol == Protocol::TCP);
                self.flags = bits.map(|bits| Flags(TcpFlags(*bits)).to_string());
            }
            Protocol::SCTP => {
                (self.source_port, self.destination_port) = (word(0), word(2));
                self.chunk = segment.get(12).map(|kind| match SctpChunk(*kind) {
                    SctpChunk::INIT => "init".into(),
                    SctpChunk::DATA => "data".into(),
                    SctpChunk(other) => other.to_string(),
                });
            }
            Protocol::ICMP => {
                self.source_port = word(4);
                self.icmp = segment.first().map(|kind| match IcmpType(*kind) {
                    IcmpType::ECHO_REQUEST => "echo-request".into(),
                    IcmpType::ECHO_REPLY => "echo-reply".into(),
                    IcmpType(other) => other.to_string(),
                });
            }
            _ => {}
        }
    }

    /// From whom, with the port where there is one.
    pub(crate) fn sender(&self) -> String {
        end(self.source, self.source_port)
    }

    /// To whom, with the port where there is one.
    pub(crate) fn receiver(&self) -> String {
        end(self.destination, self.destination_port)
    }

    /// What describes it to `gatewayctl trace`, but for its size.
    pub(crate) fn arguments(&self) -> String {
        let protocol = match (self.protocol.as_str(), self.icmp.as_deref()) {
            ("icmp", Some("echo-reply")) => "icmp-reply",
            (other, _) => other.strip_prefix("ip/").unwrap_or(other),
        };
        let Self { source, destination, ttl, .. } = self;
        let mut words = format!("--from {source} --to {destination} --protocol {protocol}");
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                words.push_str(&format!(" {flag} {value}"));
            }
        };
        add("--port", self.destination_port.map(|port| port.to_string()));
        add("--from-port", self.source_port.map(|port| port.to_string()));
        add("--flags", self.flags.clone().filter(|flags| !flags.is_empty()));
        add("--chunk", self.chunk.clone().filter(|chunk| chunk != "init").map(|_| "data".into()));
        add("--ttl", Some(ttl.to_string()));
        if let Some(Fragment { identification, offset, .. }) = self.fragment {
            let part = if offset == 0 { "first" } else { "later" };
            add("--fragment", Some(format!("{part} --identification {identification}")));
        }
        if self.dont_fragment {
            words.push_str(" --dont-fragment");
        }
        words
    }
}

fn end(address: Ipv4Addr, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{address}:{port}"),
        None => address.to_string(),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.sender(), self.receiver());
        write!(f, "{} {from} -> {to} ttl {} length {}", self.protocol, self.ttl, self.length)?;
        if let Some(flags) = self.flags.as_ref().filter(|flags| !flags.is_empty()) {
            write!(f, " {flags}")?;
        }
        for kind in [&self.icmp, &self.chunk].into_iter().flatten() {
            write!(f, " {kind}")?;
        }
        if let Some(Fragment { identification, offset, more }) = self.fragment {
            let more = if more { "+" } else { "" };
            write!(f, " fragment {identification}@{offset}{more}")?;
        }
        if self.dont_fragment { write!(f, " DF") } else { Ok(()) }
    }
}

impl FromStr for TraceProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse().map(Protocol).map_err(|_| {
                format!(
                    "{text:?} is no protocol: write tcp, udp, sctp, icmp, icmp-reply or a number from 0 to 255"
                )
            })
        };
        Ok(Self::Number(match text {
            "tcp" => Protocol::TCP,
            "udp" => Protocol::UDP,
            "sctp" => Protocol::SCTP,
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

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(TcpFlags(bits)) = self;
        let set = FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name);
        f.write_str(&set.collect::<Vec<_>>().join(","))
    }
}

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
            "tcp 10.0.0.5:40000 -> 10.0.0.200:5672 ttl 64 length 50 syn DF"
        );
        assert_eq!(
            told(TransportDescription::Udp { source, destination }),
            "udp 10.0.0.5:40000 -> 10.0.0.200:5672 ttl 64 length 38 DF"
        );
        assert_eq!(
            told(TransportDescription::EchoRequest { identifier: 7 }),
            "icmp 10.0.0.5:7 -> 10.0.0.200 ttl 64 length 38 echo-request DF"
        );
        assert_eq!(
            told(TransportDescription::Sctp { source, destination, opens: true }),
            "sctp 10.0.0.5:40000 -> 10.0.0.200:5672 ttl 64 length 46 init DF"
        );
        assert_eq!(
            told(TransportDescription::Other(Protocol(47))),
            "ip/47 10.0.0.5 -> 10.0.0.200 ttl 64 length 30 DF"
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
        for (text, number) in
            [("tcp", 6), ("udp", 17), ("icmp", 1), ("sctp", 132), ("132", 132), ("ip/47", 47)]
        {
            assert_eq!(text.parse(), Ok(TraceProtocol::Number(Protocol(number))));
        }
        assert_eq!("icmp-reply".parse(), Ok(TraceProtocol::EchoReply));
        assert!("dccp".parse::<TraceProtocol>().is_err());
        assert!("256".parse::<TraceProtocol>().is_err());
    }

    #[test]
    fn what_is_no_packet_has_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[0; 20]), None);
    }
}
