//! Looking at an image without opening it.
//!
//! Only the metadata file is read; nothing is written, and no file that the image names is opened.
//! The maps are judged as recovery would see them: with the journal applied if the image was not
//! closed. Memory is bounded by the maps, which [`Geometry`] bounds by the length of the file.

use std::fmt;

use crate::disk::Disk;
use crate::error::Error;
use crate::fvd::bitmap::Bitmap;
use crate::fvd::geometry::{Geometry, JournalGeometry};
use crate::fvd::header::Header;
use crate::fvd::journal::{JournalSector, Record, parse_sector};
use crate::fvd::planted::PlantedBugs;
use crate::fvd::table::{PHYSICAL_MAX, Table};
use crate::units::{ByteRange, SECTOR};

/// Problems that a report lists; of further ones it only has the number.
pub const PROBLEMS_MAX: usize = 100;
/// Bytes per read.
const PIECE_LEN: u64 = 64 * 1024;

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Whether the image was closed. If not, opening it replays the journal; that is no damage.
    pub clean: bool,
    /// Blocks of the base, if the image still needs one.
    pub blocks: Option<BlockCounts>,
    /// Chunks, if the image is compact.
    pub chunks: Option<ChunkCounts>,
    /// The journal, if there is one.
    pub journal: Option<JournalCounts>,
    /// Rules that are broken, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more are broken than `problems` lists.
    pub more_problems: u64,
}

/// Blocks of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCounts {
    /// Blocks that are not read from the base any more.
    pub local: u64,
    /// All blocks.
    pub total: u64,
}

/// Chunks of a compact image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkCounts {
    /// Virtual chunks that live somewhere.
    pub allocated: u32,
    /// Physical chunks below the last one in use that no virtual chunk lives in: lost in a crash,
    /// to be used again.
    pub leaked: u32,
    /// All virtual chunks.
    pub total: u32,
}

/// The journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalCounts {
    /// All sectors.
    pub sectors: u64,
    /// Sectors that hold records. In a clean image they are left over and mean nothing.
    pub used_sectors: u64,
    /// Their records.
    pub records: u64,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: "table", "bitmap", "journal sector 3".
    pub structure: String,
    /// What should hold.
    pub rule: &'static str,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: found {}", self.structure, self.rule, self.found)
    }
}

impl CheckReport {
    /// Whether no rule is broken. An image that was not closed, or has leaked chunks, is sound.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks the image on `metadata`. `data_len` is the length of its data storage if that is a file
/// of its own and known; without it, no entry can be said to lie past the data.
///
/// # Errors
/// What [`Header::parse`] and [`Geometry::validate`] refuse, because nothing else can be judged
/// then, and disk errors. Everything else that is wrong is in the report.
pub async fn check(metadata: &dyn Disk, data_len: Option<u64>) -> Result<CheckReport, Error> {
    let header = Header::read(metadata).await?;
    let geometry = Geometry::validate(&header, metadata.len(), PlantedBugs::NONE)?;
    let data_len = if geometry.separate_data { data_len } else { Some(metadata.len()) };
    let physical_limit = data_len.map_or(PHYSICAL_MAX + 1, |len| geometry.physical_limit(len));
    let mut problems = Problems::default();
    let mut maps = Maps::read(metadata, &geometry, physical_limit, &mut problems).await?;
    let mut journal = None;
    if let Some(it) = &geometry.journal {
        let mut replay =
            Replay { geometry: &geometry, physical_limit, clean: header.is_clean(), maps };
        journal = Some(replay.read(metadata, it, &mut problems).await?);
        maps = replay.maps;
    }
    maps.check_local_blocks(&geometry, &mut problems);
    Ok(CheckReport {
        clean: header.is_clean(),
        blocks: maps
            .bitmap
            .map(|bitmap| BlockCounts { local: bitmap.count_set(), total: bitmap.blocks() }),
        chunks: maps.table.map(|table| ChunkCounts {
            allocated: table.used_chunks(),
            leaked: table.physical_end() - table.used_chunks(),
            total: table.len(),
        }),
        journal,
        problems: problems.list,
        more_problems: problems.more,
    })
}

#[derive(Default)]
struct Problems {
    list: Vec<Problem>,
    more: u64,
}

impl Problems {
    /// Adds a broken rule.
    fn add(&mut self, error: Error) {
        let Error::Corrupt { structure, rule, found } = error else {
            unreachable!("maps and records are refused as corrupt, not as {error}")
        };
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(Problem { structure, rule, found });
        } else {
            self.more += 1;
        }
    }
}

