//! The running image: its handle, and the state that its tasks share.

use std::future::Future;
use std::sync::Arc;

use super::barrier::{Barrier, Disks};
use super::check::{CheckReport, check};
use super::chunk_space::ChunkSpace;
use super::events;
use super::geometry::{Geometry, JournalGeometry};
use super::header::Header;
use super::map::Extent;
use super::maps::Maps;
use super::planted::{Bug, PlantedBugs};
use super::shared_maps::SharedMaps;
use crate::access::Access;
use crate::error::Error;
use crate::resolver::Resolver;
use crate::runtime::{BoxTask, Runtime};
use crate::sync::{
    Event, Gate, LockKey, LockMode, Mutex, RangeGuard, RangeLock, Shared, WakeOrder,
    finish_when_dropped,
};
use crate::units::{ByteRange, SECTOR};

/// How to open an image.
#[derive(Clone)]
pub struct OpenOptions {
    /// Whether it can be written.
    pub access: Access,
    /// Whether a virtual machine runs on it: copy-on-read and prefetching do what the header says.
    /// Tools leave both off.
    pub background: bool,
    /// Opens the base and the data file.
    pub resolver: Arc<dyn Resolver>,
    /// The world around the image.
    pub runtime: Arc<dyn Runtime>,
    /// Faults to build in.
    pub planted: PlantedBugs,
}

/// Whether the rest of the base is being copied in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrefetchState {
    /// Not asked for, or not for this kind of open.
    Off,
    /// Waiting for its start, pausing or copying.
    Running,
    /// An error ended it; the base is still needed.
    Disabled,
    /// Everything is local: the base is not needed any more.
    Finished,
}

/// What an open image knows and may change: a value that can be cloned, compared and resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The header with its flags as they are now.
    pub header: Box<Header>,
    /// Bitmap and table.
    pub maps: Maps,
    /// Free chunks.
    pub(super) chunks: ChunkSpace,
    /// Where storage starts that did not exist when the image was opened, and that its disk
    /// promises to be zero.
    pub(super) zero_from: u64,
    /// Whether this session has set the length of the data storage.
    pub(super) length_is_set: bool,
    /// Whether the image was marked clean when it was opened.
    pub(super) opened_clean: bool,
    /// Whether the medium says that the image was not closed cleanly: true before any record or
    /// map sector of this session can be on it.
    pub(super) dirty: bool,
    /// The journal sector to be written next.
    pub(super) journal_next: u64,
    /// Bytes that copy-on-read has in flight.
    pub(super) copying: u64,
    /// What prefetching does.
    pub prefetch: PrefetchState,
}

/// An open FVD image. Clones are handles to the same image.
///
/// Requests may run at the same time. A request that is dropped after it was first polled goes on
/// in the background, holding its locks, so that it takes effect, if at all, before any later
/// request that touches the same bytes; only reads are simply forgotten.
#[derive(Clone)]
pub struct Fvd {
    pub(super) image: Arc<Image>,
}

/// What the tasks of an open image share.
pub(super) struct Image {
    pub(super) geometry: Geometry,
    pub(super) options: OpenOptions,
    pub(super) barrier: Barrier,
    /// What the header asks for. Its two flags are those of the moment of opening: see `header`.
    pub(super) settings: Box<Header>,
    /// See [`State::header`]; a part is a range of its bytes.
    pub(super) header: Shared<Header>,
    /// See [`State::maps`].
    pub(super) maps: SharedMaps,
    /// See [`State::chunks`]. Which chunk is taken depends on who took one before.
    pub(super) chunks: Shared<ChunkSpace>,
    /// See [`State::zero_from`].
    pub(super) zero_from: u64,
    /// See [`State::length_is_set`].
    pub(super) length_is_set: Shared<bool>,
    /// See [`State::opened_clean`].
    pub(super) opened_clean: bool,
    /// See [`State::dirty`].
    pub(super) dirty: Shared<bool>,
    /// See [`State::journal_next`].
    pub(super) journal_next: Shared<u64>,
    /// See [`State::copying`].
    pub(super) copying: Shared<u64>,
    /// See [`State::prefetch`].
    pub(super) prefetch_state: Shared<PrefetchState>,
    /// Requests and background work; shut by close.
    pub(super) requests: Gate,
    /// Guest ranges that are being changed.
    pub(super) locks: RangeLock,
    /// Who may take journal space, or make some.
    pub(super) journal_turn: Mutex,
    /// Journal writes in flight.
    pub(super) journal_writes: Gate,
    /// Who writes the maps.
    pub(super) maps_turn: Mutex,
    /// Who clears the clean flag.
    pub(super) dirty_turn: Mutex,
    /// Who makes the data storage longer.
    pub(super) growth_turn: Mutex,
    /// Raised when background work is to end.
    pub(super) stopping: Event,
}

