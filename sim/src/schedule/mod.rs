//! Strategies: what picks the choices of an execution, one file each.
//!
//! An exploration is a loop around one strategy:
//!
//! ```text
//! while strategy.begin() {                 another execution?
//!     build a World, spawn its tasks
//!     step it to its end, the strategy choosing
//!     strategy.end()
//! }
//! ```

mod divergence;
mod exhaustive;
mod fifo;
mod guided;
mod orders;
mod random;
mod replay;

pub use divergence::{Divergence, Mismatch};
pub use exhaustive::Exhaustive;
pub use fifo::Fifo;
pub(crate) use guided::{Guided, GuidedStep};
pub(crate) use orders::STATES_MAX;
pub use orders::{Orders, Tells};
pub use random::Random;
pub use replay::{AfterTrace, Replay};

use crate::exec::{ChoicePoint, MadeStep, Noted};
use crate::explore::Causes;
use crate::orders::{Classes, Counts, Pick, Roots};
use crate::verdict::Share;

/// What picks choices, over one execution or many.
///
/// A world takes the strategy for the duration of each step, so it has to be boxed and `Send`; what
/// a search wants to know of it, the trait tells.
pub trait Strategy: Send {
    /// Starts the next execution; false when there is none left.
    fn begin(&mut self) -> bool;

    /// The index of the option to take, less than `point.options.len()`.
    ///
    /// # Errors
    /// If the execution is not the one that the strategy expected: it was nondeterministic, or
    /// does not fit the trace that is replayed.
    fn choose(&mut self, point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>>;

    /// What happens next in an execution, also where only one event can. `fingerprint` identifies
    /// the state of the execution; it may be called if [`Strategy::notes`] says [`Noted::States`].
    ///
    /// # Errors
    /// As for [`Strategy::choose`].
    fn next(
        &mut self,
        point: &ChoicePoint<'_>,
        fingerprint: &mut dyn FnMut() -> u128,
    ) -> Result<Pick, Box<Divergence>> {
        let _ = fingerprint;
        if point.options.len() == 1 { Ok(Pick::Run(0)) } else { self.choose(point).map(Pick::Run) }
    }

    /// What has to be noted of every step.
    fn notes(&self) -> Noted {
        Noted::Nothing
    }

    /// A step has been made; called if anything is to be noted.
    ///
    /// # Errors
    /// As for [`Strategy::choose`].
    fn made(&mut self, step: MadeStep) -> Result<(), Box<Divergence>> {
        let _ = step;
        Ok(())
    }

    /// Nothing more can happen in the execution, which `fingerprint` identifies the state of; called
    /// before [`Strategy::end`], if anything is to be noted.
    fn finished(&mut self, fingerprint: &mut dyn FnMut() -> u128) {
        let _ = fingerprint;
    }

    /// Whether executions stand for others with other orders, so that their steps have to be kept.
    fn stands_for_others(&self) -> bool {
        false
    }

    /// What comes before what in the execution that has ended, if it is complete and stands for others
    /// with other orders.
    fn causes(&self) -> Option<Causes<'_>> {
        None
    }

    /// Ends the current execution, also one that was given up early.
    ///
    /// # Errors
    /// If the execution ended before the choices that it was expected to make.
    fn end(&mut self) -> Result<(), Box<Divergence>>;

    /// The first step of the current execution that no earlier execution has shown: what follows
    /// the steps before it was seen already.
    fn first_new_step(&self) -> usize {
        0
    }

    /// Whether the execution that has ended belongs to another shard, and is not counted here.
    fn is_elsewhere(&self) -> bool {
        false
    }

    /// What was done.
    fn tally(&self) -> Tally {
        Tally::default()
    }

    /// All that is needed to go on later, between two executions; none if the search has to begin
    /// anew.
    fn save(&self) -> Option<Vec<u8>> {
        None
    }

    /// Becomes what it was when it was saved.
    ///
    /// # Errors
    /// Why it cannot.
    fn restore(&mut self, saved: &[u8]) -> Result<(), String> {
        let _ = saved;
        Err("this strategy begins anew".to_owned())
    }

    /// The share of the search that is done, where that is known.
    fn progress(&self) -> Option<Share> {
        None
    }
}

/// What a strategy says of what it has done, where it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// What explores orders, if it is not the strategy itself.
    pub engine: &'static str,
    /// Classes of executions that differ only in the order of independent events.
    pub classes: Option<u64>,
    /// Whether there may have been more of them, for want of memory.
    pub more_classes: bool,
    /// Of the executions drawn at random, how many are the only one of their class.
    pub drawn_once: Option<Share>,
    /// States that were reached, each once.
    pub states: Option<u64>,
    /// Executions given up because what would have followed was covered already.
    pub covered: Option<u64>,
    /// The roots of the search, the classes of its complete executions, and what was counted; where
    /// executions stand for classes.
    pub classed: Option<(Roots, Classes, Counts)>,
    /// Why the search is not complete although it came to its end, if so.
    pub short: Option<String>,
}
