//! What the live programs would do with a described packet: the packet is built, run through the
//! pinned program as a dry run, which changes nothing, and its report is read.

use std::net::Ipv4Addr;

use gateway_common::{
    Protocol,
    report::Report,
    wire::{
        EtherType, Ethernet, IcmpEcho, IcmpType, Ipv4Header, Sctp, SctpChunk, Tcp, TcpFlags, Udp,
    },
};
use thiserror::Error;
use zerocopy::IntoBytes;

use crate::{
    pins::Pins,
    program::Program,
    run::{Run, RunError, Runner},
};

/// What can be wrong with a trace.
#[derive(Debug, Error)]
pub enum TraceError {
    /// There is no such packet.
    #[error("a payload of {0} octets does not fit into a packet to trace: use at most {max}", max = PacketDescription::MAX_PAYLOAD)]
    TooLarge(u16),
    /// The program cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Another build's program answered.
    #[error(
        "{0} gave no report: the running programs are of another build; start this build's gatewayd"
    )]
    NoReport(Program),
}

/// A packet, as an operator describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketDescription {
    /// Who sends it.
    pub source: Ipv4Addr,
    /// Whom it is for.
    pub destination: Ipv4Addr,
    /// Hops left.
    pub ttl: u8,
    /// Whether it is all of a datagram.
    pub part: Part,
    /// What it carries.
    pub transport: TransportDescription,
    /// Octets behind the transport header; of a later fragment, behind the IP header.
    pub payload: u16,
}

/// Which part of a datagram a described packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole {
        /// Routers must not fragment it.
        dont_fragment: bool,
    },
    /// The first fragment. Octets are added until it ends where a fragment may.
    First {
        /// Of the datagram.
        identification: u16,
    },
    /// The last fragment, which has no transport header.
    Last {
        /// Of the datagram.
        identification: u16,
        /// Where it begins in the datagram's payload, in units of 8 octets, at most 8191.
        offset: u16,
    },
}

impl Default for Part {
    fn default() -> Self {
        Self::Whole { dont_fragment: true }
    }
}

/// The transport header of a described packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportDescription {
    /// TCP.
    Tcp {
        /// The sender's port.
        source: u16,
        /// The receiver's port.
        destination: u16,
        /// Control bits.
        flags: TcpFlags,
    },
    /// UDP.
    Udp {
        /// The sender's port.
        source: u16,
        /// The receiver's port.
        destination: u16,
    },
    /// SCTP, without its checksum, which the programs do not look at.
    Sctp {
        /// The sender's port.
        source: u16,
        /// The receiver's port.
        destination: u16,
        /// Whether it asks for a new association.
        opens: bool,
    },
    /// An ICMP echo request.
    EchoRequest {
        /// Tells the sender's exchanges apart.
        identifier: u16,
    },
    /// An ICMP echo reply.
    EchoReply {
        /// The request's.
        identifier: u16,
    },
    /// Any other protocol.
    Other(Protocol),
}

/// Where a described packet comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracePoint {
    /// [`Program::LanIngress`] or [`Program::LinkIngress`].
    pub program: Program,
    /// Index of the interface.
    pub interface: u32,
}

/// What the programs would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The verdict.
    pub report: Report,
    /// The frame that was built.
    pub before: Vec<u8>,
    /// The frame as it would go on; the same where it would not.
    pub after: Vec<u8>,
}

impl PacketDescription {
    /// A run takes frames that fit into a page with the kernel's own data beside them.
    pub const MAX_PAYLOAD: u16 = 3000;

    /// The frame, with correct checksums and without link-layer addresses.
    pub fn frame(&self) -> Result<Vec<u8>, TraceError> {
        if self.payload > Self::MAX_PAYLOAD {
            return Err(TraceError::TooLarge(self.payload));
        }
        let ethernet =
            Ethernet { destination: [0; 6], source: [0; 6], ether_type: EtherType::IPV4 };
        let mut segment = self.segment();
        let (identification, fragment) = match self.part {
            Part::Whole { dont_fragment: true } => (0, 0x4000),
            Part::Whole { dont_fragment: false } => (0, 0),
            Part::First { identification } => {
                segment.resize(segment.len().next_multiple_of(8), 0);
                (identification, 0x2000)
            }
            Part::Last { identification, offset } => {
                segment = vec![0; usize::from(self.payload)];
                (identification, offset & 0x1fff)
            }
        };
        let mut header = Ipv4Header {
            version_length: Ipv4Header::WITHOUT_OPTIONS,
            traffic_class: 0,
            total_length: (Ipv4Header::LENGTH as u16 + segment.len() as u16).to_be_bytes(),
            identification: identification.to_be_bytes(),
            fragment: fragment.to_be_bytes(),
            ttl: self.ttl,
            protocol: self.protocol().0,
            checksum: [0; 2],
            source: self.source.into(),
            destination: self.destination.into(),
        };
        header.checksum = internet_checksum(&[header.as_bytes()]);
        Ok([ethernet.as_bytes(), header.as_bytes(), &segment].concat())
    }

