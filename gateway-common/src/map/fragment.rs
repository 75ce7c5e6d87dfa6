//! Datagrams that arrive in fragments: what the first fragment says for those that follow it, and which
//! octets have come.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{layout::layout, map};
use crate::{
    address::{Ipv4, Port, Protocol},
    time::{Ticks, ticks},
};

map! {
    /// A datagram in fragments to what its first one said. The least recently used makes room.
    Fragments = "fragments4": LruHash, FragmentKey => Fragmented, 1 << 14
}

/// What the fragments of one datagram have in common (RFC 791 section 3.2), as they arrive here.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FragmentKey {
    /// From whom.
    pub source: Ipv4,
    /// To whom.
    pub destination: Ipv4,
    /// The sender's number for the datagram, in network order.
    pub identification: [u8; 2],
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it came in.
    pub side: Side,
}

/// Where a packet came in.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Side(u8);

impl Side {
    /// On a LAN interface.
    pub const LAN: Self = Self(0);
    /// Out of a link.
    pub const LINK: Self = Self(1);
}

/// What is known of a datagram in fragments.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Fragmented {
    /// What the first fragment said.
    pub head: FragmentHead,
    /// What has come: [`Span`]s that neither overlap nor touch, in no order; zeros between them.
    pub seen: [u32; Self::SPANS],
}

layout!(FragmentKey { source, destination, identification, protocol, side });
layout!(Fragmented { head, seen });

/// What the first fragment of a datagram says for those that follow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct FragmentHead {
    /// The sender's port, or the identifier of an ICMP echo request.
    pub source_port: Port,
    /// The receiver's port, or the identifier of an ICMP echo reply.
    pub destination_port: Port,
    /// When it came.
    pub since: Ticks,
}

impl Fragmented {
    /// Nothing is known.
    pub const NOTHING: Self = Self {
        head: FragmentHead {
            source_port: Port::NONE,
            destination_port: Port::NONE,
            since: Ticks(0),
        },
        seen: [0; Self::SPANS],
    };

    /// How many separate spans are told apart. In order of arrival there is one; fragments that
    /// overtake each other add one for each gap. Enough for any order of up to seven fragments.
    pub const SPANS: usize = 4;

    /// How long the fragments of a datagram are waited for, in ticks, counted from the first. RFC 791
    /// section 3.2 names 15 seconds and RFC 1122 section 3.3.2 asks the receiver for 60 to 120; a
    /// Linux receiver waits 30 (`net.ipv4.ipfrag_time`), after which nobody would take the rest.
    pub const TIMEOUT: u32 = ticks(30_000);
}

/// Part of a datagram's payload, in units of eight octets, as offsets of fragments are. The last
/// fragment reaches to infinity, so that whatever comes behind it overlaps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub start: u32,
    /// The unit behind its end.
    pub end: u32,
}

impl Span {
    /// The end of a last fragment. No fragment begins here: offsets have 13 bits.
    pub const INFINITY: u32 = 0xffff;
    /// A whole datagram.
    pub const WHOLE: Self = Self { start: 0, end: Self::INFINITY };

    /// As it stands in [`Fragmented::seen`], where 0 is no span.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.start << 16 | self.end
    }

    /// The span of [`Self::word`].
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self { start: word >> 16, end: word & 0xffff }
    }
}
