//! Changing L2 entries, in tables that may be changed.
//!
//! Ordering: a change is in memory only, until the commit writes it ([`super::commit`]), after what
//! it points to. So it is made when the data that it makes visible has been written, and the next
//! flush covers that data.

use super::allocate::clusters_of;
use super::events;
use super::image::Image;
use super::l2::{L1Entry, L2Entry};
use super::owners::Owner;
use super::planted::Bug;
use super::space::Taken;
use crate::error::Error;
use crate::requests::read;
use crate::sync::LockMode;
use crate::units::ByteRange;

impl Image {
    /// Makes sure that the L2 table with this index exists and that no snapshot shares it.
    pub(super) async fn own_l2_table(&self, index: u64) -> Result<(), Error> {
        if self.l2_is_own(index)? {
            return Ok(());
        }
        let range = ByteRange::new(index, 1);
        let key = self.table_locks.new_key();
        let _lock = self.table_locks.lock(key, range, LockMode::Exclusive).await;
        if self.l2_is_own(index)? {
            return Ok(());
        }
        let old = self.l2_table(index)?;
        if let Some(old) = old
            && !self.has_data_file()
            && self.refcount_now(old / self.cluster_len()).await? == 1
        {
            // Nobody shares it, whatever the entry says.
            self.l1.set(index, L1Entry::new(old, true), false);
            return Ok(());
        }
        let bytes = match old {
            Some(old) => self.read_table(old).await?,
            None => vec![0; usize::try_from(self.cluster_len()).expect("at most 2 MiB")],
        };
        let releases_first = self.planted().has(Bug::RelocateReleaseBeforeAcquire);
        if let (Some(old), true) = (old, releases_first) {
            self.free_range(ByteRange::new(old, self.cluster_len()));
        }
        if let (Some(old), true) = (old, self.planted().has(Bug::L2CowFreeBeforeSwitch)) {
            self.allocating().await.lower(old / self.cluster_len(), 1).await?;
        }
        let taken = self.allocating().await.take_exactly(1, Owner::L2Table).await?;
        let table = taken.first * self.cluster_len();
        if !(taken.fresh && old.is_none()) {
            // Nothing points to the new table: the commit will make it durable before the L1 entry.
            let written = self.barrier.start_write(table, bytes).await;
            if let Err(error) = written {
                self.give_back_metadata(taken).await;
                return Err(Error::disk("write new L2 table", error));
            }
        }
        // Nothing of what the cluster held before may be in memory, or come there late.
        self.tables.forget(table, self.cluster_len());
        self.l1.set(index, L1Entry::new(table, true), true);
        match old {
            None => self.event(events::L2_ALLOCATED),
            Some(old) => {
                if !releases_first && !self.planted().has(Bug::L2CowFreeBeforeSwitch) {
                    self.free_range(ByteRange::new(old, self.cluster_len()));
                }
                self.event(events::L2_COPIED);
            }
        }
        Ok(())
    }

    fn l2_is_own(&self, index: u64) -> Result<bool, Error> {
        let entry = self.l1.get(index);
        Ok(self.check_l1_entry(entry, index)?.is_some() && entry.is_copied())
    }

    /// All of an L2 table that is shared, with COPIED in none of its entries: what it points to is
    /// shared, too.
    async fn read_table(&self, table: u64) -> Result<Vec<u8>, Error> {
        // No shared table has changed slices, so that the medium has all of it.
        let range = ByteRange::new(table, self.cluster_len());
        let mut bytes = read(&*self.barrier.disks.file, "read L2 table", range).await?;
        if !self.has_data_file() {
            let len = usize::try_from(self.format.entry_len()).expect("at most 16");
            for entry in bytes.chunks_exact_mut(len) {
                let shared = self.format.parse(entry).with_copied(false);
                entry.copy_from_slice(&self.format.bytes(shared));
            }
        }
        Ok(bytes)
    }

    /// The refcount of a cluster, between the changes of others.
    async fn refcount_now(&self, cluster: u64) -> Result<u64, Error> {
        let _allocating = self.allocating().await;
        self.refcount(cluster).await
    }

    /// Changes the entry of a guest cluster, whose table is this image's own.
    pub(super) async fn set_entry(&self, guest_cluster: u64, entry: L2Entry) -> Result<(), Error> {
        let table = self.l2_table(guest_cluster / self.table_entries())?;
        self.set_entry_in(table.expect("the table exists"), guest_cluster, entry).await
    }

    /// Changes the entry of a guest cluster in a table that nobody else changes or copies.
    pub(super) async fn set_entry_in(
        &self,
        table: u64,
        guest_cluster: u64,
        entry: L2Entry,
    ) -> Result<(), Error> {
        let bytes = self.format.bytes(entry);
        let place = self.entry_place(table, guest_cluster);
        loop {
            let changed = self.tables.try_change(place, |old| old.copy_from_slice(&bytes));
            if changed.is_some() {
                return Ok(());
            }
            self.tables.load_for(place).await?;
        }
    }

    /// Notes that one reference to each cluster that these bytes of the file lie in is gone.
    pub(super) fn free_range(&self, range: ByteRange) {
        let clusters = clusters_of(range, self.cluster_len());
        self.frees.add(0..1, |frees| clusters.for_each(|cluster| frees.push(cluster)));
    }

    /// The same of guest data.
    pub(super) fn free_guest_range(&self, range: ByteRange) {
        let clusters = clusters_of(range, self.cluster_len());
        self.frees.add(0..1, |frees| clusters.for_each(|cluster| frees.push_guest(cluster)));
    }

    /// Gives back clusters that were taken for metadata and never linked.
    pub(super) async fn give_back_metadata(&self, taken: Taken) {
        let clusters = taken.first..taken.first + taken.count;
        self.owners.write_part(clusters.clone(), |owners| {
            clusters.for_each(|cluster| owners.remove(cluster));
        });
        self.give_back(taken).await;
    }
}
