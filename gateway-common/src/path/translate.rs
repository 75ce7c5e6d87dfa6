//! From a packet and its new ends to the edits that translate it.

use super::{Packet, Transport, packet::address};
use crate::{
    Ipv4, LocalAddress, Port, Protocol, Reason, TransitAddress,
    checksum::Delta,
    frame::Frame,
    map::{Direction, Settings},
    tables::Endpoints,
    verdict::{HeaderTail, PortEdit, Rewrite, SegmentSizeEdit, TransportChecksum},
    wire::{Ipv4Header, Tcp, TcpFlags, TcpOption},
};

/// Edits that give `packet` these ends. Segment sizes announced by SYNs are lowered to what fits a
/// link.
#[inline(always)]
pub(super) fn translate<F: Frame, A: End>(
    frame: &F,
    packet: &Packet,
    settings: &Settings,
    ends: Endpoints<A>,
    direction: Direction,
) -> Result<Rewrite, Reason> {
    let (source, source_port, destination, destination_port) = match direction {
        Direction::Forward => {
            (ends.client.ipv4(), ends.client_port, ends.service.ipv4(), ends.service_port)
        }
        Direction::Reverse => {
            (ends.service.ipv4(), ends.service_port, ends.client.ipv4(), ends.client_port)
        }
    };
    let mut rewrite = rewrite(packet, source, destination)?;
    let kept = source_port == packet.source_port && destination_port == packet.destination_port;
    if !kept {
        rewrite.own = Delta::NONE
            .port_changed(packet.source_port, source_port)
            .port_changed(packet.destination_port, destination_port);
        rewrite.ports = match packet.transport {
            Transport::Tcp { .. } | Transport::Udp => {
                PortEdit::Ports { source: source_port, destination: destination_port }
            }
            Transport::EchoRequest => PortEdit::Identifier(source_port),
            Transport::EchoReply => PortEdit::Identifier(destination_port),
            Transport::Other => PortEdit::Keep,
        };
    }
    if let Transport::Tcp { flags, header_length } = packet.transport
        && flags.has(TcpFlags::SYN)
    {
        clamp_segment_size(frame, packet, header_length, settings.link_mss, &mut rewrite);
    }
    Ok(rewrite)
}

/// Edits that pass `packet` on with its addresses, one hop further.
#[inline(always)]
pub(super) fn relay(packet: &Packet) -> Result<Rewrite, Reason> {
    rewrite(packet, packet.source(), packet.destination())
}

/// Edits of the IP header alone.
#[inline(always)]
fn rewrite(packet: &Packet, source: Ipv4, destination: Ipv4) -> Result<Rewrite, Reason> {
    let ttl = packet.next_ttl()?;
    let pseudo = Delta::NONE
        .address_changed(address(packet.header.source), source)
        .address_changed(address(packet.header.destination), destination);
    let header = pseudo.port_changed(
        Port::new(u16::from_be_bytes([packet.header.ttl, packet.header.protocol])),
        Port::new(u16::from_be_bytes([ttl, packet.header.protocol])),
    );
    let transport = match packet.protocol() {
        Protocol::TCP => TransportChecksum::Tcp,
        Protocol::UDP => TransportChecksum::Udp,
        Protocol::ICMP => TransportChecksum::Icmp,
        _ => TransportChecksum::None,
    };
    Ok(Rewrite {
        ip: packet.ip,
        header: HeaderTail {
            ttl,
            protocol: packet.header.protocol,
            checksum: header.apply(packet.header.checksum),
            source: source.number().to_be_bytes(),
            destination: destination.number().to_be_bytes(),
        },
        ports: PortEdit::Keep,
        transport,
        pseudo,
        own: Delta::NONE,
        segment_size: None,
    })
}

/// Lowers the maximum segment size option of a SYN to `largest`. A SYN without the option announces
/// 536 octets (RFC 9293 section 3.7.1), which every link carries.
#[inline(always)]
fn clamp_segment_size<F: Frame>(
    frame: &F,
    packet: &Packet,
    header_length: u32,
    largest: u32,
    rewrite: &mut Rewrite,
) {
    let tcp = packet.ip + Ipv4Header::LENGTH;
    let mut at = Tcp::LENGTH;
    // Options take at most 40 octets; whoever puts more than ten before the segment size is not
    // helped.
    for _ in 0..10 {
        if at + 4 > header_length {
            return;
        }
        let Some([kind, length]) = frame.load::<[u8; 2]>(tcp + at) else { return };
        match kind {
            TcpOption::END => return,
            TcpOption::NO_OPERATION => at += 1,
            TcpOption::MAXIMUM_SEGMENT_SIZE if length == 4 => {
                let Some(octets) = frame.load::<[u8; 2]>(tcp + at + 2) else { return };
                let announced = Port::new(u16::from_be_bytes(octets));
                if u32::from(announced.number()) <= largest {
                    return;
                }
                let size = Port::new(largest as u16);
                rewrite.segment_size = Some(SegmentSizeEdit { offset: tcp + at + 2, size });
                rewrite.own = if at % 2 == 0 {
                    rewrite.own.port_changed(announced, size)
                } else {
                    rewrite.own.odd_port_changed(announced, size)
                };
                return;
            }
            _ if length < 2 => return,
            _ => at += u32::from(length),
        }
    }
}

/// An address of either kind, about to be written into a packet.
pub(super) trait End: Copy {
    fn ipv4(self) -> Ipv4;
}

impl End for LocalAddress {
    #[inline(always)]
    fn ipv4(self) -> Ipv4 {
        self.0
    }
}

impl End for TransitAddress {
    #[inline(always)]
    fn ipv4(self) -> Ipv4 {
        self.0
    }
}
