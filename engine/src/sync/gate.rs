//! Counting those inside, and waiting until they have left.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Shared;

/// A gate that requests pass while they run.
///
/// Whoever shuts it can wait until the last one inside has left. Those inside may let others in
/// (by cloning their [`Pass`]) even when it is shut, so that the count cannot reach zero while work
/// that belongs to a request is still to begin.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    state: Arc<Shared<State>>,
}

#[derive(Debug, Default)]
struct State {
    shut: bool,
    inside: usize,
    waiting: Vec<Waker>,
}

impl Gate {
    /// An open gate with nobody inside.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Passes the gate, unless it is shut.
    pub fn enter(&self) -> Option<Pass> {
        let entered = self.state.write(|state| {
            if !state.shut {
                state.inside += 1;
            }
            !state.shut
        });
        entered.then(|| Pass { state: Arc::clone(&self.state) })
    }

    /// Shuts the gate. Says whether it was open.
    pub fn shut(&self) -> bool {
        self.state.write(|state| !std::mem::replace(&mut state.shut, true))
    }

    /// Whether it is shut.
    pub fn is_shut(&self) -> bool {
        self.state.read(|state| state.shut)
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.state.read(|state| state.inside)
    }

    /// Completes when nobody is inside.
    pub fn idle(&self) -> Idle<'_> {
        Idle { gate: self }
    }
}

/// The right to be inside a [`Gate`]; dropping it leaves.
#[derive(Debug)]
pub struct Pass {
    state: Arc<Shared<State>>,
}

impl Clone for Pass {
    fn clone(&self) -> Self {
        self.state.write(|state| {
            assert!(state.inside > 0, "a pass exists but nobody is inside");
            state.inside += 1;
        });
        Self { state: Arc::clone(&self.state) }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let waiting = self.state.write(|state| {
            assert!(state.inside > 0, "a pass exists but nobody is inside");
            state.inside -= 1;
            if state.inside == 0 { std::mem::take(&mut state.waiting) } else { Vec::new() }
        });
        waiting.into_iter().for_each(Waker::wake);
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
        self.gate.state.write(|state| {
            if state.inside == 0 {
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
    fn idle_waits_for_the_last_pass() {
        let gate = Gate::new();
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
        let gate = Gate::new();
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