    fn protocol(&self) -> Protocol {
        match self.transport {
            TransportDescription::Tcp { .. } => Protocol::TCP,
            TransportDescription::Udp { .. } => Protocol::UDP,
            TransportDescription::Sctp { .. } => Protocol::SCTP,
            TransportDescription::EchoRequest { .. } | TransportDescription::EchoReply { .. } => {
                Protocol::ICMP
            }
            TransportDescription::Other(protocol) => protocol,
        }
    }

    /// Transport header and payload.
    fn segment(&self) -> Vec<u8> {
        let payload = vec![0; usize::from(self.payload)];
        match self.transport {
            TransportDescription::Tcp { source, destination, flags } => {
                let mut tcp = Tcp {
                    source: source.to_be_bytes(),
                    destination: destination.to_be_bytes(),
                    sequence: [0; 4],
                    acknowledgement: [0; 4],
                    data_offset: 5 << 4,
                    flags,
                    window: [0xff; 2],
                    checksum: [0; 2],
                    urgent: [0; 2],
                };
                tcp.checksum = self.pseudo_checksum(&[tcp.as_bytes(), &payload]);
                [tcp.as_bytes(), &payload].concat()
            }
            TransportDescription::Udp { source, destination } => {
                let mut udp = Udp {
                    source: source.to_be_bytes(),
                    destination: destination.to_be_bytes(),
                    length: (Udp::LENGTH as u16 + self.payload).to_be_bytes(),
                    checksum: [0; 2],
                };
                udp.checksum = match self.pseudo_checksum(&[udp.as_bytes(), &payload]) {
                    [0, 0] => [0xff; 2],
                    checksum => checksum,
                };
                [udp.as_bytes(), &payload].concat()
            }
            TransportDescription::Sctp { source, destination, opens } => {
                let length = Sctp::CHUNK_LENGTH + self.payload;
                let sctp = Sctp {
                    source: source.to_be_bytes(),
                    destination: destination.to_be_bytes(),
                    verification_tag: u32::from(!opens).to_be_bytes(),
                    checksum: [0; 4],
                    chunk: if opens { SctpChunk::INIT } else { SctpChunk::DATA },
                    chunk_flags: 0,
                    chunk_length: length.to_be_bytes(),
                };
                [sctp.as_bytes(), &payload].concat()
            }
            TransportDescription::EchoRequest { identifier } => {
                echo(IcmpType::ECHO_REQUEST, identifier, &payload)
            }
            TransportDescription::EchoReply { identifier } => {
                echo(IcmpType::ECHO_REPLY, identifier, &payload)
            }
            TransportDescription::Other(_) => payload,
        }
    }

    /// The checksum over the pseudo-header (RFC 9293 section 3.1) and a segment in `parts`.
    fn pseudo_checksum(&self, parts: &[&[u8]]) -> [u8; 2] {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut pseudo = Vec::with_capacity(12);
        pseudo.extend(self.source.octets());
        pseudo.extend(self.destination.octets());
        pseudo.extend([0, self.protocol().0]);
        pseudo.extend((length as u16).to_be_bytes());
        let mut all = vec![pseudo.as_slice()];
        all.extend(parts);
        internet_checksum(&all)
    }
}

/// Runs `packet` through the pinned program at `point`.
pub(crate) fn trace(
    pins: &Pins,
    point: TracePoint,
    packet: &PacketDescription,
) -> Result<Trace, TraceError> {
    let before = packet.frame()?;
    let runner = Runner::open(pins, point.program)?;
    let ran = runner.run(&Run { frame: &before, device: 0, ingress: point.interface })?;
    let report = Report::from_words(ran.scratch).ok_or(TraceError::NoReport(point.program))?;
    Ok(Trace { report, before, after: ran.frame })
}

fn echo(icmp_type: IcmpType, identifier: u16, payload: &[u8]) -> Vec<u8> {
    let mut echo = IcmpEcho {
        icmp_type,
        code: 0,
        checksum: [0; 2],
        identifier: identifier.to_be_bytes(),
        sequence: [0, 1],
    };
    echo.checksum = internet_checksum(&[echo.as_bytes(), payload]);
    [echo.as_bytes(), payload].concat()
}

