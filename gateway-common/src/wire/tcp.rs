//! TCP, RFC 9293.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The TCP header without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Tcp {
    /// The sender's port.
    pub source: [u8; 2],
    /// The receiver's port.
    pub destination: [u8; 2],
    /// Number of the first octet sent.
    pub sequence: [u8; 4],
    /// Number of the next octet expected.
    pub acknowledgement: [u8; 4],
    /// Header length in 32-bit words (high four bits).
    pub data_offset: u8,
    /// Control bits.
    pub flags: TcpFlags,
    /// Octets the sender can take.
    pub window: [u8; 2],
    /// Checksum over pseudo-header, header and data.
    pub checksum: [u8; 2],
    /// Urgent pointer.
    pub urgent: [u8; 2],
}

impl Tcp {
    /// Offset of `checksum`.
    pub const CHECKSUM_OFFSET: u32 = 16;
    /// Octets without options.
    pub const LENGTH: u32 = 20;

    /// Octets of header and options.
    #[inline(always)]
    pub const fn header_length(&self) -> u32 {
        (self.data_offset >> 4) as u32 * 4
    }
}

/// The eight control bits, RFC 9293 section 3.1.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender has finished.
    pub const FIN: u8 = 0x01;
    /// Synchronise: opens.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;

    /// Whether all of `bits` are set.
    #[inline(always)]
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }

    /// Whether it opens a connection: SYN and neither ACK, RST nor FIN.
    #[inline(always)]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// Whether it belongs to a connection that both ends agreed on: ACK and neither SYN nor RST.
    #[inline(always)]
    pub const fn goes_on(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST) == Self::ACK
    }

    /// Whether no TCP sends it: SYN with RST or FIN, or none of SYN, ACK, RST, FIN.
    #[inline(always)]
    pub const fn is_nonsense(self) -> bool {
        let bits = self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN);
        bits == 0 || (bits & Self::SYN != 0 && bits & (Self::RST | Self::FIN) != 0)
    }
}

/// Kinds of TCP options, RFC 9293 section 3.2.
pub struct TcpOption;

impl TcpOption {
    /// End of the list; one octet.
    pub const END: u8 = 0;
    /// Padding; one octet.
    pub const NO_OPERATION: u8 = 1;
    /// Maximum segment size; four octets.
    pub const MAXIMUM_SEGMENT_SIZE: u8 = 2;
}
