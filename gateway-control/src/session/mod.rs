//! What a gateway and a controller say to each other, and when. Pure: who carries the octets is the daemon's
//! business, and whom they are from is known by the way they came, not by what they say.
//!
//! | file | holds |
//! |---|---|
//! | message | what is said, as octets |
//! | frame | octets with their length and number, compressed where that pays |
//! | line | what both ends do alike: frames in turn, signs of life |
//! | gateway | a gateway's end |
//! | controller | a controller's end |
//! | edition | a share as a controller tells it: whole, or by what it differs |
//! | holding | a share as a gateway has it |
//! | close | why a session is over |
//!
//! An end is one connection: octets and time go in, octets and events come out ([`End`]). A connection that breaks
//! is two new ends; what outlives it, a gateway's [`Holding`] and a controller's [`Edition`], is given to the next.
//! Whatever comes from the other end, an end does not panic, does not grow beyond its bounds, and is either in step
//! with it or over. `docs/protocol.md` describes all of it.

mod close;
mod controller;
mod edition;
mod frame;
mod gateway;
mod holding;
mod line;
pub mod message;

use std::time::Instant;

pub use close::CloseReason;
pub use controller::{ControllerEnd, ControllerEvent, Peer, Wanted};
pub use edition::Edition;
pub use frame::FrameError;
pub use gateway::{GatewayEnd, GatewayEvent};
pub use holding::{Holding, PatchError};
pub use line::{PING_AFTER, SILENCE};
pub use message::{
    Certificate, Digest, FromController, FromGateway, Held, Hello, Lease, MessageError, Orders,
    Patch, PatchEdit, Refusal, RefusalKind, Renew, Report, Taken, Told, VERSION,
};

pub use controller::{HELLO_WITHIN, MERGED};

use crate::deployment::share;

/// Longest content of a gateway's message, in octets.
pub const FROM_GATEWAY_MAX_LEN: usize = 64 << 10;
/// Longest content of a controller's message, in octets, also when it was compressed.
pub const FROM_CONTROLLER_MAX_LEN: usize = share::MAX_LEN + (64 << 10);

/// One end of a session. Who has it gives it what has come and the time, then asks for everything that there is to
/// do: [`Self::poll_event`] until there is none, [`Self::poll_transmit`] until there is none, [`Self::poll_timeout`].
pub trait End {
    /// What it tells who has it.
    type Event;

    /// Takes octets of the other end, as many as have come.
    fn handle_input(&mut self, now: Instant, octets: &[u8]);

    /// Takes note of the time.
    fn handle_timeout(&mut self, now: Instant);

    /// When [`Self::handle_timeout`] is to be called at the latest.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Octets to send, some tens of thousands at most.
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;

    /// What has happened. `Closed` is the last, though there may still be octets to send then.
    fn poll_event(&mut self) -> Option<Self::Event>;
}
