//! What has to be durable before the first change of a session.
//!
//! The file is made to end with a whole cluster. Order: feature bits that would lie are cleared,
//! bitmaps are marked in use; flush; only then anything that a guest asks for is written.

use super::batch::Extent;
use super::header::autoclear;
use super::image::Image;
use super::planted::Bug;
use crate::error::Error;

impl Image {
    /// Makes the image ready to be written, once.
    pub(super) async fn prepare_first_write(&self) -> Result<(), Error> {
        if !self.needs_preparing || self.is_prepared.get() {
            return Ok(());
        }
        let _turn = self.first_write_turn.lock().await;
        if self.is_prepared.get() {
            return Ok(());
        }
        // Other programs end a file within a cluster, even within a sector.
        let len = self.barrier.disks.file.len().next_multiple_of(self.cluster_len());
        if self.barrier.disks.file.properties().resizable {
            self.ensure_len(len).await?;
        }
        self.header.write(|header| header.fields.autoclear &= autoclear::KNOWN);
        self.commit(Extent::Promised).await?;
        if self.tracks_bitmaps && !self.planted().has(Bug::BitmapStaleAfterReopen) {
            self.mark_bitmaps().await?;
        }
        self.is_prepared.set(true);
        Ok(())
    }
}
