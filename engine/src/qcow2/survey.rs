//! An image as it was found: what refers to what, and every rule that is broken.

use super::geometry::Geometry;
use super::header::Header;
use super::judge::{DataFile, Judge};
use super::l2::Cluster;
use super::planted::PlantedBugs;
use super::problem::{Problems, Rule, Structure};
use super::references::{References, walk};
use super::region::read_region;
use super::visit::{Entry, Place, visit};
use super::writer::Writer;
use crate::disk::Disk;
use crate::error::Error;
use crate::units::ByteRange;

/// An image as it was found.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) header: Header,
    pub(super) geometry: Geometry,
    pub(super) data_file: Option<DataFile>,
    pub(super) references: References,
    pub(super) problems: Problems,
}

/// What a repair makes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    /// The entry, with COPIED as it was where a refcount decides.
    pub(super) entry: Entry,
    /// What COPIED should be, where a refcount decides.
    pub(super) copied: Option<bool>,
}

impl Survey {
    /// Looks at the whole image, and writes nothing.
    pub(super) async fn of(
        file: &dyn Disk,
        data_len: Option<u64>,
        planted: PlantedBugs,
    ) -> Result<Self, Error> {
        let header = Header::read(file).await?;
        let geometry = Geometry::validate(&header, file.len())?;
        let data_file = header.has_data_file().then_some(DataFile { len: data_len });
        let mut problems = Problems::default();
        let references = walk(file, &header, &geometry, data_file, &mut problems, planted).await?;
        let mut survey = Self { header, geometry, data_file, references, problems };
        if survey.references.incomplete.is_none() {
            survey.check_refcounts(file).await?;
            survey.check_copied(file).await?;
        }
        Ok(survey)
    }

    /// References of a cluster.
    pub(super) fn count(&self, cluster: u64) -> u64 {
        self.references.counts.get(&cluster).copied().unwrap_or(0)
    }

    /// What a repair makes of an entry.
    pub(super) fn settle(&self, place: Place, entry: Entry) -> Settled {
        let judge = |claims| Judge { geometry: &self.geometry, data_file: self.data_file, claims };
        match entry {
            Entry::L1(entry) => {
                let judged = judge(&self.references.fixed).l1(entry);
                let copied =
                    judged.repaired.table().map(|_| self.count(judged.clusters.start) == 1);
                Settled {
                    entry: Entry::L1(judged.repaired),
                    copied: copied.filter(|_| place.active),
                }
            }
            Entry::L2(entry) => {
                let judged = judge(&self.references.claims).l2(entry);
                let cluster = self.geometry.entry_format.cluster(judged.repaired);
                let host = match cluster {
                    Cluster::Unallocated | Cluster::Compressed(_) => None,
                    Cluster::Zero { host } | Cluster::Subclusters { host } => host,
                    Cluster::Data { host } => Some(host),
                };
                // Clusters of a data file have one reference each.
                let one = |_| self.data_file.is_some() || self.count(judged.clusters.start) == 1;
                let copied = host.map(one).filter(|_| place.active);
                Settled { entry: Entry::L2(judged.repaired), copied }
            }
        }
    }

    /// Holds every refcount against the number of references.
    async fn check_refcounts(&mut self, file: &dyn Disk) -> Result<(), Error> {
        let Self { geometry, references, problems, .. } = self;
        let entries = geometry.refcount_block_entries;
        for (&index, &offset) in &references.refcount_blocks {
            let range = ByteRange::new(offset, geometry.cluster_len);
            let bytes = read_region(file, range, "read refcount block").await?;
            let first = index * entries;
            // Most blocks are mostly zeros: words without a refcount and a reference are skipped.
            let word = 64 / geometry.refcount_width.bits();
            for (start, stored) in (0..).map(|at| first + at * word).zip(bytes.chunks_exact(8)) {
                let mut counts = references.counts.range(start..start + word).peekable();
                if counts.peek().is_none() && stored == [0; 8] {
                    continue;
                }
                for entry in 0..word {
                    let is_it = |&(&cluster, _): &(&u64, _)| cluster == start + entry;
                    let count = counts.next_if(is_it).map_or(0, |(_, &count)| count);
                    let stored = geometry.refcount_width.get(stored, entry);
                    compare(start + entry, stored, count, problems);
                }
            }
        }
        for (&cluster, &count) in &references.counts {
            if !references.refcount_blocks.contains_key(&(cluster / entries)) {
                compare(cluster, 0, count, problems);
            }
        }
        Ok(())
    }

    /// Holds COPIED against the number of references.
    async fn check_copied(&mut self, file: &dyn Disk) -> Result<(), Error> {
        let mut problems = std::mem::take(&mut self.problems);
        let look = |place: Place, entry: Entry| {
            let settled = self.settle(place, entry);
            let (is_set, found) = settled.entry.flag();
            match settled.copied {
                Some(false) if is_set => {
                    problems.add(place.structure, Rule::CopiedOnlyForOneReference, found);
                }
                Some(true) if !is_set => {
                    problems.add(place.structure, Rule::CopiedForOneReference, found);
                }
                _ => {}
            }
            entry
        };
        let format = self.geometry.entry_format;
        let changed = visit(&mut Writer::new(file), format, &self.references, look).await?;
        assert_eq!(changed, 0, "a check changes nothing");
        self.problems = problems;
        Ok(())
    }
}

impl Entry {
    /// Whether COPIED is set, and the whole entry.
    fn flag(self) -> (bool, u64) {
        match self {
            Self::L1(entry) => (entry.is_copied(), entry.0),
            Self::L2(entry) => (entry.is_copied(), entry.descriptor),
        }
    }

    /// The entry with COPIED as given.
    pub(super) fn with_copied(self, copied: bool) -> Self {
        match self {
            Self::L1(entry) => Self::L1(entry.with_copied(copied)),
            Self::L2(entry) => Self::L2(entry.with_copied(copied)),
        }
    }
}

fn compare(cluster: u64, stored: u64, count: u64, problems: &mut Problems) {
    let rule = match stored.cmp(&count) {
        std::cmp::Ordering::Equal => return,
        std::cmp::Ordering::Less => Rule::RefcountHighEnough,
        std::cmp::Ordering::Greater => Rule::RefcountLowEnough,
    };
    problems.add(Structure::HostCluster(cluster), rule, stored);
}
