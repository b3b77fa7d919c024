//! What kind of image to make, and the header that this gives.
//!
//! # Source
//! FVD version 1, create.

use crate::error::Error;
use crate::fvd::geometry::PAGE;
use crate::fvd::header::{HEADER_LEN, Header};
use crate::units::SECTOR;

/// The smallest default block is doubled until the bitmap takes at most this much.
const DEFAULT_BITMAP_MAX: u64 = 4 << 20;
const DEFAULT_CHUNK: u64 = 1 << 20;
const DEFAULT_GROW_UNIT: u64 = 100 << 20;
const DEFAULT_JOURNAL: u64 = 16 << 20;
/// Entries that a journal sector with a BITMAP record holds; sizes the smallest journal.
const ENTRIES_PER_JOURNAL_SECTOR: u64 = super::journal::MIXED_ENTRIES_MAX as u64;
/// How large the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JournalSize {
    /// 16 MiB.
    #[default]
    Default,
    /// No journal: each flush writes the maps instead.
    None,
    /// At least this many bytes: rounded up to a page, and to what one request over the whole
    /// disk needs.
    Bytes(u64),
}

/// What kind of image to make. The default is a flat image of no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateOptions {
    /// Bytes the guest sees, rounded up to 512.
    pub virtual_size: u64,
    /// The base, if there is one.
    pub base: Option<BaseOptions>,
    /// A file of its own for the data; empty to store it after the maps.
    pub data_file: String,
    /// The format of the data file; empty means raw.
    pub data_file_fmt: String,
    /// Chunks, if space is to be allocated on demand.
    pub compact: Option<CompactOptions>,
    /// How large the journal is. Without a base and chunks there is none.
    pub journal_size: JournalSize,
    /// Stored, never run.
    pub add_storage_cmd: String,
}

/// Options of an image that is compact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactOptions {
    /// Bytes per chunk, rounded up to 4096. Default 1 MiB.
    pub chunk_size: Option<u64>,
    /// Bytes by which the storage grows, at least a chunk. Default 100 MiB.
    pub storage_grow_unit: Option<u64>,
}

/// Options of an image with a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseOptions {
    /// Its name, stored in the header.
    pub name: String,
    /// Its format, stored in the header; empty means raw.
    pub format: String,
    /// Bytes per bit of the bitmap, rounded up to 512. By default the smallest power of two for
    /// which the bitmap takes at most 4 MiB.
    pub block_size: Option<u64>,
    /// Whether data read from the base is stored.
    pub copy_on_read: bool,
    /// Bytes that copy-on-read may have in flight.
    pub max_outstanding_copy_on_read_data: u64,
    /// Bytes of a window: where a whole window of the base is zero, its blocks are marked local, so
    /// that they are never read from the base. Rounded up to whole blocks. Not with compact.
    pub detect_sparse_hole: Option<u64>,
    /// When and how the base is copied in the background.
    pub prefetch: PrefetchOptions,
}

impl BaseOptions {
    /// The defaults for a base called `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            format: String::new(),
            block_size: None,
            copy_on_read: false,
            max_outstanding_copy_on_read_data: 2_000_000,
            detect_sparse_hole: None,
            prefetch: PrefetchOptions::default(),
        }
    }
}

/// Options of prefetching. Units as in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefetchOptions {
    /// Seconds from opening to the start; 0 and -1 mean never.
    pub start_delay: i32,
    /// Regions held in memory at once.
    pub slots: i32,
    /// Bytes per region, rounded up to whole blocks. Default 1 MiB.
    pub bytes: Option<i32>,
    /// Milliseconds over which read throughput is measured.
    pub read_measure_time: i32,
    /// Milliseconds over which write throughput is measured.
    pub write_measure_time: i32,
    /// Percentage that the past weighs in the throughput average.
    pub alpha: i32,
    /// KB/s below which reading counts as slow.
    pub min_read_throughput: i32,
    /// KB/s below which writing counts as slow.
    pub min_write_throughput: i32,
    /// Stored, unused.
    pub max_read_throughput: i32,
    /// Stored, unused.
    pub max_write_throughput: i32,
    /// Milliseconds of pause after slow prefetching; 0 means no pause.
    pub throttle_time: i32,
}

impl Default for PrefetchOptions {
    fn default() -> Self {
        Self {
            start_delay: -1,
            slots: 2,
            bytes: None,
            read_measure_time: 100,
            write_measure_time: 100,
            alpha: 80,
            min_read_throughput: 5120,
            min_write_throughput: 5120,
            max_read_throughput: 1_000_000_000,
            max_write_throughput: 1_000_000_000,
            throttle_time: 30_000,
        }
    }
}

