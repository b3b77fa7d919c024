//! The fields of the header that change while an image is open.

use crate::units::SECTOR;

/// Where the fields are in the header.
const VIRTUAL_SIZE: usize = 24;
const L1_ENTRIES: usize = 36;
const L1_OFFSET: usize = 40;
const REFCOUNT_TABLE_OFFSET: usize = 48;
const REFCOUNT_TABLE_CLUSTERS: usize = 56;
const SNAPSHOT_COUNT: usize = 60;
const SNAPSHOTS_OFFSET: usize = 64;
const INCOMPATIBLE: usize = 72;
const AUTOCLEAR: usize = 88;

/// The changing fields. All of them are in the header's first sector, so that any of them change
/// together or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fields {
    /// Bytes that the guest sees.
    pub(super) virtual_size: u64,
    /// The active L1 table: entries and place.
    pub(super) l1: (u32, u64),
    /// The refcount table: place and clusters.
    pub(super) refcount_table: (u64, u32),
    /// The snapshot table: entries and place.
    pub(super) snapshots: (u32, u64),
    /// Feature bits that a program has to know; absent in version 2.
    pub(super) incompatible: u64,
    /// Feature bits that are cleared by who does not know them; absent in version 2.
    pub(super) autoclear: u64,
}

/// The first sector of the header, as it is on the medium or will be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HeaderSector {
    bytes: Vec<u8>,
    has_features: bool,
}

impl HeaderSector {
    /// The first sector of the file.
    ///
    /// # Panics
    /// If it is not one sector.
    pub(super) fn new(bytes: Vec<u8>, version: u32) -> Self {
        assert_eq!(bytes.len() as u64, SECTOR);
        Self { bytes, has_features: version >= 3 }
    }

    /// The sector with these fields, and all others as they are.
    pub(super) fn with(&self, fields: &Fields) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(VIRTUAL_SIZE, &fields.virtual_size.to_be_bytes());
        put(L1_ENTRIES, &fields.l1.0.to_be_bytes());
        put(L1_OFFSET, &fields.l1.1.to_be_bytes());
        put(REFCOUNT_TABLE_OFFSET, &fields.refcount_table.0.to_be_bytes());
        put(REFCOUNT_TABLE_CLUSTERS, &fields.refcount_table.1.to_be_bytes());
        put(SNAPSHOT_COUNT, &fields.snapshots.0.to_be_bytes());
        put(SNAPSHOTS_OFFSET, &fields.snapshots.1.to_be_bytes());
        if self.has_features {
            put(INCOMPATIBLE, &fields.incompatible.to_be_bytes());
            put(AUTOCLEAR, &fields.autoclear.to_be_bytes());
        }
        bytes
    }
}
