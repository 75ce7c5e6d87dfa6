//! Sniffers: they watch every wire of a namespace and report what must not be there.
//!
//! A packet filter in the kernel lets the traffic that is plainly right go by, so that the reader
//! has next to nothing to read and the socket cannot overflow; whatever else comes is judged by
//! [`judge`], which is pure. That the wires carried traffic at all is shown by the devices' own
//! counters.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::namespace::Namespace;
use super::plan::LINK_PORT;

/// What a wire may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// WireGuard messages, whole or in fragments, empty echoes that probe a path, and ARP; nothing else.
    Underlay,
    /// IPv4 and ARP whose every address is of 10.0.0.0/24, nothing else.
    Lan,
}

/// A sniffer at work.
#[derive(Debug)]
pub struct Sniffer {
    wire: Wire,
    namespace: Namespace,
    packets_before: u64,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<Result<Findings>>>,
}

/// What a sniffer saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Packets the wires carried while the sniffer watched, by the devices' counters.
    pub packets: u64,
    /// How many of them must not be there.
    pub wrong: u64,
    /// What the first of those were.
    pub examples: Vec<String>,
}

const LONGEST_LOOK: usize = 2048;
const EXAMPLES: usize = 10;
const READ_BOUND: Duration = Duration::from_millis(50);
const RECEIVE_BUFFER: usize = 8 << 20;

impl Sniffer {
    /// Begins to watch all wires of a namespace.
    pub fn start(wire: Wire, namespace: &Namespace) -> Result<Self> {
        let socket = namespace.run(|| open(wire))??;
        let stop = Arc::new(AtomicBool::new(false));
        let reader = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || read(wire, socket, &stop)
        });
        let packets_before = namespace.packets()?;
        Ok(Self { wire, namespace: namespace.clone(), packets_before, stop, reader: Some(reader) })
    }

    /// Stops and tells what it saw.
    pub fn finish(mut self) -> Result<Findings> {
        self.stop.store(true, Ordering::Relaxed);
        let reader = self.reader.take().expect("finish is called once");
        let mut findings = reader.join().map_err(|_| anyhow!("the sniffer panicked"))??;
        findings.packets = self.namespace.packets()?.saturating_sub(self.packets_before);
        Ok(findings)
    }

    /// What it watches.
    pub fn wire(&self) -> Wire {
        self.wire
    }
}

impl Findings {
    /// Fails if anything was there that must not be.
    pub fn must_be_clean(&self) -> Result<()> {
        if self.wrong > 0 {
            bail!("{} packets that must not be there: {}", self.wrong, self.examples.join("; "));
        }
        Ok(())
    }

