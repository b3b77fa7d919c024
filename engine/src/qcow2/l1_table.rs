//! The active L1 table of an open image.

use std::collections::BTreeSet;
use std::ops::Range;

use super::l2::L1Entry;
use crate::sync::{Shared, Tracker};
use crate::units::SECTOR;

/// Bytes of an entry.
const ENTRY_LEN: u64 = 8;

/// The active L1 table: all of it is in memory.
///
/// Ordering: an entry is written when the table it points to is durable. A table that is at a new
/// place is written whole before the header says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct L1Table {
    /// Where it is on the medium, or will be.
    pub(super) offset: u64,
    /// Its entries. Those past what the virtual disk needs are kept as they are.
    pub(super) entries: Vec<L1Entry>,
    /// Sectors of the table that differ from the medium.
    dirty: BTreeSet<u64>,
    /// Whether the header does not know this place yet.
    is_new: bool,
    /// L2 tables that no entry on the medium can point to yet.
    unlinked: BTreeSet<u64>,
}

/// What of the table is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct L1Changes {
    /// The whole table at a new place, before the header says so.
    pub(super) new: Option<(u64, Vec<u8>)>,
    /// Sectors of the table that the header knows.
    pub(super) sectors: Vec<(u64, Vec<u8>)>,
    /// L2 tables that nothing on the medium points to before these changes.
    pub(super) unlinked: BTreeSet<u64>,
}

impl L1Table {
    pub(super) fn parse(offset: u64, bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let entries = words.iter().map(|word| L1Entry(u64::from_be_bytes(*word))).collect();
        Self { offset, entries, dirty: BTreeSet::new(), is_new: false, unlinked: BTreeSet::new() }
    }

    /// Sets an entry. A table that is new is one that nothing on the medium points to.
    pub(super) fn set(&mut self, index: u64, entry: L1Entry, is_new_table: bool) {
        self.entries[place(index)] = entry;
        self.dirty.insert(index * ENTRY_LEN / SECTOR);
        if let (Some(table), true) = (entry.table(), is_new_table) {
            self.unlinked.insert(table);
        }
    }

    /// An entry; a table that has none for the index has nothing there.
    pub(super) fn get(&self, index: u64) -> L1Entry {
        self.entries.get(place(index)).copied().unwrap_or_default()
    }

    /// Puts the table, with more entries or with others, at a new place.
    pub(super) fn move_to(&mut self, offset: u64, entries: Vec<L1Entry>) {
        self.offset = offset;
        self.entries = entries;
        self.is_new = true;
        self.dirty.clear();
    }

    /// Bytes of the table.
    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64 * ENTRY_LEN
    }

    /// Whether something of it differs from the medium.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_new || !self.dirty.is_empty()
    }

    /// Takes what has to be written; none of it is dirty any more.
    pub(super) fn take_changes(&mut self) -> L1Changes {
        let unlinked = std::mem::take(&mut self.unlinked);
        let dirty = std::mem::take(&mut self.dirty);
        if std::mem::replace(&mut self.is_new, false) {
            let sectors = self.len().div_ceil(SECTOR);
            let bytes = (0..sectors).flat_map(|sector| self.sector(sector)).collect();
            return L1Changes { new: Some((self.offset, bytes)), sectors: Vec::new(), unlinked };
        }
        let sectors = dirty.into_iter().map(|at| (self.offset + at * SECTOR, self.sector(at)));
        L1Changes { new: None, sectors: sectors.collect(), unlinked }
    }

    /// The changes may not be on the medium. With `linked`, the header and the entries may be, while
    /// all that they point to is: none of it is unlinked any more, and a new place is not new.
    pub(super) fn not_written(&mut self, changes: &L1Changes, linked: bool) {
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
        if !linked {
            self.unlinked.extend(&changes.unlinked);
        }
    }

    /// The bytes of a sector of the table; past its last entry there are zeros.
    fn sector(&self, sector: u64) -> Vec<u8> {
        let per_sector = SECTOR / ENTRY_LEN;
        let entries = sector * per_sector..(sector + 1) * per_sector;
        entries.flat_map(|index| self.get(index).0.to_be_bytes()).collect()
    }
}

/// The table as the tasks of an image reach it: a *part* of it is a range of indices.
pub(super) struct ActiveL1 {
    table: Shared<L1Table>,
}

/// Stands for what of the table is dirty: no index.
const CHANGED: Range<u64> = u64::MAX - 1..u64::MAX;
/// All indices.
const CONTENT: Range<u64> = 0..u64::MAX - 1;

impl ActiveL1 {
    pub(super) fn new(tracker: &Tracker, table: L1Table) -> Self {
        Self { table: Shared::new(tracker, table) }
    }

    /// See [`L1Table::get`].
    pub(super) fn get(&self, index: u64) -> L1Entry {
        self.table.read_part(index..index + 1, |table| table.get(index))
    }

    /// See [`L1Table::set`].
    pub(super) fn set(&self, index: u64, entry: L1Entry, is_new_table: bool) {
        self.table.add(CHANGED, |_| ());
        self.table.write_part(index..index + 1, |table| table.set(index, entry, is_new_table));
    }

    /// See [`L1Table::is_dirty`].
    pub(super) fn is_dirty(&self) -> bool {
        self.table.read_part(CHANGED, L1Table::is_dirty)
    }

    /// See [`L1Table::take_changes`].
    pub(super) fn take_changes(&self) -> L1Changes {
        self.table.read_part(CONTENT, |_| ());
        self.table.write_part(CHANGED, L1Table::take_changes)
    }

    /// See [`L1Table::not_written`].
    pub(super) fn not_written(&self, changes: &L1Changes, linked: bool) {
        self.table.write_part(CHANGED, |table| table.not_written(changes, linked));
    }

    /// See [`L1Table::move_to`].
    pub(super) fn move_to(&self, offset: u64, entries: Vec<L1Entry>) {
        self.table.write(|table| table.move_to(offset, entries));
    }

    /// A copy of the whole table.
    pub(super) fn copy(&self) -> L1Table {
        self.table.read(L1Table::clone)
    }
}

fn place(index: u64) -> usize {
    usize::try_from(index).expect("an index in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_and_unlinked_tables() {
        let mut table = L1Table::parse(4096, &[0; 8 * 70]);
        assert!(!table.is_dirty());
        table.set(65, L1Entry::new(8192, true), true);
        let changes = table.take_changes();
        assert_eq!(changes.sectors.len(), 1);
        assert_eq!(changes.sectors[0].0, 4096 + 512);
        assert_eq!(changes.sectors[0].1.len(), 512);
        assert_eq!(changes.sectors[0].1[8..16], (8192_u64 | 1 << 63).to_be_bytes());
        assert!(changes.unlinked.contains(&8192));
        assert!(!table.is_dirty());
        table.not_written(&changes, false);
        assert_eq!(table.take_changes(), changes);
        table.not_written(&changes, true);
        assert!(table.take_changes().unlinked.is_empty());
    }

    #[test]
    fn a_moved_table_is_written_whole() {
        let mut table = L1Table::parse(4096, &[0; 16]);
        table.set(1, L1Entry::new(512, false), false);
        let mut entries = table.entries.clone();
        entries.resize(65, L1Entry::default());
        table.move_to(8192, entries);
        let changes = table.take_changes();
        let (offset, bytes) = changes.new.clone().unwrap();
        assert_eq!((offset, bytes.len()), (8192, 1024));
        assert_eq!(bytes[8..16], 512_u64.to_be_bytes());
        table.not_written(&changes, false);
        assert!(table.take_changes().new.is_some());
    }
}
