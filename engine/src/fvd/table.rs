//! The table: where each virtual chunk lives in data storage.
//!
//! One little-endian u32 per virtual chunk: `0xFFFFFFFF` not allocated, otherwise bits 0..=30 are
//! the physical chunk. Bit 31 means "not in the journal yet". It exists in memory, and in journal
//! records (where replay ignores it), never in the table region.
//!
//! Invariants, checked when a table is loaded, replayed into, or changed:
//!
//! * No two virtual chunks share a physical chunk (F-INJ).
//! * A virtual chunk never moves to another physical chunk, and is never unmapped.
//! * Every physical chunk lies in data storage.
//!
//! # Source
//! FVD version 1, table.

use std::ops::Range;

use super::changed::{Changed, ChangedSector};
use super::physical_set::PhysicalSet;
use super::planted::{Bug, PlantedBugs};
use crate::error::Error;
use crate::units::SECTOR;

/// The entry of a chunk that is not allocated.
pub const EMPTY: u32 = u32::MAX;
/// Set in an entry that is not in the journal yet.
pub const DIRTY: u32 = 1 << 31;
/// The largest physical chunk id: the next one, with [`DIRTY`] set, equals [`EMPTY`].
pub const PHYSICAL_MAX: u32 = 0x7FFF_FFFE;
const ENTRIES_PER_SECTOR: u64 = SECTOR / 4;
const SECTOR_LEN: usize = 512;

/// Where a virtual chunk lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The physical chunk.
    pub physical: u32,
    /// Whether a record of it is in the journal or in the table region.
    pub journaled: bool,
}

/// The table in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    entries: Vec<u32>,
    used: PhysicalSet,
    changed: Changed,
}

impl Table {
    /// A table of `entries` chunks, none allocated.
    #[must_use]
    pub fn new(entries: u32) -> Self {
        let entries = usize::try_from(entries).expect("tables fit in memory");
        Self {
            entries: vec![EMPTY; entries],
            used: PhysicalSet::default(),
            changed: Changed::default(),
        }
    }

    /// The table stored as `bytes`: 4 per entry, more are padding and ignored.
    ///
    /// `physical_limit` is what [`super::geometry::Geometry::physical_limit`] says of the data
    /// storage.
    ///
    /// # Errors
    /// [`Error::Corrupt`] of structure "table" if an entry lies past the data, has bit 31 set
    /// though it is not empty, or shares its chunk with another.
    ///
    /// # Panics
    /// If `bytes` is too short for `entries`, which [`super::geometry`] refuses.
    pub fn load(
        bytes: &[u8],
        entries: u32,
        physical_limit: u32,
        planted: PlantedBugs,
    ) -> Result<Self, Error> {
        if planted.has(Bug::HostChunkId) {
            return Ok(Self::load_judged(bytes, entries, |_, _, _| true));
        }
        let mut first_problem = None;
        let table = Self::load_judged(bytes, entries, |table, v, entry| {
            let judged = table.admit(v, entry, physical_limit);
            let admitted = judged.is_ok();
            first_problem = first_problem.take().or(judged.err());
            admitted
        });
        first_problem.map_or(Ok(table), Err)
    }

    /// The part of a damaged table that [`Self::load`] would accept, each error that it would give
    /// passed to `problem`.
    pub(super) fn salvage(
        bytes: &[u8],
        entries: u32,
        physical_limit: u32,
        mut problem: impl FnMut(Error),
    ) -> Self {
        Self::load_judged(bytes, entries, |table, v, entry| {
            table.admit(v, entry, physical_limit).map_err(&mut problem).is_ok()
        })
    }

    /// A table of those stored entries that `admit` lets in; the others stay empty.
    fn load_judged(
        bytes: &[u8],
        entries: u32,
        mut admit: impl FnMut(&Self, u32, u32) -> bool,
    ) -> Self {
        let mut table = Self::new(entries);
        for v in 0..entries {
            let at = v as usize * 4;
            let entry = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            if entry != EMPTY && admit(&table, v, entry) {
                table.entries[v as usize] = entry & !DIRTY;
                table.used.insert(entry & !DIRTY);
            }
        }
        table
    }

    /// Whether the stored `entry` may be that of the unmapped chunk `v`.
    fn admit(&self, v: u32, entry: u32, physical_limit: u32) -> Result<(), Error> {
        let broken = |rule, found| Err(Error::corrupt("table", rule, found));
        if entry & DIRTY != 0 {
            return broken(
                "bit 31 is clear in an allocated entry",
                format!("entry {v}: {entry:#x}"),
            );
        }
        if entry >= physical_limit {
            return broken(
                "an entry lies within the data",
                format!("entry {v}: chunk {entry}, data has {physical_limit}"),
            );
        }
        if self.used.contains(entry) {
            return broken(
                "no two entries share a chunk",
                format!("entry {v}: chunk {entry} is another's"),
            );
        }
        Ok(())
    }

