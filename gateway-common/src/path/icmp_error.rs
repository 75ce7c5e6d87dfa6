//! What a sender is told when its packet cannot go on: that it had no hop left, or is too big for the way.
//! Called by `lan` and `link` after such a refusal; all other refusals are silent.
//!
//! The message comes from the address that the sender wrote to, so that no gateway shows itself, and the
//! far side of a link is asked nothing that it would not tell anyway.

use super::Arrival;
use crate::{
    Ipv4, Protocol, Reason,
    checksum::of_words,
    frame::Frame,
    verdict::{ErrorMessage, Tell},
    wire::{IcmpError, IcmpType, Ipv4Header},
};

/// Hops that a message has.
const TTL: u8 = 64;
/// Octets of a packet that a message quotes.
const QUOTED: u32 = Ipv4Header::LENGTH + IcmpError::QUOTED_PAYLOAD;

/// What to tell the sender of the packet at hand, which was refused for `reason`; `mtu` is the largest that
/// would have fitted. `None` if senders are not told this, or not about such a packet (RFC 1122 section
/// 3.2.2): not about an ICMP error, a later fragment, or one from nobody in particular.
#[inline(always)]
pub(super) fn message<F: Frame>(
    frame: &F,
    arrival: Arrival,
    reason: Reason,
    mtu: u32,
) -> Option<Tell> {
    let (icmp_type, code, rest) = match reason {
        Reason::TtlExpired => (IcmpType::TIME_EXCEEDED, 0, 0),
        // RFC 1191 section 4: the MTU stands in the last two octets.
        Reason::TooBig => (IcmpType::UNREACHABLE, IcmpError::FRAGMENTATION_NEEDED, mtu & 0xffff),
        _ => return None,
    };
    let quoted = frame.load::<Ipv4Header>(arrival.ip)?;
    let start = frame.load::<[u32; 2]>(arrival.ip + Ipv4Header::LENGTH)?;
    let [kind, ..] = start[0].to_ne_bytes();
    let is_error = quoted.protocol == Protocol::ICMP.0 && IcmpType(kind).is_error();
    if is_error
        || quoted.version_length != Ipv4Header::WITHOUT_OPTIONS
        || quoted.is_later_fragment()
        || quoted.total() < QUOTED
        || !is_host(quoted.source)
    {
        return None;
    }
    let mut message = ErrorMessage {
        ip: Ipv4Header {
            version_length: Ipv4Header::WITHOUT_OPTIONS,
            traffic_class: 0,
            total_length: (ErrorMessage::LENGTH as u16).to_be_bytes(),
            identification: [0; 2],
            // Not to be fragmented; so its identification means nothing (RFC 6864 section 4.1).
            fragment: [0x40, 0],
            ttl: TTL,
            protocol: Protocol::ICMP.0,
            checksum: [0; 2],
            source: quoted.destination,
            destination: quoted.source,
        },
        icmp_type,
        code,
        checksum: [0; 2],
        rest: rest.to_be(),
        quoted,
        start,
    };
    let words: [u32; 14] = zerocopy::transmute!(message);
    let [a, b, c, d, e, rest @ ..] = words;
    message.ip.checksum = of_words(&[a, b, c, d, e]);
    message.checksum = of_words(&rest);
    Some(Tell { reason, ip: arrival.ip, message })
}

/// Whether an address is that of one host: not multicast, reserved for all, or none.
#[inline(always)]
const fn is_host(address: Ipv4) -> bool {
    let number = address.number();
    number != u32::MAX && number != 0 && number >> 28 != 0xe && number >> 24 != 127
}
