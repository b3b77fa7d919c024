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

use std::sync::Arc;

use super::batch::Extent;
use super::events;
use super::image::Image;
use super::l2::L1Entry;
use super::owners::Owner;
use super::planted::Bug;
use super::snapshot_table::{Snapshot, SnapshotTable, to_bytes};
use super::snapshot_tree::Tree;
use super::space::Taken;
use crate::error::Error;
use crate::requests::read;
use crate::sync::{LockKey, LockMode, RangeGuard};
use crate::units::ByteRange;

/// All guest bytes that there can be.
pub(super) const WHOLE_DISK: ByteRange = ByteRange { offset: 0, len: u64::MAX };

impl Image {
    pub(super) async fn create_snapshot(
        self: Arc<Self>,
        key: LockKey,
        name: String,
    ) -> Result<String, Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let _lock = self.sharing_disk(key).await?;
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
        let _lock = self.sharing_disk(key).await?;
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
        let _lock = self.sharing_disk(key).await?;
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

    /// Locks everything, for a change of the disk as a whole.
    pub(super) async fn whole_disk(&self, key: LockKey) -> Result<RangeGuard, Error> {
        self.check_writable()?;
        let lock = self.lock(key, WHOLE_DISK, LockMode::Exclusive).await;
        self.prepare_first_write().await?;
        Ok(lock)
    }

    /// The same, for a change that shares host clusters.
    async fn sharing_disk(&self, key: LockKey) -> Result<RangeGuard, Error> {
        if self.has_data_file() {
            let what = "snapshots with an external data file";
            return Err(Error::Unsupported(what.into()));
        }
        self.whole_disk(key).await
    }

    /// The snapshot with this id, or else this name, and its place in the table.
    pub(super) fn find_snapshot(&self, which: &str) -> Result<(usize, Snapshot), Error> {
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
    pub(super) async fn snapshot_l1(&self, snapshot: &Snapshot) -> Result<Vec<L1Entry>, Error> {
        let range = ByteRange::new(snapshot.l1_offset, u64::from(snapshot.l1_entries) * 8);
        let bytes = read(&*self.barrier.disks.file, "read L1 table of a snapshot", range).await?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| L1Entry(u64::from_be_bytes(*word))).collect())
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
        let now = self.options.runtime.date();
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
}
