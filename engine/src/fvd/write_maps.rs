//! Writing the maps to their regions.
//!
//! The order, which holds whoever asks (journal recycle, recovery, close, the end of prefetching,
//! a guest flush of an image without journal):
//!
//! 1. a snapshot of the changed sectors of both maps, taken in one step;
//! 2. flush of the data storage: what the snapshot makes visible is durable;
//! 3. the changed table sectors, then flush;
//! 4. the changed bitmap sectors, then flush: no bit is durable before the entries of its block.
//!
//! A power cut anywhere leaves each sector old or new. A new entry without its bit leaks a chunk or
//! is harmless; the journal, which is reused only after 4, still has the rest.
//!
//! An error at any step is the caller's error. The sectors count as changed again, the journal is
//! not reused and the clean flag not set.

use super::changed::ChangedSector;
use super::events;
use super::image::Image;
use super::maps::MapsSnapshot;
use super::planted::Bug;
use crate::error::Error;
use crate::units::SECTOR;

/// Whether the maps are durable when they have been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MapsFlush {
    /// Steps 3 and 4 end with their flushes.
    Durable,
    /// They do not: what planted bugs ask for.
    Missing,
}

impl MapsFlush {
    pub(super) fn unless(missing: bool) -> Self {
        if missing { Self::Missing } else { Self::Durable }
    }
}

impl Image {
    /// Writes what has changed of the maps. When it returns they are durable, and so is everything
    /// that was completed on either disk when it was called.
    pub(super) async fn write_maps(&self, flush: MapsFlush) -> Result<(), Error> {
        let _turn = self.maps_turn.lock().await;
        if self.maps.have_changed() {
            self.ensure_dirty().await?;
        }
        let snapshot = self.maps.take_changed();
        let written = self.write_snapshot(&snapshot, flush).await;
        match written {
            Ok(()) => self.maps.guarantee_written(&snapshot),
            Err(_) => self.maps.give_back(&snapshot),
        }
        written?;
        if snapshot != MapsSnapshot::default() {
            self.event(events::MAPS_WRITTEN);
        }
        Ok(())
    }

    async fn write_snapshot(&self, snapshot: &MapsSnapshot, flush: MapsFlush) -> Result<(), Error> {
        if self.planted().has(Bug::ParallelFlush) {
            let data = self.barrier.flush_data();
            let maps = self.write_map_sectors(snapshot, flush);
            let (data, maps) = futures_util::future::join(data, maps).await;
            return data.and(maps);
        }
        if !self.planted().has(Bug::CopyOnReadBitsBeforeData) {
            self.barrier.flush_data().await?;
        }
        self.write_map_sectors(snapshot, flush).await
    }

    async fn write_map_sectors(
        &self,
        snapshot: &MapsSnapshot,
        flush: MapsFlush,
    ) -> Result<(), Error> {
        let table = self.geometry.compact.as_ref().map_or(0, |compact| compact.table.offset);
        let bitmap = self.geometry.base.as_ref().map_or(0, |base| base.bitmap.offset);
        self.write_sectors("write table", table, &snapshot.table).await?;
        let both = !snapshot.table.is_empty() && !snapshot.bitmap.is_empty();
        if both && flush == MapsFlush::Durable {
            self.barrier.flush_metadata().await?;
        }
        self.write_sectors("write bitmap", bitmap, &snapshot.bitmap).await?;
        let any = !snapshot.table.is_empty() || !snapshot.bitmap.is_empty();
        // On one disk the flush of the data has served for the metadata, unless there is more.
        if flush == MapsFlush::Durable && (any || !self.barrier.is_one_disk()) {
            self.barrier.flush_metadata().await?;
        }
        Ok(())
    }

    /// Writes sectors of the region at `region`, neighbours in one request, all at the same time.
    async fn write_sectors(
        &self,
        doing: &'static str,
        region: u64,
        sectors: &[ChangedSector],
    ) -> Result<(), Error> {
        let mut writes = Vec::new();
        for stretch in sectors.chunk_by(|one, next| one.index + 1 == next.index) {
            let mut bytes = Vec::with_capacity(stretch.len() * 512);
            stretch.iter().for_each(|sector| bytes.extend_from_slice(&sector.bytes));
            let offset = region + stretch[0].index * SECTOR;
            writes.push(self.barrier.start_metadata_write(offset, bytes));
        }
        crate::requests::all(doing, writes).await
    }
}
