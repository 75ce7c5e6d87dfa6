//! Frames for `path_kernel`: mostly traffic as the bench's site sees it, partly damaged. A function of
//! the seed and of what became of the frames before.

use std::net::Ipv4Addr;

use gateway_common::{
    Protocol,
    verdict::{Verdict, Way},
    wire::TcpFlags,
};
use gateway_dataplane::{PacketDescription, Part, TransportDescription};

use crate::bench::{Devices, MAC};

/// Which programs a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Lan = 0,
    Link = 1,
}

/// A frame about to come in.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) side: Side,
    pub(crate) device: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Numbers that look random (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 33) as usize) % end
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// True `percent` times out of a hundred.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 40) as u8
    }
}

/// The generator.
pub(crate) struct Traffic {
    devices: Devices,
    random: Random,
    /// Frames that were forwarded lately, as they came out, with the device they came out of.
    forwarded: Vec<(Side, u32, Vec<u8>)>,
    /// Frames that came in lately, to come again with other control bits.
    lately: Vec<Frame>,
    /// Fragments that are to come soon.
    trains: Vec<Frame>,
    /// The number of the last datagram in fragments.
    number: u16,
}

/// How many frames are remembered of each kind.
const REMEMBERED: usize = 512;
const ETHERNET: usize = 14;
const TCP: usize = 34;
/// The kernel runs nothing on a frame that ends with its Ethernet header.
const SHORTEST: usize = ETHERNET + 1;

