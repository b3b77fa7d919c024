//! One scenario from the parts that the shards have explored.

use std::collections::BTreeSet;

use num_bigint::BigUint;
use plugpull_sim::exec::{ReadyOrder, Trace};
use plugpull_sim::scenario::{Expect, Expected, Replay};
use plugpull_sim::verdict::{
    CrashReach, Division, Goals, Invariant, ScenarioResult, ScheduleReach, Share, Verdict,
    Violation,
};

use crate::ScenarioReport;
use crate::json::document::{Hex, Part, Scenario, Shard};

/// The longest number of crash states that is read.
const DIGITS_MAX: usize = 100_000;

/// The part that cannot be used, and why.
type Unusable = (usize, String);

/// Puts the parts of a scenario together, in the order of the shards.
pub(super) fn whole(parts: &[&Scenario]) -> Result<ScenarioReport, Unusable> {
    let first = parts[0];
    let own = explored(parts);
    let expected = expected(header(first)).map_err(|why| (0, why))?;
    let (violations, counterexamples) = violations(&own)?;
    let goals = goals(&own);
    let reach = goals.met.iter().chain(&goals.unmet).cloned().collect();
    let incomplete = incomplete(&own, &goals);
    let broken = own
        .iter()
        .find_map(|(at, part)| part.broken.as_ref().map(|why| format!("shard {}: {why}", at + 1)));
    let verdict = if broken.is_some() {
        Verdict::HarnessBroken
    } else if !violations.is_empty() {
        Verdict::Violated
    } else if incomplete.is_empty() {
        Verdict::Holds
    } else {
        Verdict::Incomplete
    };
    let shown = own.first().map_or(first, |(_, part)| part);
    let mut bounds = shown.bounds.clone();
    if own.len() > 1 {
        let shards = own.len();
        bounds.push(format!(
            "crash points counted in each of {shards} shards: several may have seen the same"
        ));
    }
    let result = ScenarioResult {
        verdict,
        violations,
        schedules: schedules(&own),
        crashes: crashes(&own)?,
        goals,
        disks: shown.disks.clone(),
        planted: first.planted.clone(),
        seed: first.seed,
        bounds,
        incomplete,
        broken,
        shard: None,
        stopped: false,
    };
    Ok(ScenarioReport {
        path: first.path.clone(),
        claim: first.claim.clone(),
        expect: Expect { verdict: expected, reach },
        result,
        counterexamples,
        shard: None,
        seconds: parts.iter().map(|part| part.seconds).sum(),
    })
}

fn header(scenario: &Scenario) -> &Shard {
    scenario.shard.as_ref().expect("every scenario of a shard has a certificate")
}

fn part(scenario: &Scenario) -> Option<&Part> {
    header(scenario).part.as_ref()
}

/// The parts of those who have explored something, or should have: all, or the one to which a search
/// that is not divided was dealt.
fn explored<'a>(parts: &[&'a Scenario]) -> Vec<(usize, &'a Scenario)> {
    let is_whole = |one: &Part| one.division == Division::Whole;
    let all = parts.iter().copied().enumerate();
    let divided = !parts.iter().filter_map(|one| part(one)).any(is_whole);
    let mut own: Vec<_> = all.filter(|(_, one)| divided || !is_elsewhere(one)).collect();
    // Nobody has explored it: then all say why.
    if own.is_empty() {
        own = parts.iter().copied().enumerate().collect();
    }
    own
}

/// Whether this shard had nothing to do with a search.
fn is_elsewhere(scenario: &Scenario) -> bool {
    part(scenario).is_some_and(|part| !part.finished && part.missing.is_empty())
        && scenario.violations.is_empty()
        && scenario.broken.is_none()
}

fn expected(shard: &Shard) -> Result<Expected, String> {
    match (&*shard.expected, &shard.expected_invariant) {
        ("holds", None) => Ok(Expected::Holds),
        ("incomplete", None) => Ok(Expected::Incomplete),
        ("violated", Some(name)) => name.parse().map(Expected::Violated),
        (other, _) => Err(format!("{other:?} is no expected verdict")),
    }
}

/// The first violation of each invariant, with its counterexample.
fn violations(
    own: &[(usize, &Scenario)],
) -> Result<(Vec<Violation>, Vec<Option<String>>), Unusable> {
    let mut told = BTreeSet::new();
    let (mut violations, mut counterexamples) = (Vec::new(), Vec::new());
    for (at, part) in own {
        for violation in &part.violations {
            let invariant: Invariant = violation.invariant.parse().map_err(|why| (*at, why))?;
            if told.insert(invariant) {
                violations.push(told_of(invariant, &violation.message));
                counterexamples.push(violation.counterexample.clone());
            }
        }
    }
    Ok((violations, counterexamples))
}

