//! The rules that a header has to keep before its numbers are used.
//!
//! [`Geometry`] states what holds afterwards. Each rule names its field and is checked by one call,
//! so that a refusal says what is wrong.

use crate::error::Error;
use crate::fvd::geometry::{BaseGeometry, CompactGeometry, Geometry, JournalGeometry, PAGE};
use crate::fvd::header::{HEADER_LEN, Header, corrupt};
use crate::units::{ByteRange, SECTOR};

/// A header being judged.
pub(super) struct Validation<'a> {
    pub(super) header: &'a Header,
    /// Bytes of the metadata file.
    pub(super) metadata_len: u64,
    /// Whether broken rules are overlooked, as a planted bug does.
    pub(super) trusting: bool,
}

impl Validation<'_> {
    /// The layout, if no rule is broken.
    pub(super) fn run(&self) -> Result<Geometry, Error> {
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
        self.prefetch(block_len)?;
        Ok(Some(BaseGeometry { len, block_len, bitmap, blocks }))
    }

    /// Fields that matter only if prefetching is to start.
    fn prefetch(&self, block_len: u64) -> Result<(), Error> {
        let header = self.header;
        if header.prefetch_start_delay <= 0 {
            return Ok(());
        }
        self.rule(
            u64::try_from(header.bytes_per_prefetch)
                .is_ok_and(|bytes| bytes > 0 && bytes.is_multiple_of(block_len)),
            "bytes_per_prefetch is a positive multiple of block_size",
            header.bytes_per_prefetch,
        )?;
        for (value, least, most, rule) in [
            (header.num_prefetch_slots, 1, i32::MAX, "num_prefetch_slots is positive"),
            (header.prefetch_perf_calc_alpha, 0, 100, "prefetch_perf_calc_alpha is 0 to 100"),
            (
                header.prefetch_read_throughput_measure_time,
                0,
                i32::MAX,
                "prefetch_read_throughput_measure_time is not negative",
            ),
            (
                header.prefetch_write_throughput_measure_time,
                0,
                i32::MAX,
                "prefetch_write_throughput_measure_time is not negative",
            ),
            (header.prefetch_throttle_time, 0, i32::MAX, "prefetch_throttle_time is not negative"),
        ] {
            self.rule((least..=most).contains(&value), rule, value)?;
        }
        Ok(())
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
        self.rule(end <= self.metadata_len, end_rule, format_args!("{start}..{end}"))?;
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
            self.rule(!one.overlaps(other), rule, format_args!("{one} and {other}"))?;
        }
        for (region, rule) in [
            (bitmap, "metadata_size is not less than the end of the bitmap"),
            (table, "metadata_size is not less than the end of the table"),
            (journal, "metadata_size is not less than the end of the journal"),
        ] {
            let end = region.map_or(0, ByteRange::end);
            self.rule(end <= metadata_size, rule, format_args!("{metadata_size}, end {end}"))?;
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
