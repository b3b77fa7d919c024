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
use crate::fvd::header::{HEADER_LEN, Header, corrupt};
use crate::fvd::planted::{Bug, PlantedBugs};
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
        Validation { header, metadata_len, trusting: planted.has(Bug::HostGeometry) }.run()
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

struct Validation<'a> {
    header: &'a Header,
    metadata_len: u64,
    trusting: bool,
}

impl Validation<'_> {
    fn run(&self) -> Result<Geometry, Error> {
        let header = self.header;
        self.flags()?;
        let virtual_size = self.multiple(
            header.virtual_disk_size,
            SECTOR,
            "virtual_disk_size is a multiple of 512, not negative",
        )?;
        let metadata_size = self.at_least(
            header.metadata_size,
            HEADER_LEN as u64,
            "metadata_size is at least 8192, the header",
        )?;
        let separate_data = header.separate_data();
        let data_offset = if separate_data { 0 } else { metadata_size };
        self.rule(
            data_offset.checked_add(virtual_size).is_some_and(|end| i64::try_from(end).is_ok()),
            "metadata_size + virtual_disk_size is below 2^63",
            metadata_size,
        )?;
        let base = self.base(virtual_size)?;
        let compact = self.compact(virtual_size, data_offset)?;
        let journal = self.journal(base.is_some() || compact.is_some())?;
        self.disjoint(metadata_size, base.as_ref(), compact.as_ref(), journal.as_ref())?;
        Ok(Geometry {
            virtual_size,
            data_offset,
            separate_data,
            need_zero_init: header.need_zero_init != 0,
            base,
            compact,
            journal,
        })
    }

    fn flags(&self) -> Result<(), Error> {
        let header = self.header;
        for (flag, rule) in [
            (header.all_data_in_fvd_img, "all_data_in_fvd_img is 0 or 1"),
            (header.compact_image, "compact_image is 0 or 1"),
            (header.clean_shutdown, "clean_shutdown is 0 or 1"),
            (header.need_zero_init, "need_zero_init is 0 or 1"),
            (header.copy_on_read, "copy_on_read is 0 or 1"),
        ] {
            self.rule(matches!(flag, 0 | 1), rule, flag)?;
        }
        Ok(())
    }

    fn base(&self, virtual_size: u64) -> Result<Option<BaseGeometry>, Error> {
        let header = self.header;
        if !header.uses_base() {
            return Ok(None);
        }
        self.rule(
            !header.base_img.is_empty(),
            "base_img is named while all_data_in_fvd_img is 0",
            "an empty name",
        )?;
        let len = self.multiple(
            header.base_img_size,
            SECTOR,
            "base_img_size is a multiple of 512, not negative",
        )?;
        self.rule(len <= virtual_size, "base_img_size is at most virtual_disk_size", len)?;
        let block_len = self.multiple(
            i64::from(header.block_size),
            SECTOR,
            "block_size is a positive multiple of 512",
        )?;
        self.rule(block_len > 0, "block_size is a positive multiple of 512", block_len)?;
        let blocks = len.div_ceil(block_len);
        let bitmap = self.region(
            header.bitmap_offset,
            header.bitmap_size,
            "bitmap_offset is a multiple of 4096 after the header",
            "bitmap_size is a multiple of 4096, not negative",
            "bitmap_offset + bitmap_size is within the file",
        )?;
        self.rule(
            bitmap.len >= blocks.div_ceil(8),
            "bitmap_size has a bit for every block of base_img_size",
            bitmap.len,
        )?;
        Ok(Some(BaseGeometry { len, block_len, bitmap, blocks }))
    }

    fn compact(
        &self,
        virtual_size: u64,
        data_offset: u64,
    ) -> Result<Option<CompactGeometry>, Error> {
        let header = self.header;
        if header.compact_image == 0 {
            return Ok(None);
        }
        let chunk_len =
            self.multiple(header.chunk_size, PAGE, "chunk_size is a positive multiple of 4096")?;
        self.rule(chunk_len > 0, "chunk_size is a positive multiple of 4096", chunk_len)?;
        let chunks = virtual_size.div_ceil(chunk_len);
        let entries = u32::try_from(chunks);
        self.rule(
            entries.is_ok(),
            "virtual_disk_size / chunk_size is at most 4294967295 chunks",
            chunks,
        )?;
        // The bound of a trusting reader is the file as well: it stands for code that trusts the
        // header, not for code that exhausts the memory of the test.
        let most = self.metadata_len / 4;
        let entries = entries.unwrap_or(u32::MAX).min(u32::try_from(most).unwrap_or(u32::MAX));
        let table = self.region(
            header.table_offset,
            i64::try_from(chunks.saturating_mul(4).next_multiple_of(PAGE)).unwrap_or(i64::MAX),
            "table_offset is a multiple of 4096 after the header",
            "table has an entry for every chunk of virtual_disk_size",
            "table_offset + 4 * (virtual_disk_size / chunk_size) is within the file",
        )?;
        let all_chunks = chunks.checked_mul(chunk_len);
        self.rule(
            all_chunks
                .and_then(|all| all.checked_add(data_offset))
                .is_some_and(|end| i64::try_from(end).is_ok()),
            "chunk_size * chunks + metadata_size is below 2^63",
            chunk_len,
        )?;
        let grow_unit = self.at_least(
            header.storage_grow_unit,
            chunk_len,
            "storage_grow_unit is at least chunk_size",
        )?;
        let grow_unit = grow_unit.min(all_chunks.unwrap_or(u64::MAX)).max(chunk_len);
        Ok(Some(CompactGeometry { chunk_len, table, entries, grow_unit }))
    }

    fn journal(&self, has_map: bool) -> Result<Option<JournalGeometry>, Error> {
        let header = self.header;
        if !has_map || header.journal_size == 0 {
            return Ok(None);
        }
        let range = self.region(
            header.journal_offset,
            header.journal_size,
            "journal_offset is a multiple of 4096 after the header",
            "journal_size is a multiple of 4096, not negative",
            "journal_offset + journal_size is within the file",
        )?;
        Ok(Some(JournalGeometry { range, sectors: range.len / SECTOR }))
    }

    /// A region of the metadata file, inside the file as it is.
    fn region(
        &self,
        offset: i64,
        len: i64,
        offset_rule: &'static str,
        len_rule: &'static str,
        end_rule: &'static str,
    ) -> Result<ByteRange, Error> {
        let start = self.multiple(offset, PAGE, offset_rule)?;
        self.rule(start >= HEADER_LEN as u64, offset_rule, offset)?;
        let len = self.multiple(len, PAGE, len_rule)?;
        let end = start.saturating_add(len);
        self.rule(end <= self.metadata_len, end_rule, format!("{start}..{end}"))?;
        let end = end.min(self.metadata_len);
        Ok(ByteRange::between(start.min(end), end))
    }

    fn disjoint(
        &self,
        metadata_size: u64,
        base: Option<&BaseGeometry>,
        compact: Option<&CompactGeometry>,
        journal: Option<&JournalGeometry>,
    ) -> Result<(), Error> {
        let bitmap = base.map(|base| base.bitmap);
        let table = compact.map(|compact| compact.table);
        let journal = journal.map(|journal| journal.range);
        for (one, other, rule) in [
            (bitmap, table, "bitmap and table do not overlap"),
            (bitmap, journal, "bitmap and journal do not overlap"),
            (table, journal, "table and journal do not overlap"),
        ] {
            let (Some(one), Some(other)) = (one, other) else { continue };
            self.rule(!one.overlaps(other), rule, format!("{one} and {other}"))?;
        }
        for (region, rule) in [
            (bitmap, "metadata_size is not less than the end of the bitmap"),
            (table, "metadata_size is not less than the end of the table"),
            (journal, "metadata_size is not less than the end of the journal"),
        ] {
            let end = region.map_or(0, ByteRange::end);
            self.rule(end <= metadata_size, rule, format!("{metadata_size}, end {end}"))?;
        }
        Ok(())
    }

    /// `value`, which must be a multiple of `unit` and not negative.
    fn multiple(&self, value: i64, unit: u64, rule: &'static str) -> Result<u64, Error> {
        let valid = u64::try_from(value).ok().filter(|value| value.is_multiple_of(unit));
        self.rule(valid.is_some(), rule, value)?;
        Ok(valid.unwrap_or_else(|| value.unsigned_abs()))
    }

    /// `value`, which must be at least `least`.
    fn at_least(&self, value: i64, least: u64, rule: &'static str) -> Result<u64, Error> {
        let valid = u64::try_from(value).ok().filter(|&value| value >= least);
        self.rule(valid.is_some(), rule, value)?;
        Ok(valid.unwrap_or_else(|| value.unsigned_abs()))
    }

    /// Refuses the header if the rule does not hold.
    fn rule(
        &self,
        holds: bool,
        rule: &'static str,
        found: impl std::fmt::Display,
    ) -> Result<(), Error> {
        if holds || self.trusting { Ok(()) } else { Err(corrupt(rule, found)) }
    }
}
