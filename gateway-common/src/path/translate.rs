//! From a packet and its new ends to the edits that translate it.

use super::{Packet, Passage, Transport, packet::port};
use crate::{
    Ipv4, Port, Protocol, Reason,
    checksum::Delta,
    frame::Frame,
    map::{Counter, Direction},
    tables::Tables,
    verdict::{ChecksumEdit, Executor, Forward, HeaderTail, PortEdit, Rewrite, SegmentSizeEdit},
    wire::{IcmpEcho, IcmpError, IcmpType, Ipv4Header, Tcp, TcpFlags, TcpOption, Udp},
};

/// Octets of an IPv4 and a TCP header without options, which an MTU includes and a segment size does not
/// (RFC 9293 section 3.7.1).
const IPV4_AND_TCP: u32 = Ipv4Header::LENGTH + Tcp::LENGTH;

/// Translates an admitted packet and sends it on its way.
#[inline(always)]
pub fn send<F: Frame, T: Tables, E: Executor>(
    frame: &F,
    tables: &T,
    ip: u32,
    passage: &Passage,
    executor: &E,
) -> E::Action {
    match translate(frame, ip, passage) {
        Ok(rewrite) => {
            let forward = Forward { rewrite, egress: passage.egress, rule: passage.rule };
            tables.count(forward.counter());
            executor.forward(&forward)
        }
        Err(reason) => {
            tables.count(Counter::Refused(reason));
            executor.refuse(reason)
        }
    }
}

/// Edits that give a packet the ends of its passage. Segment sizes announced by SYNs are lowered to what
/// fits the link.
#[inline(always)]
fn translate<F: Frame>(frame: &F, ip: u32, passage: &Passage) -> Result<Rewrite, Reason> {
    // Read again: the verifier takes it for any header then.
    let Some(header) = frame.load::<Ipv4Header>(ip) else { return Err(Reason::Truncated) };
    let packet = &Packet { ip, header, content: passage.content };
    let (ends, mtu) = (passage.ends, passage.mtu);
    let (source, source_port, destination, destination_port) = match passage.direction {
        Direction::Forward => (ends.client, ends.client_port, ends.service, ends.service_port),
        Direction::Reverse => (ends.service, ends.service_port, ends.client, ends.client_port),
    };
    let mut rewrite = rewrite(packet, source, destination)?;
    let kept = source_port == packet.content.source_port
        && destination_port == packet.content.destination_port;
    rewrite.source_port = source_port;
    rewrite.destination_port = destination_port;
    if packet.content.transport == Transport::Error {
        translate_quote(frame, packet, source, destination, &mut rewrite)?;
    } else if !kept {
        rewrite.own = Delta::NONE
            .port_changed(packet.content.source_port, source_port)
            .port_changed(packet.content.destination_port, destination_port);
        rewrite.ports = match packet.content.transport {
            Transport::Tcp | Transport::Udp => PortEdit::Both,
            Transport::EchoRequest => PortEdit::RequestIdentifier,
            Transport::EchoReply => PortEdit::ReplyIdentifier,
            // SCTP keeps its ports: its checksum covers all of the packet, and no program reads that.
            Transport::SctpInit
            | Transport::Sctp
            | Transport::Error
            | Transport::Other
            | Transport::Later => PortEdit::Keep,
        };
    }
    if packet.content.flags.has(TcpFlags::SYN) {
        clamp_segment_size(frame, packet, mtu.saturating_sub(IPV4_AND_TCP), &mut rewrite);
    }
    change_checksum(frame, packet, &mut rewrite)?;
    Ok(rewrite)
}

