//! How to get to a violation again: the choices of the execution and the power cuts.

use crate::exec::Trace;
use crate::verdict::Invariant;

/// A counterexample's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The invariant that breaks.
    pub invariant: Invariant,
    /// What breaks it, as first seen.
    pub message: String,
    /// The choices of the execution, in order.
    pub trace: Trace,
    /// The power cuts, outermost first; empty for a violation without any.
    pub crashes: Vec<PowerCut>,
}

/// One power cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerCut {
    /// The session that is cut: 1 is the workload, 2 and up those after it; recovery counts to the
    /// session it precedes.
    pub session: u32,
    /// When: steps of the execution for the first cut, changes to the disks of the run that is cut
    /// for a later one.
    pub at: u64,
    /// What is left on each disk, in the order of the disks.
    pub disks: Vec<DiskLeft>,
}

/// What a power cut leaves on one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskLeft {
    /// The disk's name.
    pub disk: String,
    /// One entry per variable of the crash space, in its order.
    pub left: Vec<Left>,
    /// The sectors that cannot be read afterwards, in order.
    pub unreadable: Vec<u64>,
}

/// What is left of one thing that a power cut decides about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What is decided: `sector 16`, `length`.
    pub variable: String,
    /// Which option.
    pub option: usize,
    /// Of how many.
    pub of: usize,
    /// What survives and what is lost with it.
    pub label: String,
}
