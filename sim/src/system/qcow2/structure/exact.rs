//! Q-EXACT: every reference of an image is counted, and compared with every refcount.

use std::collections::BTreeMap;

use plugpull_engine::ByteRange;

use super::layout::{Bytes, Table};
use super::{Owner, Structure, TABLE_ENTRIES_MAX, finding, limit};
use crate::oracle::Finding;
use crate::system::ReadDisks;
use crate::verdict::Invariant;

/// The header extension that names the bitmap directory.
const BITMAPS: u64 = 0x2385_2875;
/// Most header extensions and bitmaps that are looked at.
const EXTENSIONS_MAX: usize = 64;
const BITMAPS_MAX: u64 = 1 << 16;

/// How the refcounts of an image differ from its references, or the marks of its entries from the
/// refcounts, if they do.
pub(in crate::system::qcow2) fn exact(disks: &mut dyn ReadDisks) -> Option<Finding> {
    let mut image = Structure::read(disks)?;
    let references = image.all_references();
    image.first_difference(&references).or_else(|| image.first_unmarked())
}

impl Structure<'_> {
    fn all_references(&mut self) -> BTreeMap<u64, u64> {
        let mut references = BTreeMap::new();
        let mut count = |host: u64| *references.entry(host).or_insert(0) += 1;
        self.table_owners().into_iter().for_each(|(host, _)| count(host));
        self.block_owners().into_iter().for_each(|(host, _)| count(host));
        for slice in self.slices() {
            // All slices of a table refer to it, and it counts once.
            let first_of_table =
                (slice * self.layout.slice_clusters()).is_multiple_of(self.layout.table_clusters());
            for (host, owner) in self.owners(slice) {
                if first_of_table || !matches!(owner, Owner::L2(_)) {
                    count(host);
                }
            }
        }
        if self.layout.bitmaps {
            self.bitmap_clusters().into_iter().for_each(count);
        }
        references
    }

    /// The slices of all L2 tables that there are in any tree.
    pub(super) fn slices(&mut self) -> Vec<u64> {
        let per_table = self.layout.table_clusters() / self.layout.slice_clusters();
        let mut slices = Vec::new();
        let trees = self.trees();
        let entries = trees.iter().map(|(_, l1)| l1.entries).max().unwrap_or(0);
        for index in 0..entries.min(TABLE_ENTRIES_MAX) {
            let mut tables = trees.iter().map(|(_, l1)| *l1);
            if tables.any(|l1| self.layout.l1_entry(&mut self.bytes, l1, index).0 != 0) {
                slices.extend(index * per_table..(index + 1) * per_table);
            }
        }
        slices
    }

    fn first_difference(&mut self, references: &BTreeMap<u64, u64>) -> Option<Finding> {
        let mut clusters: Vec<u64> = references.keys().copied().collect();
        let per_block = self.layout.block_entries();
        for (_, owner) in self.block_owners() {
            if let Owner::RefcountBlock(index) = owner {
                clusters.extend(index * per_block..(index + 1) * per_block);
            }
        }
        clusters.sort_unstable();
        clusters.dedup();
        clusters.into_iter().find_map(|host| {
            let references = references.get(&host).copied().unwrap_or(0);
            let refcount = self.layout.refcount(&mut self.bytes, host);
            if refcount == references {
                return None;
            }
            let message = format!(
                "after a clean close host cluster {host} has refcount {refcount} and {references} \
                 references"
            );
            finding(Invariant::QExact, message)
        })
    }

    /// The first entry of the active tree without the mark that it should have.
    fn first_unmarked(&mut self) -> Option<Finding> {
        let slices = self.slices();
        slices.into_iter().find_map(|slice| {
            let index = slice * self.layout.slice_clusters() / self.layout.table_clusters();
            let (table, copied) = self.layout.l1_entry(&mut self.bytes, self.layout.l1, index);
            let mut entries = Vec::new();
            if table != 0 {
                entries.push((table >> self.layout.cluster_bits, Owner::L2(index), copied));
            }
            let of_slice = self.layout.slice(&mut self.bytes, self.layout.l1, slice).into_iter();
            let of_slice = of_slice.filter(|(_, entry)| !entry.compressed);
            if !self.layout.data_file {
                entries.extend(of_slice.map(|(guest, entry)| {
                    (entry.hosts.0, Owner::Data(guest, false), entry.copied)
                }));
            }
            entries.into_iter().find_map(|(host, owner, copied)| {
                let refcount = self.layout.refcount(&mut self.bytes, host);
                if copied == (refcount == 1) {
                    return None;
                }
                let marked = if copied { "is marked" } else { "is not marked" };
                let message = format!(
                    "after a clean close the entry of {owner} {marked} as copied, and host cluster \
                     {host} has refcount {refcount}"
                );
                finding(Invariant::QCopied, message)
            })
        })
    }

    /// The host clusters of the bitmap directory, of the bitmap tables and of the bitmaps.
    fn bitmap_clusters(&mut self) -> Vec<u64> {
        let layout = self.layout;
        let Some((count, directory)) = bitmap_directory(&mut self.bytes, layout.header_len) else {
            return Vec::new();
        };
        let mut clusters: Vec<u64> = layout.clusters(directory).collect();
        let mut at = directory.offset;
        for _ in 0..count.min(BITMAPS_MAX) {
            let table =
                Table { offset: self.bytes.number(at, 8), entries: self.bytes.number(at + 8, 4) };
            let (name_len, extra_len) =
                (self.bytes.number(at + 18, 2), self.bytes.number(at + 20, 4));
            at = (at + 24 + extra_len + name_len).next_multiple_of(8);
            clusters.extend(layout.clusters(table.range()).take(limit(TABLE_ENTRIES_MAX)));
            for index in 0..table.entries.min(TABLE_ENTRIES_MAX) {
                let offset = self.bytes.number(table.offset + 8 * index, 8) & !0x1ff;
                if offset != 0 {
                    clusters.push(offset >> layout.cluster_bits);
                }
            }
        }
        clusters
    }
}

/// How many bitmaps there are, and where their directory is.
fn bitmap_directory(bytes: &mut Bytes<'_>, header_len: u64) -> Option<(u64, ByteRange)> {
    let mut at = header_len;
    for _ in 0..EXTENSIONS_MAX {
        let (kind, len) = (bytes.number(at, 4), bytes.number(at + 4, 4));
        match kind {
            0 => return None,
            BITMAPS => {
                let (len, offset) = (bytes.number(at + 16, 8), bytes.number(at + 24, 8));
                let directory = ByteRange::between(offset, offset.saturating_add(len));
                return Some((bytes.number(at + 8, 4), directory));
            }
            _ => at += 8 + len.next_multiple_of(8),
        }
    }
    None
}
