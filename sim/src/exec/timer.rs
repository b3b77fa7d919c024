//! Sleeping on the virtual clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use plugpull_engine::sync::Access;

use super::access::Object;
use super::identity::TaskId;
use super::label::Label;
use super::state::Core;
use super::tracking::fold;

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
    /// The step in which it was started.
    since: Option<usize>,
    waker: Option<Waker>,
    /// The task that waits for it.
    waiter: u64,
}

impl Timers {
    /// Starts a timer and says which one it is; none if there is nothing to wait for.
    fn start(
        &mut self,
        task: TaskId,
        number: u32,
        since: Option<usize>,
        duration: Duration,
    ) -> Option<u64> {
        if duration.is_zero() {
            return None;
        }
        self.started += 1;
        let deadline = self.now.saturating_add(duration);
        let (serial, waker, waiter) = (self.started, None, 0);
        self.pending.push(Timer { serial, task, number, deadline, since, waker, waiter });
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

    /// The step in which the timer at `place` was started, and what it is to dependence.
    pub(super) fn origin(&self, place: usize) -> (Option<usize>, Object) {
        let timer = &self.pending[place];
        (timer.since, Object::Timer(timer.task.key(), timer.number))
    }

    /// Identifies the clock and the timers that wait for it.
    pub(super) fn key(&self) -> u128 {
        let timers = self.pending.iter().map(|timer| {
            let object = Object::Timer(timer.task.key(), timer.number).name();
            fold(timer.deadline.as_nanos(), object, u128::from(timer.waiter))
        });
        timers.fold(fold(4, 0, self.now.as_nanos()), u128::wrapping_add)
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
    object: Object,
}

impl Sleep {
    pub(super) fn new(core: &Arc<Core>, duration: Duration) -> Self {
        let (serial, object) = core.with(|state| {
            let (task, number) = state.next_sleep();
            let since = state.last_step();
            let serial = state.timers.start(task, number, since, duration);
            (serial, Object::Timer(task.key(), number))
        });
        Self { core: Arc::clone(core), serial, object }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(serial) = self.serial else { return Poll::Ready(()) };
        let waker = context.waker().clone();
        let (result, _unused) = self.core.with(|state| {
            let task = state.current_id().map_or(0, |task| task.key());
            let object = self.object.name();
            state.tracking.touch(self.object.whole(Access::Read));
            match state.timers.place(serial) {
                // It fired, or the world is being dropped.
                None => {
                    state.learn(object, 1);
                    (Poll::Ready(()), Some(waker))
                }
                Some(place) => {
                    state.wait(object);
                    let timer = &mut state.timers.pending[place];
                    timer.waiter = task;
                    (Poll::Pending, timer.waker.replace(waker))
                }
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
            state.tracking.touch(self.object.whole(Access::Write));
            state.timers.pending.remove(place).waker
        });
    }
}
