//! Which physical chunks are in use.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of physical chunks. Its size is bounded by the number of members, not by their ids:
/// an id comes from disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub(super) struct PhysicalSet {
    /// 64 ids per word; no word is zero.
    words: BTreeMap<u32, u64>,
    len: u32,
}

impl PhysicalSet {
    /// Whether `id` is a member.
    pub(super) fn contains(&self, id: u32) -> bool {
        self.words.get(&(id / 64)).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Adds `id`; whether it was new.
    pub(super) fn insert(&mut self, id: u32) -> bool {
        let word = self.words.entry(id / 64).or_default();
        let new = *word >> (id % 64) & 1 == 0;
        *word |= 1 << (id % 64);
        self.len += u32::from(new);
        new
    }

    /// Takes `id` out.
    pub(super) fn remove(&mut self, id: u32) {
        let Some(word) = self.words.get_mut(&(id / 64)) else { return };
        let bit = 1 << (id % 64);
        self.len -= u32::from(*word & bit != 0);
        *word &= !bit;
        if *word == 0 {
            self.words.remove(&(id / 64));
        }
    }

    /// Number of members.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// One past the largest member; 0 if there is none.
    pub(super) fn end(&self) -> u32 {
        self.words
            .last_key_value()
            .map_or(0, |(index, word)| index * 64 + 64 - word.leading_zeros())
    }

    /// What is missing below `end`, as ranges in order.
    pub(super) fn gaps(&self, end: u32) -> Vec<Range<u32>> {
        let mut gaps = Vec::new();
        let mut next = 0;
        for (&index, &word) in &self.words {
            for id in (0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| index * 64 + bit) {
                if next < id.min(end) {
                    gaps.push(next..id.min(end));
                }
                next = id + 1;
            }
        }
        if next < end {
            gaps.push(next..end);
        }
        gaps
    }
}
