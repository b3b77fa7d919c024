//! Closing: everything becomes durable, and no cluster stays counted that nobody uses.
//!
//! Order: no new requests; everything in flight ends; bitmaps are stored; metadata is committed;
//! refcounts that fell with that are committed; the dirty bit is cleared. Any error leaves an image
//! that opens like after a power cut.

use std::sync::Arc;

use super::batch::Extent;
use super::events;
use super::header::incompatible;
use super::image::Image;
use crate::error::Error;

impl Image {
    pub(super) async fn close(self: Arc<Self>) -> Result<(), Error> {
        if !self.requests.shut() {
            return Err(Error::Closed);
        }
        self.requests.idle().await;
        if !self.is_writable() {
            return Ok(());
        }
        self.commit(Extent::All).await?;
        // What the first commit has unlinked is free now, and counted as such by the second.
        self.commit(Extent::All).await?;
        let was_dirty = self.header.write(|header| {
            let was_dirty = header.fields.incompatible & incompatible::DIRTY != 0;
            header.fields.incompatible &= !incompatible::DIRTY;
            was_dirty
        });
        if was_dirty {
            self.commit(Extent::All).await?;
        }
        self.event(events::CLOSED);
        Ok(())
    }
}
