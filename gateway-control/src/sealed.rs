//! Sealed files and values as octets: what stands in which place. Nothing here knows a key.
//!
//! The daemon's strongbox writes and opens them; whatever the octets, reading gives a header or says what is
//! wrong. Numbers are big-endian.
//!
//! | octets | a value | the wrapped key |
//! |---|---|---|
//! | 7 | `PRSEALV` | `PRSEALK` |
//! | 1 | version of the format, 1 | the same |
//! | 16 | strongbox | the same |
//! | 1 | | what it is wrapped with: 1 file, 2 passphrase, 3 credential |
//! | 12 | | cost of a passphrase: KiB, passes, lanes; else zero |
//! | 32 | | salt |
//! | 16 | | proof of the wrapping key |
//! | 12 | nonce | the same |
//! | rest | ciphertext and tag | the same, 48 octets |
//! | 8 | | the first octets of SHA-256 over all before |

use std::fmt;

use sha2::{Digest as _, Sha256};

const VALUE: &[u8; 7] = b"PRSEALV";
const WRAPPED_KEY: &[u8; 7] = b"PRSEALK";
const VERSION: u8 = 1;
/// Length of the tag that AES-GCM adds, in octets.
pub const TAG_LEN: usize = 16;
const VALUE_HEADER_LEN: usize = 7 + 1 + 16 + 12;
const CHECKSUM_LEN: usize = 8;
const KEY_HEADER_LEN: usize = 7 + 1 + 16 + 1 + 12 + 32 + 16 + 12;

/// Length of a data key in octets.
pub const KEY_LEN: usize = 32;
/// Most octets that may be sealed as one value.
pub const PLAIN_MAX_LEN: usize = 256 << 20;
/// Most octets of a sealed value.
pub const VALUE_MAX_LEN: usize = VALUE_HEADER_LEN + PLAIN_MAX_LEN + TAG_LEN;
/// Octets of a wrapped key.
pub const WRAPPED_KEY_LEN: usize = KEY_HEADER_LEN + KEY_LEN + TAG_LEN + CHECKSUM_LEN;

/// Which strongbox something was sealed by; random, and no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StrongboxId(pub [u8; 16]);

/// A sealed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedValue<'a> {
    /// The strongbox that sealed it.
    pub strongbox: StrongboxId,
    /// The nonce it was sealed with.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    pub content: &'a [u8],
}

/// A strongbox's data key, wrapped by a sealer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The strongbox.
    pub strongbox: StrongboxId,
    /// What it is wrapped with.
    pub wrapping: Wrapping,
    /// What the wrapping key is derived with.
    pub salt: [u8; 32],
    /// What only the right wrapping key gives, so that a wrong one is told from damage.
    pub proof: [u8; 16],
    /// The nonce it was wrapped with.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    pub content: [u8; KEY_LEN + TAG_LEN],
}

/// What a data key is wrapped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// The content of a key file.
    File,
    /// A passphrase, by argon2id.
    Passphrase(PassphraseCost),
    /// A credential of the service manager.
    Credential,
}

/// What deriving a key from a passphrase takes. It stands in a file that is not authenticated before it was
/// done, so it is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// Why octets are nothing sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// Something else begins like this.
    #[error("it is not a sealed file")]
    Foreign,
    /// A later version wrote it.
    #[error("it has version {0} of the format, and this program reads version 1; run a later one")]
    Version(u8),
    /// Octets are missing.
    #[error("it ends after {0} octets, which is too early")]
    Short(usize),
    /// Octets were changed since it was written.
    #[error("it is damaged: its checksum is another")]
    Damaged,
    /// There are too many octets.
    #[error("it has {0} octets, more than can be sealed")]
    Long(usize),
    /// No sealer has this number.
    #[error("it is wrapped with a sealer of number {0}, which this program does not know")]
    Sealer(u8),
    /// A passphrase that would take too much, or nothing.
    #[error(
        "it asks for {memory} KiB, {passes} passes and {lanes} lanes to derive a key from a passphrase"
    )]
    Cost {
        /// KiB of memory.
        memory: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// What has no meaning is not zero.
    #[error("octets that have to be zero are not")]
    Stray,
}

