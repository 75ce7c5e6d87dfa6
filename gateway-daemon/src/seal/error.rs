//! What is told to an operator whose strongbox cannot be used: the file, what is wrong, the remedy.

use std::io;
use std::path::PathBuf;

use gateway_control::sealed::{SealedError, StrongboxId};

/// Why a strongbox, or something in it, is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The directory is not for its owner alone.
    #[error("directory of sealed files {}: {wrong}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and the remedy.
        wrong: String,
    },
    /// A file failed us.
    #[error("{}: cannot {doing} it: {reason}{}", .path.display(), remedy(.reason))]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        reason: io::Error,
    },
    /// There is no strongbox.
    #[error(
        "{}: there is no strongbox; correct seal.directory, or put back the file from a \
         backup", .path.display()
    )]
    Missing {
        /// Where its wrapped key would be.
        path: PathBuf,
    },
    /// There is one already.
    #[error("{}: there is a strongbox already, which is not replaced", .path.display())]
    Exists {
        /// Its wrapped key.
        path: PathBuf,
    },
    /// There are sealed files, and their key is gone.
    #[error(
        "{}: it was sealed by a strongbox whose key, {}, is gone; put that file back from a backup, or move the \
         sealed files away to begin anew without what is in them", .sealed.display(), .path.display()
    )]
    KeyGone {
        /// Where the wrapped key would be.
        path: PathBuf,
        /// One of the sealed files.
        sealed: PathBuf,
    },
    /// A file is none of ours, or cut off.
    #[error("{}: {error}; put it back from a backup", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: SealedError,
    },
    /// The wrapped key is wrapped with another kind of secret.
    #[error(
        "strongbox {}: it is sealed with {found}, and the file says {configured}; correct seal.kind (to change \
         what it is sealed with, correct it and run `gatewayctl seal rewrap`)", .path.display()
    )]
    OtherSealer {
        /// The wrapped key.
        path: PathBuf,
        /// What it is wrapped with.
        found: &'static str,
        /// What it should be by the configuration.
        configured: String,
    },
    /// The secret is not the one it was wrapped with.
    #[error(
        "strongbox {}: {sealer} is not the one that it is sealed with; nothing was changed, give the right one",
        .path.display()
    )]
    WrongKey {
        /// The wrapped key.
        path: PathBuf,
        /// Where the secret came from.
        sealer: String,
    },
    /// A file does not open, with the right key.
    #[error(
        "{}: it is damaged, or another file was put in its place; put it back from a backup", .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A value that is not in a file does not open, with the right key.
    #[error("sealed value {purpose}: it is damaged, or another was put in its place")]
    DamagedValue {
        /// What it was to be for.
        purpose: String,
    },
    /// Octets that are no sealed value.
    #[error("sealed value {purpose}: {error}")]
    Value {
        /// What it was to be for.
        purpose: String,
        /// What is wrong.
        error: SealedError,
    },
    /// Sealed by another strongbox.
    #[error(
        "{what}: it was sealed by strongbox {found}, and this one is {this}; files of different directories \
         were mixed, put back those that belong together"
    )]
    OtherStrongbox {
        /// The file, or what the value is for.
        what: String,
        /// The one that sealed it.
        found: StrongboxId,
        /// This one.
        this: StrongboxId,
    },
    /// More than can be sealed.
    #[error("sealed value {purpose}: {len} octets are more than can be sealed")]
    TooLong {
        /// What it is for.
        purpose: String,
        /// Its length.
        len: usize,
    },
    /// The secret of the wrapping key cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Why the secret of a wrapping key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("{what}: cannot read it: {reason}; {remedy}")]
    Read {
        /// What it is, and where.
        what: String,
        /// What the kernel said.
        reason: io::Error,
        /// The remedy.
        remedy: &'static str,
    },
    /// Others than its owner have access to it.
    #[error(
        "{what}: others than root have access to it (mode {mode:04o}, user {owner}); run `chown root` and `chmod \
         600` on it, and seal anew with `gatewayctl seal rewrap` if anybody may have read it"
    )]
    OpenToOthers {
        /// What it is, and where.
        what: String,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: u32,
    },
    /// It is too short, or too long, to be one.
    #[error("{what}: it has {len} octets; {wanted}")]
    Length {
        /// What it is, and where.
        what: String,
        /// Its length, as far as it was read.
        len: usize,
        /// How long it has to be.
        wanted: &'static str,
    },
    /// The service manager gave no credentials.
    #[error(
        "credential {name}: the service manager gave none (CREDENTIALS_DIRECTORY is not set); add \
         `LoadCredentialEncrypted={name}` to the unit, or correct seal.kind"
    )]
    NoCredentials {
        /// Its name.
        name: String,
    },
    /// There is not enough memory to derive a key.
    #[error("cannot derive a key from the passphrase: {0} KiB of memory are needed; free some")]
    Memory(u32),
}

fn remedy(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, what was there before is unchanged"
        }
        io::ErrorKind::PermissionDenied => "; run as root",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it writable, or correct seal.directory, what was there before is unchanged"
        }
        _ => "",
    }
}
