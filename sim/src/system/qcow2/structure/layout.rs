//! The bytes of an image as its header and tables describe them, read sector by sector.
//!
//! Written for the oracle alone, from the specification: an oracle that parsed with the engine's code
//! would share its mistakes. Nothing is believed: whatever is out of bounds is left out here, and
//! found by whoever asks about it.
//!
//! # Source
//! qcow2 specification, "Header", "Host cluster management", "Cluster mapping", "Snapshots".

use plugpull_engine::{ByteRange, SECTOR};

use crate::system::ReadDisks;

/// The disk with the metadata.
const IMAGE: usize = 0;
const MAGIC: u64 = 0x5146_49fb;
/// Bits of a table entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Bits of an offset.
const OFFSET_BITS: u32 = 56;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Most snapshots, and bytes of a name or of extra data, that are looked at: no image of a scenario
/// has more, and damaged ones must not take forever.
const SNAPSHOTS_MAX: u64 = 256;
const SNAPSHOT_LEN_MAX: u64 = 4096;

/// Bytes that are read in whole sectors, and only where they are asked for.
pub(super) struct Bytes<'a> {
    disks: &'a mut dyn ReadDisks,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(disks: &'a mut dyn ReadDisks) -> Self {
        Self { disks }
    }

    pub(super) fn sector(&mut self, offset: u64) -> Vec<u8> {
        self.disks.read(IMAGE, ByteRange::new(offset / SECTOR * SECTOR, SECTOR))
    }

    /// The big-endian number of `len` bytes at `offset`.
    pub(super) fn number(&mut self, offset: u64, len: u64) -> u64 {
        let mut number = 0;
        let mut at = offset;
        while at < offset + len {
            let sector = self.sector(at);
            let end = (at / SECTOR + 1) * SECTOR;
            let part = at % SECTOR..at % SECTOR + end.min(offset + len) - at;
            let index = |at: u64| usize::try_from(at).expect("within a sector");
            let part = &sector[index(part.start)..index(part.end)];
            number = part.iter().fold(number, |number, &byte| number << 8 | u64::from(byte));
            at = end;
        }
        number
    }

    /// The sector at `offset` of the disk with the guest's data.
    pub(super) fn data(&mut self, layout: &Layout, offset: u64) -> Vec<u8> {
        let disk = if layout.data_file { IMAGE + 1 } else { IMAGE };
        self.disks.read(disk, ByteRange::new(offset, SECTOR))
    }

    /// The sector at `offset` of the backing file; zeros without one.
    pub(super) fn backing(&mut self, layout: &Layout, offset: u64) -> Vec<u8> {
        if !layout.has_backing {
            return vec![0; 512];
        }
        let disk = if layout.data_file { IMAGE + 2 } else { IMAGE + 1 };
        self.disks.read(disk, ByteRange::new(offset, SECTOR))
    }

    pub(super) fn file_len(&mut self) -> u64 {
        self.disks.len(IMAGE)
    }
}

/// What of the header matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) cluster_bits: u32,
    pub(super) l1: Table,
    pub(super) refcount_table: Table,
    snapshots: u64,
    snapshots_offset: u64,
    refcount_order: u32,
    pub(super) has_zero_flag: bool,
    /// Bytes that the guest sees.
    pub(super) size: u64,
    has_backing: bool,
    /// Refcounts may be left behind, as long as the image is marked dirty.
    pub(super) lazy: bool,
    /// Refcounts may be too low.
    pub(super) dirty: bool,
    pub(super) extended: bool,
    pub(super) data_file: bool,
    /// The bitmaps extension is to be believed.
    pub(super) bitmaps: bool,
    /// Where the extensions start.
    pub(super) header_len: u64,
}

/// A table of 64-bit entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) offset: u64,
    pub(super) entries: u64,
}

impl Table {
    pub(super) fn range(self) -> ByteRange {
        ByteRange { offset: self.offset, len: self.entries * 8 }
    }
}

/// A snapshot in the snapshot table.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) l1: Table,
    /// Bytes of its disk.
    pub(super) size: u64,
}

