//! The recorded history of an execution: submissions, completions and marks over all disks, in the
//! order in which they happened, with the partial order between requests.

use super::request::{Op, Outcome, RequestId};

/// Everything that happened at the disks of one execution.
#[derive(Debug, Clone, Default)]
pub struct History {
    events: Vec<Event>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request was submitted.
    Submit {
        /// Index of the disk.
        disk: usize,
        /// The request.
        id: RequestId,
        /// What it asks for.
        op: Op,
        /// The requests, on any disk, that were in flight at that moment; every earlier request
        /// that is not among them happened before this one.
        beside: Vec<(usize, RequestId)>,
    },
    /// A request completed.
    Complete {
        /// Index of the disk.
        disk: usize,
        /// The request.
        id: RequestId,
        /// How.
        outcome: Outcome,
    },
    /// Something else happened: an acknowledgement, a phase, a named event.
    Mark {
        /// What.
        name: String,
    },
}

impl History {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a submission.
    pub fn submit(&mut self, disk: usize, id: RequestId, op: Op) {
        todo!()
    }

    /// Records a completion.
    pub fn complete(&mut self, disk: usize, id: RequestId, outcome: Outcome) {
        todo!()
    }

    /// Records a mark.
    pub fn mark(&mut self, name: impl Into<String>) {
        todo!()
    }

    /// The events so far; positions in it name moments.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether the first request completed before the second was submitted.
    #[must_use]
    pub fn happened_before(&self, first: (usize, RequestId), second: (usize, RequestId)) -> bool {
        todo!()
    }

    /// One line for the event at a position.
    #[must_use]
    pub fn line(&self, position: usize) -> String {
        todo!()
    }
}
