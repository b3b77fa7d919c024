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
    /// The refcounts of a deleted snapshot fall before the snapshot table is replaced.
    SnapshotDeleteOrder = "qcow2-snapshot-delete-order",
    /// Applying a snapshot takes the references of the old tree away first.
    SnapshotGotoOrder = "qcow2-snapshot-goto-order",
    /// What a growth adds is not made to read as zeros.
    GrowExposesBacking = "qcow2-grow-exposes-backing",
}
