//! The exploration of a scenario: executions, crash points, crash states, recovery, judgement.
//!
//! * [`run`] explores within the scenario's bounds and says what came out;
//! * [`replay`] takes the way of one counterexample again.
//!
//! Inside: `search` runs executions one after the other, `execution` and `session` are one
//! execution and its clients, `latest` is the order of its steps that stands for other orders,
//! `again` runs one again; `cuts` is everything that follows a power cut, `later` the sessions
//! after one, `visited` keeps equal states from being visited twice, `counterexample` turns what
//! was found into a scenario that replays.

mod again;
mod answers;
mod concrete;
mod counterexample;
mod cuts;
mod execution;
mod found;
mod later;
mod latest;
mod leaf;
mod plan;
mod script;
mod search;
mod session;
mod visited;

use std::sync::Arc;

use crate::crash::BruteForce;
use crate::disk::Model;
use crate::explore::cuts::{Cuts, Method};
use crate::explore::plan::Plan;
use crate::explore::script::Script;
use crate::explore::search::{Outcome, Search};
use crate::scenario::{Crashes, Scenario, Schedules};
use crate::schedule::{AfterTrace, Exhaustive, Fifo, Random, Replay, Strategy};
use crate::verdict::{CrashReach, Goals, ScenarioResult, ScheduleReach, Verdict, Violation};

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
    let mut scenario = scenario.clone();
    if let Some(seed) = options.seed {
        scenario.explore.set_seed(seed);
    }
    let plan = match Plan::new(&scenario) {
        Ok(plan) => plan,
        Err(why) => return ScenarioResult::broken(&scenario, why),
    };
    explore(&scenario, &plan, progress)
}

/// Explores what a plan says, within the bounds of a scenario.
fn explore(
    scenario: &Scenario,
    plan: &Plan,
    progress: &(dyn Fn(Progress) + Sync),
) -> ScenarioResult {
    let mut cuts = Cuts::new(Arc::clone(&plan.system), method(scenario), plan.later.clone());
    let mut strategy = strategy(scenario);
    let outcome = Search::new(plan, &mut cuts).run(&mut strategy, &mut |outcome, cuts| {
        progress(Progress { executions: outcome.executions, recoveries: cuts.counts.recoveries });
    });
    result(scenario, plan, outcome, cuts)
}

/// Takes a counterexample's way again; every step is told to `step`, one line each.
pub fn replay(scenario: &Scenario, step: &mut dyn FnMut(&str)) -> ReplayEnd {
    match Plan::new(scenario) {
        Ok(plan) => replay_with(scenario, plan, step),
        Err(why) => ReplayEnd::Diverged(why),
    }
}

fn replay_with(scenario: &Scenario, mut plan: Plan, step: &mut dyn FnMut(&str)) -> ReplayEnd {
    let Some(way) = &scenario.replay else {
        return ReplayEnd::Diverged("the scenario has no [replay] table".to_owned());
    };
    // Others may show on the way, as they did when it was found.
    plan.wanted = Some(way.invariant);
    plan.crashes = !way.crashes.is_empty();
    let mut cuts = Cuts::new(Arc::clone(&plan.system), method(scenario), plan.later.clone());
    cuts.follow(Script::told(&way.crashes));
    let mut strategy: Box<dyn Strategy> =
        Box::new(Replay::new(way.trace.clone(), AfterTrace::Fifo));
    let search = Search::new(&plan, &mut cuts).at_every_step().telling(step);
    let outcome = search.run(&mut strategy, &mut |_, _| ());
    if let Some(why) = outcome.broken.or(cuts.misfit.take()) {
        return ReplayEnd::Diverged(why);
    }
    let recorded = outcome.found.iter().position(|found| found.finding.invariant == way.invariant);
    let Some(found) = outcome.found.into_iter().nth(recorded.unwrap_or(0)) else {
        return ReplayEnd::Held;
    };
    let violation = counterexample::violation(scenario, &plan, found);
    for line in &violation.story {
        step(line);
    }
    if violation.invariant == way.invariant && violation.message == way.message {
        ReplayEnd::Reproduced(violation)
    } else {
        ReplayEnd::Different(violation)
    }
}

fn method(scenario: &Scenario) -> Method {
    match scenario.explore.crashes {
        Crashes::Sampled { count, seed } => Method::Enumerated(BruteForce::new(count, seed)),
        Crashes::Exact | Crashes::None => Method::Exact { paths_max: scenario.explore.paths_max },
    }
}

fn strategy(scenario: &Scenario) -> Box<dyn Strategy> {
    match scenario.explore.schedules {
        Schedules::Exhaustive => Box::new(Exhaustive::new()),
        Schedules::Fifo => Box::new(Fifo::new()),
        Schedules::Random { count, seed } => Box::new(Random::new(seed, 0..count)),
    }
}

