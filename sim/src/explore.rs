//! The search: executions, crash points, crash states, recovery, judgement.

use crate::scenario::Scenario;
use crate::verdict::{ScenarioResult, Violation};

/// What is asked of a search besides the scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Starts every random part here instead of where the scenario says.
    pub seed: Option<u64>,
}

/// How far a search is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Executions run.
    pub executions: u64,
    /// Recoveries run.
    pub recoveries: u64,
}

/// How a replay ended.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplayEnd {
    /// The same invariant broke with the same message.
    Reproduced(Violation),
    /// Something else broke.
    Different(Violation),
    /// Nothing broke.
    Held,
    /// The code no longer does what the file says: where, and what was expected and found.
    Diverged(String),
}

/// Explores a scenario within its bounds. `progress` is called now and then.
pub fn run(
    scenario: &Scenario,
    options: &RunOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> ScenarioResult {
    progress(Progress::default());
    let mut scenario = scenario.clone();
    if let Some(seed) = options.seed {
        scenario.explore.set_seed(seed);
    }
    ScenarioResult::broken(&scenario, "the search is not connected yet")
}

/// Takes a counterexample's way again; every step is told to `step`, one line each.
pub fn replay(scenario: &Scenario, step: &mut dyn FnMut(&str)) -> ReplayEnd {
    step(&scenario.claim);
    ReplayEnd::Diverged("the search is not connected yet".to_owned())
}
