//! Looking at an image without opening it.
//!
//! Nothing is written, and no file that the image names is opened. What a broken rule means is its
//! [`Severity`]: a leak, or a needless copy, is what an interrupted update may leave; too low a
//! refcount in an image with the dirty bit is what opening repairs; everything else is damage.

use super::survey::Survey;
use crate::disk::Disk;
use crate::error::Error;

use super::planted::PlantedBugs;
pub use super::problem::{PROBLEMS_MAX, Problem, Rule, Severity, Structure, Tree};
pub use super::references::ClusterCounts;

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Whether the image has the dirty bit: opening it repairs refcounts.
    pub dirty: bool,
    /// Whether the image is marked as damaged.
    pub marked_corrupt: bool,
    /// Guest clusters of the active tree.
    pub clusters: ClusterCounts,
    /// Host clusters that something refers to.
    pub used_clusters: u64,
    /// Host clusters with too high a refcount.
    pub leaks: u64,
    /// Entries that cost a copy that need not be: COPIED is clear though the refcount is one.
    pub needless_copies: u64,
    /// Host clusters with too low a refcount.
    pub refcounts_too_low: u64,
    /// Tables and clusters that are two parts of the guest's disk at once.
    pub aliases: u64,
    /// All other broken rules.
    pub corruptions: u64,
    /// Why refcounts and COPIED flags could not be judged, if they could not.
    pub incomplete: Option<Error>,
    /// Rules that are broken, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more are broken than `problems` lists.
    pub more_problems: u64,
}

impl CheckReport {
    /// Whether there is no damage. Leaks and needless copies are none, nor are refcounts that are
    /// too low in an image with the dirty bit.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let refcounts = self.dirty || self.refcounts_too_low == 0;
        refcounts && self.aliases == 0 && self.corruptions == 0 && self.incomplete.is_none()
    }

    /// Whether there is nothing to repair.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let marked = self.dirty || self.marked_corrupt;
        !marked && self.is_sound() && self.leaks == 0 && self.needless_copies == 0
    }
}

/// Checks the image on `file`. `data_len` is the length of its external data file, if it has one and
/// that is known; without it, no entry can be said to lie past its end.
///
/// # Errors
/// What [`Header::parse`](super::header::Header::parse) and
/// [`Geometry::validate`](super::geometry::Geometry::validate) refuse, because nothing else can be judged
/// then, and disk errors. Everything else that is wrong is in the report.
pub async fn check(file: &dyn Disk, data_len: Option<u64>) -> Result<CheckReport, Error> {
    Ok(Survey::of(file, data_len, PlantedBugs::NONE).await?.report())
}

impl Survey {
    pub(super) fn report(&self) -> CheckReport {
        CheckReport {
            dirty: self.header.is_dirty(),
            marked_corrupt: self.header.is_corrupt(),
            clusters: self.references.clusters,
            used_clusters: self.references.counts.len() as u64,
            leaks: self.problems.leaks,
            needless_copies: self.problems.needless_copies,
            refcounts_too_low: self.problems.refcounts_too_low,
            aliases: self.problems.aliases,
            corruptions: self.problems.corruptions,
            incomplete: self.references.incomplete.clone(),
            problems: self.problems.list.clone(),
            more_problems: self.problems.more,
        }
    }
}
