//! What a search says in the end: the verdict, what it rests on, what it is relative to.

use crate::disk::Model;
use crate::exec::ReadyOrder;
use crate::explore::counterexample;
use crate::explore::cuts::Cuts;
use crate::explore::exploration::Exploration;
use crate::explore::part::Part;
use crate::explore::plan::Plan;
use crate::explore::search::Outcome;
use crate::explore::strategy::Assigned;
use crate::scenario::{Crashes, Draw, Explore, Schedules};
use crate::system::System;
use crate::verdict::{CrashReach, Goals, ScenarioResult, ScheduleReach, ShardReach, Verdict};

/// The result if a system and what is asked of it do not fit together.
pub(super) fn unfit(system: &dyn System, exploration: &Exploration, why: String) -> ScenarioResult {
    ScenarioResult {
        verdict: Verdict::HarnessBroken,
        broken: Some(format!("the exploration does not fit the system: {why}")),
        ..nothing_seen(system, exploration)
    }
}

/// The result of a search that another shard explores.
pub(super) fn elsewhere(
    system: &dyn System,
    exploration: &Exploration,
    part: Part,
) -> ScenarioResult {
    let schedules = exploration.explore.schedules;
    let (assigned, outcome) = (Assigned::default(), Outcome::default());
    let nothing = nothing_seen(system, exploration);
    ScenarioResult {
        schedules: ScheduleReach {
            strategy: strategy_name(schedules).to_owned(),
            ..ScheduleReach::default()
        },
        incomplete: vec![format!("explored by shard {} of {}", part.owner() + 1, part.count)],
        shard: Some(part.reach(schedules, &assigned, &outcome, Vec::new())),
        ..nothing
    }
}

/// The result of a search whose budget was spent before it began.
pub(super) fn never_begun(
    system: &dyn System,
    exploration: &Exploration,
    part: Option<Part>,
) -> ScenarioResult {
    let why = vec!["the time budget ended before the search began".to_owned()];
    let (assigned, outcome) = (Assigned::default(), Outcome::default());
    let schedules = exploration.explore.schedules;
    ScenarioResult {
        shard: part.map(|part| part.reach(schedules, &assigned, &outcome, why.clone())),
        incomplete: why,
        stopped: true,
        ..nothing_seen(system, exploration)
    }
}

/// The result of a search that cannot be taken up again.
pub(super) fn not_resumed(
    system: &dyn System,
    exploration: &Exploration,
    why: &str,
) -> ScenarioResult {
    ScenarioResult {
        verdict: Verdict::HarnessBroken,
        broken: Some(format!("the search cannot go on from what was kept of it: {why}")),
        ..nothing_seen(system, exploration)
    }
}

fn nothing_seen(system: &dyn System, exploration: &Exploration) -> ScenarioResult {
    ScenarioResult::before(system.disks(), &exploration.explore, &exploration.expect)
}

/// The result of a search that has ended.
pub(super) fn result(
    plan: &Plan,
    exploration: &Exploration,
    mut outcome: Outcome,
    mut cuts: Cuts,
    part: Option<(Part, &Assigned)>,
) -> ScenarioResult {
    let system = &*plan.system;
    let (explore, expect) = (&exploration.explore, &exploration.expect);
    let mut events = std::mem::take(&mut outcome.events);
    events.append(&mut cuts.events);
    let (met, unmet): (Vec<String>, Vec<String>) =
        expect.reach.iter().cloned().partition(|goal| {
            events.contains(goal.as_str()) || outcome.earlier_events.contains(goal)
        });
    outcome.broken = outcome.broken.or(cuts.broken.take());
    let missing = shortfalls(explore, &outcome, &cuts);
    let divided = part.is_some_and(|(part, _)| part.divides(explore.schedules));
    let this_shard = part.filter(|_| divided).map(|(part, _)| part.to_string());
    let goals = unmet.iter().map(|goal| format!("goal not met: {goal}"));
    let incomplete: Vec<String> =
        this_shard.into_iter().chain(missing.iter().cloned()).chain(goals).collect();
    let schedules_complete = outcome.finished
        && outcome.capped == 0
        && outcome.tally.short.is_none()
        && !matches!(explore.schedules, Schedules::Random { .. });
    let crashes = crash_reach(explore, &cuts, outcome.finished, outcome.capped);
    let shard = part.map(|(part, assigned)| ShardReach {
        schedules_complete,
        crashes_complete: crashes.complete,
        ..part.reach(explore.schedules, assigned, &outcome, missing)
    });
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
        violations: found.map(|f| counterexample::violation(system, f)).collect(),
        schedules: ScheduleReach {
            strategy: strategy_name(explore.schedules).to_owned(),
            executions: outcome.executions,
            engine: (!outcome.tally.engine.is_empty()).then(|| outcome.tally.engine.to_owned()),
            classes: outcome.tally.classes,
            more_classes: outcome.tally.more_classes,
            drawn_once: outcome.tally.drawn_once.filter(|share| share.whole > 0),
            class_sum: outcome.tally.classed.map(|(_, classes, _)| classes.sum),
            states: outcome.tally.states,
            covered: outcome.tally.covered,
            footprints: (outcome.footprints.whole > 0).then_some(outcome.footprints),
            audited: outcome.audited,
            done: outcome.share.filter(|_| !outcome.finished),
            complete: schedules_complete && !divided,
        },
        crashes: CrashReach { complete: crashes.complete && !divided, ..crashes },
        goals: Goals { met, unmet },
        bounds: bounds(explore, plan),
        incomplete,
        broken: outcome.broken,
        shard,
        stopped: outcome.stopped,
        ..nothing_seen(system, exploration)
    }
}

