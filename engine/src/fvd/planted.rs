//! Faults of real FVD code that can be built in, to prove that the harness finds them.
//!
//! Each variant is named in one place of the engine, in a call of [`PlantedBugs::has`] that changes
//! one line or branch. Without the feature `planted` the answer is the constant false.

use crate::planted::planted_bugs;

planted_bugs! {
    /// P1: the clean flag is written with no flush between it and the maps.
    CleanFlagBeforeMapsFlush = "fvd-clean-flag-before-maps-flush",
    /// P2: the journal is reused before the maps written by the recycle are durable.
    RecycleWithoutFlush = "fvd-recycle-without-flush",
    /// P3: the journal is reused before the maps written by recovery are durable.
    RecoveryReusesJournalBeforeFlush = "fvd-recovery-reuses-journal-before-flush",
    /// P4: no flush between guest data and the journal record that makes it visible.
    JournalBeforeData = "fvd-journal-before-data",
    /// P5: the journal record may be durable before the growth of the storage.
    ExtensionNotDurable = "fvd-extension-not-durable",
    /// P6: no flush before the header says that the base is no longer needed.
    PrefetchDoneWithoutFlush = "fvd-prefetch-done-without-flush",
    /// P7: guest flush flushes metadata and data storage at once, so that a record is durable
    /// without its data (separate data file).
    ParallelFlush = "fvd-parallel-flush",
    /// P8: the maps are written with copy-on-read bits whose data is not durable.
    CopyOnReadBitsBeforeData = "fvd-copy-on-read-bits-before-data",
    /// B1: the record covers the guest range only, not the whole copied block.
    FillNotJournaled = "fvd-fill-not-journaled",
    /// B2: a chunk that leaked in a crash is handed out again without being cleared.
    RecycledChunkShowsOldData = "fvd-recycled-chunk-shows-old-data",
    /// B2b: the same for a chunk filled by copy-on-read.
    CopyOnReadChunkShowsBase = "fvd-copy-on-read-chunk-shows-base",
    /// B4: prefetch marks a block as local although its write failed.
    PrefetchIgnoresFailedWrite = "fvd-prefetch-ignores-failed-write",
    /// B6: a failed open runs the normal close and sets the clean flag.
    FailedOpenMarksClean = "fvd-failed-open-marks-clean",
    /// B7: opening clears the clean flag without a flush and leaves stale records in the journal.
    StaleJournalAfterLostDirtyFlag = "fvd-stale-journal-after-lost-dirty-flag",
    /// B8: a read-only open does not look at the journal.
    ReadonlyOpenSkipsRecovery = "fvd-readonly-open-skips-recovery",
    /// B11: a failed write of the maps in a recycle is ignored.
    RecycleIgnoresMapError = "fvd-recycle-ignores-map-error",
    /// B11: a failed write of the maps in recovery is ignored.
    RecoveryIgnoresMapError = "fvd-recovery-ignores-map-error",
    /// B11: a failed write of the maps at close is ignored and the clean flag set.
    CloseIgnoresMapError = "fvd-close-ignores-map-error",
    /// B17: a new chunk on storage with old content is taken for zero.
    NewChunkTakenForZero = "fvd-new-chunk-taken-for-zero",
    /// B18: growing the virtual disk does not check that the table has room.
    GrowKeepsSmallTable = "fvd-grow-keeps-small-table",
    /// B19: a data file with no format named is probed.
    DataFileProbed = "fvd-data-file-probed",
    /// B20: close does not wait for copy-on-read.
    CloseLeavesCopyOnRead = "fvd-close-leaves-copy-on-read",
    /// B21: requests that wait for journal space are restarted last come first served.
    JournalWaitersLifo = "fvd-journal-waiters-lifo",
    /// A write that covers a block completely takes no lock against copies of that block.
    FullBlockWriteVsCow = "fvd-full-block-write-vs-cow",
    /// The parser advances 4 bytes too few after a BITMAP record.
    JournalRecordStride = "fvd-journal-record-stride",
    /// The rest of a journal sector keeps what an earlier, longer record left there.
    MissingEndMark = "fvd-missing-end-mark",
    /// A block counts as recorded when its journal write is submitted, not when it is done.
    StaleBitsBeforeRecord = "fvd-stale-bits-before-record",
    /// Without a journal, flush does not write the maps.
    FlushWithoutJournal = "fvd-flush-without-journal",
    /// Replay applies records without checking ranges and duplicate physical chunks.
    HostJournalRecord = "host-fvd-journal-record",
    /// Table entries are not checked against the data area.
    HostChunkId = "host-fvd-chunk-id",
    /// Header fields are trusted.
    HostGeometry = "host-fvd-geometry",
}