impl Fvd {
    /// Reads a guest range. Offset and length are multiples of 512.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::InvalidArgument`], or what a disk says.
    pub async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        self.image.read(range).await
    }

    /// Writes `data` at `offset`, both multiples of 512.
    ///
    /// When it fails, each sector of the range holds the old or the new content.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::ReadOnly`], [`Error::InvalidArgument`], [`Error::BarrierLost`]
    /// if it had to change the maps, or what a disk says.
    pub fn write(
        &self,
        offset: u64,
        data: Vec<u8>,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let image = Arc::clone(&self.image);
        async move {
            let key = image.locks.new_key();
            let work = Arc::clone(&image).write(key, offset, data);
            finish_when_dropped(work, |rest| image.detach(key, rest)).await
        }
    }

    /// Makes every write completed before this call survive a power cut.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::BarrierLost`] if an earlier flush failed, or what a disk says.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let image = Arc::clone(&self.image);
        async move {
            // Even a pure flush is not dropped half way: its failure must be noticed.
            let key = image.locks.new_key();
            let work = Arc::clone(&image).flush();
            finish_when_dropped(work, |rest| image.detach(key, rest)).await
        }
    }

    /// Closes the image: waits for everything that is in flight, writes the maps, and marks the
    /// image clean. Later requests fail with [`Error::Closed`], also when closing fails.
    ///
    /// # Errors
    /// [`Error::Closed`] if it was closed before; otherwise what kept the image from being marked
    /// clean. It then opens like after a power cut.
    pub fn close(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let image = Arc::clone(&self.image);
        async move {
            let key = image.locks.new_key();
            let work = Arc::clone(&image).close();
            finish_when_dropped(work, |rest| image.detach(key, rest)).await
        }
    }

    /// Looks at the metadata on disk, as [`check`](super::check::check) does. What is in memory only
    /// is not seen.
    ///
    /// # Errors
    /// Those of [`check`](super::check::check).
    pub async fn check(&self) -> Result<CheckReport, Error> {
        let disks = self.disks();
        let data_len = self.image.geometry.separate_data.then(|| disks.data.len());
        check(&*disks.metadata, data_len).await
    }

    /// Where the guest range lives now, without what lies past the virtual disk.
    #[must_use]
    pub fn map(&self, range: ByteRange) -> Vec<Extent> {
        self.image.maps.lookup(range)
    }

    /// The header, with its flags as they are now.
    #[must_use]
    pub fn header(&self) -> Header {
        self.image.header.read(Header::clone)
    }

    /// Where everything is.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.image.geometry
    }

    /// Whether the rest of the base is being copied.
    #[must_use]
    pub fn prefetch_state(&self) -> PrefetchState {
        self.image.prefetch_state.get()
    }

    /// Bytes the guest sees.
    #[must_use]
    pub fn virtual_size(&self) -> u64 {
        self.image.geometry.virtual_size
    }

    /// The disks the image consists of.
    #[must_use]
    pub fn disks(&self) -> &Disks {
        &self.image.barrier.disks
    }

    /// A copy of everything the image knows.
    #[must_use]
    pub fn state(&self) -> State {
        let image = &self.image;
        State {
            header: Box::new(self.header()),
            maps: image.maps.copy(),
            chunks: image.chunks.read(ChunkSpace::clone),
            zero_from: image.zero_from,
            length_is_set: image.length_is_set.get(),
            opened_clean: image.opened_clean,
            dirty: image.dirty.get(),
            journal_next: image.journal_next.get(),
            copying: image.copying.get(),
            prefetch: self.prefetch_state(),
        }
    }

    /// A second image in the same state, on disks that hold the same bytes. Nothing is read or
    /// written, and no background work is started.
    ///
    /// # Panics
    /// If a request is in flight: the copy would wait for it forever.
    #[must_use]
    pub fn fork(&self, disks: Disks) -> Self {
        assert!(self.image.requests.is_idle(), "requests are in flight");
        let (geometry, options) = (self.image.geometry.clone(), self.image.options.clone());
        Self { image: Arc::new(Image::new(geometry, options, disks, self.state())) }
    }
}

