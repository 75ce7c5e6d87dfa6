//! The hosts that serve a service, how new flows are shared out among them, and how the gateway finds
//! out whether they do serve it.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::str::FromStr;

use super::value_error::quoted;
use super::{Timeout, ValueError};

/// Most back ends of one service.
pub const MOST_BACKENDS: usize = 64;

/// A host that serves a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its share of new flows.
    pub weight: Weight,
    /// Whether it gets any.
    pub turn: Turn,
}

impl Backend {
    /// One of weight 1 that takes new flows.
    pub fn new(address: Ipv4Addr) -> Self {
        Self { address, weight: Weight::default(), turn: Turn::Use }
    }
}

/// A share of new flows, relative to those of the service's other back ends: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u8);

impl Weight {
    const MOST: u8 = 100;

    /// The number.
    pub fn number(self) -> u32 {
        self.0.into()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<i64> for Weight {
    type Error = ValueError;

    fn try_from(found: i64) -> Result<Self, ValueError> {
        let number = u8::try_from(found).ok().filter(|it| (1..=Self::MOST).contains(it));
        let most = Self::MOST.into();
        number.map(Self).ok_or(ValueError::Number { found, least: 1, most })
    }
}

/// Whether the operator wants a back end to take new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It takes its share.
    Use,
    /// It keeps the flows it has and gets no new ones.
    Drain,
}

impl FromStr for Turn {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "use" => Ok(Self::Use),
            "drain" => Ok(Self::Drain),
            _ => Err(choice(text, "\"use\", \"drain\"")),
        }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Use => "use",
            Self::Drain => "drain",
        })
    }
}

/// How a back end is found to serve, or not to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HealthCheck {
    /// What it is asked.
    pub probe: Probe,
    /// From one question to the next.
    pub interval: Timeout,
    /// How long an answer may take.
    pub timeout: Timeout,
    /// How many answers in a row bring it back.
    pub rise: Count,
    /// How many failures in a row take it away.
    pub fall: Count,
}

/// What a back end is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// To accept a TCP connection.
    Tcp {
        /// Its port.
        port: NonZeroU16,
    },
    /// To answer an HTTP GET.
    Http {
        /// Its port.
        port: NonZeroU16,
        /// What is asked for.
        path: HttpPath,
        /// The status that counts as an answer.
        status: u16,
    },
    /// To answer an ICMP echo.
    Icmp,
}

/// The kinds of [`Probe`], as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// [`Probe::Tcp`].
    Tcp,
    /// [`Probe::Http`].
    Http,
    /// [`Probe::Icmp`].
    Icmp,
}

impl FromStr for ProbeKind {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "http" => Ok(Self::Http),
            "icmp" => Ok(Self::Icmp),
            _ => Err(choice(text, "\"tcp\", \"http\", \"icmp\"")),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { port } => write!(f, "tcp {port}"),
            Self::Http { port, path, status } => write!(f, "http {port} {path} ({status})"),
            Self::Icmp => f.write_str("icmp"),
        }
    }
}

/// The path and query of an HTTP request: visible ASCII from `/` on, at most 255 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpPath(String);

impl HttpPath {
    const LONGEST: usize = 255;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpPath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let is_path = text.starts_with('/')
            && text.len() <= Self::LONGEST
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_path {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::HttpPath { found: quoted(text) })
        }
    }
}

impl fmt::Display for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often in a row: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(u8);

impl Count {
    const MOST: u8 = 100;
    /// Two answers in a row.
    pub const RISE: Self = Self(2);
    /// Three failures in a row.
    pub const FALL: Self = Self(3);

    /// The number.
    pub fn number(self) -> u32 {
        self.0.into()
    }
}

impl TryFrom<i64> for Count {
    type Error = ValueError;

    fn try_from(found: i64) -> Result<Self, ValueError> {
        let number = u8::try_from(found).ok().filter(|it| (1..=Self::MOST).contains(it));
        let most = Self::MOST.into();
        number.map(Self).ok_or(ValueError::Number { found, least: 1, most })
    }
}

fn choice(found: &str, choices: &str) -> ValueError {
    ValueError::Choice { found: quoted(found), choices: choices.to_owned() }
}
