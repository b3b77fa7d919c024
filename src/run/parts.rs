//! A long search of one scenario, in parts that several workers explore side by side.
//!
//! A search with an execution for every class of orders that turns out to be long is begun anew in
//! [`PARTS`] parts, however many workers there are: so its result does not depend on their number.
//! Each part is explored as a shard of a run would be; nothing is shared between them but where
//! something was found first.

use plugpull_sim::explore::{self, Part, Progress, RunOptions};
use plugpull_sim::scenario::Scenario;
use plugpull_sim::verdict::{ScenarioResult, Verdict};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::first::First;

/// How many parts.
const PARTS: u64 = 16;
/// Executions after which a search counts as long. What they have found until then is found again.
const LONG: u64 = 500;

/// Explores a scenario, in parts if that takes long and can be divided.
pub(super) fn explore(
    scenario: &Scenario,
    options: &RunOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> ScenarioResult {
    let mut bounds = scenario.explore.clone();
    options.apply_to(&mut bounds);
    // What is kept of a search, to go on with it later, is of one search.
    let alone = options.part.is_none() && options.keeper.is_none() && !options.cross_check;
    let divides = alone && Part::can_divide_classes(&bounds);
    if !divides {
        return explore::run(scenario, options, progress);
    }
    let begun = RunOptions { executions_max: Some(LONG), ..options.clone() };
    let begun = explore::run(scenario, &begun, progress);
    let is_long = begun.verdict == Verdict::Incomplete && begun.schedules.executions == LONG;
    if is_long { in_parts(scenario, options, progress) } else { begun }
}

fn in_parts(
    scenario: &Scenario,
    options: &RunOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> ScenarioResult {
    let first = First::none();
    let explored = (0..PARTS).collect::<Vec<_>>().into_par_iter().with_max_len(1).map(|index| {
        let place = usize::try_from(index).expect("few parts");
        if first.is_before(place) {
            return None;
        }
        let part = Some(Part { index, count: PARTS, position: 0 });
        let result = explore::run(scenario, &RunOptions { part, ..options.clone() }, progress);
        if matches!(result.verdict, Verdict::Violated | Verdict::HarnessBroken) {
            first.found(place);
        }
        Some(result)
    });
    let explored: Vec<Option<ScenarioResult>> = explored.collect();
    explore::combine(explored.into_iter().map_while(|part| part).collect())
}
