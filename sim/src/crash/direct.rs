//! Disks that answer as soon as somebody waits, for code that runs alone: recovery after a power
//! cut, the queries that follow, and later sessions of one client.
//!
//! There is one schedule only, the first-in first-out one: requests are in flight from their
//! submission until their future is polled, and then all requests before them complete first. So
//! a flush submitted beside a write does not cover it. Coins come up true and no disk fails. No
//! scheduler is needed: a future that awaits its requests one by one runs to its end in one poll.
//! What the disks hold need not be decided ([`LazyDisks`]); the moments at which recovery can be cut
//! in turn are noted there.
//!
//! Every run has a bound on disk requests ([`REQUESTS_MAX`]); code that reaches it is not
//! answered any more, and the run ends as [`Stuck`]. So does one that is polled again and again
//! ([`TURNS_MAX`]), because it wakes itself or lets virtual time pass. Code that never waits is not
//! ended by anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use plugpull_engine::runtime::BoxTask;
use plugpull_engine::{Disk, DiskProperties, IoFuture, Runtime, WriteFlags};

use crate::crash::lazy::{CrashPoint, LazyDisks};
use crate::crash::path::Path;
use crate::disk::{CrashSpace, Image, Op, Reply, RequestId};
use crate::exec::{Cell, TaskId};

/// Disk requests that one run may make before it counts as endless.
pub const REQUESTS_MAX: u32 = 1_000_000;

/// Polls of everything, in one run, after which it counts as endless. Disk requests need none of
/// their own.
pub const TURNS_MAX: u32 = 1_000_000;

/// Why a run did not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// A sentence for the report.
    pub reason: String,
}

/// A set of disks that answer at once, and the runtime of the code that uses them.
#[derive(Clone)]
pub struct DirectWorld {
    state: Arc<Cell<State>>,
}

struct State {
    disks: LazyDisks,
    task: TaskId,
    requests: u32,
    /// The last request of the present run that is answered.
    requests_end: u32,
    in_flight: VecDeque<InFlight>,
    /// Replies of requests that were completed before anybody asked for them.
    replies: BTreeMap<u32, Reply>,
    events: BTreeSet<&'static str>,
    spawned: Vec<BoxTask>,
    now: Duration,
    deadlines: BTreeSet<Duration>,
}

/// A request that was submitted and not completed.
struct InFlight {
    index: usize,
    number: u32,
}

impl DirectWorld {
    /// A world with these disks.
    #[must_use]
    pub fn new(disks: LazyDisks) -> Self {
        let state = State {
            disks,
            task: TaskId::harness(),
            requests: 0,
            requests_end: REQUESTS_MAX,
            in_flight: VecDeque::new(),
            replies: BTreeMap::new(),
            events: BTreeSet::new(),
            spawned: Vec::new(),
            now: Duration::ZERO,
            deadlines: BTreeSet::new(),
        };
        Self { state: Arc::new(Cell::new(state)) }
    }

    /// Handles of the disks, in order.
    #[must_use]
    pub fn disks(&self) -> Vec<Arc<dyn Disk>> {
        let count = self.state.with(|state| state.disks.count());
        (0..count)
            .map(|index| Arc::new(DirectDisk { world: self.handle(), index }) as Arc<dyn Disk>)
            .collect()
    }

