//! Writing metadata of an image that nobody has open.

use crate::disk::{Disk, WriteFlags};
use crate::error::Error;

const SECTOR_LEN: usize = 512;

/// Writes to a file, which grows where that is needed.
pub(super) struct Writer<'a> {
    pub(super) file: &'a dyn Disk,
    /// Whether something was written since the last flush.
    unflushed: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(file: &'a dyn Disk) -> Self {
        Self { file, unflushed: false }
    }

    /// Writes whole sectors.
    pub(super) async fn write(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), Error> {
        let end = offset + bytes.len() as u64;
        self.unflushed = true;
        // The last sector of a file may be cut short.
        if end > self.file.len() {
            let resized = self.file.resize(end).await;
            resized.map_err(|error| Error::disk("grow the image", error))?;
        }
        let written = self.file.write(offset, bytes, WriteFlags::NONE).await;
        written.map_err(|error| Error::disk("write metadata", error))
    }

    /// Writes the sectors of `after` that are not those of `before`.
    pub(super) async fn write_changes(
        &mut self,
        offset: u64,
        before: &[u8],
        after: &[u8],
    ) -> Result<(), Error> {
        let sectors = before.chunks_exact(SECTOR_LEN).zip(after.chunks_exact(SECTOR_LEN));
        for (index, (before, after)) in (0..).zip(sectors) {
            if before != after {
                self.write(offset + index * SECTOR_LEN as u64, after.to_vec()).await?;
            }
        }
        Ok(())
    }

    /// Makes durable what was written, if anything was.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        if self.unflushed {
            let flushed = self.file.flush().await;
            flushed.map_err(|error| Error::disk("flush the image", error))?;
            self.unflushed = false;
        }
        Ok(())
    }
}
