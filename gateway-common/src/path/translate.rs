//! From a packet and its new ends to the edits that translate it.

use super::{Packet, Transport, packet::address};
use crate::{
    Ipv4, Port, Protocol, Reason,
    checksum::Delta,
    frame::Frame,
    map::{Direction, Endpoints},
    verdict::{ChecksumEdit, HeaderTail, PortEdit, Rewrite, SegmentSizeEdit},
    wire::{IcmpEcho, Ipv4Header, Tcp, TcpFlags, TcpOption, Udp},
};

/// Octets of an IPv4 and a TCP header without options, which an MTU includes and a segment size does not
/// (RFC 9293 section 3.7.1).
const IPV4_AND_TCP: u32 = Ipv4Header::LENGTH + Tcp::LENGTH;

/// Edits that give `packet` these ends. Segment sizes announced by SYNs are lowered to what fits a link of
/// this MTU.
#[inline(always)]
pub(super) fn translate<F: Frame>(
    frame: &F,
    packet: &Packet,
    mtu: u32,
    ends: Endpoints<Ipv4>,
    direction: Direction,
) -> Result<Rewrite, Reason> {
    let (source, source_port, destination, destination_port) = match direction {
        Direction::Forward => (ends.client, ends.client_port, ends.service, ends.service_port),
        Direction::Reverse => (ends.service, ends.service_port, ends.client, ends.client_port),
    };
    let mut rewrite = rewrite(packet, source, destination)?;
    let kept = source_port == packet.source_port && destination_port == packet.destination_port;
    rewrite.source_port = source_port;
    rewrite.destination_port = destination_port;
    if packet.transport == Transport::Error {
        translate_quote(packet, source, destination, &mut rewrite);
    } else if !kept {
        rewrite.own = Delta::NONE
            .port_changed(packet.source_port, source_port)
            .port_changed(packet.destination_port, destination_port);
        rewrite.ports = match packet.transport {
            Transport::Tcp | Transport::Udp => PortEdit::Both,
            Transport::EchoRequest => PortEdit::RequestIdentifier,
            Transport::EchoReply => PortEdit::ReplyIdentifier,
            Transport::Error | Transport::Other | Transport::Later => PortEdit::Keep,
        };
    }
    if packet.flags.has(TcpFlags::SYN) {
        clamp_segment_size(frame, packet, mtu.saturating_sub(IPV4_AND_TCP), &mut rewrite);
    }
    change_checksum(packet, &mut rewrite);
    Ok(rewrite)
}

/// Settles how the transport checksum follows the other edits.
///
/// A packet in the kernel may carry a checksum that is still to be completed, which no program can see.
/// But such a field holds nothing else than the sum of the pseudo-header, so that one is left to the
/// helper, and every other field is a finished checksum that can be written.
#[inline(always)]
fn change_checksum(packet: &Packet, rewrite: &mut Rewrite) {
    let is_udp = packet.transport == Transport::Udp;
    let offset = match packet.transport {
        Transport::Tcp => Tcp::CHECKSUM_OFFSET,
        Transport::Udp => Udp::CHECKSUM_OFFSET,
        Transport::EchoRequest | Transport::EchoReply | Transport::Error => {
            IcmpEcho::CHECKSUM_OFFSET
        }
        Transport::Other | Transport::Later => return,
    };
    if is_udp && packet.checksum == Port::NONE {
        return;
    }
    let mut change = rewrite.own;
    if packet.header.protocol != Protocol::ICMP.0 {
        change = change.and(rewrite.pseudo);
    }
    let new = change.apply(packet.checksum.word().to_ne_bytes());
    rewrite.new_checksum = Port::new(u16::from_be_bytes(new));
    if is_udp && rewrite.new_checksum == Port::NONE {
        // Zero would mean none (RFC 768).
        rewrite.new_checksum = Port::new(u16::MAX);
    }
    rewrite.checksum_offset = packet.ip + Ipv4Header::LENGTH + offset;
    rewrite.checksum =
        if packet.may_be_partial() { ChecksumEdit::Ask } else { ChecksumEdit::Write };
}

