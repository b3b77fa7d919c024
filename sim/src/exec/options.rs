//! What is fixed for all executions of one exploration.

use super::tracking::Noted;

/// Which orders of ready tasks are explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadyOrder {
    /// Every order: which ready task runs, and whether a completion comes first, is a choice.
    #[default]
    Any,
    /// After each completion all ready tasks run, in the order of their identities, before the
    /// next one. A declared under-approximation: races between task runs are not explored, races
    /// between completions are.
    MacroStep,
}

/// Options of a [`World`](super::World).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorldOptions {
    /// Which orders of ready tasks are explored.
    pub ready: ReadyOrder,
    /// How many guest requests may be cancelled in one execution.
    pub cancel_budget: u32,
    /// Steps after which an execution is given up, visibly.
    pub step_cap: usize,
    /// Whether everything that tasks share is told to [`Runtime::tracker`]. If not, everything that
    /// tasks do counts as depending on everything else that tasks do.
    ///
    /// [`Runtime::tracker`]: plugpull_engine::Runtime::tracker
    pub told: bool,
    /// What is noted of every step.
    pub noted: Noted,
}

impl WorldOptions {
    /// Every order of ready tasks, no cancelling, nothing noted.
    pub const PLAIN: Self = Self {
        ready: ReadyOrder::Any,
        cancel_budget: 0,
        step_cap: 1_000_000,
        told: false,
        noted: Noted::Nothing,
    };
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self::PLAIN
    }
}
