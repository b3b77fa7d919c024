//! Persistent dirty bitmaps: where they are, and B-SUPER.
//!
//! A bitmap that is enabled and not marked as in use has the bit of every guest sector set whose
//! content is not what it was when the exploration started. Asked sector by sector: a question reads the directory, one bit,
//! and what the guest reads there. While the bitmap is marked as in use the directory alone decides.
//!
//! Compressed data is not expanded: what is compressed counts as changed if the entry is another one
//! than at the start. Compressed data is never moved, so that this is the same.

use plugpull_engine::{ByteRange, SECTOR};

use super::layout::{Bytes, Layout, Table};
use super::{Known, Owner, Structure, TABLE_ENTRIES_MAX, finding, limit};
use crate::oracle::Finding;
use crate::system::ReadDisks;
use crate::system::qcow2::Held;
use crate::verdict::Invariant;

/// The header extension that names the bitmap directory.
const EXTENSION: u64 = 0x2385_2875;
/// Most header extensions and bitmaps that are looked at.
const EXTENSIONS_MAX: usize = 64;
const BITMAPS_MAX: u64 = 1 << 16;
/// Flags of a bitmap.
const IN_USE: u64 = 1;
const ENABLED: u64 = 2;
/// Bits of a bitmap table entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// What the directory says of a bitmap.
#[derive(Debug, Clone, Copy)]
struct Bitmap {
    table: Table,
    flags: u64,
    granularity_bits: u64,
}

/// What the guest reads in a sector.
#[derive(PartialEq, Eq)]
enum Content {
    Plain(Vec<u8>),
    /// The entry of its cluster, which is compressed.
    Compressed(u64),
}

/// Whether there are bitmaps to be believed.
pub(in crate::system::qcow2) fn has_bitmaps(disks: &mut dyn ReadDisks) -> bool {
    Structure::read(disks).is_some_and(|mut image| image.bitmap_directory().is_some())
}