impl Traffic {
    pub(crate) fn new(devices: Devices, random: Random) -> Self {
        Self {
            devices,
            random,
            forwarded: Vec::new(),
            lately: Vec::new(),
            trains: Vec::new(),
            number: 0,
        }
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Frame {
        let mut frame = match self.random.below(100) {
            0..20 => self.client(),
            20..24 => self.arp(),
            24..47 => self.remote(),
            47..52 => self.relayed(),
            52..71 => self.reply(),
            71..77 => self.error(),
            77..83 => self.again(),
            83..95 => self.fragment(),
            _ => self.noise(),
        };
        if self.random.chance(20) {
            self.damage(&mut frame.bytes);
        }
        frame
    }

    /// Takes note of what became of a frame.
    pub(crate) fn saw(&mut self, frame: &Frame, verdict: &Verdict, after: &[u8]) {
        // A fragment that came again much later would be taken as in time or not by the hundredth of a
        // second.
        let is_fragment =
            frame.bytes.len() > 21 && (frame.bytes[20] & 0x3f, frame.bytes[21]) != (0, 0);
        if let (Verdict::Forward(forward), false) = (verdict, is_fragment) {
            // Onto the LAN, answers come by the LAN; into a link, by that link.
            let side = match forward.egress.way {
                Way::Lan | Way::Neighbour | Way::Host => Side::Lan,
                Way::Link | Way::Relay => Side::Link,
            };
            let entry = (side, forward.egress.interface, after.to_vec());
            remember(&mut self.random, &mut self.forwarded, entry);
            remember(&mut self.random, &mut self.lately, frame.clone());
        }
    }

    /// A host of the site to a presence.
    fn client(&mut self) -> Frame {
        let random = &mut self.random;
        let second = random.chance(30);
        let host = [1, 2, 3, 4, 5, 6, 70, 130, 131, 254];
        let source = match random.below(40) {
            0 => [10, 0, 0, 200],
            1 => [10, 9, 9, 9],
            2 => [240, 0, 16, 5],
            _ => [10, 0, u8::from(second), random.of(&host)],
        };
        let destination = match random.below(40) {
            0 => [10, 0, 0, 202],
            1 => [10, 0, 0, 250],
            2 => [240, 0, 8, 1],
            3 => [192, 0, 2, 1],
            4..16 => [10, 0, 0, 201],
            _ => [10, 0, 0, 200],
        };
        let right = if second { self.devices.second_lan } else { self.devices.lan };
        let wrong = if second { self.devices.lan } else { self.devices.second_lan };
        let device = if self.random.chance(97) { right } else { wrong };
        let bytes = self.packet(source, destination);
        Frame { side: Side::Lan, device, bytes }
    }

    /// A client of another site to a service of this one.
    fn remote(&mut self) -> Frame {
        let random = &mut self.random;
        let third = random.of(&[0, 0, 0, 32, 32, 48, 16, 99]);
        let source = match random.below(40) {
            0 => [10, 0, 0, 5],
            _ => [240, 0, third, random.of(&[1, 2, 3, 4, 5, 100, 127, 128, 200])],
        };
        let destination = match random.below(40) {
            0 => [240, 0, 24, 9],
            1 => [240, 0, 16, 5],
            2 => [10, 0, 0, 10],
            3 => [240, 0, 200, 1],
            4..16 => [240, 0, 24, 2],
            _ => [240, 0, 24, 1],
        };
        let device = self.link_of(third);
        let bytes = self.packet(source, destination);
        Frame { side: Side::Link, device, bytes }
    }

    /// From one other site to another.
    fn relayed(&mut self) -> Frame {
        let from = self.random.of(&[0, 32, 48]);
        let to = self.random.of(&[8, 40, 56, 0, 32]);
        let device = self.link_of(from);
        let bytes = self.packet([240, 0, from, 7], [240, 0, to, 1]);
        Frame { side: Side::Link, device, bytes }
    }

    /// The link by which a site is reached, mostly.
    fn link_of(&mut self, third: u8) -> u32 {
        let right = if third < 16 { self.devices.link } else { self.devices.second_link };
        let any = [self.devices.link, self.devices.second_link, self.devices.lan];
        if self.random.chance(97) { right } else { self.random.of(&any) }
    }

    /// An answer to something that was forwarded.
    fn reply(&mut self) -> Frame {
        if self.forwarded.is_empty() {
            return self.client();
        }
        let (side, device, mut bytes) =
            self.forwarded[self.random.below(self.forwarded.len())].clone();
        bytes[..6].copy_from_slice(&MAC);
        for offset in 0..4 {
            bytes.swap(26 + offset, 30 + offset);
        }
        bytes[22] = 64;
        match bytes[23] {
            6 | 17 => {
                for offset in 0..2 {
                    bytes.swap(TCP + offset, TCP + 2 + offset);
                }
                if bytes[23] == 6 {
                    let flags = bytes[47];
                    let random = &mut self.random;
                    bytes[47] = match flags {
                        TcpFlags::SYN => random.of(&[0x12, 0x12, 0x12, 0x14, 0x10]),
                        _ => random.of(&[0x10, 0x18, 0x11, 0x10, 0x14, 0x12]),
                    };
                }
            }
            1 => bytes[TCP] ^= 8,
            _ => {}
        }
        Frame { side, device, bytes }
    }

    /// An ICMP error about a frame that was forwarded, from its receiver or a router before it.
    fn error(&mut self) -> Frame {
        let long_enough = |(_, _, bytes): &&(Side, u32, Vec<u8>)| bytes.len() >= TCP + 8;
        let about: Vec<_> = self.forwarded.iter().filter(long_enough).cloned().collect();
        if about.is_empty() {
            return self.client();
        }
        let random = &mut self.random;
        let (side, device, quoted) = about[random.below(about.len())].clone();
        let mut bytes = MAC.to_vec();
        bytes.extend(&quoted[6..ETHERNET]);
        bytes.extend([0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0]);
        let from = if random.chance(80) { &quoted[30..34] } else { &[10, 0, 0, 254] };
        bytes.extend(from);
        bytes.extend(&quoted[26..30]);
        bytes.extend([random.of(&[3, 3, 11, 12, 5]), random.of(&[0, 1, 3, 4]), 0, 0]);
        bytes.extend([0, 0, 5, 120]);
        bytes.extend(&quoted[ETHERNET..TCP + 8]);
        Frame { side, device, bytes }
    }

    /// Something that came before, with other control bits.
    fn again(&mut self) -> Frame {
        if self.lately.is_empty() {
            return self.remote();
        }
        let mut frame = self.lately[self.random.below(self.lately.len())].clone();
        if frame.bytes[23] == 6 {
            let flags = [0x10, 0x18, 0x11, 0x02, 0x14, 0x04, 0x19];
            frame.bytes[47] = self.random.of(&flags);
        }
        frame
    }

    /// A fragment of one of a few datagrams at a time: mostly the next one, now and then another, a
    /// missing or a doubled one.
    fn fragment(&mut self) -> Frame {
        if self.trains.is_empty() || (self.trains.len() < 60 && self.random.chance(10)) {
            self.train();
        }
        if self.trains.is_empty() {
            return self.client();
        }
        let next = if self.random.chance(80) { 0 } else { self.random.below(self.trains.len()) };
        if self.random.chance(3) {
            return self.trains[next].clone();
        }
        let frame = self.trains.remove(next);
        if self.random.chance(3) && !self.trains.is_empty() {
            // Lost on the way here.
            return self.trains.remove(0);
        }
        frame
    }

    /// Cuts a packet into fragments that are to come.
    fn train(&mut self) {
        let whole = match self.random.below(20) {
            0..8 => self.client(),
            8..14 => self.remote(),
            14..18 => self.reply(),
            18 => self.relayed(),
            _ => self.error(),
        };
        let length = whole.bytes.len().saturating_sub(TCP);
        if length <= 8 || whole.bytes[14] != 0x45 {
            return;
        }
        self.number = self.number.wrapping_add(1);
        let most = if self.random.chance(15) { 40 } else { 5 };
        let mut start = 0;
        let mut train = Vec::new();
        while start < length {
            let left = (length - start).div_ceil(8);
            let units = 1 + self.random.below((2 * left).div_ceil(most).max(3)).min(left - 1);
            let first = if start == 0 { 8 * self.random.of(&[1, 3, 3, 4, 20]) } else { 0 };
            let end = (start + (8 * units).max(first)).min(length);
            // Overlapping the one before by a unit, now and then.
            let start_here = if start > 0 && self.random.chance(2) { start - 8 } else { start };
            train.push(self.cut(&whole, start_here, end, end < length));
            start = end;
        }
        if most > 5 {
            for place in 1..train.len() {
                let other = 1 + self.random.below(train.len() - 1);
                train.swap(place, other);
            }
        }
        self.trains.extend(train);
    }

    fn cut(&self, whole: &Frame, start: usize, end: usize, more: bool) -> Frame {
        let mut bytes = whole.bytes[..TCP].to_vec();
        bytes.extend(&whole.bytes[TCP + start..TCP + end]);
        let fragment = (start / 8) as u16 | if more { 0x2000 } else { 0 };
        bytes[16..18].copy_from_slice(&((20 + end - start) as u16).to_be_bytes());
        bytes[18..20].copy_from_slice(&self.number.to_be_bytes());
        bytes[20..22].copy_from_slice(&fragment.to_be_bytes());
        Frame { bytes, ..whole.clone() }
    }

    /// A question or an answer about who has an address.
    fn arp(&mut self) -> Frame {
        let random = &mut self.random;
        let mut bytes = vec![0xff; 6];
        bytes.extend([2, 0, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0]);
        bytes.push(random.of(&[1, 1, 1, 1, 1, 2, 3]));
        bytes.extend([2, 0, 0, 0, 0, 7, 10, 0, 0, 5, 0, 0, 0, 0, 0, 0]);
        let last = random.of(&[200, 200, 201, 250, 202, 1]);
        bytes.extend([10, 0, random.of(&[0, 0, 0, 0, 1]), last]);
        bytes.extend([0; 18]);
        let device = random.of(&[self.devices.lan, self.devices.second_lan]);
        Frame { side: Side::Lan, device, bytes }
    }

    fn noise(&mut self) -> Frame {
        let length = SHORTEST + self.random.below(120);
        let mut bytes: Vec<u8> = (0..length).map(|_| self.random.byte()).collect();
        if self.random.chance(70) {
            bytes[..6].copy_from_slice(&MAC);
            bytes[12..14].copy_from_slice(&[8, 0]);
        }
        let side = self.random.of(&[Side::Lan, Side::Link]);
        let devices = self.devices;
        let device = match side {
            Side::Lan => self.random.of(&[devices.lan, devices.second_lan]),
            Side::Link => self.random.of(&[devices.link, devices.second_link]),
        };
        Frame { side, device, bytes }
    }

    /// A packet that opens something, mostly.
    fn packet(&mut self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let random = &mut self.random;
        let from = 40_000 + random.below(60) as u16;
        let port = [5672, 5672, 80, 80, 8000, 8015, 8016, 443, 53];
        let transport = match random.below(20) {
            0..9 => {
                let flags = random.of(&[2, 2, 2, 2, 2, 0xc2, 0x10, 0x18, 0x12, 0x04, 0x06, 0]);
                let flags = TcpFlags(flags);
                TransportDescription::Tcp { source: from, destination: random.of(&port), flags }
            }
            9..14 => TransportDescription::Udp { source: from, destination: random.of(&port) },
            14..17 => TransportDescription::EchoRequest { identifier: from },
            17 => TransportDescription::EchoReply { identifier: from },
            18 => TransportDescription::Sctp {
                source: 40_000 + (from & 3),
                destination: random.of(&[3868, 3868, 3868, 3869]),
                opens: !random.chance(30),
            },
            _ => TransportDescription::Other(Protocol(47)),
        };
        let description = PacketDescription {
            source: Ipv4Addr::from(source),
            destination: Ipv4Addr::from(destination),
            ttl: random.of(&[64, 64, 64, 64, 255, 2, 1, 0]),
            part: Part::default(),
            transport,
            payload: random.of(&[0, 1, 8, 13, 100, 512, 1400]),
        };
        let mut bytes = description.frame().expect("it fits");
        bytes[..6].copy_from_slice(&MAC);
        bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        if let TransportDescription::Tcp { flags: TcpFlags(flags), .. } = transport
            && flags & TcpFlags::SYN != 0
        {
            self.add_options(&mut bytes);
        }
        if bytes[23] == 17 && self.random.chance(20) {
            // No checksum.
            bytes[40..42].copy_from_slice(&[0, 0]);
        }
        bytes
    }

    /// Options behind the TCP header, with the segment size in all kinds of places.
    fn add_options(&mut self, bytes: &mut Vec<u8>) {
        const OPTIONS: [&[u8]; 10] = [
            &[],
            &[2, 4, 5, 0xb4],
            &[2, 4, 5, 0xb4, 1, 1, 4, 2],
            &[1, 2, 4, 5, 0xb4, 0, 0, 0],
            &[4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 0xff, 0xff],
            &[1, 1, 1, 2, 4, 2, 0, 0],
            &[3, 3, 7, 2, 4, 5, 0xb4, 0],
            &[2, 0, 5, 0xb4],
            &[254, 200, 2, 4],
            &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 5, 0xb4],
        ];
        let options = self.random.of(&OPTIONS);
        let total = u16::from_be_bytes([bytes[16], bytes[17]]) + options.len() as u16;
        bytes[16..18].copy_from_slice(&total.to_be_bytes());
        bytes[46] = (5 + options.len() as u8 / 4) << 4;
        bytes.splice(TCP + 20..TCP + 20, options.iter().copied());
    }

