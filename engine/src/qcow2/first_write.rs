//! What has to be durable before the first change of a session.
//!
//! Order: feature bits that would lie are cleared, bitmaps are marked in use; flush; only then
//! anything that a guest asks for is written.

use super::batch::Extent;
use super::header::autoclear;
use super::image::{HeaderState, Image};
use crate::error::Error;

impl Image {
    /// Makes the image ready to be written, once.
    pub(super) async fn prepare_first_write(&self) -> Result<(), Error> {
        if !self.has_unknown_autoclear() {
            return Ok(());
        }
        let _turn = self.first_write_turn.lock().await;
        if !self.has_unknown_autoclear() {
            return Ok(());
        }
        self.header.write(|header| header.fields.autoclear &= autoclear::KNOWN);
        self.commit(Extent::Promised).await
    }

    fn has_unknown_autoclear(&self) -> bool {
        let unknown = self.settings.autoclear & !autoclear::KNOWN != 0;
        unknown
            && self
                .header
                .read(|HeaderState { written, .. }| written.autoclear & !autoclear::KNOWN != 0)
    }
}
