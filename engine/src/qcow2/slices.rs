//! The slices of metadata tables that are in memory.
//!
//! A slice is a piece of an L2 table or of a refcount block, as large as the image was opened with.
//! What is in memory is the truth; a **dirty** slice differs from the medium, one that is
//! **writing** is on its way there, as it is. Only clean slices can be dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

/// What a slice is a piece of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A refcount block.
    Refcounts,
    /// An L2 table.
    L2,
}

#[derive(Debug, Clone, Hash)]
struct Slice {
    kind: Kind,
    bytes: Vec<u8>,
}

/// A slice to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DirtySlice {
    /// Where it is in the file.
    pub(super) offset: u64,
    /// What it is a piece of.
    pub(super) kind: Kind,
    /// Its content.
    pub(super) bytes: Vec<u8>,
}

/// The slices in memory, by their offsets in the file.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Slices {
    by_offset: BTreeMap<u64, Slice>,
    dirty: BTreeSet<u64>,
    writing: BTreeSet<u64>,
    /// Slices that are being read, and that nobody has forgotten since.
    loading: BTreeSet<u64>,
}

impl Slices {
    /// The content of a slice, if it is here.
    pub(super) fn get(&self, offset: u64) -> Option<&[u8]> {
        self.by_offset.get(&offset).map(|slice| &slice.bytes[..])
    }

    /// A slice is going to be read.
    pub(super) fn begin_loading(&mut self, offset: u64) {
        self.loading.insert(offset);
    }

    /// Puts in a slice as the medium had it, unless it was forgotten while it was read.
    ///
    /// # Panics
    /// If it is here already: whoever loads has made sure that nobody else does.
    pub(super) fn end_loading(&mut self, offset: u64, loaded: Option<(Kind, Vec<u8>)>) {
        let is_wanted = self.loading.remove(&offset);
        if let (Some((kind, bytes)), true) = (loaded, is_wanted) {
            let before = self.by_offset.insert(offset, Slice { kind, bytes });
            assert!(before.is_none(), "slice {offset} was loaded twice");
        }
    }

    /// Changes a slice, if it is here; it is dirty afterwards.
    pub(super) fn change<R>(
        &mut self,
        offset: u64,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        let slice = self.by_offset.get_mut(&offset)?;
        self.dirty.insert(offset);
        Some(change(&mut slice.bytes))
    }

    /// Drops the clean slice that comes before `newest` in the file, if there are more than `max`:
    /// of those that a scan over the file has read, the last one that it is through with.
    pub(super) fn evict_one(&mut self, max: usize, newest: u64) -> bool {
        if self.by_offset.len() <= max {
            return false;
        }
        let is_clean = |&(offset, _): &(&u64, &Slice)| {
            !self.dirty.contains(offset) && !self.writing.contains(offset)
        };
        let before = self.by_offset.range(..newest).rev().find(is_clean);
        let after = || self.by_offset.range((Excluded(newest), Unbounded)).rev().find(is_clean);
        let Some((&offset, _)) = before.or_else(after) else { return false };
        self.by_offset.remove(&offset);
        true
    }

    /// How many slices cannot be dropped; one that has changed while it is written counts twice.
    pub(super) fn pinned(&self) -> usize {
        self.dirty.len() + self.writing.len()
    }

    /// Takes the dirty slices of the kinds that `wanted` admits: they are writing from now on.
    pub(super) fn take_dirty(&mut self, wanted: impl Fn(Kind) -> bool) -> Vec<DirtySlice> {
        let mut taken = Vec::new();
        for &offset in &self.dirty {
            let slice = &self.by_offset[&offset];
            if wanted(slice.kind) {
                taken.push(DirtySlice { offset, kind: slice.kind, bytes: slice.bytes.clone() });
            }
        }
        for slice in &taken {
            self.dirty.remove(&slice.offset);
            self.writing.insert(slice.offset);
        }
        taken
    }

    /// Whether there are dirty slices of a kind.
    pub(super) fn has_dirty(&self, kind: Kind) -> bool {
        self.dirty.iter().any(|offset| self.by_offset[offset].kind == kind)
    }

    /// The writing slices are on the medium; those that have changed meanwhile are dirty still.
    pub(super) fn written(&mut self) {
        self.writing.clear();
    }

    /// The writing slices may not be on the medium.
    pub(super) fn not_written(&mut self) {
        let mut writing = std::mem::take(&mut self.writing);
        self.dirty.append(&mut writing);
    }

    /// Forgets the slices of a cluster that holds a table no more.
    pub(super) fn forget(&mut self, cluster: u64, cluster_len: u64) {
        let gone: Vec<u64> =
            self.by_offset.range(cluster..cluster + cluster_len).map(|(&at, _)| at).collect();
        for offset in gone {
            self.by_offset.remove(&offset);
            self.dirty.remove(&offset);
            self.writing.remove(&offset);
        }
        self.loading.retain(|offset| !(cluster..cluster + cluster_len).contains(offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(offsets: &[u64]) -> Slices {
        let mut slices = Slices::default();
        for &offset in offsets {
            slices.begin_loading(offset);
            slices.end_loading(offset, Some((Kind::L2, vec![0; 8])));
        }
        slices
    }

    #[test]
    fn only_clean_slices_are_dropped() {
        let mut slices = slices(&[0, 8, 16, 24]);
        slices.change(8, |bytes| bytes[0] = 1);
        assert!(slices.evict_one(2, 16));
        assert!(slices.get(0).is_none());
        assert!(slices.evict_one(2, 16));
        assert!(slices.get(24).is_none());
        assert!(!slices.evict_one(2, 16));
        slices.change(16, |_| ());
        assert!(!slices.evict_one(0, 16));
    }

    #[test]
    fn what_is_forgotten_while_it_is_read_does_not_come_in() {
        let mut slices = Slices::default();
        slices.begin_loading(8);
        slices.forget(0, 16);
        slices.end_loading(8, Some((Kind::L2, vec![0; 8])));
        assert!(slices.get(8).is_none());
    }

    #[test]
    fn what_changes_while_it_is_written_stays_dirty() {
        let mut slices = slices(&[0, 8]);
        slices.change(0, |bytes| bytes[0] = 1);
        slices.change(8, |bytes| bytes[0] = 1);
        assert_eq!(slices.take_dirty(|_| true).len(), 2);
        slices.change(8, |bytes| bytes[0] = 2);
        slices.written();
        let again = slices.take_dirty(|_| true);
        assert_eq!(again.iter().map(|slice| slice.offset).collect::<Vec<_>>(), [8]);
        slices.not_written();
        assert_eq!(slices.take_dirty(|kind| kind == Kind::L2).len(), 1);
        assert_eq!(slices.pinned(), 1);
    }
}
