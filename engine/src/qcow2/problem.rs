//! What can be wrong with an image, as values.

use std::fmt;

/// Problems that a report lists; of further ones it only has the number.
pub const PROBLEMS_MAX: usize = 100;

/// A broken rule: where, which, and what was found instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Where.
    pub structure: Structure,
    /// What should hold.
    pub rule: Rule,
    /// The entry, offset or refcount that was found instead.
    pub found: u64,
}

/// A tree of tables: what the guest sees, or a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree {
    /// What the guest sees.
    Active,
    /// The snapshot at this place of the snapshot table.
    Snapshot(u32),
}

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Structure {
    /// The refcount table.
    RefcountTable,
    /// An entry of the refcount table.
    RefcountTableEntry(u64),
    /// A refcount block, by its entry in the refcount table.
    RefcountBlock(u64),
    /// An L1 table.
    L1(Tree),
    /// An entry of an L1 table.
    L1Entry(Tree, u64),
    /// The L2 table at an offset.
    L2 {
        /// Its first byte.
        offset: u64,
    },
    /// An entry of the L2 table at an offset.
    L2Entry {
        /// The table's first byte.
        table: u64,
        /// The entry.
        index: u64,
    },
    /// The snapshot table.
    SnapshotTable,
    /// The bitmap directory.
    BitmapDirectory,
    /// The table of a bitmap, by its place in the directory.
    BitmapTable(u64),
    /// An entry of the table of a bitmap.
    BitmapTableEntry(u64, u64),
    /// A host cluster, by its index.
    HostCluster(u64),
}

/// A rule that an image has to keep beyond those that its header is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Offsets of clusters are multiples of the cluster length.
    Aligned,
    /// What is pointed to is in the file, behind the header.
    InFile,
    /// What is pointed to is not in use as metadata.
    NotOnMetadata,
    /// Reserved bits are 0.
    ReservedBits,
    /// COPIED is set only where there is a cluster with a refcount of one.
    CopiedOnlyForOneReference,
    /// COPIED is set where the refcount is one.
    CopiedForOneReference,
    /// A subcluster is in one state, and in a host cluster only if there is one.
    SubclusterState,
    /// With an external data file nothing is compressed.
    NothingCompressed,
    /// No part of the guest's disk shares a cluster with another.
    NotAliased,
    /// Nothing else is in the same clusters.
    NotShared,
    /// The structure can be read: what it is an error of is in the report.
    Readable,
    /// The refcount is at least the number of references.
    RefcountHighEnough,
    /// The refcount is at most the number of references.
    RefcountLowEnough,
}

/// What a broken rule means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Wasted space.
    Leak,
    /// A copy is made that need not be.
    NeedlessCopy,
    /// A cluster in use may be taken for something else. In an image with the dirty bit no damage.
    RefcountTooLow,
    /// Two parts of the guest's disk are one.
    Alias,
    /// Any other damage.
    Corruption,
}

impl Rule {
    /// What it means that the rule is broken.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::RefcountLowEnough => Severity::Leak,
            Self::CopiedForOneReference => Severity::NeedlessCopy,
            Self::RefcountHighEnough => Severity::RefcountTooLow,
            Self::NotAliased => Severity::Alias,
            _ => Severity::Corruption,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { structure, rule, found } = self;
        match rule {
            Rule::RefcountHighEnough | Rule::RefcountLowEnough => {
                write!(f, "{structure}: {rule}: found {found}")
            }
            _ => write!(f, "{structure}: {rule}: found {found:#x}"),
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => write!(f, "active L1 table"),
            Self::Snapshot(index) => write!(f, "L1 table of snapshot {index}"),
        }
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RefcountTable => write!(f, "refcount table"),
            Self::RefcountTableEntry(index) => write!(f, "refcount table entry {index}"),
            Self::RefcountBlock(index) => write!(f, "refcount block {index}"),
            Self::L1(tree) => write!(f, "{tree}"),
            Self::L1Entry(tree, index) => write!(f, "{tree} entry {index}"),
            Self::L2 { offset } => write!(f, "L2 table at {offset:#x}"),
            Self::L2Entry { table, index } => write!(f, "L2 table at {table:#x} entry {index}"),
            Self::SnapshotTable => write!(f, "snapshot table"),
            Self::BitmapDirectory => write!(f, "bitmap directory"),
            Self::BitmapTable(bitmap) => write!(f, "table of bitmap {bitmap}"),
            Self::BitmapTableEntry(bitmap, index) => {
                write!(f, "table of bitmap {bitmap} entry {index}")
            }
            Self::HostCluster(index) => write!(f, "host cluster {index}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aligned => "the offset is a multiple of the cluster length",
            Self::InFile => "what it points to is in the file, behind the header",
            Self::NotOnMetadata => "what it points to is not metadata",
            Self::ReservedBits => "reserved bits are 0",
            Self::CopiedOnlyForOneReference => "COPIED is set only if the refcount is one",
            Self::CopiedForOneReference => "COPIED is set if the refcount is one",
            Self::SubclusterState => "a subcluster is in one state that its host cluster allows",
            Self::NothingCompressed => "nothing is compressed with an external data file",
            Self::NotAliased => "it is the only place of the guest's disk in its cluster",
            Self::NotShared => "nothing else is in its clusters",
            Self::Readable => "it can be read",
            Self::RefcountHighEnough => "the refcount is at least the number of references",
            Self::RefcountLowEnough => "the refcount is at most the number of references",
        })
    }
}

/// A bounded list of problems, and how many there are of each severity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Problems {
    pub(super) list: Vec<Problem>,
    pub(super) more: u64,
    pub(super) leaks: u64,
    pub(super) needless_copies: u64,
    pub(super) refcounts_too_low: u64,
    pub(super) aliases: u64,
    pub(super) corruptions: u64,
}

impl Problems {
    pub(super) fn add(&mut self, structure: Structure, rule: Rule, found: u64) {
        *match rule.severity() {
            Severity::Leak => &mut self.leaks,
            Severity::NeedlessCopy => &mut self.needless_copies,
            Severity::RefcountTooLow => &mut self.refcounts_too_low,
            Severity::Alias => &mut self.aliases,
            Severity::Corruption => &mut self.corruptions,
        } += 1;
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(Problem { structure, rule, found });
        } else {
            self.more += 1;
        }
    }
}
