//! The search: one execution after the other, a crash exploration at the end of every new interval.
//!
//! An *interval* is a stretch of steps in which nothing becomes durable and nothing fails. In it
//! what a power cut may leave only grows, and what the guest is owed only grows: an allowed content
//! goes away when a flush succeeds, one comes only with a write of its own, whose content no earlier
//! state can hold because every write is stamped. So what fails at any step of an interval fails at
//! its last one, and that one alone is explored. When something is found, the earliest step of the
//! interval that fails is looked for by bisection. Whether two failures have the same *name* is
//! another question: what a flush covers later is D-DUR and not D-OLDNEW any more. A search for a
//! named invariant that finds only others therefore goes on at every step. An execution that is given
//! up is explored at its last moment as well, unless a task can run: the run settles nothing, and the
//! state after it is reached, too.
//!
//! Unless every order of completions has an execution of its own, each execution is followed by the
//! one that shows what the other consistent cuts of it would (see `latest`).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::crash::Unreadable;
use crate::disk::CrashSpace;
use crate::exec::{Label, Noted, Step};
use crate::explore::Progress;
use crate::explore::agreement::Reached;
use crate::explore::audit::Audit;
use crate::explore::cuts::{Cuts, Point, Reach, Violation};
use crate::explore::execution::Execution;
use crate::explore::found::Found;
use crate::explore::plan::Plan;
use crate::explore::visited::Visited;
use crate::oracle::Finding;
use crate::scenario::{Crashes, Explore};
use crate::schedule::{Divergence, Strategy, Tally};
use crate::verdict::{Invariant, Share};

/// What the search did and found.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) executions: u64,
    /// Executions that were given up at the step cap.
    pub(crate) capped: u64,
    /// Executions that have more cuts than are taken.
    pub(crate) wide: u64,
    /// The search ended after so many executions, because more were not wanted.
    pub(crate) short: Option<u64>,
    /// Everything that was reached, if that is all that is wanted.
    pub(crate) reached: Option<Reached>,
    /// What the strategy says of what it did.
    pub(crate) tally: Tally,
    /// Pairs of steps that were run both ways.
    pub(crate) audited: u64,
    /// Events that were seen with exactly what they touch.
    pub(crate) footprints: Share,
    /// Whether the strategy came to its own end.
    pub(crate) finished: bool,
    /// Whether the search was told to end.
    pub(crate) stopped: bool,
    /// The share of the search that is done, where that is known.
    pub(crate) share: Option<Share>,
    /// The first violation of each invariant, in the order of discovery.
    pub(crate) found: Vec<Found>,
    pub(crate) events: BTreeSet<&'static str>,
    /// What had happened before the search was taken up again.
    pub(crate) earlier_events: BTreeSet<String>,
    /// Why the harness cannot be trusted, if so.
    pub(crate) broken: Option<String>,
}

/// One search under way.
pub(crate) struct Search<'a> {
    pub(super) plan: &'a Plan,
    pub(super) cuts: &'a mut Cuts,
    pub(super) outcome: Outcome,
    listener: Option<&'a mut dyn FnMut(&str)>,
    /// Whether power is cut at every step, not just at the end of intervals.
    every_step: bool,
    /// The only step at which it is cut, if there is just one.
    only_step: Option<usize>,
    /// The cuts of executions after which the power was cut.
    pub(super) frontiers: Visited,
    /// How independent steps are looked at, if anything rests on it.
    pub(super) audit: Option<Audit>,
    /// Most executions.
    executions_max: u64,
}

impl Outcome {
    /// Whether something was found, but not what is looked for.
    pub(crate) fn has_only_others_than(&self, wanted: Option<Invariant>) -> bool {
        let is_wanted = |found: &Found| Some(found.finding.invariant) == wanted;
        wanted.is_some()
            && self.broken.is_none()
            && !self.found.is_empty()
            && !self.found.iter().any(is_wanted)
    }
}

impl<'a> Search<'a> {
    pub(crate) fn new(plan: &'a Plan, cuts: &'a mut Cuts) -> Self {
        let outcome = Outcome::default();
        Self {
            plan,
            cuts,
            outcome,
            listener: None,
            every_step: false,
            only_step: None,
            frontiers: Visited::default(),
            audit: None,
            executions_max: u64::MAX,
        }
    }

