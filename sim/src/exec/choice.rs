//! Choice points, and the trace of choices that is the identity of an execution.

use std::fmt;

use super::identity::mix;
use super::label::Label;

/// What is being chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChoiceKind {
    /// Which event happens next.
    Event,
    /// Which side a coin shows.
    Coin,
}

/// A place where the world may go more than one way.
///
/// Option 0 is what happens on a good day: ready tasks first, then timers that are due, then
/// completions, older requests before younger ones, requests end as asked, coins come up true, nobody cancels.
#[derive(Debug, Clone, Copy)]
pub struct ChoicePoint<'a> {
    /// What is being chosen.
    pub kind: ChoiceKind,
    /// What each option would do; at least two.
    pub options: &'a [Label],
    /// The step of the execution that the choice belongs to, counted from zero. Several choices
    /// may belong to one step: which task runs, then the coins that it flips.
    pub step: usize,
    /// Hash of everything that happened in the execution so far: events in order, bytes written,
    /// named events, spawned tasks.
    pub past: u64,
}

impl ChoicePoint<'_> {
    /// Hash of the options on offer, in order.
    #[must_use]
    pub fn options_key(&self) -> u64 {
        self.options.iter().fold(0, |hash, label| mix(hash, label.key()))
    }
}

/// One choice as it was taken, for storing and replaying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedChoice {
    /// What was chosen.
    pub kind: ChoiceKind,
    /// Which option.
    pub index: usize,
    /// What the option said.
    pub label: String,
}

/// The choices of one execution, in order: running the same list again gives the same execution.
///
/// Choices of one option are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// [`Trace::VERSION`] when written by this program.
    pub version: u32,
    /// The choices in order.
    pub choices: Vec<TracedChoice>,
}

impl Trace {
    /// Changes when the meaning of kinds, indices or labels changes.
    pub const VERSION: u32 = 1;

    /// A trace of these choices, of the current version.
    #[must_use]
    pub fn new(choices: Vec<TracedChoice>) -> Self {
        Self { version: Self::VERSION, choices }
    }
}

impl ChoiceKind {
    /// The name in scenario files: `event`, `coin`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Coin => "coin",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Event, Self::Coin].into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for ChoiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
