//! Guest reads.
//!
//! A read locks its range against whoever changes mappings there, so that the host clusters that it
//! has found are not given to somebody else while it reads them.

use std::sync::Arc;

use super::compress::decompress;
use super::image::Image;
use super::map::{Extent, Location};
use crate::disk::IoFuture;
use crate::error::Error;
use crate::sync::LockMode;
use crate::units::{ByteRange, SECTOR};

impl Image {
    pub(super) async fn read(self: &Arc<Self>, range: ByteRange) -> Result<Vec<u8>, Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let _lock = self.lock(self.locks.new_key(), range, LockMode::Shared).await;
        // The size is asked for with the range locked: a resize locks everything.
        let range = self.guest_range(range.offset, range.len, self.virtual_size())?;
        let extents = self.extents(range).await?;
        self.transfer(range, &extents).await
    }

    /// Reads the places of `range`, one request each, all at the same time.
    pub(super) async fn transfer(
        &self,
        range: ByteRange,
        extents: &[Extent],
    ) -> Result<Vec<u8>, Error> {
        if let [extent] = extents
            && let Location::Data { .. } | Location::Zero = extent.location
        {
            return match self.submit(extent) {
                Some((doing, part)) => part.await.map_err(|error| Error::disk(doing, error)),
                None => Ok(vec![0; memory_len(range.len)]),
            };
        }
        let parts: Vec<_> = extents.iter().map(|extent| self.submit(extent)).collect();
        let mut bytes = vec![0; memory_len(range.len)];
        let mut result = Ok(());
        for (extent, part) in extents.iter().zip(parts) {
            let Some((doing, part)) = part else { continue };
            let read = part.await.map_err(|error| Error::disk(doing, error));
            match read.and_then(|part| self.unpacked(extent, part)) {
                Ok(part) => {
                    let start = memory_len(extent.range.offset - range.offset);
                    bytes[start..start + part.len()].copy_from_slice(&part);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.map(|()| bytes)
    }

    /// Asks for what has to be read of an extent, if anything.
    fn submit(&self, extent: &Extent) -> Option<(&'static str, IoFuture<Vec<u8>>)> {
        let range = extent.range;
        match extent.location {
            Location::Zero => None,
            Location::Data { offset } => {
                let doing = "read data";
                Some((doing, self.barrier.data().read(offset, memory_len(range.len))))
            }
            Location::Backing => {
                let backing = self.barrier.disks.backing.as_ref()?;
                Some(("read backing file", backing.read(range.offset, memory_len(range.len))))
            }
            Location::Compressed { offset, len, .. } => {
                let sectors = ByteRange::new(offset, len).aligned_out(SECTOR);
                let read = self.barrier.disks.file.read(sectors.offset, memory_len(sectors.len));
                Some(("read compressed data", read))
            }
        }
    }

    /// The guest's bytes of what was read for an extent.
    fn unpacked(&self, extent: &Extent, read: Vec<u8>) -> Result<Vec<u8>, Error> {
        let Location::Compressed { offset, skip, .. } = extent.location else { return Ok(read) };
        let data = &read[memory_len(offset % SECTOR)..];
        let cluster = decompress(self.compression(), data, memory_len(self.cluster_len()))?;
        let skip = memory_len(skip);
        Ok(cluster[skip..skip + memory_len(extent.range.len)].to_vec())
    }
}

/// A length that a caller asked for, as a length in memory.
pub(super) fn memory_len(len: u64) -> usize {
    usize::try_from(len).expect("requests fit in memory")
}
