//! A leaf's private key. It is made where it is used, and only the request for its certificate goes elsewhere.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use gateway_control::identity::KeyPin;
use rcgen::PublicKeyData as _;

/// A private key on P-256, cleared from memory when it is dropped.
#[derive(Clone)]
pub struct LeafKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pin: KeyPin,
}

/// Why there is no such key.
#[derive(Debug, thiserror::Error)]
#[error("a private key: {0}")]
pub struct KeyError(#[from] rcgen::Error);

impl LeafKey {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self::of(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// A key as [`Self::pkcs8`] gave it.
    pub fn read(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from(pkcs8);
        Ok(Self::of(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?))
    }

    fn of(pair: KeyPair) -> Self {
        let pin = KeyPin::of(&pair.subject_public_key_info());
        Self { pkcs8: Zeroizing::new(pair.serialize_der()), pin }
    }

    /// The key as it is kept (PKCS#8, DER), for whoever seals it.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The hash of its public key.
    pub fn pin(&self) -> KeyPin {
        self.pin
    }

    /// A request for a certificate (PKCS#10, DER). It names nobody: whom a key belongs to is not for its holder to
    /// say.
    pub fn request(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        Ok(params.serialize_request(&self.pair()?)?.der().to_vec())
    }

    /// As the signer of TLS takes it.
    pub(super) fn der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()).into()
    }

    pub(super) fn pair(&self) -> Result<KeyPair, KeyError> {
        let der = PrivatePkcs8KeyDer::from(self.pkcs8.as_slice());
        Ok(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?)
    }
}

impl std::fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeafKey({})", self.pin)
    }
}
