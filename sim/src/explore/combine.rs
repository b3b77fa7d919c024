//! One search that was explored in parts, side by side, as one result.
//!
//! Classes, executions and steps add up: no class is in two parts. Crash points that several parts
//! come to are counted in each of them, and the bounds say so.

use std::collections::BTreeSet;

use crate::verdict::{CrashReach, Goals, ScenarioResult, ScheduleReach, Share, Verdict};

/// Puts the parts of one search together, in their order. Of several with a violation the first one
/// counts, and what comes after it does not: so the result is the same whoever was faster.
///
/// # Panics
/// If there is no part.
#[must_use]
pub fn combine(mut parts: Vec<ScenarioResult>) -> ScenarioResult {
    let decided =
        |part: &ScenarioResult| matches!(part.verdict, Verdict::Violated | Verdict::HarnessBroken);
    if let Some(first) = parts.iter().position(decided) {
        parts.truncate(first + 1);
    }
    let count = parts[0].shard.as_ref().map_or(1, |shard| shard.count);
    let last = parts.last().expect("at least one part");
    let ended = decided(last);
    let goals = goals(&parts);
    let schedules = schedules(&parts, ended);
    let crashes = crashes(&parts, ended);
    let mut incomplete: Vec<String> = Vec::new();
    let missing = parts.iter().flat_map(|part| part.shard.iter().flat_map(|shard| &shard.missing));
    for reason in missing {
        if !incomplete.contains(reason) {
            incomplete.push(reason.clone());
        }
    }
    incomplete.extend(goals.unmet.iter().map(|goal| format!("goal not met: {goal}")));
    let verdict = match last.verdict {
        verdict @ (Verdict::Violated | Verdict::HarnessBroken) => verdict,
        _ if incomplete.is_empty() => Verdict::Holds,
        _ => Verdict::Incomplete,
    };
    let mut bounds = last.bounds.clone();
    bounds.push(format!("explored in {count} parts; crash points are counted in each"));
    ScenarioResult {
        verdict,
        schedules,
        crashes,
        goals,
        incomplete,
        bounds,
        shard: None,
        ..last.clone()
    }
}

fn goals(parts: &[ScenarioResult]) -> Goals {
    let all = parts.iter().flat_map(|part| part.goals.met.iter().chain(&part.goals.unmet));
    let met: BTreeSet<&String> = parts.iter().flat_map(|part| &part.goals.met).collect();
    let unmet: BTreeSet<&String> = all.filter(|goal| !met.contains(goal)).collect();
    let list = |goals: BTreeSet<&String>| goals.into_iter().cloned().collect();
    Goals { unmet: list(unmet), met: list(met) }
}

fn schedules(parts: &[ScenarioResult], ended: bool) -> ScheduleReach {
    let each = || parts.iter().map(|part| &part.schedules);
    let sum = |of: fn(&ScheduleReach) -> u64| each().map(of).sum();
    let some = |of: fn(&ScheduleReach) -> Option<u64>| each().filter_map(of).reduce(|a, b| a + b);
    let shares = each().filter_map(|one| one.footprints);
    let footprints = shares
        .reduce(|one, other| Share { part: one.part + other.part, whole: one.whole + other.whole });
    let complete =
        |part: &ScenarioResult| part.shard.as_ref().is_some_and(|shard| shard.schedules_complete);
    ScheduleReach {
        executions: sum(|one| one.executions),
        classes: some(|one| one.classes),
        class_sum: each().filter_map(|one| one.class_sum).reduce(u128::wrapping_add),
        states: some(|one| one.states),
        covered: some(|one| one.covered),
        footprints,
        audited: sum(|one| one.audited),
        done: None,
        complete: !ended && parts.iter().all(complete),
        ..parts[0].schedules.clone()
    }
}

fn crashes(parts: &[ScenarioResult], ended: bool) -> CrashReach {
    let each = || parts.iter().map(|part| &part.crashes);
    let sum = |of: fn(&CrashReach) -> u64| each().map(of).sum();
    let complete =
        |part: &ScenarioResult| part.shard.as_ref().is_some_and(|shard| shard.crashes_complete);
    CrashReach {
        points: sum(|one| one.points),
        states: each().map(|one| &one.states).sum(),
        recovery_paths: sum(|one| one.recovery_paths),
        queries: sum(|one| one.queries),
        cross_checked: sum(|one| one.cross_checked),
        certificate: each().all(|one| one.certificate),
        complete: !ended && parts.iter().all(complete),
        ..parts[0].crashes.clone()
    }
}
