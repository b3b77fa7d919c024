//! The wall clock, for the times in reports and for nothing else.

#[expect(clippy::disallowed_types, reason = "reports say how long a run took")]
use std::time::Instant;

/// A moment to measure from.
#[expect(clippy::disallowed_types, reason = "reports say how long a run took")]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_types, reason = "reports say how long a run took")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
