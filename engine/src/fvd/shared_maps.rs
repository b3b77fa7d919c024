//! The maps of an open image, as its tasks reach them: each access names the guest bytes it is about.
//!
//! A *part* of the maps is a range of guest bytes. Every block and chunk that decides a method's
//! answer shares a byte with the part that it names, and those that it changes lie in it **wholly**:
//! so the part of whoever changes a block or a chunk overlaps those of all who look at it, and those
//! of all others who change it. What has no place in guest bytes (which sectors have changed, which
//! physical chunks are in use) changes in ways that commute, and is looked at by those who access the
//! whole.
//!
//! Publishing and guaranteeing are [`Access::Add`](crate::sync::Access::Add): they set bits and add
//! entries, and the same maps come out in whatever order. For guarantees that holds because only
//! what is mapped already is guaranteed, which is asserted.
//!
//! Nothing outside this file reaches the maps of an open image.

use std::ops::Range;

use super::geometry::Geometry;
use super::journal::{Record, Update, plan_update};
use super::map::{Extent, lookup};
use super::maps::{Maps, MapsSnapshot};
use super::plan::{WritePlan, missing_blocks, plan_write};
use super::planted::PlantedBugs;
use super::runs::{NewChunk, Run, runs};
use crate::sync::{LockMode, Shared, Tracker, WHOLE};
use crate::units::{ByteRange, SECTOR};

/// Stands for which sectors have changed: no guest byte.
const CHANGED: Range<u64> = u64::MAX - 1..u64::MAX;

/// The maps of an open image.
pub(super) struct SharedMaps {
    geometry: Geometry,
    maps: Shared<Maps>,
}

/// What was stored and becomes visible.
#[derive(Debug, Clone)]
pub(super) struct Published<'a> {
    /// The stored guest range.
    pub(super) range: ByteRange,
    /// The blocks that are local now; each shares a byte with the range.
    pub(super) blocks: Range<u64>,
    /// The chunks that were allocated for it.
    pub(super) new: &'a [NewChunk],
    /// Whether a power cut cannot take it back, or nobody minds if it does.
    pub(super) guaranteed: bool,
}

impl SharedMaps {
    pub(super) fn new(tracker: &Tracker, geometry: Geometry, maps: Maps) -> Self {
        Self { geometry, maps: Shared::new(tracker, maps) }
    }

    /// A copy.
    pub(super) fn copy(&self) -> Maps {
        self.maps.read(Maps::clone)
    }

    /// See [`lookup`].
    pub(super) fn lookup(&self, range: ByteRange) -> Vec<Extent> {
        self.maps.read_part(bytes(range), |maps| lookup(&self.geometry, maps, range))
    }

    /// What a write of `guest` has to lock, and how: [`WritePlan::lock`] and [`WritePlan::mode`].
    pub(super) fn plan_lock(
        &self,
        guest: ByteRange,
        planted: PlantedBugs,
    ) -> (ByteRange, LockMode) {
        self.maps.read_part(self.completed(guest), |maps| {
            let plan = plan_write(&self.geometry, maps, guest, planted);
            (plan.lock, plan.mode)
        })
    }

    /// See [`plan_write`].
    pub(super) fn plan_write(&self, guest: ByteRange, planted: PlantedBugs) -> WritePlan {
        self.maps.read_part(self.completed(guest), |maps| {
            plan_write(&self.geometry, maps, guest, planted)
        })
    }

    /// The first blocks from `first` on that are still the base's: a run of at most `most`.
    ///
    /// Looks block by block: what lies behind the run decides nothing.
    pub(super) fn next_missing(&self, first: u64, most: u64) -> Option<Range<u64>> {
        let end = self.geometry.blocks(self.geometry.base_range()).end;
        let start = (first..end).find(|&block| self.is_missing(block))?;
        let end = end.min(start.saturating_add(most));
        let local = (start + 1..end).find(|&block| !self.is_missing(block));
        Some(start..local.unwrap_or(end))
    }

    /// The blocks of `range` that are still the base's, as runs.
    pub(super) fn missing(&self, range: ByteRange) -> Vec<Range<u64>> {
        self.maps.read_part(bytes(range), |maps| missing_blocks(&self.geometry, maps, range))
    }

    /// Whether a block is still the base's.
    fn is_missing(&self, block: u64) -> bool {
        let range = self.geometry.block_range(block..block + 1);
        self.maps.read_part(bytes(range), |maps| !maps.fresh.is_set(block))
    }

    /// The chunks of `range` that are not allocated.
    pub(super) fn unmapped(&self, range: ByteRange) -> Vec<u32> {
        self.maps.read_part(bytes(range), |maps| {
            let chunks = self.geometry.chunks(range);
            chunks.filter(|&chunk| maps.table.get(chunk).is_none()).collect()
        })
    }

