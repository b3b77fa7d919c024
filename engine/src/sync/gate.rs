//! Counting those inside, and waiting until they have left.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cell::Cell;
use super::track::{Access, Object, Tracker, WHOLE, Waiters};

/// A gate that requests pass while they run.
///
/// Whoever shuts it can wait until the last one inside has left. Those inside may let others in
/// (by cloning their [`Pass`]) even when it is shut, so that the count cannot reach zero while work
/// that belongs to a request is still to begin.
#[derive(Debug, Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Cell<State>,
    object: Object,
}

#[derive(Debug, Default, Hash)]
struct State {
    shut: bool,
    inside: usize,
    waiting: Waiters,
}

impl Inner {
    /// Entering and leaving commute: who enters learns only whether the gate is shut.
    fn pass(&self, change: impl FnOnce(&mut State)) {
        self.object.access(WHOLE, Access::Add);
        self.state.with(|state| {
            change(state);
            self.object.holds(state);
        });
    }

    fn look<R: std::hash::Hash>(&self, look: impl Fn(&State) -> R) -> R {
        self.object.access(WHOLE, Access::Read);
        let seen = self.state.with(|state| look(state));
        self.object.learned(&seen);
        seen
    }
}

impl Gate {
    /// An open gate with nobody inside.
    #[must_use]
    pub fn new(tracker: &Tracker) -> Self {
        let object = Object::new(tracker, "gate");
        Self { inner: Arc::new(Inner { state: Cell::default(), object }) }
    }

    /// Passes the gate, unless it is shut.
    pub fn enter(&self) -> Option<Pass> {
        let mut entered = false;
        self.inner.pass(|state| {
            entered = !state.shut;
            state.inside += usize::from(entered);
        });
        self.inner.object.learned(&entered);
        entered.then(|| Pass { inner: Arc::clone(&self.inner) })
    }

    /// Shuts the gate. Says whether it was open.
    pub fn shut(&self) -> bool {
        self.inner.object.access(WHOLE, Access::Write);
        let was_open = self.inner.state.with(|state| {
            let was_open = !std::mem::replace(&mut state.shut, true);
            self.inner.object.holds(state);
            was_open
        });
        self.inner.object.learned(&was_open);
        was_open
    }

    /// Whether it is shut.
    pub fn is_shut(&self) -> bool {
        self.inner.look(|state| state.shut)
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.inner.look(|state| state.inside)
    }

    /// Completes when nobody is inside.
    pub fn idle(&self) -> Idle<'_> {
        Idle { gate: self }
    }
}

/// The right to be inside a [`Gate`]; dropping it leaves.
#[derive(Debug)]
pub struct Pass {
    inner: Arc<Inner>,
}

impl Clone for Pass {
    fn clone(&self) -> Self {
        self.inner.pass(|state| {
            assert!(state.inside > 0, "a pass exists but nobody is inside");
            state.inside += 1;
        });
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut waiting = Waiters::default();
        self.inner.pass(|state| {
            assert!(state.inside > 0, "a pass exists but nobody is inside");
            state.inside -= 1;
            if state.inside == 0 {
                waiting = state.waiting.take();
            }
        });
        waiting.wake();
    }
}

/// Completes when nobody is inside a [`Gate`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Idle<'a> {
    gate: &'a Gate,
}

impl Future for Idle<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Inner { state, object } = &*self.gate.inner;
        // Waiting commutes with waiting, and not with leaving: as if it only looked.
        object.access(WHOLE, Access::Read);
        let idle = state.with(|state| {
            if state.inside > 0 {
                state.waiting.add(object.task(), context.waker());
                object.holds(state);
            }
            state.inside == 0
        });
        if idle {
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
    fn idle_waits_for_the_last_pass() {
        let gate = Gate::new(&Tracker::none());
        assert_eq!(gate.idle().now_or_never(), Some(()));
        let first = gate.enter().unwrap();
        let second = first.clone();
        let mut idle = gate.idle();
        assert!((&mut idle).now_or_never().is_none());
        drop(first);
        assert!((&mut idle).now_or_never().is_none());
        drop(second);
        assert_eq!(idle.now_or_never(), Some(()));
    }

    #[test]
    fn a_shut_gate_admits_only_what_belongs_to_those_inside() {
        let gate = Gate::new(&Tracker::none());
        let inside = gate.enter().unwrap();
        assert!(gate.shut());
        assert!(!gate.shut());
        assert!(gate.enter().is_none());
        let later = inside.clone();
        drop(inside);
        assert_eq!(gate.inside(), 1);
        drop(later);
        assert_eq!(gate.inside(), 0);
    }
}
