//! The runtime of real life: one thread, the host's clock.
//!
//! Nothing here is random or parallel: tasks run when they are woken, in the order in which they
//! were, on the thread that calls [`LocalRuntime::block_on`]. Background tasks make progress only
//! inside [`LocalRuntime::block_on`] and [`LocalRuntime::drain`].

#[expect(clippy::disallowed_types, reason = "the executor core: this is the wall clock")]
use std::time::Instant;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
#[expect(clippy::disallowed_types, reason = "the executor core")]
use std::sync::Mutex;
#[expect(clippy::disallowed_types, reason = "the executor core")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::{BoxTask, Runtime};

/// A single-threaded executor that is also its tasks' [`Runtime`]. Clones are handles to one.
#[derive(Clone)]
pub struct LocalRuntime {
    shared: Arc<Shared>,
}

#[expect(clippy::disallowed_types, reason = "the executor core")]
struct Shared {
    start: Instant,
    /// Held while background tasks are polled, so a second `block_on` inside the first is caught.
    tasks: Mutex<FuturesUnordered<BoxTask>>,
    /// Held for a moment at a time, never while something is polled or woken.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    spawned: Vec<BoxTask>,
    /// Sleepers by deadline and order of arrival.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    sleepers_count: u64,
    coin: u64,
    events: BTreeMap<&'static str, u64>,
}

impl LocalRuntime {
    /// A runtime without tasks whose coin follows from `seed`.
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "the executor core: this is the wall clock")]
    pub fn new(seed: u64) -> Self {
        let state = State { coin: seed, ..State::default() };
        let shared = Shared {
            start: Instant::now(),
            tasks: Mutex::new(FuturesUnordered::new()),
            state: Mutex::new(state),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs `future` to its end, and background tasks whenever it waits.
    ///
    /// Background tasks that have not ended stay, and go on in the next call. A future that
    /// nothing will wake blocks for ever.
    ///
    /// # Panics
    /// If called from a future that this runtime runs.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        self.run(|context, _idle| match future.as_mut().poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    }

    /// Runs background tasks until none is left.
    ///
    /// # Panics
    /// If called from a future that this runtime runs.
    pub fn drain(&self) {
        self.run(|_context, idle| idle.then_some(()));
    }

    /// How often each event was reported.
    #[must_use]
    pub fn events(&self) -> BTreeMap<&'static str, u64> {
        self.with_state(|state| state.events.clone())
    }

    /// Turns the wheel until `done`, which also learns whether no background task is left.
    fn run<T>(&self, mut done: impl FnMut(&mut Context<'_>, bool) -> Option<T>) -> T {
        let mut tasks =
            self.shared.tasks.try_lock().expect("block_on was called inside a future it runs");
        let alarm = Arc::new(Alarm::new());
        let waker = Waker::from(Arc::clone(&alarm));
        let mut context = Context::from_waker(&waker);
        loop {
            let spawned = self.with_state(|state| std::mem::take(&mut state.spawned));
            tasks.extend(spawned);
            if let Some(value) = done(&mut context, tasks.is_empty()) {
                return value;
            }
            let mut ended = false;
            while let Poll::Ready(Some(())) = tasks.poll_next_unpin(&mut context) {
                ended = true;
            }
            self.wake_sleepers();
            // The end of a task rings no bell, yet `done` may have waited for it.
            if !ended && self.with_state(|state| state.spawned.is_empty()) {
                alarm.wait(self.next_deadline().map(|at| at.saturating_sub(self.now())));
            }
        }
    }

    fn wake_sleepers(&self) {
        let now = self.now();
        let due = self.with_state(|state| {
            let later = state.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.sleepers, later)
        });
        due.into_values().for_each(Waker::wake);
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.with_state(|state| state.sleepers.first_key_value().map(|((at, _), _)| *at))
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.shared.state.lock().expect("nothing panics while it holds the state"))
    }
}

impl Runtime for LocalRuntime {
    fn spawn(&self, _name: &'static str, task: BoxTask) {
        self.with_state(|state| state.spawned.push(task));
    }

    fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    #[expect(clippy::disallowed_types, reason = "the date, to be written down")]
    fn date(&self) -> Duration {
        let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        // A clock that is set to before 1970 knows nothing.
        since.unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxTask {
        let deadline = self.now().saturating_add(duration);
        Box::pin(Sleep { runtime: self.clone(), deadline, registered: None })
    }

    /// A bit of SplitMix64.
    fn coin(&self, _label: &'static str) -> bool {
        self.with_state(|state| {
            state.coin = state.coin.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state.coin ^ state.coin >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            (mixed ^ mixed >> 31) & 1 == 1
        })
    }

    fn event(&self, event: &'static str) {
        self.with_state(|state| *state.events.entry(event).or_default() += 1);
    }
}

/// Waits for a deadline. Registers itself when polled and leaves when dropped.
struct Sleep {
    runtime: LocalRuntime,
    deadline: Duration,
    registered: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.runtime.now() >= self.deadline {
            return Poll::Ready(());
        }
        let (deadline, registered) = (self.deadline, self.registered);
        let waker = context.waker().clone();
        let key = self.runtime.with_state(|state| {
            let key = registered.unwrap_or_else(|| {
                state.sleepers_count += 1;
                (deadline, state.sleepers_count)
            });
            state.sleepers.insert(key, waker);
            key
        });
        self.registered = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.registered {
            let waker = self.runtime.with_state(|state| state.sleepers.remove(&key));
            drop(waker);
        }
    }
}

/// Wakes the thread of the executor.
struct Alarm {
    thread: Thread,
    #[expect(clippy::disallowed_types, reason = "the executor core")]
    ringing: AtomicBool,
}

impl Alarm {
    #[expect(clippy::disallowed_types, reason = "the executor core")]
    fn new() -> Self {
        Self { thread: std::thread::current(), ringing: AtomicBool::new(false) }
    }

    /// Returns when the alarm has rung since the last call, or the time is over.
    fn wait(&self, time: Option<Duration>) {
        while !self.ringing.swap(false, Ordering::Acquire) {
            match time {
                Some(time) => return std::thread::park_timeout(time),
                None => std::thread::park(),
            }
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ringing.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "the tests' side of the executor")]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// Waits until `count` is at least `wanted`, by being polled again and again.
    fn reached(count: &Arc<AtomicU32>, wanted: u32) -> impl Future<Output = ()> + use<> {
        let count = Arc::clone(count);
        std::future::poll_fn(move |context| {
            if count.load(Ordering::Relaxed) >= wanted {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn add_after(runtime: &LocalRuntime, sleep: Duration, count: &Arc<AtomicU32>) -> BoxTask {
        let (sleep, count) = (runtime.sleep(sleep), Arc::clone(count));
        Box::pin(async move {
            sleep.await;
            count.fetch_add(1, Ordering::Relaxed);
        })
    }

    #[test]
    fn block_on_runs_the_tasks_it_waits_for() {
        let runtime = LocalRuntime::new(1);
        let count = Arc::new(AtomicU32::new(0));
        for _ in 0..3 {
            runtime.spawn("add", add_after(&runtime, Duration::ZERO, &count));
        }
        runtime.block_on(reached(&count, 3));
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn drain_runs_tasks_that_spawn_tasks() {
        let runtime = LocalRuntime::new(1);
        let count = Arc::new(AtomicU32::new(0));
        let (inner, add) = (runtime.clone(), Arc::clone(&count));
        runtime.spawn(
            "outer",
            Box::pin(async move {
                inner.sleep(Duration::from_micros(50)).await;
                inner.spawn("inner", add_after(&inner, Duration::from_micros(50), &add));
            }),
        );
        runtime.block_on(async {});
        assert_eq!(count.load(Ordering::Relaxed), 0);
        runtime.drain();
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn sleepers_wake_in_order_of_their_deadlines() {
        let runtime = LocalRuntime::new(1);
        let order = Arc::new(AtomicU32::new(0));
        for (micros, digit) in [(900, 3), (300, 1), (600, 2)] {
            let (sleep, order) = (runtime.sleep(Duration::from_micros(micros)), order.clone());
            runtime.spawn(
                "sleeper",
                Box::pin(async move {
                    sleep.await;
                    let before = order.load(Ordering::Relaxed);
                    order.store(before * 10 + digit, Ordering::Relaxed);
                }),
            );
        }
        runtime.drain();
        assert_eq!(order.load(Ordering::Relaxed), 123);
        assert!(runtime.now() >= Duration::from_micros(900));
    }

    #[test]
    fn a_dropped_sleeper_leaves() {
        let runtime = LocalRuntime::new(1);
        let mut sleep = runtime.sleep(Duration::from_secs(3600));
        runtime.block_on(std::future::poll_fn(|context| {
            assert!(sleep.as_mut().poll(context).is_pending());
            Poll::Ready(())
        }));
        assert!(runtime.next_deadline().is_some());
        drop(sleep);
        assert_eq!(runtime.next_deadline(), None);
    }

    #[test]
    fn the_coin_follows_from_the_seed_and_has_two_sides() {
        let flips = |seed| {
            let runtime = LocalRuntime::new(seed);
            (0..64).map(|_| runtime.coin("test")).collect::<Vec<_>>()
        };
        assert_eq!(flips(5), flips(5));
        assert_ne!(flips(5), flips(6));
        assert!(flips(5).contains(&true) && flips(5).contains(&false));
    }
}
