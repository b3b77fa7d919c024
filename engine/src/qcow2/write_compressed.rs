//! Writing compressed clusters.
//!
//! Compressed data starts at a sector, so that data of different guest clusters in one host cluster
//! never share a sector: a write of one cannot tear the other. Every guest cluster in it is one
//! reference to the host cluster.

use std::sync::Arc;

use super::allocate::no_room;
use super::compress::compress;
use super::events;
use super::image::{GUEST_END, Image};
use super::l2::{Cluster, Compressed};
use super::plan::GivenUp;
use super::read::memory_len;
use crate::error::Error;
use crate::sync::{LockKey, LockMode};
use crate::units::{ByteRange, SECTOR};

impl Image {
    pub(super) async fn write_compressed(
        self: Arc<Self>,
        key: LockKey,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        self.check_writable()?;
        if self.has_data_file() {
            let what = "compressed clusters with an external data file";
            return Err(Error::Unsupported(what.into()));
        }
        let range = self.guest_range(offset, data.len() as u64, GUEST_END)?;
        let _lock = self.lock(key, self.clusters_around(range), LockMode::Exclusive).await;
        let guest = self.guest_range(offset, range.len, self.virtual_size())?;
        let ends_inside =
            !guest.end().is_multiple_of(self.cluster_len()) && guest.end() != self.virtual_size();
        if !guest.offset.is_multiple_of(self.cluster_len()) || ends_inside {
            let rule = "consists of whole clusters";
            let found = guest.to_string();
            return Err(Error::InvalidArgument { what: "compressed range", rule, found });
        }
        self.prepare_first_write().await?;
        self.note_changed(guest);
        let cluster = memory_len(self.cluster_len());
        for (guest_cluster, bytes) in guest.units(self.cluster_len()).zip(data.chunks(cluster)) {
            self.write_compressed_cluster(guest_cluster, bytes).await?;
        }
        self.commit_if_full().await
    }

    async fn write_compressed_cluster(
        &self,
        guest_cluster: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let mut whole = bytes.to_vec();
        whole.resize(memory_len(self.cluster_len()), 0);
        let start = guest_cluster * self.cluster_len();
        let guest = ByteRange::new(start, bytes.len() as u64);
        let Some(mut packed) = compress(self.compression(), &whole) else {
            return self.write_locked(guest, bytes).await;
        };
        packed.resize(packed.len().next_multiple_of(memory_len(SECTOR)), 0);
        if packed.len() as u64 >= self.cluster_len() {
            return self.write_locked(guest, bytes).await;
        }
        let entry = self.entries(guest_cluster, 1).await?[0];
        let gives_up = match self.cluster(entry, guest_cluster)? {
            Cluster::Unallocated => None,
            Cluster::Compressed(data) => Some(GivenUp::Compressed(data)),
            Cluster::Data { host } => Some(GivenUp::Host(host)),
            Cluster::Zero { host } | Cluster::Subclusters { host } => host.map(GivenUp::Host),
        };
        self.check_given_up(gives_up)?;
        self.own_l2_table(guest_cluster / self.table_entries()).await?;
        let place = self.take_compressed(packed.len() as u64).await?;
        let written = self.write_pieces_of_data(vec![(place.offset, packed)]).await;
        let new = self
            .format
            .compressed_entry(place)
            .ok_or_else(|| no_room("compressed data has no place so far back in the file"));
        let linked = match written.and(new) {
            Ok(new) => self.replace_entry(guest_cluster, new, gives_up).await,
            Err(error) => Err(error),
        };
        if let Err(error) = linked {
            let allocating = self.allocating().await;
            // What cannot be given back is leaked.
            drop(allocating.lower(place.offset / self.cluster_len(), 1).await);
            return Err(error);
        }
        self.event(events::COMPRESSED_WRITTEN);
        Ok(())
    }

    /// A place for compressed data: after the last one, or in a new cluster.
    async fn take_compressed(&self, len: u64) -> Result<Compressed, Error> {
        let allocating = self.allocating().await;
        let goes_on = self.space.read(|space| space.compressed);
        if let Some(offset) = goes_on
            && offset % self.cluster_len() + len <= self.cluster_len()
        {
            let cluster = offset / self.cluster_len();
            let count = self.refcount(cluster).await?;
            if count > 0 && count < self.width().max() {
                self.set_refcount(cluster, count + 1).await?;
                self.set_next_compressed(offset + len);
                return Ok(Compressed { offset, len });
            }
        }
        let taken = allocating.take(1).await?;
        self.event(events::CLUSTER_ALLOCATED);
        let offset = taken.first * self.cluster_len();
        self.set_next_compressed(offset + len);
        Ok(Compressed { offset, len })
    }

    /// The next compressed data may follow here, unless the cluster is full.
    fn set_next_compressed(&self, next: u64) {
        let has_room = !next.is_multiple_of(self.cluster_len());
        self.space.write(|space| space.compressed = has_room.then_some(next));
    }
}
