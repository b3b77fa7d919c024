//! What may be expected of the events to come.
//!
//! A first execution, the *pilot*, in which nothing is reordered, shows which events there are, what
//! they touch and how many follow from each. In others most events are the same. Rules that draw use
//! this to draw well; nothing rests on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Process, Ran};

/// What is known from the pilot, and from the execution under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(deserialize = "P: Ord + Deserialize<'de>, F: Deserialize<'de>"))]
pub struct Outlook<P, F> {
    /// By process, and how many events of it came before.
    expected: BTreeMap<(P, usize), Expected<F>>,
    /// Events of the pilot.
    steps: usize,
    /// The events of each process in the execution under way: how many, and what the last one touched.
    happened: BTreeMap<P, (usize, F)>,
}

/// An event of the pilot.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Expected<F> {
    footprint: F,
    /// How many events would not have happened without it, itself included.
    weight: usize,
}

impl<P: Process, F> Outlook<P, F> {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Self { expected: BTreeMap::new(), steps: 0, happened: BTreeMap::new() }
    }

    /// What the pilot has shown.
    pub(super) fn of(pilot: Pilot<P, F>) -> Self {
        let weights = pilot.weights();
        let steps = pilot.events.len();
        let expected = pilot.events.into_iter().zip(weights);
        let expected = expected.map(|(event, weight)| {
            ((event.process, event.number), Expected { footprint: event.footprint, weight })
        });
        Self { expected: expected.collect(), steps, happened: BTreeMap::new() }
    }

    /// Another execution begins.
    pub(super) fn begin(&mut self) {
        self.happened.clear();
    }

    /// The execution goes on with an event of `process`.
    pub(super) fn ran(&mut self, process: P, footprint: F) {
        let number = self.number(process);
        self.happened.insert(process, (number + 1, footprint));
    }

    /// How many events of `process` have happened.
    fn number(&self, process: P) -> usize {
        self.happened.get(&process).map_or(0, |(number, _)| *number)
    }

    /// Events of the pilot.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// How many events follow from the next one of `process`, itself included; one if nobody knows.
    #[must_use]
    pub fn weight(&self, process: P) -> usize {
        let expected = self.expected.get(&(process, self.number(process)));
        expected.map_or(1, |expected| expected.weight)
    }

    /// What the next event of `process` touches: what it touched in the pilot, or else what the last
    /// one touched; none if nobody knows.
    #[must_use]
    pub fn footprint(&self, process: P) -> Option<&F> {
        let last = self.happened.get(&process);
        let number = last.map_or(0, |(number, _)| *number);
        let expected = self.expected.get(&(process, number)).map(|expected| &expected.footprint);
        expected.or(last.map(|(_, footprint)| footprint))
    }
}

/// The pilot under way.
#[derive(Debug, Clone)]
pub(super) struct Pilot<P, F> {
    events: Vec<Event<P, F>>,
    /// The last event of each process.
    last: BTreeMap<P, usize>,
    /// The first event that does not count as following from any before: it waited for all of them.
    era: usize,
}

#[derive(Debug, Clone)]
struct Event<P, F> {
    process: P,
    /// How many of its process came before.
    number: usize,
    footprint: F,
    /// The event that it follows from.
    parent: Option<usize>,
}

impl<P: Process, F> Pilot<P, F> {
    /// Nothing has happened yet.
    pub(super) fn new() -> Self {
        Self { events: Vec::new(), last: BTreeMap::new(), era: 0 }
    }

    /// It goes on with an event of `process`.
    pub(super) fn ran(&mut self, process: P, ran: Ran<F>) {
        let step = self.events.len();
        if ran.waited_for_all {
            self.era = step;
        }
        let before = self.last.insert(process, step);
        let number = before.map_or(0, |before| self.events[before].number + 1);
        let parent = ran.enabled_by.max(before).filter(|&parent| parent >= self.era);
        self.events.push(Event { process, number, footprint: ran.footprint, parent });
    }

    fn weights(&self) -> Vec<usize> {
        let mut weights = vec![1; self.events.len()];
        for (step, event) in self.events.iter().enumerate().rev() {
            if let Some(parent) = event.parent {
                weights[parent] += weights[step];
            }
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(footprint: char, enabled_by: Option<usize>, waited_for_all: bool) -> Ran<char> {
        Ran { footprint, enabled_by, needed: true, waited_for_all, past: 0 }
    }

    #[test]
    fn what_the_pilot_shows_is_expected_again() {
        let mut pilot = Pilot::new();
        pilot.ran(1_u64, ran('a', None, false));
        pilot.ran(2, ran('b', Some(0), false));
        pilot.ran(1, ran('c', Some(1), false));
        pilot.ran(3, ran('d', Some(0), false));
        pilot.ran(4, ran('e', Some(2), true));
        pilot.ran(1, ran('f', Some(4), false));
        let mut outlook = Outlook::of(pilot);
        assert_eq!(outlook.steps(), 6);
        let weights = |outlook: &Outlook<u64, char>| [1, 2, 3, 4, 5].map(|p| outlook.weight(p));
        assert_eq!(weights(&outlook), [4, 2, 1, 2, 1]);
        assert_eq!(outlook.footprint(1), Some(&'a'));
        assert_eq!(outlook.footprint(5), None);
        for (footprint, expected) in [('x', &'c'), ('y', &'f'), ('z', &'z')] {
            outlook.ran(1, footprint);
            assert_eq!(outlook.footprint(1), Some(expected));
        }
        assert_eq!(weights(&outlook), [1, 2, 1, 2, 1]);
        outlook.begin();
        assert_eq!(weights(&outlook), [4, 2, 1, 2, 1]);
    }
}
