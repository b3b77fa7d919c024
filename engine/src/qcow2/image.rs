//! The running image: its handle, and the state that its tasks share.

use std::future::Future;
use std::sync::Arc;

use super::bitmaps::Bitmaps;
use super::disks::{Barrier, Cache, Disks};
use super::events;
use super::fields::{Fields, HeaderSector};
use super::frees::Frees;
use super::geometry::Geometry;
use super::header::{Compression, Header, autoclear, incompatible};
use super::l1_table::{ActiveL1, L1Table};
use super::l2::EntryFormat;
use super::owners::Owners;
use super::planted::PlantedBugs;
use super::refcount_table::RefcountTable;
use super::slices::Slices;
use super::snapshot_table::SnapshotTable;
use super::space::Space;
use super::tables::Tables;
use crate::access::Access;
use crate::error::Error;
use crate::resolver::Resolver;
use crate::runtime::{BoxTask, Runtime};
use crate::sync::{Gate, LockKey, LockMode, Mutex, RangeGuard, RangeLock, Shared, WakeOrder};
use crate::units::{ByteRange, SECTOR};

/// No guest byte lies here or behind: far from the end of what a number can hold.
pub(super) const GUEST_END: u64 = 1 << 62;

/// How to open an image.
#[derive(Clone)]
pub struct OpenOptions {
    /// Whether it can be written.
    pub access: Access,
    /// Opens the backing file and the data file.
    pub resolver: Arc<dyn Resolver>,
    /// The world around the image.
    pub runtime: Arc<dyn Runtime>,
    /// Faults to build in.
    pub planted: PlantedBugs,
    /// Whether freed clusters are discarded in the file.
    pub discards: bool,
    /// Bytes of metadata tables that are read and kept as one: a power of two, at least 512; no
    /// more than a cluster is used.
    pub slice_len: u64,
    /// How many slices are kept in memory; at least one. Beyond it clean ones are dropped, and a
    /// write that has made too many dirty ones makes them durable before it ends.
    pub slices_max: usize,
}

impl OpenOptions {
    /// Slices of 4 KiB, at most 4096 of them, no host discards, no planted bugs.
    #[must_use]
    pub fn new(access: Access, resolver: Arc<dyn Resolver>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            access,
            resolver,
            runtime,
            planted: PlantedBugs::NONE,
            discards: false,
            slice_len: 4096,
            slices_max: 4096,
        }
    }
}

/// What an open image knows and may change: a value that can be cloned, compared and resumed.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) l1: L1Table,
    pub(super) refcount_table: RefcountTable,
    pub(super) slices: Slices,
    pub(super) header: HeaderState,
    pub(super) owners: Owners,
    pub(super) space: Space,
    pub(super) frees: Frees,
    pub(super) snapshots: SnapshotTable,
    pub(super) bitmaps: Bitmaps,
    /// Whether what has to be durable before the first change is.
    pub(super) is_prepared: bool,
    pub(super) is_corrupt: bool,
    pub(super) cache: Cache,
}

/// The header's changing fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HeaderState {
    /// The sector that holds them.
    pub(super) sector: HeaderSector,
    /// As they are now.
    pub(super) fields: Fields,
    /// As they were last written; the most that the medium can know.
    pub(super) written: Fields,
    /// Whether the last write of them failed, so that the medium may know less.
    pub(super) is_unknown: bool,
}

impl HeaderState {
    /// Clears the dirty bit; whether it was set.
    pub(super) fn clear_dirty_bit(&mut self) -> bool {
        let before = self.fields.incompatible;
        self.fields.incompatible &= !incompatible::DIRTY;
        before != self.fields.incompatible
    }
}

/// What the tasks of an open image share.
pub(super) struct Image {
    pub(super) geometry: Geometry,
    pub(super) options: OpenOptions,
    pub(super) format: EntryFormat,
    /// The header as it was when the image was opened; for what changes see `fields`.
    pub(super) settings: Header,
    pub(super) barrier: Barrier,
    /// L2 tables and refcount blocks; a part is a range of the file.
    pub(super) tables: Tables,
    /// The active L1 table; a part is a range of its indices.
    pub(super) l1: ActiveL1,
    pub(super) refcount_table: Shared<RefcountTable>,
    pub(super) header: Shared<HeaderState>,
    /// Bytes the guest sees, also in the header's fields.
    pub(super) virtual_size: Shared<u64>,
    /// Clusters of metadata; a part is a range of cluster indices.
    pub(super) owners: Shared<Owners>,
    /// Where clusters are taken from; changed by who has the turn to allocate.
    pub(super) space: Shared<Space>,
    /// References whose removal is not durable.
    pub(super) frees: Shared<Frees>,
    pub(super) snapshots: Shared<SnapshotTable>,
    /// Persistent bitmaps; a part is a range of guest bytes.
    pub(super) bitmaps: Shared<Bitmaps>,
    /// Whether writes have to be noted in them.
    pub(super) tracks_bitmaps: bool,
    /// Whether something has to be durable before the first change.
    pub(super) needs_preparing: bool,
    /// Whether it is.
    pub(super) is_prepared: Shared<bool>,
    /// Whether the image was found to be corrupt: nothing is written any more.
    pub(super) is_corrupt: Shared<bool>,
    /// Requests; shut by close.
    pub(super) requests: Gate,
    /// Guest ranges that are being read or changed.
    pub(super) locks: RangeLock,
    /// L1 indices whose L2 tables are being allocated.
    pub(super) table_locks: RangeLock,
    /// Who may change refcounts.
    pub(super) allocation_turn: Mutex,
    /// Who makes metadata durable.
    pub(super) commit_turn: Mutex,
    /// Who makes the image ready to be written.
    pub(super) first_write_turn: Mutex,
}

