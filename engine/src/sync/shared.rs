//! A cell that tasks share.

#[expect(clippy::disallowed_types, reason = "the one place that wraps the thread primitive")]
use std::sync::Mutex;

/// State that several tasks read and change, in short steps that cannot be interrupted.
///
/// There is no guard to hold across an `.await`: every access is a closure that runs to its end.
/// A closure must not use the same cell again.
#[derive(Debug, Default)]
pub struct Shared<T> {
    #[expect(clippy::disallowed_types, reason = "the one place that wraps the thread primitive")]
    value: Mutex<T>,
}

impl<T> Shared<T> {
    /// A cell with an initial value.
    #[expect(clippy::disallowed_types, reason = "the one place that wraps the thread primitive")]
    pub const fn new(value: T) -> Self {
        Self { value: Mutex::new(value) }
    }

    /// Looks at the value.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        // A panic inside a step is an engine bug, which the caller's caller reports; what others
        // see of the value afterwards is no worse than what the panicking step left.
        look(&self.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Changes the value.
    pub fn write<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl<T: Copy> Shared<T> {
    /// A copy of the value.
    pub fn get(&self) -> T {
        self.read(|value| *value)
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        self.write(|cell| *cell = value);
    }
}

impl<T: Clone> Clone for Shared<T> {
    /// A new cell with a clone of the present value.
    fn clone(&self) -> Self {
        Self::new(self.read(T::clone))
    }
}
