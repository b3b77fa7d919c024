//! One task at a time.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::Shared;

/// A lock that is meant to be held across `.await`s.
///
/// It is handed from the holder directly to the next in line, so nobody can slip in between, and
/// nobody starves with [`WakeOrder::FirstComeFirstServed`].
#[derive(Debug)]
pub struct Mutex {
    order: WakeOrder,
    state: Shared<State>,
}

/// Who of those waiting is served next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeOrder {
    /// In order of arrival.
    FirstComeFirstServed,
    /// The latest arrival first: an early one may starve.
    LastComeFirstServed,
}

#[derive(Debug, Default)]
struct State {
    next_ticket: u64,
    holder: Option<u64>,
    line: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    waker: Waker,
}

impl Mutex {
    /// A free lock.
    #[must_use]
    pub const fn new(order: WakeOrder) -> Self {
        let state = State { next_ticket: 0, holder: None, line: VecDeque::new() };
        Self { order, state: Shared::new(state) }
    }

    /// Waits for the lock. The place in the line is taken when the future is first polled.
    pub fn lock(&self) -> Locking<'_> {
        Locking { mutex: self, ticket: None }
    }

    fn release(&self) {
        let next = self.state.write(|state| {
            let next = match self.order {
                WakeOrder::FirstComeFirstServed => state.line.pop_front(),
                WakeOrder::LastComeFirstServed => state.line.pop_back(),
            };
            state.holder = next.as_ref().map(|waiter| waiter.ticket);
            next
        });
        if let Some(waiter) = next {
            waiter.waker.wake();
        }
    }
}

/// Waits for a [`Mutex`]; dropping it leaves the line.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Locking<'a> {
    mutex: &'a Mutex,
    ticket: Option<u64>,
}

impl<'a> Future for Locking<'a> {
    type Output = MutexGuard<'a>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<MutexGuard<'a>> {
        let mutex = self.mutex;
        let waker = context.waker();
        let ticket = self.ticket;
        let granted = mutex.state.write(|state| match ticket {
            None => state.arrive(waker),
            Some(ticket) => state.ask_again(ticket, waker),
        });
        match granted {
            Grant::Held { overtook } => {
                self.ticket = None;
                Poll::Ready(MutexGuard { mutex, overtook })
            }
            Grant::Waiting { ticket } => {
                self.ticket = Some(ticket);
                Poll::Pending
            }
        }
    }
}

impl Drop for Locking<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let handed_to_us = self.mutex.state.write(|state| {
            state.line.retain(|waiter| waiter.ticket != ticket);
            state.holder == Some(ticket)
        });
        if handed_to_us {
            self.mutex.release();
        }
    }
}

enum Grant {
    Held { overtook: bool },
    Waiting { ticket: u64 },
}

impl State {
    fn arrive(&mut self, waker: &Waker) -> Grant {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if self.holder.is_none() {
            assert!(self.line.is_empty(), "a free lock has waiters");
            self.holder = Some(ticket);
            return Grant::Held { overtook: false };
        }
        self.line.push_back(Waiter { ticket, waker: waker.clone() });
        Grant::Waiting { ticket }
    }

    fn ask_again(&mut self, ticket: u64, waker: &Waker) -> Grant {
        if self.holder == Some(ticket) {
            let overtook = self.line.iter().any(|waiter| waiter.ticket < ticket);
            return Grant::Held { overtook };
        }
        let waiter = self.line.iter_mut().find(|waiter| waiter.ticket == ticket);
        let waiter = waiter.expect("who waits is in the line");
        waiter.waker.clone_from(waker);
        Grant::Waiting { ticket }
    }
}

/// Holds a [`Mutex`]; dropping it hands the lock on.
#[derive(Debug)]
pub struct MutexGuard<'a> {
    mutex: &'a Mutex,
    overtook: bool,
}

impl MutexGuard<'_> {
    /// Whether somebody who arrived earlier is still waiting.
    #[must_use]
    pub fn overtook(&self) -> bool {
        self.overtook
    }
}

impl Drop for MutexGuard<'_> {
    fn drop(&mut self) {
        self.mutex.release();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn serves_in_order_of_arrival() {
        let mutex = Mutex::new(WakeOrder::FirstComeFirstServed);
        let held = mutex.lock().now_or_never().unwrap();
        let mut second = mutex.lock();
        let mut third = mutex.lock();
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(held);
        assert!((&mut third).now_or_never().is_none());
        let held = (&mut second).now_or_never().unwrap();
        assert!(!held.overtook());
        drop(held);
        assert!(third.now_or_never().is_some());
    }

    #[test]
    fn last_come_first_served_says_that_it_overtook() {
        let mutex = Mutex::new(WakeOrder::LastComeFirstServed);
        let held = mutex.lock().now_or_never().unwrap();
        let mut second = mutex.lock();
        let mut third = mutex.lock();
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(held);
        assert!((&mut third).now_or_never().unwrap().overtook());
        assert!(!second.now_or_never().unwrap().overtook());
    }

    #[test]
    fn a_dropped_waiter_leaves_the_line_or_hands_on() {
        let mutex = Mutex::new(WakeOrder::FirstComeFirstServed);
        let held = mutex.lock().now_or_never().unwrap();
        let mut second = mutex.lock();
        let mut third = mutex.lock();
        let mut fourth = mutex.lock();
        for waiter in [&mut second, &mut third, &mut fourth] {
            assert!(waiter.now_or_never().is_none());
        }
        drop(second);
        drop(held);
        // The third has been handed the lock but never looks.
        drop(third);
        assert!(fourth.now_or_never().is_some());
    }
}
