//! Creating, applying and deleting snapshots.
//!
//! All three lock the whole disk. What must be durable before what:
//!
//! * **create**: COPIED is cleared in every active entry, flush; refcounts rise, the copy of the L1
//!   table and the new snapshot table are written, flush; the header. A crash before leaks.
//! * **apply**: refcounts of the snapshot's tree rise, the new active L1 table is written, flush; the
//!   header; then the old tree loses its references. A crash before leaks, after it too.
//! * **delete**: the new snapshot table, flush; the header, flush; refcounts fall, flush; COPIED is set
//!   where the refcount is one again. A crash in between leaks, or leaves COPIED clear.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::allocate::clusters_of;
use super::batch::Extent;
use super::disks::read;
use super::events;
use super::image::Image;
use super::l2::{Cluster, L1Entry, L2Entry};
use super::owners::Owner;
use super::planted::Bug;
use super::snapshot_table::{Snapshot, SnapshotTable, to_bytes};
use super::space::Taken;
use crate::error::Error;
use crate::sync::{LockKey, LockMode, RangeGuard};
use crate::units::ByteRange;

/// Host clusters, by index, and how many references there are to each.
type Tree = BTreeMap<u64, u64>;

/// All guest bytes that there can be.
pub(super) const WHOLE_DISK: ByteRange = ByteRange { offset: 0, len: u64::MAX };

