//! A packet's headers, checked. What passes here has a whole IPv4 header without options, and its
//! transport header lies inside the packet, unless it is a later fragment, which has none.

use zerocopy::{Immutable, IntoBytes};

use super::fragment;
use crate::{
    Ipv4, LocalAddress, Port, Protocol, Reason, TransitAddress,
    checksum::Delta,
    frame::Frame,
    map::{Direction, Endpoints},
    wire::{IcmpEcho, IcmpError, IcmpType, Ipv4Header, Sctp, Tcp, TcpFlags, Udp},
};

/// The headers of an IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Offset of the IP header in the frame.
    pub ip: u32,
    /// The IP header.
    pub header: Ipv4Header,
    /// What the rest says.
    pub content: Content,
}

/// What follows a packet's IP header, as far as the path cares. Without gaps: see [`super::Passage`].
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Content {
    /// The end of the flow that it comes from: its sender. An ICMP error may come from a router on the
    /// way; then it is the end that the quoted packet was going to.
    pub source: Ipv4,
    /// The sender's port. For ICMP echo the identifier stands on the client's side: here in a request.
    pub source_port: Port,
    /// The receiver's port; the identifier of an ICMP echo reply. An ICMP error has the ports of a packet
    /// of its flow that goes the same way as the error.
    pub destination_port: Port,
    /// What kind of transport header follows.
    pub transport: Transport,
    /// The flow's protocol: the packet's own, or that of the packet an ICMP error quotes.
    pub protocol: Protocol,
    /// Control bits of TCP; none of another protocol.
    pub flags: TcpFlags,
    /// Octets of TCP header and options; 0 of another protocol.
    pub header_length: u32,
}

/// A kind of transport header, as far as the path cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u16)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP that asks for a new association.
    SctpInit,
    /// Any other SCTP.
    Sctp,
    /// ICMP echo request.
    EchoRequest,
    /// ICMP echo reply.
    EchoReply,
    /// An ICMP error about a packet that went the other way.
    Error,
    /// A protocol that is carried by number alone.
    Other,
    /// A fragment other than the first: whatever its protocol, it has no transport header, and no ports
    /// before the first fragment's are found.
    Later,
}

