//! What a write has to do, decided from the maps alone.
//!
//! A plan is made twice: first to know which range to lock, and again under the lock, because the
//! maps may have changed while the request waited. As the maps only grow, the second plan never
//! needs more than the first one locked.

use std::ops::Range;

use super::geometry::Geometry;
use super::maps::Maps;
use super::planted::{Bug, PlantedBugs};
use crate::sync::LockMode;
use crate::units::ByteRange;

/// What one guest write has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WritePlan {
    /// What the guest writes.
    pub(super) guest: ByteRange,
    /// What is stored: the guest's range rounded out to the blocks that become local.
    pub(super) store: ByteRange,
    /// Blocks that are local once it is stored.
    pub(super) blocks: Range<u64>,
    /// Chunks to allocate.
    pub(super) unmapped: Vec<u32>,
    /// Whether the maps promise too little: the write is acknowledged only after a journal record.
    pub(super) record: bool,
    /// What to lock, and how.
    pub(super) lock: ByteRange,
    /// Exclusive if anything is copied, allocated or becomes local.
    pub(super) mode: LockMode,
}

impl WritePlan {
    /// The part of the first block that is copied from the base.
    pub(super) fn head(&self) -> ByteRange {
        ByteRange::between(self.store.offset, self.guest.offset)
    }

    /// The part of the last block that is copied from the base.
    pub(super) fn tail(&self) -> ByteRange {
        ByteRange::between(self.guest.end(), self.store.end())
    }
}

/// Decides what writing `guest` takes. The range is not empty and lies within the virtual disk.
pub(super) fn plan_write(
    geometry: &Geometry,
    maps: &Maps,
    guest: ByteRange,
    planted: PlantedBugs,
) -> WritePlan {
    let touched = geometry.blocks(guest);
    let store = round_out_to_base_blocks(geometry, maps, guest, &touched);
    let becomes_local = !maps.fresh.all_set(touched.clone());
    let chunks = geometry.chunks(store);
    let unmapped: Vec<u32> =
        chunks.clone().filter(|&chunk| maps.table.get(chunk).is_none()).collect();
    let journaled = |chunk| maps.table.get(chunk).is_some_and(|entry| entry.journaled);
    let record = !maps.stale.all_set(touched.clone()) || !chunks.clone().all(journaled);
    let changes = becomes_local || !unmapped.is_empty();
    let mut plan = WritePlan {
        guest,
        store,
        blocks: touched,
        lock: if changes { round_out_to_chunks(geometry, store, &unmapped) } else { guest },
        mode: if changes { LockMode::Exclusive } else { LockMode::Shared },
        unmapped,
        record,
    };
    let whole_blocks = becomes_local && store == guest && plan.unmapped.is_empty();
    if whole_blocks && planted.has(Bug::FullBlockWriteVsCow) {
        plan.lock = ByteRange::new(guest.offset, 0);
    }
    plan
}

/// Adds what is missing to complete the first and the last block, if these are still the base's.
fn round_out_to_base_blocks(
    geometry: &Geometry,
    maps: &Maps,
    guest: ByteRange,
    touched: &Range<u64>,
) -> ByteRange {
    let (mut start, mut end) = (guest.offset, guest.end());
    if touched.is_empty() {
        return guest;
    }
    let (first, last) = (touched.start, touched.end - 1);
    if !maps.fresh.is_set(first) {
        start = start.min(geometry.block_range(first..first + 1).offset);
    }
    if !maps.fresh.is_set(last) {
        end = end.max(geometry.block_range(last..last + 1).end());
    }
    ByteRange::between(start, end)
}

/// Adds the whole of the chunks that are to be allocated: nobody else may allocate them, and what
/// is around the stored range in them becomes visible, too.
pub(super) fn round_out_to_chunks(
    geometry: &Geometry,
    store: ByteRange,
    unmapped: &[u32],
) -> ByteRange {
    let (mut start, mut end) = (store.offset, store.end());
    for &chunk in unmapped {
        let whole = geometry.chunk_range(chunk..chunk + 1);
        start = start.min(whole.offset);
        end = end.max(whole.end());
    }
    ByteRange::between(start, end)
}

/// The parts of `range` that are still the base's, as ranges of whole blocks, each not longer than
/// `longest` unless it is a single block.
pub(super) fn missing_blocks(
    geometry: &Geometry,
    maps: &Maps,
    range: ByteRange,
    longest: u64,
) -> Vec<Range<u64>> {
    let Some(base) = &geometry.base else { return Vec::new() };
    let most = (longest / base.block_len).max(1);
    let mut missing: Vec<Range<u64>> = Vec::new();
    for block in geometry.blocks(range) {
        if maps.fresh.is_set(block) {
            continue;
        }
        match missing.last_mut() {
            Some(last) if last.end == block && block - last.start < most => last.end += 1,
            _ => missing.push(block..block + 1),
        }
    }
    missing
}
