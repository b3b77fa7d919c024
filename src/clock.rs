//! The wall clock: for the times in reports, and for when a run has to end or is to be saved.
#![expect(clippy::disallowed_types, reason = "results do not depend on it, but how long it takes")]

use std::time::{Duration, Instant};

/// A moment to measure from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
