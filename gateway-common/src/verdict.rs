//! What is to happen with a frame: the packet path's answer, carried out by an executor.
//!
//! What an executor in the kernel gets is flat: every field is set in every case. A variant without a
//! payload would leave registers undefined that the compiler may still store, which the verifier takes
//! for a read of a register never written.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    Ipv4, Port, Reason,
    checksum::Delta,
    map::{Counter, Outcome},
    wire::{Arp, Ethernet, IcmpType, Ipv4Header},
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
    /// Drop it for this reason and send its sender this message.
    Tell(Tell),
    /// Edit it and send it on.
    Forward(Forward),
}

impl Verdict {
    /// What to count it as.
    #[inline(always)]
    pub const fn counter(&self) -> Counter {
        match self {
            Self::Pass => Counter::Outcome(Outcome::Passed),
            Self::Refuse(reason) | Self::Tell(Tell { reason, .. }) => Counter::Refused(*reason),
            Self::Answer(_) => Counter::Outcome(Outcome::Answered),
            Self::Forward(forward) => forward.counter(),
        }
    }
}

/// A whole ARP reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(2))]
pub struct ArpReply {
    /// Back to who asked.
    pub ethernet: Ethernet,
    /// The answer.
    pub arp: Arp,
}

/// A refusal of which the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tell {
    /// Why the packet is refused.
    pub reason: Reason,
    /// Offset of its IP header in the frame.
    pub ip: u32,
    /// What takes its place there.
    pub message: ErrorMessage,
}

/// A whole ICMP error with its IP header, in place of the packet that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct ErrorMessage {
    /// From the address that the packet was sent to, to its sender.
    pub ip: Ipv4Header,
    /// What kind of error.
    pub icmp_type: IcmpType,
    /// Which of the kind.
    pub code: u8,
    /// Checksum from the type on.
    pub checksum: [u8; 2],
    /// The MTU of the way, or zero; a 32-bit number in network order.
    pub rest: u32,
    /// The header of the packet.
    pub quoted: Ipv4Header,
    /// The first octets of its payload.
    pub start: [u32; 2],
}

impl ErrorMessage {
    /// Its octets.
    pub const LENGTH: u32 = size_of::<Self>() as u32;
}

/// Carries out what the packet path decides. Each call ends the handling of one frame.
pub trait Executor {
    /// What the hook returns.
    type Action;

    /// Leaves the frame to the host.
    fn pass(&self) -> Self::Action;
    /// Drops it.
    fn refuse(&self, reason: Reason) -> Self::Action;
    /// Sends a reply in its place.
    fn answer(&self, reply: &ArpReply) -> Self::Action;
    /// Drops it and sends its sender this message.
    fn tell(&self, tell: &Tell) -> Self::Action;
    /// Edits it and sends it on.
    fn forward(&self, forward: &Forward) -> Self::Action;
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

impl Forward {
    /// What to count it as.
    #[inline(always)]
    pub const fn counter(&self) -> Counter {
        Counter::Outcome(match self.egress.way {
            Way::Link => Outcome::ToLink,
            Way::Relay => Outcome::Relayed,
            Way::Lan | Way::Neighbour | Way::Host => Outcome::ToLan,
        })
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Egress {
    /// Index of the interface.
    pub interface: u32,
    /// What kind of way it is.
    pub way: Way,
}

/// Hardware address of both ends of the veth pair between the programs and the gateway host. With the same
/// at both ends, and no ARP on the pair, neither end has to be told the other's.
pub const HOST_LINK_ADDRESS: [u8; 6] = [0x02, 0x70, 0x72, 0x65, 0x73, 0x30];

/// A way out of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Way {
    /// Into a link, without a link-layer header.
    Link,
    /// Into a link, having come from one.
    Relay,
    /// Onto the LAN; the kernel looks up route and neighbour.
    Lan,
    /// Onto the LAN to a host on the interface's own network; the kernel looks up the neighbour.
    Neighbour,
    /// To the gateway host itself.
    Host,
}

/// The edits that translate a packet. Offsets count from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Offset of the IP header.
    pub ip: u32,
    /// New octets 8 to 19 of the IP header.
    pub header: HeaderTail,
    /// The sender's port from now on.
    pub source_port: Port,
    /// The receiver's port from now on.
    pub destination_port: Port,
    /// Where these are written.
    pub ports: PortEdit,
    /// The header checksum of a quoted packet from now on.
    pub quote_checksum: Port,
    /// How the checksum that covers addresses and ports is changed.
    pub checksum: ChecksumEdit,
    /// Where it stands.
    pub checksum_offset: u32,
    /// What a finished checksum becomes.
    pub new_checksum: Port,
    /// How it changes because of the pseudo-header, for a helper.
    pub pseudo: Delta,
    /// How it changes because of the transport header itself, for a helper.
    pub own: Delta,
    /// New maximum segment size of a SYN.
    pub segment_size: SegmentSizeEdit,
}

/// The second part of the IPv4 header, all of it that translation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct HeaderTail {
    /// Hops left.
    pub ttl: u8,
    /// Unchanged.
    pub protocol: u8,
    /// Checksum of the header.
    pub checksum: [u8; 2],
    /// From whom.
    pub source: Ipv4,
    /// To whom.
    pub destination: Ipv4,
}

/// Which octets of the transport header ports are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
pub enum PortEdit {
    /// None: nothing changes, or there are no ports.
    Keep,
    /// Both ports, at the start of the header.
    Both,
    /// The identifier of an ICMP echo request, from the source port.
    RequestIdentifier,
    /// The identifier of an ICMP echo reply, from the destination port.
    ReplyIdentifier,
    /// None; the addresses of the packet that an ICMP error quotes change, the other way round.
    QuotedKeep,
    /// Likewise, and both its ports: its source port from the destination port.
    QuotedBoth,
    /// Likewise, and the identifier of the quoted echo request, from the destination port.
    QuotedRequestIdentifier,
    /// Likewise, and the identifier of the quoted echo reply, from the source port.
    QuotedReplyIdentifier,
}

/// How a transport checksum is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumEdit {
    /// Not at all: there is none, or UDP's zero, which means none.
    Keep,
    /// By writing the new one.
    Write,
    /// It may be partial, which only the kernel's helper knows, or finished after all.
    Ask,
}

/// The last part of the IPv4 header of a quoted packet, all of it that translation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(2))]
pub struct QuoteTail {
    /// Checksum of the header.
    pub checksum: Port,
    /// From whom.
    pub source: [u8; 4],
    /// To whom.
    pub destination: [u8; 4],
}

impl Rewrite {
    /// What the quoted packet's header ends in: the new ends, the other way round.
    #[inline(always)]
    pub const fn quote_tail(&self) -> QuoteTail {
        QuoteTail {
            checksum: self.quote_checksum,
            source: self.header.destination.octets(),
            destination: self.header.source.octets(),
        }
    }
}

/// A lowered maximum segment size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentSizeEdit {
    /// Where the two octets stand; 0 for nowhere.
    pub offset: u32,
    /// What they become, as a 16-bit number in network order.
    pub size: Port,
}