    /// [`Findings::must_be_clean`], which proves something only where there was something to see.
    pub fn must_be_busy_and_clean(&self) -> Result<()> {
        if self.packets == 0 {
            bail!("the wires carried nothing, so that nothing wrong was on them proves nothing");
        }
        self.must_be_clean()
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The WireGuard messages of which a first fragment came: those that came last, each by addresses and
/// identification (RFC 791 section 3.2).
#[derive(Debug, Default)]
pub struct Begun(VecDeque<[u8; 10]>);

impl Begun {
    const MOST: usize = 256;

    fn remember(&mut self, packet: &[u8]) {
        if let Some(key) = Self::key(packet).filter(|key| !self.0.contains(key)) {
            self.0.truncate(Self::MOST - 1);
            self.0.push_front(key);
        }
    }

    fn knows(&self, packet: &[u8]) -> bool {
        Self::key(packet).is_some_and(|key| self.0.contains(&key))
    }

    fn key(packet: &[u8]) -> Option<[u8; 10]> {
        [packet.get(4..6)?, packet.get(12..20)?].concat().try_into().ok()
    }
}

/// Says what is wrong with a frame on a wire, or `None` if it may be there. `begun` is for the frames of
/// one wire, in the order in which they came.
pub fn judge(wire: Wire, begun: &mut Begun, frame: &[u8]) -> Option<String> {
    let wrong = |what: &str| Some(format!("{what}: {}", hex(frame)));
    let Some((ether_type, packet)) = frame.get(12..14).zip(frame.get(14..)) else {
        return wrong("a frame too short for Ethernet");
    };
    match (wire, ether_type) {
        (Wire::Underlay, [0x08, 0x06]) => None,
        (Wire::Underlay, [0x08, 0x00]) if is_wireguard(begun, packet) || is_probe(packet) => None,
        (Wire::Lan, [0x08, 0x06]) => match arp_addresses(packet) {
            Some(addresses) if addresses.iter().all(|it| is_local(*it) || it.is_unspecified()) => {
                None
            }
            Some([sender, target]) => wrong(&format!("ARP from {sender} for {target}")),
            None => wrong("ARP of another shape"),
        },
        (Wire::Lan, [0x08, 0x00]) => match addresses(packet) {
            Some(addresses) if addresses.iter().all(|it| is_local(*it)) => None,
            Some(addresses) => wrong(&format!("IPv4 with {addresses:?}")),
            None => wrong("IPv4 cut short"),
        },
        _ => wrong("neither ARP nor what this wire is for"),
    }
}

fn open(wire: Wire) -> Result<Socket> {
    const ETH_P_ALL: u16 = 0x0003;
    let all = Protocol::from(i32::from(ETH_P_ALL.to_be()));
    // Unbound, it hears every device of the namespace, devices to come included. What it hears
    // before the filter stands is judged like the rest.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all)).context("open a sniffer")?;
    let filter = match wire {
        Wire::Underlay => underlay_filter(),
        Wire::Lan => lan_filter(),
    };
    socket.attach_filter(&filter).context("attach the sniffer's filter")?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER).context("size the sniffer's buffer")?;
    socket.set_read_timeout(Some(READ_BOUND)).context("bound the sniffer's reads")?;
    Ok(socket)
}

fn read(wire: Wire, mut socket: Socket, stop: &AtomicBool) -> Result<Findings> {
    let (mut findings, mut begun) = (Findings::default(), Begun::default());
    let mut frame = [0; LONGEST_LOOK];
    loop {
        match socket.read(&mut frame) {
            Ok(length) => {
                if let Some(what) = judge(wire, &mut begun, &frame[..length]) {
                    findings.wrong += 1;
                    if findings.examples.len() < EXAMPLES {
                        findings.examples.push(what);
                    }
                }
            }
            // What came before the request to stop has been read once a read finds nothing.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) {
                    return Ok(findings);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A device of the namespace went down; the others are still watched.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENETDOWN) => {}
            Err(error) => return Err(error).context("read from the sniffer"),
        }
    }
}

const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD: u16 = 0x20;
const LOAD_X_HEADER_LENGTH: u16 = 0xb1;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_WORD_AT_X: u16 = 0x40;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const LOOK: SockFilter = SockFilter::new(RETURN, 0, 0, 0x0004_0000);
const GO_BY: SockFilter = SockFilter::new(RETURN, 0, 0, 0);

const fn op(code: u16, if_true: u8, if_false: u8, operand: u32) -> SockFilter {
    SockFilter::new(code, if_true, if_false, operand)
}

/// Lets WireGuard's transport data go by: UDP, no fragment, a port of ours, message type 4.
fn underlay_filter() -> Vec<SockFilter> {
    let port = u32::from(LINK_PORT);
    vec![
        op(LOAD_HALF, 0, 0, 12),
        op(JUMP_EQUAL, 0, 12, 0x0800),
        op(LOAD_BYTE, 0, 0, 23),
        op(JUMP_EQUAL, 0, 10, 17),
        op(LOAD_HALF, 0, 0, 20),
        op(JUMP_SET, 8, 0, 0x3fff),
        op(LOAD_X_HEADER_LENGTH, 0, 0, 14),
        op(LOAD_HALF_AT_X, 0, 0, 14),
        op(JUMP_EQUAL, 2, 0, port),
        op(LOAD_HALF_AT_X, 0, 0, 16),
        op(JUMP_EQUAL, 0, 3, port),
        op(LOAD_WORD_AT_X, 0, 0, 22),
        op(JUMP_EQUAL, 0, 1, 0x0400_0000),
        GO_BY,
        LOOK,
    ]
}

