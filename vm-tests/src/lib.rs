//! Everything that needs root or a kernel: path tests by test_run, lifecycle, topologies, guests.

#![forbid(unsafe_code)]

pub mod bench;
pub mod lab;
