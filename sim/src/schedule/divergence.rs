//! An execution that is not the one that was expected: a harness error, never a violation.

use std::fmt;

use crate::exec::{ChoiceKind, ChoicePoint};

/// Where an execution departed from its earlier run or from its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// Which choice, counted from zero.
    pub choice: usize,
    /// The step of the execution, counted from zero; unknown if it never came so far.
    pub step: Option<usize>,
    /// What differs.
    pub mismatch: Mismatch,
}

/// What differs at a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The kind of choice.
    Kind {
        /// As before.
        expected: ChoiceKind,
        /// As now.
        found: ChoiceKind,
    },
    /// The step at which the choice comes up.
    Step {
        /// As before.
        expected: usize,
    },
    /// The number of options.
    Count {
        /// As before; for a trace, more than the recorded index.
        expected: usize,
        /// The options now.
        found: Vec<String>,
    },
    /// What the options are.
    Options {
        /// What was taken before.
        expected: String,
        /// The options now.
        found: Vec<String>,
    },
    /// The same options, but other bytes written or other things done on the way.
    Past,
    /// An event is not what it was before, or not what it has to be.
    Event(crate::orders::Difference),
    /// The execution ended, or was ended, before this choice.
    EndedEarly {
        /// What was taken before.
        expected: String,
    },
    /// The trace has no more choices, the execution has.
    TraceEnded {
        /// The options now.
        found: Vec<String>,
    },
}

impl Divergence {
    /// A difference found at the choice number `choice`.
    pub(super) fn at(choice: usize, point: &ChoicePoint<'_>, mismatch: Mismatch) -> Box<Self> {
        Box::new(Self { choice, step: Some(point.step), mismatch })
    }

    /// The choice number `choice`, where `expected` should have been taken, was never reached.
    pub(super) fn ended_early(choice: usize, expected: String) -> Box<Self> {
        Box::new(Self { choice, step: None, mismatch: Mismatch::EndedEarly { expected } })
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "choice {}", self.choice)?;
        if let Some(step) = self.step {
            write!(f, " at step {step}")?;
        }
        write!(f, ": {}", self.mismatch)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { expected, found } => {
                write!(f, "expected a choice of kind {expected}, found {found}")
            }
            Self::Step { expected } => write!(f, "expected it at step {expected}"),
            Self::Count { expected, found } => {
                write!(f, "expected {expected} options, found {}", Options(found))
            }
            Self::Options { expected, found } => {
                write!(f, "expected to take {expected:?}, found {}", Options(found))
            }
            Self::Past => f.write_str(
                "the options are the same, but what was written or reported before them differs",
            ),
            Self::Event(difference) => write!(f, "{difference}"),
            Self::EndedEarly { expected } => {
                write!(f, "expected to take {expected:?}, but the execution ended before")
            }
            Self::TraceEnded { found } => {
                write!(f, "the trace has no more choices, the execution has: {}", Options(found))
            }
        }
    }
}

/// A list of options for people, the first few of a long one.
struct Options<'a>(&'a [String]);

impl fmt::Display for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 8;
        write!(f, "{} options: ", self.0.len())?;
        for (index, option) in self.0.iter().take(SHOWN_MAX).enumerate() {
            write!(f, "{}{option:?}", if index == 0 { "" } else { ", " })?;
        }
        if self.0.len() > SHOWN_MAX { f.write_str(", ...") } else { Ok(()) }
    }
}

impl std::error::Error for Divergence {}
