//! Structural invariants of an image: F-INJ and F-BITMAP of the opened state, F-CLEAN of the bytes
//! that a power cut left.

use std::collections::BTreeMap;

use plugpull_engine::fvd::Fvd;
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::header::{CLEAN_SHUTDOWN, HEADER_LEN, Header};
use plugpull_engine::fvd::journal::{Record, parse_sector};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::{ByteRange, SECTOR};

use crate::oracle::Finding;
use crate::system::ReadDisks;
use crate::verdict::Invariant;

/// The bit that marks a table entry as not yet journaled.
const DIRTY: u32 = 1 << 31;
/// Bytes of a table entry.
const ENTRY_LEN: u64 = 4;
/// The disk with header, maps and journal.
const IMAGE: usize = 0;

/// F-INJ: no two virtual chunks on one physical chunk, and every id in the data storage.
pub(super) fn injective(fvd: &Fvd) -> Option<Finding> {
    let limit = fvd.geometry().physical_limit(fvd.disks().data.len());
    let table = fvd.state().maps.table;
    let mut owners = BTreeMap::new();
    for chunk in 0..table.len() {
        let Some(entry) = table.get(chunk) else { continue };
        let physical = entry.physical;
        let message = match owners.insert(physical, chunk) {
            Some(other) => format!("chunks {other} and {chunk} share physical chunk {physical}"),
            None if physical >= limit => {
                format!("chunk {chunk} is physical chunk {physical}, the data has {limit}")
            }
            None => continue,
        };
        return Some(Finding { invariant: Invariant::FInj, message });
    }
    None
}

/// F-BITMAP, the structural half: a block marked as local has all its chunks. That its content is
/// right, the sector model decides.
pub(super) fn local_blocks_are_mapped(fvd: &Fvd) -> Option<Finding> {
    let geometry = fvd.geometry();
    let blocks = geometry.base.as_ref().map_or(0, |base| base.blocks);
    if geometry.compact.is_none() || blocks == 0 {
        return None;
    }
    let maps = fvd.state().maps;
    for block in (0..blocks).filter(|&block| maps.fresh.is_set(block)) {
        let chunks = geometry.chunks(geometry.block_range(block..block + 1));
        if let Some(chunk) = chunks.into_iter().find(|&chunk| maps.table.get(chunk).is_none()) {
            let message =
                format!("block {block} is marked as local, its chunk {chunk} is not mapped");
            return Some(Finding { invariant: Invariant::FBitmap, message });
        }
    }
    None
}

/// F-CLEAN, for one sector of the journal: an image marked clean needs no record of it, because its
/// maps hold all of them. Says nothing of images that no engine could open.
///
/// The flag is looked at first and the maps last, only where a record speaks of them: what a power
/// cut left undecided elsewhere does not matter here.
pub(super) fn clean_maps_are_complete(
    disks: &mut dyn ReadDisks,
    has_data: bool,
    journal_sector: usize,
) -> Option<Finding> {
    if disks.read(IMAGE, CLEAN_SHUTDOWN) == [0; 4] {
        return None;
    }
    let header = disks.read(IMAGE, ByteRange::new(0, HEADER_LEN as u64));
    let header = Header::parse(&header).ok().filter(Header::is_clean)?;
    let geometry = Geometry::validate(&header, disks.len(IMAGE), PlantedBugs::NONE).ok()?;
    let journal = geometry.journal.as_ref()?;
    let limit = geometry.physical_limit(disks.len(usize::from(has_data)));
    let index = journal_sector as u64;
    let range = ByteRange::new(journal.range.offset + index * SECTOR, SECTOR);
    if index >= journal.sectors {
        return None;
    }
    let sector = disks.read(IMAGE, range).try_into().expect("one sector");
    let records = parse_sector(index, &sector, &geometry, limit, PlantedBugs::NONE).ok()?;
    let missing = records.iter().find_map(|record| missing(disks, &geometry, record))?;
    let message =
        format!("the image is marked clean, but {missing} is in journal sector {index} only");
    Some(Finding { invariant: Invariant::FClean, message })
}

/// What of a record the maps on disk do not hold.
fn missing(disks: &mut dyn ReadDisks, geometry: &Geometry, record: &Record) -> Option<String> {
    match record {
        Record::Table { first, entries } => {
            let table = geometry.compact.as_ref()?.table;
            let at = table.offset + u64::from(*first) * ENTRY_LEN;
            let range = ByteRange::new(at, entries.len() as u64 * ENTRY_LEN);
            let stored = disks.read(IMAGE, range);
            let (stored, _) = stored.as_chunks::<4>();
            let stored = stored.iter().map(|entry| u32::from_le_bytes(*entry));
            let mut pairs = (*first..).zip(entries.iter().map(|entry| entry & !DIRTY)).zip(stored);
            let ((chunk, entry), _) = pairs.find(|((_, entry), stored)| entry != stored)?;
            Some(format!("the mapping of chunk {chunk} to {entry}"))
        }
        Record::Bitmap { first_sector, sectors } => {
            let base = geometry.base.as_ref()?;
            let range = ByteRange::new(first_sector * SECTOR, u64::from(*sectors) * SECTOR);
            let block = geometry.blocks(range).find(|block| {
                let at = ByteRange::new(base.bitmap.offset + block / 8, 1);
                disks.read(IMAGE, at)[0] >> (block % 8) & 1 == 0
            })?;
            Some(format!("the bit of block {block}"))
        }
    }
}
