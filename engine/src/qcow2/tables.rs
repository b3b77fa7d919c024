//! Reading and changing metadata tables by slices.

use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use super::events;
use super::planted::{Bug, PlantedBugs};
use super::slices::{DirtySlice, Kind, Slices};
use crate::disk::Disk;
use crate::error::Error;
use crate::requests::read;
use crate::runtime::Runtime;
use crate::sync::{LockMode, RangeLock, Shared};
use crate::units::ByteRange;

/// The tables of an image, as its tasks reach them. A *part* of them is a range of the file.
///
/// A slice is loaded by one task at a time; what is in memory is never replaced by what is read.
pub(super) struct Tables {
    slice_len: u64,
    slices_max: usize,
    file: Arc<dyn Disk>,
    runtime: Arc<dyn Runtime>,
    slices: Shared<Slices>,
    loading: RangeLock,
    /// A planted bug.
    lookup_without_lock: bool,
}

/// Stands for which slices are dirty: no byte of a file.
const CHANGED: Range<u64> = u64::MAX - 1..u64::MAX;
/// All bytes of a file.
const CONTENT: Range<u64> = 0..u64::MAX - 1;

/// Some bytes of a table, within one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// What it is a piece of.
    pub(super) kind: Kind,
    /// First byte in the file.
    pub(super) offset: u64,
    /// How many.
    pub(super) len: u64,
}

impl Tables {
    pub(super) fn new(
        file: Arc<dyn Disk>,
        runtime: Arc<dyn Runtime>,
        (slice_len, slices_max): (u64, usize),
        slices: Slices,
        planted: PlantedBugs,
    ) -> Self {
        let tracker = runtime.tracker();
        Self {
            slice_len,
            slices_max,
            file,
            runtime,
            slices: Shared::new(&tracker, slices),
            loading: RangeLock::new(&tracker),
            lookup_without_lock: planted.has(Bug::CacheLookupWithoutLock),
        }
    }

    /// Where the slice ends that holds the byte at `offset`.
    pub(super) fn slice_end(&self, offset: u64) -> u64 {
        offset / self.slice_len * self.slice_len + self.slice_len
    }

    /// What `look` finds in the bytes of `place`, if their slice is in memory.
    pub(super) fn try_read<R: Hash>(&self, place: Place, look: impl Fn(&[u8]) -> R) -> Option<R> {
        let (slice, bytes) = self.within(place);
        self.slices.read_part(part(place), |slices| {
            slices.get(slice).map(|content| look(&content[bytes.clone()]))
        })
    }

    /// What `look` finds in the bytes of `place`, of a table that does not go away meanwhile.
    pub(super) async fn read<R: Hash>(
        &self,
        place: Place,
        look: impl Fn(&[u8]) -> R,
    ) -> Result<R, Error> {
        loop {
            match self.try_read(place, &look) {
                Some(seen) => return Ok(seen),
                None => self.load_for(place).await?,
            }
        }
    }

    /// Changes the bytes of `place`, if their slice is in memory.
    pub(super) fn try_change<R: Hash>(
        &self,
        place: Place,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        let (slice, bytes) = self.within(place);
        self.slices.add(CHANGED, |_| ());
        self.slices.write_part(part(place), |slices| {
            slices.change(slice, |content| change(&mut content[bytes]))
        })
    }

    /// Brings the slice of `place` into memory, for a moment at least.
    pub(super) async fn load_for(&self, place: Place) -> Result<(), Error> {
        let (slice, _) = self.within(place);
        self.load(slice, place.kind).await
    }

    async fn load(&self, slice: u64, kind: Kind) -> Result<(), Error> {
        let range = ByteRange::new(slice, self.slice_len);
        let key = self.loading.new_key();
        let locked = if self.lookup_without_lock { ByteRange::new(0, 0) } else { range };
        let _lock = self.loading.lock(key, locked, LockMode::Exclusive).await;
        let is_here = |slices: &Slices| slices.get(slice).is_some();
        let range_of_slice = range.offset..range.end();
        if self.slices.read_part(range_of_slice.clone(), is_here) {
            return Ok(());
        }
        let doing = match kind {
            Kind::Refcounts => "read refcount block",
            Kind::L2 => "read L2 table",
        };
        self.slices.write_part(range_of_slice.clone(), |slices| slices.begin_loading(slice));
        let read = read(&*self.file, doing, range).await;
        self.slices.write_part(range_of_slice, |slices| {
            if self.lookup_without_lock {
                slices.forget(slice, 1);
                slices.begin_loading(slice);
            }
            let loaded = read.as_ref().ok().map(|bytes| (kind, bytes.clone()));
            slices.end_loading(slice, loaded);
        });
        read?;
        self.evict(slice);
        Ok(())
    }

    /// Drops clean slices while there are too many.
    fn evict(&self, newest: u64) {
        // Looking at how many there are would make every two loads depend on each other; only
        // where there is a limit within reach they do.
        if self.slices_max == usize::MAX {
            return;
        }
        while self.slices.write(|slices| slices.evict_one(self.slices_max, newest)) {
            self.runtime.event(events::SLICE_EVICTED);
        }
    }

    /// Whether there are more slices that cannot be dropped than are wanted in memory.
    pub(super) fn is_full(&self) -> bool {
        self.slices_max != usize::MAX
            && self.slices.read(|slices| slices.pinned() > self.slices_max)
    }

    /// See [`Slices::take_dirty`].
    pub(super) fn take_dirty(&self, wanted: impl Fn(Kind) -> bool) -> Vec<DirtySlice> {
        self.slices.read_part(CONTENT, |_| ());
        self.slices.write_part(CHANGED, |slices| slices.take_dirty(wanted))
    }

    /// See [`Slices::has_dirty`].
    pub(super) fn has_dirty(&self, kind: Kind) -> bool {
        self.slices.read_part(CHANGED, |slices| slices.has_dirty(kind))
    }

    /// See [`Slices::written`].
    pub(super) fn written(&self) {
        self.slices.write_part(CHANGED, Slices::written);
    }

    /// See [`Slices::not_written`].
    pub(super) fn not_written(&self) {
        self.slices.write_part(CHANGED, Slices::not_written);
    }

    /// See [`Slices::forget`].
    pub(super) fn forget(&self, cluster: u64, cluster_len: u64) {
        self.slices.add(CHANGED, |_| ());
        self.slices.write_part(cluster..cluster + cluster_len, |slices| {
            slices.forget(cluster, cluster_len);
        });
    }

    /// A copy of all that is in memory.
    pub(super) fn copy(&self) -> Slices {
        self.slices.read(Slices::clone)
    }

    /// The slice that holds `place`, and where in it.
    fn within(&self, place: Place) -> (u64, Range<usize>) {
        let slice = place.offset / self.slice_len * self.slice_len;
        let end = place.offset + place.len;
        assert!(end <= slice + self.slice_len, "{place:?} is not within one slice");
        let at = |offset: u64| usize::try_from(offset - slice).expect("within a slice");
        (slice, at(place.offset)..at(end))
    }
}

fn part(place: Place) -> Range<u64> {
    place.offset..place.offset + place.len
}
