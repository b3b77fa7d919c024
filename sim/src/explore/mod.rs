//! The exploration of a system: executions, crash points, crash states, recovery, judgement.
//!
//! * [`run`] explores a scenario within its bounds and says what came out;
//! * [`replay`] takes the way of one counterexample again;
//! * [`run_system`] and [`replay_system`] do the same for any [`System`], without a scenario.
//!
//! Inside: `search` runs executions one after the other, `execution` and `session` are one
//! execution and its clients, `latest` is the order of its steps that stands for other orders,
//! `again` runs one again; `cuts` is everything that follows a power cut, `later` the sessions
//! after one, `visited` keeps equal states from being visited twice, `counterexample` turns what
//! was found into a way that replays.

mod again;
mod agreement;
mod answers;
mod audit;
mod budget;
mod combine;
mod concrete;
mod counterexample;
mod cross_check;
mod cuts;
mod execution;
mod exploration;
mod found;
mod frontiers;
mod images;
mod later;
mod latest;
mod leaf;
mod part;
mod plan;
mod repaired;
mod report;
mod saved;
mod script;
mod search;
mod session;
mod strategy;
mod visited;
mod ways;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::crash::BruteForce;
use crate::explore::agreement::disagreement;
use crate::explore::cuts::{Cuts, Method};
use crate::explore::plan::Plan;
use crate::explore::script::Script;
use crate::explore::search::{Outcome, Search};
use crate::explore::strategy::{Assigned, strategy};
use crate::scenario::{
    Crashes, Explore, Reduction, Replay as Way, Scenario, Schedules, SystemSpec,
};
use crate::schedule::{AfterTrace, Replay, Strategy};
use crate::system::fvd::FvdSystem;
use crate::system::qcow2::Qcow2System;
use crate::system::{SetupFailed, System};
use crate::verdict::{ScenarioResult, Share, Violation};

pub use budget::{Budget, Spent};
pub use combine::combine;
pub use exploration::Exploration;
pub use frontiers::Causes;
pub use part::Part;
use saved::Saved;
pub use saved::{Keeper, SharedKeeper};

/// Of so many pairs of independent steps, and of so many states met again, one is looked at.
const AUDIT_ONE_IN: u64 = 256;

/// What is asked of a search besides the scenario.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Starts every random part here instead of where the scenario says.
    pub seed: Option<u64>,
    /// Enumerates every crash point that has at most 65,536 states as well, and compares what is
    /// seen; and cuts the power at every step as well, and compares the verdict.
    pub cross_check: bool,
    /// The engine of every exhaustive search, instead of what the scenario says.
    pub engine: Option<Reduction>,
    /// What the search may take; without end if none.
    pub budget: Option<Budget>,
    /// Which part of the work, if this is a shard of a run.
    pub part: Option<Part>,
    /// Ends the search after so many executions, for whoever then goes on in parts.
    pub executions_max: Option<u64>,
    /// Who keeps the state of the search.
    pub keeper: Option<SharedKeeper>,
}

impl RunOptions {
    /// Changes bounds to those that are explored.
    pub fn apply_to(&self, explore: &mut Explore) {
        if let Some(seed) = self.seed {
            explore.set_seed(seed);
        }
        if let (Some(engine), Schedules::Exhaustive(reduction)) =
            (self.engine, &mut explore.schedules)
        {
            *reduction = engine;
        }
        if self.part.is_some() {
            Part::apply_to(explore);
        }
    }

    /// Whether the search has to end.
    fn is_spent(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.spent() > Spent::Partly)
    }
}

/// How far a search is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Executions run.
    pub executions: u64,
    /// Recoveries run.
    pub recoveries: u64,
    /// The share of the search that is done, where that is known.
    pub share: Option<Share>,
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
        Err(why) => return report::unfit(&**system, &exploration, why),
    };
    let schedules = exploration.explore.schedules;
    if let Some(part) = options.part.filter(|part| part.has_nothing_of(schedules)) {
        return report::elsewhere(&**system, &exploration, part);
    }
    if options.is_spent() {
        return report::never_begun(&**system, &exploration, options.part);
    }
    run_plan(&plan, &exploration, options, progress)
}

