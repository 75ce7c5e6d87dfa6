//! Wrapping a data key: a secret gives a wrapping key, and with it a proof by which a wrong one is told from
//! damage. Key files and credentials are as good as random; a passphrase goes through argon2id before.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;
use gateway_control::sealed::{KEY_LEN, PassphraseCost, StrongboxId, WrappedKey, Wrapping};
use zeroize::{Zeroize as _, Zeroizing};

use super::SecretError;

/// A strongbox's data key.
pub(super) type DataKey = Box<Zeroizing<[u8; KEY_LEN]>>;

/// Why a data key was not unwrapped.
pub(super) enum Unwrap {
    /// The secret is another.
    WrongKey,
    /// The secret is right, and the wrapped key is not as it was.
    Damaged,
    /// No key could be derived.
    Secret(SecretError),
}

/// Random octets.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    // With the operating system's random numbers gone there is nothing to go on with.
    rand::fill(&mut octets).expect("the kernel gives random numbers");
    octets
}

/// Wraps a data key with a secret.
pub(super) fn wrap(
    strongbox: StrongboxId,
    wrapping: Wrapping,
    secret: &[u8],
    data_key: &DataKey,
) -> Result<WrappedKey, SecretError> {
    let salt = random();
    let (key, proof) = derive(wrapping, secret, &salt)?;
    let mut wrapped =
        WrappedKey { strongbox, wrapping, salt, proof, nonce: [0; 12], content: [0; 48] };
    let mut content = Zeroizing::new(data_key.to_vec());
    let header = wrapped.header();
    let nonce = cipher(&key)
        .seal_in_place_append_tag(Aad::from(header), &mut *content)
        .expect("a key of 32 octets can be sealed");
    wrapped.nonce = *nonce.as_ref();
    wrapped.content.copy_from_slice(&content);
    Ok(wrapped)
}

/// Gives back the data key.
pub(super) fn unwrap(wrapped: &WrappedKey, secret: &[u8]) -> Result<DataKey, Unwrap> {
    let (key, proof) = derive(wrapped.wrapping, secret, &wrapped.salt).map_err(Unwrap::Secret)?;
    verify_slices_are_equal(&proof, &wrapped.proof).map_err(|_| Unwrap::WrongKey)?;
    let mut content = Zeroizing::new(wrapped.content);
    let nonce = Nonce::assume_unique_for_key(wrapped.nonce);
    let opened = cipher(&key)
        .open_in_place(nonce, Aad::from(wrapped.header()), &mut *content)
        .map_err(|_| Unwrap::Damaged)?;
    let mut data_key = DataKey::default();
    data_key.copy_from_slice(opened);
    Ok(data_key)
}

/// AES-256-GCM with nonces that are random when sealing.
pub(super) fn cipher(key: &[u8; KEY_LEN]) -> RandomizedNonceKey {
    RandomizedNonceKey::new(&AES_256_GCM, key).expect("the key has the cipher's length")
}

type Derived = (Zeroizing<[u8; KEY_LEN]>, [u8; 16]);

fn derive(wrapping: Wrapping, secret: &[u8], salt: &[u8; 32]) -> Result<Derived, SecretError> {
    let prk = match wrapping {
        Wrapping::File | Wrapping::Credential => extract(salt, secret),
        Wrapping::Passphrase(cost) => extract(salt, &*stretch(cost, secret, salt)?),
    };
    let mut key = Zeroizing::new([0; KEY_LEN]);
    expand(&prk, b"presence strongbox 1: wrapping key", &mut *key);
    let mut proof = [0; 16];
    expand(&prk, b"presence strongbox 1: proof", &mut proof);
    Ok((key, proof))
}

fn extract(salt: &[u8], secret: &[u8]) -> Prk {
    Salt::new(HKDF_SHA256, salt).extract(secret)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(prk: &Prk, purpose: &[u8], out: &mut [u8]) {
    prk.expand(&[purpose], Length(out.len()))
        .and_then(|octets| octets.fill(out))
        .expect("HKDF gives up to 255 digests");
}

/// Argon2id of RFC 9106. Memory is asked for before it is used, so that too little is an error.
fn stretch(
    cost: PassphraseCost,
    passphrase: &[u8],
    salt: &[u8; 32],
) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    let params = Params::new(cost.memory(), cost.passes(), cost.lanes(), Some(32))
        .expect("bounds of a cost are narrower than argon2's");
    let count = params.block_count();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut blocks: Vec<Block> = Vec::new();
    blocks.try_reserve_exact(count).map_err(|_| SecretError::Memory(cost.memory()))?;
    blocks.resize(count, Block::default());
    let mut out = Zeroizing::new([0; 32]);
    argon2
        .hash_password_into_with_memory(passphrase, salt, &mut *out, &mut blocks)
        .expect("a passphrase is shorter and a salt longer than argon2's bounds");
    blocks.iter_mut().for_each(|block| block.zeroize());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretched(cost: PassphraseCost) -> [u8; 32] {
        *stretch(cost, b"correct horse", &[7; 32]).unwrap()
    }

    /// The key is what OpenSSL 3.2's ARGON2ID gives for this passphrase and salt.
    #[test]
    fn a_passphrase_gives_the_key_that_it_gives_elsewhere() {
        let cost = PassphraseCost::new(64, 2, 1).unwrap();
        let hex: String = stretched(cost).iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, "b513288b755cd2dbe15cb5e46e13811489b06b7554954f76311e7082a28adab6");
        assert_ne!(stretched(PassphraseCost::new(64, 3, 1).unwrap()), stretched(cost));
    }

    #[test]
    fn a_key_is_as_good_as_its_secret() {
        let data_key = DataKey::new(Zeroizing::new(random()));
        let cost = PassphraseCost::new(64, 1, 1).unwrap();
        for wrapping in [Wrapping::File, Wrapping::Passphrase(cost), Wrapping::Credential] {
            let wrap = || wrap(StrongboxId([1; 16]), wrapping, b"secret", &data_key).unwrap();
            let wrapped = wrap();
            assert!(matches!(unwrap(&wrapped, b"secret"), Ok(key) if key == data_key));
            assert!(matches!(unwrap(&wrapped, b"Secret"), Err(Unwrap::WrongKey)));
            let other = WrappedKey { strongbox: StrongboxId([2; 16]), ..wrapped };
            assert!(matches!(unwrap(&other, b"secret"), Err(Unwrap::Damaged)));
            assert_ne!(wrap().content, wrapped.content, "the same key is wrapped anew each time");
        }
    }
}
