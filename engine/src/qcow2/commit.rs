//! Making metadata durable.
//!
//! Everything that requests change is in memory until a commit writes it: guest flush, close, and
//! writes that have filled the memory for tables. One commit runs at a time; who waits for its turn
//! mostly finds that the one before has done its work. See [`super::batch`] for the order.

use super::batch::{Batch, Extent, Piece};
use super::events;
use super::fields::Fields;
use super::frees::{Free, Frees};
use super::header::incompatible;
use super::image::Image;
use super::planted::Bug;
use super::slices::Kind;
use crate::disk::IoFuture;
use crate::error::Error;
use crate::requests::all;
use crate::units::ByteRange;

/// How far a commit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    New,
    Counted,
    Linked,
}

impl Image {
    /// Makes durable what was completed before this call.
    ///
    /// # Errors
    /// Nothing is lost from memory by an error: the next commit writes it again. After a failed
    /// flush there is none.
    pub(super) async fn commit(&self, extent: Extent) -> Result<(), Error> {
        let turn = self.commit_turn.lock().await;
        self.barrier.check()?;
        self.check_sound()?;
        let batch = self.take_batch(extent);
        if batch.is_empty() {
            // What a request gave up after the commit that wrote its entry is durably gone.
            self.apply_frees(batch.frees).await;
            return self.check_sound();
        }
        let mut phase = Phase::New;
        if let Err(error) = self.write_batch(&batch, &mut phase).await {
            self.keep_batch(batch, phase);
            if self.planted().has(Bug::FlushErrorKeepsLock) {
                std::mem::forget(turn);
            }
            return Err(error);
        }
        self.tables.written();
        self.header.write(|header| header.is_unknown = false);
        if !batch.linked.is_empty() {
            self.event(events::METADATA_COMMITTED);
        }
        self.apply_frees(batch.frees).await;
        self.check_sound()
    }

    /// Whether a commit of everything would find no changed slice and nothing given up.
    pub(super) fn is_committed(&self) -> bool {
        !self.tables.has_dirty(Kind::L2)
            && !self.tables.has_dirty(Kind::Refcounts)
            && self.frees.read(Frees::is_empty)
    }

    async fn write_batch(&self, batch: &Batch, phase: &mut Phase) -> Result<(), Error> {
        if batch.marks_dirty {
            self.event(events::MARKED_DIRTY);
        }
        self.write_pieces(&batch.new, &batch.fields[0]).await?;
        let links = !batch.counted.is_empty() || !batch.linked.is_empty();
        let skips = self.planted().has(Bug::L1UpdateNotSynced)
            || self.is_lazy() && self.planted().has(Bug::LazyRefcountsNoDataBarrier);
        if !(links && skips) {
            self.between_phases(self.barrier.flush_all().await)?;
        }
        *phase = Phase::Counted;
        if !batch.counted.is_empty() {
            self.write_pieces(&batch.counted, &batch.fields[1]).await?;
            if !self.planted().has(Bug::RefcountTableNotSynced) {
                self.between_phases(self.barrier.flush_file().await)?;
            }
        }
        *phase = Phase::Linked;
        if !batch.linked.is_empty() {
            self.write_pieces(&batch.linked, &batch.fields[2]).await?;
            self.barrier.flush_file().await?;
        }
        Ok(())
    }

    /// What a flush that orders two phases has said.
    fn between_phases(&self, flushed: Result<(), Error>) -> Result<(), Error> {
        if self.planted().has(Bug::SyncWriteIgnoresFlushError) { Ok(()) } else { flushed }
    }

    /// Writes pieces, in any order. From now on the header may say what `fields` say.
    async fn write_pieces(&self, pieces: &[Piece], fields: &Fields) -> Result<(), Error> {
        self.check_sound()?;
        let before = self.header.write(|header| std::mem::replace(&mut header.written, *fields));
        if self.planted().has(Bug::HeaderPointerAndSizeSplit) {
            self.write_header_in_two(pieces, &before).await?;
        }
        let requests: Vec<IoFuture<()>> = joined(pieces)
            .into_iter()
            .map(|(offset, bytes)| self.barrier.start_write(offset, bytes))
            .collect();
        all("write metadata", requests).await
    }

