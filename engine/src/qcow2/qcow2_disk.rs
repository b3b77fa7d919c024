//! A qcow2 image as a disk.

use super::handle::Qcow2;
use crate::access::Access;
use crate::error::Error;
use crate::guest_disk::{GuestDisk, GuestImage};
use crate::units::ByteRange;

/// The guest's view of an open qcow2 image.
pub type Qcow2Disk = GuestDisk<Qcow2>;

impl Qcow2Disk {
    /// The disk that `qcow2`, which was opened for `access`, shows its guest.
    #[must_use]
    pub fn new(qcow2: Qcow2, access: Access) -> Self {
        Self::of(qcow2, access == Access::ReadWrite)
    }
}

impl GuestImage for Qcow2 {
    const RESIZABLE: bool = true;

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

    async fn discard(&self, range: ByteRange) -> Result<(), Error> {
        Self::discard(self, range).await
    }

    async fn resize(&self, len: u64) -> Result<(), Error> {
        Self::resize(self, len).await
    }
}
