//! What an L1 table refers to, and counting it once more or once less.

use std::collections::BTreeMap;

use super::allocate::clusters_of;
use super::image::Image;
use super::l2::{Cluster, L1Entry};
use super::owners::Owner;
use crate::error::Error;
use crate::units::ByteRange;

/// Host clusters, by index, and how many references there are to each.
pub(super) type Tree = BTreeMap<u64, u64>;

impl Image {
    /// Every host cluster that an L1 table refers to, directly and through its L2 tables, and how
    /// often.
    ///
    /// # Errors
    /// [`Error::Corrupt`] also for a table that is referred to twice, or that is something else.
    pub(super) async fn tree(&self, l1: &[L1Entry]) -> Result<Tree, Error> {
        let len = self.cluster_len();
        let mut tree = Tree::new();
        for (index, &entry) in (0..).zip(l1) {
            let Some(table) = self.check_l1_entry(entry, index)? else { continue };
            self.check_table(table / len, index)?;
            if tree.insert(table / len, 1).is_some() {
                let rule = "an L2 table has one L1 entry";
                return Err(Error::corrupt(format!("L1 entry {index}"), rule, table));
            }
            for (guest_cluster, entry) in self.entries_of(table, index).await? {
                let range = match self.cluster(entry, guest_cluster)? {
                    Cluster::Unallocated => continue,
                    Cluster::Data { host } => ByteRange::new(host, len),
                    Cluster::Zero { host } | Cluster::Subclusters { host } => {
                        ByteRange::new(host.unwrap_or(0), if host.is_some() { len } else { 0 })
                    }
                    Cluster::Compressed(data) => ByteRange::new(data.offset, data.len),
                };
                if let Some((cluster, owner)) = self.metadata_in(range) {
                    let rule = "guest data is not where metadata is";
                    return Err(Error::corrupt(format!("host cluster {cluster}"), rule, owner));
                }
                clusters_of(range, len).for_each(|at| *tree.entry(at).or_insert(0) += 1);
            }
        }
        Ok(tree)
    }

    /// Refuses an L2 table in a cluster that is known to be something else.
    pub(super) fn check_table(&self, cluster: u64, index: u64) -> Result<(), Error> {
        let part = cluster..cluster + 1;
        let owner = self.owners.read_part(part.clone(), |owners| owners.first_in(part.clone()));
        match owner {
            None | Some((_, Owner::L2Table)) => Ok(()),
            Some((_, other)) => {
                let rule = "an L2 table is nothing else";
                Err(Error::corrupt(format!("L1 entry {index}"), rule, other))
            }
        }
    }

    /// Whether all of these references are counted.
    pub(super) async fn check_counts(&self, tree: &Tree) -> Result<(), Error> {
        for (&cluster, &count) in tree {
            let value = self.refcount(cluster).await?;
            if value < count {
                let rule = "a refcount is at least the number of references";
                return Err(Error::corrupt(format!("refcount of cluster {cluster}"), rule, value));
            }
        }
        Ok(())
    }

    /// Whether all of these references can be counted once more.
    pub(super) async fn check_raises(&self, tree: &Tree) -> Result<(), Error> {
        for (&cluster, &more) in tree {
            let value = self.refcount(cluster).await?;
            self.check_raise(cluster, value.saturating_add(more - 1).min(self.width().max()))?;
        }
        Ok(())
    }

    /// Counts all of these references once more, or none of them.
    pub(super) async fn raise_all(&self, tree: &Tree) -> Result<(), Error> {
        let allocating = self.allocating().await;
        let mut done = Tree::new();
        for (&cluster, &count) in tree {
            for _ in 0..count {
                if let Err(error) = self.raise_refcount(cluster).await {
                    drop(allocating);
                    self.lower_all(&done).await;
                    return Err(error);
                }
                *done.entry(cluster).or_insert(0) += 1;
            }
        }
        Ok(())
    }

    /// Takes back references of which the medium knows nothing. What cannot be read is leaked.
    pub(super) async fn lower_all(&self, tree: &Tree) {
        let allocating = self.allocating().await;
        for (&cluster, &count) in tree {
            if allocating.lower(cluster, count).await.is_err() {
                return;
            }
        }
    }

    /// These references are gone.
    pub(super) fn free_all(&self, tree: &Tree) {
        self.frees.add(0..1, |frees| {
            tree.iter().for_each(|(&cluster, &count)| frees.push_many(cluster, count));
        });
    }
}
