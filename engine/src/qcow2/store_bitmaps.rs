//! Marking bitmaps as in use, and storing them at close. See [`super::bitmaps`] for the order.

use super::batch::Extent;
use super::bitmaps::{Bitmaps, Unstored};
use super::events;
use super::image::Image;
use super::owners::Owner;
use super::planted::Bug;
use crate::error::Error;
use crate::requests::all;
use crate::units::ByteRange;

impl Image {
    /// Marks bitmaps as in use, durably. By who has the turn of the first write.
    pub(super) async fn mark_bitmaps(&self) -> Result<(), Error> {
        let (offset, bytes) = self.bitmaps.write(|bitmaps| bitmaps.mark(true));
        let written = self.barrier.start_write(offset, bytes).await;
        written.map_err(|error| Error::disk("write bitmap directory", error))?;
        self.barrier.flush_file().await?;
        self.event(events::BITMAPS_IN_USE);
        Ok(())
    }

    /// Notes that the guest changes a range.
    pub(super) fn note_changed(&self, guest: ByteRange) {
        if !self.tracks_bitmaps {
            return;
        }
        let len = self.cluster_len();
        self.bitmaps.add(guest.offset..guest.end(), |bitmaps| bitmaps.note(guest, len));
    }

    /// Stores what was tracked, with everything that it needs durable, and clears the marks.
    pub(super) async fn store_bitmaps(&self) -> Result<(), Error> {
        if !self.tracks_bitmaps || !self.is_prepared.get() {
            return Ok(());
        }
        for Unstored { bitmap, cluster, host, bytes } in
            self.bitmaps.read(Bitmaps::clone).unstored()
        {
            match host {
                Some(host) => {
                    let written = self.barrier.start_write(host, bytes).await;
                    written.map_err(|error| Error::disk("write bitmap", error))?;
                }
                None => {
                    let taken = self.allocating().await.take_exactly(1, Owner::Bitmap).await?;
                    self.write_metadata(taken, bytes).await?;
                    let host = taken.first * self.cluster_len();
                    self.bitmaps.write(|bitmaps| bitmaps.stored(bitmap, cluster, host));
                }
            }
        }
        self.barrier.wrote();
        let commits = !self.planted().has(Bug::BitmapDirBeforeRefcounts)
            && !self.planted().has(Bug::BitmapsStoredAfterCacheFlush);
        if commits {
            self.commit(Extent::All).await?;
        }
        let tables = self.bitmaps.read(Bitmaps::clone).tables();
        let requests = tables.into_iter().map(|(at, bytes)| self.barrier.start_write(at, bytes));
        all("write bitmap table", requests.collect()).await?;
        self.barrier.flush_file().await?;
        let (offset, bytes) = self.bitmaps.write(|bitmaps| bitmaps.mark(false));
        let written = self.barrier.start_write(offset, bytes).await;
        written.map_err(|error| Error::disk("write bitmap directory", error))?;
        self.barrier.flush_file().await?;
        self.event(events::BITMAPS_STORED);
        Ok(())
    }
}
