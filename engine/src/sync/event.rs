//! Something that happens once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::Shared;

/// A flag that goes up once, and wakes everybody who waits for it.
#[derive(Debug, Default)]
pub struct Event {
    state: Shared<State>,
}

#[derive(Debug, Default)]
struct State {
    happened: bool,
    waiting: Vec<Waker>,
}

impl Event {
    /// An event that has not happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes it happen. Doing so again changes nothing.
    pub fn raise(&self) {
        let waiting = self.state.write(|state| {
            state.happened = true;
            std::mem::take(&mut state.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether it has happened.
    pub fn has_happened(&self) -> bool {
        self.state.read(|state| state.happened)
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
        self.event.state.write(|state| {
            if state.happened {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn completes_only_after_it_was_raised() {
        let event = Event::new();
        let mut waiting = event.happened();
        assert!((&mut waiting).now_or_never().is_none());
        event.raise();
        event.raise();
        assert!(event.has_happened());
        assert_eq!(waiting.now_or_never(), Some(()));
    }
}