impl<'a> SealedValue<'a> {
    /// Reads a sealed value.
    pub fn parse(octets: &'a [u8]) -> Result<Self, SealedError> {
        if octets.len() > VALUE_MAX_LEN {
            return Err(SealedError::Long(octets.len()));
        }
        let mut rest = Rest::begin(octets, VALUE)?;
        let (strongbox, nonce) = (StrongboxId(rest.take()?), rest.take()?);
        if rest.octets.len() < TAG_LEN {
            return Err(rest.short());
        }
        Ok(Self { strongbox, nonce, content: rest.octets })
    }

    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Self::header(self.strongbox);
        octets.reserve_exact(self.nonce.len() + self.content.len());
        octets.extend(self.nonce);
        octets.extend(self.content);
        octets
    }

    /// What comes before the nonce, which is sealed with the value.
    pub fn header(strongbox: StrongboxId) -> Vec<u8> {
        [&VALUE[..], &[VERSION], &strongbox.0].concat()
    }
}

impl WrappedKey {
    /// Reads a wrapped key.
    pub fn parse(octets: &[u8]) -> Result<Self, SealedError> {
        let mut rest = Rest::begin(octets, WRAPPED_KEY)?;
        match octets.len() {
            WRAPPED_KEY_LEN => {}
            len if len < WRAPPED_KEY_LEN => return Err(SealedError::Short(len)),
            len => return Err(SealedError::Long(len)),
        }
        // Before any field is believed, so that damage is not told as something else.
        if !octets.ends_with(&Self::checksum(&octets[..WRAPPED_KEY_LEN - CHECKSUM_LEN])) {
            return Err(SealedError::Damaged);
        }
        let strongbox = StrongboxId(rest.take()?);
        let [sealer] = rest.take()?;
        let [memory, passes, lanes] =
            [rest.take()?, rest.take()?, rest.take()?].map(u32::from_be_bytes);
        let wrapping = match sealer {
            1 | 3 if (memory, passes, lanes) != (0, 0, 0) => return Err(SealedError::Stray),
            1 => Wrapping::File,
            2 => Wrapping::Passphrase(PassphraseCost::new(memory, passes, lanes)?),
            3 => Wrapping::Credential,
            other => return Err(SealedError::Sealer(other)),
        };
        let (salt, proof) = (rest.take()?, rest.take()?);
        let (nonce, content) = (rest.take()?, rest.take()?);
        Ok(Self { strongbox, wrapping, salt, proof, nonce, content })
    }

    /// What tells damage of a wrapped key, which is no secret, from a wrong key.
    pub fn checksum(octets: &[u8]) -> [u8; CHECKSUM_LEN] {
        let digest: [u8; 32] = Sha256::digest(octets).into();
        *digest.first_chunk().expect("a digest is longer")
    }

    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = self.header();
        octets.extend(self.nonce);
        octets.extend(self.content);
        octets.extend(Self::checksum(&octets));
        octets
    }

    /// What comes before the nonce, which is sealed with the key.
    pub fn header(&self) -> Vec<u8> {
        let (sealer, cost) = match self.wrapping {
            Wrapping::File => (1, [0; 3]),
            Wrapping::Passphrase(cost) => (2, [cost.memory, cost.passes, cost.lanes]),
            Wrapping::Credential => (3, [0; 3]),
        };
        let mut octets = [&WRAPPED_KEY[..], &[VERSION], &self.strongbox.0, &[sealer]].concat();
        octets.extend(cost.into_iter().flat_map(u32::to_be_bytes));
        octets.extend(self.salt);
        octets.extend(self.proof);
        octets
    }
}

impl PassphraseCost {
    /// The second recommendation of RFC 9106 section 4, for hosts that have little memory to spare.
    pub const DEFAULT: Self = Self { memory: 64 << 10, passes: 3, lanes: 4 };
    const MEMORY_MAX: u32 = 1 << 20;
    const PASSES_MAX: u32 = 16;
    const LANES_MAX: u32 = 16;

    /// A cost in KiB of memory, passes over it, and lanes.
    pub fn new(memory: u32, passes: u32, lanes: u32) -> Result<Self, SealedError> {
        // RFC 9106 section 3.1: at least 8 KiB a lane.
        let in_bounds = (1..=Self::PASSES_MAX).contains(&passes)
            && (1..=Self::LANES_MAX).contains(&lanes)
            && (8 * lanes..=Self::MEMORY_MAX).contains(&memory);
        match in_bounds {
            true => Ok(Self { memory, passes, lanes }),
            false => Err(SealedError::Cost { memory, passes, lanes }),
        }
    }

    /// KiB of memory.
    pub fn memory(self) -> u32 {
        self.memory
    }

    /// Passes over it.
    pub fn passes(self) -> u32 {
        self.passes
    }

    /// Lanes.
    pub fn lanes(self) -> u32 {
        self.lanes
    }
}