fn crash_reach(explore: &Explore, cuts: &Cuts, finished: bool, capped: u64) -> CrashReach {
    let mode = match explore.crashes {
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
        cross_checked: counts.cross_checked,
        depth: explore.recovery_crashes,
        certificate: counts.states == counts.visited,
        complete: finished && capped == 0 && counts.bounded_points == 0,
    }
}

/// Why nothing can be claimed beyond what was seen, goals aside.
fn shortfalls(explore: &Explore, outcome: &Outcome, cuts: &Cuts) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Schedules::Random { count, seed, by } = explore.schedules {
        let first = if by == Draw::Walk { "" } else { ", after one first in, first out" };
        reasons.push(format!("schedules are a random sample: {count} from seed {seed}{first}"));
    }
    if outcome.capped > 0 {
        reasons.push(format!("{} executions were given up at the step cap", outcome.capped));
    }
    if outcome.wide > 0 {
        reasons.push(format!(
            "{} executions have more consistent cuts than are taken; power was cut at their steps, \
             and where requests end as late as they can",
            outcome.wide
        ));
    }
    if outcome.stopped {
        reasons.push(stopped(outcome));
    }
    reasons.extend(outcome.tally.short.clone());
    let counts = &cuts.counts;
    if counts.bounded_points > 0 {
        let (seen, all) = &counts.bounded;
        let how = match (&explore.crashes, counts.levels) {
            (Crashes::Sampled { .. }, _) => "were sampled".to_owned(),
            (_, None) => "have more ways through a query or a session than paths_max".to_owned(),
            (_, Some(0)) => "have more ways through recovery than paths_max, of which a few were \
                             taken"
                .to_owned(),
            (_, Some(levels)) => format!(
                "have more ways through recovery than paths_max; taken were paths_max ways and, in \
                 full, those with up to {} answers other than everything kept, or other than \
                 everything lost",
                levels - 1
            ),
        };
        reasons.push(format!(
            "{} of {} crash points {how}: {seen} of their {all} states seen",
            counts.bounded_points, counts.points
        ));
    }
    if cuts.gave_up_on_repetitions() {
        reasons.push("F-REPLAY was looked for on images in vain, and then not any more".to_owned());
    }
    reasons
}

/// How far the search was when it was told to end.
fn stopped(outcome: &Outcome) -> String {
    let mut text = "the time budget ended".to_owned();
    if let Some(share) = outcome.share {
        text += &format!(": {} % of the search done", share.of(100));
        if let Some(estimate) = share.whole_of(outcome.executions) {
            text += &format!(", about {estimate} executions in all");
        }
    }
    text
}

/// What "everything" is relative to.
fn bounds(explore: &Explore, plan: &Plan) -> Vec<String> {
    let mut bounds = Vec::new();
    if explore.schedules == Schedules::Fifo {
        bounds.push("one schedule: first in, first out".to_owned());
    }
    if let Schedules::Delays(delays) = explore.schedules {
        bounds.push(format!("schedules with at most {delays} delays"));
    }
    if explore.ready == ReadyOrder::MacroStep {
        bounds.push("ready tasks run in a fixed order after each completion".to_owned());
    }
    if plan.latest {
        bounds.push(moments(plan));
    }
    if plan.crashes && matches!(explore.schedules, Schedules::Random { .. }) && !plan.latest {
        bounds.push("power cuts at every consistent cut of each schedule".to_owned());
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
    if explore.unreadable > 0 {
        bounds.push(format!("sectors unreadable after a power cut: {}", explore.unreadable));
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
        Schedules::Exhaustive(_) => "exhaustive",
        Schedules::Delays(_) => "delays",
        Schedules::Fifo => "fifo",
        Schedules::Random { .. } => "random",
    }
}
