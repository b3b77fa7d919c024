//! COPIED in the entries of L1 and L2 tables.
//!
//! It is cleared, durably, before what an entry points to is shared, and set only where a refcount is
//! one. It counts in the active tree, and in an L2 entry only where the L1 entry has it, too.

use super::image::Image;
use super::l2::{Cluster, L1Entry, L2Entry};
use crate::error::Error;

impl Image {
    /// Clears COPIED in all entries of the L2 tables of an L1 table, in memory.
    pub(super) async fn clear_copied(&self, l1: &[L1Entry]) -> Result<(), Error> {
        for (index, &entry) in (0..).zip(l1) {
            let Some(table) = self.check_l1_entry(entry, index)? else { continue };
            for (guest_cluster, entry) in self.entries_of(table, index).await? {
                if entry.is_copied() {
                    let shared = entry.with_copied(false);
                    self.set_entry_in(table, guest_cluster, shared).await?;
                }
            }
            self.commit_if_full().await?;
        }
        Ok(())
    }

    /// Clears COPIED in all entries of the active L1 table, in memory.
    pub(super) fn clear_copied_in_l1(&self) {
        let entries = self.l1.copy().entries;
        for (index, entry) in (0..).zip(entries).filter(|(_, entry)| entry.is_copied()) {
            self.l1.set(index, entry.with_copied(false), false);
        }
    }

    /// Sets COPIED in all active entries whose clusters have one reference, in memory.
    pub(super) async fn restore_copied(&self) -> Result<(), Error> {
        let len = self.cluster_len();
        for (index, entry) in (0..).zip(self.l1.copy().entries) {
            let Some(table) = self.check_l1_entry(entry, index)? else { continue };
            if self.refcount(table / len).await? != 1 {
                continue;
            }
            if !entry.is_copied() {
                self.l1.set(index, entry.with_copied(true), false);
            }
            for (guest_cluster, entry) in self.entries_of(table, index).await? {
                let host = match self.cluster(entry, guest_cluster)? {
                    Cluster::Data { host } => Some(host),
                    Cluster::Zero { host } | Cluster::Subclusters { host } => host,
                    Cluster::Unallocated | Cluster::Compressed(_) => None,
                };
                let Some(host) = host.filter(|_| !entry.is_copied()) else { continue };
                if self.refcount(host / len).await? == 1 {
                    self.set_entry(guest_cluster, entry.with_copied(true)).await?;
                }
            }
            self.commit_if_full().await?;
        }
        Ok(())
    }

    /// The entries of an L2 table with their guest clusters.
    pub(super) async fn entries_of(
        &self,
        table: u64,
        index: u64,
    ) -> Result<Vec<(u64, L2Entry)>, Error> {
        let first = index * self.table_entries();
        let mut entries = Vec::new();
        while (entries.len() as u64) < self.table_entries() {
            let next = first + entries.len() as u64;
            let left = first + self.table_entries() - next;
            let some = self.entries_in(Some(table), next, left).await?;
            entries.extend((next..).zip(some));
        }
        Ok(entries)
    }
}
