//! What both halves of the data path agree on, and the packet path itself.
//!
//! A packet's journey: an executor (a unit test, or a program in the kernel) wraps a frame in a
//! [`frame::Frame`], the maps in [`tables::Tables`], and asks [`path::lan`], [`path::link`] or
//! [`path::guard`] what to do. The path parses ([`path::Packet`]), finds what the destination stands
//! for, finds or judges the flow, and returns a [`verdict::Verdict`]: leave it alone, refuse it with a
//! [`reason::Reason`], answer it (ARP), or forward it with the listed edits. The executor then writes
//! the edits and the checksum differences; the path never writes to a frame.
//!
//! Nothing here knows a clock, a kernel or a file. Everything that the kernel half calls is built for
//! the BPF target: no allocation, no panics, bounded loops.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod address;
pub mod checksum;
#[cfg(feature = "alloc")]
pub mod desired;
pub mod frame;
#[cfg(feature = "host")]
pub mod host;
pub mod map;
pub mod path;
pub mod reason;
pub mod report;
pub mod tables;
pub mod time;
pub mod verdict;
pub mod wire;

pub use address::{Ipv4, LocalAddress, Port, Prefix, Protocol, TransitAddress};
pub use reason::Reason;
pub use time::Ticks;
