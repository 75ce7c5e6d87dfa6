//! Sessions' carriers over loopback: QUIC and TLS over TCP, with certificates made for the test.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "a test may fail where a carrier does not do what it expects"
)]

mod carry;
mod flood;
mod hostile;
mod pki;
mod raw;
mod relay;
mod restart;
mod switch;