/// Explores what a plan says.
fn run_plan(
    plan: &Plan,
    exploration: &Exploration,
    options: &RunOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> ScenarioResult {
    let explore = &exploration.explore;
    let cuts = || {
        let cuts = Cuts::new(Arc::clone(&plan.system), method(explore), plan.later.clone());
        cuts.within(options.budget.clone())
    };
    let mut told = |search: &Search<'_>, strategy: &dyn Strategy| {
        progress(search.progress(strategy));
        if options.is_spent() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut kept = |search: &Search<'_>, strategy: &dyn Strategy| {
        let answer = told(search, strategy);
        if let Some(keeper) = &options.keeper {
            keep(&**keeper, search, strategy, answer.is_break());
        }
        answer
    };
    let part = options.part;
    let assigned = part.map_or_else(Assigned::default, |part| part.assigned(explore, plan, &cuts));
    let mut seen = cuts();
    seen.cross_checks = options.cross_check;
    let audit = if options.cross_check { 1 } else { AUDIT_ONE_IN };
    let search = Search::new(plan, &mut seen).often_enough_for(explore).auditing(audit);
    let mut search = search.up_to(options.executions_max.unwrap_or(u64::MAX));
    let mut first = strategy(explore, audit, &assigned);
    if let Some(state) = options.keeper.as_ref().and_then(|keeper| keeper.kept())
        && let Err(why) =
            Saved::from_bytes(&state).and_then(|saved| saved.resume(&mut search, &mut *first))
    {
        return report::not_resumed(&*plan.system, exploration, &why);
    }
    let mut outcome = search.run(&mut first, &mut kept);
    if outcome.has_only_others_than(plan.wanted)
        && !outcome.stopped
        && !seen.at_every_step
        && seen.broken.is_none()
    {
        seen = cuts();
        let search = Search::new(plan, &mut seen).at_every_step();
        outcome = search.run(&mut strategy(explore, audit, &assigned), &mut told);
    }
    if options.cross_check && outcome.broken.is_none() && !outcome.stopped {
        outcome.broken = compare_with_every_step(explore, plan, &outcome);
        if matches!(explore.schedules, Schedules::Exhaustive(_)) && outcome.found.is_empty() {
            outcome.broken = outcome.broken.or_else(|| disagreement(explore, plan, &cuts));
        }
    }
    report::result(plan, exploration, outcome, seen, part.map(|part| (part, &assigned)))
}

/// Has the state of a search kept if that is due, or the search ends with it.
fn keep(keeper: &dyn Keeper, search: &Search<'_>, strategy: &dyn Strategy, ends: bool) {
    if !ends && !keeper.is_due() {
        return;
    }
    if let Some(state) = Saved::of(search, strategy).and_then(|saved| saved.to_bytes()) {
        keeper.keep(state);
    }
}

/// Takes the way to a violation of a system again; every step is told to `step`, one line each. The
/// exploration has to have the order of ready tasks that the [violation](Violation::ready) names.
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
    plan.latest = false;
    // Others may show on the way, as they did when it was found.
    plan.wanted = Some(way.invariant);
    plan.crashes = !way.crashes.is_empty();
    let method = method(&exploration.explore);
    let mut cuts = Cuts::new(Arc::clone(system), method, plan.later.clone());
    cuts.follow(Script::told(&way.crashes));
    let mut strategy: Box<dyn Strategy> =
        Box::new(Replay::new(way.trace.clone(), AfterTrace::Fifo));
    let search = Search::new(&plan, &mut cuts).at_every_step().telling(step);
    let outcome = search.run(&mut strategy, &mut |_, _| ControlFlow::Continue(()));
    if let Some(why) = outcome.broken.or(cuts.misfit.take()).or(cuts.broken.take()) {
        return ReplayEnd::Diverged(why);
    }
    let recorded = outcome.found.iter().position(|found| found.finding.invariant == way.invariant);
    let found = outcome.found.into_iter().nth(recorded.unwrap_or(0));
    if let Some(cut) = way.crashes.get(cuts.scripted) {
        // Nothing is known of what would have followed.
        return ReplayEnd::Diverged(format!(
            "power cut {} of the file, in session {} at {}, was never reached",
            cuts.scripted + 1,
            cut.session,
            cut.at
        ));
    }
    let Some(found) = found else { return ReplayEnd::Held };
    let (told, taken) = (way.trace.choices.len(), found.trace.choices.len());
    if told > taken {
        return ReplayEnd::Diverged(format!(
            "the file has {told} choices, and {taken} lead to the violation"
        ));
    }
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
    let (disks, touched) = (&scenario.disks, exploration.touched());
    let system: Result<Arc<dyn System>, SetupFailed> = match &scenario.system {
        SystemSpec::Fvd(spec) => {
            FvdSystem::new(spec, disks, &touched).map(|fvd| Arc::new(fvd) as _)
        }
        SystemSpec::Qcow2(spec) => {
            Qcow2System::new(spec, disks, &touched).map(|qcow2| Arc::new(qcow2) as _)
        }
    };
    system.map_err(|error| error.to_string())
}

/// Cuts the power at every step, not just at the end of every interval; why the harness cannot be
/// trusted, if something else comes out.
fn compare_with_every_step(explore: &Explore, plan: &Plan, outcome: &Outcome) -> Option<String> {
    let mut cuts = Cuts::new(Arc::clone(&plan.system), method(explore), plan.later.clone());
    let search = Search::new(plan, &mut cuts).at_every_step();
    let reference = search
        .run(&mut strategy(explore, AUDIT_ONE_IN, &Assigned::default()), &mut |_, _| {
            ControlFlow::Continue(())
        });
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
