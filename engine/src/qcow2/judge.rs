//! What is wrong with one entry of an L1 or L2 table, what it refers to, and what a repair makes of
//! it. No I/O.

use std::ops::Range;

use super::claims::Claims;
use super::geometry::Geometry;
use super::l2::{Cluster, L1Entry, L2Entry};
use super::problem::Rule;

/// The file that entries are held against.
pub(super) struct Judge<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) data_file: Option<DataFile>,
    pub(super) claims: &'a Claims,
}

/// The external data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataFile {
    /// Its length, if known.
    pub(super) len: Option<u64>,
}

/// An entry that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged<E> {
    /// The first rule that it breaks.
    pub(super) broken: Option<Rule>,
    /// What a repair makes of it; COPIED is left as it is where a refcount decides.
    pub(super) repaired: E,
    /// The clusters of the image file that the repaired entry refers to.
    pub(super) clusters: Range<u64>,
}

impl<E> Judged<E> {
    fn good(entry: E, clusters: Range<u64>) -> Self {
        Self { broken: None, repaired: entry, clusters }
    }

    /// Puts `rule` first if the entry broke it, with the entry already repaired.
    fn after(self, rule: Rule, broken: bool) -> Self {
        Self { broken: broken.then_some(rule).or(self.broken), ..self }
    }
}

/// Bits of a standard descriptor that are reserved in each of its forms.
const RESERVED: u64 = 0x3f00_0000_0000_01fe;
/// Bit 0: zeros, where that is a state.
const ZERO: u64 = 1;

impl Judge<'_> {
    pub(super) fn l1(&self, entry: L1Entry) -> Judged<L1Entry> {
        let clean = L1Entry(entry.0 & !entry.reserved_bits());
        let judged = match clean.table() {
            None => Judged::good(clean.with_copied(false), 0..0)
                .after(Rule::CopiedOnlyForOneReference, clean.is_copied()),
            Some(table) => match self.misplaced(table) {
                None => Judged::good(clean, self.one(table)),
                broken => Judged { broken, repaired: L1Entry(0), clusters: 0..0 },
            },
        };
        judged.after(Rule::ReservedBits, clean != entry)
    }

    pub(super) fn l2(&self, entry: L2Entry) -> Judged<L2Entry> {
        match self.geometry.entry_format.cluster(entry) {
            Cluster::Compressed(data) => {
                let end = data.offset.saturating_add(data.len);
                let last = self.geometry.cluster_index(end.saturating_sub(1));
                let clusters = self.geometry.cluster_index(data.offset)..last + 1;
                let broken = if self.data_file.is_some() {
                    Some(Rule::NothingCompressed)
                } else if !self.geometry.holds(data.offset, data.len) {
                    Some(Rule::InFile)
                } else {
                    self.claims.overlap(&clusters).then_some(Rule::NotOnMetadata)
                };
                if broken.is_some() {
                    return unusable(broken);
                }
                let clean = L2Entry { bitmap: 0, ..entry.with_copied(false) };
                Judged::good(clean, clusters)
                    .after(Rule::CopiedOnlyForOneReference, entry.is_copied())
                    .after(Rule::ReservedBits, entry.bitmap != 0)
            }
            Cluster::Unallocated => self.standard(entry, None),
            Cluster::Zero { host } | Cluster::Subclusters { host } => self.standard(entry, host),
            Cluster::Data { host } => self.standard(entry, Some(host)),
        }
    }

    fn standard(&self, entry: L2Entry, host: Option<u64>) -> Judged<L2Entry> {
        let format = self.geometry.entry_format;
        let zero_is_reserved = format.extended || !format.has_zero_flag;
        let reserved = RESERVED | if zero_is_reserved { ZERO } else { 0 };
        let clean = L2Entry { descriptor: entry.descriptor & !reserved, ..entry };
        // With a data file, the flag tells host offset 0 from no host cluster.
        let has_host = host.is_some() || self.data_file.is_some() && entry.is_copied();
        let sound = subclusters(clean, has_host);
        let flagged = clean.is_copied() && !has_host;
        let last = if has_host { sound } else { sound.with_copied(false) };
        let (broken, clusters) = match (host, self.data_file) {
            (None, _) => (None, 0..0),
            (Some(host), None) => (self.misplaced(host), self.one(host)),
            (Some(host), Some(file)) => (self.misplaced_data(host, file), 0..0),
        };
        if broken.is_some() {
            return unusable(broken);
        }
        Judged::good(last, clusters)
            .after(Rule::CopiedOnlyForOneReference, flagged)
            .after(Rule::SubclusterState, sound != clean)
            .after(Rule::ReservedBits, clean != entry)
    }

    /// Why a whole cluster of the image file cannot be at `offset`.
    fn misplaced(&self, offset: u64) -> Option<Rule> {
        let geometry = self.geometry;
        if !offset.is_multiple_of(geometry.cluster_len) {
            return Some(Rule::Aligned);
        }
        if !geometry.holds(offset, geometry.cluster_len) {
            return Some(Rule::InFile);
        }
        self.claims.overlap(&self.one(offset)).then_some(Rule::NotOnMetadata)
    }

    fn misplaced_data(&self, offset: u64, file: DataFile) -> Option<Rule> {
        let cluster_len = self.geometry.cluster_len;
        if !offset.is_multiple_of(cluster_len) {
            return Some(Rule::Aligned);
        }
        let past = |len: u64| offset / cluster_len >= len.div_ceil(cluster_len);
        file.len.is_some_and(past).then_some(Rule::InFile)
    }

    fn one(&self, offset: u64) -> Range<u64> {
        let index = self.geometry.cluster_index(offset);
        index..index + 1
    }
}

fn unusable(broken: Option<Rule>) -> Judged<L2Entry> {
    Judged { broken, repaired: L2Entry::UNALLOCATED, clusters: 0..0 }
}

/// The entry with each subcluster in one state: what reads as zeros is not allocated, and without a
/// host cluster nothing is.
fn subclusters(entry: L2Entry, has_host: bool) -> L2Entry {
    let zeros = entry.bitmap >> 32;
    let allocated = entry.bitmap & u64::from(u32::MAX) & !zeros;
    L2Entry { bitmap: zeros << 32 | if has_host { allocated } else { 0 }, ..entry }
}
