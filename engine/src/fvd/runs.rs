//! Which writes to data storage a stored guest range takes, decided from the maps alone.

use super::geometry::Geometry;
use super::maps::Maps;
use crate::units::ByteRange;

/// A chunk that was allocated and is not in the table yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NewChunk {
    /// The virtual chunk.
    pub(super) chunk: u32,
    /// The physical chunk.
    pub(super) physical: u32,
    /// The byte of storage from which on this chunk is known to hold zeros: past its end if nothing
    /// is known of it.
    pub(super) zero_from: u64,
}

/// One write to data storage: zeros, guest bytes, zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    /// Where the guest bytes go in data storage.
    pub(super) offset: u64,
    /// Which guest bytes.
    pub(super) guest: ByteRange,
    /// Zeros to write in front of them.
    pub(super) zeros_before: u64,
    /// Zeros to write after them.
    pub(super) zeros_after: u64,
}

impl Run {
    /// The range of data storage that is written.
    pub(super) fn storage(&self) -> ByteRange {
        let start = self.offset - self.zeros_before;
        ByteRange::new(start, self.zeros_before + self.guest.len + self.zeros_after)
    }
}

/// The writes that store `range`, one per stretch of storage without a gap. Chunks are either in
/// `new`, which is in order, or in the table. Of new chunks everything is written that is not known
/// to be zero, and nothing else: the header says how long a chunk is, and it may say a tebibyte.
///
/// # Panics
/// If a chunk is in neither.
pub(super) fn runs(
    geometry: &Geometry,
    maps: &Maps,
    range: ByteRange,
    new: &[NewChunk],
) -> Vec<Run> {
    let Some(compact) = &geometry.compact else {
        let offset = geometry.data_offset + range.offset;
        return vec![Run { offset, guest: range, zeros_before: 0, zeros_after: 0 }];
    };
    let mut runs: Vec<Run> = Vec::new();
    for chunk in geometry.chunks(range) {
        let whole = geometry.chunk_range(chunk..chunk + 1);
        let guest = whole.intersection(range);
        let before = guest.offset - whole.offset;
        let fresh = new.binary_search_by_key(&chunk, |new| new.chunk).ok().map(|at| new[at]);
        let mapped = || maps.table.get(chunk).expect("a stored chunk is mapped").physical;
        let physical = fresh.map_or_else(mapped, |new| new.physical);
        let start = geometry.chunk_offset(physical);
        let offset = start + before;
        let unknown =
            fresh.map_or(start, |new| new.zero_from.clamp(start, start + compact.chunk_len));
        let mut zeros_before = 0;
        if unknown >= offset && unknown > start {
            zeros_before = before;
        } else if unknown > start {
            // Between these zeros and the guest's bytes storage is zero already.
            let none = ByteRange::new(guest.offset, 0);
            let zeros_after = unknown - start;
            runs.push(Run { offset: start, guest: none, zeros_before: 0, zeros_after });
        }
        let zeros_after = unknown.saturating_sub(offset + guest.len);
        let run = Run { offset, guest, zeros_before, zeros_after };
        match runs.last_mut() {
            Some(last) if continues(last, &run) => {
                last.guest.len += run.guest.len;
                last.zeros_after = run.zeros_after;
            }
            _ => runs.push(run),
        }
    }
    runs
}

/// Whether `next` starts where the guest bytes of `last` end, in both spaces.
fn continues(last: &Run, next: &Run) -> bool {
    let storage = last.offset + last.guest.len == next.offset;
    storage && last.zeros_after == 0 && next.zeros_before == 0
}

#[cfg(test)]
mod tests {
    use super::super::bitmap::Bitmap;
    use super::super::geometry::CompactGeometry;
    use super::super::table::Table;
    use super::*;

    const CHUNK: u64 = 4096;

    fn geometry(compact: bool) -> Geometry {
        let table = ByteRange::new(8192, 4096);
        let chunks = CompactGeometry { chunk_len: CHUNK, table, entries: 4, grow_unit: CHUNK };
        Geometry {
            virtual_size: 3 * CHUNK + 512,
            data_offset: 65536,
            separate_data: false,
            need_zero_init: false,
            base: None,
            compact: compact.then_some(chunks),
            journal: None,
        }
    }

