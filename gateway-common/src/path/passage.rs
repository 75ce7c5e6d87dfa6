//! A packet on its way through the gateway, as it goes from one part of the path to the next.
//!
//! [`admit`](super::admit) is a part of its own in the kernel: a function that the verifier follows once, and
//! not once for each way to it. What goes in and what comes out lies in memory as whole words without gaps,
//! which the verifier asks of such an argument, and afterwards it knows nothing of them any more.

use zerocopy::{Immutable, IntoBytes};

use super::{Arrival, Content, Packet};
use crate::{
    Ipv4, LocalAddress, Ticks,
    map::{Direction, Endpoints, FlowKey, Route, SiteNumber},
    verdict::{Egress, Way},
};

/// One packet of one flow.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Passage {
    /// The packet.
    pub content: Content,
    /// The flow as it is named where the packet goes: in links, or once admitted on this site's LAN.
    pub ends: Endpoints<Ipv4>,
    /// Its octets from the IP header on.
    pub total: u32,
    /// Once admitted: the rule that allowed the flow, if it was judged just now; else 0.
    pub rule: u32,
    /// Once it is to be sent: where to.
    pub egress: Egress,
    /// And what the link carries that it came by or goes by, in octets.
    pub mtu: u32,
    /// Whose gateway sent it, if it came out of a link.
    pub site: SiteNumber,
    /// When it came.
    pub now: Ticks,
    /// How many packets of the wire it is.
    pub packets: u32,
    /// Whether it may be cut up on its way.
    pub size: Size,
    /// Which way it goes.
    pub direction: Direction,
    /// Where it came from.
    pub origin: Origin,
}

const _: () = assert!(
    size_of::<Passage>()
        == size_of::<Content>() + 28 + size_of::<Endpoints<Ipv4>>() + 4 + size_of::<Egress>() + 4,
    "no gaps"
);

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u32)]
pub enum Origin {
    /// A host of this site.
    Lan,
    /// Another site's gateway, to this site.
    Link,
    /// Another site's gateway, on to a third site.
    Relay,
}

/// Whether a packet may become several smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u32)]
pub enum Size {
    /// It may be fragmented, or is to be cut into segments anyway.
    Any,
    /// It says that it must not be.
    Fixed,
}

impl Passage {
    /// A packet of the flow `key` that came from `origin`, by the gateway of `site` if that is a link.
    #[inline(always)]
    pub(super) fn new(
        packet: &Packet,
        key: &FlowKey,
        direction: Direction,
        arrival: Arrival,
        origin: Origin,
        site: SiteNumber,
    ) -> Self {
        let is_fixed = arrival.packets == 1 && packet.header.must_not_be_fragmented();
        Self {
            content: packet.content,
            ends: key.endpoints().untyped(),
            total: packet.header.total(),
            rule: 0,
            egress: Egress { interface: 0, way: Way::Link },
            mtu: 0,
            site,
            now: arrival.now,
            packets: arrival.packets,
            size: if is_fixed { Size::Fixed } else { Size::Any },
            direction,
            origin,
        }
    }

    /// Notes that it may go on, by `rule` if that was judged just now, in a flow that this site's LAN knows by
    /// these ends.
    #[inline(always)]
    pub(super) fn granted(&mut self, ends: Endpoints<LocalAddress>, rule: u32) {
        if self.origin == Origin::Link {
            self.ends = ends.untyped();
        }
        self.rule = rule;
    }

    /// The end that it goes to, as this site's LAN names it. Once admitted.
    #[inline(always)]
    pub(super) const fn receiver(&self) -> LocalAddress {
        LocalAddress(match self.direction {
            Direction::Forward => self.ends.service,
            Direction::Reverse => self.ends.client,
        })
    }

    /// Sends it out by a link.
    #[inline(always)]
    pub(super) fn leave_by(&mut self, link: Route) {
        self.egress = Egress { interface: link.link, way: Way::Link };
        self.mtu = link.mtu;
    }

    /// Whether it does not fit `mtu` and must not be made to.
    #[inline(always)]
    pub(super) const fn is_too_big(&self, mtu: u32) -> bool {
        self.total > mtu && matches!(self.size, Size::Fixed)
    }
}
