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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// The parts of `range` that are still the base's, as ranges of whole blocks.
pub(super) fn missing_blocks(
    geometry: &Geometry,
    maps: &Maps,
    range: ByteRange,
) -> Vec<Range<u64>> {
    let mut missing: Vec<Range<u64>> = Vec::new();
    for block in geometry.blocks(range) {
        if maps.fresh.is_set(block) {
            continue;
        }
        match missing.last_mut() {
            Some(last) if last.end == block => last.end += 1,
            _ => missing.push(block..block + 1),
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::super::bitmap::Bitmap;
    use super::super::geometry::{BaseGeometry, CompactGeometry};
    use super::super::table::Table;
    use super::*;

    const BLOCK: u64 = 7680;
    const CHUNK: u64 = 8192;
    /// Ends inside block 2 and chunk 2.
    const BASE: u64 = 17408;

    fn geometry() -> Geometry {
        let base = BaseGeometry {
            len: BASE,
            block_len: BLOCK,
            bitmap: ByteRange::new(8192, 4096),
            blocks: 3,
        };
        let table = ByteRange::new(12288, 4096);
        let chunks = CompactGeometry { chunk_len: CHUNK, table, entries: 5, grow_unit: CHUNK };
        Geometry {
            virtual_size: 4 * CHUNK + 1024,
            data_offset: 1 << 20,
            separate_data: false,
            need_zero_init: false,
            base: Some(base),
            compact: Some(chunks),
            journal: None,
        }
    }

    /// Blocks that are fresh, blocks that are also stale, chunks that are mapped (to their own
    /// number), chunks of these that are journaled.
    type Known<'a> = (&'a [u64], &'a [u64], &'a [u32], &'a [u32]);

    /// Stored range, blocks, chunks to allocate, whether to record, locked range.
    type Expected<'a> = ((u64, u64), Range<u64>, &'a [u32], bool, (u64, u64));

    fn maps((fresh, stale, mapped, journaled): Known<'_>) -> Maps {
        let mut maps = Maps::loaded(Bitmap::new(3, 4096), Table::new(5));
        for &block in fresh {
            maps.fresh.set_range(block..block + 1);
        }
        for &block in stale {
            maps.stale.set_range(block..block + 1);
        }
        mapped.iter().for_each(|&chunk| maps.table.insert(chunk, chunk));
        journaled.iter().for_each(|&chunk| maps.table.mark_journaled(chunk..chunk + 1));
        maps
    }

    fn check(known: Known<'_>, (start, end): (u64, u64), expected: Expected<'_>, mode: LockMode) {
        let (store, blocks, unmapped, record, lock) = expected;
        let guest = ByteRange::between(start, end);
        let plan = plan_write(&geometry(), &maps(known), guest, PlantedBugs::NONE);
        let expected = WritePlan {
            guest,
            store: ByteRange::between(store.0, store.1),
            blocks,
            unmapped: unmapped.to_vec(),
            record,
            lock: ByteRange::between(lock.0, lock.1),
            mode,
        };
        assert_eq!(plan, expected);
    }

    const SHARED: LockMode = LockMode::Shared;
    const EXCLUSIVE: LockMode = LockMode::Exclusive;
    const NOTHING: Known<'_> = (&[], &[], &[], &[]);

    #[test]
    fn partial_blocks_are_completed_and_their_chunks_locked() {
        // Block 1 is 7680..15360, chunks 0 and 1.
        let whole_chunks = (0, 16384);
        check(NOTHING, (8192, 8704), ((7680, 15360), 1..2, &[0, 1], true, whole_chunks), EXCLUSIVE);
        // A whole block copies nothing, and is locked all the same.
        check(
            NOTHING,
            (7680, 15360),
            ((7680, 15360), 1..2, &[0, 1], true, whole_chunks),
            EXCLUSIVE,
        );
        // Blocks 0 and 1, each partial; chunk 0 is there already.
        let chunk_0 = (&[][..], &[][..], &[0][..], &[0][..]);
        check(chunk_0, (7168, 8704), ((0, 15360), 0..2, &[1], true, (0, 16384)), EXCLUSIVE);
    }

    #[test]
    fn the_last_block_ends_with_the_base() {
        // Block 2 is 15360..17408 as far as the base goes.
        check(
            NOTHING,
            (15872, 16384),
            ((15360, 17408), 2..3, &[1, 2], true, (8192, 24576)),
            EXCLUSIVE,
        );
        // What is written past the base is stored, and nothing is copied over it.
        check(
            NOTHING,
            (16896, 18432),
            ((15360, 18432), 2..3, &[1, 2], true, (8192, 24576)),
            EXCLUSIVE,
        );
        // Only past the base: no block at all.
        check(
            NOTHING,
            (17408, 17920),
            ((17408, 17920), 0..0, &[2], true, (16384, 24576)),
            EXCLUSIVE,
        );
        // The last chunk ends with the virtual disk.
        let last = (32768, 33280);
        check(NOTHING, last, (last, 0..0, &[4], true, (32768, 33792)), EXCLUSIVE);
    }

    #[test]
    fn what_the_medium_promises_is_written_in_place() {
        let all: Known<'_> = (&[0, 1, 2], &[0, 1, 2], &[0, 1, 2], &[0, 1, 2]);
        check(all, (512, 16384), ((512, 16384), 0..3, &[], false, (512, 16384)), SHARED);
        // A soft block, or a dirty entry: in place, and recorded.
        let soft: Known<'_> = (&[0, 1], &[0], &[0, 1], &[0, 1]);
        check(soft, (8192, 8704), ((8192, 8704), 1..2, &[], true, (8192, 8704)), SHARED);
        let dirty: Known<'_> = (&[0, 1], &[0, 1], &[0, 1], &[0]);
        check(dirty, (8192, 8704), ((8192, 8704), 1..2, &[], true, (8192, 8704)), SHARED);
        check(dirty, (512, 1024), ((512, 1024), 0..1, &[], false, (512, 1024)), SHARED);
    }

    #[test]
    fn missing_blocks_come_in_runs() {
        let check = |fresh: &[u64], expected: &[Range<u64>]| {
            let maps = maps((fresh, &[], &[], &[]));
            let all = ByteRange::new(0, 4 * CHUNK);
            assert_eq!(missing_blocks(&geometry(), &maps, all), expected);
        };
        let every = 0..3;
        check(&[], std::slice::from_ref(&every));
        check(&[1], &[0..1, 2..3]);
        check(&[0, 1, 2], &[]);
    }

    /// Whatever the maps say, what is planned after they have grown needs no more than what was
    /// planned before.
    #[test]
    fn a_plan_only_shrinks_while_it_waits() {
        let pick = |code: usize, all: [u64; 3]| -> Vec<u64> {
            (0..3).filter(|bit| code >> bit & 1 == 1).map(|bit| all[bit]).collect()
        };
        let chunks = |code| -> Vec<u32> {
            pick(code, [0, 1, 2]).iter().map(|&v| u32::try_from(v).unwrap()).collect()
        };
        for (start, end) in [(512, 1024), (7168, 8704), (0, 33792), (15360, 17920), (17408, 18432)]
        {
            let guest = ByteRange::between(start, end);
            let plan = |blocks: usize, mapped: usize| {
                let (fresh, mapped) = (pick(blocks, [0, 1, 2]), chunks(mapped));
                let maps = maps((&fresh, &[], &mapped, &[]));
                plan_write(&geometry(), &maps, guest, PlantedBugs::NONE)
            };
            for (before, after) in (0..8).flat_map(|one| (0..8).map(move |two| (one, one | two))) {
                let (first, second) = (plan(before, before), plan(after, after));
                assert!(first.lock.contains(second.lock), "{first:?} then {second:?}");
                assert!(first.mode == EXCLUSIVE || second.mode == SHARED);
                assert!(first.record || !second.record);
            }
        }
    }
}
