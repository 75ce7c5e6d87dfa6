//! Who holds which numbers of a space, who held them last, and since when they cool off.
//!
//! Ranges have sizes that are powers of two and begin at multiples of these, so that each is a prefix
//! where the numbers are addresses. No two overlap. A holder holds one range at most.

use std::collections::{BTreeMap, BTreeSet};

/// Some numbers in a row: `first` and as many as `size`, a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) size: u32,
}

impl Range {
    /// The highest.
    pub(super) fn last(self) -> u32 {
        self.first + (self.size - 1)
    }

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last() && other.first <= self.last()
    }

    fn is_aligned(self) -> bool {
        self.size.is_power_of_two() && self.first.is_multiple_of(self.size)
    }
}

/// A range and whose it is, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<H> {
    pub(super) range: Range,
    pub(super) holder: H,
    /// When it was freed, in seconds; `None` while it is held.
    pub(super) freed: Option<u64>,
}

/// Time, and how long a freed range cools off, both in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: u64,
    pub(super) cooling: u64,
}

impl Clock {
    /// How long a range that was freed then goes on to cool off; `None` if it may be used again.
    pub(super) fn left(self, freed: u64) -> Option<u64> {
        let end = freed.saturating_add(self.cooling);
        end.checked_sub(self.now).filter(|left| *left > 0)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Ledger<H> {
    entries: BTreeMap<u32, Entry<H>>,
    held: BTreeMap<H, u32>,
    /// What each holder held last, while it cools off.
    cooling: BTreeMap<H, u32>,
    /// What cools off, by when it was freed.
    ageing: BTreeSet<(u64, u32)>,
    /// What entries were, so that changes can be undone.
    log: Vec<(u32, Option<Entry<H>>)>,
}

impl<H> Default for Ledger<H> {
    fn default() -> Self {
        let (held, cooling, ageing) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { entries: BTreeMap::new(), held, cooling, ageing, log: Vec::new() }
    }
}

impl<H: Ord> PartialEq for Ledger<H> {
    fn eq(&self, other: &Self) -> bool {
        self.entries.iter().eq(other.entries.iter())
    }
}

impl<H: Ord + Clone> Ledger<H> {
    /// `None` if entries overlap, are not aligned, or have one holder.
    pub(super) fn of(entries: impl IntoIterator<Item = Entry<H>>) -> Option<Self> {
        let mut ledger = Self::default();
        for entry in entries {
            let in_space =
                entry.range.first.checked_add(entry.range.size.checked_sub(1)?).is_some();
            let twice = entry.freed.is_none() && ledger.held.contains_key(&entry.holder);
            if !entry.range.is_aligned() || !in_space || twice {
                return None;
            }
            if ledger.overlapping(entry.range).next().is_some() {
                return None;
            }
            ledger.set(entry.range.first, Some(entry));
        }
        ledger.log.clear();
        Some(ledger)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<H>> {
        self.entries.values()
    }

    /// The range that begins there.
    pub(super) fn entry(&self, first: u32) -> Option<&Entry<H>> {
        self.entries.get(&first)
    }

    /// Where ranges begin, or did, that changed since [`Self::begin`].
    pub(super) fn touched(&self) -> impl Iterator<Item = u32> + '_ {
        self.log.iter().map(|(first, _)| *first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn held(&self, holder: &H) -> Option<Range> {
        let first = self.held.get(holder)?;
        self.entries.get(first).map(|entry| entry.range)
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = &H> {
        self.held.keys()
    }

    /// The highest number that is held or cools off.
    pub(super) fn last(&self) -> Option<u32> {
        self.entries.last_key_value().map(|(_, entry)| entry.range.last())
    }

    /// Lets what a holder has cool off.
    pub(super) fn free(&mut self, holder: &H, now: u64) {
        let Some(first) = self.held.get(holder).copied() else { return };
        if let Some(entry) = self.entries.get(&first).cloned() {
            self.set(first, Some(Entry { freed: Some(now), ..entry }));
        }
    }

    /// Forgets what has cooled off.
    pub(super) fn sweep(&mut self, clock: Clock) {
        while let Some((at, first)) = self.ageing.first().copied() {
            if clock.left(at).is_some() {
                return;
            }
            self.set(first, None);
        }
    }

    /// What stands in the way of a range for this holder: what another holds, or what cools off after
    /// another.
    pub(super) fn in_the_way(&self, range: Range, holder: &H, clock: Clock) -> Option<&Entry<H>> {
        self.overlapping(range).find(|entry| match entry.freed {
            None => true,
            Some(at) => entry.holder != *holder && clock.left(at).is_some(),
        })
    }

    /// What the holder held last and may have back.
    pub(super) fn returning(&self, holder: &H, size: u32) -> Option<Range> {
        let range = self.entries.get(self.cooling.get(holder)?)?.range;
        (range.size == size).then_some(range)
    }

    /// Gives a range that nothing stands in the way of.
    pub(super) fn place(&mut self, holder: H, range: Range) {
        let firsts: Vec<u32> = self.overlapping(range).map(|entry| entry.range.first).collect();
        for first in firsts {
            self.set(first, None);
        }
        self.set(range.first, Some(Entry { range, holder, freed: None }));
    }

    /// The lowest range of a size in `space` from `from` on that nothing stands in the way of and that
    /// `usable` agrees to.
    pub(super) fn find(
        &self,
        space: (u32, u32),
        size: u32,
        from: u32,
        clock: Clock,
        usable: impl Fn(Range) -> bool,
    ) -> Option<Range> {
        let mut next = u64::from(from.max(space.0)).next_multiple_of(size.into());
        loop {
            let first = u32::try_from(next).ok()?;
            first.checked_add(size - 1).filter(|last| *last <= space.1)?;
            let range = Range { first, size };
            let taken = self.overlapping(range).filter(|entry| match entry.freed {
                None => true,
                Some(at) => clock.left(at).is_some(),
            });
            next = match taken.map(|entry| entry.range.last()).max() {
                Some(last) => (u64::from(last) + 1).next_multiple_of(size.into()),
                None if usable(range) => return Some(range),
                None => next + u64::from(size),
            };
        }
    }

    /// How many numbers are held, and how many cool off.
    pub(super) fn taken(&self, clock: Clock) -> (u64, u64) {
        let mut taken = (0, 0);
        for entry in self.entries.values() {
            let size = u64::from(entry.range.size);
            match entry.freed {
                None => taken.0 += size,
                Some(at) if clock.left(at).is_some() => taken.1 += size,
                Some(_) => {}
            }
        }
        taken
    }

    /// Forgets how to undo.
    pub(super) fn begin(&mut self) {
        self.log.clear();
    }

    /// Undoes everything since [`Self::begin`].
    pub(super) fn undo(&mut self) {
        for (first, before) in std::mem::take(&mut self.log).into_iter().rev() {
            self.set(first, before);
        }
        self.log.clear();
    }

    /// Holders whose held range changed since [`Self::begin`].
    pub(super) fn changed(&self) -> impl Iterator<Item = &H> {
        let before = self.log.iter().filter_map(|(_, entry)| entry.as_ref());
        let after = self.log.iter().filter_map(|(first, _)| self.entries.get(first));
        before.chain(after).map(|entry| &entry.holder)
    }

    fn overlapping(&self, range: Range) -> impl Iterator<Item = &Entry<H>> {
        let below = self.entries.range(..range.first).next_back().map(|(_, entry)| entry);
        let below = below.filter(move |entry| entry.range.overlaps(range));
        below.into_iter().chain(self.entries.range(range.first..=range.last()).map(|(_, it)| it))
    }

    fn set(&mut self, first: u32, entry: Option<Entry<H>>) {
        let after = entry.clone();
        let before = match entry {
            Some(entry) => self.entries.insert(first, entry),
            None => self.entries.remove(&first),
        };
        if let Some(before) = &before {
            let lookup = if before.freed.is_none() { &mut self.held } else { &mut self.cooling };
            if lookup.get(&before.holder) == Some(&first) {
                lookup.remove(&before.holder);
            }
            if let Some(at) = before.freed {
                self.ageing.remove(&(at, first));
            }
        }
        if let Some(after) = after {
            if let Some(at) = after.freed {
                self.ageing.insert((at, first));
            }
            let lookup = if after.freed.is_none() { &mut self.held } else { &mut self.cooling };
            lookup.insert(after.holder, first);
        }
        self.log.push((first, before));
    }
}
