//! The exploration of a system: executions, crash points, crash states, recovery, judgement.
//!
//! * [`run`] explores a scenario within its bounds and says what came out;
//! * [`replay`] takes the way of one counterexample again;
//! * [`run_system`] and [`replay_system`] do the same for any [`System`], without a scenario.
//!
//! Inside: `search` runs executions one after the other, `execution` and `session` are one
//! execution and its clients, `cuts` is everything that follows a power cut, `later` the sessions
//! after one, `visited` keeps equal states from being visited twice, `counterexample` turns what
//! was found into a way that replays.

mod answers;
mod concrete;
mod counterexample;
mod cross_check;
mod cuts;
mod execution;
mod exploration;
mod found;
mod later;
mod leaf;
mod plan;
mod script;
mod search;
mod session;
mod visited;

use std::sync::Arc;

use crate::crash::BruteForce;
use crate::explore::cuts::{Cuts, Method};
use crate::explore::plan::Plan;
use crate::explore::script::Script;
use crate::explore::search::{Outcome, Search};
use crate::scenario::{Crashes, Explore, Replay as Way, Scenario, Schedules, SystemSpec};
use crate::schedule::{AfterTrace, Exhaustive, Fifo, Random, Replay, Strategy};
use crate::system::System;
use crate::system::fvd::FvdSystem;
use crate::verdict::{CrashReach, Goals, ScenarioResult, ScheduleReach, Verdict, Violation};

pub use exploration::Exploration;

/// What is asked of a search besides the scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Starts every random part here instead of where the scenario says.
    pub seed: Option<u64>,
    /// Enumerates every crash point that has at most 65,536 states as well, and compares what is
    /// seen; and cuts the power at every step as well, and compares the verdict.
    pub cross_check: bool,
}

impl RunOptions {
    /// Changes bounds to those that are explored.
    pub fn apply_to(&self, explore: &mut Explore) {
        if let Some(seed) = self.seed {
            explore.set_seed(seed);
        }
    }
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
    let exploration = Exploration::of(scenario);
    let system = match system(scenario, &exploration) {
        Ok(system) => system,
        Err(why) => return ScenarioResult::broken(scenario, why),
    };
    let result = run_system(&system, &exploration, options, progress);
    ScenarioResult { planted: ScenarioResult::nothing_seen(scenario).planted, ..result }
}

/// Takes a counterexample's way again; every step is told to `step`, one line each.
pub fn replay(scenario: &Scenario, step: &mut dyn FnMut(&str)) -> ReplayEnd {
    let Some(way) = &scenario.replay else {
        return ReplayEnd::Diverged("the scenario has no [replay] table".to_owned());
    };
    let exploration = Exploration::of(scenario);
    match system(scenario, &exploration) {
        Ok(system) => replay_system(&system, &exploration, way, step),
        Err(why) => ReplayEnd::Diverged(why),
    }
}