impl Structure<'_> {
    /// The owners of the bitmap directory, of the bitmap tables and of the bitmaps.
    pub(super) fn bitmap_owners(&mut self) -> Vec<(u64, Owner)> {
        let layout = self.layout;
        let Some((_, directory)) = self.bitmap_directory() else { return Vec::new() };
        let clusters = layout.clusters(directory).take(limit(TABLE_ENTRIES_MAX));
        let mut owners: Vec<_> =
            clusters.map(|cluster| (cluster, Owner::BitmapDirectory)).collect();
        for (number, bitmap) in (0..).zip(self.bitmaps()) {
            let clusters = layout.clusters(bitmap.table.range()).take(limit(TABLE_ENTRIES_MAX));
            owners.extend(clusters.map(|cluster| (cluster, Owner::BitmapTable(number))));
            for index in 0..bitmap.table.entries.min(TABLE_ENTRIES_MAX) {
                let offset = self.bitmap_entry(bitmap, index) & OFFSET;
                if offset != 0 {
                    owners.push((offset >> layout.cluster_bits, Owner::Bitmap(number, index)));
                }
            }
        }
        owners
    }

    /// Q-REFTAB and Q-REF of the bitmaps.
    pub(super) fn bitmaps_are_sound(&mut self) -> Option<Finding> {
        let (_, directory) = self.bitmap_directory()?;
        let mut ranges = vec![(directory, Owner::BitmapDirectory)];
        let tables = (0..).zip(self.bitmaps());
        ranges.extend(tables.map(|(at, bitmap)| (bitmap.table.range(), Owner::BitmapTable(at))));
        let misplaced = ranges.into_iter().find_map(|(range, owner)| self.misplaced(range, &owner));
        if misplaced.is_some() {
            return misplaced;
        }
        let owners = self.bitmap_owners();
        self.too_low(owners)
    }

    /// B-SUPER: the first bitmap that says of a guest sector that it is as at the start, if it is not.
    pub(super) fn sector_is_noted(&mut self, sector: u64, known: &Known) -> Option<Finding> {
        let offset = sector * SECTOR;
        for (number, bitmap) in (0..).zip(self.bitmaps()) {
            let trusted = bitmap.flags & ENABLED != 0 && bitmap.flags & IN_USE == 0;
            if !trusted || self.is_set(bitmap, offset) || !self.has_changed(offset, known) {
                continue;
            }
            let message = format!(
                "guest sector {sector} is not what it was at the start, and bitmap {number}, which \
                 is not marked as in use, says that it is"
            );
            return finding(Invariant::BSuper, message);
        }
        None
    }

    /// The bitmaps of the directory.
    fn bitmaps(&mut self) -> Vec<Bitmap> {
        let Some((count, directory)) = self.bitmap_directory() else { return Vec::new() };
        let mut bitmaps = Vec::new();
        let mut at = directory.offset;
        for _ in 0..count.min(BITMAPS_MAX) {
            if at >= directory.end() {
                break;
            }
            let number = |bytes: &mut Bytes<'_>, from, len| bytes.number(at + from, len);
            bitmaps.push(Bitmap {
                table: Table {
                    offset: number(&mut self.bytes, 0, 8) & OFFSET,
                    entries: number(&mut self.bytes, 8, 4),
                },
                flags: number(&mut self.bytes, 12, 4),
                granularity_bits: number(&mut self.bytes, 17, 1).min(63),
            });
            let name_len = number(&mut self.bytes, 18, 2);
            let extra_len = number(&mut self.bytes, 20, 4);
            at = (at + 24 + extra_len + name_len).next_multiple_of(8);
        }
        bitmaps
    }

    /// How many bitmaps there are, and where their directory is; none if it is not to be believed.
    fn bitmap_directory(&mut self) -> Option<(u64, ByteRange)> {
        if !self.layout.bitmaps {
            return None;
        }
        let bytes = &mut self.bytes;
        let mut at = self.layout.header_len;
        for _ in 0..EXTENSIONS_MAX {
            let (kind, len) = (bytes.number(at, 4), bytes.number(at + 4, 4));
            match kind {
                0 => return None,
                EXTENSION => {
                    let (len, offset) = (bytes.number(at + 16, 8), bytes.number(at + 24, 8));
                    let directory = ByteRange::between(offset, offset.saturating_add(len));
                    return Some((bytes.number(at + 8, 4), directory));
                }
                _ => at += 8 + len.next_multiple_of(8),
            }
        }
        None
    }

    fn bitmap_entry(&mut self, bitmap: Bitmap, index: u64) -> u64 {
        self.bytes.number(bitmap.table.offset + 8 * index, 8)
    }

    /// Whether the bit of a guest offset is set.
    fn is_set(&mut self, bitmap: Bitmap, offset: u64) -> bool {
        let bit = offset >> bitmap.granularity_bits;
        let (cluster, byte) = (bit / 8 / self.layout.cluster_len(), bit / 8);
        if cluster >= bitmap.table.entries {
            return false;
        }
        let entry = self.bitmap_entry(bitmap, cluster);
        if entry & OFFSET == 0 {
            return entry & 1 == 1;
        }
        let at = (entry & OFFSET) + byte % self.layout.cluster_len();
        self.bytes.number(at, 1) >> (bit % 8) & 1 == 1
    }

    /// Whether the guest reads something else than at the start. What is not on both disks is not
    /// compared.
    fn has_changed(&mut self, offset: u64, known: &Known) -> bool {
        if offset >= known.len || offset >= self.layout.size {
            return false;
        }
        match self.content(offset) {
            Content::Plain(now) => {
                let mut then = vec![0; now.len()];
                known.content.read(offset, &mut then);
                now != then
            }
            now @ Content::Compressed(_) => {
                let start = &mut Held(&known.start);
                Structure::read(start).is_none_or(|mut start| start.content(offset) != now)
            }
        }
    }

    /// What the guest reads in the sector at `offset`.
    fn content(&mut self, offset: u64) -> Content {
        let layout = self.layout;
        match layout.place(&mut self.bytes, offset) {
            Place::Zero => Content::Plain(vec![0; 512]),
            Place::Backing => Content::Plain(self.bytes.backing(&layout, offset)),
            Place::Data(at) => Content::Plain(self.bytes.data(&layout, at)),
            Place::Compressed(descriptor) => Content::Compressed(descriptor),
        }
    }
}

/// Where a guest sector is.
pub(super) enum Place {
    Zero,
    Backing,
    /// At this offset of the file with the data.
    Data(u64),
    /// In compressed data: the entry of its cluster.
    Compressed(u64),
}

impl Layout {
    /// Where the guest sector at `offset` of the active tree is.
    fn place(&self, bytes: &mut Bytes<'_>, offset: u64) -> Place {
        let (cluster, within) = (offset >> self.cluster_bits, offset % self.cluster_len());
        let (table, _) = self.l1_entry(bytes, self.l1, cluster / self.table_clusters());
        if table == 0 {
            return Place::Backing;
        }
        let at = table + cluster % self.table_clusters() * self.entry_len();
        let descriptor = bytes.number(at, 8);
        let entry = self.entry(descriptor);
        let is_mapped = entry.hosts.0 < entry.hosts.1;
        if entry.compressed {
            return Place::Compressed(descriptor);
        }
        let data = Place::Data((entry.hosts.0 << self.cluster_bits) + within);
        if !self.extended {
            return match (self.has_zero_flag && descriptor & 1 == 1, is_mapped) {
                (true, _) => Place::Zero,
                (false, true) => data,
                (false, false) => Place::Backing,
            };
        }
        let subclusters = bytes.number(at + 8, 8);
        let index = within / (self.cluster_len() / 32);
        match (subclusters >> (32 + index) & 1, subclusters >> index & 1) {
            (1, _) => Place::Zero,
            (_, 1) => data,
            _ => Place::Backing,
        }
    }
}
