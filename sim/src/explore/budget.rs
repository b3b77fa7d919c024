//! When a search has to end although it is not done.

use std::fmt;
use std::sync::Arc;

/// Says how much of a budget is spent. It may be asked at any moment, from any thread.
///
/// A search knows no clock: whoever has one decides.
#[derive(Clone)]
pub struct Budget(Arc<dyn Fn() -> Spent + Send + Sync>);

/// How much of a budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spent {
    /// Something is left.
    Partly,
    /// Nothing is left: what was begun may be brought to its end.
    Wholly,
    /// Nothing is left since long: what was begun is given up.
    Overrun,
}

impl Budget {
    /// Of which `spent` says how much is spent.
    pub fn new(spent: impl Fn() -> Spent + Send + Sync + 'static) -> Self {
        Self(Arc::new(spent))
    }

    /// How much is spent.
    #[must_use]
    pub fn spent(&self) -> Spent {
        (self.0)()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Budget").field(&self.spent()).finish()
    }
}