/// What an L2 entry says of host clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The host clusters that it refers to: one, or those of a compressed span; empty if none.
    pub(super) hosts: (u64, u64),
    pub(super) compressed: bool,
    pub(super) copied: bool,
    /// Whether the offset is that of a cluster.
    pub(super) aligned: bool,
}

impl Layout {
    /// What the header says; nothing if no program would open such an image.
    pub(super) fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let field = |bytes: &mut Bytes<'_>, at, len| bytes.number(at, len);
        if field(bytes, 0, 4) != MAGIC {
            return None;
        }
        let version = field(bytes, 4, 4);
        let cluster_bits = u32::try_from(field(bytes, 20, 4)).ok()?;
        if !(2..=3).contains(&version) || !(9..=21).contains(&cluster_bits) {
            return None;
        }
        let incompatible = if version == 3 { field(bytes, 72, 8) } else { 0 };
        let compatible = if version == 3 { field(bytes, 80, 8) } else { 0 };
        let autoclear = if version == 3 { field(bytes, 88, 8) } else { 0 };
        let refcount_order = if version == 3 { field(bytes, 96, 4) } else { 4 };
        let header_len = if version == 3 { field(bytes, 100, 4) } else { 72 };
        let offset = |bytes: &mut Bytes<'_>, at| {
            Some(bytes.number(at, 8)).filter(|offset| offset >> OFFSET_BITS == 0)
        };
        Some(Self {
            cluster_bits,
            l1: Table { offset: offset(bytes, 40)?, entries: field(bytes, 36, 4) },
            refcount_table: Table {
                offset: offset(bytes, 48)?,
                entries: field(bytes, 56, 4) << cluster_bits >> 3,
            },
            snapshots: field(bytes, 60, 4),
            snapshots_offset: offset(bytes, 64)?,
            refcount_order: u32::try_from(refcount_order).ok().filter(|order| *order <= 6)?,
            has_zero_flag: version == 3,
            size: field(bytes, 24, 8),
            has_backing: field(bytes, 8, 8) != 0,
            lazy: compatible & 1 != 0,
            dirty: incompatible & 1 != 0,
            extended: incompatible & 1 << 4 != 0,
            data_file: incompatible & 1 << 2 != 0,
            bitmaps: autoclear & 1 != 0,
            header_len,
        })
    }

    pub(super) fn cluster_len(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// The host clusters of a range: from the first to past the last.
    pub(super) fn clusters(&self, range: ByteRange) -> std::ops::Range<u64> {
        range.offset >> self.cluster_bits
            ..range.offset.saturating_add(range.len).div_ceil(self.cluster_len())
    }

    pub(super) fn entry_len(&self) -> u64 {
        if self.extended { 16 } else { 8 }
    }

    /// Guest clusters of one sector of an L2 table.
    pub(super) fn slice_clusters(&self) -> u64 {
        SECTOR / self.entry_len()
    }

    /// Guest clusters of one L2 table.
    pub(super) fn table_clusters(&self) -> u64 {
        self.cluster_len() / self.entry_len()
    }

    /// The snapshots, with the range of their table.
    pub(super) fn snapshots(&self, bytes: &mut Bytes<'_>) -> (Vec<Snapshot>, ByteRange) {
        let mut at = self.snapshots_offset;
        let mut end = at;
        let mut snapshots = Vec::new();
        for _ in 0..self.snapshots.min(SNAPSHOTS_MAX) {
            let l1 =
                Table { offset: bytes.number(at, 8) & OFFSET, entries: bytes.number(at + 8, 4) };
            let id_len = bytes.number(at + 12, 2);
            let name_len = bytes.number(at + 14, 2).min(SNAPSHOT_LEN_MAX);
            let extra_len = bytes.number(at + 36, 4).min(SNAPSHOT_LEN_MAX);
            // Before it, the length of the machine state.
            let size = if extra_len >= 16 { bytes.number(at + 48, 8) } else { self.size };
            let name_at = at + 40 + extra_len + id_len;
            let name = (name_at..name_at + name_len).map(|at| bytes.number(at, 1));
            let name: Vec<u8> = name.filter_map(|byte| u8::try_from(byte).ok()).collect();
            let name = String::from_utf8_lossy(&name).into_owned();
            snapshots.push(Snapshot { name, l1, size });
            // The file may end before the last one's padding.
            end = name_at + name_len;
            at = end.next_multiple_of(8);
        }
        (snapshots, ByteRange::between(self.snapshots_offset, end))
    }

    /// The entry of an L1 table for an L2 table: where that is, and whether it is marked as copied.
    pub(super) fn l1_entry(&self, bytes: &mut Bytes<'_>, l1: Table, index: u64) -> (u64, bool) {
        if index >= l1.entries {
            return (0, false);
        }
        let entry = bytes.number(l1.offset + 8 * index, 8);
        (entry & OFFSET, entry & COPIED != 0)
    }

    /// The entries of a slice of guest clusters in the tree below `l1`, with their guest clusters.
    pub(super) fn slice(&self, bytes: &mut Bytes<'_>, l1: Table, slice: u64) -> Vec<(u64, Entry)> {
        let first = slice * self.slice_clusters();
        let (table, _) = self.l1_entry(bytes, l1, first / self.table_clusters());
        if table == 0 {
            return Vec::new();
        }
        let at = table + first % self.table_clusters() * self.entry_len();
        let sector = bytes.sector(at);
        let entries = sector.chunks_exact(usize::try_from(self.entry_len()).expect("8 or 16"));
        let entries = entries.map(|entry| {
            let (descriptor, _) = entry.split_first_chunk::<8>().expect("at least eight bytes");
            self.entry(u64::from_be_bytes(*descriptor))
        });
        (first..).zip(entries).filter(|(_, entry)| entry.hosts.0 < entry.hosts.1).collect()
    }

    pub(super) fn entry(&self, descriptor: u64) -> Entry {
        let copied = descriptor & COPIED != 0;
        if descriptor & COMPRESSED != 0 {
            let bits = 62 - (self.cluster_bits - 8);
            let start = descriptor & ((1 << bits) - 1);
            let sectors = (descriptor & (COMPRESSED - 1)) >> bits;
            let range = ByteRange::between(start, (start / SECTOR + sectors + 1) * SECTOR);
            let hosts = self.clusters(range);
            return Entry {
                hosts: (hosts.start, hosts.end),
                compressed: true,
                copied,
                aligned: true,
            };
        }
        let offset = descriptor & OFFSET;
        // Bit 0 means zeros, and means nothing where there are subclusters; a host cluster below it
        // is reserved and counts.
        let known = OFFSET | COPIED | u64::from(self.has_zero_flag);
        let host = offset >> self.cluster_bits;
        Entry {
            // In a data file even offset 0 is one.
            hosts: if offset != 0 || (self.data_file && copied) {
                (host, host + 1)
            } else {
                (0, 0)
            },
            compressed: false,
            copied,
            aligned: offset.is_multiple_of(self.cluster_len()) && descriptor & !known == 0,
        }
    }

    /// Refcounts of one refcount block.
    pub(super) fn block_entries(&self) -> u64 {
        (self.cluster_len() * 8) >> self.refcount_order
    }

    /// Where the refcount block with this index is; 0 if nowhere.
    pub(super) fn block(&self, bytes: &mut Bytes<'_>, index: u64) -> u64 {
        if index >= self.refcount_table.entries {
            return 0;
        }
        bytes.number(self.refcount_table.offset + 8 * index, 8)
    }

    /// The refcount of a host cluster.
    pub(super) fn refcount(&self, bytes: &mut Bytes<'_>, host: u64) -> u64 {
        let block = self.block(bytes, host / self.block_entries());
        if block == 0 || block >> OFFSET_BITS != 0 {
            return 0;
        }
        let (index, bits) = (host % self.block_entries(), 1_u64 << self.refcount_order);
        let first = block + index * bits / 8;
        if bits >= 8 {
            return bytes.number(first, bits / 8);
        }
        bytes.number(first, 1) >> (index * bits % 8) & ((1 << bits) - 1)
    }
}
