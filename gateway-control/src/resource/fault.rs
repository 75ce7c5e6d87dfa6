//! What can be wrong with a text of resources, as an operator reads it: document, line, column, message,
//! the line and a caret.

use std::fmt;

use super::{Key, LabelFault, TokenFault};
use crate::excerpt::{Excerpt, excerpt};
use crate::lowering::Span;
use crate::model::{Network, ValueError};

/// Everything that is wrong with a text, in its order; at least one fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ResourceError {
    faults: Vec<Fault>,
    more: usize,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Document of the text, counted from 1.
    pub document: usize,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: FaultKind,
    excerpt: Excerpt,
}

/// What can be wrong with a text of resources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Too long to be one.
    #[error("the text has {length} bytes and may have {most}; apply it in parts")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// Longest that is read.
        most: usize,
    },
    /// Not YAML.
    #[error("{0}; correct the notation")]
    Notation(String),
    /// YAML that a declaration has no use for.
    #[error("{what} has no place in a resource; write the value itself")]
    Refused {
        /// What was found.
        what: &'static str,
    },
    /// A key that is no text.
    #[error("a key must be a text; write NAME: VALUE")]
    NoKey,
    /// A key that is there already.
    #[error("{field} is there already; remove one of the two")]
    Twice {
        /// The key, quoted.
        field: String,
    },
    /// Nothing was declared at all.
    #[error("there is no resource in it; write kind, metadata and spec")]
    Nothing,
    /// More than one where one was asked for.
    #[error("there are {found} resources where one is expected; keep one")]
    Several {
        /// How many there are.
        found: usize,
    },
    /// A document that is something else.
    #[error("a resource is a mapping with kind, metadata and spec, and this is {found}")]
    NoResource {
        /// What it is.
        found: &'static str,
    },
    /// A field that the kind does not have.
    #[error("{object}: there is no field {field}; its fields are {known}")]
    Unknown {
        /// The resource.
        object: String,
        /// The field with its path.
        field: String,
        /// The fields there are.
        known: String,
    },
    /// A field that is not there.
    #[error("{object}: {field} is missing; add it")]
    Missing {
        /// The resource.
        object: String,
        /// The field with its path.
        field: String,
    },
    /// A value of another shape.
    #[error("{object}: {field} is {found}; write {wanted}")]
    Wanted {
        /// The resource.
        object: String,
        /// The field with its path.
        field: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that makes no sense.
    #[error("{object}: {field}: {error}")]
    Value {
        /// The resource.
        object: String,
        /// The field with its path.
        field: String,
        /// Why.
        error: ContentError,
    },
    /// A resource declared twice in one text.
    #[error("{key}: it is declared on line {line} already; remove one of the two")]
    Declared {
        /// The resource.
        key: Key,
        /// Where it stood first.
        line: usize,
    },
}

/// Why a value of a resource makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// By itself.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A label.
    #[error(transparent)]
    Label(#[from] LabelFault),
    /// Of a token.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// Two client networks that overlap.
    #[error("{first} and {second} overlap; no client may be in two networks")]
    Overlap {
        /// The lower one.
        first: Network,
        /// The higher one.
        second: Network,
    },
    /// An empty list.
    #[error("the list is empty; name one at least")]
    Empty,
    /// A site named twice.
    #[error("{name} is named twice; name it once")]
    Repeated {
        /// Its name.
        name: String,
    },
    /// Both or none of two fields.
    #[error("give either {one} or {other}")]
    Either {
        /// One field.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A wish for one address, and several sites.
    #[error("an address is wished for one site only; name that site in to.sites, and no other")]
    OneSite,
    /// Fields of the other way for clients to appear.
    #[error("it is for clients: per-client; remove it or set that")]
    PerClientOnly,
    /// A rule id that would be too long.
    #[error("with {count} rules their ids, NAME-NUMBER, would be too long; shorten the name")]
    LongId {
        /// How many rules there are.
        count: usize,
    },
}

impl ResourceError {
    /// How many faults are kept; further ones are counted.
    const SHOWN: usize = 100;

    /// The faults, in the order of the text.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Drops faults that would not be shown, once there are many, so that a long text of nothing but faults
    /// takes little room; gives how many.
    pub(super) fn keep_first(found: &mut Vec<(usize, Span, FaultKind)>) -> usize {
        if found.len() < 10 * Self::SHOWN {
            return 0;
        }
        found.sort_by_key(|(_, span, _)| span.start);
        let dropped = found.len() - Self::SHOWN;
        found.truncate(Self::SHOWN);
        dropped
    }

    /// With faults that were found and dropped.
    pub(super) fn and(mut self, dropped: usize) -> Self {
        self.more += dropped;
        self
    }

    pub(super) fn new(text: &str, mut found: Vec<(usize, Span, FaultKind)>) -> Self {
        found.sort_by_key(|(_, span, _)| span.start);
        let more = found.len().saturating_sub(Self::SHOWN);
        let shown = found.into_iter().take(Self::SHOWN);
        let faults = shown.map(|(document, span, kind)| {
            let (line, column, excerpt) = excerpt(text, span);
            Fault { document, line, column, kind, excerpt }
        });
        Self { faults: faults.collect(), more }
    }
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            fault.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\n\nand {} more; correct these first", self.more)?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, line, column, kind, excerpt } = self;
        writeln!(f, "document {document}, line {line}, column {column}: {kind}")?;
        excerpt.draw(f, *line)
    }
}