    /// The runtime for code on these disks.
    #[must_use]
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(DirectRuntime { world: self.handle() })
    }

    /// Uses the disks between two runs.
    pub fn with_disks<R>(&self, used: impl FnOnce(&mut LazyDisks) -> R) -> R {
        self.state.with(|state| used(&mut state.disks))
    }

    /// Crash points noted from now on carry this number.
    pub fn set_phase(&self, phase: usize) {
        self.with_disks(|disks| disks.set_phase(phase));
    }

    /// The crash points noted so far, in order.
    #[must_use]
    pub fn take_points(&self) -> Vec<CrashPoint> {
        self.with_disks(LazyDisks::take_points)
    }

    /// The present moment as a crash point.
    ///
    /// # Panics
    /// If the world is not watched.
    #[must_use]
    pub fn point(&self) -> CrashPoint {
        self.with_disks(|disks| disks.point())
    }

    /// What reads of each disk see now, as far as it is decided.
    #[must_use]
    pub fn visible(&self) -> Vec<Image> {
        self.with_disks(|disks| {
            (0..disks.count()).map(|index| disks.disk(index).visible().clone()).collect()
        })
    }

    /// Completes every request in flight. Nobody waits for one when a run has ended, so that what
    /// follows, and may be tried in several ways, does not depend on when they end.
    pub fn settle(&self) {
        self.state.with(|state| {
            if let Some(last) = state.in_flight.back().map(|last| last.number) {
                let reply = state.complete_until(last);
                state.replies.insert(last, reply);
            }
        });
    }

    /// What was answered so far.
    #[must_use]
    pub fn path(&self) -> Path {
        self.with_disks(|disks| disks.path.clone())
    }

    /// The named events reported so far.
    #[must_use]
    pub fn events(&self) -> BTreeSet<&'static str> {
        self.state.with(|state| state.events.clone())
    }

    /// Whether any disk was changed.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.with_disks(|disks| disks.changed_anything())
    }

    fn handle(&self) -> Handle {
        Handle { state: Arc::downgrade(&self.state) }
    }

    /// Runs `future` to its end, and the tasks of the world as far as they get meanwhile. Tasks
    /// that have not ended go on in the next run.
    ///
    /// # Errors
    /// If it waits for something that nobody will bring.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Stuck> {
        let mut future = std::pin::pin!(future);
        let flag = Arc::new(WokenFlag(AtomicBool::new(true)));
        let waker = Waker::from(flag.clone());
        let mut context = Context::from_waker(&waker);
        let mut value = None;
        self.state.with(State::begin_run);
        for _ in 0..TURNS_MAX {
            flag.0.store(false, Ordering::Relaxed);
            if value.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(&mut context)
            {
                value = Some(ready);
            }
            let more = self.poll_tasks(&mut context);
            if flag.0.load(Ordering::Relaxed) || more {
                continue;
            }
            if let Some(value) = value {
                return Ok(value);
            }
            if !self.advance_clock() {
                return Err(self.stuck());
            }
        }
        Err(Stuck { reason: format!("no end after {TURNS_MAX} turns") })
    }

    /// Lets every task run once; whether that spawned more.
    fn poll_tasks(&self, context: &mut Context<'_>) -> bool {
        let mut tasks = self.state.with(|state| std::mem::take(&mut state.spawned));
        tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
        self.state.with(|state| {
            let more = !state.spawned.is_empty();
            tasks.append(&mut state.spawned);
            state.spawned = tasks;
            more
        })
    }

    /// Moves the clock to the next deadline; false if there is none.
    fn advance_clock(&self) -> bool {
        self.state.with(|state| match state.deadlines.pop_first() {
            Some(deadline) => {
                state.now = state.now.max(deadline);
                true
            }
            None => false,
        })
    }

    fn stuck(&self) -> Stuck {
        let reason = if self.state.with(|state| state.requests > state.requests_end) {
            format!("no end after {REQUESTS_MAX} disk requests")
        } else {
            "waits for something, with nothing in flight and nothing left to run".to_owned()
        };
        Stuck { reason }
    }
}

impl State {
    /// Every query has a bound of its own: there may be very many of them on one recovered device.
    fn begin_run(&mut self) {
        self.requests_end = self.requests.saturating_add(REQUESTS_MAX);
    }

    /// Submits a request; its number, or none once the bound is reached.
    fn submit(&mut self, index: usize, op: Op) -> Option<u32> {
        self.requests += 1;
        if self.requests > self.requests_end {
            return None;
        }
        let number = self.requests;
        self.disks.submit(index, RequestId::of(self.task, number), op);
        self.in_flight.push_back(InFlight { index, number });
        Some(number)
    }