    /// Number of virtual chunks.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("made from a u32")
    }

    /// Whether there are no virtual chunks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where `v` lives, if it is allocated.
    ///
    /// # Panics
    /// If there is no such chunk.
    #[must_use]
    pub fn get(&self, v: u32) -> Option<Entry> {
        let raw = self.raw(v)?;
        Some(Entry { physical: raw & !DIRTY, journaled: raw & DIRTY == 0 })
    }

    /// The entry of `v` as a journal record holds it, with its dirty bit.
    #[must_use]
    pub fn raw(&self, v: u32) -> Option<u32> {
        Some(self.entries[v as usize]).filter(|&entry| entry != EMPTY)
    }

    /// Allocates `physical` to `v`, not yet journaled.
    ///
    /// # Panics
    /// If `v` is allocated already, or `physical` is in use or out of range.
    pub fn insert(&mut self, v: u32, physical: u32) {
        assert_eq!(self.entries[v as usize], EMPTY, "chunk {v} is allocated already");
        assert!(physical <= PHYSICAL_MAX, "physical chunk {physical}");
        assert!(!self.used.contains(physical), "physical chunk {physical} is in use");
        self.put(v, physical | DIRTY);
    }

    /// Applies a TABLE record found in `structure` ("journal sector 3"): the entries of the chunks
    /// from `first`, clean afterwards. All or nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the record goes past the table, moves a chunk, or gives a chunk in
    /// use to another.
    pub fn replay(
        &mut self,
        structure: impl std::fmt::Display,
        first: u32,
        entries: &[u32],
        planted: PlantedBugs,
    ) -> Result<(), Error> {
        let chunks = first..first.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        if !planted.has(Bug::HostJournalRecord) {
            self.admit_record(&structure, &chunks, entries)?;
        }
        for (v, entry) in chunks.zip(entries) {
            let physical = entry & !DIRTY;
            if self.entries[v as usize] != physical {
                self.put(v, physical);
            }
        }
        Ok(())
    }

    fn admit_record(
        &self,
        structure: &dyn std::fmt::Display,
        chunks: &Range<u32>,
        entries: &[u32],
    ) -> Result<(), Error> {
        let broken = |rule, found: String| Err(Error::corrupt(structure.to_string(), rule, found));
        if chunks.end > self.len() || chunks.len() != entries.len() {
            return broken("a TABLE record stays within the table", format!("{chunks:?}"));
        }
        let mut fresh = PhysicalSet::default();
        for (v, entry) in chunks.clone().zip(entries) {
            let physical = entry & !DIRTY;
            match self.get(v) {
                Some(old) if old.physical == physical => {}
                Some(old) => {
                    let found =
                        format!("chunk {v}: {} in the table, {physical} here", old.physical);
                    return broken("a chunk keeps its physical chunk", found);
                }
                None if self.used.contains(physical) || !fresh.insert(physical) => {
                    let found = format!("chunk {v}: physical chunk {physical} is another's");
                    return broken("no two chunks share a physical chunk", found);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Clears the dirty bit of `chunks`: a record of them is durable in the journal, or the table
    /// region holds them.
    pub fn mark_journaled(&mut self, chunks: Range<u32>) {
        for v in chunks {
            if let Some(raw) = self.raw(v) {
                self.entries[v as usize] = raw & !DIRTY;
            }
        }
    }

    /// Number of allocated chunks.
    #[must_use]
    pub fn used_chunks(&self) -> u32 {
        self.used.len()
    }

    /// One past the largest physical chunk in use; 0 if none is.
    #[must_use]
    pub fn physical_end(&self) -> u32 {
        self.used.end()
    }

    /// Whether some virtual chunk lives in `physical`.
    #[must_use]
    pub fn uses(&self, physical: u32) -> bool {
        self.used.contains(physical)
    }

    /// The physical chunks below `end` that no virtual chunk uses, as ranges in order: leaked by
    /// a crash, and free to be used again.
    #[must_use]
    pub fn leaked(&self, end: u32) -> Vec<Range<u32>> {
        self.used.gaps(end)
    }

    fn put(&mut self, v: u32, entry: u32) {
        let old = std::mem::replace(&mut self.entries[v as usize], entry);
        if old != EMPTY {
            self.used.remove(old & !DIRTY);
        }
        self.used.insert(entry & !DIRTY);
        self.changed.mark(u64::from(v) / ENTRIES_PER_SECTOR);
    }

    /// One sector of the table region as it is stored: no dirty bits, padding empty.
    #[must_use]
    pub fn sector(&self, index: u64) -> Vec<u8> {
        let first = usize::try_from(index * ENTRIES_PER_SECTOR).expect("tables fit in memory");
        let end = self.entries.len().min(first + SECTOR_LEN / 4);
        let mut bytes = Vec::with_capacity(SECTOR_LEN);
        for &entry in &self.entries[first.min(end)..end] {
            let stored = if entry == EMPTY { EMPTY } else { entry & !DIRTY };
            bytes.extend_from_slice(&stored.to_le_bytes());
        }
        bytes.resize(SECTOR_LEN, 0xFF);
        bytes
    }

    /// Whether something has to be written.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The sectors that differ from what was last taken, as they are now, in order.
    ///
    /// Whoever takes them writes them; what could not be written has to be given back.
    pub fn take_changed(&mut self) -> Vec<ChangedSector> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.take(|index| self.sector(index))
    }

    /// Marks sectors as changed again, after they could not be written.
    pub fn give_back(&mut self, sectors: impl IntoIterator<Item = u64>) {
        sectors.into_iter().for_each(|sector| self.changed.mark(sector));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_dirty_bit_is_in_memory_only() {
        let mut table = Table::new(3);
        table.insert(1, 5);
        assert_eq!(table.get(1), Some(Entry { physical: 5, journaled: false }));
        assert_eq!(table.raw(1), Some(5 | DIRTY));
        let taken = table.take_changed();
        assert_eq!(taken.len(), 1);
        assert_eq!(
            taken[0].bytes[..12],
            [0xFF, 0xFF, 0xFF, 0xFF, 5, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]
        );
        assert!(taken[0].bytes[12..].iter().all(|&byte| byte == 0xFF), "padding is empty");
        table.mark_journaled(0..3);
        assert_eq!(table.get(1), Some(Entry { physical: 5, journaled: true }));
        assert!(!table.has_changed(), "what is stored is the same");
        table.give_back([0]);
        assert_eq!(table.take_changed(), taken);
    }

    #[test]
    fn a_record_is_applied_wholly_or_not_at_all() {
        let mut table = Table::new(300);
        table.insert(0, 0);
        for (first, entries) in [(1, [7, 0]), (0, [1, 2]), (299, [1, 2]), (1, [3, 3])] {
            let before = table.clone();
            let error = table.replay("journal sector 4", first, &entries, PlantedBugs::NONE);
            assert!(matches!(error, Err(Error::Corrupt { .. })), "{first}: {entries:?}");
            assert_eq!(table, before);
        }
        table.replay("journal sector 4", 0, &[DIRTY, 9 | DIRTY], PlantedBugs::NONE).unwrap();
        assert_eq!(table.get(1), Some(Entry { physical: 9, journaled: true }));
        assert_eq!(table.get(0).map(|entry| entry.physical), Some(0));
        table.replay("journal sector 4", 200, &[4], PlantedBugs::NONE).unwrap();
        let changed: Vec<u64> = table.take_changed().iter().map(|sector| sector.index).collect();
        assert_eq!(changed, [0, 1]);
    }

    #[test]
    fn planted_bugs_let_one_chunk_serve_two() {
        let planted = PlantedBugs::of(&[Bug::HostJournalRecord, Bug::HostChunkId]);
        let mut table = Table::new(4);
        table.replay("journal sector 0", 0, &[1, 1], planted).unwrap();
        assert_eq!(table.get(0), table.get(1));
        let bytes = [3_u32, 3, EMPTY, 0x7FFF_FFFE].map(u32::to_le_bytes).concat();
        let table = Table::load(&bytes, 4, 10, planted).unwrap();
        assert_eq!(table.get(0), table.get(1));
        assert_eq!(table.physical_end(), 0x7FFF_FFFF);
        assert!(Table::load(&bytes, 4, 10, PlantedBugs::NONE).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn physical_chunks_agree_with_a_set(
            ids in prop::collection::btree_set(0_u32..300, 0..40),
            end in 0_u32..310,
        ) {
            let mut table = Table::new(64);
            for (v, &id) in (0..).zip(&ids) {
                table.insert(v, id);
            }
            let stored: Vec<u8> = table.take_changed().into_iter().flat_map(|it| it.bytes).collect();
            if !ids.is_empty() {
                let loaded = Table::load(&stored, 64, 300, PlantedBugs::NONE).unwrap();
                prop_assert!((0..64).all(|v| loaded.get(v).map(|it| it.physical) == table.get(v).map(|it| it.physical)));
            }
            prop_assert_eq!(table.used_chunks() as usize, ids.len());
            prop_assert_eq!(table.physical_end(), ids.last().map_or(0, |id| id + 1));
            prop_assert!((0..310).all(|id| table.uses(id) == ids.contains(&id)));
            let leaked: BTreeSet<u32> = table.leaked(end).into_iter().flatten().collect();
            prop_assert_eq!(leaked, (0..end).filter(|id| !ids.contains(id)).collect());
        }
    }
}
