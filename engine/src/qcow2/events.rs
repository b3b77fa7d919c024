//! The names of what an image reports through [`crate::Runtime::event`].

/// A host cluster was taken for guest data.
pub const CLUSTER_ALLOCATED: &str = "cluster-allocated";
/// A taken host cluster had been freed in this session.
pub const CLUSTER_REUSED: &str = "cluster-reused";
/// What a write left out of a new cluster was copied or zeroed.
pub const COPY_ON_WRITE: &str = "copy-on-write";
/// An L2 table was allocated.
pub const L2_ALLOCATED: &str = "l2-allocated";
/// An L2 table that a snapshot shares was copied.
pub const L2_COPIED: &str = "l2-copied";
/// A refcount block was added.
pub const REFBLOCK_ALLOCATED: &str = "refblock-allocated";
/// The refcount table was replaced by a larger one.
pub const REFCOUNT_TABLE_GROWN: &str = "refcount-table-grown";
/// The L1 table was replaced by a larger one.
pub const L1_GROWN: &str = "l1-grown";
/// Changed metadata became durable.
pub const METADATA_COMMITTED: &str = "metadata-committed";
/// A request had to commit metadata because too much of it was only in memory.
pub const CACHE_FULL: &str = "cache-full";
/// A table slice was dropped from memory.
pub const SLICE_EVICTED: &str = "slice-evicted";
/// A request has to wait for another one's range.
pub const LOCK_WAIT: &str = "lock-wait";
/// A freed cluster was discarded on the host.
pub const HOST_DISCARD: &str = "host-discard";
/// The dirty bit was set, before refcounts are left behind.
pub const MARKED_DIRTY: &str = "marked-dirty";
/// Opening repaired an image with the dirty bit.
pub const REPAIRED_AT_OPEN: &str = "repaired-at-open";
/// The image was found to be corrupt, marked so, and is read-only from now on.
pub const MARKED_CORRUPT: &str = "marked-corrupt";
/// A snapshot was created.
pub const SNAPSHOT_CREATED: &str = "snapshot-created";
/// The guest's disk was set back to a snapshot.
pub const SNAPSHOT_APPLIED: &str = "snapshot-applied";
/// A snapshot was deleted.
pub const SNAPSHOT_DELETED: &str = "snapshot-deleted";
/// A compressed cluster was written.
pub const COMPRESSED_WRITTEN: &str = "compressed-written";
/// The virtual disk was resized.
pub const RESIZED: &str = "resized";
/// A persistent bitmap was marked in use.
pub const BITMAPS_IN_USE: &str = "bitmaps-in-use";
/// Persistent bitmaps were stored.
pub const BITMAPS_STORED: &str = "bitmaps-stored";
/// The image was closed.
pub const CLOSED: &str = "closed";
/// A flush failed; nothing that needs one is promised any more.
pub const BARRIER_LOST: &str = "barrier-lost";
/// A request goes on in the background after its caller dropped it.
pub const WRITE_DETACHED: &str = "write-detached";
