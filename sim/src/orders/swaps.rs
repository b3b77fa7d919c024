//! Whether events that do not conflict commute: a check of what the footprints claim.
//!
//! One execution is run again, and then again with each pair of neighbours swapped that do not
//! depend on each other. Every event has to touch the same as before, and the last state has to be
//! the same. A search by dependence cannot notice that a conflict is hidden; this can.

use super::clocks::Clocks;
use super::{Difference, Engine, Footprint, Moment, NotRepeated, Pick, Process, Ran, Stop, Ways};

/// One event of an execution to run again: who, and the options taken.
pub type Taken<P> = (P, Box<[usize]>);

/// Runs one execution once more for each pair of neighbours that may be swapped.
#[derive(Debug, Clone)]
pub struct Swaps<P> {
    steps: Vec<Taken<P>>,
    /// The first of each pair.
    pairs: Vec<usize>,
    /// Executions begun; the first one swaps nothing.
    executions: usize,
    /// What each event touched in the first execution, by its step there.
    footprints: Vec<u64>,
    fingerprint: Option<u128>,
    /// Events run, and choices made in the one under way.
    at: usize,
    choices: usize,
}

impl<P: Process> Swaps<P> {
    /// Of the execution with these steps, and this order of dependence: see
    /// [`Dpor::taken`](super::Dpor::taken) and [`Dpor::clocks`](super::Dpor::clocks).
    #[must_use]
    pub fn new(steps: Vec<Taken<P>>, clocks: &Clocks) -> Self {
        assert_eq!(steps.len(), clocks.len(), "the clocks are those of the execution");
        let neighbours = 1..clocks.len();
        let free = neighbours.filter(|&step| !clocks.is_before(step - 1, step));
        let pairs = free.map(|step| step - 1).collect();
        Self {
            steps,
            pairs,
            executions: 0,
            footprints: Vec::new(),
            fingerprint: None,
            at: 0,
            choices: 0,
        }
    }

    /// How many pairs there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// The event that comes at this place, by its step in the first execution.
    fn event(&self, at: usize) -> usize {
        let pair = self.executions.checked_sub(2).and_then(|swap| self.pairs.get(swap));
        match pair {
            Some(&first) if at == first => first + 1,
            Some(&first) if at == first + 1 => first,
            _ => at,
        }
    }

    fn differs(&self, at: usize) -> NotRepeated {
        Difference::Swapped.at(at)
    }
}

impl<P: Process, F: Footprint> Engine<P, F> for Swaps<P> {
    fn begin(&mut self) -> bool {
        self.at = 0;
        let more = self.executions <= self.pairs.len();
        self.executions += usize::from(more);
        more
    }

    fn pick(&mut self, moment: &mut Moment<'_, P>) -> Result<Pick, NotRepeated> {
        self.choices = 0;
        let step = self.steps.get(self.event(self.at)).ok_or_else(|| self.differs(self.at))?;
        let place = moment.enabled.iter().position(|process| *process == step.0);
        place.map(Pick::Run).ok_or_else(|| self.differs(self.at))
    }

    fn choose(&mut self, ways: Ways) -> Result<usize, NotRepeated> {
        let choice = self.choices;
        self.choices += 1;
        let taken = self.steps[self.event(self.at)].1.get(choice);
        taken.copied().filter(|&taken| taken < ways.count).ok_or_else(|| self.differs(self.at))
    }

    fn ran(&mut self, ran: Ran<F>) -> Result<Option<Stop>, NotRepeated> {
        let (event, footprint) = (self.event(self.at), ran.footprint.key());
        let same = match self.footprints.get(event) {
            Some(&before) => before == footprint,
            None => {
                self.footprints.push(footprint);
                true
            }
        };
        if !same || self.choices != self.steps[event].1.len() {
            return Err(self.differs(self.at));
        }
        self.at += 1;
        Ok(None)
    }

    fn end(&mut self, last: Option<&mut dyn FnMut() -> u128>) -> Result<(), NotRepeated> {
        let Some(last) = last else { return Ok(()) };
        let fingerprint = last();
        let same = *self.fingerprint.get_or_insert(fingerprint) == fingerprint;
        if same && self.at == self.steps.len() { Ok(()) } else { Err(self.differs(self.at)) }
    }

    fn first_new_step(&self) -> usize {
        0
    }

    fn progress(&self) -> Option<u64> {
        None
    }
}
