//! Headers as they stand in frames: fixed-size parts only, network byte order, alignment 1, any bytes
//! valid. Multi-octet fields that are only copied or compared stay byte arrays or newtypes.

mod arp;
mod ethernet;
mod icmp;
mod ipv4;
mod tcp;
mod udp;

pub use arp::Arp;
pub use ethernet::{EtherType, Ethernet};
pub use icmp::{IcmpEcho, IcmpType};
pub use ipv4::Ipv4Header;
pub use tcp::{Tcp, TcpFlags, TcpOption};
pub use udp::Udp;
