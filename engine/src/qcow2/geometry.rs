//! Everything that follows from a header, computed once and held against the file.
//!
//! What holds of a [`Geometry`]:
//! * L1 table, refcount table and the start of the snapshot table are cluster aligned, behind the
//!   header, and end within the file; the last cluster of a file may be cut short.
//! * The L1 table is large enough for the virtual size, and at most [`L1_LEN_MAX`].
//! * The refcount table has one cluster to [`REFCOUNT_TABLE_LEN_MAX`].
//! * Nothing is larger than the file allows, so memory can be taken for it.
//!
//! That structures do not overlap each other is not judged here: a check reports it.

use super::header::Header;
use super::l2::EntryFormat;
use super::refcount::RefcountWidth;
use crate::error::Error;
use crate::units::{ByteRange, SECTOR};

/// Bytes of the largest L1 table.
pub const L1_LEN_MAX: u64 = 32 << 20;
/// Bytes of the largest refcount table.
pub const REFCOUNT_TABLE_LEN_MAX: u64 = 8 << 20;
/// Snapshots of one image.
pub const SNAPSHOTS_MAX: u32 = 65536;
/// Bytes of an entry of the L1 table and the refcount table.
pub const TABLE_ENTRY_LEN: u64 = 8;
/// One past the highest host offset that an entry can hold.
pub const HOST_END: u64 = 1 << 56;

/// What follows from the header of an image. Lengths and offsets are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes per cluster.
    pub cluster_len: u64,
    /// Bytes the guest sees.
    pub virtual_size: u64,
    /// Bytes of the file when it was looked at, rounded up to whole clusters.
    pub file_limit: u64,
    /// How L2 entries are to be read.
    pub entry_format: EntryFormat,
    /// Entries of an L2 table.
    pub l2_entries: u64,
    /// Guest bytes that one L2 table maps.
    pub l2_coverage: u64,
    /// L1 entries that the virtual size needs.
    pub l1_entries_needed: u64,
    /// The active L1 table.
    pub l1: ByteRange,
    /// How refcounts are to be read.
    pub refcount_width: RefcountWidth,
    /// Refcounts of a refcount block: the clusters that it covers.
    pub refcount_block_entries: u64,
    /// The refcount table.
    pub refcount_table: ByteRange,
    /// Entries of the refcount table.
    pub refcount_table_entries: u64,
    /// Where the snapshot table starts, if there are snapshots.
    pub snapshots_offset: Option<u64>,
}

/// How a table of the image is called, and its rules.
struct TableRules {
    aligned: &'static str,
    behind_header: &'static str,
    in_file: &'static str,
}

const L1_RULES: TableRules = TableRules {
    aligned: "l1_table_offset is a multiple of the cluster length",
    behind_header: "l1_table_offset is behind the header",
    in_file: "the L1 table is within the file",
};
const REFCOUNT_TABLE_RULES: TableRules = TableRules {
    aligned: "refcount_table_offset is a multiple of the cluster length",
    behind_header: "refcount_table_offset is behind the header",
    in_file: "the refcount table is within the file",
};
const SNAPSHOT_TABLE_RULES: TableRules = TableRules {
    aligned: "snapshots_offset is a multiple of the cluster length",
    behind_header: "snapshots_offset is behind the header",
    in_file: "the snapshot table is within the file",
};
const SNAPSHOT_L1_RULES: TableRules = TableRules {
    aligned: "l1_table_offset of a snapshot is a multiple of the cluster length",
    behind_header: "l1_table_offset of a snapshot is behind the header",
    in_file: "the L1 table of a snapshot is within the file",
};

