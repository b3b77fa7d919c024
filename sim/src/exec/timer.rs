//! Sleeping on the virtual clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::identity::TaskId;
use super::label::Label;
use super::state::Core;

/// The clock, and the timers that wait for it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) now: Duration,
    pending: Vec<Timer>,
    /// Timers ever started; says which timer a [`Sleep`] means.
    started: u64,
}

#[derive(Debug)]
struct Timer {
    serial: u64,
    task: TaskId,
    number: u32,
    deadline: Duration,
    waker: Option<Waker>,
}

impl Timers {
    /// Starts a timer and says which one it is; none if there is nothing to wait for.
    fn start(&mut self, task: TaskId, number: u32, duration: Duration) -> Option<u64> {
        if duration.is_zero() {
            return None;
        }
        self.started += 1;
        let deadline = self.now.saturating_add(duration);
        self.pending.push(Timer { serial: self.started, task, number, deadline, waker: None });
        Some(self.started)
    }

    /// The earliest deadline.
    pub(super) fn earliest(&self) -> Option<Duration> {
        self.pending.iter().map(|timer| timer.deadline).min()
    }

    /// The timers with a deadline of `now` or earlier, oldest first.
    pub(super) fn due(&self, now: Duration) -> impl Iterator<Item = (usize, Label)> {
        self.pending
            .iter()
            .enumerate()
            .filter(move |(_, timer)| timer.deadline <= now)
            .map(|(place, timer)| (place, Label::Timer { task: timer.task, number: timer.number }))
    }

    /// Fires the timer at `place`: the clock moves to its deadline.
    pub(super) fn fire(&mut self, place: usize) -> Option<Waker> {
        let timer = self.pending.remove(place);
        assert!(timer.deadline >= self.now, "time moves forward");
        self.now = timer.deadline;
        timer.waker
    }

    /// Forgets all timers and hands out their wakers.
    pub(super) fn clear(&mut self) -> Vec<Option<Waker>> {
        self.pending.drain(..).map(|timer| timer.waker).collect()
    }

    fn place(&self, serial: u64) -> Option<usize> {
        self.pending.iter().position(|timer| timer.serial == serial)
    }
}

/// Ends when its timer has fired. Dropping it stops the timer.
pub(super) struct Sleep {
    core: Arc<Core>,
    serial: Option<u64>,
}

impl Sleep {
    pub(super) fn new(core: &Arc<Core>, duration: Duration) -> Self {
        let serial = core.with(|state| {
            let (task, number) = state.next_sleep();
            state.timers.start(task, number, duration)
        });
        Self { core: Arc::clone(core), serial }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(serial) = self.serial else { return Poll::Ready(()) };
        let waker = context.waker().clone();
        let (result, _unused) = self.core.with(|state| {
            match state.timers.place(serial) {
                // It fired, or the world is being dropped.
                None => (Poll::Ready(()), Some(waker)),
                Some(place) => (Poll::Pending, state.timers.pending[place].waker.replace(waker)),
            }
        });
        result
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(serial) = self.serial else { return };
        let _unused = self.core.with(|state| {
            let place = state.timers.place(serial)?;
            state.timers.pending.remove(place).waker
        });
    }
}
