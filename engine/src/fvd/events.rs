//! The names of what an image reports through [`crate::Runtime::event`].

/// A group of journal sectors was written.
pub const JOURNAL_WRITTEN: &str = "journal-written";
/// The journal was full; the maps were written and it starts again at its first sector.
pub const JOURNAL_RECYCLED: &str = "journal-recycled";
/// A request has to wait for journal space.
pub const JOURNAL_WAIT: &str = "journal-wait";
/// A request got journal space although an earlier one still waits. Never without a planted bug.
pub const JOURNAL_WAITER_OVERTAKEN: &str = "journal-waiter-overtaken";
/// Opening applied at least one journal record.
pub const JOURNAL_REPLAYED: &str = "journal-replayed";
/// The first change of a session cleared old records out of the journal.
pub const JOURNAL_CLEARED: &str = "journal-cleared";
/// A write completed a partial block from the base.
pub const COPY_ON_WRITE: &str = "copy-on-write";
/// Blocks that a guest read from the base were stored.
pub const COPIED_ON_READ: &str = "copied-on-read";
/// Blocks were not copied because too many copies are in flight.
pub const COPY_ON_READ_LIMITED: &str = "copy-on-read-limited";
/// A physical chunk was given to a virtual one.
pub const CHUNK_ALLOCATED: &str = "chunk-allocated";
/// That chunk had leaked in a crash, or was given back by a failed write.
pub const CHUNK_REUSED: &str = "chunk-reused";
/// The rest of a new chunk was written as zeros, because it may hold something else.
pub const CHUNK_ZERO_FILLED: &str = "chunk-zero-filled";
/// The data storage was made longer.
pub const STORAGE_GROWN: &str = "storage-grown";
/// A write has to wait for another one's range.
pub const LOCK_WAIT: &str = "lock-wait";
/// Prefetching stored blocks.
pub const PREFETCH_COPIED: &str = "prefetch-copied";
/// Everything is local, and the header says so.
pub const PREFETCH_FINISHED: &str = "prefetch-finished";
/// Close ended prefetching before everything was copied.
pub const PREFETCH_STOPPED: &str = "prefetch-stopped";
/// Prefetching pauses because it was slow.
pub const PREFETCH_THROTTLED: &str = "prefetch-throttled";
/// An error ended prefetching.
pub const PREFETCH_DISABLED: &str = "prefetch-disabled";
/// Changed map sectors were written.
pub const MAPS_WRITTEN: &str = "maps-written";
/// The image was closed and marked clean.
pub const CLOSED_CLEAN: &str = "closed-clean";
/// A flush failed; nothing that needs one is promised any more.
pub const BARRIER_LOST: &str = "barrier-lost";
/// A request goes on in the background after its caller dropped it.
pub const WRITE_DETACHED: &str = "write-detached";