impl Image {
    pub(super) fn new(
        geometry: Geometry,
        settings: Header,
        options: OpenOptions,
        disks: Disks,
        state: State,
    ) -> Self {
        let runtime = &options.runtime;
        let tracker = &runtime.tracker();
        let slice_len = options.slice_len.clamp(SECTOR, settings.cluster_len());
        let needs_preparing = !disks.file.len().is_multiple_of(settings.cluster_len())
            || state.bitmaps.tracks()
            || settings.autoclear & !autoclear::KNOWN != 0;
        let in_order = || Mutex::new(tracker, WakeOrder::FirstComeFirstServed);
        let file = Arc::clone(&disks.file);
        let tables = Tables::new(
            file,
            Arc::clone(runtime),
            (slice_len, options.slices_max),
            state.slices,
            options.planted,
        );
        Self {
            format: settings.entry_format(),
            barrier: Barrier::new(disks, Arc::clone(runtime), state.cache),
            tables,
            l1: ActiveL1::new(tracker, state.l1),
            refcount_table: Shared::new(tracker, state.refcount_table),
            virtual_size: Shared::new(tracker, state.header.fields.virtual_size),
            header: Shared::new(tracker, state.header),
            owners: Shared::new(tracker, state.owners),
            space: Shared::new(tracker, state.space),
            frees: Shared::new(tracker, state.frees),
            snapshots: Shared::new(tracker, state.snapshots),
            needs_preparing,
            is_prepared: Shared::new(tracker, state.is_prepared),
            tracks_bitmaps: state.bitmaps.tracks(),
            bitmaps: Shared::new(tracker, state.bitmaps),
            is_corrupt: Shared::new(tracker, state.is_corrupt),
            requests: Gate::new(tracker),
            locks: RangeLock::new(tracker),
            table_locks: RangeLock::new(tracker),
            allocation_turn: in_order(),
            commit_turn: in_order(),
            first_write_turn: in_order(),
            geometry,
            settings,
            options,
        }
    }

    pub(super) fn planted(&self) -> PlantedBugs {
        self.options.planted
    }

    pub(super) fn event(&self, event: &'static str) {
        self.options.runtime.event(event);
    }

    pub(super) fn cluster_len(&self) -> u64 {
        1 << self.format.cluster_bits
    }

    pub(super) fn compression(&self) -> Compression {
        self.settings.compression
    }

    pub(super) fn virtual_size(&self) -> u64 {
        self.virtual_size.get()
    }

    /// Whether guest data is in a file of its own.
    pub(super) fn has_data_file(&self) -> bool {
        self.barrier.disks.data.is_some()
    }

    /// Whether the external data file is to be usable as a raw image.
    pub(super) fn data_file_is_raw(&self) -> bool {
        self.has_data_file() && self.settings.autoclear & autoclear::DATA_FILE_RAW != 0
    }

    /// Whether refcounts may be left behind.
    pub(super) fn is_lazy(&self) -> bool {
        self.settings.has_lazy_refcounts()
    }

    pub(super) fn is_writable(&self) -> bool {
        self.options.access == Access::ReadWrite
    }

    /// Fails if nothing may be written.
    pub(super) fn check_writable(&self) -> Result<(), Error> {
        if !self.is_writable() {
            return Err(Error::ReadOnly);
        }
        self.check_sound()
    }

    /// Fails if the image was found to be corrupt.
    pub(super) fn check_sound(&self) -> Result<(), Error> {
        if self.is_corrupt.get() {
            return Err(Error::corrupt(
                "image",
                "an image that was found to be corrupt is not written before a repair",
                "the corrupt bit",
            ));
        }
        Ok(())
    }

    /// The range of a request, if it is made of sectors of a disk of this length.
    pub(super) fn guest_range(&self, offset: u64, len: u64, disk: u64) -> Result<ByteRange, Error> {
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
            Some(end) if end <= disk => Ok(ByteRange::new(offset, len)),
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

    /// The whole clusters around a range.
    pub(super) fn clusters_around(&self, range: ByteRange) -> ByteRange {
        range.aligned_out(self.cluster_len())
    }

    /// Notes that the image is corrupt: nothing is written any more, but the bit that says so, by the
    /// request that has found out when it ends. Returns the error.
    pub(super) fn mark_corrupt(
        &self,
        structure: impl Into<String>,
        rule: &'static str,
        found: impl std::fmt::Display,
    ) -> Error {
        if !self.is_corrupt.write(|flag| std::mem::replace(flag, true)) {
            self.event(events::MARKED_CORRUPT);
        }
        Error::corrupt(structure, rule, found)
    }

    /// Writes the corrupt bit if a request has found a reason to.
    pub(super) async fn report_corruption(&self) {
        let can_tell = self.is_writable() && self.settings.version >= 3;
        if can_tell && self.is_corrupt.get() {
            self.write_corrupt_bit().await;
        }
    }

    /// Goes on with a request whose caller has gone. From now on its range shuts out later
    /// requests, also where it was shared.
    pub(super) fn detach<T, F>(&self, key: LockKey, rest: F)
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.locks.make_exclusive(key);
        self.event(events::WRITE_DETACHED);
        // Nobody is left to be told whether it worked; the latch of the barrier keeps what matters.
        let task: BoxTask = Box::pin(async move { drop(rest.await) });
        self.options.runtime.spawn("detached", task);
    }
}
