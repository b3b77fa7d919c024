//! The walk over everything that refers to host clusters.
//!
//! Every table is read once, however many entries point to it, so the walk takes time and memory in
//! proportion to the file, never to what the image claims:
//! * tables with a place of their own (L1 tables, snapshot table, bitmap directory and tables) must
//!   not overlap; one that does is reported and not followed,
//! * an L2 table is followed once, with its number of references as a factor,
//! * a refcount block counts under the first entry that lists it.
//!
//! Entries that cannot be used are reported and count for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::bitmap_directory::{self, BitmapCluster};
use super::claims::Claims;
use super::geometry::{Geometry, TABLE_ENTRY_LEN};
use super::header::Header;
use super::judge::{DataFile, Judge};
use super::l2::{Cluster, L1Entry};
use super::number::u64_at;
use super::planted::{Bug, PlantedBugs};
use super::problem::{Problems, Rule, Structure, Tree};
use super::region::{Stream, read_region};
use super::snapshot_table::SnapshotTable;
use crate::disk::Disk;
use crate::error::Error;
use crate::units::ByteRange;

/// How often an L2 table is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Uses {
    pub(super) active: u64,
    pub(super) all: u64,
}

/// Guest clusters of the active tree, by what their entries say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterCounts {
    /// In a host cluster, at least in part.
    pub allocated: u64,
    /// Zeros, with or without a host cluster.
    pub zero: u64,
    /// Compressed.
    pub compressed: u64,
    /// All guest clusters.
    pub total: u64,
}

/// What refers to what.
#[derive(Debug)]
pub(super) struct References {
    /// References of each host cluster that has any.
    pub(super) counts: BTreeMap<u64, u64>,
    /// Refcount blocks that can be used, by their entry in the refcount table.
    pub(super) refcount_blocks: BTreeMap<u64, u64>,
    /// Whether every entry of the refcount table is sound, and nothing else is in the clusters of
    /// the refcount structure.
    pub(super) refcounts_intact: bool,
    /// All L1 tables that were followed.
    pub(super) l1_tables: Vec<(Tree, ByteRange)>,
    /// All L2 tables.
    pub(super) l2_tables: BTreeMap<u64, Uses>,
    /// Metadata that has a place of its own.
    pub(super) fixed: Claims,
    /// The same, and L2 tables.
    pub(super) claims: Claims,
    /// Why something could not be followed, so that counts are too low.
    pub(super) incomplete: Option<Error>,
    pub(super) clusters: ClusterCounts,
}

/// Walks over the image.
///
/// # Errors
/// Disk errors only: what is wrong with the image goes to `problems`.
pub(super) async fn walk(
    file: &dyn Disk,
    header: &Header,
    geometry: &Geometry,
    data_file: Option<DataFile>,
    problems: &mut Problems,
    planted: PlantedBugs,
) -> Result<References, Error> {
    let references = References {
        counts: BTreeMap::new(),
        refcount_blocks: BTreeMap::new(),
        refcounts_intact: true,
        l1_tables: Vec::new(),
        l2_tables: BTreeMap::new(),
        fixed: Claims::default(),
        claims: Claims::default(),
        incomplete: None,
        clusters: ClusterCounts {
            total: geometry.virtual_size.div_ceil(geometry.cluster_len),
            ..ClusterCounts::default()
        },
    };
    let mut walk =
        Walk { file, header, geometry, data_file, problems, references, data: BTreeSet::new() };
    walk.claim(Structure::HostCluster(0), ByteRange::new(0, geometry.cluster_len));
    walk.refcount_structure().await?;
    walk.claim_l1(Tree::Active, geometry.l1);
    walk.snapshots().await?;
    walk.bitmaps().await?;
    walk.references.claims = walk.references.fixed.clone();
    walk.l1_tables().await?;
    walk.l2_tables(planted).await?;
    walk.shared_refcount_structure();
    Ok(walk.references)
}

struct Walk<'a> {
    file: &'a dyn Disk,
    header: &'a Header,
    geometry: &'a Geometry,
    data_file: Option<DataFile>,
    problems: &'a mut Problems,
    references: References,
    /// Host clusters of the active tree that are not compressed data.
    data: BTreeSet<u64>,
}