    /// Nothing of the batch is sure to be on the medium, and any of the phase that it has come to
    /// may be: the next commit writes all of it again.
    fn keep_batch(&self, batch: Batch, phase: Phase) {
        self.tables.not_written();
        self.l1.not_written(&batch.l1, phase >= Phase::Linked);
        self.refcount_table
            .write(|table| table.not_written(&batch.refcount_table, phase >= Phase::Counted));
        self.frees.write(|frees| frees.extend(batch.frees));
        self.barrier.wrote();
        // What the header says is not known: any difference makes the next commit write it.
        self.header.write(|header| header.is_unknown = true);
    }

    /// Writes the bit that says that the image is corrupt, once, and with it nothing else.
    pub(super) async fn write_corrupt_bit(&self) {
        let _turn = self.commit_turn.lock().await;
        let sector = self.header.write(|header| {
            let had_bit = header.written.incompatible & incompatible::CORRUPT != 0;
            header.written.incompatible |= incompatible::CORRUPT;
            (!had_bit).then(|| header.sector.with(&header.written))
        });
        let Some(sector) = sector else { return };
        // What keeps the bit from the medium is no news: the caller reports the corruption.
        if self.barrier.start_write(0, sector).await.is_ok() {
            drop(self.barrier.flush_file().await);
        }
    }

    /// The references are durably gone: their clusters may be taken again. What cannot be read
    /// stays in use until the next commit tries again.
    async fn apply_frees(&self, mut frees: Frees) {
        if frees.is_empty() {
            return;
        }
        let discards_late =
            self.options.discards && self.planted().has(Bug::QueuedDiscardAfterRealloc);
        let freed = discards_late.then(|| frees.clone());
        let len = self.cluster_len();
        let allocating = self.allocating().await;
        while let Some(free) = frees.pop() {
            // With too low a refcount it may have been taken for metadata meanwhile.
            let checked = if free.is_guest {
                self.check_no_metadata(ByteRange::new(free.cluster * len, len))
            } else {
                Ok(())
            };
            if checked.is_err() || allocating.lower(free.cluster, free.count).await.is_err() {
                self.frees.add(0..1, |pending| pending.push_back(&free));
            }
        }
        drop(allocating);
        if let Some(freed) = freed {
            self.discard_late(freed).await;
        }
    }

    /// What a planted bug does: all that is free is discarded, when it can be taken already.
    async fn discard_late(&self, mut freed: Frees) {
        let len = self.cluster_len();
        while let Some(Free { cluster, .. }) = freed.pop() {
            if matches!(self.refcount(cluster).await, Ok(0)) {
                drop(self.barrier.disks.file.discard(cluster * len, len).await);
            }
        }
    }

    /// What a planted bug does: sizes in the header first, places after them.
    async fn write_header_in_two(&self, pieces: &[Piece], before: &Fields) -> Result<(), Error> {
        let Some((_, bytes)) = pieces.iter().find(|(offset, _)| *offset == 0) else {
            return Ok(());
        };
        let sector = self.header.read(|header| header.sector.with(before));
        let mut half = bytes.clone();
        for place in [40..48, 48..56, 64..72] {
            half[place.clone()].copy_from_slice(&sector[place]);
        }
        let write = self.barrier.start_write(0, half);
        write.await.map_err(|error| Error::disk("write header", error))
    }
}

/// The same pieces, neighbours as one.
fn joined(pieces: &[Piece]) -> Vec<Piece> {
    let mut sorted: Vec<&Piece> = pieces.iter().collect();
    sorted.sort_by_key(|(offset, _)| *offset);
    let mut joined: Vec<Piece> = Vec::new();
    for (offset, bytes) in sorted {
        match joined.last_mut() {
            Some((start, before)) if *start + before.len() as u64 == *offset => {
                before.extend_from_slice(bytes);
            }
            _ => joined.push((*offset, bytes.clone())),
        }
    }
    joined
}
