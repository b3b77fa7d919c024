//! Noting what tasks do with what they share.
//!
//! A scheduler that explores the orders of steps has to know which steps depend on each other, and
//! which states are the same. Everything in [`super`] tells a [`Watch`], if there is one, which
//! part of which object a task looks at or changes, what it has learned from that, and what the
//! object holds afterwards. Without one nothing is told, and nothing changes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

/// The whole of an object, whatever its parts are.
pub const WHOLE: Range<u64> = 0..u64::MAX;

/// What a task does with a part of an object.
///
/// Two accesses of the same kind commute, except two writes; two of different kinds do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// It looks.
    Read,
    /// It makes a change that commutes with other changes of this kind: the same comes out in either
    /// order, and none of them learns anything about the others.
    Add,
    /// It makes any other change.
    Write,
}

impl Access {
    /// Whether the order of two accesses to the same part matters.
    #[must_use]
    pub fn conflicts(self, other: Self) -> bool {
        self != other || self == Self::Write
    }
}

/// Whoever wants to know.
///
/// Objects are named by the watcher; a name is the same in every schedule in which the same task
/// makes the same object.
pub trait Watch: Send + Sync {
    /// Names an object that the running task has made.
    fn object(&self, kind: &'static str) -> u64;

    /// The running task accesses a part of an object.
    fn access(&self, object: u64, part: Range<u64>, access: Access);

    /// The running task has learned something: `told` says what.
    fn learned(&self, object: u64, told: &dyn Fn(&mut dyn Hasher));

    /// All that the running task remembers from now on is what `live` says, whatever it has learned
    /// before. Requests in flight and locks held count as remembered: it must have none.
    fn forgets(&self, live: &dyn Fn(&mut dyn Hasher));

    /// The running task has found that it still has to wait. Finding so again tells it nothing new.
    fn waits(&self, object: u64);

    /// What an object holds from now on.
    fn holds(&self, object: u64, content: &dyn Fn(&mut dyn Hasher));

    /// An object is gone.
    fn gone(&self, object: u64);

    /// Identifies the running task.
    fn task(&self) -> u64;
}

/// A watcher, or none.
#[derive(Clone, Default)]
pub struct Tracker(Option<Arc<dyn Watch>>);

impl Tracker {
    /// Nobody wants to know.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Tells this watcher.
    #[must_use]
    pub fn new(watch: Arc<dyn Watch>) -> Self {
        Self(Some(watch))
    }

    /// Identifies the running task; 0 if nobody wants to know.
    pub(crate) fn task(&self) -> u64 {
        self.0.as_ref().map_or(0, |watch| watch.task())
    }
}

impl Tracker {
    /// Says that all that the running task remembers from here on is `live`; see [`Watch::forgets`].
    ///
    /// For the head of a loop: what happened in earlier rounds, and does not matter any more, would
    /// keep states apart that are the same.
    pub fn forget(&self, live: &impl Hash) {
        if let Some(watch) = &self.0 {
            watch.forgets(&|mut hasher| live.hash(&mut hasher));
        }
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Tracker(watched)" } else { "Tracker(none)" })
    }
}

/// The name of one shared object, through which its accesses are told.
#[derive(Debug)]
pub(super) struct Object {
    tracker: Tracker,
    name: u64,
}

impl Object {
    pub(super) fn new(tracker: &Tracker, kind: &'static str) -> Self {
        let name = tracker.0.as_ref().map_or(0, |watch| watch.object(kind));
        Self { tracker: tracker.clone(), name }
    }

    /// See [`Watch::access`].
    pub(super) fn access(&self, part: Range<u64>, access: Access) {
        if let Some(watch) = &self.tracker.0 {
            watch.access(self.name, part, access);
        }
    }

    /// See [`Watch::learned`].
    pub(super) fn learned(&self, what: &impl Hash) {
        if let Some(watch) = &self.tracker.0 {
            watch.learned(self.name, &|mut hasher| what.hash(&mut hasher));
        }
    }

    /// See [`Watch::waits`].
    pub(super) fn waits(&self) {
        if let Some(watch) = &self.tracker.0 {
            watch.waits(self.name);
        }
    }

    /// See [`Watch::holds`].
    pub(super) fn holds(&self, content: &impl Hash) {
        if let Some(watch) = &self.tracker.0 {
            watch.holds(self.name, &|mut hasher| content.hash(&mut hasher));
        }
    }

    /// See [`Tracker::task`].
    pub(super) fn task(&self) -> u64 {
        self.tracker.task()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Some(watch) = &self.tracker.0 {
            watch.gone(self.name);
        }
    }
}

/// Tasks that wait for an object. Each is in it once; the order means nothing.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: Vec<(u64, Waker)>,
}

impl Waiters {
    /// Adds a task, unless it waits already.
    pub(super) fn add(&mut self, task: u64, waker: &Waker) {
        if !self.list.iter().any(|(_, known)| known.will_wake(waker)) {
            self.list.push((task, waker.clone()));
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Wakes all of them.
    pub(super) fn wake(self) {
        self.list.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Hash for Waiters {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut tasks: Vec<u64> = self.list.iter().map(|&(task, _)| task).collect();
        tasks.sort_unstable();
        // A task that is woken twice is woken once.
        tasks.dedup();
        tasks.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accesses_of_one_kind_commute_and_writes_never() {
        let kinds = [Access::Read, Access::Add, Access::Write];
        for one in kinds {
            for other in kinds {
                let commute = one == other && one != Access::Write;
                assert_eq!(one.conflicts(other), !commute, "{one:?} {other:?}");
            }
        }
    }
}
