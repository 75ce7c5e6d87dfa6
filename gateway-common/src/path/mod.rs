//! The packet path: what happens to a frame at each hook. Pure: a frame, the tables and the moment
//! come in, a verdict goes out, and what changes in the tables goes through [`Tables`].

mod admit;
mod approach;
mod arp;
mod flow;
mod fragment;
mod guard;
mod hash;
mod icmp_error;
mod lan;
mod link;
mod nat;
mod open;
mod packet;
mod parts;
mod passage;
mod refusal;
mod translate;

pub use admit::{carry, open};
pub use fragment::follow;
pub use guard::guard;
pub use lan::lan;
pub use link::link;
pub use packet::{Content, Packet, Transport};
pub use parts::Parts;
pub use passage::{Origin, Passage};
pub use refusal::{Refusal, refuse};
pub use translate::send;

#[cfg(doc)]
use crate::tables::Tables;
use crate::time::Ticks;

/// How a frame came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Index of the interface.
    pub interface: u32,
    /// Offset of the IP header: 14 behind an Ethernet header, 0 on a link.
    pub ip: u32,
    /// Whether the link layer addressed it to this host alone.
    pub for_us: bool,
    /// Whether it came with a VLAN tag, which makes it another network's.
    pub tagged: bool,
    /// How many packets of the wire it is (more than one with segmentation offload).
    pub packets: u32,
    /// When.
    pub now: Ticks,
}
