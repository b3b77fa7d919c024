//! What kind of image to make, and the header that this gives.

use std::collections::BTreeSet;

use super::bitmap_directory::{self, BITMAP_TABLE_LEN_MAX, BITMAPS_MAX, BitmapEntry, NAME_LEN_MAX};
use super::features::{autoclear, compatible, incompatible, known_names};
use super::geometry::{L1_LEN_MAX, REFCOUNT_TABLE_LEN_MAX, TABLE_ENTRY_LEN};
use super::header::{BACKING_NAME_MAX, BitmapsExtension, Compression, Header, LEN_V2, LEN_V3};
use crate::error::Error;
use crate::units::SECTOR;

/// What kind of image to make. The default is a version 3 image of no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    /// Bytes the guest sees, rounded up to 512.
    pub virtual_size: u64,
    /// 2 or 3.
    pub version: u32,
    /// Bytes per cluster: a power of two from 512 to 2 MiB.
    pub cluster_len: u64,
    /// Bits per refcount: a power of two up to 64.
    pub refcount_bits: u64,
    /// The backing file, if there is one.
    pub backing: Option<BackingOptions>,
    /// Whether refcounts may be left behind.
    pub lazy_refcounts: bool,
    /// How clusters are compressed.
    pub compression: Compression,
    /// Whether L2 entries have subcluster bitmaps.
    pub extended_l2: bool,
    /// A file of its own for guest data.
    pub data_file: Option<DataFileOptions>,
    /// Dirty bitmaps that are kept in the image: enabled, with no bit set.
    pub bitmaps: Vec<BitmapOptions>,
}

/// A persistent dirty bitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitmapOptions {
    /// Its name: 1 to 1023 bytes, unique.
    pub name: String,
    /// Bytes per bit: a power of two from 512 to 2 GiB.
    pub granularity: u64,
}

/// A backing file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingOptions {
    /// Its name, stored in the header.
    pub name: String,
    /// Its format, stored in the header.
    pub format: Option<String>,
}

/// A file of its own for guest data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFileOptions {
    /// Its name, stored in the header.
    pub name: String,
    /// Whether it is usable as a raw image.
    pub raw: bool,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            virtual_size: 0,
            version: 3,
            cluster_len: 65536,
            refcount_bits: 16,
            backing: None,
            lazy_refcounts: false,
            compression: Compression::Deflate,
            extended_l2: false,
            data_file: None,
            bitmaps: Vec::new(),
        }
    }
}

/// Where the metadata of a new image is, in clusters. The order is header, refcount table, refcount
/// blocks, L1 table, bitmap directory, bitmap tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) refcount_table: u64,
    pub(super) refcount_blocks: u64,
    pub(super) l1: u64,
    /// The bitmap directory.
    pub(super) directory: u64,
    /// All bitmap tables together.
    pub(super) bitmap_tables: u64,
}

impl Layout {
    pub(super) fn clusters(self) -> u64 {
        self.directory_at() + self.directory + self.bitmap_tables
    }

    /// Where the L1 table starts.
    pub(super) fn l1_at(self) -> u64 {
        1 + self.refcount_table + self.refcount_blocks
    }

    /// Where the bitmap directory starts.
    pub(super) fn directory_at(self) -> u64 {
        self.l1_at() + self.l1
    }

    /// Refcount blocks cover everything, themselves and their table included.
    fn new(header: &Header, directory: u64, bitmap_tables: u64) -> Self {
        let cluster_len = header.cluster_len();
        let block_entries = (cluster_len * 8) >> header.refcount_order;
        let l1 = (u64::from(header.l1_entries) * TABLE_ENTRY_LEN).div_ceil(cluster_len);
        let mut layout =
            Self { refcount_table: 1, refcount_blocks: 1, l1, directory, bitmap_tables };
        // Each turn adds what the one before lacked; a block covers many more clusters than one.
        loop {
            let blocks = layout.clusters().div_ceil(block_entries);
            let table = (blocks * TABLE_ENTRY_LEN).div_ceil(cluster_len);
            let next = Self { refcount_table: table, refcount_blocks: blocks, ..layout };
            if next == layout {
                return layout;
            }
            layout = next;
        }
    }
}

