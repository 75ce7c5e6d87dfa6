//! How the packet path reads a frame, wherever it lies.

use zerocopy::FromBytes;

/// A frame that can be read. Reads are bounds-checked; nothing can be written through it.
pub trait Frame {
    /// Octets of the whole frame, also those that [`Self::load`] cannot reach.
    fn length(&self) -> u32;

    /// The `T` that stands `offset` octets from the start, or `None` if the frame ends before it does
    /// or `offset` is beyond the headers (256 and more).
    fn load<T: FromBytes + Copy>(&self, offset: u32) -> Option<T>;
}

/// Furthest offset a [`Frame`] need serve: link, IP and TCP headers with options end before it.
pub const HEADERS: u32 = 256;
