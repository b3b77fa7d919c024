//! Executions run again for what was found in them, or could be.

use std::ops::ControlFlow;

use crate::exec::{ReadyOrder, WorldOptions};
use crate::explore::execution::Execution;
use crate::explore::found::Found;
use crate::explore::plan::Plan;
use crate::explore::search::Search;
use crate::schedule::{AfterTrace, Guided, Replay, Strategy};

impl Search<'_> {
    /// The same invariant broken at the earliest step of an interval: what fails at one step of it
    /// fails at all later ones. The execution is run again for every step that is tried.
    pub(super) fn earliest(&self, found: Found, first: usize, last: usize) -> Found {
        if self.is_at_steps() {
            return found;
        }
        let mut best = found;
        let (mut low, mut high) = (first, last);
        while low < high {
            let middle = low.midpoint(high);
            match self.found_at(&best, middle) {
                Some(earlier) => {
                    best = earlier;
                    high = middle;
                }
                None => low = middle + 1,
            }
        }
        best
    }

    /// Runs an execution once more, with every completion as late as it can be: what the power cuts
    /// of other orders would show is shown by those of this one.
    pub(super) fn latest(&mut self, first: &Execution) -> ControlFlow<()> {
        let Some(recording) = first.recording() else { return ControlFlow::Continue(()) };
        if first.world.steps() >= self.plan.world.step_cap {
            return ControlFlow::Continue(());
        }
        let steps = recording.latest();
        let Some(moved) = steps.iter().zip(recording.steps()).position(|(new, old)| new != old)
        else {
            return ControlFlow::Continue(());
        };
        // Completions follow each other while tasks are ready.
        let world = WorldOptions { ready: ReadyOrder::Any, ..self.plan.world };
        let mut execution = Execution::new(&Plan { world, ..self.plan.clone() });
        execution.start_recording(self.plan);
        let mut strategy: Box<dyn Strategy> = Box::new(Guided::new(steps.clone(), moved));
        self.run_to_end(&mut execution, &mut strategy)?;
        let taken = execution.recording().map_or(0, |taken| {
            taken.steps().zip(&steps).take_while(|(taken, planned)| taken == planned).count()
        });
        if taken < steps.len() {
            let step = &steps[taken].event;
            let why =
                format!("an order of completions that was possible is not: {step} at {taken}");
            self.outcome.broken.get_or_insert(why);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// The same invariant broken by a power cut at one step.
    fn found_at(&self, found: &Found, step: usize) -> Option<Found> {
        let invariant = found.finding.invariant;
        let world = WorldOptions { ready: found.ready, ..self.plan.world };
        let plan = Plan { wanted: Some(invariant), world, ..self.plan.clone() };
        let mut cuts = self.cuts.anew();
        let search = Search::new(&plan, &mut cuts).at_step(step);
        let replay = Replay::new(found.trace.clone(), AfterTrace::Fifo);
        let mut strategy: Box<dyn Strategy> = Box::new(replay);
        let outcome = search.run(&mut strategy, &mut |_, _| ControlFlow::Continue(()));
        let same = |found: &Found| found.finding.invariant == invariant && !found.cuts.is_empty();
        outcome.found.into_iter().find(same)
    }
}

#[cfg(test)]
mod tests;
