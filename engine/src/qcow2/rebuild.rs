//! A whole new refcount structure, for an image whose old one cannot be used.
//!
//! The new table and blocks are put into clusters that nothing refers to and that the old structure
//! does not use either, so until the header points to them nothing that matters is overwritten.
//! They are sized by the clusters in use, never by what the image claims. Of all free clusters the
//! lowest are taken: a repair that was interrupted and starts again takes the same.

use std::collections::{BTreeMap, BTreeSet};

use super::geometry::{Geometry, HOST_END, REFCOUNT_TABLE_LEN_MAX, TABLE_ENTRY_LEN};
use super::planted::{Bug, PlantedBugs};
use super::survey::Survey;
use super::writer::Writer;
use crate::error::Error;

/// Where the new structure is, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rebuild {
    /// First cluster of the refcount table.
    table: u64,
    table_clusters: u64,
    /// The cluster of each refcount block, by its entry in the table.
    blocks: BTreeMap<u64, u64>,
    /// References of each cluster, with the new structure and without the old one.
    pub(super) counts: BTreeMap<u64, u64>,
}

impl Rebuild {
    /// Plans the new structure.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it needs a refcount table of more than 8 MiB.
    pub(super) fn plan(survey: &Survey, planted: PlantedBugs) -> Result<Self, Error> {
        let geometry = &survey.geometry;
        let mut counts = survey.references.counts.clone();
        // The walk counted the old structure; a block may be where the table is.
        for cluster in old_structure(survey) {
            let count = counts.get_mut(&cluster).expect("a cluster that was counted");
            *count -= 1;
        }
        counts.retain(|_, count| *count > 0);
        let old = old_structure(survey).collect();
        let entries = geometry.refcount_block_entries;
        let mut known = counts.clone();
        if planted.has(Bug::RepairOverwritesReferenced) {
            // What no refcount block counts is taken for free, whatever refers to it.
            let blocks = &survey.references.refcount_blocks;
            known.retain(|cluster, _| blocks.contains_key(&(cluster / entries)));
        }
        let free = Free { counts: &known, old: &old };
        let used: BTreeSet<u64> = counts.keys().map(|cluster| cluster / entries).collect();
        let (mut table_clusters, mut block_count) = (1, 1);
        // A block covers many more clusters than it takes, so this ends.
        loop {
            let table = free.run(table_clusters);
            let places = free.singles(table..table + table_clusters, block_count);
            let new = (table..table + table_clusters).chain(places.iter().copied());
            let mut needed = used.clone();
            needed.extend(new.map(|cluster| cluster / entries));
            let last = needed.last().copied().unwrap_or(0);
            let table_len = (last + 1) * TABLE_ENTRY_LEN;
            let clusters_needed = table_len.div_ceil(geometry.cluster_len);
            if clusters_needed <= table_clusters && needed.len() <= block_count {
                let blocks = needed.into_iter().zip(places).collect();
                return Self { table, table_clusters, blocks, counts }.finish(geometry);
            }
            table_clusters = table_clusters.max(clusters_needed);
            block_count = block_count.max(needed.len());
        }
    }

    /// Counts the new structure itself, and holds it against the format's bounds.
    fn finish(mut self, geometry: &Geometry) -> Result<Self, Error> {
        let table_len = self.table_clusters * geometry.cluster_len;
        let end = self.end() * geometry.cluster_len;
        if table_len > REFCOUNT_TABLE_LEN_MAX || end > HOST_END {
            return Err(Error::Unsupported(format!(
                "a refcount table of {table_len} bytes for the clusters in use"
            )));
        }
        for cluster in self.table..self.table + self.table_clusters {
            self.counts.insert(cluster, 1);
        }
        for &cluster in self.blocks.values() {
            self.counts.insert(cluster, 1);
        }
        Ok(self)
    }

    /// Writes the new structure. It is durable before the header may point to it.
    pub(super) async fn write(
        &self,
        writer: &mut Writer<'_>,
        geometry: &Geometry,
    ) -> Result<(), Error> {
        let cluster_len = geometry.cluster_len;
        for (&index, &cluster) in &self.blocks {
            let block = block_bytes(geometry, &self.counts, index);
            writer.write(cluster * cluster_len, block).await?;
        }
        let len = memory_len(self.table_clusters * cluster_len);
        let mut table = vec![0; len];
        for (&index, &cluster) in &self.blocks {
            let at = memory_len(index * TABLE_ENTRY_LEN);
            table[at..at + 8].copy_from_slice(&(cluster * cluster_len).to_be_bytes());
        }
        writer.write(self.table * cluster_len, table).await?;
        writer.flush().await
    }

    /// What the header says of the new table: its offset, and its clusters.
    pub(super) fn header_fields(&self, geometry: &Geometry) -> (u64, u32) {
        let clusters = u32::try_from(self.table_clusters).expect("a table of at most 8 MiB");
        (self.table * geometry.cluster_len, clusters)
    }

    /// One past the last cluster of the new structure.
    fn end(&self) -> u64 {
        let last = self.blocks.values().max().copied().unwrap_or(0);
        (self.table + self.table_clusters).max(last + 1)
    }
}

/// The refcount block that has these counts.
///
/// # Panics
/// If one of them needs more bits.
pub(super) fn block_bytes(geometry: &Geometry, counts: &BTreeMap<u64, u64>, index: u64) -> Vec<u8> {
    let mut bytes = vec![0; memory_len(geometry.cluster_len)];
    let entries = geometry.refcount_block_entries;
    let first = index * entries;
    for (&cluster, &count) in counts.range(first..first + entries) {
        geometry.refcount_width.set(&mut bytes, cluster - first, count);
    }
    bytes
}

/// All clusters that the old refcount structure takes, as far as it can be found, once for each
/// reference.
fn old_structure(survey: &Survey) -> impl Iterator<Item = u64> {
    let geometry = &survey.geometry;
    let blocks = survey.references.refcount_blocks.values();
    let blocks = blocks.map(|&offset| geometry.cluster_index(offset));
    geometry.refcount_table.units(geometry.cluster_len).chain(blocks)
}

/// Clusters that may be overwritten. There is no end of them: the file grows.
struct Free<'a> {
    counts: &'a BTreeMap<u64, u64>,
    old: &'a BTreeSet<u64>,
}

impl Free<'_> {
    fn is_free(&self, cluster: u64) -> bool {
        !self.counts.contains_key(&cluster) && !self.old.contains(&cluster)
    }

    /// The first of the lowest `len` free clusters in a row.
    fn run(&self, len: u64) -> u64 {
        let mut start = 1;
        while let Some(used) = (start..start + len).rev().find(|&cluster| !self.is_free(cluster)) {
            start = used + 1;
        }
        start
    }

    /// The lowest `count` free clusters that are not in `taken`.
    fn singles(&self, taken: std::ops::Range<u64>, count: usize) -> Vec<u64> {
        let free = |&cluster: &u64| !taken.contains(&cluster) && self.is_free(cluster);
        (1..).filter(free).take(count).collect()
    }
}

fn memory_len(len: u64) -> usize {
    usize::try_from(len).expect("a cluster, or a table of at most 8 MiB")
}
