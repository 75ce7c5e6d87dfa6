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

use crate::deployment::share::LocalFacts;
use crate::lowering::Span;
use crate::model::{GatewayName, ModelError, SiteModel, SiteName, ValueError};

/// Longest site file, in bytes.
pub const MAX_LEN: usize = 1 << 20;

/// What a daemon is, by the key `mode` of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A gateway that has all of it from its site file; the default.
    Standalone,
    /// The controller, and perhaps the gateway of a site as well.
    Controller,
    /// A gateway that a controller tells its share.
    Gateway,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Standalone, Self::Controller, Self::Gateway];

    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Controller => "controller",
            Self::Gateway => "gateway",
        }
    }
}

/// A gateway that is told its share, by its own file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldGateway {
    /// Who it is; `None`: whom joining has made it.
    pub own: Option<OwnName>,
    /// What only its host knows.
    pub facts: LocalFacts,
}

/// Who a gateway is by its own file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnName {
    /// Its name, as it is declared.
    pub name: GatewayName,
    /// Its site.
    pub site: SiteName,
}

/// What kind of file a text is.
pub fn mode(text: &str) -> Result<Mode, SiteFileError> {
    let moded: raw::Moded = read(text)?;
    let Some(mode) = moded.mode else { return Ok(Mode::Standalone) };
    Mode::ALL.into_iter().find(|it| it.word() == mode.as_ref()).ok_or_else(|| {
        let error = ValueError::choice(mode.as_ref(), &Mode::ALL.map(Mode::word));
        SiteFileError::one(text, mode.span(), FaultKind::Mode(error))
    })
}

/// Reads what the file of a controller or of a gateway that is told its share says of the gateway; `None` if the
/// host is none.
pub fn parse_told(text: &str) -> Result<Option<ToldGateway>, SiteFileError> {
    lower::told(read(text)?).map_err(|found| SiteFileError::new(text, found))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SiteFileError> {
    if text.len() > MAX_LEN {
        return Err(SiteFileError::one(text, 0..0, FaultKind::TooLong { length: text.len() }));
    }
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        SiteFileError::one(text, span, FaultKind::Notation(notation(error.message())))
    })
}

/// Reads a site file.
pub fn parse(text: &str) -> Result<SiteModel, SiteFileError> {
    let raw: raw::SiteFile = read(text)?;
    if let Some(mode) = raw.mode.as_ref().filter(|it| it.as_ref() != Mode::Standalone.word()) {
        let error = ValueError::choice(mode.as_ref(), &[Mode::Standalone.word()]);
        return Err(SiteFileError::one(text, mode.span(), FaultKind::Mode(error)));
    }
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
    /// A mode that there is not.
    #[error("mode: {0}")]
    Mode(ValueError),
    /// A table about a gateway where there is none.
    #[error(
        "{table} is about a gateway, and there is no [gateway] with its name and site; add it, or remove this"
    )]
    NoGateway {
        /// The table.
        table: &'static str,
    },
    /// Half of who a gateway is.
    #[error(
        "the gateway has {given} and no {missing}; write both, or neither if `gatewayd join` says who it is"
    )]
    HalfName {
        /// The key that is there.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// A key file of a gateway that makes its keys itself.
    #[error(
        "private_key_file is for a gateway with a name and a site in its file; one that joins makes its keys itself, \
         so remove it"
    )]
    NeedlessKeyFile,
    /// A gateway by its file has no key.
    #[error(
        "the link has no private_key_file; add it, for a gateway with a name and a site in its file has its key there"
    )]
    NoKeyFile,
    /// A gateway without a link.
    #[error("the gateway has no [link]; add it")]
    NoLink,
    /// A value, or values together, make no sense.
    #[error(transparent)]
    Content(#[from] ModelError),
}