impl CreateOptions {
    /// The header of the image that these options make over a base of `base_len` bytes.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for options that make no image.
    pub fn header(&self, base_len: u64) -> Result<Header, Error> {
        let virtual_size = round_up(self.virtual_size, SECTOR, "virtual size")?;
        let mut header = Header {
            virtual_disk_size: signed(virtual_size, "virtual size")?,
            all_data_in_fvd_img: i32::from(self.base.is_none()),
            data_file: name(&self.data_file, 1024, "data file")?,
            data_file_fmt: name(&self.data_file_fmt, 16, "data file format")?,
            clean_shutdown: 1,
            ..Header::default()
        };
        let command = name(&self.add_storage_cmd, header.add_storage_cmd.len(), "storage command")?;
        header.add_storage_cmd[..command.len()].copy_from_slice(command.as_bytes());
        let mut end = HEADER_LEN as u64;
        if let Some(base) = &self.base {
            base.put(&mut header, virtual_size, base_len, &mut end)?;
            if base.detect_sparse_hole.is_some() && self.compact.is_some() {
                return Err(invalid("hole detection", "is not for a compact image", "both"));
            }
        }
        if let Some(compact) = &self.compact {
            compact.put(&mut header, virtual_size, &mut end)?;
        }
        let has_map = self.base.is_some() || self.compact.is_some();
        self.put_journal(&mut header, has_map, &mut end)?;
        header.metadata_size = signed(end, "metadata size")?;
        Ok(header)
    }

    fn put_journal(&self, header: &mut Header, has_map: bool, end: &mut u64) -> Result<(), Error> {
        let wanted = match self.journal_size {
            JournalSize::Default => DEFAULT_JOURNAL,
            JournalSize::Bytes(bytes) if bytes > 0 => bytes,
            JournalSize::Bytes(_) | JournalSize::None => return Ok(()),
        };
        if !has_map {
            return Ok(());
        }
        let chunks = match size(header.chunk_size) {
            0 => 0,
            chunk => size(header.virtual_disk_size).div_ceil(chunk),
        };
        let least = chunks.div_ceil(ENTRIES_PER_JOURNAL_SECTOR) * SECTOR;
        let len = round_up(wanted.max(least), PAGE, "journal size")?;
        header.journal_offset = signed(*end, "journal offset")?;
        header.journal_size = signed(len, "journal size")?;
        *end = add(*end, len, "journal size")?;
        Ok(())
    }
}

impl BaseOptions {
    fn put(
        &self,
        header: &mut Header,
        virtual_size: u64,
        base_len: u64,
        end: &mut u64,
    ) -> Result<(), Error> {
        if self.name.is_empty() {
            return Err(invalid("base name", "is not empty", "an empty name"));
        }
        let len = base_len.min(virtual_size).next_multiple_of(SECTOR);
        let block_size = match self.block_size {
            Some(0) => return Err(invalid("block size", "is not 0", 0)),
            Some(block_size) => round_up(block_size, SECTOR, "block size")?,
            None => default_block_size(len),
        };
        let bitmap_size = bitmap_size(len, block_size);
        header.base_img = name(&self.name, 1024, "base name")?;
        header.base_img_fmt = name(&self.format, 16, "base format")?;
        header.base_img_size = signed(len, "base size")?;
        header.bitmap_offset = signed(*end, "bitmap offset")?;
        header.bitmap_size = signed(bitmap_size, "bitmap size")?;
        header.block_size = small(block_size, "block size")?;
        header.copy_on_read = i32::from(self.copy_on_read);
        header.max_outstanding_copy_on_read_data =
            signed(self.max_outstanding_copy_on_read_data, "copy-on-read limit")?;
        header.need_zero_init = i32::from(self.detect_sparse_hole.is_some());
        if self.detect_sparse_hole == Some(0) {
            return Err(invalid("hole window", "is not 0", 0));
        }
        self.prefetch.put(header, block_size)?;
        *end = add(*end, bitmap_size, "bitmap size")?;
        Ok(())
    }
}

