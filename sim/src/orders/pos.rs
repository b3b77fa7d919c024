//! Partial-order sampling.

use std::ops::Range;

use super::sample::Rule;
use super::{Draws, Footprint, Outlook, Process};

/// Every event gets a random priority when it becomes enabled, and the highest goes. After that, what
/// conflicts with it gets a new one: so the order of two events that conflict says nothing about their
/// order with a third, and each order of those that do is about as likely as any other.
///
/// What an event will touch is known from the pilot, or from the last event of its process; one that
/// nobody knows conflicts with everything.
///
/// # Source
/// Yuan, Yang, Gu, "Partial Order Aware Concurrency Sampling" (CAV 2018), algorithm POS.
#[derive(Debug, Clone)]
pub struct Pos<P> {
    /// Of what was enabled at the last moment and has not happened.
    priorities: Vec<(P, u64)>,
    /// The priorities before, kept for their memory.
    before: Vec<(P, u64)>,
}

impl<P> Default for Pos<P> {
    fn default() -> Self {
        Self { priorities: Vec::new(), before: Vec::new() }
    }
}

impl<P: Process, F: Footprint> Rule<P, F> for Pos<P> {
    const NAME: &'static str = "pos";

    fn begin(&mut self, _: &Outlook<P, F>, _: &mut Draws) {
        self.priorities.clear();
    }

    fn pick(
        &mut self,
        enabled: &[P],
        among: Range<usize>,
        _: &Outlook<P, F>,
        draws: &mut Draws,
    ) -> usize {
        std::mem::swap(&mut self.priorities, &mut self.before);
        self.priorities.clear();
        for &process in enabled {
            let before = self.before.iter().find(|(other, _)| *other == process);
            let priority = before.map_or_else(|| draws.number(), |(_, priority)| *priority);
            self.priorities.push((process, priority));
        }
        among.max_by_key(|&place| self.priorities[place].1).expect("a process is enabled")
    }

    fn ran(&mut self, process: P, footprint: &F, outlook: &Outlook<P, F>, draws: &mut Draws) {
        self.priorities.retain(|(other, _)| *other != process);
        for (other, priority) in &mut self.priorities {
            if outlook.footprint(*other).is_none_or(|other| other.conflicts(footprint)) {
                *priority = draws.number();
            }
        }
    }
}
