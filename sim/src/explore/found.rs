//! Violations found, with what is needed to replay them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::crash::Assignment;
use crate::disk::CrashSpace;
use crate::exec::{ReadyOrder, Trace};
use crate::oracle::Finding;

/// One power cut on the way to a violation.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    /// When: steps of the execution for the first cut, changes to the disks of the run that was
    /// cut for a later one.
    pub(crate) at: u64,
    /// What could have been left behind.
    pub(crate) spaces: Arc<[CrashSpace]>,
    /// What was.
    pub(crate) assignment: Assignment,
    /// For each disk the sectors that cannot be read afterwards.
    pub(crate) unreadable: Vec<BTreeSet<u64>>,
    /// The session that was cut: 1 the workload, 2 and up those after it; recovery counts to the
    /// session it precedes.
    pub(crate) session: usize,
}

/// A violation and the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    /// The choices of the execution.
    pub(crate) trace: Trace,
    /// The orders of ready tasks among which it is one.
    pub(crate) ready: ReadyOrder,
    /// The power cuts, outermost first. Empty for a violation without any.
    pub(crate) cuts: Vec<Cut>,
    /// What the guest had been told when the power was cut first, one line per operation.
    pub(crate) guest_log: Vec<String>,
}