/// Lets TCP and UDP between two addresses of 10.0.0.0/24 go by.
fn lan_filter() -> Vec<SockFilter> {
    const MASK: u32 = 0xffff_ff00;
    const NETWORK: u32 = 0x0a00_0000;
    vec![
        op(LOAD_HALF, 0, 0, 12),
        op(JUMP_EQUAL, 0, 10, 0x0800),
        op(LOAD_BYTE, 0, 0, 23),
        op(JUMP_EQUAL, 1, 0, 6),
        op(JUMP_EQUAL, 0, 7, 17),
        op(LOAD_WORD, 0, 0, 26),
        op(AND, 0, 0, MASK),
        op(JUMP_EQUAL, 0, 4, NETWORK),
        op(LOAD_WORD, 0, 0, 30),
        op(AND, 0, 0, MASK),
        op(JUMP_EQUAL, 0, 1, NETWORK),
        GO_BY,
        LOOK,
    ]
}

/// A message of WireGuard, or a fragment of one: packets that are larger than the link's MTU cross it
/// all the same, and what they are encrypted into is larger than the underlay's.
fn is_wireguard(begun: &mut Begun, packet: &[u8]) -> bool {
    match fragment(packet) {
        Some(Fragment { offset: 0, more }) => {
            let is_message = payload(packet, 17).is_some_and(is_message);
            if is_message && more {
                begun.remember(packet);
            }
            is_message
        }
        Some(_) => begun.knows(packet),
        None => false,
    }
}

fn is_message(udp: &[u8]) -> bool {
    let port = |at: usize| udp.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let ours = port(0) == Some(LINK_PORT) || port(2) == Some(LINK_PORT);
    // A message is a type of 1 to 4 and three zero bytes, then the rest: WireGuard paper, 5.4.
    ours && matches!(udp.get(8..12), Some([1..=4, 0, 0, 0]))
}

/// An echo or its answer of which nothing is filled but a number to know it by.
fn is_probe(packet: &[u8]) -> bool {
    let Some(icmp) = transport(packet, 1) else { return false };
    let echo = matches!(icmp.first(), Some(0 | 8));
    echo && icmp.get(16..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
}

/// What follows the header of an unfragmented IPv4 packet of this protocol.
fn transport(packet: &[u8], protocol: u8) -> Option<&[u8]> {
    match fragment(packet)? {
        Fragment { offset: 0, more: false } => payload(packet, protocol),
        _ => None,
    }
}

/// What follows the header of an IPv4 packet of this protocol.
fn payload(packet: &[u8], protocol: u8) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    (*packet.get(9)? == protocol).then(|| packet.get(header..))?
}

/// Which part of a datagram a packet is.
struct Fragment {
    offset: u16,
    more: bool,
}

