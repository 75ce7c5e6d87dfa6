//! A share as a controller tells it: as it is, and by what it differs from those before.
//!
//! The controller makes one for each change of a site's share and gives it to the sessions of that site; an edition
//! never changes. What it remembers is bounded by what a snapshot would cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Digest, Patch, PatchEdit, Told};
use crate::deployment::share::{self, ItemKey, Share};

/// Most changes that are remembered.
const STEPS: usize = 64;
/// Items whose changes are remembered of any share; of a larger one as many as it has.
const CHANGED: usize = 16;
/// What an edit takes beside its items, and an item of it beside itself, in octets at most.
const EDIT_LEN: usize = 16;
const ITEM_LEN: usize = 4;

/// A share of a site at one time.
#[derive(Debug)]
pub struct Edition {
    share: Arc<Share>,
    digest: Digest,
    /// Of the encoded share, in octets.
    length: usize,
    /// The oldest first; each leads to the next, and the last to this share.
    steps: Vec<Arc<Step>>,
}

/// One change.
#[derive(Debug)]
struct Step {
    /// The share before it.
    before: Digest,
    /// What changed, and whether it was there before.
    changed: Vec<(ItemKey, bool)>,
}

impl Edition {
    /// One that nothing is known to come before.
    pub fn new(share: Arc<Share>) -> Self {
        Self::behind(share, Vec::new())
    }

    /// The one that comes next; this one again if the share is the same.
    #[must_use]
    pub fn next(self: &Arc<Self>, share: Arc<Share>) -> Arc<Self> {
        if Arc::ptr_eq(&self.share, &share) {
            return Arc::clone(self);
        }
        let changed = changed(&self.share, &share);
        if changed.is_empty() {
            return Arc::clone(self);
        }
        let mut steps = self.steps.clone();
        steps.push(Arc::new(Step { before: self.digest, changed }));
        let most = share.items().len().max(CHANGED);
        let mut remembered: usize = steps.iter().map(|step| step.changed.len()).sum();
        let forgotten = steps.iter().enumerate().take_while(|(n, step)| {
            let too_much = remembered > most || steps.len() - n > STEPS;
            remembered -= step.changed.len();
            too_much
        });
        let forgotten = forgotten.count();
        steps.drain(..forgotten);
        Arc::new(Self::behind(share, steps))
    }

    fn behind(share: Arc<Share>, steps: Vec<Arc<Step>>) -> Self {
        let octets = share.encode();
        Self { share, digest: Digest::of(&octets), length: octets.len(), steps }
    }

    /// The share.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// The share's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The share for a gateway that has one of this digest: by the difference if that is known and shorter.
    pub fn told(&self, held: Option<Digest>) -> Told {
        if let Some(patch) = held.and_then(|held| self.patch(held)) {
            return Told::Delta(patch);
        }
        Told::Snapshot { octets: self.share.encode(), digest: self.digest }
    }

    fn patch(&self, base: Digest) -> Option<Patch> {
        if base == self.digest {
            return Some(Patch { base, edits: Vec::new(), digest: base });
        }
        let first = self.steps.iter().rposition(|step| step.before == base)?;
        let mut changed: BTreeMap<&ItemKey, bool> = BTreeMap::new();
        for (key, was_there) in self.steps[first..].iter().flat_map(|step| &step.changed) {
            changed.entry(key).or_insert(*was_there);
        }
        let edits = self.edits(changed);
        let length = |edit: &PatchEdit| {
            EDIT_LEN + edit.insert.iter().map(|item| ITEM_LEN + item.len()).sum::<usize>()
        };
        let length: usize = edits.iter().map(length).sum();
        (length < self.length).then_some(Patch { base, edits, digest: self.digest })
    }

    /// Of the share that had those of `changed` that are said to have been there.
    fn edits(&self, changed: BTreeMap<&ItemKey, bool>) -> Vec<PatchEdit> {
        let mut edits = Vec::new();
        let nothing = || PatchEdit { keep: 0, drop: 0, insert: Vec::new() };
        let mut edit = nothing();
        let mut changed = changed.into_iter().peekable();
        let mut items = self.share.items().iter().peekable();
        loop {
            let key = match (items.peek(), changed.peek()) {
                (None, None) => break,
                (Some((key, _)), None) => *key,
                (None, Some((key, _))) => *key,
                (Some((one, _)), Some((other, _))) => (*one).min(*other),
            };
            let item = items.next_if(|(found, _)| *found == key);
            match changed.next_if(|(found, _)| *found == key) {
                Some((_, was_there)) => {
                    edit.drop += u32::from(was_there);
                    edit.insert.extend(item.map(|(_, item)| share::encode_item(item)));
                }
                None => {
                    if edit.drop > 0 || !edit.insert.is_empty() {
                        edits.push(std::mem::replace(&mut edit, nothing()));
                    }
                    edit.keep += 1;
                }
            }
        }
        if edit.drop > 0 || !edit.insert.is_empty() {
            edits.push(edit);
        }
        edits
    }
}

fn changed(before: &Share, after: &Share) -> Vec<(ItemKey, bool)> {
    let (before, after) = (before.items(), after.items());
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), true));
    let other = after.iter().filter_map(|(key, item)| match before.get(key) {
        Some(was) if was == item => None,
        was => Some((key.clone(), was.is_some())),
    });
    gone.chain(other).collect()
}
