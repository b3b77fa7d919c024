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
use crate::fvd::planted::{Bug, PlantedBugs};
use crate::fvd::table::{DIRTY, EMPTY};
use crate::units::SECTOR;

pub use super::journal_plan::{Update, plan_update};

const TABLE_MAGIC: u32 = 0xB4E6_F7AC;
const BITMAP_MAGIC: u32 = 0x3F2A_B8ED;
const TABLE_HEADER_LEN: usize = 12;
const BITMAP_LEN: usize = 16;

/// Bytes of a journal sector.
pub const JOURNAL_SECTOR_LEN: usize = 512;
/// Entries that fit in a sector with a TABLE record alone.
pub const TABLE_ENTRIES_MAX: usize = (JOURNAL_SECTOR_LEN - TABLE_HEADER_LEN) / 4;
/// Entries that fit in a sector with a TABLE and a BITMAP record.
pub const MIXED_ENTRIES_MAX: usize = TABLE_ENTRIES_MAX - BITMAP_LEN / 4;

const _: () = assert!(TABLE_ENTRIES_MAX == 125);
const _: () = assert!(MIXED_ENTRIES_MAX == 121);

/// The bytes of a journal sector.
pub type JournalSector = [u8; JOURNAL_SECTOR_LEN];

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

impl Record {
    /// Bytes that the record takes in a sector.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Table { entries, .. } => TABLE_HEADER_LEN + 4 * entries.len(),
            Self::Bitmap { .. } => BITMAP_LEN,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Table { first, entries } => {
                let count = u32::try_from(entries.len()).expect("a record fits in a sector");
                let words = [TABLE_MAGIC, *first, count].into_iter().chain(entries.iter().copied());
                words.flat_map(u32::to_le_bytes).collect()
            }
            Self::Bitmap { first_sector, sectors } => {
                let mut bytes = Vec::with_capacity(BITMAP_LEN);
                bytes.extend(BITMAP_MAGIC.to_le_bytes());
                bytes.extend(sectors.to_le_bytes());
                bytes.extend(first_sector.to_le_bytes());
                bytes
            }
        }
    }
}

/// A journal sector with these records, the rest zero.
///
/// # Panics
/// If the records do not fit, or a BITMAP record is not the last.
#[must_use]
pub fn encode_sector(records: &[Record]) -> JournalSector {
    encode_sector_over(records, [0; JOURNAL_SECTOR_LEN])
}

/// Like [`encode_sector`], but the bytes after the last record are those of `old`, without an end
/// mark: what the planted bug [`Bug::MissingEndMark`] writes.
///
/// # Panics
/// If the records do not fit, or a BITMAP record is not the last.
#[must_use]
pub fn encode_sector_over(records: &[Record], old: JournalSector) -> JournalSector {
    let mut sector = old;
    let mut at = 0;
    for (index, record) in records.iter().enumerate() {
        let last = index + 1 == records.len();
        assert!(last || matches!(record, Record::Table { .. }), "BITMAP is the last record");
        let bytes = record.encode();
        assert!(at + bytes.len() <= sector.len(), "records of more than {} bytes", sector.len());
        sector[at..at + bytes.len()].copy_from_slice(&bytes);
        at += bytes.len();
    }
    sector
}

/// The records of sector `index` of the journal, bounds-checked against `geometry` and the number
/// of physical chunks in data storage ([`Geometry::physical_limit`]).
///
/// # Errors
/// [`Error::Corrupt`] of structure "journal sector N" for a record that does not fit in its
/// sector, says nothing, or speaks of chunks or guest sectors that do not exist.
pub fn parse_sector(
    index: u64,
    sector: &JournalSector,
    geometry: &Geometry,
    physical_limit: u32,
    planted: PlantedBugs,
) -> Result<Vec<Record>, Error> {
    let trusting = planted.has(Bug::HostJournalRecord);
    let parser = Parser { index, sector, geometry, physical_limit, trusting };
    let mut records = Vec::new();
    let mut at = 0;
    while at < JOURNAL_SECTOR_LEN {
        let record = match parser.word(at) {
            TABLE_MAGIC => parser.table(at)?,
            BITMAP_MAGIC => parser.bitmap(at)?,
            // The original asserts here in a debug build.
            word => {
                let stride = planted.has(Bug::JournalRecordStride);
                assert!(word == 0 || !stride, "journal sector {index}: {word:#x} at byte {at}");
                break;
            }
        };
        at += record.encoded_len();
        if planted.has(Bug::JournalRecordStride) && matches!(record, Record::Bitmap { .. }) {
            at -= 4;
        }
        records.push(record);
    }
    Ok(records)
}

