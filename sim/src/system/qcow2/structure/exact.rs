//! Q-EXACT, and Q-REPAIR as far as it is the same: every reference of an image is counted, and compared
//! with every refcount.

use std::collections::BTreeMap;

use super::{Owner, Structure, TABLE_ENTRIES_MAX, finding, is_dirty};
use crate::oracle::Finding;
use crate::system::ReadDisks;
use crate::verdict::Invariant;

/// How the refcounts of an image differ from its references, or the marks of its entries from the
/// refcounts, if they do.
pub(in crate::system::qcow2) fn exact(disks: &mut dyn ReadDisks) -> Option<Finding> {
    let mut image = Structure::read(disks)?;
    let references = image.all_references();
    image.first_difference(&references).or_else(|| image.first_unmarked())
}

/// What a repair has left to be done, if anything.
pub(in crate::system::qcow2) fn repaired(disks: &mut dyn ReadDisks) -> Option<Finding> {
    let left = if is_dirty(disks) {
        "the image is still marked dirty".to_owned()
    } else {
        exact(disks)?.message
    };
    finding(Invariant::QRepair, format!("after a repair {left}"))
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
        self.bitmap_owners().into_iter().for_each(|(host, _)| count(host));
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
                "host cluster {host} has refcount {refcount} and {references} \
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
                    "the entry of {owner} {marked} as copied, and host cluster \
                     {host} has refcount {refcount}"
                );
                finding(Invariant::QCopied, message)
            })
        })
    }
}
