//! SCTP, RFC 9260.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The common header and the start of the first chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Sctp {
    /// The sender's port.
    pub source: [u8; 2],
    /// The receiver's port.
    pub destination: [u8; 2],
    /// Names the association to its receiver.
    pub verification_tag: [u8; 4],
    /// CRC32c of the packet, without the IP header.
    pub checksum: [u8; 4],
    /// What the first chunk is.
    pub chunk: SctpChunk,
    /// Its flags.
    pub chunk_flags: u8,
    /// Its octets with these.
    pub chunk_length: [u8; 2],
}

impl Sctp {
    /// Octets of the header and the start of one chunk, without which a packet says nothing.
    pub const LENGTH: u32 = 16;

    /// Octets of a chunk before its value.
    pub const CHUNK_LENGTH: u16 = 4;

    /// Whether it asks for a new association. Its tag is not known yet then (RFC 9260 section 8.5.1).
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        self.chunk.0 == SctpChunk::INIT.0 && u32::from_ne_bytes(self.verification_tag) == 0
    }
}

/// The kind of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SctpChunk(pub u8);

impl SctpChunk {
    /// Data of an association.
    pub const DATA: Self = Self(0);
    /// Asks for an association; always alone in its packet.
    pub const INIT: Self = Self(1);
}
