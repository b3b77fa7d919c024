//! Storing what is too long for memory.
//!
//! The header says how long a block is, and it may say two gibibytes: the first write to such a
//! block copies all of it. Then storage is written piece by piece, one after the other, in the same
//! order towards everything else: nothing is visible before all of it is durable.

use super::image::Image;
use super::plan::WritePlan;
use super::runs::{NewChunk, Run};
use crate::disk::WriteFlags;
use crate::error::Error;
use crate::units::ByteRange;

/// The most that one write copies from the base in one piece with the guest's data, and the length
/// of a piece if it is more.
const PIECE_LEN: u64 = 1 << 20;

/// Whether a write copies so much from the base that it is done piece by piece.
pub(super) fn copies_much(plan: &WritePlan) -> bool {
    plan.head().len + plan.tail().len > PIECE_LEN
}

impl Image {
    /// What [`Self::store`] does, for the guest's `data` and what its blocks miss of the base.
    ///
    /// # Errors
    /// What a disk says. No request is in flight then, and the chunks are free again.
    pub(super) async fn store_long(
        &self,
        plan: &WritePlan,
        data: &[u8],
        flags: WriteFlags,
    ) -> Result<Vec<NewChunk>, Error> {
        let new = self.allocate(&plan.unmapped)?;
        if let Err(error) = self.write_pieces(plan, &new, data, flags).await {
            self.release(&new);
            return Err(error);
        }
        Ok(new)
    }

    async fn write_pieces(
        &self,
        plan: &WritePlan,
        new: &[NewChunk],
        data: &[u8],
        flags: WriteFlags,
    ) -> Result<(), Error> {
        let runs = self.maps.runs(plan.store, new);
        self.make_room(&runs, new).await?;
        for run in &runs {
            let storage = run.storage();
            self.write_zeros(ByteRange::between(storage.offset, run.offset)).await?;
            self.write_run_in_pieces(plan, run, data, flags).await?;
            self.write_zeros(ByteRange::between(run.offset + run.guest.len, storage.end())).await?;
        }
        Ok(())
    }

    async fn write_run_in_pieces(
        &self,
        plan: &WritePlan,
        run: &Run,
        data: &[u8],
        flags: WriteFlags,
    ) -> Result<(), Error> {
        let mut rest = run.guest;
        while !rest.is_empty() {
            let piece = ByteRange::new(rest.offset, rest.len.min(PIECE_LEN));
            let bytes = self.bytes_to_store(plan, piece, data).await?;
            let at = run.offset + (piece.offset - run.guest.offset);
            let write = self.barrier.disks.data.write(at, bytes, flags);
            write.await.map_err(|error| Error::disk("write data", error))?;
            rest = ByteRange::between(piece.end(), rest.end());
        }
        Ok(())
    }

    /// The bytes of a piece: the base's, the guest's, the base's.
    async fn bytes_to_store(
        &self,
        plan: &WritePlan,
        piece: ByteRange,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let guest = plan.guest.intersection(piece);
        let mut bytes = self.read_base(plan.head().intersection(piece)).await?;
        if !guest.is_empty() {
            let at = |offset| usize::try_from(offset - plan.guest.offset).expect("within the data");
            bytes.extend_from_slice(&data[at(guest.offset)..at(guest.end())]);
        }
        bytes.extend(self.read_base(plan.tail().intersection(piece)).await?);
        Ok(bytes)
    }
}
