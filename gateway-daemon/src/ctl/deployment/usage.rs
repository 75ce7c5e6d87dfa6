//! What can be wrong with a command line or with the files that it names: exit code 2.

use std::io;
use std::path::PathBuf;

use gateway_control::model::ValueError;
use gateway_control::resource::Kind;

use crate::api::client::ClientError;
use crate::api::wire::ErrorWord;

/// A command line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    /// No kind.
    #[error("{found:?} is no kind of resource; give one of {known}")]
    Kind {
        /// The word.
        found: String,
        /// The kinds.
        known: String,
    },
    /// No name.
    #[error("{} {found:?}: {error}", .kind.word().to_lowercase())]
    Name {
        /// The kind.
        kind: Kind,
        /// The word.
        found: String,
        /// Why.
        error: ValueError,
    },
    /// Two ways to name resources.
    #[error("{found:?} has no place here; write KIND NAME…, or KIND/NAME for each")]
    Mixed {
        /// The word.
        found: String,
    },
    /// No resource.
    #[error("no resource is named; write KIND NAME or KIND/NAME")]
    Nothing,
    /// Not one resource.
    #[error("one resource is expected; write KIND NAME or KIND/NAME")]
    OneName,
    /// All at once.
    #[error("whole kinds are not deleted; name each resource: KIND NAME…, KIND/NAME or -f FILE")]
    NoNames,
    /// Names and a selector.
    #[error("--selector chooses among all of a kind; leave it or the names out")]
    NamesAndSelector,
    /// No name could be made.
    #[error("no name can be made for it that is short enough ({made:?}); give one with --name")]
    NoName {
        /// What was made.
        made: String,
    },
    /// What the words come to is no resource.
    #[error("{0}")]
    Content(String),
    /// A label that is to be set and removed.
    #[error("label {key} is named twice; name it once")]
    LabelTwice {
        /// Its key.
        key: String,
    },
    /// Questions without anybody to answer.
    #[error("standard input is no terminal, so nothing can be asked: give {missing}")]
    NobodyToAsk {
        /// The options.
        missing: String,
    },
    /// A form that the answer does not have.
    #[error("-o {found}: this command has no such answer; {remedy}")]
    Output {
        /// The form.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// One cannot be read.
    #[error("{}: cannot read it: {reason}; correct the name or its permissions", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
    /// A directory without files.
    #[error("{}: no *.yaml, *.yml or *.json is in this directory; name another", .path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// Standard input twice.
    #[error("standard input can be read once only; give -f - once")]
    InputTwice,
    /// Too long together.
    #[error("the files have more than {most} octets together; apply them in parts")]
    TooLong {
        /// How many they may have.
        most: usize,
    },
    /// Faults in them.
    #[error("{0}")]
    Faults(String),
}

/// What the controller refuses in what it was sent.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refused {
    /// What is wrong, with places of the files.
    pub text: String,
    /// What kind of refusal it is.
    pub error: ErrorWord,
    /// Whether a resource was changed since it was read.
    pub is_outrun: bool,
}

/// Files that could not be compared.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub(crate) struct Incomparable(pub anyhow::Error);

/// Whether an error is of the command line or the files.
pub(crate) fn is_usage(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_word = |error| matches!(error, ErrorWord::BadRequest | ErrorWord::Invalid);
    error.is::<UsageError>()
        || error.is::<FilesError>()
        || error.is::<Incomparable>()
        || error.downcast_ref().is_some_and(|it: &Refused| of_word(it.error))
        || error.downcast_ref().is_some_and(|it: &ClientError| match it {
            ClientError::Refused(refusal) => of_word(refusal.error),
            _ => false,
        })
}
