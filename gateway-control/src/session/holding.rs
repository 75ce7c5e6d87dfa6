//! A share as a gateway has it: as it was sent, and what that means.
//!
//! What was sent is kept, so that a difference can be brought to it also where a later version of the controller says
//! more than this one understands.

use std::sync::Arc;

use super::{Digest, Held, Patch};
use crate::deployment::share::{self, MAX_LEN, Share, WireError};

/// A share that a gateway was told.
#[derive(Clone, Debug)]
pub struct Holding {
    revision: Option<u64>,
    octets: Arc<[u8]>,
    digest: Digest,
    share: Arc<Share>,
}

/// Why a share does not come of another as it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It begins with another share.
    #[error("the difference is to the share {base}, and there is {holds}")]
    Base {
        /// What it begins with.
        base: Digest,
        /// What there is.
        holds: Digest,
    },
    /// It counts more items than there are.
    #[error("the difference is to items that are not there")]
    Items,
    /// Something else comes of it.
    #[error("the share comes out as {found}, and is to be {wanted}")]
    Digest {
        /// What comes of it.
        found: Digest,
        /// What is to come of it.
        wanted: Digest,
    },
    /// What comes of it is no share, although it is what was sent.
    #[error(transparent)]
    Share(#[from] WireError),
}

impl Holding {
    /// A share as it was sent, or as [`Self::octets`] gave it to be kept.
    pub fn new(revision: Option<u64>, octets: Vec<u8>) -> Result<Self, WireError> {
        let share = Share::decode(&octets)?;
        Ok(Self {
            revision,
            digest: Digest::of(&octets),
            octets: octets.into(),
            share: share.into(),
        })
    }

    /// When it was last changed.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// As it was sent.
    pub fn octets(&self) -> &Arc<[u8]> {
        &self.octets
    }

    /// The share.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Which one it is.
    pub fn held(&self) -> Held {
        Held { revision: self.revision, digest: self.digest }
    }

    /// What comes of it by a difference. Nothing comes of one that does not end with the share that it is to.
    pub fn patched(&self, revision: Option<u64>, patch: &Patch) -> Result<Self, PatchError> {
        if patch.base != self.digest {
            return Err(PatchError::Base { base: patch.base, holds: self.digest });
        }
        if patch.edits.is_empty() && patch.digest == self.digest {
            return Ok(Self { revision, ..self.clone() });
        }
        let items = share::split(&self.octets)?;
        let mut items = items.as_slice();
        let mut take = |count: u32| {
            let count = usize::try_from(count).map_err(|_| PatchError::Items)?;
            let (taken, rest) = items.split_at_checked(count).ok_or(PatchError::Items)?;
            items = rest;
            Ok::<_, PatchError>(taken)
        };
        let mut octets = Vec::new();
        for edit in &patch.edits {
            take(edit.keep)?.iter().for_each(|item| share::push(&mut octets, item));
            take(edit.drop)?;
            edit.insert.iter().for_each(|item| share::push(&mut octets, item));
            if octets.len() > MAX_LEN {
                return Err(WireError::TooLong { length: octets.len() }.into());
            }
        }
        items.iter().for_each(|item| share::push(&mut octets, item));
        let found = Digest::of(&octets);
        if found != patch.digest {
            return Err(PatchError::Digest { found, wanted: patch.digest });
        }
        Ok(Self::new(revision, octets)?)
    }
}

/// By what was sent.
impl PartialEq for Holding {
    fn eq(&self, other: &Self) -> bool {
        self.held() == other.held()
    }
}

impl Eq for Holding {}