    /// Stores `start..end` where `mapped` chunks are in the table, and expects runs given as
    /// (storage offset past the data offset, zeros before, guest bytes, zeros after).
    /// New chunks are given with the offset past the data offset from which on they are zero.
    fn check(
        mapped: &[(u32, u32)],
        new: &[(u32, u32, u64)],
        (start, end): (u64, u64),
        expected: &[(u64, u64, u64, u64)],
    ) {
        let geometry = geometry(true);
        let mut table = Table::new(4);
        mapped.iter().for_each(|&(chunk, physical)| table.insert(chunk, physical));
        let maps = Maps::loaded(Bitmap::new(0, 0), table);
        let chunk = |&(chunk, physical, zero_from): &(_, _, u64)| {
            let zero_from = zero_from.saturating_add(65536);
            NewChunk { chunk, physical, zero_from }
        };
        let new: Vec<NewChunk> = new.iter().map(chunk).collect();
        let range = ByteRange::between(start, end);
        let found: Vec<_> = runs(&geometry, &maps, range, &new)
            .iter()
            .map(|run| (run.offset - 65536, run.zeros_before, run.guest.len, run.zeros_after))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_run_per_stretch_of_storage() {
        let mapped = [(0, 1), (1, 2), (2, 0)];
        check(&mapped, &[], (512, 1024), &[(4608, 0, 512, 0)]);
        check(&mapped, &[], (0, 8192), &[(4096, 0, 8192, 0)]);
        check(&mapped, &[], (4096, 12288), &[(8192, 0, 4096, 0), (0, 0, 4096, 0)]);
    }

    #[test]
    fn unknown_chunks_are_written_completely() {
        check(&[], &[(1, 0, u64::MAX)], (4608, 5120), &[(512, 512, 512, 3072)]);
        check(&[], &[(1, 0, 0)], (4608, 5120), &[(512, 0, 512, 0)]);
        check(
            &[],
            &[(0, 0, u64::MAX), (1, 1, u64::MAX)],
            (3584, 4608),
            &[(3584, 3584, 1024, 3584)],
        );
        // The second chunk is full, the third is not where the second ends.
        check(
            &[(0, 7)],
            &[(1, 0, u64::MAX), (2, 2, u64::MAX)],
            (3584, 8704),
            &[(32256, 0, 512, 0), (0, 0, 4096, 0), (8192, 0, 512, 3584)],
        );
        // The last chunk is filled to its end, past the virtual disk.
        check(&[], &[(3, 0, u64::MAX)], (12288, 12800), &[(0, 0, 512, 3584)]);
    }

    #[test]
    fn only_what_may_be_old_is_zeroed() {
        // Old bytes end in front of, at the start of, within, at the end of and behind the write.
        let cases: [(u64, &[_]); 6] = [
            (4096, &[(5120, 0, 512, 0)]),
            (4608, &[(4096, 0, 0, 512), (5120, 0, 512, 0)]),
            (5120, &[(5120, 1024, 512, 0)]),
            (5632, &[(5120, 1024, 512, 0)]),
            (6144, &[(5120, 1024, 512, 512)]),
            (8192, &[(5120, 1024, 512, 2560)]),
        ];
        for (zero_from, expected) in cases {
            check(&[], &[(1, 1, zero_from)], (5120, 5632), expected);
        }
    }

    #[test]
    fn flat_storage_is_one_run() {
        let maps = Maps::loaded(Bitmap::new(0, 0), Table::new(0));
        let found = runs(&geometry(false), &maps, ByteRange::new(512, 8192), &[]);
        let guest = ByteRange::new(512, 8192);
        assert_eq!(found, [Run { offset: 66048, guest, zeros_before: 0, zeros_after: 0 }]);
        assert_eq!(found[0].storage(), ByteRange::new(66048, 8192));
    }
}
