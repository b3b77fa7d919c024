//! The flushes of one disk: one at a time, shared by those who wait for their turn.
//!
//! A flush covers whoever asked before it was submitted. So nobody remembers numbers: each who asks
//! is on a list, and the list says of each whether a flush that covers it is in flight or has
//! succeeded. What matters is the same however many flushes came before.

use std::hash::{Hash, Hasher};

use crate::sync::{Locking, Mutex, Shared, Tracker, WakeOrder};

/// Who may flush one disk, and who is covered by that.
pub(super) struct Flushes {
    turn: Mutex,
    askers: Shared<Askers>,
    tracker: Tracker,
}

/// Those who have asked for a flush and have not had their answer.
#[derive(Debug, Default)]
struct Askers {
    list: Vec<Asker>,
    next_key: u64,
    any_succeeded: bool,
}

#[derive(Debug)]
struct Asker {
    /// Only ever compared for equality.
    key: Key,
    task: u64,
    coverage: Coverage,
}

/// How far a flush has come that was submitted after somebody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Coverage {
    NotSubmitted,
    InFlight,
    Succeeded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key(u64);

/// Which number it is tells nothing.
impl Hash for Key {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

/// Of two who ask in one task, the first is covered no later than the second: the task knows which
/// is which.
impl Hash for Askers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut known: Vec<_> = self.list.iter().map(|it| (it.task, it.coverage)).collect();
        known.sort_unstable();
        known.hash(state);
        self.any_succeeded.hash(state);
    }
}

impl Askers {
    fn advance(&mut self, from: Coverage, to: Coverage) {
        let reached = self.list.iter_mut().filter(|asker| asker.coverage == from);
        reached.for_each(|asker| asker.coverage = to);
    }

    fn find(&self, key: Key) -> usize {
        self.list.iter().position(|asker| asker.key == key).expect("who has asked is on the list")
    }
}

impl Flushes {
    pub(super) fn new(tracker: &Tracker) -> Self {
        Self {
            turn: Mutex::new(tracker, WakeOrder::FirstComeFirstServed),
            askers: Shared::new(tracker, Askers::default()),
            tracker: tracker.clone(),
        }
    }

    /// Asks for a flush. One that is in flight already does not count.
    pub(super) fn ask(&self) -> Asked<'_> {
        let task = self.tracker.task();
        let key = self.askers.write(|askers| {
            askers.next_key += 1;
            let key = Key(askers.next_key);
            askers.list.push(Asker { key, task, coverage: Coverage::NotSubmitted });
            key
        });
        Asked { flushes: self, key }
    }

    /// Waits until nobody else's flush is in flight.
    pub(super) fn turn(&self) -> Locking<'_> {
        self.turn.lock()
    }

    /// A flush is being submitted, by whoever has the turn.
    pub(super) fn submitted(&self) {
        self.askers.write(|askers| askers.advance(Coverage::NotSubmitted, Coverage::InFlight));
    }

    /// It has succeeded.
    pub(super) fn succeeded(&self) {
        self.askers.write(|askers| {
            askers.advance(Coverage::InFlight, Coverage::Succeeded);
            askers.any_succeeded = true;
        });
    }

    /// Whether one has succeeded since the image was opened.
    pub(super) fn any_succeeded(&self) -> bool {
        self.askers.read(|askers| askers.any_succeeded)
    }
}

/// A place on the list of those who have asked; dropping it leaves the list.
pub(super) struct Asked<'a> {
    flushes: &'a Flushes,
    key: Key,
}

impl Asked<'_> {
    /// Whether a flush has succeeded that was submitted after this one asked.
    pub(super) fn is_covered(&self) -> bool {
        self.flushes
            .askers
            .read(|askers| askers.list[askers.find(self.key)].coverage == Coverage::Succeeded)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.flushes.askers.write(|askers| {
            let at = askers.find(self.key);
            askers.list.remove(at);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::recorder::Recorder;

    #[test]
    fn only_a_flush_submitted_after_somebody_asked_covers() {
        let flushes = Flushes::new(&Tracker::none());
        let first = flushes.ask();
        flushes.submitted();
        let second = flushes.ask();
        assert!(!flushes.any_succeeded());
        flushes.succeeded();
        assert!(flushes.any_succeeded());
        assert!(first.is_covered());
        assert!(!second.is_covered());
        flushes.submitted();
        let third = flushes.ask();
        assert!(!second.is_covered());
        flushes.succeeded();
        assert_eq!([first, second, third].map(|asked| asked.is_covered()), [true, true, false]);
    }

    #[test]
    fn a_later_flush_covers_those_of_one_that_nobody_waited_for() {
        let flushes = Flushes::new(&Tracker::none());
        let asked = flushes.ask();
        flushes.submitted();
        flushes.submitted();
        flushes.succeeded();
        assert!(asked.is_covered());
    }

    /// Nothing tells how many flushes there were.
    #[test]
    fn flushes_that_are_over_are_forgotten() {
        let (recorder, tracker) = Recorder::new();
        let flushes = Flushes::new(&tracker);
        let contents: Vec<_> = (0..3)
            .map(|_| {
                let (_asked, _) = recorder.step(1, || flushes.ask());
                flushes.submitted();
                flushes.succeeded();
                recorder.contents()
            })
            .collect();
        assert_eq!(contents[0], contents[1]);
        assert_eq!(contents[1], contents[2]);
    }
}