    /// Something that no sender meant.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let random = &mut self.random;
        let at = |bytes: &Vec<u8>, offset: usize| offset.min(bytes.len() - 1);
        match random.below(12) {
            0..4 => {
                let length = SHORTEST + random.below(bytes.len() - SHORTEST + 1);
                bytes.truncate(length);
            }
            4 => bytes.extend((0..random.below(40)).map(|number| number as u8)),
            5..7 => {
                // The headers, where a change matters most.
                let offset = at(bytes, random.below(60));
                bytes[offset] = random.byte();
            }
            7 => {
                let offset = random.below(bytes.len());
                bytes[offset] ^= 1 << random.below(8);
            }
            8 => {
                // Version, length, fragment and time to live, at their borders.
                let (offset, value) = random.of(&[
                    (14, 0x46),
                    (14, 0x4f),
                    (14, 0x44),
                    (14, 0x65),
                    (16, 0),
                    (16, 0xff),
                    (17, 19),
                    (17, 20),
                    (17, 27),
                    (20, 0x20),
                    (20, 0x00),
                    (20, 0x80),
                    (21, 1),
                    (22, 1),
                ]);
                let offset = at(bytes, offset);
                bytes[offset] = value;
            }
            9 => {
                let (offset, value) = random.of(&[
                    (46, 0x40),
                    (46, 0x50),
                    (46, 0x60),
                    (46, 0xf0),
                    (38, 0),
                    (38, 0xff),
                    (39, 7),
                    (35, 1),
                    (34, 3),
                    (47, 0),
                    (47, 3),
                ]);
                let offset = at(bytes, offset);
                bytes[offset] = value;
            }
            10 => {
                let receiver = random.of(&[[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0, 2]]);
                bytes[..6].copy_from_slice(&receiver);
            }
            _ => {
                let ether_type = random.of(&[[0x86, 0xdd], [0x81, 0], [8, 6], [0, 46], [8, 0]]);
                bytes[12..14].copy_from_slice(&ether_type);
            }
        }
    }
}

fn remember<T>(random: &mut Random, all: &mut Vec<T>, one: T) {
    if all.len() < REMEMBERED {
        all.push(one);
    } else {
        let place = random.below(REMEMBERED);
        all[place] = one;
    }
}