    /// Completes requests in the order of their submission until `number` is; its reply.
    fn complete_until(&mut self, number: u32) -> Reply {
        if let Some(reply) = self.replies.remove(&number) {
            return reply;
        }
        loop {
            let next = self.in_flight.pop_front().expect("the request is in flight");
            let id = RequestId::of(self.task, next.number);
            let reply = self.disks.complete(next.index, id);
            if next.number == number {
                return reply;
            }
            self.replies.insert(next.number, reply);
        }
    }
}

/// One key for the crash spaces of all disks.
#[must_use]
pub fn combined_key(spaces: &[CrashSpace]) -> u128 {
    let keys = spaces.iter().map(CrashSpace::key);
    keys.fold(0, |all: u128, key| all.rotate_left(41).wrapping_add(key))
}

struct WokenFlag(AtomicBool);

impl Wake for WokenFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What code in the world holds of it. Tasks live in the world, so what they hold must not keep it
/// alive.
#[derive(Clone)]
struct Handle {
    state: Weak<Cell<State>>,
}

impl Handle {
    /// Uses the world, if it is still there: destructors may run after it.
    fn with<R>(&self, used: impl FnOnce(&mut State) -> R) -> Option<R> {
        self.state.upgrade().map(|state| state.with(used))
    }
}

struct DirectDisk {
    world: Handle,
    index: usize,
}

/// A request in flight. Whoever waits for it lets all requests before it complete first.
struct Pending {
    world: Handle,
    number: Option<u32>,
}

impl Future for Pending {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Reply> {
        let reply =
            self.number.and_then(|number| self.world.with(|state| state.complete_until(number)));
        reply.map_or(Poll::Pending, Poll::Ready)
    }
}

impl DirectDisk {
    fn request(&self, op: Op) -> Pending {
        let number = self.world.with(|state| state.submit(self.index, op)).flatten();
        Pending { world: self.world.clone(), number }
    }

    fn request_unit(&self, op: Op) -> IoFuture<()> {
        let request = self.request(op);
        Box::pin(async move { request.await.map(drop) })
    }

    fn look<R>(&self, look: impl FnOnce(&mut LazyDisks) -> R) -> R {
        let seen = self.world.with(|state| look(&mut state.disks));
        seen.expect("a disk is used while its world is there")
    }
}

impl Disk for DirectDisk {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        Box::pin(self.request(Op::Read { offset, len }))
    }

    fn write(&self, offset: u64, data: Vec<u8>, flags: WriteFlags) -> IoFuture<()> {
        self.request_unit(Op::Write { offset, data: data.into(), flags })
    }

    fn flush(&self) -> IoFuture<()> {
        self.request_unit(Op::Flush)
    }

    fn discard(&self, offset: u64, len: u64) -> IoFuture<()> {
        self.request_unit(Op::Discard { offset, len })
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        self.request_unit(Op::Resize { len })
    }

    fn len(&self) -> u64 {
        self.look(|disks| disks.len_of(self.index))
    }

    fn properties(&self) -> DiskProperties {
        self.look(|disks| disks.disk(self.index).spec().properties())
    }
}

struct DirectRuntime {
    world: Handle,
}

impl Runtime for DirectRuntime {
    fn spawn(&self, _name: &'static str, task: BoxTask) {
        // Without a world there is nobody to run it.
        self.world.with(|state| state.spawned.push(task));
    }

    fn now(&self) -> Duration {
        self.world.with(|state| state.now).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxTask {
        let deadline = self.now() + duration;
        Box::pin(Sleep { world: self.world.clone(), deadline })
    }

    fn coin(&self, _label: &'static str) -> bool {
        true
    }

    fn event(&self, event: &'static str) {
        self.world.with(|state| state.events.insert(event));
    }
}

struct Sleep {
    world: Handle,
    deadline: Duration,
}

impl Future for Sleep {
    type Output = ();

    /// Polled again after every move of the clock, because a run polls everything.
    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        let over = self.world.with(|state| {
            let over = state.now >= self.deadline;
            if !over {
                state.deadlines.insert(self.deadline);
            }
            over
        });
        if over == Some(true) { Poll::Ready(()) } else { Poll::Pending }
    }
}
