//! Storing guest ranges in data storage: allocation, growth, and the writes.
//!
//! Nothing here changes what a reader sees: what was stored becomes visible when it is
//! [published](Image::publish), which is one step for all its blocks and chunks.

use std::ops::Range;

use super::chunk_space::ChunkSpace;
use super::events;
use super::image::Image;
use super::planted::Bug;
use super::runs::{NewChunk, Run};
use super::shared_maps::Published;
use crate::disk::{DiskError, DiskErrorKind, WriteFlags};
use crate::error::Error;
use crate::requests::all;
use crate::sync::WHOLE;
use crate::units::ByteRange;

/// The longest stretch of zeros that travels together with guest data. Longer ones are written
/// slice by slice before it, so that memory stays bounded whatever the chunk size.
const ZEROS_MAX: u64 = 1 << 20;

impl Image {
    /// Stores `bytes` as the guest range `range`, allocating the chunks `unmapped`, which are not
    /// in the table yet. The caller holds a lock on the range that excludes every other store to
    /// it, and publishes what it gets.
    ///
    /// # Errors
    /// What a disk says. No request is in flight then, and the chunks are free again.
    pub(super) async fn store(
        &self,
        range: ByteRange,
        unmapped: &[u32],
        bytes: Vec<u8>,
        flags: WriteFlags,
    ) -> Result<Vec<NewChunk>, Error> {
        let new = self.allocate(unmapped)?;
        let stored = self.write_chunks(range, &new, bytes, flags).await;
        if let Err(error) = stored {
            self.release(&new);
            return Err(error);
        }
        Ok(new)
    }

    /// Makes stored blocks and chunks visible to readers and to the next write of the maps. Without
    /// a journal nothing else guarantees them, and nothing needs to: a guest flush writes the maps.
    pub(super) fn publish(&self, range: ByteRange, blocks: Range<u64>, new: &[NewChunk]) {
        let guaranteed = self.journal().is_none();
        self.maps.publish(&Published { range, blocks, new, guaranteed });
    }

    /// Gives chunks back that were not published. None of their writes may be in flight.
    pub(super) fn release(&self, new: &[NewChunk]) {
        if new.is_empty() {
            return;
        }
        // In any order with others that are given back.
        self.chunks.add(WHOLE, |chunks| {
            new.iter().for_each(|chunk| chunks.give_back(chunk.physical));
        });
    }

    pub(super) fn allocate(&self, unmapped: &[u32]) -> Result<Vec<NewChunk>, Error> {
        let mut new = Vec::with_capacity(unmapped.len());
        for &chunk in unmapped {
            let Some(taken) = self.chunks.write(ChunkSpace::take) else {
                self.release(&new);
                return Err(no_space("every physical chunk is in use"));
            };
            self.event(events::CHUNK_ALLOCATED);
            if taken.reused {
                self.event(events::CHUNK_REUSED);
            }
            let zero_from = self.known_zero_from(taken.reused);
            new.push(NewChunk { chunk, physical: taken.physical, zero_from });
        }
        Ok(new)
    }

    /// From which byte of storage on a chunk that was just taken is known to hold zeros: only where
    /// this session made the storage longer, on a disk that promises zeros, and has not written
    /// since. Whatever was there when the image was opened may be data that a power cut cut loose.
    fn known_zero_from(&self, reused: bool) -> u64 {
        if self.planted().has(Bug::RecycledChunkShowsOldData) {
            return 0;
        }
        if reused {
            return u64::MAX;
        }
        let careless = self.planted().has(Bug::NewChunkTakenForZero)
            || (self.opened_clean && self.planted().has(Bug::CopyOnReadChunkShowsBase));
        if careless { 0 } else { self.zero_from }
    }

    /// Writes `bytes`, the content of `range`, where the table and `new` say.
    async fn write_chunks(
        &self,
        range: ByteRange,
        new: &[NewChunk],
        bytes: Vec<u8>,
        flags: WriteFlags,
    ) -> Result<(), Error> {
        assert_eq!(range.len, bytes.len() as u64, "the bytes of {range}");
        let mut runs = self.maps.runs(range, new);
        self.make_room(&runs, new).await?;
        for run in &mut runs {
            if run.zeros_before + run.zeros_after > 0 {
                self.event(events::CHUNK_ZERO_FILLED);
            }
            self.write_long_zeros(run).await?;
        }
        let mut writes = Vec::with_capacity(runs.len());
        let mut bytes = Some(bytes);
        for run in &runs {
            let content = if runs.len() == 1 && run.storage().len == range.len {
                bytes.take().expect("taken once, by the only run")
            } else {
                let bytes = bytes.as_ref().expect("taken only by a single run");
                run_content(run, range, bytes)
            };
            let at = run.storage().offset;
            writes.push(self.barrier.disks.data.write(at, content, flags));
        }
        all("write data", writes).await
    }

