//! Counting those inside, and waiting until they have left.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cell::Cell;
use super::track::{Access, Object, Tracker, Waiters};

/// Part of a gate: how many are inside.
const COUNT: Range<u64> = 0..1;
/// Part of a gate: whether it has become empty while somebody waits for that.
const EMPTIED: Range<u64> = 1..2;
/// Part of a gate: whether it is shut.
const SHUT: Range<u64> = 2..3;

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
    /// Counts one more. That commutes with counting others, in and out, as long as the count does
    /// not pass through zero while somebody waits for that.
    fn count_in(&self) {
        self.object.access(COUNT, Access::Add);
        self.state.with(|state| {
            state.inside += 1;
            self.object.holds(state);
        });
    }

    fn count_out(&self) {
        self.object.access(COUNT, Access::Add);
        let (somebody_waits, emptied) = self.state.with(|state| {
            assert!(state.inside > 0, "a pass exists but nobody is inside");
            state.inside -= 1;
            let somebody_waits = !state.waiting.is_empty();
            let emptied = state.inside == 0;
            let waiting = if emptied { state.waiting.take() } else { Waiters::default() };
            self.object.holds(state);
            (somebody_waits, waiting)
        });
        if somebody_waits {
            self.object.access(EMPTIED, Access::Add);
        }
        emptied.wake();
    }

    fn is_shut(&self) -> bool {
        self.object.access(SHUT, Access::Read);
        let shut = self.state.with(|state| state.shut);
        self.object.learned(&shut);
        shut
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
        if self.inner.is_shut() {
            return None;
        }
        // Who enters when the last one has left comes too late for those who waited for that.
        self.inner.object.access(EMPTIED, Access::Read);
        self.inner.count_in();
        Some(Pass { inner: Arc::clone(&self.inner) })
    }

    /// Shuts the gate. Says whether it was open.
    pub fn shut(&self) -> bool {
        self.inner.object.access(SHUT, Access::Write);
        let was_open = self.inner.state.with(|state| {
            let was_open = !std::mem::replace(&mut state.shut, true);
            self.inner.object.holds(state);
            was_open
        });
        self.inner.object.learned(&was_open);
        was_open
    }

    /// Whether nobody is inside.
    pub fn is_idle(&self) -> bool {
        let Inner { state, object } = &*self.inner;
        object.access(COUNT, Access::Read);
        let idle = state.with(|state| state.inside == 0);
        object.learned(&idle);
        idle
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
        // The one that is cloned keeps the gate from becoming empty.
        self.inner.count_in();
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.inner.count_out();
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
        object.access(COUNT, Access::Read);
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
        assert!(!gate.is_idle());
        drop(later);
        assert!(gate.is_idle());
    }
}
