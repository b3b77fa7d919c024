//! What one run of the program found.

use plugpull_sim::scenario::{Expect, Expected};
use plugpull_sim::verdict::{ScenarioResult, Verdict};

/// The results of one run, in input order.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// Name and version of the program: `plugpull 0.1.0`.
    pub program: String,
    /// One entry per scenario.
    pub scenarios: Vec<ScenarioReport>,
    /// How long all of it took.
    pub seconds: f64,
}

/// The result of one scenario, with where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioReport {
    /// The scenario file as it was named.
    pub path: String,
    /// Its claim.
    pub claim: String,
    /// What was expected.
    pub expect: Expect,
    /// What came out.
    pub result: ScenarioResult,
    /// Where the counterexample of each violation was written, in the order of the violations.
    pub counterexamples: Vec<Option<String>>,
    /// What every shard of the run says of it, if this is one.
    pub shard: Option<ShardHeader>,
    /// How long it took.
    pub seconds: f64,
}

/// Which shard of which run a scenario was explored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardHeader {
    /// Which shard, from one.
    pub index: u64,
    /// Of how many.
    pub count: u64,
    /// The hash of the program.
    pub binary: u128,
    /// The hash of the scenario.
    pub scenario: u128,
    /// The hash of the options that make a difference.
    pub options: u128,
}

/// Counts over all scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Scenarios.
    pub total: usize,
    /// Those with the expected verdict.
    pub as_expected: usize,
    /// Those with planted bugs that have to be found.
    pub planted: usize,
    /// Those of them in which they were found, with the stated invariant.
    pub planted_found: usize,
    /// Those that are incomplete, unexpectedly.
    pub incomplete: usize,
    /// Those in which the harness broke.
    pub broken: usize,
}

impl ScenarioReport {
    /// Whether the verdict is the expected one.
    #[must_use]
    pub fn as_expected(&self) -> bool {
        self.expect.matches(&self.result)
    }

    /// Whether this scenario counts for the score of planted bugs.
    #[must_use]
    pub fn is_planted(&self) -> bool {
        !self.result.planted.is_empty() && matches!(self.expect.verdict, Expected::Violated(_))
    }
}

impl RunReport {
    /// Counts over all scenarios.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary { total: self.scenarios.len(), ..Summary::default() };
        for scenario in &self.scenarios {
            let as_expected = scenario.as_expected();
            let verdict = scenario.result.verdict;
            summary.as_expected += usize::from(as_expected);
            summary.planted += usize::from(scenario.is_planted());
            summary.planted_found += usize::from(scenario.is_planted() && as_expected);
            summary.incomplete += usize::from(!as_expected && verdict == Verdict::Incomplete);
            summary.broken += usize::from(verdict == Verdict::HarnessBroken);
        }
        summary
    }
}

impl Summary {
    /// The program's exit code: 4 if the harness broke anywhere, else 1 if some verdict differs
    /// from the expected one for a better reason than being incomplete, else 3 if one is
    /// incomplete, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let differing = self.total - self.as_expected;
        if self.broken > 0 {
            4
        } else if differing > self.incomplete {
            1
        } else if self.incomplete > 0 {
            3
        } else {
            0
        }
    }
}
