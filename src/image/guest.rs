//! The guest's disk in a file, raw or FVD.

use std::path::PathBuf;
use std::sync::Arc;

use plugpull_engine::fvd::{Fvd, Location};
use plugpull_engine::{ByteRange, Disk, WriteFlags};

use super::error::{disk_error, image_error};
use super::size::in_memory;
use crate::failure::Failure;

/// An open image: what the guest sees of it.
pub(super) struct Guest {
    pub(super) file: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// Unless it is raw.
    pub(super) fvd: Option<Fvd>,
}

impl Guest {
    pub(super) fn len(&self) -> u64 {
        self.disk.len()
    }

    pub(super) fn range(&self) -> ByteRange {
        ByteRange::new(0, self.len())
    }

    /// Reads a range that fits in memory.
    pub(super) async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Failure> {
        let read = self.disk.read(range.offset, in_memory(range)).await;
        read.map_err(|error| disk_error(&self.file, &error))
    }

    /// Writes bytes anywhere inside the disk.
    pub(super) async fn write(&self, offset: u64, data: &[u8]) -> Result<(), Failure> {
        let range = ByteRange::new(offset, data.len() as u64);
        let sectors = range.aligned_out(plugpull_engine::SECTOR);
        let bytes = if self.fvd.is_some() && sectors != range {
            // FVD writes whole sectors: keep what surrounds the data.
            let mut bytes = self.read(sectors).await?;
            let skip = in_memory(ByteRange::between(sectors.offset, range.offset));
            bytes[skip..skip + data.len()].copy_from_slice(data);
            (sectors.offset, bytes)
        } else {
            (offset, data.to_vec())
        };
        let write = self.disk.write(bytes.0, bytes.1, WriteFlags::NONE).await;
        write.map_err(|error| disk_error(&self.file, &error))
    }

    /// Whether the range is known to be zero without reading it.
    pub(super) fn is_known_zero(&self, range: ByteRange) -> bool {
        self.fvd.as_ref().is_some_and(|fvd| {
            fvd.map(range).iter().all(|extent| extent.location == Location::Zero)
        })
    }

    /// Makes everything durable and closes the image.
    pub(super) async fn close(self) -> Result<(), Failure> {
        match &self.fvd {
            Some(fvd) => fvd.close().await.map_err(|error| image_error(&self.file, &error)),
            None => self.disk.flush().await.map_err(|error| disk_error(&self.file, &error)),
        }
    }
}
