//! Where an execution keeps what its tasks, wakers and requests share, and the harness what its
//! clients share. None of it is state of an engine.

#![expect(clippy::disallowed_types, reason = "the one lock below engine::sync: wakers need it")]

use std::sync::{Mutex, TryLockError};

/// A value that is looked at by one piece of code at a time and never across an await.
///
/// One execution has one thread, so the lock is always free; a caller that finds it taken has
/// called back into the executor from inside the executor.
#[derive(Debug, Default)]
pub(crate) struct Cell<T>(Mutex<T>);

impl<T> Cell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Runs `look` on the value. Nothing in `look` may run or drop a future or wake a task: what
    /// comes out of the value is handed out and dropped by the caller.
    ///
    /// # Panics
    /// If called from inside `look`.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        let mut guard = match self.0.try_lock() {
            Ok(guard) => guard,
            // A panic of the engine that came through here ends the execution, which says so.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("the executor was called from inside itself"),
        };
        look(&mut guard)
    }
}
