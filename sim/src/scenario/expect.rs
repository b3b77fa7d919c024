//! What must come out of a scenario.

use crate::verdict::{Invariant, ScenarioResult, Verdict};

/// The expected verdict and the goals that must have been met on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// The verdict.
    pub verdict: Expected,
    /// Reachability goals: names of events that must have happened at least once.
    pub reach: Vec<String>,
}

/// The expected verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The claim holds.
    Holds,
    /// This invariant is violated, perhaps among others.
    Violated(Invariant),
    /// Nothing is violated, and the search says that it did not see everything.
    Incomplete,
}

impl Expect {
    /// Whether the result is the expected one.
    #[must_use]
    pub fn matches(&self, result: &ScenarioResult) -> bool {
        match self.verdict {
            Expected::Holds => result.verdict == Verdict::Holds,
            Expected::Incomplete => {
                result.verdict == Verdict::Incomplete && result.goals.unmet.is_empty()
            }
            Expected::Violated(invariant) => {
                result.verdict == Verdict::Violated
                    && result.violations.iter().any(|violation| violation.invariant == invariant)
            }
        }
    }
}