impl CreateOptions {
    /// The header of the new image, where its metadata is, and its bitmap directory.
    pub(super) fn header(&self) -> Result<(Header, Layout, Vec<u8>), Error> {
        self.check_numbers()?;
        self.check_version()?;
        self.check_names()?;
        self.check_bitmaps()?;
        let mut header = self.bare_header();
        header.l1_entries = self.l1_entries(&header)?;
        let cluster_len = self.cluster_len;
        let table_clusters = self.bitmap_table_clusters();
        // Offsets do not change its length.
        let directory_len = self.directory(0)?.len() as u64;
        let directory_clusters = directory_len.div_ceil(cluster_len);
        let layout = Layout::new(&header, directory_clusters, table_clusters);
        let table_len = layout.refcount_table * cluster_len;
        let fits = table_len <= REFCOUNT_TABLE_LEN_MAX;
        rule(fits, "virtual_size", "a refcount table of 8 MiB is enough", self.virtual_size)?;
        header.refcount_table_offset = cluster_len;
        header.refcount_table_clusters = u32::try_from(layout.refcount_table).expect("checked");
        if header.l1_entries > 0 {
            header.l1_offset = layout.l1_at() * cluster_len;
        }
        let directory_offset = layout.directory_at() * cluster_len;
        let directory = self.directory(directory_offset + directory_clusters * cluster_len)?;
        if !self.bitmaps.is_empty() {
            let count = u32::try_from(self.bitmaps.len()).expect("checked");
            header.bitmaps = Some(BitmapsExtension { count, directory_len, directory_offset });
        }
        // Names are for people: an image with small clusters goes without.
        if header.to_bytes().is_err() {
            header.feature_names.clear();
        }
        header.to_bytes()?;
        Ok((header, layout, directory))
    }

    fn check_numbers(&self) -> Result<(), Error> {
        let (cluster_len, bits) = (self.cluster_len, self.refcount_bits);
        let good = cluster_len.is_power_of_two() && (512..=2 << 20).contains(&cluster_len);
        rule(good, "cluster_len", "is a power of two from 512 to 2 MiB", cluster_len)?;
        let good = bits.is_power_of_two() && bits <= 64;
        rule(good, "refcount_bits", "is a power of two up to 64", bits)?;
        let good = self.virtual_size.checked_next_multiple_of(SECTOR).is_some();
        rule(good, "virtual_size", "is below 2^64 when rounded up to 512", self.virtual_size)?;
        let good = !self.extended_l2 || cluster_len >= 16384;
        rule(good, "extended_l2", "has clusters of at least 16 KiB", cluster_len)
    }

    fn check_version(&self) -> Result<(), Error> {
        let version = self.version;
        rule((2..=3).contains(&version), "version", "is 2 or 3", version)?;
        if version == 3 {
            return Ok(());
        }
        rule(self.refcount_bits == 16, "refcount_bits", "is 16 in version 2", self.refcount_bits)?;
        rule(!self.lazy_refcounts, "lazy_refcounts", "needs version 3", version)?;
        rule(!self.extended_l2, "extended_l2", "needs version 3", version)?;
        rule(self.data_file.is_none(), "data_file", "needs version 3", version)?;
        rule(self.bitmaps.is_empty(), "bitmaps", "need version 3", version)?;
        let deflate = self.compression == Compression::Deflate;
        rule(deflate, "compression", "is deflate in version 2", "zstd")
    }

    fn check_names(&self) -> Result<(), Error> {
        if let Some(backing) = &self.backing {
            let len = backing.name.len();
            let good = (1..=BACKING_NAME_MAX).contains(&len);
            rule(good, "backing", "has a name of 1 to 1023 bytes", len)?;
        }
        let Some(data_file) = &self.data_file else { return Ok(()) };
        let len = data_file.name.len();
        let good = (1..=BACKING_NAME_MAX).contains(&len);
        rule(good, "data_file", "has a name of 1 to 1023 bytes", len)?;
        let good = !data_file.raw || self.backing.is_none();
        rule(good, "data_file", "is not raw with a backing file", "both")
    }

    fn check_bitmaps(&self) -> Result<(), Error> {
        let count = self.bitmaps.len();
        rule(count as u64 <= BITMAPS_MAX.into(), "bitmaps", "are at most 65535", count)?;
        let some = count == 0 || self.virtual_size > 0;
        rule(some, "bitmaps", "are of a disk with at least a byte", self.virtual_size)?;
        let mut names = BTreeSet::new();
        for BitmapOptions { name, granularity } in &self.bitmaps {
            let good = (1..=NAME_LEN_MAX).contains(&name.len());
            rule(good, "bitmaps", "have names of 1 to 1023 bytes", name.len())?;
            rule(names.insert(name), "bitmaps", "have names of their own", name)?;
            let good = granularity.is_power_of_two() && (512..=2 << 30).contains(granularity);
            rule(good, "bitmaps", "have a power of two from 512 to 2 GiB per bit", granularity)?;
            let len = self.bitmap_table_entries(*granularity).saturating_mul(TABLE_ENTRY_LEN);
            let good = len <= BITMAP_TABLE_LEN_MAX;
            rule(good, "bitmaps", "have tables of at most 1 GiB", len)?;
        }
        Ok(())
    }