/// What a document tells of a violation. The rest is in the counterexample that the shard has written.
fn told_of(invariant: Invariant, message: &str) -> Violation {
    let trace = Trace { version: Trace::VERSION, choices: Vec::new() };
    let message = message.to_owned();
    Violation {
        invariant,
        message: message.clone(),
        story: Vec::new(),
        replay: Replay { invariant, message, trace, crashes: Vec::new() },
        ready: ReadyOrder::Any,
    }
}

/// A goal is met if any shard has met it.
fn goals(own: &[(usize, &Scenario)]) -> Goals {
    let all = |of: fn(&Scenario) -> &Vec<String>| -> BTreeSet<String> {
        own.iter().flat_map(|(_, part)| of(part)).cloned().collect()
    };
    let met = all(|part| &part.goals.met);
    let unmet = all(|part| &part.goals.unmet).difference(&met).cloned().collect();
    Goals { met: met.into_iter().collect(), unmet }
}

/// What is missing in some part, once, or with the shards that miss it.
fn incomplete(own: &[(usize, &Scenario)], goals: &Goals) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    let missing =
        |scenario: &Scenario| part(scenario).map_or(Vec::new(), |one| one.missing.clone());
    let common = own.first().map_or(Vec::new(), |(_, one)| missing(one));
    let is_common = |why: &String| own.iter().all(|(_, one)| missing(one).contains(why));
    let (common, _): (Vec<_>, Vec<_>) = common.into_iter().partition(is_common);
    for (at, scenario) in own {
        let own = missing(scenario).into_iter().filter(|why| !common.contains(why));
        reasons.extend(own.map(|why| format!("shard {}: {why}", at + 1)));
        let is_silent =
            part(scenario).is_some_and(|part| !part.finished && part.missing.is_empty());
        if is_silent && scenario.violations.is_empty() && scenario.broken.is_none() {
            reasons.push(format!("shard {} has explored nothing", at + 1));
        }
    }
    let goals = goals.unmet.iter().map(|goal| format!("goal not met: {goal}"));
    common.into_iter().chain(reasons).chain(goals).collect()
}

fn schedules(own: &[(usize, &Scenario)]) -> ScheduleReach {
    let each = || own.iter().map(|(_, part)| &part.schedules);
    let first = &own[0].1.schedules;
    let sum = |of: fn(&crate::json::document::Schedules) -> u64| {
        each().map(of).fold(0, u64::saturating_add)
    };
    let some = |of: fn(&crate::json::document::Schedules) -> Option<u64>| {
        each().filter_map(of).reduce(u64::saturating_add)
    };
    let shares = each().filter_map(|one| one.precise_footprints);
    let footprints = shares.map(|[part, whole]| Share { part, whole }).reduce(|one, other| Share {
        part: one.part.saturating_add(other.part),
        whole: one.whole.saturating_add(other.whole),
    });
    let drawn = first.strategy == "random";
    ScheduleReach {
        strategy: first.strategy.clone(),
        engine: first.engine.clone(),
        executions: sum(|one| one.executions),
        // What shards draw at random may be of the same classes: there are at least as many as one has.
        classes: if drawn {
            each().filter_map(|one| one.classes).max()
        } else {
            some(|one| one.classes)
        },
        more_classes: each().any(|one| one.more_classes) || (drawn && own.len() > 1),
        drawn_once: None,
        class_sum: each()
            .filter_map(|one| one.class_sum)
            .map(|Hex(sum)| sum)
            .reduce(u128::wrapping_add),
        states: some(|one| one.states),
        covered: some(|one| one.covered),
        footprints,
        audited: sum(|one| one.audited),
        done: None,
        complete: own.iter().all(|(_, one)| part(one).is_some_and(|part| part.schedules_complete)),
    }
}

fn crashes(own: &[(usize, &Scenario)]) -> Result<CrashReach, Unusable> {
    let first = &own[0].1.crashes;
    let mut whole = CrashReach {
        mode: first.mode.clone(),
        depth: first.depth,
        certificate: true,
        complete: true,
        ..CrashReach::default()
    };
    for (at, scenario) in own {
        let crashes = &scenario.crashes;
        let states = states(&crashes.states).map_err(|why| (*at, why))?;
        whole.states += states;
        whole.points = whole.points.saturating_add(crashes.points);
        whole.recovery_paths = whole.recovery_paths.saturating_add(crashes.recovery_paths);
        whole.queries = whole.queries.saturating_add(crashes.queries);
        whole.cross_checked = whole.cross_checked.saturating_add(crashes.cross_checked);
        whole.certificate &= crashes.certificate;
        whole.complete &= part(scenario).is_some_and(|part| part.crashes_complete);
    }
    Ok(whole)
}

fn states(digits: &str) -> Result<BigUint, String> {
    let number = if digits.len() <= DIGITS_MAX { digits.parse().ok() } else { None };
    number.ok_or_else(|| "the number of crash states is no number".to_owned())
}