impl Walk<'_> {
    async fn refcount_structure(&mut self) -> Result<(), Error> {
        let table = self.geometry.refcount_table;
        self.count(&self.clusters(table), 1);
        let mut seen = BTreeSet::new();
        let mut entries = Entries::new(self.file, table, "read refcount table");
        while let Some((index, entry)) = entries.next().await? {
            let structure = Structure::RefcountTableEntry(index);
            let cluster_len = self.geometry.cluster_len;
            let broken = if entry == 0 {
                continue;
            } else if !entry.is_multiple_of(cluster_len) {
                Some(Rule::Aligned)
            } else if !self.geometry.holds(entry, cluster_len) {
                Some(Rule::InFile)
            } else {
                (!seen.insert(entry)).then_some(Rule::NotShared)
            };
            if let Some(rule) = broken {
                self.problems.add(structure, rule, entry);
                self.references.refcounts_intact = false;
                continue;
            }
            self.references.refcount_blocks.insert(index, entry);
            self.count(&self.clusters(ByteRange::new(entry, cluster_len)), 1);
        }
        Ok(())
    }

    async fn snapshots(&mut self) -> Result<(), Error> {
        let table = SnapshotTable::read(self.file, self.header, self.geometry).await;
        let Some(table) = self.readable(Structure::SnapshotTable, table)? else { return Ok(()) };
        let offset = self.geometry.snapshots_offset.unwrap_or(0);
        self.claim(Structure::SnapshotTable, ByteRange::new(offset, table.len));
        for (index, snapshot) in (0..).zip(&table.snapshots) {
            let l1 = self.geometry.snapshot_l1(snapshot.l1_offset, snapshot.l1_entries)?;
            self.claim_l1(Tree::Snapshot(index), l1);
        }
        Ok(())
    }

    async fn bitmaps(&mut self) -> Result<(), Error> {
        let Some(extension) = self.header.consistent_bitmaps() else { return Ok(()) };
        let structure = Structure::BitmapDirectory;
        let bitmaps = bitmap_directory::read(self.file, extension, self.geometry).await;
        let Some(bitmaps) = self.readable(structure, bitmaps)? else { return Ok(()) };
        let directory = bitmap_directory::directory(extension, self.geometry)?;
        self.claim(structure, directory);
        let mut tables = Vec::new();
        for (index, bitmap) in (0..).zip(&bitmaps) {
            if self.claim(Structure::BitmapTable(index), bitmap.table()) {
                tables.push((index, bitmap.table()));
            }
        }
        // Data comes after all tables, so that it cannot take a table's place.
        for (index, table) in tables {
            self.bitmap_data(index, table).await?;
        }
        Ok(())
    }

    async fn bitmap_data(&mut self, bitmap: u64, table: ByteRange) -> Result<(), Error> {
        let cluster_len = self.geometry.cluster_len;
        let mut entries = Entries::new(self.file, table, "read bitmap table");
        while let Some((index, entry)) = entries.next().await? {
            let structure = Structure::BitmapTableEntry(bitmap, index);
            let host = match BitmapCluster::parse(entry) {
                Some(BitmapCluster::Stored { host }) => host,
                Some(_) => continue,
                None => {
                    self.problems.add(structure, Rule::ReservedBits, entry);
                    continue;
                }
            };
            if !host.is_multiple_of(cluster_len) {
                self.problems.add(structure, Rule::Aligned, entry);
            } else if !self.geometry.holds(host, cluster_len) {
                self.problems.add(structure, Rule::InFile, entry);
            } else {
                self.claim(structure, ByteRange::new(host, cluster_len));
            }
        }
        Ok(())
    }

    async fn l1_tables(&mut self) -> Result<(), Error> {
        for (tree, range) in self.references.l1_tables.clone() {
            let mut entries = Entries::new(self.file, range, "read L1 table");
            while let Some((index, entry)) = entries.next().await? {
                let judged = self.judge(&self.references.fixed).l1(L1Entry(entry));
                if let Some(rule) = judged.broken {
                    self.problems.add(Structure::L1Entry(tree, index), rule, entry);
                }
                if let Some(table) = judged.repaired.table() {
                    self.l2_table(tree, table);
                }
            }
        }
        Ok(())
    }

    fn l2_table(&mut self, tree: Tree, offset: u64) {
        let clusters = self.clusters(ByteRange::new(offset, self.geometry.cluster_len));
        let uses = self.references.l2_tables.entry(offset).or_default();
        uses.all += 1;
        if tree == Tree::Active {
            uses.active += 1;
            if uses.active == 2 {
                self.problems.add(Structure::L2 { offset }, Rule::NotAliased, offset);
            }
        }
        if uses.all == 1 {
            assert!(self.references.claims.claim(&clusters), "L1 entries on metadata are not used");
        }
        self.count(&clusters, 1);
    }

    async fn l2_tables(&mut self, planted: PlantedBugs) -> Result<(), Error> {
        let format = self.geometry.entry_format;
        let entry_len = usize::try_from(format.entry_len()).expect("8 or 16");
        for (table, uses) in self.references.l2_tables.clone() {
            let range = ByteRange::new(table, self.geometry.cluster_len);
            let bytes = match read_region(self.file, range, "read L2 table").await {
                Err(_) if planted.has(Bug::RepairMarksCleanWithErrors) => continue,
                read => read?,
            };
            for (index, entry) in (0..).zip(bytes.chunks_exact(entry_len)) {
                if entry.iter().all(|&byte| byte == 0) {
                    continue;
                }
                let structure = Structure::L2Entry { table, index };
                let entry = format.parse(entry);
                let judged = self.judge(&self.references.claims).l2(entry);
                if let Some(rule) = judged.broken {
                    self.problems.add(structure, rule, entry.descriptor);
                }
                self.count(&judged.clusters, uses.all);
                if uses.active > 0 {
                    let cluster = format.cluster(judged.repaired);
                    self.active_cluster(structure, cluster, &judged.clusters);
                }
            }
        }
        Ok(())
    }

    /// A guest cluster of the active tree.
    fn active_cluster(&mut self, structure: Structure, cluster: Cluster, clusters: &Range<u64>) {
        let counts = &mut self.references.clusters;
        match cluster {
            Cluster::Unallocated => {}
            Cluster::Zero { .. } => counts.zero += 1,
            Cluster::Data { .. } | Cluster::Subclusters { .. } => counts.allocated += 1,
            Cluster::Compressed(_) => {
                counts.compressed += 1;
                return;
            }
        }
        let again = clusters.clone().any(|cluster| !self.data.insert(cluster));
        if again {
            self.problems.add(structure, Rule::NotAliased, clusters.start);
        }
    }

    /// Whatever else is in a cluster of the refcount structure has been counted by now.
    fn shared_refcount_structure(&mut self) {
        let table = self.clusters(self.geometry.refcount_table);
        let is_shared = |cluster| self.references.counts.get(&cluster) != Some(&1);
        let mut shared = Vec::new();
        if table.clone().any(is_shared) {
            shared.push((Structure::RefcountTable, self.geometry.refcount_table.offset));
        }
        for (&index, &offset) in &self.references.refcount_blocks {
            if is_shared(self.geometry.cluster_index(offset)) {
                shared.push((Structure::RefcountBlock(index), offset));
            }
        }
        for (structure, offset) in shared {
            self.problems.add(structure, Rule::NotShared, offset);
            self.references.refcounts_intact = false;
        }
    }

    fn claim_l1(&mut self, tree: Tree, range: ByteRange) {
        if self.claim(Structure::L1(tree), range) {
            self.references.l1_tables.push((tree, range));
        }
    }

    /// Counts a reference to a structure, which may not overlap others.
    fn claim(&mut self, structure: Structure, range: ByteRange) -> bool {
        let clusters = self.clusters(range);
        let claimed = self.references.fixed.claim(&clusters);
        if claimed {
            self.count(&clusters, 1);
        } else {
            self.problems.add(structure, Rule::NotShared, range.offset);
            let rule = "structures do not overlap";
            self.not_followed(Error::corrupt(structure.to_string(), rule, range));
        }
        claimed
    }

    /// What could be read. That something could not is a problem, but a disk error is an error.
    fn readable<T>(
        &mut self,
        structure: Structure,
        result: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match result {
            Ok(it) => Ok(Some(it)),
            Err(error @ Error::Corrupt { .. }) => {
                self.problems.add(structure, Rule::Readable, 0);
                self.not_followed(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn not_followed(&mut self, error: Error) {
        self.references.incomplete.get_or_insert(error);
    }

    fn count(&mut self, clusters: &Range<u64>, times: u64) {
        for cluster in clusters.clone() {
            let count = self.references.counts.entry(cluster).or_default();
            *count = count.saturating_add(times);
        }
    }

    fn clusters(&self, range: ByteRange) -> Range<u64> {
        range.units(self.geometry.cluster_len)
    }

    fn judge<'a>(&'a self, claims: &'a Claims) -> Judge<'a> {
        Judge { geometry: self.geometry, data_file: self.data_file, claims }
    }
}

/// Reads the entries of a table one after the other.
struct Entries<'a> {
    stream: Stream<'a>,
    left: u64,
    index: u64,
}

impl<'a> Entries<'a> {
    fn new(file: &'a dyn Disk, table: ByteRange, doing: &'static str) -> Self {
        let left = table.len / TABLE_ENTRY_LEN;
        Self { stream: Stream::new(file, table, doing), left, index: 0 }
    }

    async fn next(&mut self) -> Result<Option<(u64, u64)>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let bytes = self.stream.take(8).await?.expect("an entry that is left");
        self.left -= 1;
        self.index += 1;
        Ok(Some((self.index - 1, u64_at(&bytes, 0))))
    }
}
