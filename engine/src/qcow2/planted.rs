//! Faults of real qcow2 code that can be built in, to prove that the harness finds them.
//!
//! Each variant is named in one place of the engine, in a call of [`PlantedBugs::has`] that changes
//! one line or branch. Without the feature `planted` the answer is the constant false.

use crate::planted::planted_bugs;

planted_bugs! {
    /// The L2 entry is made durable before the guest data and what completes its cluster.
    LinkBeforeData = "qcow2-link-before-data",
    /// The refcount of a replaced cluster is lowered before the L2 entry is changed.
    FreeOldBeforeLink = "qcow2-free-old-before-link",
    /// A discard does not wait for a write of the same cluster.
    WriteVsDiscardRelink = "qcow2-write-vs-discard-relink",
    /// A write in place lets go of its range before its data is written.
    RewriteVsDiscardReuse = "qcow2-rewrite-vs-discard-reuse",
    /// A freed cluster is discarded on the host after it can be taken again.
    StalePunchAfterReuse = "qcow2-stale-punch-after-reuse",
    /// A cluster can be taken again before the removal of its last reference is durable.
    ReuseBeforeUnlinkDurable = "qcow2-reuse-before-unlink-durable",
    /// Zeroing gives up the host cluster, durably, before the entry is changed.
    ZeroFreeBeforeL2Set = "qcow2-zero-free-before-l2-set",
    /// Writes that allocate do not exclude each other.
    ConcurrentAllocSameCluster = "qcow2-concurrent-alloc-same-cluster",
    /// The L1 entry is written at the same time as the new table that it points to.
    L1PointsToUninitialisedL2 = "qcow2-l1-points-to-uninitialised-l2",
    /// No flush between new tables, refcounts and data, and what points to them.
    L1UpdateNotSynced = "qcow2-l1-update-not-synced",
    /// No flush between the refcount table and the links that rely on it.
    RefcountTableNotSynced = "qcow2-l1-update-not-synced-refcount-table",
    /// Copying an L2 table gives up the old one before there is a new one.
    RelocateReleaseBeforeAcquire = "qcow2-relocate-release-before-acquire",
    /// Copying an L2 table lowers the old one's refcount before the L1 entry is changed.
    L2CowFreeBeforeSwitch = "qcow2-l2cow-free-before-switch",
    /// Repair takes clusters for new refcount blocks that are in use but not counted.
    RepairOverwritesReferenced = "qcow2-repair-overwrites-referenced",
    /// Freed clusters are discarded on the host together, when they can be taken again already.
    QueuedDiscardAfterRealloc = "qcow2-queued-discard-after-realloc",
    /// Two tasks may load the same slice; the later one replaces what the earlier one has changed.
    CacheLookupWithoutLock = "qcow2-cache-lookup-without-lock",
    /// The refcounts of a deleted snapshot fall before the snapshot table is replaced.
    SnapshotDeleteOrder = "qcow2-snapshot-delete-order",
    /// Applying a snapshot takes the references of the old tree away first.
    SnapshotGotoOrder = "qcow2-snapshot-goto-order",
    /// What a write has to do is decided before it has its turn.
    SyncEmulationReenters = "qcow2-sync-emulation-reenters",
    /// Close ignores that metadata could not be written, and clears the dirty bit.
    CloseMarksCleanAfterFlushError = "qcow2-close-marks-clean-after-flush-error",
    /// The header points to a new snapshot table before the refcounts of its tree are durable.
    SnapshotTableBeforeRefcounts = "qcow2-snapshot-table-before-refcounts",
    /// A new refcount block counts itself only after it was linked.
    RefblockRefcountLast = "qcow2-refblock-refcount-last",
    /// With lazy refcounts nothing makes the data durable before the entry.
    LazyRefcountsNoDataBarrier = "qcow2-lazy-refcounts-no-data-barrier",
    /// Refcounts and the entries that rely on them are written at the same time.
    CompressedL2BeforeRefcount = "qcow2-compressed-l2-before-refcount",
    /// A write that fails does not let go of its range.
    DependentsNotWokenOnError = "qcow2-dependents-not-woken-on-error",
    /// A write that fails half way gives back the clusters that are linked already.
    StaleCacheAfterWriteError = "qcow2-stale-cache-after-write-error",
    /// A failed flush between two phases is ignored.
    SyncWriteIgnoresFlushError = "qcow2-sync-write-ignores-flush-error",
    /// A write that gets no cluster does not let go of its range.
    FailedAllocStaysInFlight = "qcow2-failed-alloc-stays-in-flight",
    /// Close makes everything durable before the last requests have ended.
    CloseFlushBeforeDrain = "qcow2-close-flush-before-drain",
    /// Place and size of a table are changed in the header one after the other.
    HeaderPointerAndSizeSplit = "qcow2-header-pointer-and-size-split",
    /// Repair clears the dirty bit although something could not be read.
    RepairMarksCleanWithErrors = "qcow2-repair-marks-clean-with-errors",
    /// Clusters found before a refcount block was added there are used nevertheless.
    RefblockOverlapsData = "qcow2-refblock-overlaps-data",
    /// A commit that fails keeps its turn.
    FlushErrorKeepsLock = "qcow2-flush-error-keeps-lock",
    /// What a new cluster needs of the backing file is read as if the guest had asked.
    ReentrantSelfRead = "qcow2-reentrant-self-read",
    /// What a growth adds is not made to read as zeros.
    GrowExposesBacking = "qcow2-grow-exposes-backing",
    /// Applying a snapshot whose L1 table is smaller keeps the old number of entries in the header.
    SnapshotGotoL1Size = "qcow2-snapshot-goto-l1-size",
    /// That a refcount block had to be added is taken for an error.
    RetryNotHandled = "qcow2-retry-not-handled",
    /// Refcounts below a byte are shifted by their index instead of their bits.
    SubbyteRefcountAliasing = "qcow2-subbyte-refcount-aliasing",
    /// Structures that overlap are not refused, and guest data is written anywhere.
    HostOverlappingMetadata = "host-overlapping-metadata",
    /// A free cluster may be one of metadata, also that of the header.
    HostAllocationAtZero = "host-allocation-at-zero",
    /// Refcounts that need more bits start again at zero.
    HostRefcountOrder = "host-refcount-order",
}