    /// Makes the storage long enough for `runs` and all of `new`.
    pub(super) async fn make_room(&self, runs: &[Run], new: &[NewChunk]) -> Result<(), Error> {
        // Mapped chunks are promised already, and with them the length they need.
        let is_new = self.geometry.compact.is_none() || !new.is_empty();
        self.grow_storage(self.end_of_storage(runs, new), is_new).await
    }

    /// Where the storage has to end at least.
    fn end_of_storage(&self, runs: &[Run], new: &[NewChunk]) -> u64 {
        let written = runs.iter().map(|run| run.storage().end());
        // A new chunk belongs to the storage as a whole, also the part past the virtual disk.
        let chunk_end = |new: &NewChunk| self.geometry.chunk_offset(new.physical + 1);
        written.chain(new.iter().map(chunk_end)).max().unwrap_or(0)
    }

    /// Writes the zeros of a run that are too long to travel with its data.
    async fn write_long_zeros(&self, run: &mut Run) -> Result<(), Error> {
        if run.zeros_before > ZEROS_MAX {
            let start = run.storage().offset;
            self.write_zeros(ByteRange::new(start, run.zeros_before)).await?;
            run.zeros_before = 0;
        }
        if run.zeros_after > ZEROS_MAX {
            let start = run.offset + run.guest.len;
            self.write_zeros(ByteRange::new(start, run.zeros_after)).await?;
            run.zeros_after = 0;
        }
        Ok(())
    }

    pub(super) async fn write_zeros(&self, range: ByteRange) -> Result<(), Error> {
        let mut rest = range;
        while !rest.is_empty() {
            let slice = ByteRange::new(rest.offset, rest.len.min(ZEROS_MAX));
            let zeros = vec![0; usize::try_from(slice.len).expect("at most ZEROS_MAX")];
            let write = self.barrier.disks.data.write(slice.offset, zeros, WriteFlags::NONE);
            write.await.map_err(|error| Error::disk("zero chunk", error))?;
            rest = ByteRange::between(slice.end(), rest.end());
        }
        Ok(())
    }

    /// Makes the data storage reach to `end` at least: by the unit of a compact image, to its full
    /// length for a flat one. The new length is as volatile as data, and covered by the same flush.
    ///
    /// Before a session first stores where nothing was promised yet, it sets the length even if
    /// that is long enough: like everything else that is found on disk, the length may have been
    /// left out of reach by an earlier session's failed flush.
    async fn grow_storage(&self, end: u64, is_new: bool) -> Result<(), Error> {
        let data = &self.barrier.disks.data;
        let resizable = data.properties().resizable;
        let suffices = |len| {
            let vouched = !is_new || !resizable || self.length_is_set.get();
            len >= end && vouched
        };
        if suffices(data.len()) {
            return Ok(());
        }
        let _turn = self.growth_turn.lock().await;
        let len = data.len();
        if suffices(len) {
            return Ok(());
        }
        if !resizable {
            return Err(no_space("the data storage cannot be made longer"));
        }
        let new_len = if len >= end { len } else { self.grown_len(len, end) };
        let resized = data.resize(new_len).await;
        resized.map_err(|error| Error::disk("grow data storage", error))?;
        self.length_is_set.set(true);
        if new_len > len {
            self.event(events::STORAGE_GROWN);
        }
        Ok(())
    }

    fn grown_len(&self, len: u64, end: u64) -> u64 {
        let offset = self.geometry.data_offset;
        match &self.geometry.compact {
            None => offset + self.geometry.virtual_size,
            Some(compact) => {
                // More than all chunks need is never needed, whatever the unit.
                let all_chunks = offset + u64::from(compact.entries) * compact.chunk_len;
                len.max(offset).saturating_add(compact.grow_unit).min(all_chunks).max(end)
            }
        }
    }
}

/// What `run` writes: its part of `bytes`, the content of `range`, between its zeros.
fn run_content(run: &Run, range: ByteRange, bytes: &[u8]) -> Vec<u8> {
    let len = |len: u64| usize::try_from(len).expect("content fits in memory");
    let start = len(run.guest.offset - range.offset);
    let mut content = Vec::with_capacity(len(run.storage().len));
    content.resize(len(run.zeros_before), 0);
    content.extend_from_slice(&bytes[start..start + len(run.guest.len)]);
    content.resize(len(run.storage().len), 0);
    content
}

fn no_space(detail: &str) -> Error {
    Error::disk("allocate chunk", DiskError::new(DiskErrorKind::NoSpace, detail))
}
