//! Structural invariants of an image: F-INJ and F-BITMAP of the opened state, F-CLEAN of the bytes
//! that a power cut left.

use std::collections::BTreeMap;

use plugpull_engine::fvd::Fvd;
use plugpull_engine::fvd::bitmap::Bitmap;
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::header::{HEADER_LEN, Header};
use plugpull_engine::fvd::journal::{Record, parse_sector};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::table::Table;
use plugpull_engine::{ByteRange, SECTOR};

use crate::disk::Image;
use crate::oracle::Finding;
use crate::verdict::Invariant;

/// The bit that marks a table entry as not yet journaled.
const DIRTY: u32 = 1 << 31;

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

/// F-CLEAN: an image marked clean needs no record of its journal, because its maps hold all of
/// them. Says nothing of images that no engine could open.
pub(super) fn clean_maps_are_complete(image: &Image, data_len: u64) -> Option<Finding> {
    let header = Header::parse(&bytes(image, ByteRange::new(0, HEADER_LEN as u64))).ok()?;
    let geometry = Geometry::validate(&header, image.len(), PlantedBugs::NONE).ok()?;
    let journal = geometry.journal.as_ref().filter(|_| header.is_clean())?;
    let limit = geometry.physical_limit(data_len);
    let maps = Stored::load(image, &geometry, limit)?;
    for index in 0..journal.sectors {
        let range = ByteRange::new(journal.range.offset + index * SECTOR, SECTOR);
        let sector = bytes(image, range).try_into().expect("one sector");
        let records = parse_sector(index, &sector, &geometry, limit, PlantedBugs::NONE).ok()?;
        if let Some(missing) = records.iter().find_map(|record| maps.missing(&geometry, record)) {
            let message = format!(
                "the image is marked clean, but {missing} is in journal sector {index} only"
            );
            return Some(Finding { invariant: Invariant::FClean, message });
        }
    }
    None
}

/// Bitmap and table as they are on disk.
struct Stored {
    bitmap: Option<Bitmap>,
    table: Option<Table>,
}

impl Stored {
    fn load(image: &Image, geometry: &Geometry, limit: u32) -> Option<Self> {
        let bitmap = geometry.base.as_ref();
        let bitmap = bitmap.map(|base| Bitmap::load(bytes(image, base.bitmap), base.blocks));
        let table = match &geometry.compact {
            Some(compact) => {
                let region = bytes(image, compact.table);
                Some(Table::load(&region, compact.entries, limit, PlantedBugs::NONE).ok()?)
            }
            None => None,
        };
        Some(Self { bitmap, table })
    }

    /// What of a record the maps do not hold.
    fn missing(&self, geometry: &Geometry, record: &Record) -> Option<String> {
        match record {
            Record::Table { first, entries } => {
                let table = self.table.as_ref()?;
                let differs = |(chunk, entry): &(u32, &u32)| {
                    table.get(*chunk).map(|held| held.physical) != Some(**entry & !DIRTY)
                };
                let (chunk, entry) = (*first..).zip(entries).find(differs)?;
                Some(format!("the mapping of chunk {chunk} to {}", entry & !DIRTY))
            }
            Record::Bitmap { first_sector, sectors } => {
                let range = ByteRange::new(first_sector * SECTOR, u64::from(*sectors) * SECTOR);
                let block = self.bitmap.as_ref()?.first_clear(geometry.blocks(range))?;
                Some(format!("the bit of block {block}"))
            }
        }
    }
}

fn bytes(image: &Image, range: ByteRange) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.len).expect("a region of a small image")];
    image.read(range.offset, &mut bytes);
    bytes
}
