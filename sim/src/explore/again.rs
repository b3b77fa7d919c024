//! Executions run again for what was found in them.

use crate::explore::found::Found;
use crate::explore::plan::Plan;
use crate::explore::search::Search;
use crate::schedule::{AfterTrace, Replay, Strategy};

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

    /// The same invariant broken by a power cut at one step.
    fn found_at(&self, found: &Found, step: usize) -> Option<Found> {
        let invariant = found.finding.invariant;
        let plan = Plan { wanted: Some(invariant), ..self.plan.clone() };
        let mut cuts = self.cuts.anew();
        let search = Search::new(&plan, &mut cuts).at_step(step);
        let replay = Replay::new(found.trace.clone(), AfterTrace::Fifo);
        let mut strategy: Box<dyn Strategy> = Box::new(replay);
        let outcome = search.run(&mut strategy, &mut |_, _| ());
        let same = |found: &Found| found.finding.invariant == invariant && !found.cuts.is_empty();
        outcome.found.into_iter().find(same)
    }
}