impl Image {
    pub(super) async fn create_snapshot(
        self: Arc<Self>,
        key: LockKey,
        name: String,
    ) -> Result<String, Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let _lock = self.whole_disk(key).await?;
        self.commit(Extent::All).await?;
        let tree = self.tree(&self.l1.copy().entries).await?;
        self.check_raises(&tree).await?;
        let made = self.add_snapshot(name, &tree).await;
        if made.is_err() {
            // Where nothing is shared after all, entries may say so again.
            self.restore_copied().await?;
        }
        made
    }

    async fn add_snapshot(&self, name: String, tree: &Tree) -> Result<String, Error> {
        self.clear_copied(&self.l1.copy().entries).await?;
        self.clear_copied_in_l1();
        self.commit(Extent::All).await?;
        self.raise_all(tree).await?;
        let (id, snapshot, l1) = match self.copy_of_l1(name).await {
            Ok(made) => made,
            Err(error) => {
                self.lower_all(tree).await;
                return Err(error);
            }
        };
        let mut snapshots = self.snapshots.read(|table| table.snapshots.clone());
        snapshots.push(snapshot);
        if let Err(error) = self.replace_snapshots(snapshots).await {
            self.lower_all(tree).await;
            if let Some(taken) = l1 {
                self.give_back_metadata(taken).await;
            }
            return Err(error);
        }
        self.commit(Extent::All).await?;
        self.event(events::SNAPSHOT_CREATED);
        Ok(id)
    }

    pub(super) async fn apply_snapshot(
        self: Arc<Self>,
        key: LockKey,
        which: String,
    ) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let _lock = self.whole_disk(key).await?;
        self.commit(Extent::All).await?;
        let snapshot = self.find_snapshot(&which)?.1;
        self.note_changed(ByteRange::new(0, self.virtual_size()));
        let size = snapshot.virtual_size.unwrap_or_else(|| self.virtual_size());
        let needed = self.check_size(size)?;
        if snapshot.virtual_size.is_some() && u64::from(snapshot.l1_entries) < needed {
            // Otherwise a few bytes could ask for a table of 32 MiB.
            let rule = "its L1 table covers its virtual size";
            return Err(Error::corrupt(format!("snapshot {which:?}"), rule, size));
        }
        let mut entries = self.snapshot_l1(&snapshot).await?;
        entries.iter_mut().for_each(|entry| *entry = entry.with_copied(false));
        let new_tree = self.tree(&entries).await?;
        let old = self.l1.copy();
        let old_tree = self.tree(&old.entries).await?;
        self.check_raises(&new_tree).await?;
        if size != self.virtual_size() {
            self.check_no_bitmaps()?;
        }
        let mut count = (entries.len() as u64).max(needed);
        if self.planted().has(Bug::SnapshotGotoL1Size) {
            count = entries.len() as u64;
        }
        entries.resize(usize::try_from(count).expect("an L1 table in memory"), L1Entry::default());
        if self.planted().has(Bug::SnapshotGotoOrder) {
            self.lower_all(&old_tree).await;
            self.commit(Extent::All).await?;
        }
        // Only the active tree has COPIED, and there only where nobody shares; other programs leave it
        // in tables that only a snapshot has.
        self.clear_copied(&entries).await?;
        self.commit(Extent::All).await?;
        self.raise_all(&new_tree).await?;
        if let Err(error) = self.move_l1(entries).await {
            self.lower_all(&new_tree).await;
            return Err(error);
        }
        if self.planted().has(Bug::SnapshotGotoL1Size) {
            let entries = u32::try_from(old.entries.len()).expect("at most 32 MiB");
            self.header.write(|header| header.fields.l1.0 = entries.max(header.fields.l1.0));
        }
        self.note_tables();
        self.header.write(|header| header.fields.virtual_size = size);
        if !self.planted().has(Bug::SnapshotGotoOrder) {
            self.free_all(&old_tree);
        }
        self.virtual_size.set(size);
        self.commit(Extent::All).await?;
        self.event(events::SNAPSHOT_APPLIED);
        Ok(())
    }

    pub(super) async fn delete_snapshot(
        self: Arc<Self>,
        key: LockKey,
        which: String,
    ) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let _lock = self.whole_disk(key).await?;
        self.commit(Extent::All).await?;
        let (index, snapshot) = self.find_snapshot(&which)?;
        let tree = self.tree(&self.snapshot_l1(&snapshot).await?).await?;
        self.check_counts(&tree).await?;
        if self.planted().has(Bug::SnapshotDeleteOrder) {
            self.lower_all(&tree).await;
            self.commit(Extent::All).await?;
        }
        let mut snapshots = self.snapshots.read(|table| table.snapshots.clone());
        snapshots.remove(index);
        self.replace_snapshots(snapshots).await?;
        let l1_len = u64::from(snapshot.l1_entries) * 8;
        self.free_range(ByteRange::new(snapshot.l1_offset, l1_len));
        if !self.planted().has(Bug::SnapshotDeleteOrder) {
            self.free_all(&tree);
        }
        self.commit(Extent::All).await?;
        self.restore_copied().await?;
        self.commit(Extent::All).await?;
        self.event(events::SNAPSHOT_DELETED);
        Ok(())
    }

    pub(super) async fn read_snapshot(
        self: &Arc<Self>,
        which: &str,
        range: ByteRange,
    ) -> Result<Vec<u8>, Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let _lock = self.lock(self.locks.new_key(), range, LockMode::Shared).await;
        let snapshot = self.find_snapshot(which)?.1;
        let size = snapshot.virtual_size.unwrap_or_else(|| self.virtual_size());
        let range = self.guest_range(range.offset, range.len, size)?;
        let l1 = self.snapshot_l1(&snapshot).await?;
        let mut extents = Vec::new();
        let clusters = range.units(self.cluster_len());
        let mut next = clusters.start;
        while next < clusters.end {
            let index = next / self.table_entries();
            let entry = l1.get(usize::try_from(index).expect("in memory")).copied();
            let table = self.check_l1_entry(entry.unwrap_or_default(), index)?;
            let entries = self.entries_in(table, next, clusters.end - next).await?;
            self.add_extents(&mut extents, range, next, &entries)?;
            next += entries.len() as u64;
        }
        self.transfer(range, &extents).await
    }

    /// Locks everything, for a change of the disk as a whole.
    pub(super) async fn whole_disk(&self, key: LockKey) -> Result<RangeGuard, Error> {
        self.check_writable()?;
        let lock = self.lock(key, WHOLE_DISK, LockMode::Exclusive).await;
        if self.has_data_file() {
            let what = "snapshots and resizing with an external data file";
            return Err(Error::Unsupported(what.into()));
        }
        self.prepare_first_write().await?;
        Ok(lock)
    }

    /// The snapshot with this id, or else this name, and its place in the table.
    fn find_snapshot(&self, which: &str) -> Result<(usize, Snapshot), Error> {
        let snapshots = self.snapshots.read(|table| table.snapshots.clone());
        let by_id = snapshots.iter().position(|snapshot| snapshot.id == which);
        let index = by_id.or_else(|| snapshots.iter().position(|snapshot| snapshot.name == which));
        let Some(index) = index else {
            let rule = "is the id or the name of a snapshot";
            return Err(Error::InvalidArgument { what: "snapshot", rule, found: which.to_owned() });
        };
        Ok((index, snapshots[index].clone()))
    }

    /// The L1 table of a snapshot.
    async fn snapshot_l1(&self, snapshot: &Snapshot) -> Result<Vec<L1Entry>, Error> {
        let range = ByteRange::new(snapshot.l1_offset, u64::from(snapshot.l1_entries) * 8);
        let bytes = read(&*self.barrier.disks.file, "read L1 table of a snapshot", range).await?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| L1Entry(u64::from_be_bytes(*word))).collect())
    }

    /// Every host cluster that an L1 table refers to, directly and through its L2 tables, and how
    /// often.
    ///
    /// # Errors
    /// [`Error::Corrupt`] also for a table that is referred to twice, or that is something else.
    async fn tree(&self, l1: &[L1Entry]) -> Result<Tree, Error> {
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
    fn check_table(&self, cluster: u64, index: u64) -> Result<(), Error> {
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
    async fn check_counts(&self, tree: &Tree) -> Result<(), Error> {
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
    async fn check_raises(&self, tree: &Tree) -> Result<(), Error> {
        for (&cluster, &more) in tree {
            let value = self.refcount(cluster).await?;
            self.check_raise(cluster, value.saturating_add(more - 1).min(self.width().max()))?;
        }
        Ok(())
    }

    /// Counts all of these references once more, or none of them.
    async fn raise_all(&self, tree: &Tree) -> Result<(), Error> {
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
    async fn lower_all(&self, tree: &Tree) {
        let allocating = self.allocating().await;
        for (&cluster, &count) in tree {
            if allocating.lower(cluster, count).await.is_err() {
                return;
            }
        }
    }

    /// These references are gone.
    fn free_all(&self, tree: &Tree) {
        self.frees.add(0..1, |frees| {
            tree.iter().for_each(|(&cluster, &count)| frees.push_many(cluster, count));
        });
    }

    /// A snapshot with this name whose L1 table is a copy of the active one.
    async fn copy_of_l1(&self, name: String) -> Result<(String, Snapshot, Option<Taken>), Error> {
        let l1 = self.l1.copy();
        let ids = self.snapshots.read(|table| {
            let numbers =
                table.snapshots.iter().map(|snapshot| snapshot.id.parse::<u64>().unwrap_or(0));
            numbers.max().unwrap_or(0)
        });
        let id = ids.saturating_add(1).to_string();
        let taken = self.take_metadata(l1.len(), Owner::SnapshotL1Table).await?;
        let offset = taken.map_or(0, |taken| taken.first * self.cluster_len());
        if let Some(taken) = taken {
            let bytes: Vec<u8> =
                l1.entries.iter().flat_map(|entry| entry.0.to_be_bytes()).collect();
            self.write_metadata(taken, bytes).await?;
        }
        let now = self.options.runtime.now();
        let snapshot = Snapshot {
            id: id.clone(),
            name,
            l1_offset: offset,
            l1_entries: u32::try_from(l1.entries.len()).expect("at most 32 MiB"),
            date_seconds: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            date_nanoseconds: now.subsec_nanos(),
            vm_clock: 0,
            vm_state_len: 0,
            virtual_size: Some(self.virtual_size()),
            icount: None,
            unknown_extra: Vec::new(),
        };
        Ok((id, snapshot, taken))
    }

    /// Writes a new snapshot table, and has the next commit put it in the place of the old one.
    async fn replace_snapshots(&self, snapshots: Vec<Snapshot>) -> Result<(), Error> {
        let bytes = to_bytes(&snapshots)?;
        let len = bytes.len() as u64;
        let taken = self.take_metadata(len, Owner::SnapshotTable).await?;
        if let Some(taken) = taken {
            self.write_metadata(taken, bytes).await?;
        }
        let offset = taken.map_or(0, |taken| taken.first * self.cluster_len());
        let count = u32::try_from(snapshots.len()).expect("bounded by the table's length");
        let old_offset = self
            .header
            .write(|header| std::mem::replace(&mut header.fields.snapshots, (count, offset)).1);
        let new = SnapshotTable { snapshots, len };
        let old = self.snapshots.write(|table| std::mem::replace(table, new));
        self.free_range(ByteRange::new(old_offset, old.len));
        Ok(())
    }

    /// Takes clusters for so many bytes of metadata; none for nothing.
    pub(super) async fn take_metadata(
        &self,
        len: u64,
        owner: Owner,
    ) -> Result<Option<Taken>, Error> {
        let count = len.div_ceil(self.cluster_len());
        if count == 0 {
            return Ok(None);
        }
        self.allocating().await.take_exactly(count, owner).await.map(Some)
    }

    /// Writes metadata that nothing points to yet, with zeros to the end of its last cluster. Gives
    /// the clusters back if that fails.
    pub(super) async fn write_metadata(&self, taken: Taken, bytes: Vec<u8>) -> Result<(), Error> {
        let mut bytes = bytes;
        let len = taken.count * self.cluster_len();
        bytes.resize(usize::try_from(len).expect("a table in memory"), 0);
        let written = self.barrier.start_write(taken.first * self.cluster_len(), bytes).await;
        if let Err(error) = written {
            self.give_back_metadata(taken).await;
            return Err(Error::disk("write new table", error));
        }
        Ok(())
    }

    /// Puts the active L1 table, with these entries, at a new place.
    pub(super) async fn move_l1(&self, entries: Vec<L1Entry>) -> Result<(), Error> {
        let old = self.l1.copy();
        let count = u32::try_from(entries.len()).expect("at most 32 MiB");
        let taken = self.take_metadata(u64::from(count) * 8, Owner::L1Table).await?;
        let offset = taken.map_or(0, |taken| taken.first * self.cluster_len());
        self.l1.move_to(offset, entries);
        self.header.write(|header| header.fields.l1 = (count, offset));
        self.free_range(ByteRange::new(old.offset, old.len()));
        Ok(())
    }

    /// Notes the active L2 tables as metadata.
    fn note_tables(&self) {
        let len = self.cluster_len();
        let entries = self.l1.copy().entries;
        let tables: Vec<u64> =
            entries.iter().filter_map(|entry| entry.table()).map(|table| table / len).collect();
        self.owners.write(|owners| {
            tables.iter().for_each(|&cluster| owners.ensure(cluster, Owner::L2Table));
        });
    }

    /// Clears COPIED in all entries of the L2 tables of an L1 table, in memory.
    async fn clear_copied(&self, l1: &[L1Entry]) -> Result<(), Error> {
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
    fn clear_copied_in_l1(&self) {
        let entries = self.l1.copy().entries;
        for (index, entry) in (0..).zip(entries).filter(|(_, entry)| entry.is_copied()) {
            self.l1.set(index, entry.with_copied(false), false);
        }
    }

    /// Sets COPIED in all active entries whose clusters have one reference, in memory.
    async fn restore_copied(&self) -> Result<(), Error> {
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
    async fn entries_of(&self, table: u64, index: u64) -> Result<Vec<(u64, L2Entry)>, Error> {
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
