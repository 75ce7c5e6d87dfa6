//! Hashes of keys that are known beforehand.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a public key, as its certificate has it (the DER of SubjectPublicKeyInfo, RFC 5280 section 4.1).
///
/// Of the key and not of the certificate, whose octets others can change without making it another (an ECDSA
/// signature has two forms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPin([u8; Self::LEN]);

impl KeyPin {
    /// Octets of one.
    pub const LEN: usize = 32;

    /// Of these octets.
    pub fn new(octets: [u8; Self::LEN]) -> Self {
        Self(octets)
    }

    /// Of a public key.
    pub fn of(public_key_info: &[u8]) -> Self {
        Self(Sha256::digest(public_key_info).into())
    }

    /// The octets.
    pub fn octets(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
