//! How many executions there were, and how they ended.

use serde::{Deserialize, Serialize};

use super::Stop;

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// Nothing was enabled any more.
    Complete,
    /// The engine gave it up: what may follow is equivalent to what was explored already.
    Covered,
    /// The engine gave it up or does not count it: it belongs to another shard.
    Elsewhere,
    /// The engine has no room to remember more.
    Full,
    /// The caller gave it up.
    GivenUp,
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Covered => Self::Covered,
            Stop::Elsewhere => Self::Elsewhere,
            Stop::Full => Self::Full,
        }
    }
}

/// Counters of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Executions begun.
    pub executions: u64,
    /// Those that came to their end.
    pub complete: u64,
    /// Those given up because what may follow is equivalent to what was explored already.
    pub covered: u64,
    /// Those of another shard.
    pub elsewhere: u64,
    /// Those given up by the caller.
    pub given_up: u64,
    /// Events run, again or for the first time.
    pub steps: u64,
}

impl Counts {
    /// One more execution has ended.
    pub(super) fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Complete => self.complete += 1,
            Ended::Covered => self.covered += 1,
            Ended::Elsewhere => self.elsewhere += 1,
            Ended::Full => {}
            Ended::GivenUp => self.given_up += 1,
        }
    }
}
