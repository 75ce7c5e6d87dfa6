//! The strongbox: one data key, and what is sealed with it in files of a directory or kept elsewhere.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{Aad, Nonce, RandomizedNonceKey};
use gateway_control::sealed::{
    PLAIN_MAX_LEN, SealedError, SealedValue, StrongboxId, TAG_LEN, VALUE_MAX_LEN, WRAPPED_KEY_LEN,
    WrappedKey,
};
use zeroize::Zeroizing;

use super::directory::Directory;
use super::sealer::{Sealer, kind};
use super::wrap::{DataKey, Unwrap, cipher, random, unwrap, wrap};
use super::{Purpose, SealError};

/// File of the wrapped key.
const KEY: &str = "strongbox";
/// How names of sealed files end.
const SEALED: &str = ".sealed";

/// A directory of sealed files, with the key to them. Cheap to share by reference; several threads may use it,
/// and several processes may use the same directory.
pub struct Strongbox {
    directory: Directory,
    id: StrongboxId,
    data_key: DataKey,
    cipher: RandomizedNonceKey,
}

/// Where a sealed value lies: one in a file is not good for elsewhere.
#[derive(Clone, Copy)]
enum Place {
    File,
    Elsewhere,
}

impl Strongbox {
    /// Makes one with a new data key. The directory is made if it is not there; one that others than its owner
    /// can use is refused, and so is one that has a strongbox or sealed files. A key file that is not there is
    /// made as well.
    pub fn create(directory: &Path, sealer: &Sealer) -> Result<Self, SealError> {
        let directory = Directory::make(directory)?;
        let locked = directory.lock()?;
        let path = directory.path(KEY);
        if directory.read(KEY, 0)?.is_some() {
            return Err(SealError::Exists { path });
        }
        if let Some(sealed) = directory.ending(SEALED)?.first() {
            return Err(SealError::KeyGone { path, sealed: directory.path(sealed) });
        }
        sealer.make()?;
        let (id, data_key) = (StrongboxId(random()), DataKey::new(Zeroizing::new(random())));
        let wrapped = wrap(id, sealer.wrapping(), &sealer.secret()?, &data_key)?;
        locked.replace(KEY, &wrapped.encode())?;
        drop(locked);
        Ok(Self::with(directory, id, data_key))
    }

    /// Opens the one in a directory.
    pub fn open(directory: &Path, sealer: &Sealer) -> Result<Self, SealError> {
        let directory = Directory::at(directory)?;
        let path = directory.path(KEY);
        let Some(octets) = directory.read(KEY, WRAPPED_KEY_LEN)? else {
            return Err(match directory.ending(SEALED)?.first() {
                Some(sealed) => SealError::KeyGone { path, sealed: directory.path(sealed) },
                None => SealError::Missing { path },
            });
        };
        let wrapped = WrappedKey::parse(&octets)
            .map_err(|error| SealError::Format { path: path.clone(), error })?;
        if kind(wrapped.wrapping) != kind(sealer.wrapping()) {
            let (found, configured) = (kind(wrapped.wrapping), sealer.to_string());
            return Err(SealError::OtherSealer { path, found, configured });
        }
        let data_key = unwrap(&wrapped, &sealer.secret()?).map_err(|error| match error {
            Unwrap::WrongKey => SealError::WrongKey { path, sealer: sealer.to_string() },
            Unwrap::Damaged => SealError::Damaged { path },
            Unwrap::Secret(error) => error.into(),
        })?;
        Ok(Self::with(directory, wrapped.strongbox, data_key))
    }

    /// Opens the one in a directory, or makes it where there is neither one nor anything sealed.
    pub fn establish(directory: &Path, sealer: &Sealer) -> Result<Self, SealError> {
        match Self::create(directory, sealer) {
            Err(SealError::Exists { .. }) => Self::open(directory, sealer),
            other => other,
        }
    }

    /// Which one it is. No secret.
    pub fn id(&self) -> StrongboxId {
        self.id
    }

    /// Seals a value in a file, which replaces the one of the same name in one step. It is on the disk when
    /// this returns. Waits for the disk: off an async thread, or in `block_in_place`.
    pub fn write(&self, name: &Purpose, plain: &[u8]) -> Result<(), SealError> {
        let octets = self.lock_up(Place::File, name, plain)?;
        self.directory.lock()?.replace(&file_name(name), &octets)
    }

