//! The one lock beneath everything in [`super`].

#[expect(clippy::disallowed_types, reason = "the one place that wraps the thread primitive")]
use std::sync::Mutex;
use std::sync::PoisonError;

/// A value that is looked at and changed in short steps. Nobody is told.
#[derive(Debug, Default)]
pub(super) struct Cell<T> {
    #[expect(clippy::disallowed_types, reason = "the one place that wraps the thread primitive")]
    value: Mutex<T>,
}

impl<T> Cell<T> {
    #[expect(clippy::disallowed_types, reason = "the one place that wraps the thread primitive")]
    pub(super) const fn new(value: T) -> Self {
        Self { value: Mutex::new(value) }
    }

    /// Runs `look` on the value, which must not use the same cell again.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        // A panic inside a step is an engine bug, which the caller's caller reports; what others
        // see of the value afterwards is no worse than what the panicking step left.
        look(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
