//! Loading the maps, and recovering those of an image that was not closed cleanly.
//!
//! Recovery in memory: every record of every journal sector is applied, in address order. Records
//! that do not fit the image (a chunk that moves, two chunks in one place, a range that is not
//! there) refuse the whole image, before anything was written.
//!
//! Recovery on disk, in this order:
//!
//! 1. the header sector with `clean_shutdown` = 0 is written again;
//! 2. the data storage is flushed;
//! 3. every table sector that has an entry is written, then flush;
//! 4. every bitmap sector that has a bit is written, then flush.
//!
//! Only then a session starts at journal sector 0. What seems to be on disk already is written all
//! the same: an earlier session may have ended with a failed flush, and then a sector can be
//! readable, yet out of reach of every later flush until it is written again. A power cut during
//! recovery leaves the journal untouched, so the next recovery does the same again.

use super::bitmap::Bitmap;
use super::events;
use super::geometry::Geometry;
use super::image::{Image, OpenOptions};
use super::journal::{JOURNAL_SECTOR_LEN, Record, parse_sector};
use super::maps::Maps;
use super::planted::Bug;
use super::table::Table;
use super::write_maps::MapsFlush;
use crate::disk::Disk;
use crate::error::Error;
use crate::units::{ByteRange, SECTOR};

/// The map regions and the journal, as read.
pub(super) struct Regions {
    /// Bytes read, by where they were.
    parts: Vec<(ByteRange, Vec<u8>)>,
    journal: Option<ByteRange>,
}

impl Regions {
    /// Reads what `geometry` names, neighbours in one request; the journal if it is asked for.
    pub(super) async fn read(
        metadata: &dyn Disk,
        geometry: &Geometry,
        with_journal: bool,
    ) -> Result<Self, Error> {
        let journal = geometry.journal.as_ref().map(|journal| journal.range);
        let journal = journal.filter(|_| with_journal);
        let bitmap = geometry.base.as_ref().map(|base| base.bitmap);
        let table = geometry.compact.as_ref().map(|compact| compact.table);
        let mut wanted: Vec<ByteRange> = [bitmap, table, journal].into_iter().flatten().collect();
        wanted.sort_unstable();
        let mut requests: Vec<(ByteRange, _)> = Vec::new();
        for stretch in wanted.chunk_by(|one, next| one.end() == next.offset) {
            let range = ByteRange::between(stretch[0].offset, stretch[stretch.len() - 1].end());
            let len = usize::try_from(range.len).expect("regions fit in memory");
            requests.push((range, metadata.read(range.offset, len)));
        }
        let mut parts = Vec::with_capacity(requests.len());
        for (range, request) in requests {
            let bytes = request.await.map_err(|error| Error::disk("read maps", error))?;
            parts.push((range, bytes));
        }
        Ok(Self { parts, journal })
    }

    fn get(&self, region: ByteRange) -> &[u8] {
        let part = self.parts.iter().find(|(range, _)| range.contains(region));
        let (range, bytes) = part.expect("every region was read");
        let at = |offset: u64| usize::try_from(offset - range.offset).expect("within the bytes");
        &bytes[at(region.offset)..at(region.end())]
    }

    fn journal(&self) -> &[u8] {
        self.journal.map_or(&[], |journal| self.get(journal))
    }
}

/// The maps that the regions describe, with the journal applied if it was read.
pub(super) fn load_maps(
    geometry: &Geometry,
    regions: &Regions,
    data_len: u64,
    options: &OpenOptions,
) -> Result<Maps, Error> {
    let planted = options.planted;
    let limit = geometry.physical_limit(data_len);
    let mut bitmap = match &geometry.base {
        Some(base) => Bitmap::load(regions.get(base.bitmap).to_vec(), base.blocks),
        None => Bitmap::new(0, 0),
    };
    let mut table = match &geometry.compact {
        Some(compact) => Table::load(regions.get(compact.table), compact.entries, limit, planted)?,
        None => Table::new(0),
    };
    let mut replayed = false;
    for (index, sector) in (0..).zip(regions.journal().chunks_exact(JOURNAL_SECTOR_LEN)) {
        let sector = sector.try_into().expect("chunks of a sector");
        for record in parse_sector(index, sector, geometry, limit, planted)? {
            replayed = true;
            match record {
                Record::Table { first, entries } => {
                    let structure = format_args!("journal sector {index}");
                    table.replay(structure, first, &entries, planted)?;
                }
                Record::Bitmap { first_sector, sectors } => {
                    let len = u64::from(sectors) * SECTOR;
                    let range = ByteRange::new(first_sector * SECTOR, len);
                    bitmap.set_range(geometry.blocks(range));
                }
            }
        }
    }
    if replayed {
        options.runtime.event(events::JOURNAL_REPLAYED);
    }
    Ok(Maps::loaded(bitmap, table))
}

impl Image {
    /// Recovery on disk. The journal may be written from its start when this returns.
    pub(super) async fn make_recovery_durable(&self) -> Result<(), Error> {
        if !self.has_maps() {
            return Ok(());
        }
        if self.journal().is_some() {
            self.write_clean_flag(false).await?;
        }
        self.maps.mark_all_used();
        let bug = self.planted().has(Bug::RecoveryReusesJournalBeforeFlush);
        let written = self.write_maps(MapsFlush::unless(bug)).await;
        if self.planted().has(Bug::RecoveryIgnoresMapError) {
            return Ok(());
        }
        written
    }
}
