//! What is to happen with a frame: the packet path's answer, carried out by an executor.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{
    Port, Reason,
    checksum::Delta,
    map::{Counter, Outcome},
    wire::{Arp, Ethernet},
};

/// What is to happen with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None of our business: leave it to the host, unchanged.
    Pass,
    /// Drop it.
    Refuse(Reason),
    /// Replace its first octets by this reply and send it back where it came from.
    Answer(ArpReply),
    /// Edit it and send it on.
    Forward(Forward),
}

impl Verdict {
    /// What to count it as.
    #[inline(always)]
    pub const fn counter(&self) -> Counter {
        match self {
            Self::Pass => Counter::Outcome(Outcome::Passed),
            Self::Refuse(reason) => Counter::Refused(*reason),
            Self::Answer(_) => Counter::Outcome(Outcome::Answered),
            Self::Forward(forward) => Counter::Outcome(match forward.egress {
                Egress::Link { relayed: false, .. } => Outcome::ToLink,
                Egress::Link { relayed: true, .. } => Outcome::Relayed,
                Egress::Lan { .. } => Outcome::ToLan,
            }),
        }
    }
}

/// A whole ARP reply.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ArpReply {
    /// Back to who asked.
    pub ethernet: Ethernet,
    /// The answer.
    pub arp: Arp,
}

/// How a packet goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// What changes in it.
    pub rewrite: Rewrite,
    /// Where it goes.
    pub egress: Egress,
    /// The rule that allowed its flow, if it was judged just now; else 0.
    pub rule: u32,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Into a link, without a link-layer header.
    Link {
        /// Index of the link device.
        interface: u32,
        /// Whether it also came from a link.
        relayed: bool,
    },
    /// Onto the LAN; the neighbour is looked up by the kernel.
    Lan {
        /// Index of the interface.
        interface: u32,
    },
}

impl Egress {
    /// Index of the interface.
    #[inline(always)]
    pub const fn interface(self) -> u32 {
        match self {
            Self::Link { interface, .. } | Self::Lan { interface } => interface,
        }
    }
}

/// The edits that translate a packet. Offsets count from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Offset of the IP header.
    pub ip: u32,
    /// New octets 8 to 19 of the IP header.
    pub header: HeaderTail,
    /// New ports.
    pub ports: PortEdit,
    /// Which checksum covers addresses and ports.
    pub transport: TransportChecksum,
    /// How that checksum changes because of the pseudo-header.
    pub pseudo: Delta,
    /// How it changes because of the transport header itself.
    pub own: Delta,
    /// New maximum segment size.
    pub segment_size: Option<SegmentSizeEdit>,
}

/// The second part of the IPv4 header, all of it that translation changes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct HeaderTail {
    /// Hops left.
    pub ttl: u8,
    /// Unchanged.
    pub protocol: u8,
    /// Checksum of the header.
    pub checksum: [u8; 2],
    /// From whom.
    pub source: [u8; 4],
    /// To whom.
    pub destination: [u8; 4],
}

/// How ports change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortEdit {
    /// Not at all, or there are none.
    Keep,
    /// Both ports, at the start of the transport header.
    Ports {
        /// The sender's.
        source: Port,
        /// The receiver's.
        destination: Port,
    },
    /// The identifier of an ICMP echo message.
    Identifier(Port),
}

/// Which checksum a transport header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportChecksum {
    /// None that covers what changes.
    None,
    /// TCP's.
    Tcp,
    /// UDP's, where zero means none.
    Udp,
    /// ICMP's, without pseudo-header.
    Icmp,
}

/// A lowered maximum segment size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSizeEdit {
    /// Where the two octets stand.
    pub offset: u32,
    /// What they become, as a 16-bit number in network order.
    pub size: Port,
}
