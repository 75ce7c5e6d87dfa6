//! Where the secret of a wrapping key comes from. Never from an argument or the environment, which others on
//! the host can read.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::rand;
use gateway_control::sealed::{PassphraseCost, Wrapping};
use nix::libc::{O_CLOEXEC, O_NONBLOCK};
use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::SecretError;

/// What a strongbox's data key is wrapped with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealer {
    /// The content of a file: 32 octets or more.
    File(PathBuf),
    /// A passphrase, by argon2id.
    Passphrase(PassphraseSource),
    /// A credential that the service manager gives: 32 octets or more.
    Credential(CredentialName),
}

/// Where a passphrase is read from: the first line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// A file.
    File(PathBuf),
    /// A descriptor that whoever starts the program has opened, of a file or of a pipe.
    Descriptor(u16),
}

/// Name of a credential: 1 to 255 letters, digits, hyphens, underscores and dots, no dot first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialName(String);

/// A text that is no name of a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a credential; use letters, digits, hyphens, underscores and dots")]
pub struct InvalidCredentialName(String);

/// A secret of fewer octets could be tried out.
const KEY_MIN_LEN: usize = 32;
/// A longer one is some other file.
const KEY_MAX_LEN: usize = 4096;
/// The shortest passphrase, in octets.
const PASSPHRASE_MIN_LEN: usize = 8;
const PASSPHRASE_MAX_LEN: usize = 1024;
/// How many octets a key file has that is made here.
const MADE_LEN: usize = 32;

const KEY_LENGTH: &str = "a key has 32 to 4096; make one with `head -c 32 /dev/urandom`";

impl Sealer {
    /// How a data key is marked that it wraps.
    pub(super) fn wrapping(&self) -> Wrapping {
        match self {
            Self::File(_) => Wrapping::File,
            Self::Passphrase(_) => Wrapping::Passphrase(PassphraseCost::DEFAULT),
            Self::Credential(_) => Wrapping::Credential,
        }
    }

    /// The secret. A passphrase that comes by a pipe can be had once.
    pub(super) fn secret(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        match self {
            Self::File(path) => key(path, self.to_string(), MISSING_KEY),
            Self::Passphrase(source) => passphrase(source),
            Self::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| SecretError::NoCredentials { name: name.to_string() })?;
                let path = Path::new(&directory).join(&name.0);
                key(&path, self.to_string(), "add it to the unit with `LoadCredentialEncrypted=`")
            }
        }
    }

    /// Makes what can be made without its operator: a key file that is not there yet.
    pub(super) fn make(&self) -> Result<(), SecretError> {
        match self {
            Self::File(path) => make_key(path).map_err(|reason| SecretError::Read {
                what: format!("{self}, which is not there and has to be made"),
                reason,
                remedy: "make it by hand, or correct seal.path",
            }),
            Self::Passphrase(_) | Self::Credential(_) => Ok(()),
        }
    }
}

/// What the wrapped key of this kind is sealed with, in an operator's words.
pub(super) fn kind(wrapping: Wrapping) -> &'static str {
    match wrapping {
        Wrapping::File => "a key file",
        Wrapping::Passphrase(_) => "a passphrase",
        Wrapping::Credential => "a credential",
    }
}

impl fmt::Display for Sealer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "key file {}", path.display()),
            Self::Passphrase(PassphraseSource::File(path)) => {
                write!(out, "the passphrase in {}", path.display())
            }
            Self::Passphrase(PassphraseSource::Descriptor(number)) => {
                write!(out, "the passphrase by descriptor {number}")
            }
            Self::Credential(name) => write!(out, "credential {name}"),
        }
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for CredentialName {
    type Err = InvalidCredentialName;

    fn from_str(text: &str) -> Result<Self, InvalidCredentialName> {
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
        match (1..256).contains(&text.len()) && text.bytes().all(is_name) && !text.starts_with('.')
        {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidCredentialName(text.chars().take(80).collect())),
        }
    }
}

const MISSING_KEY: &str = "put it back from where it is kept, or correct seal.path";

fn key(path: &Path, what: String, remedy: &'static str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let unreadable = |reason| SecretError::Read { what: what.clone(), reason, remedy };
    let mut file = private(path, &what, remedy)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a regular file")));
    }
    let secret = read(&mut file, KEY_MAX_LEN + 1).map_err(unreadable)?;
    match secret.len() {
        KEY_MIN_LEN..=KEY_MAX_LEN => Ok(secret),
        len => Err(SecretError::Length { what, len, wanted: KEY_LENGTH }),
    }
}

fn passphrase(source: &PassphraseSource) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let what = Sealer::Passphrase(source.clone()).to_string();
    let remedy = "correct seal.path or seal.descriptor";
    let unreadable = |reason| SecretError::Read { what: what.clone(), reason, remedy };
    let mut file = match source {
        PassphraseSource::File(path) => private(path, &what, remedy)?,
        // Waits for its writer, as whoever opened it means it to.
        PassphraseSource::Descriptor(number) => {
            File::open(format!("/proc/self/fd/{number}")).map_err(unreadable)?
        }
    };
    let mut secret = read(&mut file, PASSPHRASE_MAX_LEN + 2).map_err(unreadable)?;
    if let Some(end) = secret.iter().position(|octet| matches!(octet, b'\n' | b'\r')) {
        secret.truncate(end);
    }
    match secret.len() {
        PASSPHRASE_MIN_LEN..=PASSPHRASE_MAX_LEN => Ok(secret),
        len => {
            let wanted = "a passphrase has 8 to 1024, and is the first line";
            Err(SecretError::Length { what, len, wanted })
        }
    }
}

/// Opens a file that its owner alone may use; a pipe is not waited for.
fn private(path: &Path, what: &str, remedy: &'static str) -> Result<File, SecretError> {
    let unreadable = |reason| SecretError::Read { what: what.to_owned(), reason, remedy };
    let options = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_CLOEXEC).clone();
    let file = options.open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    let mode = found.mode() & 0o7777;
    let is_ours = found.uid() == 0 || found.uid() == geteuid().as_raw();
    if mode & 0o077 != 0 || !is_ours {
        return Err(SecretError::OpenToOthers { what: what.to_owned(), mode, owner: found.uid() });
    }
    Ok(file)
}

/// At most so many octets, with no copy of them left behind by growing.
fn read(file: &mut File, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(most + 1));
    file.take(most as u64).read_to_end(&mut octets)?;
    Ok(octets)
}

/// Makes a key file for its owner alone, unless there is one.
fn make_key(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut key = Zeroizing::new([0; MADE_LEN]);
    rand::fill(&mut *key).map_err(|_| io::Error::other("the random numbers failed"))?;
    // Under another name until it is whole, so that a crash leaves no half of a key.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let made = file.write_all(&*key).and_then(|()| file.sync_all()).and_then(|()| {
        // Unlike a rename, it does not replace what another has put there meanwhile.
        std::fs::hard_link(&new, path)
    });
    std::fs::remove_file(&new)?;
    made?;
    File::open(directory)?.sync_all()
}
