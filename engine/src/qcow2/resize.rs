//! Changing the size of the virtual disk.
//!
//! * **grow**: a larger L1 table, flush, the header; what is added is made to read as zeros, flush; the
//!   size, flush. A crash before leaves the old size.
//! * **shrink**: the size, flush; then the clusters past it are given up. A crash in between leaves
//!   their mappings, which the next growth makes zero.
//!
//! A raw data file is grown before the size and shortened after it.

use std::sync::Arc;

use super::batch::Extent;
use super::bitmaps::Bitmaps;
use super::events;
use super::geometry::L1_LEN_MAX;
use super::image::Image;
use super::l2::L1Entry;
use super::planted::Bug;
use super::zero::Unmap;
use crate::error::Error;
use crate::sync::LockKey;
use crate::units::{ByteRange, SECTOR};

impl Image {
    pub(super) async fn resize(self: Arc<Self>, key: LockKey, len: u64) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let needed = self.check_size(len)?;
        let _lock = self.whole_disk(key).await?;
        if self.settings.version < 3 && self.snapshots.read(|table| !table.snapshots.is_empty()) {
            let what = "resizing a version 2 image that has snapshots, which do not say their size";
            return Err(Error::Unsupported(what.into()));
        }
        self.check_no_bitmaps()?;
        let old = self.virtual_size();
        if len < old {
            self.set_size(len).await?;
            let gone = ByteRange::between(len.next_multiple_of(self.cluster_len()), old);
            let gone = gone.aligned_out(self.cluster_len());
            self.zero_clusters(gone, Unmap::Forget).await?;
            self.resize_raw_data(len).await?;
        } else if len > old {
            self.grow_l1(needed).await?;
            self.resize_raw_data(len).await?;
            if !self.planted().has(Bug::GrowExposesBacking) {
                self.zero_added(ByteRange::between(old, len)).await?;
            }
            self.commit(Extent::All).await?;
            self.set_size(len).await?;
        }
        self.commit(Extent::All).await?;
        self.event(events::RESIZED);
        Ok(())
    }

    /// Fails if there are persistent bitmaps: their tables have the size of the disk.
    pub(super) fn check_no_bitmaps(&self) -> Result<(), Error> {
        if self.bitmaps.read(Bitmaps::is_empty) {
            return Ok(());
        }
        Err(Error::Unsupported("resizing a disk that has persistent bitmaps".into()))
    }

    /// Gives a data file that is usable as a raw image the length of the disk: what it gains is zero.
    async fn resize_raw_data(&self, len: u64) -> Result<(), Error> {
        if !self.data_file_is_raw() {
            return Ok(());
        }
        let resized = self.barrier.data().resize(len).await;
        self.barrier.wrote();
        resized.map_err(|error| Error::disk("resize data file", error))
    }

    /// The L1 entries that a disk of this size needs, if it can have it.
    pub(super) fn check_size(&self, len: u64) -> Result<u64, Error> {
        let refuse = |rule| {
            let found = len.to_string();
            Err(Error::InvalidArgument { what: "size", rule, found })
        };
        if !len.is_multiple_of(SECTOR) {
            return refuse("is a multiple of 512");
        }
        let needed = self.geometry.l1_entries_for(len);
        if needed > L1_LEN_MAX / 8 {
            return refuse("needs an L1 table of at most 32 MiB");
        }
        Ok(needed)
    }

    /// Makes what a growth adds read as zeros: the rest of the last cluster, what the backing file
    /// has there, and what a shrink has left behind.
    async fn zero_added(&self, added: ByteRange) -> Result<(), Error> {
        let len = self.cluster_len();
        let boundary = added.offset.next_multiple_of(len);
        self.zero_bytes(ByteRange::between(added.offset, boundary)).await?;
        let whole = ByteRange::between(boundary, added.end().next_multiple_of(len));
        self.zero_clusters(whole, Unmap::Forget).await?;
        self.zero_clusters(whole, Unmap::GiveUp).await
    }

    /// Makes the size durable.
    async fn set_size(&self, len: u64) -> Result<(), Error> {
        let old =
            self.header.write(|header| std::mem::replace(&mut header.fields.virtual_size, len));
        if let Err(error) = self.commit(Extent::All).await {
            // The medium may know either; the next commit says what this session goes on with.
            self.header.write(|header| header.fields.virtual_size = old);
            return Err(error);
        }
        self.virtual_size.set(len);
        Ok(())
    }

    /// Makes the L1 table long enough.
    async fn grow_l1(&self, needed: u64) -> Result<(), Error> {
        let mut entries = self.l1.copy().entries;
        if entries.len() as u64 >= needed {
            return Ok(());
        }
        entries.resize(usize::try_from(needed).expect("at most 32 MiB"), L1Entry::default());
        self.move_l1(entries).await?;
        self.commit(Extent::All).await?;
        self.event(events::L1_GROWN);
        Ok(())
    }
}
