//! The messages. Both ends of a session call it with the content of a frame.
//!
//! Whatever the octets, decoding gives a message or says what is wrong. Fields of a later version are read over,
//! and so are messages of a kind that this version does not know.

mod wire;

use std::fmt;
use std::time::Duration;

use gateway_policy::SiteName;
use sha2::{Digest as _, Sha256};

use crate::deployment::share::Share;
use crate::model::{GatewayName, PublicKey};

/// The version of the protocol that this program speaks.
pub const VERSION: u32 = 1;
/// Longest reason that is sent, in octets.
const WHY_MAX_LEN: usize = 32 << 10;
/// Longest name of a program's version, in octets.
const PROGRAM_MAX_LEN: usize = 64;
/// Longest certificate, or request for one, in octets.
const DER_MAX_LEN: usize = 16 << 10;
/// Most certificates of a chain.
const CHAIN_MAX_LEN: usize = 8;

/// What a gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromGateway {
    /// Who it is; first of all.
    Hello(Hello),
    /// How far it is.
    Report(Report),
    /// It has what it was told.
    Taken(Taken),
    /// It wants another certificate.
    Renew(Renew),
    /// Its link is to have another key.
    LinkKey(PublicKey),
    /// Is the controller there?
    Ping,
    /// It is there.
    Pong,
}

/// Who a gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub version: u32,
    /// Its site.
    pub site: SiteName,
    /// Its name.
    pub gateway: GatewayName,
    /// Its link's public key.
    pub public_key: PublicKey,
    /// The version of its program.
    pub program: String,
    /// The share that it has from before.
    pub holds: Option<Held>,
}

/// Which share somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When it was last changed.
    pub revision: Option<u64>,
    /// What it is.
    pub digest: Digest,
}

/// SHA-256 (FIPS 180-4) of an encoded share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// How far a gateway is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The revision of the share that its kernel has.
    pub applied: Option<u64>,
    /// Why it could not apply a later one, with the remedy.
    pub refused: Option<String>,
    /// How many of its links are up.
    pub links_up: Option<u32>,
}

/// What became of orders at the gateway; not whether its kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The number of the frame that they came in.
    pub number: u64,
    /// What the gateway holds now. Where that is not what it was told, a snapshot is wanted.
    pub holds: Option<Held>,
}

/// A wish for another certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renew {
    /// Which certificate of this identity the gateway has now, counted by who issues them.
    pub generation: u64,
    /// The request (RFC 2986), as DER.
    pub request: Vec<u8>,
}

/// What a controller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromController {
    /// What the gateway is to have.
    Orders(Orders),
    /// It does not serve this gateway, and closes the session.
    Refused(Refusal),
    /// Another certificate.
    Certificate(Certificate),
    /// The key of the gateway's link is this one from now on.
    LinkKeyTaken(PublicKey),
    /// Is the gateway there? Renews what it holds for as long as is said.
    Ping(Option<Lease>),
    /// It is there. Renews as well.
    Pong(Option<Lease>),
}

/// What a gateway is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// When it was last changed.
    pub revision: Option<u64>,
    /// For how long it may be used without word from a controller.
    pub lease: Option<Lease>,
    /// The share.
    pub told: Told,
}

/// A share as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// All of it.
    Snapshot {
        /// The share, encoded.
        octets: Vec<u8>,
        /// Its digest.
        digest: Digest,
    },
    /// By what it differs from one that the gateway has.
    Delta(Patch),
    /// There is none for now; why.
    Nothing(Refusal),
}

/// How a share comes of another. Items are counted in the order of the encoded share, so that a gateway can follow
/// although it does not know each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// What it begins with.
    pub base: Digest,
    /// From the first item to the last; items behind the last edit stay.
    pub edits: Vec<PatchEdit>,
    /// What comes of it.
    pub digest: Digest,
}

/// One place of a share that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchEdit {
    /// So many items stay,
    pub keep: u32,
    /// so many behind them go,
    pub drop: u32,
    /// and these take their place, encoded.
    pub insert: Vec<Vec<u8>>,
}

/// For how long grants hold without word from a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Until it says otherwise.
    Unlimited,
    /// For a time, in whole seconds on the wire.
    For(Duration),
}

/// Why a controller does not serve a gateway, or has nothing for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {why}")]
pub struct Refusal {
    /// What kind of reason.
    pub kind: RefusalKind,
    /// For an operator: what is wrong, with the remedy.
    pub why: String,
}

/// A kind of reason to refuse a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Its identity was revoked: trying again is no use.
    Revoked,
    /// An operator has yet to accept it.
    Pending,
    /// The controller does not know it.
    Unknown,
    /// The same gateway has another session.
    Superseded,
    /// They have no version of the protocol in common.
    Version,
    /// Something else, or of a later version.
    Other,
}

/// Another certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Which one of this identity it is, counted by who issues them.
    pub generation: u64,
    /// The leaf and what leads from it to the authority, each as DER.
    pub chain: Vec<Vec<u8>>,
}

/// Why octets are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too many octets.
    #[error("a message of {length} octets, of {most} at most")]
    TooLong {
        /// How many there are.
        length: usize,
        /// How many there may be.
        most: usize,
    },
    /// No protobuf message of this kind.
    #[error("no message of this protocol: {0}")]
    Message(String),
    /// A message without content.
    #[error("an empty message")]
    Empty,
    /// A value that makes no sense.
    #[error("{field}: {why}")]
    Value {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl Digest {
    /// That of an encoded share.
    pub fn of(share: &[u8]) -> Self {
        Self(Sha256::digest(share).into())
    }
}

/// The first octets, in hexadecimal.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Orders {
    /// All of a share.
    pub fn snapshot(revision: Option<u64>, lease: Option<Lease>, share: &Share) -> Self {
        let octets = share.encode();
        let digest = Digest::of(&octets);
        Self { revision, lease, told: Told::Snapshot { octets, digest } }
    }
}

impl FromGateway {
    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        wire::from_gateway(self)
    }

    /// From octets; `None` if it is a message of a later version.
    pub fn decode(octets: &[u8]) -> Result<Option<Self>, MessageError> {
        wire::read_from_gateway(octets)
    }
}

impl FromController {
    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        wire::from_controller(self)
    }

    /// From octets; `None` if it is a message of a later version.
    pub fn decode(octets: &[u8]) -> Result<Option<Self>, MessageError> {
        wire::read_from_controller(octets)
    }
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revoked => "revoked",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Superseded => "superseded",
            Self::Version => "version",
            Self::Other => "other",
        })
    }
}

/// As much of a text as is sent.
fn shortened(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests;