    /// See [`runs`].
    pub(super) fn runs(&self, range: ByteRange, new: &[NewChunk]) -> Vec<Run> {
        self.maps.read_part(bytes(range), |maps| runs(&self.geometry, maps, range, new))
    }

    /// What the journal is told of the guest range `stored`, of those chunks that `tells` admits:
    /// see [`plan_update`].
    pub(super) fn journal_update(&self, stored: ByteRange, tells: impl Fn(u32) -> bool) -> Update {
        self.maps.read_part(self.completed(stored), |maps| {
            let entry = |chunk| maps.table.raw(chunk).filter(|_| tells(chunk));
            plan_update(&self.geometry, stored, entry)
        })
    }

    /// Makes stored blocks and chunks visible to readers and to the next write of the maps.
    ///
    /// # Panics
    /// If a chunk is mapped already, or lies outside the range.
    pub(super) fn publish(&self, published: &Published<'_>) {
        let Published { range, blocks, new, guaranteed } = published;
        let chunks = self.geometry.chunks(*range);
        assert!(new.iter().all(|it| chunks.contains(&it.chunk)), "{new:?} outside {range}");
        let changed = if *guaranteed { chunks.clone() } else { hull_of(new) };
        let changed = self.geometry.chunk_range(changed);
        let local = self.geometry.block_range(blocks.clone());
        self.maps.add(bytes(hull(local, changed)), |maps| {
            maps.fresh.set_range(blocks.clone());
            new.iter().for_each(|it| maps.table.insert(it.chunk, it.physical));
            if *guaranteed {
                maps.guarantee_ranges(chunks, blocks.clone());
            }
        });
    }

    /// Counts as guaranteed what the records of an update say.
    pub(super) fn guarantee(&self, update: &Update) {
        let records = || update.phases.iter().flatten().flatten().map(|it| self.recorded(it));
        let part = records().fold(NOWHERE, |part, (chunks, blocks)| {
            let chunks = self.geometry.chunk_range(chunks);
            hull(part, hull(chunks, self.geometry.block_range(blocks)))
        });
        self.maps.add(bytes(part), |maps| {
            for (chunks, blocks) in records() {
                let mapped = chunks.clone().all(|chunk| maps.table.get(chunk).is_some());
                assert!(mapped, "{chunks:?} are recorded and not mapped");
                maps.guarantee_ranges(chunks, blocks);
            }
        });
    }

    /// The chunks and blocks that a record speaks of.
    fn recorded(&self, record: &Record) -> (Range<u32>, Range<u64>) {
        match record {
            Record::Table { first, entries } => {
                let count = u32::try_from(entries.len()).expect("fits in a sector");
                (*first..first + count, 0..0)
            }
            Record::Bitmap { first_sector, sectors } => {
                let range = ByteRange::new(first_sector * SECTOR, u64::from(*sectors) * SECTOR);
                (0..0, self.geometry.blocks(range))
            }
        }
    }

    /// Every block is local.
    pub(super) fn fill(&self) {
        self.maps.write(|maps| maps.fresh.fill());
    }

    /// See [`Maps::have_changed`].
    pub(super) fn have_changed(&self) -> bool {
        self.maps.read(Maps::have_changed)
    }

    /// See [`Maps::take_changed`].
    pub(super) fn take_changed(&self) -> MapsSnapshot {
        self.maps.write(Maps::take_changed)
    }

    /// See [`Maps::give_back`].
    pub(super) fn give_back(&self, snapshot: &MapsSnapshot) {
        self.maps.add(CHANGED, |maps| maps.give_back(snapshot));
    }

    /// See [`Maps::guarantee`].
    pub(super) fn guarantee_written(&self, snapshot: &MapsSnapshot) {
        self.maps.add(WHOLE, |maps| maps.guarantee(snapshot));
    }

    /// See [`Maps::mark_all_used`].
    pub(super) fn mark_all_used(&self) {
        self.maps.write(|maps| maps.mark_all_used(&self.geometry));
    }

    /// The range rounded out to its blocks: their chunks matter, too.
    fn completed(&self, range: ByteRange) -> Range<u64> {
        bytes(hull(range, self.geometry.block_range(self.geometry.blocks(range))))
    }
}

const NOWHERE: ByteRange = ByteRange { offset: 0, len: 0 };

/// The smallest range that contains both; an empty one is nowhere.
fn hull(one: ByteRange, other: ByteRange) -> ByteRange {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other,
        (_, true) => one,
        _ => ByteRange::between(one.offset.min(other.offset), one.end().max(other.end())),
    }
}

/// From the first to the last of some chunks, which are in order.
fn hull_of(new: &[NewChunk]) -> Range<u32> {
    match new {
        [] => 0..0,
        [first, ..] => first.chunk..new[new.len() - 1].chunk + 1,
    }
}

fn bytes(range: ByteRange) -> Range<u64> {
    range.offset..range.end()
}

#[cfg(test)]
mod tests;
