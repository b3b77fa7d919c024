//! Something that happens once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::cell::Cell;
use super::track::{Access, Object, Tracker, WHOLE, Waiters};

/// A flag that goes up once, and wakes everybody who waits for it.
#[derive(Debug)]
pub struct Event {
    state: Cell<State>,
    object: Object,
}

#[derive(Debug, Default, Hash)]
struct State {
    happened: bool,
    waiting: Waiters,
}

impl Event {
    /// An event that has not happened.
    #[must_use]
    pub fn new(tracker: &Tracker) -> Self {
        Self { state: Cell::default(), object: Object::new(tracker, "event") }
    }

    /// Makes it happen. Doing so again changes nothing.
    pub fn raise(&self) {
        self.object.access(WHOLE, Access::Write);
        let waiting = self.state.with(|state| {
            state.happened = true;
            let waiting = state.waiting.take();
            self.object.holds(state);
            waiting
        });
        waiting.wake();
    }

    /// Whether it has happened.
    pub fn has_happened(&self) -> bool {
        self.object.access(WHOLE, Access::Read);
        let happened = self.state.with(|state| state.happened);
        self.object.learned(&happened);
        happened
    }

    /// Completes when it has happened.
    pub fn happened(&self) -> Happened<'_> {
        Happened { event: self }
    }
}

/// Completes when an [`Event`] has happened.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Happened<'a> {
    event: &'a Event,
}

impl Future for Happened<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let object = &self.event.object;
        // Waiting commutes with waiting, and not with raising: as if it only looked.
        object.access(WHOLE, Access::Read);
        let happened = self.event.state.with(|state| {
            if !state.happened {
                state.waiting.add(object.task(), context.waker());
                object.holds(state);
            }
            state.happened
        });
        if happened {
            object.learned(&true);
            return Poll::Ready(());
        }
        object.waits();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn completes_only_after_it_was_raised() {
        let event = Event::new(&Tracker::none());
        let mut waiting = event.happened();
        assert!((&mut waiting).now_or_never().is_none());
        event.raise();
        event.raise();
        assert!(event.has_happened());
        assert_eq!(waiting.now_or_never(), Some(()));
    }
}