/// Edits that give the packet quoted by an ICMP error the ends of the other way.
#[inline(always)]
fn translate_quote(packet: &Packet, source: Ipv4, destination: Ipv4, rewrite: &mut Rewrite) {
    let quote = packet.quote;
    let addresses = Delta::NONE
        .address_changed(quote.source, destination)
        .address_changed(quote.destination, source);
    let checksum = addresses.apply(quote.checksum.word().to_ne_bytes());
    rewrite.quote_checksum = Port::new(u16::from_be_bytes(checksum));
    rewrite.own = addresses
        .port_changed(quote.checksum, rewrite.quote_checksum)
        .port_changed(packet.source_port, rewrite.source_port)
        .port_changed(packet.destination_port, rewrite.destination_port);
    rewrite.ports = match packet.protocol {
        Protocol::TCP | Protocol::UDP => PortEdit::QuotedBoth,
        Protocol::ICMP if quote.is_request => PortEdit::QuotedRequestIdentifier,
        Protocol::ICMP => PortEdit::QuotedReplyIdentifier,
        _ => PortEdit::QuotedKeep,
    };
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
    Ok(Rewrite {
        ip: packet.ip,
        header: HeaderTail {
            ttl,
            protocol: packet.header.protocol,
            checksum: header.apply(packet.header.checksum),
            source: source.number().to_be_bytes(),
            destination: destination.number().to_be_bytes(),
        },
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        ports: PortEdit::Keep,
        quote_checksum: Port::NONE,
        checksum: ChecksumEdit::Keep,
        checksum_offset: 0,
        new_checksum: Port::NONE,
        pseudo,
        own: Delta::NONE,
        segment_size: SegmentSizeEdit::default(),
    })
}

/// Lowers the maximum segment size option of a SYN to `largest`. A SYN without the option announces
/// 536 octets (RFC 9293 section 3.7.1), which every link carries.
#[inline(always)]
fn clamp_segment_size<F: Frame>(frame: &F, packet: &Packet, largest: u32, rewrite: &mut Rewrite) {
    let tcp = packet.ip + Ipv4Header::LENGTH;
    let mut at = Tcp::LENGTH;
    // A SYN has room for ten options and carries five or six; the segment size comes first in every
    // stack we know of.
    for _ in 0..6 {
        if at + 4 > packet.header_length {
            return;
        }
        let Some([kind, length]) = frame.load::<[u8; 2]>(tcp + at) else { return };
        if kind == TcpOption::MAXIMUM_SEGMENT_SIZE {
            break;
        }
        if kind == TcpOption::END {
            return;
        }
        at += step(kind, length);
    }
    if at + 4 > packet.header_length {
        return;
    }
    // One number, not four octets: LLVM keeps an optional array and its absence in one register and masks
    // whatever that held before, which the verifier of Linux 6.1 refuses for a pointer.
    let Some(option) = frame.load::<u32>(tcp + at) else { return };
    let [kind, length, high, low] = option.to_ne_bytes();
    if kind != TcpOption::MAXIMUM_SEGMENT_SIZE || length != 4 {
        return;
    }
    let announced = Port::new(u16::from_be_bytes([high, low]));
    if u32::from(announced.number()) <= largest {
        return;
    }
    let size = Port::new(largest as u16);
    rewrite.segment_size = SegmentSizeEdit { offset: tcp + at + 2, size };
    rewrite.own = if at.is_multiple_of(2) {
        rewrite.own.port_changed(announced, size)
    } else {
        rewrite.own.odd_port_changed(announced, size)
    };
}

/// Octets to the next option: one for "no operation", else the option's own length. Without a branch,
/// since the verifier would follow both ways at each option. A length of 0 or 1, which no option has,
/// leads nowhere new and the loop ends by count.
#[inline(always)]
const fn step(kind: u8, length: u8) -> u32 {
    let is_other = ((kind ^ TcpOption::NO_OPERATION) as u32).wrapping_neg() >> 31;
    1u32.wrapping_add(is_other * (length as u32).wrapping_sub(1))
}
