//! References that are gone in memory, and whose clusters are not free yet.

use std::collections::BTreeMap;

/// Host clusters that lose references, by cluster index, and how many.
///
/// Ordering: a refcount is lowered only when the removal of the reference is durable. A crash in
/// between leaks the cluster. Until then it cannot be taken by anybody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Frees {
    by_cluster: BTreeMap<u64, u64>,
}

impl Frees {
    /// One reference to the cluster is gone.
    pub(super) fn push(&mut self, cluster: u64) {
        self.push_many(cluster, 1);
    }

    /// So many references to the cluster are gone.
    pub(super) fn push_many(&mut self, cluster: u64, count: u64) {
        *self.by_cluster.entry(cluster).or_default() += count;
    }

    /// These references are gone, too.
    pub(super) fn extend(&mut self, other: Self) {
        for (cluster, count) in other.by_cluster {
            self.push_many(cluster, count);
        }
    }

    /// Takes the first cluster, with the number of its lost references.
    pub(super) fn pop(&mut self) -> Option<(u64, u64)> {
        self.by_cluster.pop_first()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_cluster.is_empty()
    }
}
