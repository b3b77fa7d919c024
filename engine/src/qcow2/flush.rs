//! Guest flush.

use std::sync::Arc;

use super::batch::Extent;
use super::image::Image;
use crate::error::Error;

impl Image {
    pub(super) async fn flush(self: Arc<Self>) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        if !self.is_writable() {
            return Ok(());
        }
        self.commit(Extent::Promised).await
    }
}
