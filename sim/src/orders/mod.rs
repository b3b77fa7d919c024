//! Engines that explore the orders of events of any system that can be run again.
//!
//! A system is a set of *processes*. At any moment some of them are *enabled*, and each enabled one
//! has one event that may happen next. An execution is one event after the other until none is
//! enabled. An [`Engine`] steers executions: it is asked which process goes next, told afterwards
//! what that event has touched, and decides what the next execution will be.
//!
//! ```text
//! while engine.begin() {                        another execution?
//!     build the system
//!     while some processes are enabled {
//!         engine.pick(..)                       which one, or enough of this execution
//!         engine.choose(..)                     what may go several ways inside the event
//!         engine.ran(..)                        what the event has touched
//!     }
//!     engine.end(..)
//! }
//! ```
//!
//! | engine | explores | remembers |
//! |---|---|---|
//! | [`Plain`] | every order | the path |
//! | [`Dpor`] | one order of each class of equivalent ones | the path |
//! | [`Stateful`] | every state once | the path and all fingerprints |
//! | [`Swaps`] | one order, and it with independent neighbours swapped, as a check | it |
//! | [`Delays`] | orders close to first come, first served | the path and all fingerprints |
//! | [`Sample`] | orders drawn at random, by a [`Rule`] | one execution, and which classes were drawn |
//!
//! Nothing here knows of disks or engines of storage. Rules for those who use it:
//!
//! * Identities of processes are the same in every execution. A process may have many events, one
//!   after the other; each is enabled until it happens or until another event disables it.
//! * An event is determined by what was before it in the order of dependence, and by the choices
//!   made inside it.
//! * Two events that do not conflict by their footprints commute: from every state in which both are
//!   enabled, both orders lead to the same state, and neither disables the other or what the other
//!   enables. So an event that takes a process back conflicts with the event of that process, and
//!   with whatever may enable it. Where the process never gets to its event, there is no footprint to
//!   conflict with: the engines notice that themselves.
//! * An event that becomes possible by one of several others, whichever is first, makes these
//!   conflict with each other.
//! * Executions are finite.
//! * An execution that the caller gives up hides what would have followed, and the orders of that.
//!   Whatever could have gone instead of its last event goes in other executions.

mod asleep;
mod audit;
mod choices;
mod class;
mod clocks;
mod counts;
mod cuts;
mod delays;
mod difference;
mod dpor;
mod drawn;
mod draws;
mod events;
mod outlook;
mod path;
mod pct;
mod plain;
mod portfolio;
mod pos;
mod progress;
mod races;
mod sample;
mod seen;
mod shard;
mod sleep;
mod stateful;
mod surw;
mod swaps;
mod walk;

pub use class::Classes;
pub use clocks::Clocks;
pub use counts::{Counts, Ended};
pub use cuts::{Change, Cuts};
pub use delays::Delays;
pub use difference::{Difference, NotRepeated};
pub use dpor::Dpor;
pub use drawn::Drawn;
pub use draws::Draws;
pub use outlook::Outlook;
pub use pct::Pct;
pub use plain::Plain;
pub use portfolio::Portfolio;
pub use pos::Pos;
pub use sample::{Iterations, Rule, Sample};
pub use shard::{Roots, Shard, depth_for};
pub use stateful::Stateful;
pub use surw::Surw;
pub use swaps::{Swaps, Taken};
pub use walk::Walk;

use serde::{Deserialize, Serialize};

/// Who may act: small, and ordered the same way in every execution.
pub trait Process: Copy + Ord + std::fmt::Debug {
    /// Identifies it in every execution, up to a hash collision.
    fn key(&self) -> u64;
}

impl Process for u64 {
    fn key(&self) -> u64 {
        *self
    }
}

/// What an event has touched.
pub trait Footprint: Clone {
    /// Whether the order of two events with these footprints matters. Symmetric.
    fn conflicts(&self, other: &Self) -> bool;

    /// Identifies it, up to a hash collision.
    fn key(&self) -> u64;
}

/// A moment of an execution, between two events.
pub struct Moment<'a, P> {
    /// The enabled processes, each once; the first is the one that goes next on a good day.
    pub enabled: &'a [P],
    /// How many of them, the last ones, are *mishaps*: they depart from a good day, and engines that
    /// draw let them happen rarely.
    pub mishaps: usize,
    /// Identifies the state up to a hash collision: equal fingerprints, equal futures. Called only
    /// by engines that merge states, at most once.
    pub fingerprint: &'a mut dyn FnMut() -> u128,
}

/// The ways that an event under way may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    /// How many, at least two. The first is the one of a good day.
    pub count: usize,
    /// How many of them, the last ones, are mishaps.
    pub mishaps: usize,
}

/// What to do at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The process at this place of the enabled ones goes next.
    Run(usize),
    /// This execution is given up.
    Stop(Stop),
}

/// Why an execution is given up before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// Whatever may follow is equivalent to what was explored already.
    Covered,
    /// It belongs to another shard.
    Elsewhere,
    /// There is no room to remember more: the search ends here, and is not complete.
    Full,
}

/// What an event did.
#[derive(Debug, Clone, Copy)]
pub struct Ran<F> {
    /// What it touched.
    pub footprint: F,
    /// The step that enabled it: its process is enabled right after that one, or, if it waits for
    /// everything else, as soon as that has happened. None if it was enabled from the start. The
    /// previous event of the same process need not be named.
    pub enabled_by: Option<usize>,
    /// Whether it would not have been enabled without that step. It would, if a later one would have
    /// enabled it as well, and could have happened before.
    pub needed: bool,
    /// Whether it could only happen because nothing else could: then everything before comes before
    /// it and before everything that follows. What became possible at the same moment as this event
    /// is ordered after what was before, and not after this event.
    pub waited_for_all: bool,
    /// Hash of what the event did and of all choices made in it: compared when it is run again.
    pub past: u64,
}

/// What explores orders of events.
pub trait Engine<P: Process, F: Footprint> {
    /// Starts the next execution; false when there is none left.
    fn begin(&mut self) -> bool;

    /// Which process goes next. Asked at every moment at which at least one is enabled.
    ///
    /// # Errors
    /// If the execution is not the one that it has to be.
    fn pick(&mut self, moment: &mut Moment<'_, P>) -> Result<Pick, NotRepeated>;

    /// Which way the event under way takes: less than `ways.count`.
    ///
    /// # Errors
    /// If the execution is not the one that it has to be.
    fn choose(&mut self, ways: Ways) -> Result<usize, NotRepeated>;

    /// Takes note of the event that has happened; none means that the execution goes on.
    ///
    /// # Errors
    /// If the execution is not the one that it has to be.
    fn ran(&mut self, ran: Ran<F>) -> Result<Option<Stop>, NotRepeated>;

    /// Ends the execution. `last` identifies the state in which nothing is enabled any more; it is
    /// none if the execution was given up before, by anybody.
    ///
    /// # Errors
    /// If the execution is not the one that it has to be.
    fn end(&mut self, last: Option<&mut dyn FnMut() -> u128>) -> Result<(), NotRepeated>;

    /// The first step of the execution under way that no earlier one has shown.
    fn first_new_step(&self) -> usize;

    /// The share of the search that is done, between 0 and 1 and never going back, in units of 2^-62;
    /// none if nobody knows.
    fn progress(&self) -> Option<u64>;
}
