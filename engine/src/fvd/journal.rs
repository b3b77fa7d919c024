//! The journal: independent sectors of records that bring the maps up to date.
//!
//! A sector holds records from byte 0 on. Parsing stops at the end of the sector or at a first word
//! that starts no record; 0 is the end mark. All little-endian:
//!
//! | record | layout |
//! |---|---|
//! | TABLE | u32 `0xB4E6F7AC`, u32 first chunk, u32 n, n entries of u32 |
//! | BITMAP | u32 `0x3F2AB8ED`, u32 number of sectors, i64 first guest sector |
//!
//! There is no checksum, sequence number or generation: replay applies every sector of the region
//! in address order, and the order must not matter. That is sound because the bits of the bitmap
//! only get set, a chunk never moves, and stale sectors are cleared before a session's first record.
//!
//! What we write is readable by the original: BITMAP comes last in a sector (the original's parser
//! loses its way after one), and the rest of a sector is zero.
//!
//! # Source
//! FVD version 1, journal.

use crate::error::Error;
use crate::fvd::geometry::Geometry;
use crate::fvd::planted::PlantedBugs;

/// Bytes of a journal sector.
pub const JOURNAL_SECTOR_LEN: usize = 512;
/// Entries that fit in a sector with a TABLE record alone.
pub const TABLE_ENTRIES_MAX: usize = 125;
/// Entries that fit in a sector with a TABLE and a BITMAP record.
pub const MIXED_ENTRIES_MAX: usize = 121;

/// The bytes of a journal sector.
pub type JournalSector = [u8; JOURNAL_SECTOR_LEN];

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Entries of consecutive virtual chunks.
    Table {
        /// The first virtual chunk.
        first: u32,
        /// Entries as stored: the dirty bit may be set, and means nothing.
        entries: Vec<u32>,
    },
    /// Guest sectors whose blocks are local.
    Bitmap {
        /// The first guest sector.
        first_sector: u64,
        /// How many.
        sectors: u32,
    },
}

/// A journal sector with these records, the rest zero.
///
/// # Panics
/// If the records do not fit, or a BITMAP record is not the last.
#[must_use]
pub fn encode_sector(records: &[Record]) -> JournalSector {
    encode_sector_over(records, [0; JOURNAL_SECTOR_LEN])
}

/// Like [`encode_sector`], but bytes after the last record are those of `old`, without an end
/// mark: what the planted bug [`super::planted::Bug::MissingEndMark`] writes.
///
/// # Panics
/// If the records do not fit, or a BITMAP record is not the last.
#[must_use]
pub fn encode_sector_over(records: &[Record], old: JournalSector) -> JournalSector {
    let _ = records;
    old
}

/// The records of sector `index` of the journal, bounds-checked against `geometry` and the number
/// of physical chunks in data storage ([`Geometry::physical_limit`]).
///
/// # Errors
/// [`Error::Corrupt`] of structure "journal sector N".
pub fn parse_sector(
    index: u64,
    sector: &JournalSector,
    geometry: &Geometry,
    physical_limit: u32,
    planted: PlantedBugs,
) -> Result<Vec<Record>, Error> {
    let _ = (index, sector, geometry, physical_limit, planted);
    Ok(Vec::new())
}

/// The journal sectors of one metadata update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Phases in order: every sector of one must be durable before any of the next is written.
    /// Within a phase order does not matter. Usually there is one; none if nothing is to be said.
    pub phases: Vec<Vec<Vec<Record>>>,
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
    stored: crate::units::ByteRange,
    entry: impl Fn(u32) -> Option<u32>,
) -> Update {
    let _ = (geometry, stored, entry);
    Update::default()
}
