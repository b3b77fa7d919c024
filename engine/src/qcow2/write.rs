//! Guest writes.
//!
//! **In place**: all host clusters that are touched are this image's own and hold what the guest
//! sees. One write per stretch, nothing else.
//!
//! **Stored**: in this order, each step after the end of the one before:
//!
//! 1. what new clusters need besides the guest's data is read;
//! 2. host clusters are taken; in memory their refcounts rise;
//! 3. guest data, copied parts and zeros are written, all at the same time;
//! 4. L2 entries are changed in memory, and the guest gets its answer;
//! 5. a commit makes data and refcounts durable, then writes the entries ([`super::batch`]);
//! 6. the clusters that the old entries referred to lose their references.
//!
//! Up to 4 an error undoes everything: the taken clusters are free again.

use std::sync::Arc;

use super::batch::Extent;
use super::events;
use super::fill::Fill;
use super::image::{GUEST_END, Image};
use super::l2::L2Entry;
use super::plan::{Action, Store, plan_write};
use super::planted::Bug;
use super::read::memory_len;
use super::space::Taken;
use super::write_data::Piece;
use crate::error::{Error, ErrorKind};
use crate::sync::{LockKey, LockMode};
use crate::units::ByteRange;

/// One guest cluster of a write.
pub(super) struct Part {
    pub(super) guest_cluster: u64,
    /// The guest bytes that are written.
    guest: ByteRange,
    pub(super) action: Action,
}

/// Where a part is stored.
#[derive(Clone, Copy)]
struct Place {
    host: u64,
    /// Whether the host cluster was taken for it, and reads as zeros.
    new: Option<Taken>,
}

impl Image {
    pub(super) async fn write(
        self: Arc<Self>,
        key: LockKey,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        self.check_writable()?;
        let range = self.guest_range(offset, data.len() as u64, GUEST_END)?;
        let early = if self.planted().has(Bug::SyncEmulationReenters) {
            Some(self.parts(self.guest_range(offset, range.len, self.virtual_size())?).await?)
        } else {
            None
        };
        let exclusive = !self.planted().has(Bug::ConcurrentAllocSameCluster);
        let mode = if exclusive { LockMode::Exclusive } else { LockMode::Shared };
        let mut lock = Some(self.lock(key, self.clusters_around(range), mode).await);
        let guest = self.guest_range(offset, range.len, self.virtual_size())?;
        if guest.is_empty() {
            return Ok(());
        }
        self.prepare_first_write().await?;
        self.note_changed(guest);
        let parts = match early {
            Some(parts) => parts,
            None => self.parts(guest).await?,
        };
        if parts.iter().all(|part| matches!(part.action, Action::InPlace { .. })) {
            // Nobody's mapping changes: others may read and write in place beside this.
            self.locks.make_shared(key, guest);
            if self.planted().has(Bug::RewriteVsDiscardReuse) {
                lock = None;
            }
        }
        let written = self.write_parts(&parts, &data).await;
        if let Err(error) = &written {
            let got_no_room = error.kind() == ErrorKind::NoSpace;
            if self.planted().has(Bug::DependentsNotWokenOnError)
                || self.planted().has(Bug::FailedAllocStaysInFlight) && got_no_room
            {
                std::mem::forget(lock.take());
            }
        }
        written?;
        self.commit_if_full().await
    }

    /// Writes guest data; the caller has the clusters locked.
    pub(super) async fn write_locked(&self, guest: ByteRange, data: &[u8]) -> Result<(), Error> {
        let parts = self.parts(guest).await?;
        self.write_parts(&parts, data).await
    }

    /// Makes metadata durable if too much of it is in memory only.
    pub(super) async fn commit_if_full(&self) -> Result<(), Error> {
        if !self.tables.is_full() {
            return Ok(());
        }
        self.event(events::CACHE_FULL);
        self.commit(Extent::All).await
    }

    /// What there is to do in each guest cluster of a range.
    async fn parts(&self, guest: ByteRange) -> Result<Vec<Part>, Error> {
        let len = self.cluster_len();
        let clusters = guest.units(len);
        let mut parts = Vec::new();
        let mut next = clusters.start;
        while next < clusters.end {
            for entry in self.entries(next, clusters.end - next).await? {
                self.cluster(entry, next)?;
                let start = next * len;
                let here = ByteRange::new(start, len).intersection(guest);
                let within = ByteRange::new(here.offset - start, here.len);
                let action = plan_write(self.format, entry, within);
                if let Action::Store(store) = &action {
                    self.check_given_up(store.gives_up)?;
                }
                parts.push(Part { guest_cluster: next, guest: here, action });
                next += 1;
            }
        }
        Ok(parts)
    }

