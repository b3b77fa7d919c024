//! Where everything is: every size and place derived from the header, checked once, trusted after.
//!
//! What holds for every [`Geometry`] (without planted bugs):
//!
//! * No size is zero, negative or so large that a sum of offsets overflows 63 bits.
//! * Bitmap, table and journal lie in the metadata file as it is, start after the header, and
//!   overlap neither each other nor the data. So what has to be held in memory for them is bounded
//!   by the length of the file, whatever the header says.
//! * The bitmap has a bit for every block of the base, the table an entry for every chunk.
//!
//! Parts that the image does not need are absent: no base once `all_data_in_fvd_img` is set, no
//! journal without a map to journal.

use crate::error::Error;
use crate::fvd::header::Header;
use crate::fvd::planted::{Bug, PlantedBugs};
use crate::fvd::validate::Validation;
use crate::units::{ByteRange, SECTOR};

/// Regions and their sizes are multiples of this.
pub const PAGE: u64 = 4096;

/// The derived layout of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes the guest sees.
    pub virtual_size: u64,
    /// Where data starts in the data storage: after the maps, or 0 in a file of its own.
    ///
    /// Images by the original exist whose data does not start on a sector (an unused journal size
    /// was added unrounded); see [`Self::is_aligned`].
    pub data_offset: u64,
    /// Whether the data is in a file of its own.
    pub separate_data: bool,
    /// Whether data storage must read as zero where nothing was written.
    pub need_zero_init: bool,
    /// The base and its bitmap, while the image needs a base.
    pub base: Option<BaseGeometry>,
    /// Chunks and their table, in a compact image.
    pub compact: Option<CompactGeometry>,
    /// The journal, if there is one and a map to journal.
    pub journal: Option<JournalGeometry>,
}

/// The part of the image that may still have to be read from the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseGeometry {
    /// Bytes of the base that count. Bytes at or past it are never the base's, even in a block
    /// that starts before it.
    pub len: u64,
    /// Bytes per bit of the bitmap. Need not be a power of two.
    pub block_len: u64,
    /// The bitmap region.
    pub bitmap: ByteRange,
    /// Number of blocks, the last one may be partial.
    pub blocks: u64,
}

/// Chunks allocated on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactGeometry {
    /// Bytes per chunk.
    pub chunk_len: u64,
    /// The table region, padded to a page.
    pub table: ByteRange,
    /// Number of entries: virtual chunks, the last one may be partial.
    pub entries: u32,
    /// Bytes by which the storage grows: the header's unit, but not more than all chunks need.
    pub grow_unit: u64,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalGeometry {
    /// The journal region.
    pub range: ByteRange,
    /// Number of sectors in it.
    pub sectors: u64,
}

impl Geometry {
    /// Derives the layout that `header` describes, in a metadata file of `metadata_len` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] of structure "header" naming the field and the rule it breaks.
    pub fn validate(
        header: &Header,
        metadata_len: u64,
        planted: PlantedBugs,
    ) -> Result<Self, Error> {
        let trusting = planted.has(Bug::HostGeometry);
        Validation { header, metadata_len, trusting }.run()
    }

    /// Whether data is reached by whole sectors. If not, the image can only be read.
    #[must_use]
    pub fn is_aligned(&self) -> bool {
        self.data_offset.is_multiple_of(SECTOR)
    }

    /// The whole guest range.
    #[must_use]
    pub fn guest_range(&self) -> ByteRange {
        ByteRange::new(0, self.virtual_size)
    }

    /// The guest range that the base covers; empty without one.
    #[must_use]
    pub fn base_range(&self) -> ByteRange {
        ByteRange::new(0, self.base.as_ref().map_or(0, |base| base.len))
    }

    /// The blocks that `range` touches inside the base.
    #[must_use]
    pub fn blocks(&self, range: ByteRange) -> std::ops::Range<u64> {
        match &self.base {
            Some(base) => touched(self.base_range(), range, base.block_len),
            None => 0..0,
        }
    }

    /// The guest range of `blocks`, without what lies past the base.
    #[must_use]
    pub fn block_range(&self, blocks: std::ops::Range<u64>) -> ByteRange {
        match &self.base {
            Some(base) => {
                let end = blocks.end.saturating_mul(base.block_len).min(base.len);
                ByteRange::between(blocks.start * base.block_len, end)
            }
            None => ByteRange::new(0, 0),
        }
    }