impl Image {
    pub(super) fn new(
        geometry: Geometry,
        options: OpenOptions,
        disks: Disks,
        state: State,
    ) -> Self {
        let journal_order = if options.planted.has(Bug::JournalWaitersLifo) {
            WakeOrder::LastComeFirstServed
        } else {
            WakeOrder::FirstComeFirstServed
        };
        let tracker = &options.runtime.tracker();
        Self {
            barrier: Barrier::new(disks, Arc::clone(&options.runtime)),
            settings: state.header.clone(),
            header: Shared::new(tracker, *state.header),
            maps: SharedMaps::new(tracker, geometry.clone(), state.maps),
            chunks: Shared::new(tracker, state.chunks),
            zero_from: state.zero_from,
            length_is_set: Shared::new(tracker, state.length_is_set),
            opened_clean: state.opened_clean,
            dirty: Shared::new(tracker, state.dirty),
            journal_next: Shared::new(tracker, state.journal_next),
            copying: Shared::new(tracker, state.copying),
            prefetch_state: Shared::new(tracker, state.prefetch),
            requests: Gate::new(tracker),
            locks: RangeLock::new(tracker),
            journal_turn: Mutex::new(tracker, journal_order),
            journal_writes: Gate::new(tracker),
            maps_turn: Mutex::new(tracker, WakeOrder::FirstComeFirstServed),
            dirty_turn: Mutex::new(tracker, WakeOrder::FirstComeFirstServed),
            growth_turn: Mutex::new(tracker, WakeOrder::FirstComeFirstServed),
            stopping: Event::new(tracker),
            geometry,
            options,
        }
    }

    pub(super) fn planted(&self) -> PlantedBugs {
        self.options.planted
    }

    pub(super) fn event(&self, event: &'static str) {
        self.options.runtime.event(event);
    }

    pub(super) fn journal(&self) -> Option<&JournalGeometry> {
        self.geometry.journal.as_ref()
    }

    /// Whether there is a bitmap or a table.
    pub(super) fn has_maps(&self) -> bool {
        self.geometry.base.is_some() || self.geometry.compact.is_some()
    }

    pub(super) fn is_writable(&self) -> bool {
        self.options.access == Access::ReadWrite
    }

    /// The range of a request, if it is made of sectors of the virtual disk.
    pub(super) fn guest_range(&self, offset: u64, len: u64) -> Result<ByteRange, Error> {
        let refuse = |what, rule, found: u64| {
            Err(Error::InvalidArgument { what, rule, found: found.to_string() })
        };
        if !offset.is_multiple_of(SECTOR) {
            return refuse("offset", "is a multiple of 512", offset);
        }
        if !len.is_multiple_of(SECTOR) {
            return refuse("length", "is a multiple of 512", len);
        }
        match offset.checked_add(len) {
            Some(end) if end <= self.geometry.virtual_size => Ok(ByteRange::new(offset, len)),
            _ => refuse("range", "ends within the virtual disk", offset.saturating_add(len)),
        }
    }

    /// Waits for a guest range.
    pub(super) async fn lock(&self, key: LockKey, range: ByteRange, mode: LockMode) -> RangeGuard {
        let locking = self.locks.lock(key, range, mode);
        if !locking.is_granted() {
            self.event(events::LOCK_WAIT);
        }
        locking.await
    }

    /// Goes on with a request whose caller has gone. From now on its range shuts out later
    /// requests, also where it was shared.
    fn detach<F>(&self, key: LockKey, rest: F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.locks.make_exclusive(key);
        self.event(events::WRITE_DETACHED);
        // Nobody is left to be told whether it worked; the latch of the barrier keeps what matters.
        let task: BoxTask = Box::pin(async move { drop(rest.await) });
        self.options.runtime.spawn("detached", task);
    }
}
