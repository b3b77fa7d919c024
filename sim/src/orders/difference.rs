//! What is wrong with an execution that is not the one that it has to be.

/// An execution that does not repeat what it did before, at the step where that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("repeat step {step}: {what}")]
pub struct NotRepeated {
    /// The step, counted from zero.
    pub step: usize,
    /// What differs.
    pub what: Difference,
}

/// What differs where an execution is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Difference {
    /// Other processes are enabled, or in another order.
    #[error("other processes are enabled than before, or in another order")]
    Enabled,
    /// The event asked for other choices.
    #[error("the event has other choices than before")]
    Choices,
    /// The event touched something else.
    #[error("the event touches something else than before")]
    Footprint,
    /// The event did something else.
    #[error("the event does something else than before")]
    Past,
    /// The event was enabled by another step, or not right after the step that it names.
    #[error("the event is enabled by another step than before, or than the one it names")]
    EnabledBy,
    /// The execution ended where it went on before.
    #[error("the execution ends where it went on before")]
    Ended,
    /// Two events conflict, and nobody can go first in their other order.
    #[error(
        "the dependence is not valid: two events race, and no process that comes first in their \
         other order was enabled; a footprint, a process identity or the step that enabled an event \
         is wrong"
    )]
    Dependence,
    /// Two events that do not conflict were swapped, and something is different after that.
    #[error("two events that do not conflict do not commute: a footprint leaves something out")]
    Swapped,
    /// Two states with one fingerprint have different futures.
    #[error("two states have the same fingerprint and different futures")]
    Merged,
}

impl Difference {
    /// This difference, at `step`.
    pub(super) fn at(self, step: usize) -> NotRepeated {
        NotRepeated { step, what: self }
    }
}
