//! Guest flush.
//!
//! With a journal every acknowledged write has its record completed, so flushing the disks is
//! enough. Without one the maps themselves are written, in their order.

use std::sync::Arc;

use super::image::Image;
use super::planted::Bug;
use super::write_maps::MapsFlush;
use crate::error::Error;

impl Image {
    pub(super) async fn flush(self: Arc<Self>) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        if !self.is_writable() {
            return Ok(());
        }
        let maps_are_journaled = self.journal().is_some() || !self.has_maps();
        if maps_are_journaled || self.planted().has(Bug::FlushWithoutJournal) {
            self.barrier.flush_all().await
        } else {
            self.write_maps(MapsFlush::Durable).await
        }
    }
}
