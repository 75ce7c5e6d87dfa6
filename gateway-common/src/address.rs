//! Addresses, ports and protocols as they stand in headers and maps: network byte order in memory,
//! one newtype a meaning, so that a transit address cannot be taken for one of the site's own.

use core::{fmt, net::Ipv4Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IPv4 address of unknown meaning, as read from a packet.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Ipv4(u32);

impl Ipv4 {
    /// 0.0.0.0, which stands for "none" in map values.
    pub const NONE: Self = Self(0);

    /// The address whose number, most significant octet first, is `number`.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        Self(number.to_be())
    }

    /// The address as a number, most significant octet first.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        u32::from_be(self.0)
    }

    /// The four octets as one word in memory order, for checksums.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The four octets.
    #[inline(always)]
    pub const fn octets(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }
}

impl From<Ipv4Addr> for Ipv4 {
    fn from(address: Ipv4Addr) -> Self {
        Self(u32::from_ne_bytes(address.octets()))
    }
}

impl From<Ipv4> for Ipv4Addr {
    fn from(address: Ipv4) -> Self {
        Self::from(address.0.to_ne_bytes())
    }
}

impl fmt::Debug for Ipv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Ipv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv4Addr::from(*self), f)
    }
}

macro_rules! meaning {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub Ipv4);

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                self.0.number().cmp(&other.0.number())
            }
        }

        impl From<$name> for Ipv4 {
            #[inline(always)]
            fn from(address: $name) -> Self {
                address.0
            }
        }

        impl From<Ipv4Addr> for $name {
            fn from(address: Ipv4Addr) -> Self {
                Self(address.into())
            }
        }

        impl From<$name> for Ipv4Addr {
            fn from(address: $name) -> Self {
                address.0.into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

meaning! {
    /// An address out of this site's own address plan: a host, a back end or a presence.
    LocalAddress
}
meaning! {
    /// An address that exists only inside links; stands for one client or one service.
    TransitAddress
}

/// An IPv4 prefix ready to be compared with addresses in packets.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Prefix {
    base: Ipv4,
    mask: Ipv4,
}

impl Prefix {
    /// The prefix of `length` bits (0 to 32; more counts as 32) that holds `address`.
    pub const fn new(address: Ipv4, length: u8) -> Self {
        let mask = if length == 0 {
            0
        } else if length >= 32 {
            u32::MAX
        } else {
            u32::MAX << (32 - length as u32)
        };
        Self { base: Ipv4::from_number(address.number() & mask), mask: Ipv4::from_number(mask) }
    }

    /// The first address.
    #[inline(always)]
    pub const fn base(&self) -> Ipv4 {
        self.base
    }

    /// Number of leading bits that are fixed.
    pub const fn length(&self) -> u8 {
        self.mask.number().leading_ones() as u8
    }

    /// Number of addresses less one.
    #[inline(always)]
    pub const fn last_offset(&self) -> u32 {
        !self.mask.number()
    }

    /// Whether `address` is in the prefix. The zero value (`Prefix::default()`) is not a prefix:
    /// it holds nothing but matches every address, so holders keep a count or a flag beside it.
    #[inline(always)]
    pub const fn contains(&self, address: Ipv4) -> bool {
        address.0 & self.mask.0 == self.base.0
    }

    /// How far `address`, which must be inside, is from the first address.
    #[inline(always)]
    pub const fn offset(&self, address: Ipv4) -> u32 {
        address.number() & !self.mask.number()
    }

    /// The address `offset` after the first; wraps inside the prefix.
    #[inline(always)]
    pub const fn at(&self, offset: u32) -> Ipv4 {
        Ipv4::from_number(self.base.number() | (offset & !self.mask.number()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length())
    }
}

/// A TCP, UDP or SCTP port, or an ICMP echo identifier where the text says so; 0 where there is none.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Port(u16);

impl Port {
    /// No port: protocols without ports, and "leave as it is" in a port mapping.
    pub const NONE: Self = Self(0);

    /// The port with this number.
    #[inline(always)]
    pub const fn new(number: u16) -> Self {
        Self(number.to_be())
    }

    /// Its number.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The two octets as one word in memory order, for checksums.
    #[inline(always)]
    pub const fn word(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number(), f)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number(), f)
    }
}

/// An IP protocol number, as assigned by IANA.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Protocol(pub u8);

impl Protocol {
    /// Internet Control Message Protocol, RFC 792.
    pub const ICMP: Self = Self(1);
    /// Transmission Control Protocol, RFC 9293.
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol, RFC 768.
    pub const UDP: Self = Self(17);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    /// Whether its packets begin with two ports, as far as the packet path reads them.
    #[inline(always)]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::SCTP => f.write_str("sctp"),
            Self(number) => write!(f, "ip/{number}"),
        }
    }
}
