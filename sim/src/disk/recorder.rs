//! The recorded history of an execution: submissions, completions and marks over all disks, in the
//! order in which they happened, with the partial order between requests.
//!
//! The order in which things happened is one of many; what counts is *happened before*: a request
//! that completed before another was submitted. So every submission names the requests that were
//! in flight beside it: all other earlier requests happened before it.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use super::request::{Op, Outcome, RequestId};

/// A request on one of several disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskRequest {
    /// Index of the disk.
    pub disk: usize,
    /// The request.
    pub id: RequestId,
}

/// Everything that happened at the disks of one execution.
#[derive(Debug, Clone, Default)]
pub struct History {
    events: Vec<Event>,
    in_flight: Vec<DiskRequest>,
}

/// One event. Its `Display` is one line without its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request was submitted.
    Submit {
        /// The request.
        request: DiskRequest,
        /// What it asks for.
        op: Op,
        /// The requests, on any disk, that were in flight at that moment, in submission order.
        beside: Vec<DiskRequest>,
    },
    /// A request completed.
    Complete {
        /// The request.
        request: DiskRequest,
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
    ///
    /// # Panics
    /// If the request is in flight already.
    pub fn submit(&mut self, disk: usize, id: RequestId, op: Op) {
        let request = DiskRequest { disk, id };
        assert!(!self.in_flight.contains(&request), "{request} is in flight");
        self.events.push(Event::Submit { request, op, beside: self.in_flight.clone() });
        self.in_flight.push(request);
    }

    /// Records a completion.
    ///
    /// # Panics
    /// If the request is not in flight.
    pub fn complete(&mut self, disk: usize, id: RequestId, outcome: Outcome) {
        let request = DiskRequest { disk, id };
        let position = self.in_flight.iter().position(|&other| other == request);
        self.in_flight.remove(position.unwrap_or_else(|| panic!("{request} is not in flight")));
        self.events.push(Event::Complete { request, outcome });
    }

    /// Records a mark.
    pub fn mark(&mut self, name: impl Into<String>) {
        self.events.push(Event::Mark { name: name.into() });
    }

    /// The events so far; a position among them names the moment before that event.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether `first` completed before `second` was submitted.
    #[must_use]
    pub fn happened_before(&self, first: DiskRequest, second: DiskRequest) -> bool {
        let completed = self.events.iter().position(
            |event| matches!(event, Event::Complete { request, .. } if *request == first),
        );
        let submitted = self
            .events
            .iter()
            .position(|event| matches!(event, Event::Submit { request, .. } if *request == second));
        matches!((completed, submitted), (Some(completed), Some(submitted)) if completed < submitted)
    }

    /// Identifies what has been recorded, for comparing two executions.
    #[must_use]
    pub fn digest(&self) -> u64 {
        xxh3_64(self.to_string().as_bytes())
    }
}

/// One line per event, with its position.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, event) in self.events.iter().enumerate() {
            writeln!(f, "{position:>5}  {event}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit { request, op, beside } => {
                write!(f, "{request} submit {op}")?;
                for (index, other) in beside.iter().enumerate() {
                    write!(f, "{}{other}", if index == 0 { " beside " } else { ", " })?;
                }
                Ok(())
            }
            Self::Complete { request, outcome } => write!(f, "{request} {outcome}"),
            Self::Mark { name } => write!(f, "mark {name}"),
        }
    }
}

/// `d0.c1.3`: request 3 of task 1 on disk 0.
impl fmt::Display for DiskRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}.{}", self.disk, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugpull_engine::WriteFlags;

    #[test]
    fn a_history_prints_its_partial_order() {
        let mut history = History::new();
        let [a, b, c] = [0, 1, 2].map(|number| RequestId::new(0, number));
        let flags = WriteFlags { preflush: true, fua: true };
        history.submit(0, a, Op::Write { offset: 512, data: [7; 512].into(), flags });
        history.submit(1, a, Op::Flush);
        history.complete(0, a, Outcome::Done);
        history.submit(0, b, Op::Read { offset: 0, len: 512 });
        history.mark("acknowledged");
        history.submit(0, c, Op::Resize { len: 4096 });
        history.complete(0, b, Outcome::Corrupted);
        let expected = "    0  d0.c0.0 submit write 512+512 preflush fua data 7771a735a4abd701
    1  d1.c0.0 submit flush beside d0.c0.0
    2  d0.c0.0 done
    3  d0.c0.1 submit read 0+512 beside d1.c0.0
    4  mark acknowledged
    5  d0.c0.2 submit resize 4096 beside d1.c0.0, d0.c0.1
    6  d0.c0.1 done, corrupted
";
        assert_eq!(history.to_string(), expected);
        let [a, b, c] = [a, b, c].map(|id| DiskRequest { disk: 0, id });
        assert!(history.happened_before(a, b));
        assert!(!history.happened_before(b, c));
        assert!(!history.happened_before(DiskRequest { disk: 1, ..a }, c));
    }
}
