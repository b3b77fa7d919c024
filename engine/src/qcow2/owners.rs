//! Which host clusters are known to hold metadata: guest data is never written there.

use std::collections::BTreeMap;
use std::fmt;

/// What a cluster of metadata holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The header.
    Header,
    /// The active L1 table.
    L1Table,
    /// An L2 table of the active L1 table.
    L2Table,
    /// The refcount table.
    RefcountTable,
    /// A refcount block.
    RefcountBlock,
    /// The snapshot table.
    SnapshotTable,
    /// The L1 table of a snapshot.
    SnapshotL1Table,
    /// The bitmap directory, or a table or the data of a bitmap.
    Bitmap,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "the header",
            Self::L1Table => "the L1 table",
            Self::L2Table => "an L2 table",
            Self::RefcountTable => "the refcount table",
            Self::RefcountBlock => "a refcount block",
            Self::SnapshotTable => "the snapshot table",
            Self::SnapshotL1Table => "the L1 table of a snapshot",
            Self::Bitmap => "a bitmap",
        })
    }
}

/// The owners of host clusters, by cluster index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Owners {
    by_cluster: BTreeMap<u64, Owner>,
}

impl Owners {
    /// Makes `owner` the owner of some clusters.
    ///
    /// # Errors
    /// The cluster that has another one already, and that one.
    pub(super) fn add(
        &mut self,
        clusters: impl IntoIterator<Item = u64>,
        owner: Owner,
    ) -> Result<(), (u64, Owner)> {
        for cluster in clusters {
            if let Some(other) = self.by_cluster.insert(cluster, owner) {
                return Err((cluster, other));
            }
        }
        Ok(())
    }

    /// Makes `owner` the owner of a cluster that has none.
    pub(super) fn ensure(&mut self, cluster: u64, owner: Owner) {
        self.by_cluster.entry(cluster).or_insert(owner);
    }

    /// Nobody owns the cluster any more.
    pub(super) fn remove(&mut self, cluster: u64) {
        self.by_cluster.remove(&cluster);
    }

    /// The first owned cluster of a range, and by whom.
    pub(super) fn first_in(&self, clusters: std::ops::Range<u64>) -> Option<(u64, Owner)> {
        self.by_cluster.range(clusters).next().map(|(&cluster, &owner)| (cluster, owner))
    }
}
