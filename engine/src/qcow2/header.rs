//! The header: fixed fields, extensions, the name of the backing file.
//!
//! How it is stored is in `header_bytes`; whether its offsets and sizes make sense for a file is
//! [`super::geometry`]'s business.
//!
//! # Source
//! qcow2 specification, "Header", "Header extensions".

use super::features::FeatureName;
use super::l2::EntryFormat;

pub use super::extension::{BitmapsExtension, Extension};
pub use super::features::{autoclear, compatible, incompatible};
pub use super::header_bytes::{BACKING_NAME_MAX, LEN_V2, LEN_V3, LEN_V3_MIN, offset};

/// The first four bytes, `QFI\xfb`, as a big-endian number.
pub const MAGIC: u32 = 0x5146_49fb;

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Raw deflate with a window of 4 KiB.
    Deflate,
    /// One zstd frame.
    Zstd,
}

/// Everything that the header says. Sizes and offsets are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The name of the backing file, if there is one.
    pub backing_file: Option<String>,
    /// The backing file's format, if it is named.
    pub backing_format: Option<String>,
    /// Bytes per cluster, as a power of two: 9 to 21.
    pub cluster_bits: u32,
    /// Bytes that the guest sees.
    pub virtual_size: u64,
    /// Entries of the active L1 table.
    pub l1_entries: u32,
    /// Where it is.
    pub l1_offset: u64,
    /// Where the refcount table is.
    pub refcount_table_offset: u64,
    /// How many clusters it takes.
    pub refcount_table_clusters: u32,
    /// How many snapshots there are.
    pub snapshot_count: u32,
    /// Where the snapshot table is.
    pub snapshots_offset: u64,
    /// Feature bits that a program has to know.
    pub incompatible: u64,
    /// Feature bits that a program may ignore.
    pub compatible: u64,
    /// Feature bits that a program clears which does not know them.
    pub autoclear: u64,
    /// Bits per refcount, as a power of two: 0 to 6.
    pub refcount_order: u32,
    /// Bytes of the fixed fields.
    pub header_len: u32,
    /// How clusters are compressed.
    pub compression: Compression,
    /// The name of the external data file, if it is named.
    pub data_file: Option<String>,
    /// The bitmap directory, if there is one.
    pub bitmaps: Option<BitmapsExtension>,
    /// The feature names that the image brings along: bit type (0 incompatible, 1 compatible, 2
    /// autoclear), bit number, name.
    pub feature_names: Vec<FeatureName>,
    /// Extensions of other types, in their order.
    pub unknown_extensions: Vec<Extension>,
    /// Bytes of the fixed fields behind those that this engine knows, as they are.
    pub unknown_fields: Vec<u8>,
}

impl Header {
    /// Bytes per cluster.
    #[must_use]
    pub fn cluster_len(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// How L2 entries are to be read.
    #[must_use]
    pub fn entry_format(&self) -> EntryFormat {
        EntryFormat {
            cluster_bits: self.cluster_bits,
            extended: self.incompatible & incompatible::EXTENDED_L2 != 0,
            has_zero_flag: self.version >= 3,
        }
    }

    /// Whether guest data is in a file of its own.
    #[must_use]
    pub fn has_data_file(&self) -> bool {
        self.incompatible & incompatible::EXTERNAL_DATA != 0
    }

    /// Whether the header has the dirty bit.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.incompatible & incompatible::DIRTY != 0
    }

    /// Whether refcounts may be left behind.
    #[must_use]
    pub fn has_lazy_refcounts(&self) -> bool {
        self.compatible & compatible::LAZY_REFCOUNTS != 0
    }

    /// Whether the image is marked as damaged.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.incompatible & incompatible::CORRUPT != 0
    }

    /// Whether the external data file is usable as a raw image.
    #[must_use]
    pub fn data_file_is_raw(&self) -> bool {
        self.autoclear & autoclear::DATA_FILE_RAW != 0
    }

    /// The bitmap directory, if it is consistent with the image. What an inconsistent one points to
    /// is not in use.
    #[must_use]
    pub fn consistent_bitmaps(&self) -> Option<BitmapsExtension> {
        self.bitmaps.filter(|_| self.autoclear & autoclear::BITMAPS != 0)
    }
}
