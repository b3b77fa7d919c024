//! Space in the journal: sectors handed out in order, and the recycle that starts over.
//!
//! Requests are served first come first served. One that finds too little room waits until no
//! journal write is in flight, writes the maps ([`super::write_maps`]), and starts again at the
//! first sector; those behind it wait for it. Old records are not erased: they say nothing that the
//! maps on disk do not say, too.
//!
//! If the recycle fails, its request fails, and the next in line tries for itself.

use super::events;
use super::image::Image;
use super::journal::{JOURNAL_SECTOR_LEN, Record, encode_sector, encode_sector_over};
use super::planted::Bug;
use super::write_maps::MapsFlush;
use crate::error::Error;
use crate::sync::Pass;
use crate::units::{ByteRange, SECTOR};

/// Journal sectors that one request may write. While it exists the journal is not recycled.
#[derive(Debug)]
pub(super) struct JournalSpace {
    first: u64,
    _writing: Pass,
}

impl Image {
    /// Writes journal sectors, as many as fit in the journal.
    pub(super) async fn write_journal(&self, sectors: &[Vec<Record>]) -> Result<(), Error> {
        let space = self.reserve_journal(sectors.len() as u64).await?;
        let journal = self.journal().expect("only images with a journal write to it");
        let offset = journal.range.offset + space.first * SECTOR;
        let bytes = self.encode_journal(offset, sectors).await?;
        self.barrier.write_metadata("write journal", offset, bytes).await?;
        self.event(events::JOURNAL_WRITTEN);
        Ok(())
    }

    async fn encode_journal(&self, offset: u64, sectors: &[Vec<Record>]) -> Result<Vec<u8>, Error> {
        if !self.planted().has(Bug::MissingEndMark) {
            return Ok(sectors.iter().flat_map(|records| encode_sector(records)).collect());
        }
        let range = ByteRange::new(offset, sectors.len() as u64 * SECTOR);
        let mut bytes = self.barrier.read_metadata("read journal", range).await?;
        for (old, records) in bytes.chunks_exact_mut(JOURNAL_SECTOR_LEN).zip(sectors) {
            let sector = old[..].try_into().expect("a sector");
            old.copy_from_slice(&encode_sector_over(records, sector));
        }
        Ok(bytes)
    }

    /// Waits for `count` sectors in a row.
    ///
    /// # Panics
    /// If the journal never has that many.
    async fn reserve_journal(&self, count: u64) -> Result<JournalSpace, Error> {
        let sectors = self.journal().expect("only images with a journal reserve space").sectors;
        assert!(count <= sectors, "{count} sectors in a journal of {sectors}");
        let mut turn = Box::pin(self.journal_turn.lock());
        let turn = match futures_util::poll!(&mut turn) {
            std::task::Poll::Ready(turn) => turn,
            std::task::Poll::Pending => {
                self.event(events::JOURNAL_WAIT);
                turn.await
            }
        };
        if turn.overtook() {
            self.event(events::JOURNAL_WAITER_OVERTAKEN);
        }
        if self.journal_next.read(|next| next + count > sectors) {
            self.recycle().await?;
        }
        let first = self.journal_next.write(|next| {
            *next += count;
            *next - count
        });
        let writing = self.journal_writes.enter().expect("this gate is never shut");
        Ok(JournalSpace { first, _writing: writing })
    }

    /// Makes the maps say everything the journal says, and starts over.
    async fn recycle(&self) -> Result<(), Error> {
        if !self.journal_writes.is_idle() {
            self.event(events::JOURNAL_WAIT);
            self.journal_writes.idle().await;
        }
        let flush = MapsFlush::unless(self.planted().has(Bug::RecycleWithoutFlush));
        let written = self.write_maps(flush).await;
        if !self.planted().has(Bug::RecycleIgnoresMapError) {
            written?;
        }
        self.journal_next.set(0);
        self.event(events::JOURNAL_RECYCLED);
        Ok(())
    }
}