    /// What is in a file, `None` if there is none of this name.
    pub fn read(&self, name: &Purpose) -> Result<Option<Zeroizing<Vec<u8>>>, SealError> {
        let file = file_name(name);
        let Some(octets) = self.directory.read(&file, VALUE_MAX_LEN)? else { return Ok(None) };
        let path = self.directory.path(&file);
        self.unlock(Place::File, name, &octets).map(Some).map_err(|locked| match locked {
            Locked::Format(error) => SealError::Format { path, error },
            Locked::Other(found) => {
                let what = path.display().to_string();
                SealError::OtherStrongbox { what, found, this: self.id }
            }
            Locked::Damaged => SealError::Damaged { path },
        })
    }

    /// Removes a file; there need not be one of this name.
    pub fn remove(&self, name: &Purpose) -> Result<(), SealError> {
        self.directory.lock()?.remove(&file_name(name))
    }

    /// Names of the sealed files.
    pub fn names(&self) -> Result<Vec<Purpose>, SealError> {
        let files = self.directory.ending(SEALED)?;
        let names = files.iter().filter_map(|file| file.strip_suffix(SEALED)?.parse().ok());
        Ok(names.collect())
    }

    /// Path of a sealed file, for messages.
    pub fn path(&self, name: &Purpose) -> PathBuf {
        self.directory.path(&file_name(name))
    }

    /// Seals a value that is kept elsewhere. It opens for this purpose only.
    pub fn seal(&self, purpose: &Purpose, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.lock_up(Place::Elsewhere, purpose, plain)
    }

    /// Opens a value that is kept elsewhere.
    pub fn unseal(
        &self,
        purpose: &Purpose,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.unlock(Place::Elsewhere, purpose, sealed).map_err(|locked| {
            let purpose = purpose.to_string();
            match locked {
                Locked::Format(error) => SealError::Value { purpose, error },
                Locked::Other(found) => SealError::OtherStrongbox {
                    what: format!("sealed value {purpose}"),
                    found,
                    this: self.id,
                },
                Locked::Damaged => SealError::DamagedValue { purpose },
            }
        })
    }

    /// Wraps the data key with another secret. What is sealed stays as it is, and whoever had the earlier
    /// secret together with the earlier file keeps the data key.
    pub fn rewrap(&self, sealer: &Sealer) -> Result<(), SealError> {
        let locked = self.directory.lock()?;
        sealer.make()?;
        let wrapped = wrap(self.id, sealer.wrapping(), &sealer.secret()?, &self.data_key)?;
        locked.replace(KEY, &wrapped.encode())
    }

    fn with(directory: Directory, id: StrongboxId, data_key: DataKey) -> Self {
        let cipher = cipher(&data_key);
        Self { directory, id, data_key, cipher }
    }

    fn lock_up(&self, place: Place, name: &Purpose, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let too_long = || SealError::TooLong { purpose: name.to_string(), len: plain.len() };
        if plain.len() > PLAIN_MAX_LEN {
            return Err(too_long());
        }
        // Room for the tag, so that growing leaves no copy in clear behind.
        let mut content = Zeroizing::new(Vec::with_capacity(plain.len() + TAG_LEN));
        content.extend_from_slice(plain);
        let associated = Aad::from(self.associated(place, name));
        let nonce = self
            .cipher
            .seal_in_place_append_tag(associated, &mut *content)
            .map_err(|_| too_long())?;
        let sealed = SealedValue { strongbox: self.id, nonce: *nonce.as_ref(), content: &content };
        Ok(sealed.encode())
    }

    fn unlock(
        &self,
        place: Place,
        name: &Purpose,
        octets: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Locked> {
        let sealed = SealedValue::parse(octets).map_err(Locked::Format)?;
        if sealed.strongbox != self.id {
            return Err(Locked::Other(sealed.strongbox));
        }
        let mut content = Zeroizing::new(sealed.content.to_vec());
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let associated = Aad::from(self.associated(place, name));
        let len = self
            .cipher
            .open_in_place(nonce, associated, &mut content)
            .map_err(|_| Locked::Damaged)?
            .len();
        content.truncate(len);
        Ok(content)
    }

    /// What is sealed with a value besides itself: format, strongbox, place and name.
    fn associated(&self, place: Place, name: &Purpose) -> Vec<u8> {
        let place = match place {
            Place::File => 0,
            Place::Elsewhere => 1,
        };
        let mut octets = SealedValue::header(self.id);
        octets.push(place);
        octets.extend(name.as_str().as_bytes());
        octets
    }
}

impl std::fmt::Debug for Strongbox {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = self.directory.path("");
        out.debug_struct("Strongbox")
            .field("id", &self.id)
            .field("directory", &directory)
            .finish_non_exhaustive()
    }
}

/// Why a value did not open.
enum Locked {
    Format(SealedError),
    Other(StrongboxId),
    Damaged,
}

fn file_name(name: &Purpose) -> String {
    format!("{name}{SEALED}")
}
