//! Why the controller did not do what it was asked for.

use std::fmt;

use gateway_control::deployment::Problem;
use gateway_control::deployment::allocation::RecordError;
use gateway_control::model::GatewayName;
use gateway_control::resource::{FieldConflict, Key};

use crate::store::{KeyError, Revision, StoreError, ValueError};

/// Why the controller did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The changes do not fit what is declared; nothing was changed.
    #[error("nothing was changed:{}", Lines(problems))]
    Refused {
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
    /// The changes go against what others have set since, or hold; nothing was changed.
    #[error("nothing was changed:{}", Lines(conflicts))]
    Conflicts {
        /// Every field and resource that is in the way.
        conflicts: Vec<Conflict>,
    },
    /// Other controllers change the store all the time.
    #[error(
        "nothing was changed: other controllers were faster {attempts} times in a row; try again, or let one \
         controller take all changes"
    )]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// A resource is too large for the store.
    #[error("{key}: {reason}; nothing was changed: divide it into several resources")]
    TooLarge {
        /// The resource.
        key: Key,
        /// What the store takes.
        reason: ValueError,
    },
    /// No such gateway.
    #[error("there is no gateway {name}; `gatewayctl get gateways` lists them")]
    NoGateway {
        /// The name.
        name: GatewayName,
    },
    /// A gateway that takes part is not accepted again.
    #[error(
        "gateway {name} is active already; only one that is pending is accepted, as those are that joined with a \
         token made with --approve"
    )]
    NotPending {
        /// The name.
        name: GatewayName,
    },
    /// A gateway that was revoked stays so.
    #[error(
        "gateway {name} was revoked and stays so, since its keys may be in other hands; delete it, and let its host \
         join again with a new token"
    )]
    StaysRevoked {
        /// The name.
        name: GatewayName,
    },
    /// The store holds something that no controller wrote.
    #[error(
        "the store's key {key}: {finding}; start the version of the controller that wrote it, or restore \
         the store from a backup"
    )]
    Alien {
        /// The key.
        key: String,
        /// What is wrong with it.
        finding: String,
    },
    /// The store holds resources that do not fit together.
    #[error(
        "the store holds what does not fit together; restore it from a backup:{}",
        Lines(problems)
    )]
    Disagrees {
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
    /// The store holds allocations that cannot be.
    #[error("the store: {0}")]
    Records(#[from] RecordError),
    /// A name makes no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a resource cannot be applied as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A field that another manager holds.
    #[error(transparent)]
    Field(#[from] FieldConflict),
    /// A resource that was changed or deleted since it was read.
    #[error(
        "{key}: metadata.revision: it was made of revision {given}, and {}; read it again and change that, or \
         leave metadata.revision out", now(*stored)
    )]
    Revision {
        /// The resource.
        key: Key,
        /// The revision that was sent.
        given: Revision,
        /// When it was last changed; `None` if there is none.
        stored: Option<Revision>,
    },
}

fn now(stored: Option<Revision>) -> String {
    match stored {
        Some(revision) => format!("it was changed since, at revision {revision}"),
        None => "there is none of this name now".to_owned(),
    }
}

struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