    /// Cuts power at every step: what a replay needs, and the reference for the search by intervals.
    pub(crate) fn at_every_step(mut self) -> Self {
        self.every_step = true;
        self.cuts.at_every_step = true;
        self
    }

    /// Cuts power at one step alone.
    pub(super) fn at_step(self, step: usize) -> Self {
        Self { only_step: Some(step), ..self.at_every_step() }
    }

    /// Whether power is cut at steps that were asked for, not at the end of intervals.
    pub(super) fn is_at_steps(&self) -> bool {
        self.every_step
    }

    /// Looks whether steps are as independent as they are said to be: at one pair in `one_in`.
    pub(crate) fn auditing(mut self, one_in: u64) -> Self {
        self.audit =
            (self.plan.world.noted != Noted::Nothing).then_some(Audit { one_in, pairs: 0 });
        self
    }

    /// Ends after so many executions.
    pub(super) fn up_to(mut self, executions_max: u64) -> Self {
        self.executions_max = executions_max;
        self
    }

    /// Collects what is reached, instead of exploring what follows a power cut; in at most so many
    /// executions.
    pub(super) fn collecting(mut self, executions_max: u64) -> Self {
        self.outcome.reached = Some(Reached::default());
        self.executions_max = executions_max;
        self
    }

    /// Tells every step of every execution to `listener`.
    pub(crate) fn telling(mut self, listener: &'a mut dyn FnMut(&str)) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Cuts power at every step if enumeration is sampled: then what fails at the last step of an
    /// interval may be missed there, and be seen at one with fewer states.
    pub(crate) fn often_enough_for(self, explore: &Explore) -> Self {
        match explore.crashes {
            Crashes::Sampled { .. } => self.at_every_step(),
            Crashes::Exact | Crashes::None => self,
        }
    }

    /// How far it is.
    pub(super) fn progress(&self, strategy: &dyn Strategy) -> Progress {
        Progress {
            executions: self.outcome.executions,
            recoveries: self.cuts.counts.recoveries,
            share: strategy.progress(),
        }
    }

    /// Runs executions until the strategy ends or a violation ends the search. `tick` is called after
    /// each, and says whether to go on.
    pub(crate) fn run(
        mut self,
        strategy: &mut Box<dyn Strategy>,
        tick: &mut dyn FnMut(&Self, &dyn Strategy) -> ControlFlow<()>,
    ) -> Outcome {
        loop {
            if self.outcome.executions >= self.executions_max {
                self.outcome.short = Some(self.executions_max);
                break;
            }
            if !strategy.begin() {
                self.outcome.finished = true;
                break;
            }
            let before = self.counted();
            self.outcome.executions += 1;
            let ended = self.execution(strategy);
            if ended.is_continue() && strategy.is_elsewhere() {
                self.uncount(before);
            }
            let told = tick(&self, &**strategy);
            if ended.is_break() || self.outcome.broken.is_some() {
                break;
            }
            if told.is_break() {
                self.outcome.stopped = true;
                break;
            }
        }
        self.outcome.stopped |= self.cuts.gave_up;
        self.outcome.share = strategy.progress();
        self.outcome.tally = strategy.tally();
        self.outcome.audited = self.audit.map_or(0, |audit| audit.pairs);
        self.outcome
    }

    /// What is counted of every execution.
    fn counted(&self) -> (u64, u64, Share) {
        (self.outcome.executions, self.outcome.capped, self.outcome.footprints)
    }

    /// The last execution belongs to somebody else.
    fn uncount(&mut self, before: (u64, u64, Share)) {
        (self.outcome.executions, self.outcome.capped, self.outcome.footprints) = before;
    }

    fn execution(&mut self, strategy: &mut Box<dyn Strategy>) -> ControlFlow<()> {
        let mut execution = Execution::new(self.plan);
        let latest = self.plan.latest && self.only_step.is_none();
        if latest || self.plan.cuts_max.is_some() {
            execution.start_recording(self.plan);
        }
        let audited = self.audit.is_some_and(|audit| audit.takes(self.outcome.executions));
        if audited || strategy.stands_for_others() {
            execution.keep_steps();
        }
        self.run_to_end(&mut execution, strategy)?;
        if latest {
            self.latest(&execution)?;
        }
        if let Err(divergence) = strategy.end() {
            self.diverged(&divergence);
            return ControlFlow::Break(());
        }
        if strategy.is_elsewhere() {
            return ControlFlow::Continue(());
        }
        self.audit(&execution)?;
        match strategy.causes() {
            Some(causes) => self.frontiers(&execution, &causes),
            None => ControlFlow::Continue(()),
        }
    }

    /// Looks whether the steps of an execution are what they are said to be.
    fn audit(&mut self, execution: &Execution) -> ControlFlow<()> {
        let Some(audit) = &mut self.audit else { return ControlFlow::Continue(()) };
        let Err(why) = audit.execution(self.plan, execution.steps()) else {
            return ControlFlow::Continue(());
        };
        self.outcome.broken.get_or_insert(why);
        ControlFlow::Break(())
    }

    /// Runs an execution, and looks at what has happened in all of it.
    pub(super) fn run_to_end(
        &mut self,
        execution: &mut Execution,
        strategy: &mut Box<dyn Strategy>,
    ) -> ControlFlow<()> {
        let answer = self.steps(execution, strategy);
        let mut events = execution.events();
        let mut forbidden = self.plan.system.forbidden().iter();
        let seen = forbidden.find(|forbidden| events.contains(forbidden.event));
        if let Some(reached) = &mut self.outcome.reached {
            reached.events.extend(&events);
        }
        self.outcome.events.append(&mut events);
        match seen {
            Some(seen) if answer.is_continue() => {
                let message = format!("{} ({})", seen.message, seen.event);
                self.live(execution, Finding { invariant: seen.invariant, message })
            }
            _ => answer,
        }
    }

    fn steps(
        &mut self,
        execution: &mut Execution,
        strategy: &mut Box<dyn Strategy>,
    ) -> ControlFlow<()> {
        // Steps at which a power cut is a new one.
        let first_new = strategy.first_new_step();
        let mut interval = Interval { start: 0, unexplored: self.plan.crashes };
        loop {
            let step = execution.world.steps();
            if self.every_step {
                self.crash_point(execution, &interval, None)?;
            }
            let notes = !self.every_step && self.plan.crashes && step > first_new;
            execution.world.note_settling(notes && !execution.is_verifying());
            let choices = execution.world.choices();
            match execution.world.step(strategy) {
                Step::Ran(label) => {
                    if let Some(listener) = &mut self.listener {
                        listener(&format!("step {step}: {label}"));
                    }
                    if let Some(spaces) = execution.world.before_settling() {
                        let before = Before { step, choices, spaces };
                        self.crash_point(execution, &interval, Some(before))?;
                        interval = Interval { start: step + 1, unexplored: false };
                    }
                    interval.unexplored |= self.plan.crashes && step >= first_new;
                    if let Some(finding) = execution.observe(self.plan, &label) {
                        self.live(execution, finding)?;
                    }
                    execution.record(label, choices);
                    self.count_footprint(&label);
                    if let Err(finding) = execution.look_for_device(self.plan) {
                        self.live(execution, finding)?;
                    }
                }
                Step::Finished => {
                    execution.finished(strategy);
                    self.reach_end(execution);
                    if interval.unexplored && !execution.is_verifying() {
                        self.crash_point(execution, &interval, None)?;
                        interval.unexplored = false;
                    }
                    match execution.next_stage(self.plan) {
                        Ok(true) => {}
                        Ok(false) => return ControlFlow::Continue(()),
                        Err(finding) => return self.live(execution, finding),
                    }
                }
                Step::Hang(hang) => {
                    execution.finished(strategy);
                    self.reach_end(execution);
                    self.crash_point(execution, &interval, None)?;
                    return self.live(execution, stopped(Invariant::LProg, &hang));
                }
                Step::Panicked(panic) => {
                    self.crash_point(execution, &interval, None)?;
                    return self.live(execution, stopped(Invariant::EPanic, &panic));
                }
                Step::StepCap if execution.job_is_running() => {
                    let message = "a background job has not ended at the step cap".to_owned();
                    let finding = Finding { invariant: Invariant::LConv, message };
                    self.crash_point(execution, &interval, None)?;
                    return self.live(execution, finding);
                }
                Step::StepCap => {
                    self.crash_point(execution, &interval, None)?;
                    self.outcome.capped += 1;
                    return ControlFlow::Continue(());
                }
                Step::Stopped(_) => {
                    // What follows is covered, this moment itself perhaps not: all that can happen may
                    // settle something, and be spared because it was explored before another event.
                    let goes_on = |label: &Label| matches!(label, Label::Poll(_));
                    if interval.unexplored && !execution.world.possible().iter().any(goes_on) {
                        self.crash_point(execution, &interval, None)?;
                    }
                    return ControlFlow::Continue(());
                }
                Step::Diverged(divergence) => {
                    self.diverged(&divergence);
                    return ControlFlow::Break(());
                }
            }
        }
    }

    /// Nothing more can happen.
    fn reach_end(&mut self, execution: &Execution) {
        if let Some(reached) = self.outcome.reached.as_mut().filter(|_| !execution.is_verifying()) {
            reached.ends.insert(execution.world.fingerprint());
        }
    }

    fn count_footprint(&mut self, event: &Label) {
        let runs = matches!(event, Label::Poll(_) | Label::Cancel { .. });
        if self.plan.world.noted != Noted::Nothing {
            self.outcome.footprints.whole += 1;
            self.outcome.footprints.part += u64::from(!runs || self.plan.world.told);
        }
    }

    /// Cuts the power, in every way, at the present moment of an execution or before its last step.
    pub(super) fn crash_point(
        &mut self,
        execution: &mut Execution,
        interval: &Interval,
        before: Option<Before>,
    ) -> ControlFlow<()> {
        if !self.plan.crashes || execution.is_verifying() {
            return ControlFlow::Continue(());
        }
        let before = before.unwrap_or_else(|| Before {
            step: execution.world.steps(),
            choices: execution.world.choices(),
            spaces: execution.world.crash_spaces(),
        });
        if self.only_step.is_some_and(|only| only != before.step) {
            return ControlFlow::Continue(());
        }
        let unreadable = (self.plan.unreadable > 0)
            .then(|| Unreadable::new(self.plan.unreadable, &before.spaces));
        let point = Point {
            at: before.step as u64,
            unreadable,
            spaces: before.spaces.into(),
            obligations: execution.obligations(self.plan),
            asked: self.plan.system.queries().into(),
            reach: Reach { recovery_cuts: self.plan.recovery_cuts, sessions_done: 0 },
        };
        if let Some(reached) = &mut self.outcome.reached {
            reached.points.insert(point.key());
            return ControlFlow::Continue(());
        }
        let mut found = Vec::new();
        let wanted = self.plan.wanted;
        let mut answer = self.cuts.point(point, &mut |violation: Violation| {
            let new = execution.found(violation.finding, before.choices, violation.cuts);
            let answer = decide(wanted, new.finding.invariant);
            found.push(new);
            answer
        });
        if self.cuts.broken.is_some() {
            answer = ControlFlow::Break(());
        }
        for new in found {
            let earliest = self.earliest(new, interval.start, before.step);
            note(&mut self.outcome.found, earliest);
        }
        answer
    }

    /// A violation that needs no power cut.
    fn live(&mut self, execution: &Execution, finding: Finding) -> ControlFlow<()> {
        let found = execution.found(finding, execution.world.choices(), Vec::new());
        let answer = decide(self.plan.wanted, found.finding.invariant);
        note(&mut self.outcome.found, found);
        answer
    }

    fn diverged(&mut self, divergence: &Divergence) {
        self.outcome.broken = Some(divergence.to_string());
    }
}

fn stopped(invariant: Invariant, why: &dyn std::fmt::Display) -> Finding {
    Finding { invariant, message: why.to_string() }
}

/// Keeps the first violation of each invariant.
fn note(found: &mut Vec<Found>, new: Found) {
    let invariant = new.finding.invariant;
    if found.iter().all(|old| old.finding.invariant != invariant) {
        found.push(new);
    }
}

/// Whether to go on after a violation: until the wanted one is found, or not if none is wanted.
fn decide(wanted: Option<Invariant>, found: Invariant) -> ControlFlow<()> {
    if wanted.is_none_or(|wanted| wanted == found) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// A stretch of steps in which nothing becomes impossible for a power cut.
pub(super) struct Interval {
    /// Its first step.
    pub(super) start: usize,
    /// Whether its last step so far is new and was not explored.
    pub(super) unexplored: bool,
}

/// The moment before a step.
pub(super) struct Before {
    step: usize,
    choices: usize,
    spaces: Vec<CrashSpace>,
}
