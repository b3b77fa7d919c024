//! Which journal sectors one metadata update needs.

use std::ops::Range;

use crate::fvd::geometry::Geometry;
use crate::fvd::journal::{JOURNAL_SECTOR_LEN, Record};
use crate::units::{ByteRange, SECTOR};

/// The journal sectors of one metadata update.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Update {
    /// Phases in order: every sector of one must be durable before any of the next is written.
    /// Within a phase order does not matter. Usually there is one; none if nothing is to be said.
    pub phases: Vec<Vec<Vec<Record>>>,
}

impl Update {
    /// Number of journal sectors.
    #[must_use]
    pub fn sectors(&self) -> usize {
        self.phases.iter().map(Vec::len).sum()
    }

    /// The virtual chunks that the update records, as runs; a chunk may come twice.
    pub fn chunks(&self) -> impl Iterator<Item = Range<u32>> {
        self.phases.iter().flatten().flatten().filter_map(|record| match record {
            Record::Table { first, entries } => {
                let count = u32::try_from(entries.len()).expect("a record fits in a sector");
                Some(*first..first + count)
            }
            Record::Bitmap { .. } => None,
        })
    }
}

/// Plans the journal sectors for data stored in the guest range `stored` (all of it: copied parts
/// too). `entry` gives a chunk's entry as [`super::table::Table::raw`] does.
///
/// Each sector alone keeps the maps consistent: the bit of a block comes in one sector with the
/// entries of all chunks of that block, whether `stored` touches them or not, because the bit
/// speaks for the whole block. A block with too many chunks for one sector gets its entries in the
/// first phase and its bit in the second.
#[must_use]
pub fn plan_update(
    geometry: &Geometry,
    stored: ByteRange,
    entry: impl Fn(u32) -> Option<u32>,
) -> Update {
    let mut planner = Planner {
        geometry,
        entry,
        open: OpenSector::default(),
        sectors: Vec::new(),
        late_blocks: Vec::new(),
    };
    let blocks = geometry.blocks(stored);
    if geometry.compact.is_none() {
        // One record covers any number of blocks.
        planner.open.blocks = blocks;
    } else {
        for block in blocks {
            planner.add_block(block);
        }
        let past_base = geometry.base_range().end().max(stored.offset);
        planner.add_chunks(geometry.chunks(ByteRange::between(past_base, stored.end())));
    }
    planner.finish()
}

/// The sector being filled.
#[derive(Default)]
struct OpenSector {
    /// Runs of consecutive allocated chunks.
    runs: Vec<(u32, Vec<u32>)>,
    /// Bytes that the TABLE records of `runs` take.
    len: usize,
    /// One past the last chunk looked at.
    next_chunk: u32,
    /// Blocks whose bits the sector sets.
    blocks: Range<u64>,
}

struct Planner<'a, F> {
    geometry: &'a Geometry,
    entry: F,
    open: OpenSector,
    sectors: Vec<Vec<Record>>,
    /// Blocks that need more entries than a sector holds.
    late_blocks: Vec<Range<u64>>,
}

impl<F: Fn(u32) -> Option<u32>> Planner<'_, F> {
    fn add_block(&mut self, block: u64) {
        let chunks = self.geometry.chunks(self.geometry.block_range(block..block + 1));
        if !self.fits(chunks.clone(), true) {
            self.close();
        }
        if self.fits(chunks.clone(), true) {
            self.extend(chunks);
            let first = if self.open.blocks.is_empty() { block } else { self.open.blocks.start };
            self.open.blocks = first..block + 1;
        } else {
            self.add_chunks(chunks);
            self.close();
            match self.late_blocks.last_mut() {
                Some(run) if run.end == block => run.end += 1,
                _ => self.late_blocks.push(block..block + 1),
            }
        }
    }

    fn add_chunks(&mut self, chunks: Range<u32>) {
        for chunk in chunks {
            if !self.fits(chunk..chunk + 1, !self.open.blocks.is_empty()) {
                self.close();
            }
            self.extend(chunk..chunk + 1);
        }
    }

    /// Whether the open sector has room for the entries of `chunks`, and a BITMAP record if
    /// `with_bits`.
    fn fits(&self, chunks: Range<u32>, with_bits: bool) -> bool {
        let room = JOURNAL_SECTOR_LEN - if with_bits { BITMAP.encoded_len() } else { 0 };
        let mut len = self.open.len;
        let mut run_end = self.open.run_end();
        for chunk in chunks.start.max(self.open.next_chunk)..chunks.end {
            if (self.entry)(chunk).is_some() {
                len += 4 + if run_end == Some(chunk) { 0 } else { EMPTY_TABLE_LEN };
                run_end = Some(chunk + 1);
            }
            if len > room {
                return false;
            }
        }
        len <= room
    }

    fn extend(&mut self, chunks: Range<u32>) {
        for chunk in chunks.start.max(self.open.next_chunk)..chunks.end {
            self.open.next_chunk = chunk + 1;
            let Some(entry) = (self.entry)(chunk) else { continue };
            if self.open.run_end() == Some(chunk) {
                self.open.runs.last_mut().expect("a run ends here").1.push(entry);
            } else {
                self.open.runs.push((chunk, vec![entry]));
                self.open.len += EMPTY_TABLE_LEN;
            }
            self.open.len += 4;
        }
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        let mut records: Vec<Record> = open
            .runs
            .into_iter()
            .map(|(first, entries)| Record::Table { first, entries })
            .collect();
        if !open.blocks.is_empty() {
            records.push(bitmap_record(self.geometry, open.blocks));
        }
        if !records.is_empty() {
            self.sectors.push(records);
        }
    }

    fn finish(mut self) -> Update {
        self.close();
        let late = std::mem::take(&mut self.late_blocks);
        // One record per sector: the original does not see a record after a BITMAP.
        let late = late.into_iter().map(|blocks| vec![bitmap_record(self.geometry, blocks)]);
        let phases = [self.sectors, late.collect()];
        Update { phases: phases.into_iter().filter(|phase| !phase.is_empty()).collect() }
    }
}

impl OpenSector {
    fn run_end(&self) -> Option<u32> {
        let (first, entries) = self.runs.last()?;
        Some(first + u32::try_from(entries.len()).expect("a run fits in a sector"))
    }
}

const BITMAP: Record = Record::Bitmap { first_sector: 0, sectors: 1 };
/// Bytes of a TABLE record before its entries.
const EMPTY_TABLE_LEN: usize = 12;

fn bitmap_record(geometry: &Geometry, blocks: Range<u64>) -> Record {
    let range = geometry.block_range(blocks);
    let sectors = u32::try_from(range.len / SECTOR).expect("requests are below 2 TiB");
    Record::Bitmap { first_sector: range.offset / SECTOR, sectors }
}
