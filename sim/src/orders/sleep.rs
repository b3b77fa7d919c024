//! A moment of the current path: which processes are to go there, and which need not.

use serde::{Deserialize, Serialize};

use super::choices::Choice;
use super::events::Event;
use super::{Footprint, Process};

/// One way of one process that was explored to its end at some moment of the path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Variant<P, F> {
    process: P,
    choices: Box<[usize]>,
    /// None if the event was never run to its end: nothing is known to be independent of it.
    footprint: Option<F>,
    /// How many variants the process has there; known once all are explored.
    siblings: usize,
}

/// A variant that *sleeps* at a moment: going that way now would lead to what was explored before.
/// It is kept where it was explored, at an earlier moment of the path.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Sleeper {
    moment: usize,
    variant: usize,
    /// Its process among the enabled ones here.
    place: usize,
}

/// What is to be done about one enabled process.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Offer {
    /// It has to go here.
    wanted: bool,
    /// It went here, in all variants.
    done: bool,
    /// All its variants sleep.
    asleep: bool,
}

/// A moment of the current path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Node<P, F> {
    offers: Vec<Offer>,
    sleepers: Vec<Sleeper>,
    explored: Vec<Variant<P, F>>,
    /// Processes that may still be asked to go here, beyond those wanted.
    idle: usize,
    /// Processes not asleep, and those of them that are done.
    awake: usize,
    done: usize,
}

impl<P: Process, F: Footprint> Node<P, F> {
    pub(super) fn new() -> Self {
        Self {
            offers: Vec::new(),
            sleepers: Vec::new(),
            explored: Vec::new(),
            idle: 0,
            awake: 0,
            done: 0,
        }
    }

    /// Becomes the moment after all of `before`, reached by `event` if there was any.
    pub(super) fn arrive(&mut self, enabled: &[P], before: &[Self], event: Option<&Event<P, F>>) {
        self.offers.clear();
        self.offers.resize(enabled.len(), Offer::default());
        self.sleepers.clear();
        self.explored.clear();
        if let (Some(last), Some(event)) = (before.len().checked_sub(1), event) {
            self.inherit(enabled, before, last, event);
            self.fall_asleep(before);
        }
        self.awake = self.offers.iter().filter(|offer| !offer.asleep).count();
        self.idle = self.awake;
        self.done = 0;
    }

    /// What slept or was explored at the last moment sleeps on, unless `event` conflicts with it or
    /// has disabled it.
    fn inherit(&mut self, enabled: &[P], before: &[Self], last: usize, event: &Event<P, F>) {
        let node = &before[last];
        let sleepers = node.sleepers.iter().map(|sleeper| (sleeper.moment, sleeper.variant));
        let explored = (0..node.explored.len()).map(|variant| (last, variant));
        for (moment, variant) in sleepers.chain(explored) {
            let kept = &before[moment].explored[variant];
            if kept.process == event.process || kept.conflicts(&event.footprint) {
                continue;
            }
            if let Some(place) = enabled.iter().position(|&process| process == kept.process) {
                self.sleepers.push(Sleeper { moment, variant, place });
            }
        }
    }

    /// A process is asleep if none of its variants has woken up.
    fn fall_asleep(&mut self, before: &[Self]) {
        for group in self.sleepers.chunk_by(|one, other| one.place == other.place) {
            let all = before[group[0].moment].explored[group[0].variant].siblings;
            self.offers[group[0].place].asleep = group.len() == all;
        }
    }

    /// The first process that is not asleep.
    pub(super) fn first_awake(&self) -> Option<usize> {
        self.offers.iter().position(|offer| !offer.asleep)
    }

    /// The process at `place` has to go here.
    pub(super) fn want(&mut self, place: usize) {
        let offer = &mut self.offers[place];
        if !offer.asleep && !offer.wanted {
            offer.wanted = true;
            self.idle -= 1;
        }
    }

    /// All processes have to go here.
    pub(super) fn want_all(&mut self) {
        (0..self.offers.len()).for_each(|place| self.want(place));
    }

    /// The process at `place` goes here, or else anything that may wake it up.
    pub(super) fn want_before_disabled(&mut self, place: usize) {
        if self.offers[place].asleep {
            self.want_all();
        } else {
            self.want(place);
        }
    }

    /// Whether the process at `place` goes here anyway, or need not.
    pub(super) fn is_settled(&self, place: usize) -> bool {
        self.offers[place].wanted || self.offers[place].asleep
    }

    /// Whether that is so for all.
    pub(super) fn is_all_settled(&self) -> bool {
        self.idle == 0
    }

    /// Whether the process at `place` sleeps in the variant with these choices.
    pub(super) fn is_covered(&self, place: usize, choices: &[Choice], before: &[Self]) -> bool {
        self.sleepers.iter().any(|sleeper| {
            sleeper.place == place && before[sleeper.moment].explored[sleeper.variant].is(choices)
        })
    }

    /// One variant of `process` is explored.
    pub(super) fn explored(&mut self, process: P, choices: Box<[usize]>, footprint: Option<F>) {
        self.explored.push(Variant { process, choices, footprint, siblings: 0 });
    }

    /// All variants of the process at `place`, the last one that went, are explored.
    pub(super) fn finish(&mut self, place: usize) {
        self.offers[place].done = true;
        self.done += 1;
        self.sleepers.retain(|sleeper| sleeper.place != place);
        let Some(process) = self.explored.last().map(|variant| variant.process) else { return };
        let own = self.explored.iter().rev().take_while(|variant| variant.process == process);
        let siblings = own.count();
        for variant in self.explored.iter_mut().rev().take(siblings) {
            variant.siblings = siblings;
        }
    }

    /// The next process that has to go here and has not.
    pub(super) fn next(&self) -> Option<usize> {
        self.offers.iter().position(|offer| offer.wanted && !offer.done)
    }

    /// How many processes are done, of how many that may go here.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.done, self.awake)
    }
}

impl<P, F: Footprint> Variant<P, F> {
    fn conflicts(&self, footprint: &F) -> bool {
        self.footprint.as_ref().is_none_or(|own| own.conflicts(footprint))
    }

    fn is(&self, choices: &[Choice]) -> bool {
        self.choices.iter().copied().eq(choices.iter().map(|choice| choice.index))
    }
}