impl Packet {
    /// Checks the headers of the packet whose IP header, at `ip`, is `header`.
    #[inline(always)]
    pub fn parse<F: Frame>(frame: &F, ip: u32, header: Ipv4Header) -> Result<Self, Reason> {
        if header.version_length != Ipv4Header::WITHOUT_OPTIONS {
            let is_option = header.version_length >> 4 == 4 && header.version_length & 0xf > 5;
            return Err(if is_option { Reason::IpOptions } else { Reason::Malformed });
        }
        let total = header.total();
        if total < Ipv4Header::LENGTH {
            return Err(Reason::Malformed);
        }
        if ip + total > frame.length() {
            return Err(Reason::Truncated);
        }
        let payload = total - Ipv4Header::LENGTH;
        let at = ip + Ipv4Header::LENGTH;
        let content = Content {
            source: header.source,
            source_port: Port::NONE,
            destination_port: Port::NONE,
            transport: Transport::Other,
            protocol: Protocol(header.protocol),
            flags: TcpFlags(0),
            header_length: 0,
        };
        let mut packet = Self { ip, header, content };
        let content = &mut packet.content;
        if header.is_fragment() {
            fragment::check(&header)?;
            if header.is_later_fragment() {
                content.transport = Transport::Later;
                return Ok(packet);
            }
        }
        match Protocol(header.protocol) {
            Protocol::TCP => {
                let tcp: Tcp = load(frame, at, payload, Tcp::LENGTH)?;
                content.transport = Transport::Tcp;
                content.flags = tcp.flags;
                content.header_length = tcp.header_length();
                content.source_port = port(tcp.source);
                content.destination_port = port(tcp.destination);
                let fits = (Tcp::LENGTH..=payload).contains(&content.header_length);
                if !fits || tcp.flags.is_nonsense() {
                    return Err(Reason::Malformed);
                }
            }
            Protocol::UDP => {
                let udp: Udp = load(frame, at, payload, Udp::LENGTH)?;
                content.transport = Transport::Udp;
                content.source_port = port(udp.source);
                content.destination_port = port(udp.destination);
                let length = u32::from(u16::from_be_bytes(udp.length));
                let is_short = length > payload && !header.is_fragment();
                if length < Udp::LENGTH || is_short {
                    return Err(Reason::Malformed);
                }
            }
            Protocol::SCTP => {
                let ports: [[u8; 2]; 2] = load(frame, at, payload, Sctp::LENGTH)?;
                content.source_port = port(ports[0]);
                content.destination_port = port(ports[1]);
                // Of several packets that are to be cut apart the chunks may be out of reach. None of them is
                // an INIT, which is alone in its packet (RFC 9260 section 6.10).
                content.transport = match frame.load::<Sctp>(at) {
                    Some(sctp) if sctp.opens() => Transport::SctpInit,
                    _ => Transport::Sctp,
                };
            }
            Protocol::ICMP => {
                let echo: IcmpEcho = load(frame, at, payload, IcmpEcho::LENGTH)?;
                if echo.icmp_type.is_error() {
                    // At most 576 octets (RFC 1812 section 4.3.2.3), which nobody has to fragment.
                    if header.is_fragment() {
                        return Err(Reason::Fragment);
                    }
                    content.read_quote(frame, at, payload, header.destination)?;
                } else if echo.code != 0 {
                    return Err(Reason::IcmpType);
                } else if echo.icmp_type == IcmpType::ECHO_REQUEST {
                    content.transport = Transport::EchoRequest;
                    content.source_port = port(echo.identifier);
                } else if echo.icmp_type == IcmpType::ECHO_REPLY {
                    content.transport = Transport::EchoReply;
                    content.destination_port = port(echo.identifier);
                } else {
                    return Err(Reason::IcmpType);
                }
            }
            _ => {}
        }
        Ok(packet)
    }

    /// To whom.
    #[inline(always)]
    pub fn destination(&self) -> Ipv4 {
        self.header.destination
    }

    /// Its ends as this site's LAN names them, going `direction`.
    #[inline(always)]
    pub(super) fn local_ends(&self, direction: Direction) -> Endpoints<LocalAddress> {
        let (source, destination) =
            (LocalAddress(self.content.source), LocalAddress(self.destination()));
        self.ends(source, destination, direction)
    }

    /// Its ends as links name them, going `direction`.
    #[inline(always)]
    pub(super) fn transit_ends(&self, direction: Direction) -> Endpoints<TransitAddress> {
        let (source, destination) =
            (TransitAddress(self.content.source), TransitAddress(self.destination()));
        self.ends(source, destination, direction)
    }

    #[inline(always)]
    fn ends<A>(&self, source: A, destination: A, direction: Direction) -> Endpoints<A> {
        match direction {
            Direction::Forward => Endpoints {
                client: source,
                client_port: self.content.source_port,
                service: destination,
                service_port: self.content.destination_port,
            },
            Direction::Reverse => Endpoints {
                client: destination,
                client_port: self.content.destination_port,
                service: source,
                service_port: self.content.source_port,
            },
        }
    }

    /// Hops left once this gateway has forwarded it.
    #[inline(always)]
    pub fn next_ttl(&self) -> Result<u8, Reason> {
        if self.header.ttl <= 1 { Err(Reason::TtlExpired) } else { Ok(self.header.ttl - 1) }
    }