    fn bitmap_table_entries(&self, granularity: u64) -> u64 {
        let size = self.virtual_size.next_multiple_of(SECTOR);
        size.div_ceil(granularity).div_ceil(8).div_ceil(self.cluster_len)
    }

    fn bitmap_table_clusters(&self) -> u64 {
        let entries =
            self.bitmaps.iter().map(|bitmap| self.bitmap_table_entries(bitmap.granularity));
        entries.map(|entries| (entries * TABLE_ENTRY_LEN).div_ceil(self.cluster_len)).sum()
    }

    /// The bitmap directory, with the first of the bitmap tables at `tables`.
    fn directory(&self, tables: u64) -> Result<Vec<u8>, Error> {
        let mut table_offset = tables;
        let entries = self.bitmaps.iter().map(|BitmapOptions { name, granularity }| {
            let table_entries = self.bitmap_table_entries(*granularity);
            let entry = BitmapEntry {
                name: name.clone(),
                table_offset,
                table_entries: u32::try_from(table_entries).expect("checked"),
                in_use: false,
                auto: true,
                extra_data_compatible: false,
                granularity_bits: u8::try_from(granularity.trailing_zeros()).expect("below 64"),
                extra: Vec::new(),
            };
            table_offset += (table_entries * TABLE_ENTRY_LEN).next_multiple_of(self.cluster_len);
            entry
        });
        bitmap_directory::to_bytes(&entries.collect::<Vec<_>>())
    }

    /// The header without offsets and sizes of tables.
    fn bare_header(&self) -> Header {
        let set = |bit, set| if set { bit } else { 0 };
        let raw = self.data_file.as_ref().is_some_and(|data_file| data_file.raw);
        let is_v3 = self.version == 3;
        let header_len = if is_v3 { LEN_V3 } else { LEN_V2 };
        Header {
            version: self.version,
            backing_file: self.backing.as_ref().map(|backing| backing.name.clone()),
            backing_format: self.backing.as_ref().and_then(|backing| backing.format.clone()),
            cluster_bits: self.cluster_len.trailing_zeros(),
            virtual_size: self.virtual_size.next_multiple_of(SECTOR),
            l1_entries: 0,
            l1_offset: 0,
            refcount_table_offset: 0,
            refcount_table_clusters: 0,
            snapshot_count: 0,
            snapshots_offset: 0,
            incompatible: set(incompatible::EXTERNAL_DATA, self.data_file.is_some())
                | set(incompatible::COMPRESSION, self.compression == Compression::Zstd)
                | set(incompatible::EXTENDED_L2, self.extended_l2),
            compatible: set(compatible::LAZY_REFCOUNTS, self.lazy_refcounts),
            autoclear: set(autoclear::DATA_FILE_RAW, raw)
                | set(autoclear::BITMAPS, !self.bitmaps.is_empty()),
            refcount_order: self.refcount_bits.trailing_zeros(),
            header_len: u32::try_from(header_len).expect("small"),
            compression: self.compression,
            data_file: self.data_file.as_ref().map(|data_file| data_file.name.clone()),
            bitmaps: None,
            feature_names: if is_v3 { known_names() } else { Vec::new() },
            unknown_extensions: Vec::new(),
            unknown_fields: Vec::new(),
        }
    }

    fn l1_entries(&self, header: &Header) -> Result<u32, Error> {
        let l2_coverage = header.entry_format().entries() * self.cluster_len;
        let entries = header.virtual_size.div_ceil(l2_coverage);
        let good = entries <= L1_LEN_MAX / TABLE_ENTRY_LEN;
        rule(good, "virtual_size", "an L1 table of 32 MiB is enough", self.virtual_size)?;
        Ok(u32::try_from(entries).expect("checked"))
    }
}

/// Refuses an argument that breaks a rule.
pub(super) fn rule(
    holds: bool,
    what: &'static str,
    rule: &'static str,
    found: impl std::fmt::Display,
) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::InvalidArgument { what, rule, found: found.to_string() })
}