impl Geometry {
    /// What follows from `header` for a file of `file_len` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for the first rule that is broken; [`Error::Unsupported`] for a virtual
    /// size that is not a multiple of 512.
    pub fn validate(header: &Header, file_len: u64) -> Result<Self, Error> {
        let refcount_width = RefcountWidth::from_order(header.refcount_order);
        let Some(refcount_width) = refcount_width else {
            return Err(corrupt("refcount_order is at most 6", header.refcount_order));
        };
        let bits = header.cluster_bits;
        rule((9..=21).contains(&bits), "cluster_bits is 9 to 21", bits)?;
        let cluster_len = header.cluster_len();
        rule(file_len <= HOST_END, "the file has at most 2^56 bytes", file_len)?;
        if !header.virtual_size.is_multiple_of(SECTOR) {
            let size = header.virtual_size;
            return Err(Error::Unsupported(format!(
                "virtual size of {size} bytes, which is not a multiple of 512"
            )));
        }
        let entry_format = header.entry_format();
        let l2_entries = entry_format.entries();
        let mut geometry = Self {
            cluster_len,
            virtual_size: header.virtual_size,
            file_limit: file_len.next_multiple_of(cluster_len),
            entry_format,
            l2_entries,
            l2_coverage: l2_entries * cluster_len,
            l1_entries_needed: header.virtual_size.div_ceil(l2_entries * cluster_len),
            l1: ByteRange { offset: 0, len: 0 },
            refcount_width,
            refcount_block_entries: refcount_width.entries(cluster_len),
            refcount_table: ByteRange { offset: 0, len: 0 },
            refcount_table_entries: 0,
            snapshots_offset: None,
        };
        geometry.l1 = geometry.l1_table(header.l1_offset, header.l1_entries, &L1_RULES)?;
        rule(
            u64::from(header.l1_entries) >= geometry.l1_entries_needed,
            "l1_size is large enough for the virtual size",
            header.l1_entries,
        )?;
        geometry.refcount_table = geometry.refcount_table(header)?;
        geometry.refcount_table_entries = geometry.refcount_table.len / TABLE_ENTRY_LEN;
        geometry.snapshots_offset = geometry.snapshots_offset(header)?;
        Ok(geometry)
    }

    /// The L1 table of a snapshot.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not aligned, or not within the file.
    pub fn snapshot_l1(&self, offset: u64, entries: u32) -> Result<ByteRange, Error> {
        self.l1_table(offset, entries, &SNAPSHOT_L1_RULES)
    }

    /// L1 entries that a disk of `virtual_size` bytes needs.
    #[must_use]
    pub fn l1_entries_for(&self, virtual_size: u64) -> u64 {
        virtual_size.div_ceil(self.l2_coverage)
    }

    /// The index of the cluster in which the host byte `offset` is.
    #[must_use]
    pub fn cluster_index(&self, offset: u64) -> u64 {
        offset / self.cluster_len
    }

    /// How many clusters the file has.
    #[must_use]
    pub fn file_clusters(&self) -> u64 {
        self.file_limit / self.cluster_len
    }

    /// Whether a host range is in the file, and not in the header.
    #[must_use]
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        offset >= self.cluster_len
            && offset.checked_add(len).is_some_and(|end| end <= self.file_limit)
    }

    fn l1_table(&self, offset: u64, entries: u32, rules: &TableRules) -> Result<ByteRange, Error> {
        let len = u64::from(entries) * TABLE_ENTRY_LEN;
        rule(len <= L1_LEN_MAX, "an L1 table has at most 32 MiB", len)?;
        if entries == 0 {
            return Ok(ByteRange { offset: 0, len: 0 });
        }
        self.table(offset, len, rules)
    }

    fn refcount_table(&self, header: &Header) -> Result<ByteRange, Error> {
        let clusters = header.refcount_table_clusters;
        rule(clusters > 0, "refcount_table_clusters is at least 1", clusters)?;
        let len = u64::from(clusters) * self.cluster_len;
        rule(len <= REFCOUNT_TABLE_LEN_MAX, "the refcount table has at most 8 MiB", len)?;
        self.table(header.refcount_table_offset, len, &REFCOUNT_TABLE_RULES)
    }

    fn snapshots_offset(&self, header: &Header) -> Result<Option<u64>, Error> {
        let count = header.snapshot_count;
        if count == 0 {
            return Ok(None);
        }
        rule(count <= SNAPSHOTS_MAX, "nb_snapshots is at most 65536", count)?;
        // The length of the table is only known when it has been read.
        Ok(Some(self.table(header.snapshots_offset, 1, &SNAPSHOT_TABLE_RULES)?.offset))
    }

    fn table(&self, offset: u64, len: u64, rules: &TableRules) -> Result<ByteRange, Error> {
        rule(offset.is_multiple_of(self.cluster_len), rules.aligned, offset)?;
        rule(offset >= self.cluster_len, rules.behind_header, offset)?;
        rule(self.holds(offset, len), rules.in_file, format!("{offset}+{len}"))?;
        Ok(ByteRange::new(offset, len))
    }
}

fn rule(holds: bool, rule: &'static str, found: impl std::fmt::Display) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(corrupt(rule, found)) }
}

fn corrupt(rule: &'static str, found: impl std::fmt::Display) -> Error {
    Error::corrupt("header", rule, found)
}
