//! One execution again, from its trace.

use super::{Divergence, Mismatch, Strategy};
use crate::exec::{ChoicePoint, Trace};

/// Takes the choices of a trace, and says clearly where the execution no longer fits it.
#[derive(Debug, Clone)]
pub struct Replay {
    trace: Trace,
    after: AfterTrace,
    next: usize,
    begun: bool,
}

/// What to do at a choice after the last one of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterTrace {
    /// Report a divergence.
    Stop,
    /// Take option 0.
    Fifo,
}

impl Replay {
    /// A replay of `trace` that has not begun.
    #[must_use]
    pub fn new(trace: Trace, after: AfterTrace) -> Self {
        Self { trace, after, next: 0, begun: false }
    }
}

impl Strategy for Replay {
    fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    fn choose(&mut self, point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>> {
        let choice = self.next;
        let found = || point.options.iter().map(ToString::to_string).collect::<Vec<_>>();
        let Some(recorded) = self.trace.choices.get(choice) else {
            return match self.after {
                AfterTrace::Fifo => Ok(0),
                AfterTrace::Stop => {
                    Err(Divergence::at(choice, point, Mismatch::TraceEnded { found: found() }))
                }
            };
        };
        self.next += 1;
        let mismatch = if recorded.kind != point.kind {
            Mismatch::Kind { expected: recorded.kind, found: point.kind }
        } else {
            match point.options.get(recorded.index) {
                None => Mismatch::Count { expected: recorded.index + 1, found: found() },
                Some(label) if label.to_string() == recorded.label => return Ok(recorded.index),
                Some(_) => Mismatch::Options { expected: recorded.label.clone(), found: found() },
            }
        };
        Err(Divergence::at(choice, point, mismatch))
    }

    fn end(&mut self) -> Result<(), Box<Divergence>> {
        match self.trace.choices.get(self.next) {
            None => Ok(()),
            Some(recorded) => Err(Divergence::ended_early(self.next, recorded.label.clone())),
        }
    }
}
