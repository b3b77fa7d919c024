//! The clean flag: cleared once, before the first record or map sector of a session.
//!
//! The journal has no sequence numbers, so a record that an earlier session left behind would be
//! replayed as if it were new. The order that rules it out:
//!
//! 1. every journal sector that holds a record becomes zero, then flush;
//! 2. the header sector with `clean_shutdown` = 0 is written (one sector), then flush;
//! 3. only now records and map sectors are written.
//!
//! A power cut before the end of 2 leaves a clean image with complete maps, or a dirty one with an
//! empty journal: the same content either way.

use super::events;
use super::header::{CLEAN_SHUTDOWN_SECTOR, Header};
use super::image::Image;
use super::planted::Bug;
use crate::error::Error;
use crate::units::{ByteRange, SECTOR};

/// Bytes of the journal looked at in one request.
const SLICE_LEN: u64 = 1 << 20;

impl Image {
    /// Makes sure that the medium says that the image is in use.
    pub(super) async fn ensure_dirty(&self) -> Result<(), Error> {
        if self.dirty.get() {
            return Ok(());
        }
        let _turn = self.dirty_turn.lock().await;
        if self.dirty.get() {
            return Ok(());
        }
        let careless = self.planted().has(Bug::StaleJournalAfterLostDirtyFlag);
        if !careless {
            self.clear_journal().await?;
        }
        self.write_clean_flag(false).await?;
        if !careless {
            self.barrier.flush_metadata().await?;
        }
        self.dirty.set(true);
        Ok(())
    }

    /// Rewrites the header sector that holds the clean flag.
    pub(super) async fn write_clean_flag(&self, clean: bool) -> Result<(), Error> {
        let flag = i32::from(clean);
        self.write_header_sector(CLEAN_SHUTDOWN_SECTOR, |header| header.clean_shutdown = flag).await
    }

    /// Rewrites one sector of the header, with a change in it, nothing else of it; then the header
    /// in memory changes, too. Other sectors are neither looked at nor changed.
    pub(super) async fn write_header_sector(
        &self,
        sector: usize,
        change: impl Fn(&mut Header),
    ) -> Result<(), Error> {
        let at = sector as u64 * SECTOR;
        let bytes = self.header.read_part(at..at + SECTOR, |header| {
            let mut header = header.clone();
            change(&mut header);
            header.sector_with(sector).to_vec()
        });
        self.barrier.write_metadata("write header", at, bytes).await?;
        self.header.write_part(at..at + SECTOR, change);
        Ok(())
    }

    /// Makes every journal sector zero that holds a record, durably.
    async fn clear_journal(&self) -> Result<(), Error> {
        let Some(journal) = self.journal() else { return Ok(()) };
        let mut cleared = false;
        let mut at = journal.range.offset;
        while at < journal.range.end() {
            let slice = ByteRange::new(at, SLICE_LEN).intersection(journal.range);
            cleared |= self.clear_journal_slice(slice).await?;
            at = slice.end();
        }
        if cleared {
            self.event(events::JOURNAL_CLEARED);
        }
        // What was read as zero is durable only if a flush came after it was written.
        if cleared || !self.barrier.metadata_was_flushed() {
            self.barrier.flush_metadata().await?;
        }
        Ok(())
    }

    async fn clear_journal_slice(&self, slice: ByteRange) -> Result<bool, Error> {
        let bytes = self.barrier.read_metadata("read journal", slice).await?;
        let used = bytes.chunks_exact(512).map(|sector| sector[..4] != [0; 4]);
        let stretches = stretches(used);
        for &(first, count) in &stretches {
            let zeros = vec![0; count * 512];
            let offset = slice.offset + first as u64 * SECTOR;
            self.barrier.write_metadata("clear journal", offset, zeros).await?;
        }
        Ok(!stretches.is_empty())
    }
}

/// Stretches of true, as first index and count.
fn stretches(values: impl Iterator<Item = bool>) -> Vec<(usize, usize)> {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for (index, _) in values.enumerate().filter(|&(_, value)| value) {
        match stretches.last_mut() {
            Some((first, count)) if *first + *count == index => *count += 1,
            _ => stretches.push((index, 1)),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_true() {
        let check = |values: &[u8], expected: &[(usize, usize)]| {
            assert_eq!(stretches(values.iter().map(|&value| value == 1)), expected);
        };
        check(&[], &[]);
        check(&[0, 0], &[]);
        check(&[1, 1, 0, 1], &[(0, 2), (3, 1)]);
        check(&[0, 1, 1], &[(1, 2)]);
    }
}
