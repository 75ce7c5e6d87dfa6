//! Headers as they stand in frames: fixed-size parts only, network byte order, any bytes valid.
//! Multi-octet fields that are only copied or compared stay byte arrays or newtypes.
//!
//! Whole headers are aligned although frames are not: they are read from frames as copies, and the
//! verifier wants copies on the stack aligned for the words they are moved in.

mod arp;
mod ethernet;
mod icmp;
mod ipv4;
mod sctp;
mod tcp;
mod udp;

pub use arp::Arp;
pub use ethernet::{EtherType, Ethernet};
pub use icmp::{IcmpEcho, IcmpError, IcmpType};
pub use ipv4::Ipv4Header;
pub use sctp::{Sctp, SctpChunk};
pub use tcp::{Tcp, TcpFlags, TcpOption};
pub use udp::Udp;
