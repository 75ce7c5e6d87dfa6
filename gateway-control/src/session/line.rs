//! What both ends do alike: frames in turn, signs of life, and being over.

use std::time::{Duration, Instant};

use super::CloseReason;
use super::frame::{self, Limits, Reader};

/// After so much silence an end asks whether the other is there. Address translators on the way remember a UDP flow
/// for longer (RFC 4787, section 4.3).
pub const PING_AFTER: Duration = Duration::from_secs(15);
/// After so much silence a session is over.
pub const SILENCE: Duration = Duration::from_secs(45);
/// So much of a frame is a sign of life, in octets: a link may be slow, but what is lost in a frame that does not end
/// is no sign.
const SOME: usize = 4 << 10;
/// Most octets that are given to send at once.
const PIECE: usize = 16 << 10;

/// One end's frames, in and out.
#[derive(Debug)]
pub(super) struct Line {
    reader: Reader,
    limits: Limits,
    /// The number of the next frame to send.
    number: u64,
    /// The frame that is being sent, and how much of it is.
    frame: Vec<u8>,
    sent: usize,
    heard: Instant,
    pinged: Instant,
    is_over: bool,
    /// Whether the other end is to be asked for a sign of life, or given one.
    pub(super) ping: bool,
    pub(super) pong: bool,
}

impl Line {
    pub(super) fn new(now: Instant, from: Limits, to: Limits) -> Self {
        Self {
            reader: Reader::new(from),
            limits: to,
            number: 0,
            frame: Vec::new(),
            sent: 0,
            heard: now,
            pinged: now,
            is_over: false,
            ping: false,
            pong: false,
        }
    }

    /// Whether there is nothing more to take, nor to send but what is on its way.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Nothing more is taken. What is on its way may still be sent.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        self.reader.forget();
    }

    /// As [`Self::end`], and nothing more is sent.
    pub(super) fn cut(&mut self) {
        self.end();
        (self.frame, self.sent) = (Vec::new(), 0);
    }

    /// The next whole frame of the octets: its number and content. That it came is a sign of life, and so is that some
    /// more of a long one came.
    pub(super) fn read(
        &mut self,
        now: Instant,
        octets: &mut &[u8],
    ) -> Result<Option<(u64, Vec<u8>)>, CloseReason> {
        if self.is_over {
            return Ok(None);
        }
        let before = self.reader.come() / SOME;
        let frame = self.reader.read(octets)?;
        if frame.is_some() || self.reader.come() / SOME > before {
            self.heard = self.heard.max(now);
            self.ping = false;
        }
        Ok(frame)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.is_over {
            return Ok(());
        }
        if now >= self.heard + SILENCE {
            return Err(CloseReason::Silent);
        }
        if now >= self.heard.max(self.pinged) + PING_AFTER {
            self.pinged = now;
            self.ping = true;
        }
        Ok(())
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        let ping = self.heard.max(self.pinged) + PING_AFTER;
        (!self.is_over).then(|| ping.min(self.heard + SILENCE))
    }

    /// Whether the frame before is sent.
    pub(super) fn is_free(&self) -> bool {
        self.frame.is_empty()
    }

    /// Sends a message as the next frame; gives its number. Only where [`Self::is_free`].
    pub(super) fn send(&mut self, content: Vec<u8>) -> u64 {
        let number = self.number;
        self.frame = frame::write(number, content, self.limits);
        self.sent = 0;
        self.number += 1;
        number
    }

    /// The next octets of the frame that is being sent. Holds no memory once all are given.
    pub(super) fn piece(&mut self) -> Option<Vec<u8>> {
        let rest = self.frame.get(self.sent..).filter(|rest| !rest.is_empty())?;
        if rest.len() > PIECE {
            self.sent += PIECE;
            return Some(rest[..PIECE].to_vec());
        }
        let whole = std::mem::take(&mut self.frame);
        Some(match std::mem::take(&mut self.sent) {
            0 => whole,
            sent => whole[sent..].to_vec(),
        })
    }
}
