//! What a step says: something happened, or why nothing can happen any more.

use std::fmt;

use super::identity::{Name, TaskId};
use super::label::Label;
use crate::orders::Stop;
use crate::schedule::Divergence;

/// The result of [`World::step`](super::World::step).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This event happened; there may be more.
    Ran(Label),
    /// Every task has ended (background daemons aside) and no request is pending.
    Finished,
    /// Nothing can happen and a task has not ended: a violation of progress.
    Hang(Hang),
    /// The execution reached [`WorldOptions::step_cap`](super::WorldOptions::step_cap).
    StepCap,
    /// A task panicked: the engine is wrong.
    Panicked(Panicked),
    /// The strategy has seen enough of the execution.
    Stopped(Stop),
    /// The execution did not repeat what it did before, or does not fit the trace.
    Diverged(Box<Divergence>),
}

/// Who waits for something that cannot happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hang {
    /// The unfinished tasks, in the order of their identities; daemons are left out.
    pub waiting: Vec<Waiting>,
}

/// A task that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The task.
    pub task: TaskId,
    /// The guest request that it is in, if it is in one.
    pub inside: Option<Name>,
}

/// A caught panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    /// The task that panicked.
    pub task: TaskId,
    /// The panic's message.
    pub message: String,
    /// File and line, where known.
    pub location: Option<String>,
}

impl Step {
    /// Whether the execution can go on.
    #[must_use]
    pub fn is_end(&self) -> bool {
        !matches!(self, Self::Ran(_))
    }
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing can happen any more, and these wait: ")?;
        for (index, waiting) in self.waiting.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{waiting}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inside {
            Some(request) => write!(f, "{} in {request}", self.task),
            None => write!(f, "{}", self.task),
        }
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} panicked: {}", self.task, self.message)?;
        match &self.location {
            Some(location) => write!(f, " ({location})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran(label) => write!(f, "{label}"),
            Self::Finished => f.write_str("finished"),
            Self::Hang(hang) => write!(f, "{hang}"),
            Self::StepCap => f.write_str("the step cap was reached"),
            Self::Panicked(panicked) => write!(f, "{panicked}"),
            Self::Stopped(Stop::Covered) => f.write_str("what follows was explored already"),
            Self::Stopped(Stop::Elsewhere) => f.write_str("what follows belongs to another shard"),
            Self::Stopped(Stop::Full) => f.write_str("there is no room for more states"),
            Self::Diverged(divergence) => write!(f, "{divergence}"),
        }
    }
}