/// Settles how the transport checksum follows the other edits.
///
/// A packet in the kernel may carry a checksum that is still to be completed, which no program can see.
/// But such a field holds nothing else than the sum of the pseudo-header, so that one is left to the
/// helper, and every other field is a finished checksum that can be written.
#[inline(always)]
fn change_checksum<F: Frame>(
    frame: &F,
    packet: &Packet,
    rewrite: &mut Rewrite,
) -> Result<(), Reason> {
    let is_udp = packet.content.transport == Transport::Udp;
    let offset = match packet.content.transport {
        Transport::Tcp => Tcp::CHECKSUM_OFFSET,
        Transport::Udp => Udp::CHECKSUM_OFFSET,
        Transport::EchoRequest | Transport::EchoReply | Transport::Error => {
            IcmpEcho::CHECKSUM_OFFSET
        }
        // SCTP's has no pseudo-header.
        Transport::SctpInit | Transport::Sctp | Transport::Other | Transport::Later => {
            return Ok(());
        }
    };
    rewrite.checksum_offset = packet.ip + Ipv4Header::LENGTH + offset;
    let Some(old) = frame.load::<Port>(rewrite.checksum_offset) else {
        return Err(Reason::Truncated);
    };
    if is_udp && old == Port::NONE {
        return Ok(());
    }
    let mut change = rewrite.own;
    if matches!(packet.content.transport, Transport::Tcp | Transport::Udp) {
        change = change.and(rewrite.pseudo);
    }
    let new = change.apply(old.word().to_ne_bytes());
    rewrite.new_checksum = Port::new(u16::from_be_bytes(new));
    if is_udp && rewrite.new_checksum == Port::NONE {
        // Zero would mean none (RFC 768).
        rewrite.new_checksum = Port::new(u16::MAX);
    }
    rewrite.checksum =
        if packet.may_be_partial(old) { ChecksumEdit::Ask } else { ChecksumEdit::Write };
    Ok(())
}

/// Edits that give the packet quoted by an ICMP error the ends of the other way.
#[inline(always)]
fn translate_quote<F: Frame>(
    frame: &F,
    packet: &Packet,
    source: Ipv4,
    destination: Ipv4,
    rewrite: &mut Rewrite,
) -> Result<(), Reason> {
    let at = packet.ip + Ipv4Header::LENGTH + IcmpError::LENGTH;
    let Some(quoted) = frame.load::<Ipv4Header>(at) else { return Err(Reason::Truncated) };
    let Some(start) = frame.load::<u32>(at + Ipv4Header::LENGTH) else {
        return Err(Reason::Truncated);
    };
    let kind = IcmpType((u32::from_be(start) >> 24) as u8);
    let addresses = Delta::NONE
        .address_changed(quoted.source, destination)
        .address_changed(quoted.destination, source);
    rewrite.quote_checksum = Port::new(u16::from_be_bytes(addresses.apply(quoted.checksum)));
    rewrite.own = addresses
        .port_changed(port(quoted.checksum), rewrite.quote_checksum)
        .port_changed(packet.content.source_port, rewrite.source_port)
        .port_changed(packet.content.destination_port, rewrite.destination_port);
    rewrite.ports = match packet.content.protocol {
        Protocol::TCP | Protocol::UDP => PortEdit::QuotedBoth,
        Protocol::ICMP if kind == IcmpType::ECHO_REQUEST => PortEdit::QuotedRequestIdentifier,
        Protocol::ICMP => PortEdit::QuotedReplyIdentifier,
        _ => PortEdit::QuotedKeep,
    };
    Ok(())
}

/// Edits of the IP header alone.
#[inline(always)]
fn rewrite(packet: &Packet, source: Ipv4, destination: Ipv4) -> Result<Rewrite, Reason> {
    let ttl = packet.next_ttl()?;
    let pseudo = Delta::NONE
        .address_changed(packet.header.source, source)
        .address_changed(packet.header.destination, destination);
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
            source,
            destination,
        },
        source_port: packet.content.source_port,
        destination_port: packet.content.destination_port,
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
        if at + 4 > packet.content.header_length {
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
    if at + 4 > packet.content.header_length {
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
