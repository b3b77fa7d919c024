//! The maps in memory: what is true now, and what the medium guarantees.

use std::ops::Range;

use super::bitmap::Bitmap;
use super::changed::ChangedSector;
use super::geometry::Geometry;
use super::table::{EMPTY, Table};
use crate::units::SECTOR;

/// Bitmap and table of an opened image.
///
/// * `fresh` says what is true now: the data of the block is in storage.
/// * `stale`, a subset, says what journal and bitmap region promise after a power cut. The bits
///   between the two come from copy-on-read and prefetching, which write no journal, and from
///   writes whose journal record is on its way.
/// * An entry of the table is *journaled* in the same sense, or *dirty*.
///
/// All three only ever grow: a bit stays set, a chunk stays where it is. A plan made from them can
/// therefore only become simpler while it waits for a lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Maps {
    /// Blocks whose data is local.
    pub fresh: Bitmap,
    /// Blocks that are known to be local after a power cut.
    pub stale: Bitmap,
    /// Where chunks live.
    pub table: Table,
}

/// Map sectors to be written, as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub(super) struct MapsSnapshot {
    pub(super) table: Vec<ChangedSector>,
    pub(super) bitmap: Vec<ChangedSector>,
}

impl Maps {
    /// Maps as they were loaded: what is true and what is guaranteed are the same.
    pub(super) fn loaded(bitmap: Bitmap, table: Table) -> Self {
        Self { stale: bitmap.clone(), fresh: bitmap, table }
    }

    /// Whether the maps in memory differ from what was last written.
    pub(super) fn have_changed(&self) -> bool {
        self.table.has_changed() || self.fresh.has_changed()
    }

    /// The changed sectors of both maps. Bits and entries that were published together are
    /// in one snapshot together.
    pub(super) fn take_changed(&mut self) -> MapsSnapshot {
        MapsSnapshot { table: self.table.take_changed(), bitmap: self.fresh.take_changed() }
    }

    /// Takes a snapshot back that could not be written.
    pub(super) fn give_back(&mut self, snapshot: &MapsSnapshot) {
        self.table.give_back(snapshot.table.iter().map(|sector| sector.index));
        self.fresh.give_back(snapshot.bitmap.iter().map(|sector| sector.index));
    }

    /// What the sectors of a snapshot say is guaranteed from now on: they are durable.
    pub(super) fn guarantee(&mut self, snapshot: &MapsSnapshot) {
        for sector in &snapshot.table {
            let first = sector.index * (SECTOR / 4);
            for (v, entry) in (first..).zip(sector.bytes.chunks_exact(4)) {
                if entry != EMPTY.to_le_bytes() {
                    let v = u32::try_from(v).expect("entries are counted in 32 bits");
                    self.table.mark_journaled(v..v + 1);
                }
            }
        }
        for sector in &snapshot.bitmap {
            let first = sector.index * SECTOR * 8;
            for (block, bit) in (first..self.stale.blocks()).zip(0_usize..) {
                let Some(byte) = sector.bytes.get(bit / 8) else { break };
                if byte >> (bit % 8) & 1 == 1 && !self.stale.is_set(block) {
                    self.stale.set_range(block..block + 1);
                }
            }
        }
    }

    /// Everything in `chunks` and `blocks` is guaranteed from now on.
    pub(super) fn guarantee_ranges(&mut self, chunks: Range<u32>, blocks: Range<u64>) {
        self.table.mark_journaled(chunks);
        self.stale.set_range(blocks);
    }

    /// Marks every sector that says anything as changed, so that the next write of the maps
    /// writes it whether or not it seems to be on disk already.
    pub(super) fn mark_all_used(&mut self, geometry: &Geometry) {
        if let Some(compact) = &geometry.compact {
            let used = (0..compact.entries).filter(|&v| self.table.get(v).is_some());
            let mut sectors: Vec<u64> = used.map(|v| u64::from(v) / (SECTOR / 4)).collect();
            sectors.dedup();
            self.table.give_back(sectors);
        }
        let sectors = 0..self.fresh.as_bytes().len() as u64 / SECTOR;
        let used = |&sector: &u64| self.fresh.sector(sector).iter().any(|&byte| byte != 0);
        let used: Vec<u64> = sectors.filter(used).collect();
        self.fresh.give_back(used);
    }
}