struct Parser<'a> {
    index: u64,
    sector: &'a JournalSector,
    geometry: &'a Geometry,
    physical_limit: u32,
    trusting: bool,
}

impl Parser<'_> {
    fn table(&self, at: usize) -> Result<Record, Error> {
        self.rule(
            at + TABLE_HEADER_LEN <= JOURNAL_SECTOR_LEN,
            "a TABLE record has its first 12 bytes in the sector",
            || format!("record at byte {at}"),
        )?;
        let (first, count) = (self.word(at + 4), self.word(at + 8));
        let body = at + TABLE_HEADER_LEN;
        self.rule(
            count as usize <= (JOURNAL_SECTOR_LEN - body) / 4,
            "a TABLE record has its entries in the sector",
            || format!("{count} entries from byte {body}"),
        )?;
        self.rule(count > 0, "a TABLE record has an entry", || "0 entries".into())?;
        let chunks = self.geometry.compact.as_ref().map(|compact| compact.entries);
        self.rule(chunks.is_some(), "a TABLE record is of a compact image", || {
            "a TABLE record".into()
        })?;
        self.rule(
            first.checked_add(count).is_some_and(|end| Some(end) <= chunks),
            "a TABLE record stays within the table",
            || format!("{count} entries from chunk {first} of {}", chunks.unwrap_or(0)),
        )?;
        let words = self.sector[body..body + 4 * count as usize].chunks_exact(4);
        let entries: Vec<u32> =
            words.map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect();
        for (at, entry) in entries.iter().enumerate() {
            let physical = entry & !DIRTY;
            self.rule(
                physical != EMPTY & !DIRTY,
                "an entry of a TABLE record is allocated",
                || format!("entry {at} is {entry:#x}"),
            )?;
            self.rule(
                physical < self.physical_limit,
                "an entry of a TABLE record lies within the data",
                || format!("entry {at} is chunk {physical} of {}", self.physical_limit),
            )?;
        }
        Ok(Record::Table { first, entries })
    }

    fn bitmap(&self, at: usize) -> Result<Record, Error> {
        self.rule(
            at + BITMAP_LEN <= JOURNAL_SECTOR_LEN,
            "a BITMAP record has its 16 bytes in the sector",
            || format!("record at byte {at}"),
        )?;
        let sectors = self.word(at + 4);
        self.rule(sectors > 0, "a BITMAP record covers a guest sector", || "0 sectors".into())?;
        // A negative start turns into one that no virtual disk reaches.
        let first_sector = u64::from(self.word(at + 8)) | u64::from(self.word(at + 12)) << 32;
        self.rule(
            first_sector
                .checked_add(u64::from(sectors))
                .is_some_and(|end| end <= self.geometry.virtual_size / SECTOR),
            "a BITMAP record stays within the virtual disk",
            || format!("{sectors} sectors from {}", first_sector.cast_signed()),
        )?;
        Ok(Record::Bitmap { first_sector, sectors })
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.sector[at..at + 4].try_into().expect("four bytes"))
    }

    /// Refuses the sector if the rule does not hold.
    fn rule(
        &self,
        holds: bool,
        rule: &'static str,
        found: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        if holds || self.trusting {
            return Ok(());
        }
        Err(Error::corrupt(format!("journal sector {}", self.index), rule, found()))
    }
}
