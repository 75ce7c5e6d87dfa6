//! Frames that etherparse does not build: fragments, ICMP errors, SCTP, headers changed afterwards. Used by all
//! tests of the path; checksums are computed the plain way, apart from the code under test.

use crate::two_sites::{GATEWAY_MAC, HOST_MAC};

/// Octets of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// Octets of an IP header without options.
pub(crate) const IP: usize = 20;

/// RFC 1071, the plain way; zero over octets that hold their own right checksum.
pub(crate) fn internet_checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(word(pair))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Makes the checksum of the IP header at the start of `packet` right.
fn sum_header(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = internet_checksum(&packet[..IP]);
    packet[10..12].copy_from_slice(&sum);
}

/// A frame with other octets from offset `at` of its IP header on, and the header's checksum right again.
pub(crate) fn with(mut frame: Vec<u8>, at: usize, octets: &[u8]) -> Vec<u8> {
    let packet = &mut frame[ETHERNET..];
    packet[at..at + octets.len()].copy_from_slice(octets);
    sum_header(packet);
    frame
}

/// A frame with so many hops left.
pub(crate) fn with_ttl(frame: Vec<u8>, ttl: u8) -> Vec<u8> {
    with(frame, 8, &[ttl])
}

/// A frame that may be fragmented.
pub(crate) fn without_df(frame: Vec<u8>) -> Vec<u8> {
    with(frame, 6, &[0, 0])
}

/// An IP packet's part of its payload from `start` to `end`, under a number of its sender's. What the payload
/// does not have is zeros.
pub(crate) fn part(packet: &[u8], number: u16, start: usize, end: usize, more: bool) -> Vec<u8> {
    let mut bytes = packet[..IP].to_vec();
    let payload = packet[IP..].iter().copied().chain(std::iter::repeat(0));
    bytes.extend(payload.skip(start).take(end - start));
    let total = (IP + end - start) as u16;
    let fragment = (start / 8) as u16 | if more { 0x2000 } else { 0 };
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes[4..6].copy_from_slice(&number.to_be_bytes());
    bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
    sum_header(&mut bytes);
    bytes
}

/// An ICMP error from `from` to the sender of the IP packet `about`, which it quotes with eight octets of
/// its payload. It names an MTU of 1400.
pub(crate) fn error(from: [u8; 4], kind: u8, code: u8, about: &[u8]) -> Vec<u8> {
    let to: [u8; 4] = about[12..16].try_into().expect("four octets");
    let mut icmp = vec![kind, code, 0, 0, 0, 0, 5, 120];
    icmp.extend(&about[..28]);
    let sum = internet_checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2(HOST_MAC, GATEWAY_MAC)
        .ipv4(from, to, 64)
        .write(&mut bytes, etherparse::IpNumber::ICMP, &icmp)
        .expect("writing to memory");
    bytes
}

/// An SCTP packet with one chunk of this kind (RFC 9260).
pub(crate) fn sctp(from: u16, to: u16, tag: u32, chunk: u8) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend(tag.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([chunk, 0, 0, 20]);
    bytes.extend([7; 16]);
    let sum = crc32c(&bytes);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The checksum of SCTP, bit by bit (RFC 9260 appendix A).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[test]
fn the_checksum_of_sctp_is_the_standard_one() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
