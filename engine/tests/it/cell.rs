//! What the tests themselves share: never a part of an engine, so nobody is told.

#![expect(clippy::disallowed_types, reason = "the tests' side of the disks")]

use std::sync::{Mutex, PoisonError};

/// A value that is looked at and changed in short steps.
#[derive(Debug, Default)]
pub(crate) struct Cell<T>(Mutex<T>);

impl<T> Cell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Runs `look` on the value, which must not use the same cell again.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        // A test that panics has failed already.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
