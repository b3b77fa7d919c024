//! The refcount table of an open image.

use std::collections::BTreeSet;

use crate::units::SECTOR;

/// Bytes of an entry.
const ENTRY_LEN: u64 = 8;

/// The refcount table: all of it is in memory.
///
/// Ordering: a refcount block is durable before the entry that points to it is written; a table at a
/// new place is durable before the header says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RefcountTable {
    /// Where it is on the medium, or will be.
    pub(super) offset: u64,
    /// Where the refcount blocks are; 0 for none.
    pub(super) blocks: Vec<u64>,
    /// Sectors of the table that differ from the medium.
    dirty: BTreeSet<u64>,
    /// Whether the header does not know this place yet.
    is_new: bool,
}

/// What of the table is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct RefcountTableChanges {
    /// The whole table at a new place, before the header says so.
    pub(super) new: Option<(u64, Vec<u8>)>,
    /// Sectors of the table that the header knows.
    pub(super) sectors: Vec<(u64, Vec<u8>)>,
}

impl RefcountTable {
    pub(super) fn parse(offset: u64, bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let blocks = words.iter().map(|word| u64::from_be_bytes(*word)).collect();
        Self { offset, blocks, dirty: BTreeSet::new(), is_new: false }
    }

    /// Where a refcount block is, if there is one.
    pub(super) fn block(&self, index: u64) -> Option<u64> {
        let index = usize::try_from(index).ok()?;
        self.blocks.get(index).copied().filter(|&offset| offset != 0)
    }

    /// Whether the table has an entry for the block.
    pub(super) fn has_room_for(&self, index: u64) -> bool {
        index < self.blocks.len() as u64
    }

    /// Adds a block.
    pub(super) fn set(&mut self, index: u64, offset: u64) {
        let place = usize::try_from(index).expect("an index in memory");
        assert_eq!(self.blocks[place], 0, "refcount block {index} exists");
        self.blocks[place] = offset;
        self.dirty.insert(index * ENTRY_LEN / SECTOR);
    }

    /// Puts the table at a new place, with room for `entries` blocks.
    pub(super) fn move_to(&mut self, offset: u64, entries: u64) {
        let entries = usize::try_from(entries).expect("a table in memory");
        assert!(self.blocks.len() <= entries, "the refcount table only grows");
        self.offset = offset;
        self.blocks.resize(entries, 0);
        self.is_new = true;
        self.dirty.clear();
    }

    /// Adds a block to a table that is written whole.
    pub(super) fn set_moved(&mut self, index: u64, offset: u64) {
        assert!(self.is_new, "the table was moved");
        self.blocks[usize::try_from(index).expect("an index in memory")] = offset;
    }

    /// Bytes of the table.
    pub(super) fn len(&self) -> u64 {
        self.blocks.len() as u64 * ENTRY_LEN
    }

    /// Whether something of it differs from the medium.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_new || !self.dirty.is_empty()
    }

    /// Takes what has to be written; none of it is dirty any more.
    pub(super) fn take_changes(&mut self) -> RefcountTableChanges {
        let dirty = std::mem::take(&mut self.dirty);
        if std::mem::replace(&mut self.is_new, false) {
            let bytes = self.blocks.iter().flat_map(|offset| offset.to_be_bytes()).collect();
            return RefcountTableChanges { new: Some((self.offset, bytes)), sectors: Vec::new() };
        }
        let sectors = dirty.into_iter().map(|at| (self.offset + at * SECTOR, self.sector(at)));
        RefcountTableChanges { new: None, sectors: sectors.collect() }
    }

    /// The changes may not be on the medium. With `linked`, the header may know a new place, and all
    /// that was written there before it: the place is not new any more.
    pub(super) fn not_written(&mut self, changes: &RefcountTableChanges, linked: bool) {
        let is_there = |offset: u64| offset == self.offset && !self.is_new;
        match &changes.new {
            Some((offset, _)) if is_there(*offset) && linked => {
                self.dirty.extend(0..self.len().div_ceil(SECTOR));
            }
            Some((offset, _)) if is_there(*offset) => self.is_new = true,
            _ => {}
        }
        if !self.is_new {
            let sectors = changes.sectors.iter().map(|(offset, _)| (offset - self.offset) / SECTOR);
            self.dirty.extend(sectors);
        }
    }

    fn sector(&self, sector: u64) -> Vec<u8> {
        let per_sector = SECTOR / ENTRY_LEN;
        let entries = sector * per_sector..(sector + 1) * per_sector;
        entries.flat_map(|index| self.block(index).unwrap_or(0).to_be_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_added_and_the_table_moves() {
        let mut table = RefcountTable::parse(512, &[0; 512]);
        assert!(table.has_room_for(63));
        assert!(!table.has_room_for(64));
        table.set(1, 1024);
        assert_eq!(table.block(1), Some(1024));
        assert_eq!((table.block(0), table.block(99)), (None, None));
        let changes = table.take_changes();
        assert_eq!(changes.sectors.len(), 1);
        assert!(!table.is_dirty());
        table.not_written(&changes, false);
        assert!(table.is_dirty());
        table.move_to(4096, 128);
        let moved = table.take_changes();
        assert_eq!(moved.new.as_ref().unwrap().1.len(), 1024);
        table.not_written(&moved, false);
        assert_eq!(table.take_changes(), moved);
    }
}