    /// Whether its checksum may be one that is still to be completed: such a one holds the sum of the
    /// pseudo-header alone. A finished checksum looks like that once in 65,536 packets.
    #[inline(always)]
    pub fn may_be_partial(&self, checksum: Port) -> bool {
        let is_covered = matches!(self.content.transport, Transport::Tcp | Transport::Udp);
        let length = self.header.total() - Ipv4Header::LENGTH;
        let pseudo = Delta::pseudo_header(
            self.header.source,
            self.header.destination,
            Protocol(self.header.protocol),
            length,
        );
        is_covered && pseudo.sum() == checksum
    }
}

impl Content {
    /// Reads what the ICMP error at `at` quotes. Who sends errors about packets that it did not get,
    /// or to somebody who did not send them, is not believed.
    #[inline(always)]
    fn read_quote<F: Frame>(
        &mut self,
        frame: &F,
        at: u32,
        payload: u32,
        destination: Ipv4,
    ) -> Result<(), Reason> {
        let quoted: Ipv4Header =
            load(frame, at + IcmpError::LENGTH, payload, IcmpError::LENGTH + Ipv4Header::LENGTH)?;
        let start: [u32; 2] = load(
            frame,
            at + IcmpError::LENGTH + Ipv4Header::LENGTH,
            payload,
            IcmpError::LENGTH + Ipv4Header::LENGTH + IcmpError::QUOTED_PAYLOAD,
        )?;
        if quoted.version_length != Ipv4Header::WITHOUT_OPTIONS
            || quoted.is_later_fragment()
            || quoted.source != destination
        {
            return Err(Reason::Malformed);
        }
        self.transport = Transport::Error;
        self.source = quoted.destination;
        self.protocol = Protocol(quoted.protocol);
        match self.protocol {
            Protocol::TCP | Protocol::UDP | Protocol::SCTP => {
                let ports = u32::from_be(start[0]);
                self.destination_port = Port::new((ports >> 16) as u16);
                self.source_port = Port::new(ports as u16);
            }
            Protocol::ICMP => {
                let kind = IcmpType((u32::from_be(start[0]) >> 24) as u8);
                let identifier = Port::new((u32::from_be(start[1]) >> 16) as u16);
                if kind == IcmpType::ECHO_REQUEST {
                    self.destination_port = identifier;
                } else if kind == IcmpType::ECHO_REPLY {
                    self.source_port = identifier;
                } else {
                    return Err(Reason::IcmpType);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it is of the kind that most packets are: TCP or UDP, and does not open a connection.
    #[inline(always)]
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.transport, Transport::Tcp | Transport::Udp) && !self.flags.has(TcpFlags::SYN)
    }

    /// Whether a client may open a flow with it; with `adopt`, also by going on with a connection.
    #[inline(always)]
    pub const fn opens(&self, adopt: bool) -> Result<(), Reason> {
        match self.transport {
            Transport::Tcp if adopt && self.flags.goes_on() => Ok(()),
            Transport::Tcp if !self.flags.opens() => Err(Reason::NoFlow),
            Transport::EchoReply => Err(Reason::IcmpType),
            Transport::Sctp | Transport::Error | Transport::Later => Err(Reason::NoFlow),
            Transport::Tcp
            | Transport::Udp
            | Transport::SctpInit
            | Transport::EchoRequest
            | Transport::Other => Ok(()),
        }
    }
}

/// The header `T` of `length` octets at `at`, inside a payload of `payload` octets.
#[inline(always)]
fn load<F: Frame, T: zerocopy::FromBytes + Copy>(
    frame: &F,
    at: u32,
    payload: u32,
    length: u32,
) -> Result<T, Reason> {
    if payload < length {
        return Err(Reason::Truncated);
    }
    frame.load(at).ok_or(Reason::Truncated)
}

/// An address field.
#[inline(always)]
pub(super) const fn address(octets: [u8; 4]) -> Ipv4 {
    Ipv4::from_number(u32::from_be_bytes(octets))
}

/// A port field.
#[inline(always)]
pub(super) const fn port(octets: [u8; 2]) -> Port {
    Port::new(u16::from_be_bytes(octets))
}