/// Explores a system within bounds. `progress` is called now and then.
///
/// # Example
///
/// A store of one sector that takes a shortcut: its flush reports success and flushes nothing.
///
/// ```
/// use std::sync::Arc;
///
/// use plugpull_engine::{ByteRange, Disk, Error, Runtime, WriteFlags};
/// use plugpull_sim::disk::{DiskSpec, Image};
/// use plugpull_sim::explore::{Exploration, ReplayEnd, RunOptions, replay_system, run_system};
/// use plugpull_sim::system::{BoxFuture, Device, Purpose, System};
/// use plugpull_sim::verdict::{Invariant, Verdict};
///
/// struct Shortcut {
///     disks: [DiskSpec; 1],
///     zeros: [Image; 1],
///     whole: [ByteRange; 1],
/// }
///
/// impl System for Shortcut {
///     fn disks(&self) -> &[DiskSpec] {
///         &self.disks
///     }
///     fn start(&self) -> &[Image] {
///         &self.zeros
///     }
///     fn initial(&self) -> &Image {
///         &self.zeros[0]
///     }
///     fn queries(&self) -> &[ByteRange] {
///         &self.whole
///     }
///     fn open(
///         &self,
///         disks: Vec<Arc<dyn Disk>>,
///         _: Arc<dyn Runtime>,
///         _: Purpose,
///     ) -> BoxFuture<Result<Arc<dyn Device>, Error>> {
///         Box::pin(async move { Ok(Arc::new(Opened(disks[0].clone())) as Arc<dyn Device>) })
///     }
/// }
///
/// struct Opened(Arc<dyn Disk>);
///
/// impl Device for Opened {
///     fn read(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
///         let read = self.0.read(range.offset, range.len as usize);
///         Box::pin(async { read.await.map_err(|error| Error::disk("read", error)) })
///     }
///     fn write(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
///         let write = self.0.write(offset, data, WriteFlags::NONE);
///         Box::pin(async { write.await.map_err(|error| Error::disk("write", error)) })
///     }
///     fn flush(&self) -> BoxFuture<Result<(), Error>> {
///         Box::pin(async { Ok(()) })
///     }
///     fn close(&self) -> BoxFuture<Result<(), Error>> {
///         self.flush()
///     }
/// }
///
/// let system: Arc<dyn System> = Arc::new(Shortcut {
///     disks: [DiskSpec::new("disk")],
///     zeros: [Image::zeroed(512)],
///     whole: [ByteRange::new(0, 512)],
/// });
/// let client = vec!["write 0 512".parse()?, "flush".parse()?];
/// let exploration = Exploration::new([client]);
/// let result = run_system(&system, &exploration, &RunOptions::default(), &|_| ());
/// assert_eq!(result.verdict, Verdict::Violated);
///
/// let violation = &result.violations[0];
/// assert_eq!(violation.invariant, Invariant::DDur);
/// let way = &violation.replay;
/// assert_eq!(way.crashes[0].disks[0].left[0].variable, "sector 0");
/// let end = replay_system(&system, &exploration, way, &mut |_| ());
/// assert_eq!(end, ReplayEnd::Reproduced(violation.clone()));
/// # Ok::<(), plugpull_sim::workload::BadOp>(())
/// ```
pub fn run_system(
    system: &Arc<dyn System>,
    exploration: &Exploration,
    options: &RunOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> ScenarioResult {
    let mut exploration = exploration.clone();
    options.apply_to(&mut exploration.explore);
    let plan = match Plan::new(Arc::clone(system), &exploration) {
        Ok(plan) => plan,
        Err(why) => return unfit(&**system, &exploration, why),
    };
    let explore = &exploration.explore;
    let cuts = || Cuts::new(Arc::clone(system), method(explore), plan.later.clone());
    let mut tick = |outcome: &Outcome, cuts: &Cuts| {
        progress(Progress { executions: outcome.executions, recoveries: cuts.counts.recoveries });
    };
    let mut seen = cuts();
    seen.cross_checks = options.cross_check;
    let search = Search::new(&plan, &mut seen).often_enough_for(explore);
    let mut outcome = search.run(&mut strategy(explore), &mut tick);
    if outcome.has_only_others_than(plan.wanted) && !seen.at_every_step && seen.broken.is_none() {
        seen = cuts();
        let search = Search::new(&plan, &mut seen).at_every_step();
        outcome = search.run(&mut strategy(explore), &mut tick);
    }
    if options.cross_check && outcome.broken.is_none() {
        outcome.broken = compare_with_every_step(explore, &plan, &outcome);
    }
    result(&**system, &exploration, outcome, seen)
}

/// Takes the way to a violation of a system again; every step is told to `step`, one line each.
pub fn replay_system(
    system: &Arc<dyn System>,
    exploration: &Exploration,
    way: &Way,
    step: &mut dyn FnMut(&str),
) -> ReplayEnd {
    let mut plan = match Plan::new(Arc::clone(system), exploration) {
        Ok(plan) => plan,
        Err(why) => return ReplayEnd::Diverged(why),
    };
    // Others may show on the way, as they did when it was found.
    plan.wanted = Some(way.invariant);
    plan.crashes = !way.crashes.is_empty();
    let method = method(&exploration.explore);
    let mut cuts = Cuts::new(Arc::clone(system), method, plan.later.clone());
    cuts.follow(Script::told(&way.crashes));
    let mut strategy: Box<dyn Strategy> =
        Box::new(Replay::new(way.trace.clone(), AfterTrace::Fifo));
    let search = Search::new(&plan, &mut cuts).at_every_step().telling(step);
    let outcome = search.run(&mut strategy, &mut |_, _| ());
    if let Some(why) = outcome.broken.or(cuts.misfit.take()).or(cuts.broken.take()) {
        return ReplayEnd::Diverged(why);
    }
    let recorded = outcome.found.iter().position(|found| found.finding.invariant == way.invariant);
    let Some(found) = outcome.found.into_iter().nth(recorded.unwrap_or(0)) else {
        return ReplayEnd::Held;
    };
    let violation = counterexample::violation(&**system, found);
    for line in &violation.story {
        step(line);
    }
    if violation.invariant == way.invariant && violation.message == way.message {
        ReplayEnd::Reproduced(violation)
    } else {
        ReplayEnd::Different(violation)
    }
}

/// The system of a scenario, set up.
///
/// # Errors
/// Why it cannot be.
fn system(scenario: &Scenario, exploration: &Exploration) -> Result<Arc<dyn System>, String> {
    let SystemSpec::Fvd(spec) = &scenario.system;
    let system = FvdSystem::new(spec, &scenario.disks, &exploration.touched());
    Ok(Arc::new(system.map_err(|error| error.to_string())?))
}

/// The result if a system and what is asked of it do not fit together.
fn unfit(system: &dyn System, exploration: &Exploration, why: String) -> ScenarioResult {
    ScenarioResult {
        verdict: Verdict::HarnessBroken,
        broken: Some(format!("the exploration does not fit the system: {why}")),
        ..nothing_seen(system, exploration)
    }
}

fn nothing_seen(system: &dyn System, exploration: &Exploration) -> ScenarioResult {
    ScenarioResult::before(system.disks(), &exploration.explore, &exploration.expect)
}

/// Cuts the power at every step, not just at the end of every interval; why the harness cannot be
/// trusted, if something else comes out.
fn compare_with_every_step(explore: &Explore, plan: &Plan, outcome: &Outcome) -> Option<String> {
    let mut cuts = Cuts::new(Arc::clone(&plan.system), method(explore), plan.later.clone());
    let search = Search::new(plan, &mut cuts).at_every_step();
    let reference = search.run(&mut strategy(explore), &mut |_, _| ());
    let broken = |outcome: &Outcome| match plan.wanted {
        Some(wanted) => outcome.found.iter().any(|found| found.finding.invariant == wanted),
        None => !outcome.found.is_empty(),
    };
    let same = broken(outcome) == broken(&reference);
    (!same).then(|| {
        let whether = |broken| if broken { "finds a violation" } else { "finds none" };
        format!(
            "the search at the end of every interval {}, the one at every step {}",
            whether(broken(outcome)),
            whether(broken(&reference))
        )
    })
}

fn method(explore: &Explore) -> Method {
    match explore.crashes {
        Crashes::Sampled { count, seed } => Method::Enumerated(BruteForce::new(count, seed)),
        Crashes::Exact | Crashes::None => Method::Exact { paths_max: explore.paths_max },
    }
}

fn strategy(explore: &Explore) -> Box<dyn Strategy> {
    match explore.schedules {
        Schedules::Exhaustive => Box::new(Exhaustive::new()),
        Schedules::Fifo => Box::new(Fifo::new()),
        Schedules::Random { count, seed } => Box::new(Random::new(seed, 0..count)),
    }
}

fn result(
    system: &dyn System,
    exploration: &Exploration,
    mut outcome: Outcome,
    mut cuts: Cuts,
) -> ScenarioResult {
    let (explore, expect) = (&exploration.explore, &exploration.expect);
    let mut events = std::mem::take(&mut outcome.events);
    events.append(&mut cuts.events);
    let (met, unmet): (Vec<String>, Vec<String>) =
        expect.reach.iter().cloned().partition(|goal| events.contains(goal.as_str()));
    outcome.broken = outcome.broken.or(cuts.broken.take());
    let incomplete = shortfalls(explore, &outcome, &cuts, &unmet);
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
            classes: None,
            complete: outcome.finished
                && outcome.capped == 0
                && !matches!(explore.schedules, Schedules::Random { .. }),
        },
        crashes: crash_reach(explore, &cuts, outcome.finished, outcome.capped),
        goals: Goals { met, unmet },
        bounds: bounds(explore),
        incomplete,
        broken: outcome.broken,
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

/// Why nothing can be claimed beyond what was seen.
fn shortfalls(explore: &Explore, outcome: &Outcome, cuts: &Cuts, unmet: &[String]) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Schedules::Random { count, seed } = explore.schedules {
        reasons.push(format!("schedules are a random sample: {count} from seed {seed}"));
    }
    if outcome.capped > 0 {
        reasons.push(format!("{} executions were given up at the step cap", outcome.capped));
    }
    let counts = &cuts.counts;
    if counts.bounded_points > 0 {
        let (seen, all) = &counts.bounded;
        let how = match (&explore.crashes, counts.losses) {
            (Crashes::Sampled { .. }, _) => "were sampled".to_owned(),
            (_, None) => "have more ways through a query or a session than paths_max".to_owned(),
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
fn bounds(explore: &Explore) -> Vec<String> {
    let mut bounds = Vec::new();
    if explore.schedules == Schedules::Fifo {
        bounds.push("one schedule: first in, first out".to_owned());
    }
    if explore.ready == crate::exec::ReadyOrder::MacroStep {
        bounds.push("ready tasks run in a fixed order after each completion".to_owned());
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

fn strategy_name(schedules: Schedules) -> &'static str {
    match schedules {
        Schedules::Exhaustive => "exhaustive",
        Schedules::Fifo => "fifo",
        Schedules::Random { .. } => "random",
    }
}
