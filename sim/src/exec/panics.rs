//! Catching the panics of tasks, quietly.
//!
//! A panic of a task is a finding, not an accident of the harness: its message goes into the
//! result of the step instead of to standard error. The process has one panic hook for all
//! threads, so a hook is installed once that asks a thread-local flag whether this thread is
//! running a task; all other panics go to the hook that was there before.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

static HOOK: Once = Once::new();

thread_local! {
    /// How many `catch` calls are on this thread's stack.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic inside one of them was.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic's message, and its file and line where known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Caught {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
}

/// Runs `body`. If it panics, prints nothing and says how.
pub(crate) fn catch<R>(body: impl FnOnce() -> R) -> Result<R, Caught> {
    HOOK.call_once(install);
    CATCHING.set(CATCHING.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(body));
    CATCHING.set(CATCHING.get() - 1);
    result.map_err(|payload| {
        let message = match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&'static str>() {
                Ok(text) => (*text).to_owned(),
                Err(_) => "a panic without a message".to_owned(),
            },
        };
        Caught { message, location: LOCATION.take() }
    })
}

/// Installs the hook, if it is not there yet. To be called early: a thread that panics already can
/// no longer do it.
pub(super) fn prepare() {
    HOOK.call_once(install);
}

fn install() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if CATCHING.get() == 0 {
            before(info);
        } else {
            LOCATION.set(info.location().map(|at| format!("{}:{}", at.file(), at.line())));
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_tells_what_and_where() {
        let caught = catch(|| -> () { panic!("{} is odd", 3) }).unwrap_err();
        assert_eq!(caught.message, "3 is odd");
        assert!(caught.location.unwrap().contains("panics.rs:"));
        assert_eq!(catch(|| 7), Ok(7));
    }
}