/// RFC 1071 over `parts`, all but the last of even length.
fn internet_checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketHeaders, TransportHeader};

    use super::*;

    fn packet(transport: TransportDescription, payload: u16) -> PacketDescription {
        PacketDescription {
            source: Ipv4Addr::new(10, 0, 0, 5),
            destination: Ipv4Addr::new(10, 0, 0, 200),
            ttl: 64,
            part: Part::default(),
            transport,
            payload,
        }
    }

    #[test]
    fn fragments_are_what_an_independent_parser_reads() {
        let transport = TransportDescription::Udp { source: 53, destination: 5353 };
        for (part, payload, offset, more) in [
            (Part::Whole { dont_fragment: false }, 1, 0, false),
            (Part::First { identification: 7 }, 1003, 0, true),
            (Part::Last { identification: 7, offset: 185 }, 20, 185, false),
        ] {
            let packet = PacketDescription { part, ..packet(transport, payload) };
            let frame = packet.frame().expect("it fits");
            let parsed = PacketHeaders::from_ethernet_slice(&frame).expect("well-formed");
            let Some(etherparse::NetHeaders::Ipv4(ip, _)) = parsed.net else {
                panic!("{parsed:?}")
            };
            assert_eq!((ip.fragment_offset.value(), ip.more_fragments), (offset, more));
            assert!(!ip.dont_fragment);
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            let length = parsed.payload.slice().len();
            match part {
                Part::Whole { .. } => assert_eq!(length, 1),
                Part::First { .. } => assert_eq!((length, ip.identification), (1016, 7)),
                Part::Last { .. } => assert_eq!((length, ip.identification), (20, 7)),
            }
        }
    }

    #[test]
    fn frames_are_what_an_independent_parser_reads() {
        let transports = [
            TransportDescription::Tcp {
                source: 40000,
                destination: 5672,
                flags: TcpFlags(TcpFlags::SYN),
            },
            TransportDescription::Udp { source: 53, destination: 5353 },
            TransportDescription::EchoRequest { identifier: 7 },
            TransportDescription::EchoReply { identifier: 7 },
            TransportDescription::Sctp { source: 3868, destination: 3868, opens: true },
            TransportDescription::Other(Protocol(47)),
        ];
        for transport in transports {
            for payload in [0, 1, 2, 999, PacketDescription::MAX_PAYLOAD] {
                let packet = packet(transport, payload);
                let frame = packet.frame().expect("it fits");
                let parsed = PacketHeaders::from_ethernet_slice(&frame).expect("well-formed");
                let Some(etherparse::NetHeaders::Ipv4(ip, _)) = parsed.net else {
                    panic!("{parsed:?}")
                };
                assert_eq!(ip.source, packet.source.octets());
                assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                let data = parsed.payload.slice();
                match (transport, parsed.transport) {
                    (TransportDescription::Tcp { .. }, Some(TransportHeader::Tcp(tcp))) => {
                        assert_eq!(tcp.destination_port, 5672);
                        assert!(tcp.syn && !tcp.ack);
                        assert_eq!(Ok(tcp.checksum), tcp.calc_checksum_ipv4(&ip, data));
                    }
                    (TransportDescription::Udp { .. }, Some(TransportHeader::Udp(udp))) => {
                        assert_eq!(Ok(udp.checksum), udp.calc_checksum_ipv4(&ip, data));
                    }
                    (
                        TransportDescription::EchoRequest { .. }
                        | TransportDescription::EchoReply { .. },
                        Some(TransportHeader::Icmpv4(icmp)),
                    ) => assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(data)),
                    // It knows no SCTP: ports (RFC 9260 section 3.1), and the INIT chunk behind them.
                    (TransportDescription::Sctp { .. }, None) => {
                        assert_eq!((ip.protocol.0, data.len()), (132, 16 + usize::from(payload)));
                        assert_eq!(data[..4], [0x0f, 0x1c, 0x0f, 0x1c]);
                        assert_eq!((data[12], &data[4..8]), (1, [0; 4].as_slice()));
                    }
                    (TransportDescription::Other(protocol), None) => {
                        assert_eq!(ip.protocol.0, protocol.0);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn frames_that_no_run_takes_are_refused() {
        let transport = TransportDescription::Udp { source: 1, destination: 2 };
        assert!(packet(transport, PacketDescription::MAX_PAYLOAD + 1).frame().is_err());
    }
}