impl fmt::Debug for StrongboxId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Display for StrongboxId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(out, "{octet:02x}"))
    }
}

/// What is still to be read.
struct Rest<'a> {
    octets: &'a [u8],
    len: usize,
}

impl<'a> Rest<'a> {
    fn begin(octets: &'a [u8], magic: &[u8; 7]) -> Result<Self, SealedError> {
        let mut rest = Self { octets, len: octets.len() };
        if !octets.starts_with(&magic[..octets.len().min(magic.len())]) {
            return Err(SealedError::Foreign);
        }
        let _: [u8; 7] = rest.take()?;
        match rest.take()? {
            [VERSION] => Ok(rest),
            [other] => Err(SealedError::Version(other)),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], SealedError> {
        let (taken, rest) = self.octets.split_first_chunk().ok_or_else(|| self.short())?;
        self.octets = rest;
        Ok(*taken)
    }

    fn short(&self) -> SealedError {
        SealedError::Short(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(wrapping: Wrapping) -> WrappedKey {
        WrappedKey {
            strongbox: StrongboxId([1; 16]),
            wrapping,
            salt: [2; 32],
            proof: [3; 16],
            nonce: [4; 12],
            content: [5; 48],
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let content = [7; TAG_LEN + 3];
        let value =
            SealedValue { strongbox: StrongboxId([1; 16]), nonce: [6; 12], content: &content };
        assert_eq!(SealedValue::parse(&value.encode()), Ok(value));
        let passphrase = Wrapping::Passphrase(PassphraseCost::DEFAULT);
        for wrapping in [Wrapping::File, passphrase, Wrapping::Credential] {
            let octets = key(wrapping).encode();
            assert_eq!(octets.len(), WRAPPED_KEY_LEN);
            assert_eq!(WrappedKey::parse(&octets), Ok(key(wrapping)));
        }
    }

    #[test]
    fn every_shorter_text_is_short() {
        let octets = key(Wrapping::File).encode();
        for len in 0..octets.len() {
            assert_eq!(WrappedKey::parse(&octets[..len]), Err(SealedError::Short(len)));
        }
        let content = [7; TAG_LEN];
        let value =
            SealedValue { strongbox: StrongboxId([1; 16]), nonce: [6; 12], content: &content };
        let octets = value.encode();
        for len in 0..octets.len() {
            assert_eq!(SealedValue::parse(&octets[..len]), Err(SealedError::Short(len)));
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let with = |at: usize, octet: u8| {
            let mut octets = key(Wrapping::File).encode();
            octets[at] = octet;
            let end = octets.len() - CHECKSUM_LEN;
            let checksum = WrappedKey::checksum(&octets[..end]);
            octets[end..].copy_from_slice(&checksum);
            WrappedKey::parse(&octets).unwrap_err()
        };
        assert_eq!(with(0, b'X'), SealedError::Foreign);
        assert_eq!(with(6, b'V'), SealedError::Foreign, "a value is no key");
        assert_eq!(with(7, 2), SealedError::Version(2));
        assert_eq!(with(24, 9), SealedError::Sealer(9));
        assert_eq!(with(28, 1), SealedError::Stray);
        assert_eq!(with(24, 2), SealedError::Cost { memory: 0, passes: 0, lanes: 0 });
        let long = [key(Wrapping::File).encode(), vec![0]].concat();
        assert_eq!(WrappedKey::parse(&long), Err(SealedError::Long(WRAPPED_KEY_LEN + 1)));
    }

    #[test]
    fn damage_of_any_bit_is_told() {
        let octets = key(Wrapping::File).encode();
        for bit in 0..octets.len() * 8 {
            let mut damaged = octets.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = WrappedKey::parse(&damaged).unwrap_err();
            let told = match bit / 8 {
                0..7 => SealedError::Foreign,
                7 => SealedError::Version(damaged[7]),
                _ => SealedError::Damaged,
            };
            assert_eq!(error, told, "bit {bit}");
        }
    }

    #[test]
    fn a_passphrase_costs_neither_nothing_nor_all() {
        for (memory, passes, lanes) in
            [(7, 1, 1), (8, 0, 1), (8, 1, 0), (15, 1, 2), (1 << 21, 1, 1), (8, 17, 1), (512, 1, 17)]
        {
            let refused = SealedError::Cost { memory, passes, lanes };
            assert_eq!(PassphraseCost::new(memory, passes, lanes), Err(refused));
        }
        assert!(PassphraseCost::new(8, 1, 1).is_ok());
        assert!(PassphraseCost::new(u32::MAX, u32::MAX, u32::MAX).is_err());
    }
}
