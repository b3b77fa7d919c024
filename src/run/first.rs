//! The first of several parts, by their order, in which something was found: what workers share.

use super::atomic::{AtomicUsize, Ordering};

/// Parts before this one have found nothing, as far as anybody knows.
#[derive(Debug)]
pub(crate) struct First(AtomicUsize);

impl First {
    /// None of the parts has found anything.
    pub(crate) fn none() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    /// The part at `place` has found something.
    pub(crate) fn found(&self, place: usize) {
        self.0.fetch_min(place, Ordering::AcqRel);
    }

    /// Whether the part at `place` is of no interest, because an earlier one has found something. Once
    /// true it stays so; false may be out of date, which costs time only.
    pub(crate) fn is_before(&self, place: usize) -> bool {
        self.0.load(Ordering::Acquire) < place
    }
}
