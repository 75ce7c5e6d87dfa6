//! The site file: the text an operator writes, read into a [`SiteModel`].
//!
//! `gatewayd` calls [`parse`]. Whatever the text, the answer is a model or a list of faults, each
//! with line, column and the line itself; never a panic, and never more than [`MAX_LEN`] bytes of
//! work. A fault of the notation hides those of values, and these hide contradictions between values,
//! so a file may need to be corrected more than once.

mod fault;
mod lower;
mod raw;

pub use fault::{Fault, SiteFileError};

use crate::lowering::Span;
use crate::model::{ModelError, SiteModel};

/// Longest site file, in bytes.
pub const MAX_LEN: usize = 1 << 20;

/// Reads a site file.
pub fn parse(text: &str) -> Result<SiteModel, SiteFileError> {
    if text.len() > MAX_LEN {
        return Err(SiteFileError::one(text, 0..0, FaultKind::TooLong { length: text.len() }));
    }
    let raw: raw::SiteFile = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        SiteFileError::one(text, span, FaultKind::Notation(notation(error.message())))
    })?;
    let (draft, spans) = lower::draft(raw).map_err(|found| SiteFileError::new(text, found))?;
    SiteModel::check(draft).map_err(|problems| {
        let found = problems
            .into_iter()
            .map(|problem| (spans.find(problem.place), FaultKind::Content(problem.error)));
        SiteFileError::new(text, found.collect())
    })
}

/// What the notation's reader says, and the remedy where it says none.
fn notation(message: &str) -> String {
    if message.starts_with("missing field") {
        format!("{message}; add it to this table")
    } else {
        message.to_owned()
    }
}

/// What can be wrong with a site file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Too long to be one.
    #[error(
        "the file has {length} bytes and a site file at most {MAX_LEN}; is this the right file?"
    )]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Not TOML, an unknown or missing key, or a value of the wrong kind.
    #[error("{0}")]
    Notation(String),
    /// A value, or values together, make no sense.
    #[error(transparent)]
    Content(#[from] ModelError),
}
