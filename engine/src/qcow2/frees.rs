//! References that are gone in memory, and whose clusters are not free yet.

use std::collections::{BTreeMap, BTreeSet};

/// Host clusters that lose references, by cluster index, and how many.
///
/// Ordering: a refcount is lowered only when the removal of the reference is durable. A crash in
/// between leaks the cluster. Until then it cannot be taken by anybody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Frees {
    by_cluster: BTreeMap<u64, u64>,
    /// Those of them that an entry said were guest data.
    guest: BTreeSet<u64>,
}

/// References to one cluster that are gone.
pub(super) struct Free {
    pub(super) cluster: u64,
    pub(super) count: u64,
    /// Whether an entry said that it was guest data.
    pub(super) is_guest: bool,
}

impl Frees {
    /// One reference to the cluster is gone.
    pub(super) fn push(&mut self, cluster: u64) {
        self.push_many(cluster, 1);
    }

    /// One reference of an entry to guest data is gone.
    pub(super) fn push_guest(&mut self, cluster: u64) {
        self.guest.insert(cluster);
        self.push(cluster);
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
        self.guest.extend(other.guest);
    }

    /// The same references, again.
    pub(super) fn push_back(&mut self, free: &Free) {
        self.push_many(free.cluster, free.count);
        if free.is_guest {
            self.guest.insert(free.cluster);
        }
    }

    /// Takes the first cluster.
    pub(super) fn pop(&mut self) -> Option<Free> {
        let (cluster, count) = self.by_cluster.pop_first()?;
        Some(Free { cluster, count, is_guest: self.guest.remove(&cluster) })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_cluster.is_empty()
    }
}
