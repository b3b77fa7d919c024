//! The combinations that pass, and how far the search for them went.

use std::ops::ControlFlow;

/// Where a search ends even if there is more. Both are reported when they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most combinations listed.
    pub passing_max: usize,
    /// Most partial combinations looked at, in a table or by a walk, each in less than a
    /// microsecond; for hashes most digests computed of all that is read.
    pub steps_max: u64,
}

/// The one of the [`Bounds`] that ended a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// One more combination passes than may be listed.
    Passing,
    /// The search would take more steps.
    Steps,
}

/// What passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passing {
    /// For each combination the index of every sector's candidate; in lexicographic order, each
    /// once.
    pub combinations: Vec<Vec<usize>>,
    /// Why there may be more, all of which follow the last one that is listed.
    pub stopped: Option<Bound>,
}

impl Passing {
    /// Whether all combinations that pass are listed.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.stopped.is_none()
    }

    /// Certainly nothing.
    pub(super) fn none() -> Self {
        Self { combinations: Vec::new(), stopped: None }
    }
}

/// Collects what a search finds and breaks it off at a bound.
#[derive(Debug)]
pub(super) struct Collector {
    combinations: Vec<Vec<usize>>,
    bounds: Bounds,
    steps: u64,
}

impl Collector {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { combinations: Vec::new(), bounds, steps: 0 }
    }

    /// Counts work that is about to be done.
    pub(super) fn step(&mut self) -> ControlFlow<Bound> {
        if self.steps == self.bounds.steps_max {
            return ControlFlow::Break(Bound::Steps);
        }
        self.steps += 1;
        ControlFlow::Continue(())
    }

    /// Takes the next combination that passes.
    pub(super) fn found(&mut self, combination: Vec<usize>) -> ControlFlow<Bound> {
        if self.combinations.len() == self.bounds.passing_max {
            return ControlFlow::Break(Bound::Passing);
        }
        let last = self.combinations.last();
        assert!(last < Some(&combination), "harness bug: {combination:?} after {last:?}");
        self.combinations.push(combination);
        ControlFlow::Continue(())
    }

    pub(super) fn finish(self, end: ControlFlow<Bound>) -> Passing {
        Passing { combinations: self.combinations, stopped: end.break_value() }
    }
}