    /// The virtual chunks that `range` touches; none if the image is not compact.
    #[must_use]
    pub fn chunks(&self, range: ByteRange) -> std::ops::Range<u32> {
        match &self.compact {
            Some(compact) => {
                let chunks = touched(self.guest_range(), range, compact.chunk_len);
                let index = |chunk: u64| u32::try_from(chunk).expect("entries fit in 32 bits");
                index(chunks.start)..index(chunks.end)
            }
            None => 0..0,
        }
    }

    /// The guest range of `chunks`, without what lies past the virtual disk.
    #[must_use]
    pub fn chunk_range(&self, chunks: std::ops::Range<u32>) -> ByteRange {
        match &self.compact {
            Some(compact) => {
                let end = u64::from(chunks.end).saturating_mul(compact.chunk_len);
                let start = u64::from(chunks.start) * compact.chunk_len;
                ByteRange::between(start, end.min(self.virtual_size))
            }
            None => ByteRange::new(0, 0),
        }
    }

    /// Where the physical chunk starts in data storage.
    ///
    /// # Panics
    /// If the image is not compact.
    #[must_use]
    pub fn chunk_offset(&self, physical: u32) -> u64 {
        let compact = self.compact.as_ref().expect("only compact images have chunks");
        self.data_offset + u64::from(physical) * compact.chunk_len
    }

    /// How many physical chunks lie wholly in a data storage of `data_len` bytes: every id in
    /// use is below it. 0 if the image is not compact.
    #[must_use]
    pub fn physical_limit(&self, data_len: u64) -> u32 {
        let Some(compact) = &self.compact else { return 0 };
        let chunks = data_len.saturating_sub(self.data_offset) / compact.chunk_len;
        u32::try_from(chunks).unwrap_or(u32::MAX).min(super::table::PHYSICAL_MAX + 1)
    }
}

/// The units that `range` touches inside `whole`; `0..0` if none.
fn touched(whole: ByteRange, range: ByteRange, unit: u64) -> std::ops::Range<u64> {
    let inside = whole.intersection(range);
    if inside.is_empty() { 0..0 } else { inside.units(unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guest sectors are few, so every range is compared with a count sector by sector.
    #[test]
    fn blocks_and_chunks_are_those_of_the_sectors() {
        let (sectors, base_sectors, block, chunk) = (20, 13, 3, 4);
        let geometry = Geometry {
            virtual_size: sectors * SECTOR,
            data_offset: 0,
            separate_data: true,
            need_zero_init: false,
            base: Some(BaseGeometry {
                len: base_sectors * SECTOR,
                block_len: block * SECTOR,
                bitmap: ByteRange::new(8192, 4096),
                blocks: 5,
            }),
            compact: Some(CompactGeometry {
                chunk_len: chunk * SECTOR,
                table: ByteRange::new(12288, 4096),
                entries: 5,
                grow_unit: chunk * SECTOR,
            }),
            journal: None,
        };
        for (start, end) in (0..24).flat_map(|start| (start..24).map(move |end| (start, end))) {
            let range = ByteRange::between(start * SECTOR, end * SECTOR);
            let blocks: Vec<u64> = geometry.blocks(range).collect();
            let mut expected: Vec<u64> =
                (start..end.min(base_sectors)).map(|sector| sector / block).collect();
            expected.dedup();
            assert_eq!(blocks, expected, "{range}");
            let chunks: Vec<u64> = geometry.chunks(range).map(u64::from).collect();
            let mut expected: Vec<u64> =
                (start..end.min(sectors)).map(|sector| sector / chunk).collect();
            expected.dedup();
            assert_eq!(chunks, expected, "{range}");
        }
        assert_eq!(geometry.block_range(3..5), ByteRange::between(9 * SECTOR, 13 * SECTOR));
        assert_eq!(geometry.chunk_range(1..9), ByteRange::between(4 * SECTOR, 20 * SECTOR));
    }

    #[test]
    fn only_whole_physical_chunks_count() {
        let header = Header {
            all_data_in_fvd_img: 1,
            virtual_disk_size: 65536,
            metadata_size: 12288,
            compact_image: 1,
            table_offset: 8192,
            chunk_size: 4096,
            storage_grow_unit: i64::MAX,
            ..Header::default()
        };
        let geometry = Geometry::validate(&header, 12288, PlantedBugs::NONE).unwrap();
        for (data_len, limit) in
            [(0, 0), (12288, 0), (12288 + 4095, 0), (12288 + 8192, 2), (u64::MAX, 0x7FFF_FFFF)]
        {
            assert_eq!(geometry.physical_limit(data_len), limit, "{data_len}");
        }
        assert_eq!(geometry.chunk_offset(2), 12288 + 8192);
        let compact = geometry.compact.unwrap();
        assert_eq!(compact.grow_unit, 65536, "no more than all chunks need");
    }
}
