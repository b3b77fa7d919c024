//! Probabilistic concurrency testing.

use std::collections::BTreeMap;
use std::ops::Range;

use super::sample::Rule;
use super::{Draws, Footprint, Outlook, Process};

/// What acts has a random priority, and the highest that is enabled goes. At a few random places the
/// one that would go gets a priority below all those it had, and waits until nothing else can go.
///
/// A bug that shows when `d` events are in some order is found by `d - 1` such changes with a
/// probability that is known beforehand; `d` is drawn from 2 to 4.
///
/// Priorities belong to *chains*: an event that could happen only after another one, such as a request
/// of a task, or the task's run when the request has ended, is of the same chain, as long as there is
/// one at a time. To wait for a request is nothing special: it lowers no priority.
///
/// # Source
/// Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees
/// of Finding Bugs" (ASPLOS 2010). The chains are those of Ozkan, Majumdar, Niksic, Befrouei,
/// Weissenbacher, "Randomized Testing of Distributed Systems with Probabilistic Guarantees" (OOPSLA
/// 2018), found on the way.
#[derive(Debug, Clone)]
pub struct Pct<P> {
    /// Steps at which a priority changes, in any order.
    changes: Vec<usize>,
    /// Steps picked.
    steps: usize,
    /// Of each chain.
    priorities: Vec<u64>,
    /// The chain of every process that was enabled.
    chains: BTreeMap<P, usize>,
    /// What is enabled and was so at the moment before.
    waiting: Vec<P>,
    /// The chain of the event that happened last.
    last: Option<usize>,
}

/// Priorities at the start are above those that changes give.
const HIGH: u64 = 1 << 63;

impl<P> Default for Pct<P> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            steps: 0,
            priorities: Vec::new(),
            chains: BTreeMap::new(),
            waiting: Vec::new(),
            last: None,
        }
    }
}

impl<P: Process> Pct<P> {
    /// Gives every process that has become enabled its chain: that which it had, or else that of the
    /// last event, if nothing of it is enabled; or else a new one.
    fn arrive(&mut self, enabled: &[P], draws: &mut Draws) {
        let chains = self.waiting.iter().filter_map(|process| self.chains.get(process));
        let mut busy: Vec<usize> = chains.copied().collect();
        let new: Vec<P> =
            enabled.iter().filter(|process| !self.waiting.contains(process)).copied().collect();
        let mut others = Vec::new();
        for process in new {
            match self.chains.get(&process) {
                Some(chain) if !busy.contains(chain) => busy.push(*chain),
                _ => others.push(process),
            }
        }
        for process in others {
            let chain = match self.last {
                Some(last) if !busy.contains(&last) => last,
                _ => {
                    self.priorities.push(draws.number() | HIGH);
                    self.priorities.len() - 1
                }
            };
            busy.push(chain);
            self.chains.insert(process, chain);
        }
        self.waiting.clear();
        self.waiting.extend_from_slice(enabled);
    }

    fn chain(&self, process: P) -> usize {
        self.chains[&process]
    }

    fn highest(&self, enabled: &[P], among: Range<usize>) -> usize {
        let priority = |&place: &usize| self.priorities[self.chain(enabled[place])];
        among.max_by_key(priority).expect("a process is enabled")
    }
}

impl<P: Process, F: Footprint> Rule<P, F> for Pct<P> {
    const NAME: &'static str = "pct";

    fn begin(&mut self, outlook: &Outlook<P, F>, draws: &mut Draws) {
        let changes = 1 + draws.below(3);
        let steps = outlook.steps().max(1);
        self.changes.clear();
        self.changes.extend((0..changes).map(|_| 1 + draws.below(steps)));
        self.steps = 0;
        self.priorities.clear();
        self.chains.clear();
        self.waiting.clear();
        self.last = None;
    }

    fn pick(
        &mut self,
        enabled: &[P],
        among: Range<usize>,
        _: &Outlook<P, F>,
        draws: &mut Draws,
    ) -> usize {
        self.arrive(enabled, draws);
        self.steps += 1;
        let mut place = self.highest(enabled, among.clone());
        for (change, step) in (0..).zip(&self.changes) {
            if *step == self.steps {
                let chain = self.chains[&enabled[place]];
                self.priorities[chain] = change;
                place = self.highest(enabled, among.clone());
            }
        }
        place
    }

    fn ran(&mut self, process: P, _: &F, _: &Outlook<P, F>, _: &mut Draws) {
        self.waiting.retain(|&other| other != process);
        self.last = Some(self.chain(process));
    }
}
