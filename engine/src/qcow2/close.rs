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
use crate::error::Error;

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
        let written = self.commit(Extent::All).await;
        if self.planted().has(Bug::CloseMarksCleanAfterFlushError) && written.is_err() {
            return self.mark_clean().await;
        }
        written?;
        if !drains_first {
            self.requests.idle().await;
            return Ok(());
        }
        // What the first commit has unlinked is free now, and counted as such by the second.
        self.commit(Extent::All).await?;
        if self.header.write(HeaderState::clear_dirty_bit) {
            self.commit(Extent::All).await?;
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
