//! The search: one execution after the other, a crash exploration after every new step.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::exec::Step;
use crate::explore::cuts::{Cuts, Reach, Violation};
use crate::explore::execution::Execution;
use crate::explore::found::Found;
use crate::explore::plan::Plan;
use crate::oracle::Finding;
use crate::schedule::{Divergence, Strategy};
use crate::verdict::Invariant;

/// What the search did and found.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) executions: u64,
    /// Executions that were given up at the step cap.
    pub(crate) capped: u64,
    /// Whether the strategy came to its own end.
    pub(crate) finished: bool,
    /// The first violation of each invariant, in the order of discovery.
    pub(crate) found: Vec<Found>,
    pub(crate) events: BTreeSet<&'static str>,
    /// Why the harness cannot be trusted, if so.
    pub(crate) broken: Option<String>,
}

/// One search under way.
pub(crate) struct Search<'a> {
    plan: &'a Plan,
    cuts: &'a mut Cuts,
    outcome: Outcome,
    listener: Option<&'a mut dyn FnMut(&str)>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(plan: &'a Plan, cuts: &'a mut Cuts) -> Self {
        Self { plan, cuts, outcome: Outcome::default(), listener: None }
    }

    /// Tells every step of every execution to `listener`.
    pub(crate) fn telling(mut self, listener: &'a mut dyn FnMut(&str)) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Runs executions until the strategy ends or a violation ends the search; `tick` is called
    /// after each.
    pub(crate) fn run(
        mut self,
        strategy: &mut Box<dyn Strategy>,
        tick: &mut dyn FnMut(&Outcome, &Cuts),
    ) -> Outcome {
        loop {
            if !strategy.begin() {
                self.outcome.finished = true;
                break;
            }
            self.outcome.executions += 1;
            let ended = self.execution(strategy);
            if ended.is_continue()
                && let Err(divergence) = strategy.end()
            {
                self.diverged(&divergence);
            }
            tick(&self.outcome, self.cuts);
            if ended.is_break() || self.outcome.broken.is_some() {
                break;
            }
        }
        self.outcome
    }

    fn execution(&mut self, strategy: &mut Box<dyn Strategy>) -> ControlFlow<()> {
        let mut execution = Execution::new(self.plan);
        let answer = self.steps(&mut execution, strategy);
        let mut events = execution.events();
        let mut forbidden = self.plan.system.forbidden().iter();
        let seen = forbidden.find(|forbidden| events.contains(forbidden.event));
        self.outcome.events.append(&mut events);
        match seen {
            Some(seen) if answer.is_continue() => {
                let message = format!("{} ({})", seen.message, seen.event);
                self.live(&execution, Finding { invariant: seen.invariant, message })
            }
            _ => answer,
        }
    }

    fn steps(
        &mut self,
        execution: &mut Execution,
        strategy: &mut Box<dyn Strategy>,
    ) -> ControlFlow<()> {
        self.crash_point(execution)?;
        loop {
            let step = execution.world.steps();
            match execution.world.step(strategy) {
                Step::Ran(label) => {
                    if let Some(listener) = &mut self.listener {
                        listener(&format!("step {step}: {label}"));
                    }
                    if let Some(finding) = execution.observe(self.plan, &label) {
                        self.live(execution, finding)?;
                    }
                    if step >= strategy.first_new_step() && !execution.is_verifying() {
                        self.crash_point(execution)?;
                    }
                    if let Err(finding) = execution.look_for_device(self.plan) {
                        self.live(execution, finding)?;
                    }
                }
                Step::Finished => match execution.next_stage(self.plan) {
                    Ok(true) => {}
                    Ok(false) => return ControlFlow::Continue(()),
                    Err(finding) => return self.live(execution, finding),
                },
                Step::Hang(hang) => return self.live(execution, stopped(Invariant::LProg, &hang)),
                Step::Panicked(panic) => {
                    return self.live(execution, stopped(Invariant::EPanic, &panic));
                }
                Step::StepCap if execution.job_is_running() => {
                    let message = "a background job has not ended at the step cap".to_owned();
                    let finding = Finding { invariant: Invariant::LConv, message };
                    return self.live(execution, finding);
                }
                Step::StepCap => {
                    self.outcome.capped += 1;
                    return ControlFlow::Continue(());
                }
                Step::Diverged(divergence) => {
                    self.diverged(&divergence);
                    return ControlFlow::Break(());
                }
            }
        }
    }

    /// Cuts the power at the present moment of an execution, in every way.
    fn crash_point(&mut self, execution: &mut Execution) -> ControlFlow<()> {
        if !self.plan.crashes {
            return ControlFlow::Continue(());
        }
        let spaces = execution.world.crash_spaces();
        let obligations = execution.obligations(self.plan);
        let reach = Reach { recovery_cuts: self.plan.recovery_cuts, sessions_done: 0 };
        let at = execution.world.steps() as u64;
        let (outcome, wanted) = (&mut self.outcome, self.plan.wanted);
        self.cuts.point(spaces, at, &obligations, reach, &mut |violation: Violation| {
            let found = execution.found(violation.finding, violation.cuts);
            note(&mut outcome.found, found, wanted)
        })
    }

    /// A violation that needs no power cut.
    fn live(&mut self, execution: &Execution, finding: Finding) -> ControlFlow<()> {
        let found = execution.found(finding, Vec::new());
        note(&mut self.outcome.found, found, self.plan.wanted)
    }

    fn diverged(&mut self, divergence: &Divergence) {
        self.outcome.broken = Some(divergence.to_string());
    }
}

fn stopped(invariant: Invariant, why: &dyn std::fmt::Display) -> Finding {
    Finding { invariant, message: why.to_string() }
}

/// Keeps the first violation of each invariant, and decides whether to go on: until the wanted one
/// is found, or after any if none is wanted.
fn note(found: &mut Vec<Found>, new: Found, wanted: Option<Invariant>) -> ControlFlow<()> {
    let invariant = new.finding.invariant;
    if found.iter().all(|old| old.finding.invariant != invariant) {
        found.push(new);
    }
    if wanted.is_none_or(|wanted| wanted == invariant) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
