//! An FVD image as a disk of fixed length.

use super::image::Fvd;
use crate::error::Error;
use crate::guest_disk::{GuestDisk, GuestImage};
use crate::units::ByteRange;

/// The guest's view of an open FVD image.
pub type FvdDisk = GuestDisk<Fvd>;

impl FvdDisk {
    /// The disk that `fvd` shows its guest.
    #[must_use]
    pub fn new(fvd: Fvd) -> Self {
        let writable = fvd.image.is_writable();
        Self::of(fvd, writable)
    }
}

impl GuestImage for Fvd {
    const RESIZABLE: bool = false;

    fn len(&self) -> u64 {
        self.virtual_size()
    }

    async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        Self::read(self, range).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Error> {
        Self::write(self, offset, data).await
    }

    async fn flush(&self) -> Result<(), Error> {
        Self::flush(self).await
    }

    async fn discard(&self, _range: ByteRange) -> Result<(), Error> {
        // Chunks are never freed: the content stays, which a discard allows.
        Ok(())
    }

    async fn resize(&self, _len: u64) -> Result<(), Error> {
        Err(Error::Unsupported("an FVD image has a fixed size".into()))
    }
}
