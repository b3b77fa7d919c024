//! Scenarios: one claim each, with the system, its disks, the workload, the bounds of the search
//! and the verdict that is expected.
//!
//! These are the plain values that the rest of the crate works with. They are valid by
//! construction of [`Scenario::parse`]: names are known, sizes have the granularity their format
//! asks for, workloads stay inside the virtual disk. The shapes of the text live in `file`, the
//! rules beyond shape in `convert`, the printer in `print`.

mod convert;
mod disks;
mod error;
mod expect;
mod explore;
mod file;
mod print;
mod replay;
pub mod size;
mod system;

pub use disks::{AnyFault, Faults, PlacedFault, PlacedFaultKind};
pub use error::FileError;
pub use expect::{Expect, Expected};
pub use explore::{Client, Crashes, Explore, Schedules};
pub use replay::{DiskLeft, Left, PowerCut, Replay};
pub use system::{
    Access, BaseSpec, CompactSpec, FvdSpec, PrefetchSpec, StorageContent, SystemSpec, ThrottleSpec,
};

use crate::disk::DiskSpec;
use crate::workload::GuestOp;

/// A scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What is claimed, one sentence.
    pub claim: String,
    /// The thing under test.
    pub system: SystemSpec,
    /// The disks of the system, in its order: for FVD `image`, then `data` if the data is in a
    /// file of its own, then `base` if there is a base.
    pub disks: Vec<DiskSpec>,
    /// The concurrent clients of the explored session.
    pub clients: Vec<Client>,
    /// Sessions that follow a power cut, one after the other: the requests of one client each.
    pub after: Vec<Vec<GuestOp>>,
    /// The bounds of the search.
    pub explore: Explore,
    /// What must come out.
    pub expect: Expect,
    /// If this is a counterexample: how to get there.
    pub replay: Option<Replay>,
}

impl Scenario {
    /// What may fail on the disk called `name`.
    #[must_use]
    pub fn fault_plan(&self, name: &str) -> crate::disk::FaultPlan {
        self.explore.faults.plan(name)
    }
}
