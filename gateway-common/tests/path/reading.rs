//! A packet as one line of text, as the tables of cases state it: what etherparse reads there. Every checksum in
//! it is checked on the way.

use std::net::Ipv4Addr;

use crate::{
    frames::{IP, crc32c, internet_checksum},
    two_sites::seen,
};
use etherparse::{IpNumber, Ipv4HeaderSlice, TcpHeaderSlice, TcpOptionElement};

/// Reads an IP packet. Panics where it is malformed or a checksum in it is wrong.
pub(crate) fn text(packet: &[u8]) -> String {
    let header = Ipv4HeaderSlice::from_slice(packet).expect("a whole IP header").to_header();
    let offset = header.fragment_offset.value() * 8;
    let transport = &packet[IP..usize::from(header.total_len)];
    let is_whole = offset == 0 && !header.more_fragments;
    if header.protocol == IpNumber::ICMP && is_whole && is_error(transport[0]) {
        return error_text(packet, transport);
    }
    let seen = seen(packet);
    let mut text = ends(packet);
    if is_whole {
        text += &details(header.protocol, transport);
        if header.protocol != IpNumber::SCTP {
            text += &payload(&seen.payload);
        }
    } else {
        text += &format!(" frag {offset}{}", if header.more_fragments { "+" } else { "" });
    }
    text
}

/// Protocol, addresses, ports or identifier, and TTL, of a packet that may be cut off behind 28 octets.
fn ends(packet: &[u8]) -> String {
    let header = Ipv4HeaderSlice::from_slice(packet).expect("a whole IP header");
    let transport = &packet[IP..];
    let is_later = header.fragments_offset().value() != 0;
    let number = |at: usize| u16::from_be_bytes([transport[at], transport[at + 1]]);
    let (mut from, mut to, mut identifier) = (String::new(), String::new(), String::new());
    let name = match header.protocol() {
        IpNumber::TCP => "tcp",
        IpNumber::UDP => "udp",
        IpNumber::SCTP => "sctp",
        IpNumber::ICMP if is_later => "icmp",
        IpNumber::ICMP if transport[0] == 8 => "ping",
        IpNumber::ICMP if transport[0] == 0 => "pong",
        IpNumber(number) => &format!("ip/{number}"),
    };
    if !is_later {
        match name {
            "tcp" | "udp" | "sctp" => (from, to) = (port(number(0)), port(number(2))),
            "ping" | "pong" => identifier = format!(" id {}", number(4)),
            _ => {}
        }
    }
    let (source, destination) = (header.source_addr(), header.destination_addr());
    format!("{name} {source}{from} > {destination}{to}{identifier} ttl {}", header.ttl())
}

fn port(number: u16) -> String {
    format!(":{number}")
}

/// What is particular about a transport header.
fn details(protocol: IpNumber, transport: &[u8]) -> String {
    match protocol {
        IpNumber::TCP => {
            let tcp = TcpHeaderSlice::from_slice(transport).expect("a whole TCP header");
            let sizes = tcp.options_iterator().filter_map(|option| match option {
                Ok(TcpOptionElement::MaximumSegmentSize(size)) => Some(format!(" mss {size}")),
                Ok(_) | Err(_) => None,
            });
            sizes.collect()
        }
        IpNumber::UDP if transport[6..8] == [0, 0] => " unsummed".to_owned(),
        IpNumber::SCTP => {
            let mut zeroed = transport.to_vec();
            zeroed[8..12].fill(0);
            assert_eq!(crc32c(&zeroed).to_le_bytes(), transport[8..12], "SCTP checksum");
            String::new()
        }
        _ => String::new(),
    }
}

/// A payload in letters if it has but few of them, else its size.
fn payload(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok("") => String::new(),
        Ok(letters) if letters.len() < 20 && letters.is_ascii() => format!(" '{letters}'"),
        Ok(_) | Err(_) => format!(" {} octets", bytes.len()),
    }
}

/// Whether an ICMP message of this type quotes a packet.
const fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 11 | 12)
}

fn error_text(packet: &[u8], icmp: &[u8]) -> String {
    assert_eq!(internet_checksum(&packet[..IP]), [0, 0], "IP checksum");
    assert_eq!(internet_checksum(icmp), [0, 0], "ICMP checksum");
    let quoted = &icmp[8..];
    assert_eq!(internet_checksum(&quoted[..IP]), [0, 0], "checksum of the quoted header");
    let address =
        |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let (kind, code, ttl) = (icmp[0], icmp[1], packet[8]);
    let mtu = match (kind, code) {
        (3, 4) => format!(" mtu {}", u16::from_be_bytes([icmp[6], icmp[7]])),
        _ => String::new(),
    };
    let (source, destination) = (address(12), address(16));
    format!("icmp {kind}/{code}{mtu} {source} > {destination} ttl {ttl} about {}", ends(quoted))
}

/// The octets of an IP packet that no translation may change; zeros in place of the others.
pub(crate) fn kept(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let header = Ipv4HeaderSlice::from_slice(packet).expect("a whole IP header");
    bytes[8] = 0;
    bytes[10..IP].fill(0);
    if header.fragments_offset().value() != 0 {
        return bytes;
    }
    match header.protocol() {
        IpNumber::TCP => {
            bytes[20..24].fill(0);
            bytes[36..38].fill(0);
            clear_segment_size(&mut bytes[20..]);
        }
        IpNumber::UDP => {
            bytes[20..24].fill(0);
            bytes[26..28].fill(0);
        }
        IpNumber::ICMP if is_error(packet[20]) => {
            bytes[22..24].fill(0);
            bytes[38..48].fill(0);
            match IpNumber(packet[37]) {
                IpNumber::TCP | IpNumber::UDP => bytes[48..52].fill(0),
                IpNumber::ICMP => bytes[52..54].fill(0),
                _ => {}
            }
        }
        IpNumber::ICMP => bytes[22..26].fill(0),
        _ => {}
    }
    bytes
}

/// Clears the segment size that a SYN announces.
fn clear_segment_size(tcp: &mut [u8]) {
    let end = usize::from(tcp[12] >> 4) * 4;
    let mut at = 20;
    while tcp[13] & 2 != 0 && at + 4 <= end {
        match (tcp[at], tcp[at + 1]) {
            (1, _) => at += 1,
            (2, 4) => return tcp[at + 2..at + 4].fill(0),
            (0, _) | (_, 0 | 1) => return,
            (_, length) => at += usize::from(length),
        }
    }
}
