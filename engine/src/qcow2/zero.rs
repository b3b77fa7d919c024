//! Zeros and discards.
//!
//! Whole clusters change their entries only, in memory, like a write whose data is there already;
//! parts of clusters are written. What an entry gives up is free when that is durable.

use std::sync::Arc;

use super::batch::Extent;
use super::image::{GUEST_END, Image};
use super::l2::{Cluster, L2Entry};
use super::plan::GivenUp;
use super::planted::Bug;
use super::read::memory_len;
use crate::error::Error;
use crate::sync::{LockKey, LockMode};
use crate::units::{ByteRange, SECTOR};

/// Bytes of zeros that are written at once where an entry cannot say them.
const PIECE: u64 = 1 << 20;

/// What becomes of the host clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmap {
    /// They stay reserved for the guest cluster, where the format has a word for that.
    Keep,
    /// They are given up.
    GiveUp,
    /// They are given up, and what the entry said with them: nobody sees it.
    Forget,
}

impl Image {
    pub(super) async fn write_zeroes(
        self: Arc<Self>,
        key: LockKey,
        range: ByteRange,
        unmap: bool,
    ) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        self.check_writable()?;
        self.guest_range(range.offset, range.len, GUEST_END)?;
        let _lock = self.lock(key, self.clusters_around(range), LockMode::Exclusive).await;
        let guest = self.guest_range(range.offset, range.len, self.virtual_size())?;
        self.prepare_first_write().await?;
        self.note_changed(guest);
        let unmap = if unmap { Unmap::GiveUp } else { Unmap::Keep };
        self.zero_locked(guest, unmap).await?;
        self.commit_if_full().await
    }

    pub(super) async fn discard(
        self: Arc<Self>,
        key: LockKey,
        range: ByteRange,
    ) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        self.check_writable()?;
        self.guest_range(range.offset, range.len, GUEST_END)?;
        let waits = !self.planted().has(Bug::WriteVsDiscardRelink);
        let clusters = if waits { self.clusters_around(range) } else { ByteRange::new(0, 0) };
        let _lock = self.lock(key, clusters, LockMode::Exclusive).await;
        let guest = self.guest_range(range.offset, range.len, self.virtual_size())?;
        let cannot_say_zero = !self.format.has_zero_flag && self.barrier.disks.backing.is_some();
        let whole = self.whole_clusters(guest);
        if whole.is_empty() || cannot_say_zero {
            return Ok(());
        }
        self.prepare_first_write().await?;
        self.note_changed(guest);
        self.zero_locked(whole, Unmap::GiveUp).await?;
        self.commit_if_full().await
    }

    /// The whole clusters of a range; the last cluster of the disk is whole if it reaches its end.
    fn whole_clusters(&self, guest: ByteRange) -> ByteRange {
        let len = self.cluster_len();
        let end = if guest.end() == self.virtual_size() {
            guest.end().next_multiple_of(len)
        } else {
            guest.end() / len * len
        };
        ByteRange::between(guest.offset.next_multiple_of(len), end)
    }

    /// Makes a range read as zeros; the caller has its clusters locked.
    pub(super) async fn zero_locked(&self, guest: ByteRange, unmap: Unmap) -> Result<(), Error> {
        let whole = self.whole_clusters(guest);
        if whole.is_empty() {
            return self.zero_bytes(guest).await;
        }
        self.zero_bytes(ByteRange::between(guest.offset, whole.offset)).await?;
        self.zero_clusters(whole, unmap).await?;
        self.zero_bytes(ByteRange::between(whole.end(), guest.end())).await
    }

    /// Writes zeros, where there is something else than zeros or may be.
    pub(super) async fn zero_bytes(&self, guest: ByteRange) -> Result<(), Error> {
        let mut at = guest.offset;
        while at < guest.end() {
            let piece = ByteRange::between(at, guest.end().min((at / PIECE + 1) * PIECE));
            let has_backing = self.barrier.disks.backing.is_some();
            let extents = self.extents(piece).await?;
            let is_zero = extents.iter().all(|extent| match extent.location {
                super::map::Location::Zero => true,
                super::map::Location::Backing => !has_backing,
                _ => false,
            });
            if !is_zero {
                self.write_locked(piece, &vec![0; memory_len(piece.len)]).await?;
            }
            at = piece.end();
        }
        Ok(())
    }

    /// Whether the backing file has bytes where the guest cluster is.
    fn backing_shows(&self, guest_cluster: u64) -> bool {
        let start = guest_cluster * self.cluster_len();
        self.barrier.disks.backing.as_ref().is_some_and(|backing| start < backing.len())
    }

    /// Makes whole clusters read as zeros.
    pub(super) async fn zero_clusters(&self, whole: ByteRange, unmap: Unmap) -> Result<(), Error> {
        let clusters = whole.units(self.cluster_len());
        let mut next = clusters.start;
        while next < clusters.end {
            let index = next / self.table_entries();
            let is_empty = unmap == Unmap::Forget || !self.backing_shows(next);
            if is_empty && self.l2_table(index)?.is_none() {
                next = ((index + 1) * self.table_entries()).min(clusters.end);
                continue;
            }
            let entries = self.entries(next, clusters.end - next).await?;
            for entry in entries {
                self.zero_cluster(next, entry, unmap).await?;
                next += 1;
            }
            self.commit_if_full().await?;
        }
        Ok(())
    }

    async fn zero_cluster(
        &self,
        guest_cluster: u64,
        entry: L2Entry,
        unmap: Unmap,
    ) -> Result<(), Error> {
        let has_backing = unmap != Unmap::Forget && self.backing_shows(guest_cluster);
        let cluster = self.cluster(entry, guest_cluster)?;
        if matches!(cluster, Cluster::Unallocated) && !has_backing {
            return Ok(());
        }
        let start = guest_cluster * self.cluster_len();
        let must_write = unmap != Unmap::Forget && self.data_file_is_raw()
            || !self.format.has_zero_flag && (has_backing || unmap == Unmap::Keep);
        if must_write {
            // The end of the disk may lie within the last cluster.
            let end = (start + self.cluster_len())
                .min(self.virtual_size().max(start + SECTOR).next_multiple_of(SECTOR));
            return self.zero_bytes(ByteRange::between(start, end)).await;
        }
        let (host, gives_up) = match cluster {
            Cluster::Unallocated => (None, None),
            Cluster::Compressed(data) => (None, Some(GivenUp::Compressed(data))),
            Cluster::Data { host } => (Some(host), Some(GivenUp::Host(host))),
            Cluster::Zero { host } | Cluster::Subclusters { host } => {
                (host, host.map(GivenUp::Host))
            }
        };
        let keeps = host.is_some()
            && unmap != Unmap::Forget
            && self.format.has_zero_flag
            && (self.has_data_file() || unmap == Unmap::Keep && entry.is_copied());
        let (host, gives_up) = if keeps { (host, None) } else { (None, gives_up) };
        let new = match host {
            None if !has_backing => L2Entry::UNALLOCATED,
            _ => self.format.zero_entry(host, host.is_some()),
        };
        if new == entry {
            return Ok(());
        }
        self.check_given_up(gives_up)?;
        self.own_l2_table(guest_cluster / self.table_entries()).await?;
        if self.planted().has(Bug::ZeroFreeBeforeL2Set) {
            self.give_up(gives_up);
            self.commit(Extent::All).await?;
            return self.set_entry(guest_cluster, new).await;
        }
        self.replace_entry(guest_cluster, new, gives_up).await
    }
}
