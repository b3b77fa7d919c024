//! Copy-on-read: what a guest read from the base is stored, so that the base is not asked again.
//!
//! A convenience, in the background, after the guest has its data. Blocks that somebody is
//! changing are left alone, errors are ignored, and the amount in flight is limited.
//!
//! It is *soft*: no flush and no journal record. The blocks are fresh and not stale, the entries
//! dirty. A power cut loses them and the chunks leak. Two rules make that safe: whoever writes the
//! maps flushes the data storage first, and a guest write to such a block records the whole block.

use std::ops::Range;
use std::sync::Arc;

use super::events;
use super::image::Image;
use super::map::{Extent, Location};
use super::plan::round_out_to_chunks;
use super::planted::Bug;
use crate::disk::WriteFlags;
use crate::error::Error;
use crate::runtime::BoxTask;
use crate::sync::{Pass, WHOLE};
use crate::units::ByteRange;

impl Image {
    /// Stores the blocks of the base that a read of `range` has brought completely, in a task of
    /// its own that holds `pass`.
    pub(super) fn copy_what_was_read(
        self: &Arc<Self>,
        range: ByteRange,
        extents: &[Extent],
        bytes: &[u8],
        pass: Pass,
    ) {
        if !self.copies_on_read() {
            return;
        }
        let from_base = extents.iter().filter(|extent| extent.location == Location::Base);
        let mut copies = Vec::new();
        for extent in from_base {
            let Some(blocks) = self.admit_copy(self.whole_blocks(extent.range)) else { continue };
            let copied = self.geometry.block_range(blocks.clone());
            let at = |offset| usize::try_from(offset - range.offset).expect("within the bytes");
            copies.push((blocks, bytes[at(copied.offset)..at(copied.end())].to_vec()));
        }
        if copies.is_empty() {
            return;
        }
        // Close waits for the copies, unless the bug lets go of them.
        let pass = Some(pass).filter(|_| !self.planted().has(Bug::CloseLeavesCopyOnRead));
        let image = Arc::clone(self);
        let task: BoxTask = Box::pin(async move {
            for (blocks, bytes) in copies {
                image.copy_blocks(blocks, &bytes).await;
            }
            drop(pass);
        });
        self.options.runtime.spawn("copy-on-read", task);
    }

    fn copies_on_read(&self) -> bool {
        let asked = self.settings.copy_on_read != 0;
        asked && self.options.background && self.is_writable()
    }

    /// The blocks whose base part lies wholly in `range`.
    fn whole_blocks(&self, range: ByteRange) -> Range<u64> {
        let mut blocks = self.geometry.blocks(range);
        let whole = |block| range.contains(self.geometry.block_range(block..block + 1));
        if !blocks.is_empty() && !whole(blocks.start) {
            blocks.start += 1;
        }
        if !blocks.is_empty() && !whole(blocks.end - 1) {
            blocks.end -= 1;
        }
        blocks
    }

    /// The first of `blocks` that fit under the limit of bytes in flight, which now count.
    fn admit_copy(&self, blocks: Range<u64>) -> Option<Range<u64>> {
        let block_len = self.geometry.base.as_ref()?.block_len;
        let asked = blocks.end;
        let limit = u64::try_from(self.settings.max_outstanding_copy_on_read_data).unwrap_or(0);
        let limit = if limit < 2 * block_len { block_len } else { limit };
        let admitted = self.copying.write(|copying| {
            let room = limit.saturating_sub(*copying) / block_len;
            let admitted = blocks.start..blocks.end.min(blocks.start.saturating_add(room));
            *copying += self.geometry.block_range(admitted.clone()).len;
            admitted
        });
        if admitted.end < asked {
            self.event(events::COPY_ON_READ_LIMITED);
        }
        Some(admitted).filter(|admitted| !admitted.is_empty())
    }

    async fn copy_blocks(&self, blocks: Range<u64>, bytes: &[u8]) {
        let range = self.geometry.block_range(blocks);
        let copied = self.try_copy(range, bytes).await;
        // In any order with other copies that end.
        self.copying.add(WHOLE, |copying| *copying -= range.len);
        if copied.is_ok_and(|any| any) {
            self.event(events::COPIED_ON_READ);
        }
    }

    /// Stores what is still missing of `range`, unless somebody is changing part of it.
    async fn try_copy(&self, range: ByteRange, bytes: &[u8]) -> Result<bool, Error> {
        let lock = round_out_to_chunks(&self.geometry, range, &self.maps.unmapped(range));
        let Some(_lock) = self.locks.try_exclusive(lock) else { return Ok(false) };
        let missing = self.maps.missing(range);
        for blocks in &missing {
            let part = self.geometry.block_range(blocks.clone());
            let at = |offset| usize::try_from(offset - range.offset).expect("within the bytes");
            let bytes = bytes[at(part.offset)..at(part.end())].to_vec();
            self.store_softly(blocks.clone(), bytes).await?;
        }
        Ok(!missing.is_empty())
    }

    /// Stores blocks as the base has them: no flush, no record. The caller has them locked, and
    /// none of them is local.
    pub(super) async fn store_softly(
        &self,
        blocks: Range<u64>,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let range = self.geometry.block_range(blocks.clone());
        let unmapped = self.maps.unmapped(range);
        let new = self.store(range, &unmapped, bytes, WriteFlags::NONE).await?;
        self.publish(range, blocks, &new);
        Ok(())
    }
}
