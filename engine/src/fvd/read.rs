//! Guest reads.
//!
//! A read takes no lock. It looks up where everything lives in one step, then transfers. What it
//! found stays valid while it reads: chunks are never freed or moved, and a block that becomes
//! local meanwhile was the base's when the read began.

use std::sync::Arc;

use super::image::Image;
use super::map::{Extent, Location};
use crate::disk::IoFuture;
use crate::error::Error;
use crate::units::ByteRange;

impl Image {
    pub(super) async fn read(self: &Arc<Self>, range: ByteRange) -> Result<Vec<u8>, Error> {
        let pass = self.requests.enter().ok_or(Error::Closed)?;
        let range = self.guest_range(range.offset, range.len)?;
        let extents = self.maps.lookup(range);
        let bytes = self.transfer(range, &extents).await?;
        self.copy_what_was_read(range, &extents, &bytes, pass);
        Ok(bytes)
    }

    /// Reads the places of `range`, one request each, all at the same time.
    async fn transfer(&self, range: ByteRange, extents: &[Extent]) -> Result<Vec<u8>, Error> {
        let submit = |extent: &Extent| -> Option<(&'static str, IoFuture<Vec<u8>>)> {
            let len = memory_len(extent.range.len);
            let disks = &self.barrier.disks;
            match extent.location {
                Location::Zero => None,
                Location::Storage { offset } => Some(("read data", disks.data.read(offset, len))),
                Location::Base => {
                    let base = disks.base.as_ref().expect("blocks of the base have a base");
                    Some(("read base", base.read(extent.range.offset, len)))
                }
            }
        };
        if let [extent] = extents {
            return match submit(extent) {
                Some((doing, part)) => part.await.map_err(|error| Error::disk(doing, error)),
                None => Ok(vec![0; memory_len(range.len)]),
            };
        }
        let parts: Vec<_> = extents.iter().map(submit).collect();
        let mut bytes = vec![0; memory_len(range.len)];
        let mut result = Ok(());
        for (extent, part) in extents.iter().zip(parts) {
            let Some((doing, part)) = part else { continue };
            match part.await {
                Ok(part) => {
                    let start = memory_len(extent.range.offset - range.offset);
                    bytes[start..start + part.len()].copy_from_slice(&part);
                }
                Err(error) => result = result.and(Err(Error::disk(doing, error))),
            }
        }
        result.map(|()| bytes)
    }
}

/// A length that a caller asked for, as a length in memory.
fn memory_len(len: u64) -> usize {
    usize::try_from(len).expect("requests fit in memory")
}
