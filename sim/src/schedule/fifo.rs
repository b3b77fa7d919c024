//! The good day: option 0 everywhere, one execution.

use super::{Divergence, Strategy};
use crate::exec::ChoicePoint;

/// Takes option 0 everywhere. One execution.
#[derive(Debug, Clone, Default)]
pub struct Fifo {
    begun: bool,
}

impl Fifo {
    /// A strategy with its one execution still to begin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, boxed as [`World::step`](crate::exec::World::step) wants it.
    #[must_use]
    pub fn boxed() -> Box<dyn Strategy> {
        Box::new(Self::new())
    }
}

impl Strategy for Fifo {
    fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    fn choose(&mut self, _point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>> {
        Ok(0)
    }

    fn end(&mut self) -> Result<(), Box<Divergence>> {
        Ok(())
    }
}
