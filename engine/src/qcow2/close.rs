//! Closing: everything becomes durable, and no cluster stays counted that nobody uses.
//!
//! Order: no new requests; everything in flight ends; bitmaps are stored; metadata is committed;
//! refcounts that fell with that are committed; the dirty bit is cleared. Any error leaves an image
//! that opens like after a power cut.

use std::sync::Arc;

use super::batch::Extent;
use super::events;
use super::image::{HeaderState, Image};
use super::planted::Bug;
use crate::disk::{DiskError, DiskErrorKind};
use crate::error::Error;

/// How often the commit is repeated. Two rounds do, unless a refcount could not be read.
const ROUNDS_MAX: u32 = 3;

impl Image {
    pub(super) async fn close(self: Arc<Self>) -> Result<(), Error> {
        if !self.requests.shut() {
            return Err(Error::Closed);
        }
        let drains_first = !self.planted().has(Bug::CloseFlushBeforeDrain);
        if drains_first {
            self.requests.idle().await;
        }
        if !self.is_writable() {
            return Ok(());
        }
        let stores_last = self.planted().has(Bug::BitmapsStoredAfterCacheFlush);
        let stored = if stores_last { Ok(()) } else { self.store_bitmaps().await };
        let written = self.commit(Extent::All).await;
        if self.planted().has(Bug::CloseMarksCleanAfterFlushError) && written.is_err() {
            return self.mark_clean().await;
        }
        written?;
        if !drains_first {
            self.requests.idle().await;
            return Ok(());
        }
        // What a commit has unlinked is free after it, and counted as such by the next.
        for _ in 0..ROUNDS_MAX {
            if !self.is_committed() {
                self.commit(Extent::All).await?;
            }
        }
        stored?;
        if !self.is_committed() {
            let error = DiskError::new(DiskErrorKind::Io, "they could not be read");
            return Err(Error::disk("lower the refcounts of freed clusters", error));
        }
        if self.header.write(HeaderState::clear_dirty_bit) {
            self.commit(Extent::All).await?;
        }
        if stores_last {
            self.store_bitmaps().await?;
        }
        self.event(events::CLOSED);
        Ok(())
    }

    /// What a planted bug does: the header says that refcounts are right, whatever is.
    async fn mark_clean(&self) -> Result<(), Error> {
        let sector = self.header.write(|header| {
            header.clear_dirty_bit();
            header.sector.with(&header.fields)
        });
        let write = self.barrier.start_write(0, sector);
        write.await.map_err(|error| Error::disk("write header", error))?;
        self.barrier.flush_file().await
    }
}