fn result(
    scenario: &Scenario,
    plan: &Plan,
    mut outcome: Outcome,
    mut cuts: Cuts,
) -> ScenarioResult {
    let mut events = std::mem::take(&mut outcome.events);
    events.append(&mut cuts.events);
    let (met, unmet): (Vec<String>, Vec<String>) =
        scenario.expect.reach.iter().cloned().partition(|goal| events.contains(goal.as_str()));
    outcome.broken = outcome.broken.or(cuts.broken.take());
    let incomplete = shortfalls(scenario, &outcome, &cuts, &unmet);
    let verdict = if outcome.broken.is_some() {
        Verdict::HarnessBroken
    } else if !outcome.found.is_empty() {
        Verdict::Violated
    } else if incomplete.is_empty() {
        Verdict::Holds
    } else {
        Verdict::Incomplete
    };
    let found = outcome.found.into_iter();
    ScenarioResult {
        verdict,
        violations: found.map(|f| counterexample::violation(scenario, plan, f)).collect(),
        schedules: ScheduleReach {
            strategy: strategy_name(scenario.explore.schedules).to_owned(),
            executions: outcome.executions,
            classes: None,
            complete: outcome.finished
                && outcome.capped == 0
                && !matches!(scenario.explore.schedules, Schedules::Random { .. }),
        },
        crashes: crash_reach(scenario, &cuts, outcome.finished, outcome.capped),
        goals: Goals { met, unmet },
        bounds: bounds(scenario, plan),
        incomplete,
        broken: outcome.broken,
        ..ScenarioResult::nothing_seen(scenario)
    }
}

fn crash_reach(scenario: &Scenario, cuts: &Cuts, finished: bool, capped: u64) -> CrashReach {
    let mode = match scenario.explore.crashes {
        Crashes::Exact => "exact",
        Crashes::None => "none",
        Crashes::Sampled { .. } => "sampled",
    };
    let counts = &cuts.counts;
    CrashReach {
        mode: mode.to_owned(),
        points: counts.points,
        states: counts.states.clone(),
        recovery_paths: counts.recoveries,
        queries: counts.queries,
        depth: scenario.explore.recovery_crashes,
        certificate: counts.states == counts.visited,
        complete: finished && capped == 0 && counts.bounded_points == 0,
    }
}

/// Why nothing can be claimed beyond what was seen.
fn shortfalls(
    scenario: &Scenario,
    outcome: &Outcome,
    cuts: &Cuts,
    unmet: &[String],
) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Schedules::Random { count, seed } = scenario.explore.schedules {
        reasons.push(format!("schedules are a random sample: {count} from seed {seed}"));
    }
    if outcome.capped > 0 {
        reasons.push(format!("{} executions were given up at the step cap", outcome.capped));
    }
    let counts = &cuts.counts;
    if counts.bounded_points > 0 {
        let (seen, all) = &counts.bounded;
        let how = match (&scenario.explore.crashes, counts.losses) {
            (Crashes::Sampled { .. }, _) => "were sampled".to_owned(),
            (_, None) => "have more ways through a query than paths_max".to_owned(),
            (_, Some(losses)) => format!(
                "have more ways through recovery than paths_max, and were explored up to {losses} \
                 losses from everything kept and from everything lost"
            ),
        };
        reasons.push(format!(
            "{} of {} crash points {how}: {seen} of their {all} states seen",
            counts.bounded_points, counts.points
        ));
    }
    reasons.extend(unmet.iter().map(|goal| format!("goal not met: {goal}")));
    reasons
}

/// What "everything" is relative to.
fn bounds(scenario: &Scenario, plan: &Plan) -> Vec<String> {
    let explore = &scenario.explore;
    let mut bounds = Vec::new();
    if explore.schedules == Schedules::Fifo {
        bounds.push("one schedule: first in, first out".to_owned());
    }
    if explore.ready == crate::exec::ReadyOrder::MacroStep {
        bounds.push("ready tasks run in a fixed order after each completion".to_owned());
    }
    if plan.latest {
        bounds.push(moments(plan));
    }
    match explore.crashes {
        Crashes::None => bounds.push("no power cut".to_owned()),
        Crashes::Exact | Crashes::Sampled { .. } => {
            bounds.push(format!("power cuts during recovery: {}", explore.recovery_crashes));
            bounds.push(
                "after a power cut: one schedule, first in, first out; no fault, no background job"
                    .to_owned(),
            );
        }
    }
    if explore.faults.any.errors > 0 {
        bounds.push(format!("failing requests per disk: {}", explore.faults.any.errors));
    }
    if !explore.faults.placed.is_empty() {
        bounds.push(format!("placed faults: {}", explore.faults.placed.len()));
    }
    if explore.cancel > 0 {
        bounds.push(format!("cancelled requests: {}", explore.cancel));
    }
    bounds
}

/// Where power is cut, if not every order of completions is run.
fn moments(plan: &Plan) -> String {
    let mut ordered = plan.system.disks().iter().filter(|disk| disk.model == Model::Ordered);
    match ordered.next() {
        None => "power cuts at every consistent cut of each schedule (the engine as one object)",
        Some(_) => {
            "power cuts at every step of each schedule, and of the one in which the engine does the \
             same and requests end as late as they can"
        }
    }
    .to_owned()
}

fn strategy_name(schedules: Schedules) -> &'static str {
    match schedules {
        Schedules::Exhaustive => "exhaustive",
        Schedules::Fifo => "fifo",
        Schedules::Random { .. } => "random",
    }
}
