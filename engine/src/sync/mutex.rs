//! One task at a time.

use std::collections::VecDeque;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::cell::Cell;
use super::track::{Access, Object, Tracker, WHOLE};

/// Part of a lock: who waits for it, in order.
const LINE: Range<u64> = 0..1;
/// Part of a lock: to whom it was handed.
const HANDING_OVER: Range<u64> = 1..2;

/// A lock that is meant to be held across `.await`s.
///
/// It is handed from the holder directly to the next in line, so nobody can slip in between, and
/// nobody starves with [`WakeOrder::FirstComeFirstServed`].
#[derive(Debug)]
pub struct Mutex {
    order: WakeOrder,
    state: Cell<State>,
    object: Object,
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
    holder: Option<Holder>,
    line: VecDeque<Waiter>,
}

/// Who has the lock, or was handed it and has not looked yet.
#[derive(Debug, Clone, Copy)]
struct Holder {
    ticket: u64,
    task: u64,
}

/// Who holds it and who waits, in order, and how many of these the holder has overtaken. Tickets
/// only tell those of one task apart, which knows the order in which it took them.
impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.holder.map(|holder| holder.task).hash(state);
        let overtaken =
            |holder: Holder| self.line.iter().filter(|it| it.ticket < holder.ticket).count();
        self.holder.map(overtaken).hash(state);
        self.line.len().hash(state);
        self.line.iter().for_each(|waiter| waiter.task.hash(state));
    }
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    task: u64,
    waker: Waker,
}

impl Mutex {
    /// A free lock.
    #[must_use]
    pub fn new(tracker: &Tracker, order: WakeOrder) -> Self {
        Self { order, state: Cell::default(), object: Object::new(tracker, "mutex") }
    }

    /// Waits for the lock. The place in the line is taken when the future is first polled.
    pub fn lock(&self) -> Locking<'_> {
        Locking { mutex: self, ticket: None }
    }

    fn release(&self) {
        let next = self.change(WHOLE, |state| {
            let next = match self.order {
                WakeOrder::FirstComeFirstServed => state.line.pop_front(),
                WakeOrder::LastComeFirstServed => state.line.pop_back(),
            };
            let holder = |waiter: &Waiter| Holder { ticket: waiter.ticket, task: waiter.task };
            state.holder = next.as_ref().map(holder);
            next
        });
        if let Some(waiter) = next {
            waiter.waker.wake();
        }
    }

    fn change<R>(&self, part: Range<u64>, change: impl FnOnce(&mut State) -> R) -> R {
        self.object.access(part, Access::Write);
        self.state.with(|state| {
            let result = change(state);
            self.object.holds(state);
            result
        })
    }

    /// Looks whether the lock was handed over. That is up to whoever releases it, not to those who
    /// arrive; only whether somebody was overtaken depends on the line.
    fn ask_again(&self, ticket: u64, waker: &Waker) -> Grant {
        let part = match self.order {
            WakeOrder::FirstComeFirstServed => HANDING_OVER,
            WakeOrder::LastComeFirstServed => WHOLE,
        };
        self.object.access(part, Access::Read);
        self.state.with(|state| state.ask_again(ticket, waker))
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
        let granted = match ticket {
            None => mutex.change(LINE, |state| state.arrive(mutex.object.task(), waker)),
            Some(ticket) => mutex.ask_again(ticket, waker),
        };
        match granted {
            Grant::Held { overtook } => {
                self.ticket = None;
                mutex.object.learned(&overtook);
                Poll::Ready(MutexGuard { mutex, overtook })
            }
            Grant::Waiting { ticket } => {
                self.ticket = Some(ticket);
                mutex.object.waits();
                Poll::Pending
            }
        }
    }
}

impl Drop for Locking<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let handed_to_us = self.mutex.change(WHOLE, |state| {
            state.line.retain(|waiter| waiter.ticket != ticket);
            state.is_held_with(ticket)
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
    fn is_held_with(&self, ticket: u64) -> bool {
        self.holder.is_some_and(|holder| holder.ticket == ticket)
    }

    fn arrive(&mut self, task: u64, waker: &Waker) -> Grant {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if self.holder.is_none() {
            assert!(self.line.is_empty(), "a free lock has waiters");
            self.holder = Some(Holder { ticket, task });
            return Grant::Held { overtook: false };
        }
        self.line.push_back(Waiter { ticket, task, waker: waker.clone() });
        Grant::Waiting { ticket }
    }

    fn ask_again(&mut self, ticket: u64, waker: &Waker) -> Grant {
        if self.is_held_with(ticket) {
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
        let mutex = Mutex::new(&Tracker::none(), WakeOrder::FirstComeFirstServed);
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
        let mutex = Mutex::new(&Tracker::none(), WakeOrder::LastComeFirstServed);
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
        let mutex = Mutex::new(&Tracker::none(), WakeOrder::FirstComeFirstServed);
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
