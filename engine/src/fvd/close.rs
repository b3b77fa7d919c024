//! Closing: the maps become complete, then the header says so.
//!
//! Order: no new requests; background work ends; everything in flight ends; the maps are written
//! and durable; the header sector with `clean_shutdown` = 1 is written; flush. Any error before the
//! header leaves an image that opens like after a power cut.

use std::sync::Arc;

use super::events;
use super::image::Image;
use super::planted::Bug;
use super::write_maps::MapsFlush;
use crate::error::Error;

impl Image {
    pub(super) async fn close(self: Arc<Self>) -> Result<(), Error> {
        if !self.requests.shut() {
            return Err(Error::Closed);
        }
        self.stopping.raise();
        self.requests.idle().await;
        if !self.is_writable() {
            return Ok(());
        }
        let flush = MapsFlush::unless(self.planted().has(Bug::CleanFlagBeforeMapsFlush));
        let written = self.write_maps(flush).await;
        if !self.planted().has(Bug::CloseIgnoresMapError) {
            written?;
        }
        if self.dirty.get() {
            self.write_clean_flag(true).await?;
            self.barrier.flush_metadata().await?;
            self.dirty.set(false);
        }
        self.event(events::CLOSED_CLEAN);
        Ok(())
    }
}