impl PrefetchOptions {
    fn put(&self, header: &mut Header, block_size: u64) -> Result<(), Error> {
        for (value, least, what) in [
            (self.start_delay, -1, "prefetch delay"),
            (self.slots, 1, "prefetch slots"),
            (self.bytes.unwrap_or(1), 1, "prefetch bytes"),
            (self.read_measure_time, 1, "prefetch read measure time"),
            (self.write_measure_time, 1, "prefetch write measure time"),
            (self.alpha, 0, "prefetch alpha"),
            (100 - self.alpha.min(1000), 0, "prefetch alpha"),
            (self.min_read_throughput, 0, "prefetch read throughput"),
            (self.min_write_throughput, 0, "prefetch write throughput"),
            (self.throttle_time, 0, "prefetch throttle time"),
        ] {
            if value < least {
                return Err(invalid(what, "is within its limits", value));
            }
        }
        let bytes = self.bytes.map_or(1 << 20, |bytes| u64::from(bytes.unsigned_abs()));
        let bytes = round_up(bytes, block_size, "prefetch bytes")?;
        header.prefetch_start_delay = self.start_delay;
        header.num_prefetch_slots = self.slots;
        header.bytes_per_prefetch = small(bytes, "prefetch bytes")?;
        header.prefetch_read_throughput_measure_time = self.read_measure_time;
        header.prefetch_write_throughput_measure_time = self.write_measure_time;
        header.prefetch_perf_calc_alpha = self.alpha;
        header.prefetch_min_read_throughput = self.min_read_throughput;
        header.prefetch_min_write_throughput = self.min_write_throughput;
        header.prefetch_max_read_throughput = self.max_read_throughput;
        header.prefetch_max_write_throughput = self.max_write_throughput;
        header.prefetch_throttle_time = self.throttle_time;
        // Unused, but the original writes them.
        header.unit_of_prefetch_profile_entry_len = 4096;
        header.profile_directed_prefetch_start_delay = -1;
        Ok(())
    }
}

impl CompactOptions {
    fn put(&self, header: &mut Header, virtual_size: u64, end: &mut u64) -> Result<(), Error> {
        let chunk = self.chunk_size.unwrap_or(DEFAULT_CHUNK);
        if chunk == 0 {
            return Err(invalid("chunk size", "is not 0", chunk));
        }
        let chunk = round_up(chunk, PAGE, "chunk size")?;
        let grow = self.storage_grow_unit.unwrap_or(DEFAULT_GROW_UNIT).max(chunk);
        let table = round_up(virtual_size.div_ceil(chunk) * 4, PAGE, "table size")?;
        header.compact_image = 1;
        header.chunk_size = signed(chunk, "chunk size")?;
        header.storage_grow_unit = signed(grow, "storage grow unit")?;
        header.table_offset = signed(*end, "table offset")?;
        *end = add(*end, table, "table size")?;
        Ok(())
    }
}

/// The smallest power of two from 512 on whose bitmap is small enough.
fn default_block_size(base_len: u64) -> u64 {
    let mut block_size = SECTOR;
    while bitmap_size(base_len, block_size) > DEFAULT_BITMAP_MAX {
        block_size *= 2;
    }
    block_size
}

fn bitmap_size(base_len: u64, block_size: u64) -> u64 {
    base_len.div_ceil(block_size).div_ceil(8).next_multiple_of(PAGE)
}

pub(super) fn invalid(
    what: &'static str,
    rule: &'static str,
    found: impl std::fmt::Display,
) -> Error {
    Error::InvalidArgument { what, rule, found: found.to_string() }
}

fn name(text: &str, field_len: usize, what: &'static str) -> Result<String, Error> {
    if text.len() >= field_len || text.contains('\0') {
        return Err(invalid(what, "fits in its header field and has no NUL", text));
    }
    Ok(text.into())
}

pub(super) fn round_up(value: u64, unit: u64, what: &'static str) -> Result<u64, Error> {
    value.checked_next_multiple_of(unit).ok_or_else(|| invalid(what, "is below 2^63", value))
}

fn add(one: u64, other: u64, what: &'static str) -> Result<u64, Error> {
    one.checked_add(other).ok_or_else(|| invalid(what, "is below 2^63", other))
}

fn signed(value: u64, what: &'static str) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| invalid(what, "is below 2^63", value))
}

fn small(value: u64, what: &'static str) -> Result<i32, Error> {
    i32::try_from(value).map_err(|_| invalid(what, "is below 2^31", value))
}

/// A size in a header that was made here, so it is not negative.
pub(super) fn size(field: i64) -> u64 {
    u64::try_from(field).expect("sizes that were made here are not negative")
}
