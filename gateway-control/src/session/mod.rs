//! What a gateway and a controller say to each other. Pure: who carries the octets is the daemon's business, and
//! whom they are from is known by the way they came, not by what they say.
//!
//! | file | holds |
//! |---|---|
//! | message | what is said, as octets |
//!
//! `docs/protocol.md` describes all of it.

pub mod message;

pub use message::{
    Certificate, Digest, FromController, FromGateway, Held, Hello, Lease, MessageError, Orders,
    Patch, PatchEdit, Refusal, RefusalKind, Renew, Report, Taken, Told, VERSION,
};

use crate::deployment::share;

/// Longest content of a gateway's message, in octets.
pub const FROM_GATEWAY_MAX_LEN: usize = 64 << 10;
/// Longest content of a controller's message, in octets, also when it was compressed.
pub const FROM_CONTROLLER_MAX_LEN: usize = share::MAX_LEN + (64 << 10);
