//! The events of the execution under way, and their order of dependence.

use serde::{Deserialize, Serialize};

use super::choices::Choice;
use super::clocks::{self, Clocks, has};
use super::{Footprint, NotRepeated, Process, Ran, class};

/// One event that has happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Event<P, F> {
    pub(super) process: P,
    pub(super) footprint: F,
    /// The first step of its era. Everything before is before it; races are within eras.
    pub(super) era: usize,
    /// Identifies it with all that comes before it.
    hash: u128,
    /// The sum of the hashes of all events up to this one.
    total: u128,
}

/// The events of the execution under way, one a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Events<P, F> {
    list: Vec<Event<P, F>>,
    clocks: Clocks,
}

impl<P: Process, F> Events<P, F> {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), clocks: Clocks::default() }
    }

    pub(super) fn list(&self) -> &[Event<P, F>] {
        &self.list
    }

    /// What identifies each event with all that comes before it, up to order.
    pub(super) fn keys(&self) -> impl Iterator<Item = u128> + '_ {
        self.list.iter().map(|event| event.hash)
    }

    pub(super) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    pub(super) fn row_for_next(&mut self, row: &mut Vec<u64>) {
        self.clocks.row_for_next(row);
    }

    /// One more event, of `process` and after those of `row`.
    pub(super) fn push(
        &mut self,
        process: P,
        footprint: F,
        era: usize,
        choices: &[Choice],
        row: &[u64],
    ) {
        let before = clocks::steps(row).map(|step| self.list[step].hash);
        let past = before.fold(0, u128::wrapping_add);
        let hash = class::event(process.key(), choices, past);
        let total = self.signature().wrapping_add(hash);
        self.list.push(Event { process, footprint, era, hash, total });
        self.clocks.push(row);
    }

    /// Adds the next event, ordered after those it depends on. `race` is told every earlier event that
    /// the new one races with, the last one first, with what is known by then to come before the new
    /// one; `row` is memory for that.
    ///
    /// A race is a conflict of two events of which neither is before the other through a third one.
    /// What enabled an event, and the event of the same process before it, come before it without a
    /// race, and so does all that happened before its era began.
    ///
    /// # Errors
    /// Those of `race`.
    pub(super) fn order(
        &mut self,
        process: P,
        choices: &[Choice],
        ran: Ran<F>,
        row: &mut Vec<u64>,
        mut race: impl FnMut(&Self, usize, &[u64]) -> Result<(), NotRepeated>,
    ) -> Result<(), NotRepeated>
    where
        F: Footprint,
    {
        let new = self.list.len();
        let era = if ran.waited_for_all { new } else { self.era() };
        self.row_for_next(row);
        clocks::add_all_before(row, era);
        for step in (era..new).rev() {
            if has(row, step) {
                continue;
            }
            let event = &self.list[step];
            let enables = ran.needed && ran.enabled_by == Some(step);
            if event.process != process && !enables {
                if !event.footprint.conflicts(&ran.footprint) {
                    continue;
                }
                race(self, step, row)?;
            }
            clocks::join(row, self.clocks.row(step));
            clocks::add(row, step);
        }
        self.push(process, ran.footprint, era, choices, row);
        Ok(())
    }

    /// Removes all events.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.clocks.truncate(0);
    }

    /// Removes the event of `step`, the last one, if it has happened.
    pub(super) fn remove(&mut self, step: usize) -> Option<F> {
        assert!(self.list.len() <= step + 1, "the last event");
        if self.list.len() <= step {
            return None;
        }
        self.clocks.truncate(step);
        self.list.pop().map(|event| event.footprint)
    }

    /// The first step of the current era.
    pub(super) fn era(&self) -> usize {
        self.list.last().map_or(0, |event| event.era)
    }

    /// Identifies the execution up to here, whatever the order of events that do not depend on each
    /// other.
    pub(super) fn signature(&self) -> u128 {
        self.list.last().map_or(0, |event| event.total)
    }
}