fn fragment(packet: &[u8]) -> Option<Fragment> {
    let word = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
    Some(Fragment { offset: word & 0x1fff, more: word & 0x2000 != 0 })
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

fn arp_addresses(packet: &[u8]) -> Option<[Ipv4Addr; 2]> {
    Some([address_at(packet, 14)?, address_at(packet, 24)?])
}

/// The addresses of a packet and, of an ICMP error, those of the packet it quotes.
fn addresses(packet: &[u8]) -> Option<Vec<Ipv4Addr>> {
    const ERRORS: [u8; 4] = [3, 4, 11, 12];
    const QUOTE: usize = 8;
    let mut found = vec![address_at(packet, 12)?, address_at(packet, 16)?];
    if let Some(icmp) = transport(packet, 1)
        && ERRORS.contains(icmp.first()?)
    {
        let quoted = icmp.get(QUOTE..)?;
        found.extend([address_at(quoted, 12)?, address_at(quoted, 16)?]);
    }
    Some(found)
}

fn is_local(address: Ipv4Addr) -> bool {
    address.octets()[..3] == [10, 0, 0]
}

fn hex(frame: &[u8]) -> String {
    const SHOWN: usize = 64;
    frame.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(protocol: u8, source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        packet.extend(source);
        packet.extend(destination);
        packet.extend(payload);
        packet
    }

    fn frame(ether_type: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(ether_type.to_be_bytes());
        frame.extend(packet);
        frame
    }

    fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    fn judge(wire: Wire, frame: &[u8]) -> Option<String> {
        super::judge(wire, &mut Begun::default(), frame)
    }

    const HERE: [u8; 4] = [10, 0, 0, 5];
    const THERE: [u8; 4] = [10, 0, 0, 200];
    const TRANSIT: [u8; 4] = [240, 0, 16, 5];

    #[test]
    fn the_underlay_carries_wireguard_messages_only() {
        let link = |payload: &[u8]| frame(0x0800, &ipv4(17, HERE, THERE, &udp(9, 51820, payload)));
        for kind in 1..=4 {
            assert_eq!(judge(Wire::Underlay, &link(&[kind, 0, 0, 0])), None);
        }
        assert!(judge(Wire::Underlay, &link(&[5, 0, 0, 0])).is_some());
        assert!(judge(Wire::Underlay, &link(b"GET / HTTP/1.0")).is_some());
        let other_port = udp(9, 53, &[4, 0, 0, 0]);
        assert!(
            judge(Wire::Underlay, &frame(0x0800, &ipv4(17, HERE, THERE, &other_port))).is_some()
        );
        assert!(judge(Wire::Underlay, &frame(0x0800, &ipv4(6, HERE, THERE, &[0; 20]))).is_some());
        let probe = [&[8, 0, 1, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9][..], &[0; 40]].concat();
        let icmp = |bytes: &[u8]| frame(0x0800, &ipv4(1, HERE, THERE, bytes));
        assert_eq!(judge(Wire::Underlay, &icmp(&probe)), None);
        assert!(judge(Wire::Underlay, &icmp(&[probe, vec![7]].concat())).is_some());
        assert!(judge(Wire::Underlay, &icmp(&[3, 4, 0, 0, 0, 0, 0, 0])).is_some());
        assert!(judge(Wire::Underlay, &frame(0x86dd, &[0; 40])).is_some());
        assert!(judge(Wire::Underlay, &[0; 5]).is_some());
    }

    #[test]
    fn a_later_fragment_is_of_a_message_whose_first_one_came() {
        let part = |number: u8, place: [u8; 2], payload: &[u8]| {
            let mut packet = ipv4(17, HERE, THERE, payload);
            packet[5] = number;
            packet[6..8].copy_from_slice(&place);
            frame(0x0800, &packet)
        };
        let mut begun = Begun::default();
        let mut judge = |frame: &[u8]| super::judge(Wire::Underlay, &mut begun, frame);
        let message = udp(9, 51820, &[4, 0, 0, 0]);
        assert!(judge(&part(1, [0, 185], b"the rest")).is_some());
        assert_eq!(judge(&part(1, [0x20, 0], &message)), None);
        assert_eq!(judge(&part(1, [0, 185], b"the rest")), None);
        assert!(judge(&part(2, [0, 185], b"the rest")).is_some());
        assert!(judge(&part(2, [0x20, 0], b"GET / HTTP/1.0")).is_some());
        assert!(judge(&part(2, [0, 185], b"the rest")).is_some());
    }

    #[test]
    fn a_lan_carries_its_own_addresses_only() {
        let tcp = |source, destination| frame(0x0800, &ipv4(6, source, destination, &[0; 20]));
        assert_eq!(judge(Wire::Lan, &tcp(HERE, THERE)), None);
        assert!(judge(Wire::Lan, &tcp(TRANSIT, THERE)).is_some());
        assert!(judge(Wire::Lan, &tcp(HERE, [192, 0, 2, 1])).is_some());
        assert!(judge(Wire::Lan, &frame(0x86dd, &[0; 40])).is_some());
    }

    #[test]
    fn an_icmp_error_may_not_quote_a_foreign_address() {
        let error = |quoted: &[u8]| {
            let icmp = [&[3, 4, 0, 0, 0, 0, 0, 0], quoted].concat();
            frame(0x0800, &ipv4(1, THERE, HERE, &icmp))
        };
        assert_eq!(judge(Wire::Lan, &error(&ipv4(6, HERE, THERE, &[0; 8]))), None);
        assert!(judge(Wire::Lan, &error(&ipv4(6, TRANSIT, THERE, &[0; 8]))).is_some());
    }

    #[test]
    fn arp_may_not_ask_for_a_foreign_address() {
        let arp = |sender: [u8; 4], target: [u8; 4]| {
            let mut packet = vec![0; 28];
            packet[14..18].copy_from_slice(&sender);
            packet[24..28].copy_from_slice(&target);
            frame(0x0806, &packet)
        };
        assert_eq!(judge(Wire::Lan, &arp(HERE, THERE)), None);
        assert_eq!(judge(Wire::Lan, &arp([0; 4], THERE)), None);
        assert!(judge(Wire::Lan, &arp(HERE, TRANSIT)).is_some());
        assert_eq!(judge(Wire::Underlay, &arp(HERE, THERE)), None);
    }
}