/// The maps as far as they are sound.
struct Maps {
    bitmap: Option<Bitmap>,
    table: Option<Table>,
}

impl Maps {
    async fn read(
        metadata: &dyn Disk,
        geometry: &Geometry,
        physical_limit: u32,
        problems: &mut Problems,
    ) -> Result<Self, Error> {
        let mut maps = Self { bitmap: None, table: None };
        if let Some(base) = &geometry.base {
            let bytes = read_region(metadata, base.bitmap, "read bitmap").await?;
            maps.bitmap = Some(Bitmap::load(bytes, base.blocks));
        }
        if let Some(compact) = &geometry.compact {
            let bytes = read_region(metadata, compact.table, "read table").await?;
            let problem = |error| problems.add(error);
            maps.table = Some(Table::salvage(&bytes, compact.entries, physical_limit, problem));
        }
        Ok(maps)
    }

    /// A local block of a compact image has all its chunks: no engine marks a block local before
    /// it has stored it.
    fn check_local_blocks(&self, geometry: &Geometry, problems: &mut Problems) {
        let (Some(bitmap), Some(table)) = (&self.bitmap, &self.table) else { return };
        for block in (0..bitmap.blocks()).filter(|&block| bitmap.is_set(block)) {
            let mut chunks = geometry.chunks(geometry.block_range(block..block + 1));
            if let Some(chunk) = chunks.find(|&chunk| table.get(chunk).is_none()) {
                let found = format!("block {block}: chunk {chunk} is not allocated");
                problems.add(Error::corrupt("bitmap", "a local block has its chunks", found));
            }
        }
    }
}

/// Reads the journal, and applies it if the image was not closed.
struct Replay<'a> {
    geometry: &'a Geometry,
    physical_limit: u32,
    clean: bool,
    maps: Maps,
}

impl Replay<'_> {
    async fn read(
        &mut self,
        metadata: &dyn Disk,
        journal: &JournalGeometry,
        problems: &mut Problems,
    ) -> Result<JournalCounts, Error> {
        let mut counts = JournalCounts { sectors: journal.sectors, used_sectors: 0, records: 0 };
        let mut index = 0;
        while index < journal.sectors {
            let at = journal.range.offset + index * SECTOR;
            let piece = ByteRange::between(at, journal.range.end().min(at + PIECE_LEN));
            let bytes = read_region(metadata, piece, "read journal").await?;
            for sector in bytes.chunks_exact(512) {
                let sector = sector.try_into().expect("chunks of 512 bytes");
                let records = self.sector(index, sector, problems);
                counts.records += records;
                counts.used_sectors += u64::from(records > 0);
                index += 1;
            }
        }
        Ok(counts)
    }

    /// Judges one sector and returns the number of its records.
    fn sector(&mut self, index: u64, sector: &JournalSector, problems: &mut Problems) -> u64 {
        let planted = PlantedBugs::NONE;
        let records = match parse_sector(index, sector, self.geometry, self.physical_limit, planted)
        {
            Ok(records) => records,
            // Left over from before the image was closed: nobody will replay it.
            Err(_) if self.clean => return 0,
            Err(error) => {
                problems.add(error);
                return 0;
            }
        };
        let structure = format!("journal sector {index}");
        for record in records.iter().filter(|_| !self.clean) {
            match record {
                Record::Table { first, entries } => {
                    let table = self.maps.table.as_mut().expect("checked by the parser");
                    if let Err(error) = table.replay(&structure, *first, entries, planted) {
                        problems.add(error);
                    }
                }
                Record::Bitmap { first_sector, sectors } => {
                    let range = ByteRange::new(first_sector * SECTOR, u64::from(*sectors) * SECTOR);
                    if let Some(bitmap) = &mut self.maps.bitmap {
                        bitmap.set_range(self.geometry.blocks(range));
                    }
                }
            }
        }
        records.len() as u64
    }
}

/// The bytes of a region of the metadata file.
async fn read_region(
    metadata: &dyn Disk,
    range: ByteRange,
    doing: &'static str,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut at = range.offset;
    while at < range.end() {
        let len = PIECE_LEN.min(range.end() - at);
        let len = usize::try_from(len).expect("a piece is small");
        let piece = metadata.read(at, len).await.map_err(|error| Error::disk(doing, error))?;
        bytes.extend(piece);
        at += len as u64;
    }
    Ok(bytes)
}