    async fn write_parts(&self, parts: &[Part], data: &[u8]) -> Result<(), Error> {
        let fills = self.read_fills(parts).await?;
        let places = self.take_places(parts).await?;
        let result = match self.write_data(parts, &places, fills, data).await {
            Ok(()) => self.link(parts, &places).await,
            Err(error) => Err(Failed { linked: 0, error }),
        };
        let Err(Failed { linked, error }) = result else { return Ok(()) };
        let linked = if self.planted().has(Bug::StaleCacheAfterWriteError) { 0 } else { linked };
        for place in &places[linked..] {
            if let Some(taken) = place.new {
                self.give_back(taken).await;
            }
        }
        Err(error)
    }

    /// A place for each part. Takes host clusters for those that need one, as few runs as possible.
    async fn take_places(&self, parts: &[Part]) -> Result<Vec<Place>, Error> {
        let stored = parts.iter().filter(|part| matches!(part.action, Action::Store(_)));
        let mut indices: Vec<u64> =
            stored.map(|part| part.guest_cluster / self.table_entries()).collect();
        indices.dedup();
        for index in indices {
            self.own_l2_table(index).await?;
        }
        let mut free = NewClusters { image: self, left: None, needed: count_new(parts) };
        let mut places = Vec::new();
        for part in parts {
            let place = match &part.action {
                Action::InPlace { host } => Ok(Place { host: *host, new: None }),
                Action::Store(Store { reserved: Some(host), .. }) => {
                    Ok(Place { host: *host, new: None })
                }
                Action::Store(_) if self.has_data_file() => {
                    Ok(Place { host: part.guest_cluster * self.cluster_len(), new: None })
                }
                Action::Store(_) => free.next().await,
            };
            match place {
                Ok(place) => places.push(place),
                Err(error) => {
                    let taken = places.into_iter().filter_map(|place: Place| place.new);
                    for taken in taken {
                        self.give_back(taken).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(places)
    }

    /// Writes everything: the guest's data and what completes new clusters.
    async fn write_data(
        &self,
        parts: &[Part],
        places: &[Place],
        fills: Vec<Vec<Fill>>,
        data: &[u8],
    ) -> Result<(), Error> {
        let first = parts.first().map_or(0, |part| part.guest.offset);
        let mut pieces: Vec<Piece> = Vec::new();
        for ((part, place), fills) in parts.iter().zip(places).zip(fills) {
            let start = part.guest_cluster * self.cluster_len();
            let at = memory_len(part.guest.offset - first);
            let bytes = &data[at..at + memory_len(part.guest.len)];
            let mut here = vec![(place.host + (part.guest.offset - start), bytes.to_vec())];
            if !fills.is_empty() {
                self.event(events::COPY_ON_WRITE);
            }
            let is_zero = place.new.is_some_and(|taken| taken.fresh);
            for Fill { range, bytes } in fills {
                let bytes = match bytes {
                    None if is_zero => continue,
                    None => vec![0; memory_len(range.len)],
                    Some(bytes) => bytes,
                };
                here.push((place.host + range.offset, bytes));
            }
            here.sort_by_key(|&(offset, _)| offset);
            pieces.extend(here);
        }
        self.write_pieces_of_data(pieces).await
    }

    /// Changes the entries of stored parts in memory.
    async fn link(&self, parts: &[Part], places: &[Place]) -> Result<(), Failed> {
        for (linked, (part, place)) in parts.iter().zip(places).enumerate() {
            let Action::Store(store) = &part.action else { continue };
            let entry =
                L2Entry { bitmap: store.bitmap, ..self.format.data_entry(place.host, true) };
            let failed = |error| Failed { linked, error };
            self.replace_entry(part.guest_cluster, entry, store.gives_up).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// Why not everything could be linked.
struct Failed {
    /// How many parts are done.
    linked: usize,
    error: Error,
}

/// How many parts need a new host cluster.
fn count_new(parts: &[Part]) -> u64 {
    let needs = |part: &&Part| matches!(part.action, Action::Store(Store { reserved: None, .. }));
    parts.iter().filter(needs).count() as u64
}

/// Host clusters for the parts of one write.
struct NewClusters<'a> {
    image: &'a Image,
    left: Option<Taken>,
    needed: u64,
}

impl NewClusters<'_> {
    /// The next one.
    async fn next(&mut self) -> Result<Place, Error> {
        let taken = match self.left.take() {
            Some(taken) => taken,
            None => self.image.take_clusters(self.needed).await?,
        };
        self.needed -= 1;
        let rest = Taken { first: taken.first + 1, count: taken.count - 1, ..taken };
        self.left = (rest.count > 0).then_some(rest);
        let new = Taken { count: 1, ..taken };
        Ok(Place { host: new.first * self.image.cluster_len(), new: Some(new) })
    }
}
