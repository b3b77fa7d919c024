//! Every order of events, without any reduction: the reference.

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Ended};
use super::path::Path;
use super::{Engine, Footprint, Moment, NotRepeated, Pick, Process, Ran, Stop, Ways, progress};

/// Runs every order of events and every choice once, depth first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plain<P> {
    path: Path<P>,
    counts: Counts,
    /// Whether all is done.
    finished: bool,
}

impl<P: Process> Default for Plain<P> {
    fn default() -> Self {
        Self { path: Path::new(), counts: Counts::default(), finished: false }
    }
}

impl<P: Process> Plain<P> {
    /// What was done up to now.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Moves to the next path: the deepest step with a way left takes it.
    fn advance(&mut self) -> bool {
        while let Some(last) = self.path.last() {
            let (next, count) = (last.place + 1, last.enabled.len());
            if self.path.advance_choices() {
                return true;
            }
            if next < count {
                self.path.turn(next);
                return true;
            }
            self.path.pop();
        }
        false
    }
}

impl<P: Process, F: Footprint> Engine<P, F> for Plain<P> {
    fn begin(&mut self) -> bool {
        if self.counts.executions > 0 && !self.advance() {
            self.finished = true;
            return false;
        }
        self.path.rewind();
        self.counts.executions += 1;
        true
    }

    fn pick(&mut self, moment: &mut Moment<'_, P>) -> Result<Pick, NotRepeated> {
        if let Some(place) = self.path.repeat(moment.enabled)? {
            return Ok(Pick::Run(place));
        }
        self.path.push(moment.enabled, 0);
        Ok(Pick::Run(0))
    }

    fn choose(&mut self, ways: Ways) -> Result<usize, NotRepeated> {
        self.path.choose(ways.count)
    }

    fn ran(&mut self, ran: Ran<F>) -> Result<Option<Stop>, NotRepeated> {
        self.counts.steps += 1;
        self.path.ran(&ran).map(|_| None)
    }

    fn end(&mut self, last: Option<&mut dyn FnMut() -> u128>) -> Result<(), NotRepeated> {
        self.counts.ended(if last.is_some() { Ended::Complete } else { Ended::GivenUp });
        self.path.end()
    }

    fn first_new_step(&self) -> usize {
        self.path.first_new_step()
    }

    fn progress(&self) -> Option<u64> {
        if self.finished {
            return Some(progress::whole());
        }
        let steps = self.path.steps().iter();
        Some(progress::share(steps.flat_map(|step| step.levels(step.place, step.enabled.len()))))
    }
}
