//! A small world for random tests: tasks, disks with volatile caches, and power cuts.
//!
//! Everything that could go more than one way is drawn from one seed: which ready task runs, which
//! request completes, whether it fails, what a power cut leaves. It is meant to be simple enough to
//! be believed; it shares nothing with the simulator.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
#[expect(clippy::disallowed_types, reason = "the tests' executor")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use plugpull_engine::runtime::BoxTask;
use plugpull_engine::{
    Disk, DiskError, DiskErrorKind, DiskProperties, IoFuture, Runtime, WriteFlags,
};

use crate::cell::Cell;

/// A stream of numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Cell<State>>,
}

struct State {
    numbers: Numbers,
    now: Duration,
    tasks: Vec<Option<Task>>,
    disks: Vec<DiskState>,
    pending: Vec<Pending>,
    timers: Vec<(Duration, Arc<Cell<Slot<()>>>)>,
    events: BTreeMap<&'static str, u64>,
    /// One request in this many fails; 0 for none.
    fail_one_in: u64,
    completions: u64,
}

struct Task {
    future: BoxTask,
    ready: Arc<Ready>,
}

#[expect(clippy::disallowed_types, reason = "the tests' executor")]
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Where a completion arrives.
struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    fn new() -> Arc<Cell<Self>> {
        Arc::new(Cell::new(Self { value: None, waker: None }))
    }
}

struct Arrival<T>(Arc<Cell<Slot<T>>>);

impl<T> Future for Arrival<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.0.with(|slot| match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        })
    }
}

fn arrive<T>(slot: &Cell<Slot<T>>, value: T) {
    let waker = slot.with(|slot| {
        slot.value = Some(value);
        slot.waker.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

type Answer = Result<Vec<u8>, DiskError>;

struct Pending {
    disk: usize,
    op: Op,
    slot: Arc<Cell<Slot<Answer>>>,
}

enum Op {
    Read { offset: u64, len: usize },
    Write { id: u64 },
    Flush { covers: Vec<u64>, len: u64 },
    Resize { len: u64 },
}

#[derive(Clone)]
struct Written {
    id: u64,
    offset: u64,
    data: Vec<u8>,
    /// Out of reach of any flush, after one failed.
    lost: bool,
    /// Its place in the order of completion, 0 while in flight.
    completion: u64,
}

struct DiskState {
    properties: DiskProperties,
    visible: Vec<u8>,
    durable: Vec<u8>,
    /// Writes that no flush has covered, in order of completion; those in flight at the end.
    uncovered: Vec<Written>,
    /// What a power cut leaves at least of the length; `durable` may hold more.
    durable_len: u64,
    /// What the next flush makes durable of the length: lengths from before a failed flush are out
    /// of reach, like writes.
    reachable_len: u64,
    /// Lengths that a power cut may leave, besides the durable one.
    lens: Vec<u64>,
    next_id: u64,
    completions: u64,
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap();
    if bytes.len() < start + data.len() {
        bytes.resize(start + data.len(), 0);
    }
    bytes[start..start + data.len()].copy_from_slice(data);
}

/// The sectors of `write` that no write of `later` has written after it.
fn trim(write: Written, later: &[Written]) -> Vec<Written> {
    if !write.lost {
        return vec![write];
    }
    let sectors = write.data.chunks(512).enumerate().map(|(n, sector)| Written {
        offset: write.offset + 512 * n as u64,
        data: sector.to_vec(),
        ..write
    });
    let stays = |sector: &Written| {
        !later.iter().any(|new| {
            let end = new.offset + new.data.len() as u64;
            new.completion > sector.completion && (new.offset..end).contains(&sector.offset)
        })
    };
    sectors.filter(stays).collect()
}

impl DiskState {
    fn complete_write(&mut self, id: u64) {
        let at = self.uncovered.iter().position(|write| write.id == id).unwrap();
        let mut write = self.uncovered.remove(at);
        self.completions += 1;
        write.completion = self.completions;
        put(&mut self.visible, write.offset, &write.data);
        let at = self.uncovered.iter().take_while(|write| write.completion > 0).count();
        self.uncovered.insert(at, write);
    }

    /// A failed write changes any of its sectors, now or at the power cut.
    fn fail_write(&mut self, id: u64, numbers: &mut Numbers) {
        let at = self.uncovered.iter().position(|write| write.id == id).unwrap();
        let write = self.uncovered.remove(at);
        for (n, sector) in write.data.chunks(512).enumerate() {
            if numbers.one_in(2) {
                self.next_id += 1;
                let id = self.next_id;
                let offset = write.offset + 512 * n as u64;
                let part = Written { id, offset, data: sector.to_vec(), ..write.clone() };
                self.uncovered.push(part);
                self.complete_write(id);
            }
        }
    }

    fn complete_flush(&mut self, covers: &[u64], len: u64) {
        let (covered, rest): (Vec<Written>, Vec<Written>) = std::mem::take(&mut self.uncovered)
            .into_iter()
            .partition(|write| covers.contains(&write.id) && !write.lost);
        // Older content that is out of reach of flushes cannot come back over newer.
        self.uncovered = rest.into_iter().flat_map(|write| trim(write, &covered)).collect();
        self.durable_len = self.durable_len.max(len);
        self.lens.retain(|&uncovered| uncovered > len);
        for write in covered {
            put(&mut self.durable, write.offset, &write.data);
        }
    }

    fn fail_flush(&mut self, covers: &[u64]) {
        for write in &mut self.uncovered {
            write.lost |= covers.contains(&write.id);
        }
        self.reachable_len = self.durable_len;
    }

    /// What a power cut leaves: of each sector the durable content or any later one.
    fn cut_power(&self, numbers: &mut Numbers) -> Vec<u8> {
        let mut left = self.durable.clone();
        for write in &self.uncovered {
            for (n, sector) in write.data.chunks(512).enumerate() {
                if numbers.one_in(2) {
                    put(&mut left, write.offset + 512 * n as u64, sector);
                }
            }
        }
        let mut lens = self.lens.clone();
        lens.push(self.durable_len);
        left.resize(usize::try_from(lens[numbers.index(lens.len())]).unwrap(), 0);
        left
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Cell::new(State {
                numbers: Numbers(seed),
                now: Duration::ZERO,
                tasks: Vec::new(),
                disks: Vec::new(),
                pending: Vec::new(),
                timers: Vec::new(),
                events: BTreeMap::new(),
                fail_one_in: 0,
                completions: 0,
            })),
        }
    }

    pub(crate) fn fail_one_in(&self, n: u64) {
        self.state.with(|state| state.fail_one_in = n);
    }

    pub(crate) fn add_disk(&self, bytes: Vec<u8>, zero_init: bool) -> Arc<dyn Disk> {
        let disk = self.state.with(|state| {
            state.disks.push(DiskState {
                properties: DiskProperties {
                    sector_len: 512,
                    resizable: true,
                    zero_init,
                    writable: true,
                },
                durable_len: bytes.len() as u64,
                reachable_len: bytes.len() as u64,
                visible: bytes.clone(),
                durable: bytes,
                uncovered: Vec::new(),
                lens: Vec::new(),
                next_id: 0,
                completions: 0,
            });
            state.disks.len() - 1
        });
        Arc::new(WorldDisk { world: self.clone(), disk })
    }

    pub(crate) fn visible(&self, disk: usize) -> Vec<u8> {
        self.state.with(|state| state.disks[disk].visible.clone())
    }

    /// What every disk holds after a power cut now.
    pub(crate) fn cut_power(&self) -> Vec<Vec<u8>> {
        self.state.with(|state| {
            let State { disks, numbers, .. } = state;
            disks.iter().map(|disk| disk.cut_power(numbers)).collect()
        })
    }

    pub(crate) fn events(&self) -> BTreeMap<&'static str, u64> {
        self.state.with(|state| state.events.clone())
    }

    pub(crate) fn number(&self, below: u64) -> u64 {
        self.state.with(|state| state.numbers.below(below))
    }

    pub(crate) fn completions(&self) -> u64 {
        self.state.with(|state| state.completions)
    }

    /// Runs `main` and everything it spawns.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        cut_after: Option<u64>,
        main: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let result = Arc::new(Cell::new(None));
        let place = Arc::clone(&result);
        self.spawn(
            "main",
            Box::pin(async move {
                let value = main.await;
                place.with(|place| *place = Some(value));
            }),
        );
        let limit = cut_after.map(|count| self.completions() + count);
        loop {
            if let Some(value) = result.with(Option::take) {
                return Some(value);
            }
            if limit.is_some_and(|limit| self.completions() >= limit) {
                return None;
            }
            self.step();
        }
    }

    /// Runs background tasks until nothing is left to do.
    pub(crate) fn settle(&self) {
        while self.state.with(|state| state.tasks.iter().any(Option::is_some)) {
            self.step();
        }
    }

    fn step(&self) {
        // Sometimes time flies.
        if self.number(32) == 0 && self.fire_a_timer() {
            return;
        }
        if self.poll_a_task() || self.complete_a_request() || self.fire_a_timer() {
            return;
        }
        panic!("hang: tasks wait for nothing");
    }

    fn poll_a_task(&self) -> bool {
        let taken = self.state.with(|state| {
            let ready: Vec<usize> = (0..state.tasks.len())
                .filter(|&at| {
                    let task = state.tasks[at].as_ref();
                    task.is_some_and(|task| task.ready.0.load(Ordering::Relaxed))
                })
                .collect();
            // Sometimes a completion overtakes the tasks.
            if ready.is_empty() || (!state.pending.is_empty() && state.numbers.one_in(4)) {
                return None;
            }
            let at = ready[state.numbers.index(ready.len())];
            Some((at, state.tasks[at].take().unwrap()))
        });
        let Some((at, mut task)) = taken else { return false };
        task.ready.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.ready));
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.state.with(|state| state.tasks[at] = Some(task));
        }
        true
    }

    fn complete_a_request(&self) -> bool {
        let done = self.state.with(|state| {
            if state.pending.is_empty() {
                return None;
            }
            let at = state.numbers.index(state.pending.len());
            let Pending { disk, op, slot } = state.pending.remove(at);
            state.completions += 1;
            state.now += Duration::from_millis(1);
            let fails = state.fail_one_in > 0 && state.numbers.one_in(state.fail_one_in);
            let State { disks, numbers, .. } = state;
            Some((slot, perform(&mut disks[disk], op, fails, numbers)))
        });
        let Some((slot, answer)) = done else { return false };
        arrive(&slot, answer);
        true
    }

    fn fire_a_timer(&self) -> bool {
        let slot = self.state.with(|state| {
            let first = (0..state.timers.len()).min_by_key(|&at| state.timers[at].0)?;
            let (time, slot) = state.timers.remove(first);
            state.now = state.now.max(time);
            Some(slot)
        });
        let Some(slot) = slot else { return false };
        arrive(&slot, ());
        true
    }

    fn submit(&self, disk: usize, op: Op) -> Arrival<Answer> {
        let slot = Slot::new();
        let pending = Pending { disk, op, slot: Arc::clone(&slot) };
        self.state.with(|state| state.pending.push(pending));
        Arrival(slot)
    }
}

fn perform(disk: &mut DiskState, op: Op, fails: bool, numbers: &mut Numbers) -> Answer {
    match (&op, fails) {
        (Op::Read { offset, len }, false) => {
            let end = (*offset + *len as u64).min(disk.visible.len() as u64);
            let start = usize::try_from((*offset).min(end)).unwrap();
            let mut bytes = disk.visible[start..usize::try_from(end).unwrap()].to_vec();
            bytes.resize(*len, 0);
            return Ok(bytes);
        }
        (Op::Write { id }, false) => disk.complete_write(*id),
        (Op::Write { id }, true) => disk.fail_write(*id, numbers),
        (Op::Flush { covers, len }, false) => disk.complete_flush(covers, *len),
        (Op::Flush { covers, .. }, true) => disk.fail_flush(covers),
        (Op::Resize { len }, false) => {
            disk.visible.resize(usize::try_from(*len).unwrap(), 0);
            disk.lens.push(*len);
            disk.reachable_len = *len;
        }
        (Op::Read { .. } | Op::Resize { .. }, true) => {}
    }
    if fails { Err(DiskError::new(DiskErrorKind::Io, "drawn")) } else { Ok(Vec::new()) }
}

impl Runtime for World {
    fn spawn(&self, _name: &'static str, future: BoxTask) {
        #[expect(clippy::disallowed_types, reason = "the tests' executor")]
        let ready = Arc::new(Ready(AtomicBool::new(true)));
        self.state.with(|state| state.tasks.push(Some(Task { future, ready })));
    }

    fn now(&self) -> Duration {
        self.state.with(|state| state.now)
    }

    fn sleep(&self, duration: Duration) -> BoxTask {
        let slot = Slot::new();
        self.state.with(|state| state.timers.push((state.now + duration, Arc::clone(&slot))));
        Box::pin(Arrival(slot))
    }

    fn coin(&self, _label: &'static str) -> bool {
        self.number(2) == 0
    }

    fn event(&self, event: &'static str) {
        self.state.with(|state| *state.events.entry(event).or_default() += 1);
    }
}

struct WorldDisk {
    world: World,
    disk: usize,
}

impl WorldDisk {
    fn with<R>(&self, change: impl FnOnce(&mut DiskState) -> R) -> R {
        self.world.state.with(|state| change(&mut state.disks[self.disk]))
    }

    fn unit(&self, op: Op) -> IoFuture<()> {
        let arrival = self.world.submit(self.disk, op);
        Box::pin(async move { arrival.await.map(drop) })
    }
}

impl Disk for WorldDisk {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        Box::pin(self.world.submit(self.disk, Op::Read { offset, len }))
    }

    fn write(&self, offset: u64, data: Vec<u8>, _flags: WriteFlags) -> IoFuture<()> {
        assert_eq!((offset % 512, data.len() % 512), (0, 0), "whole sectors");
        assert!(!data.is_empty(), "an empty write");
        assert!(offset + data.len() as u64 <= self.len(), "a write past the end");
        let id = self.with(|disk| {
            disk.next_id += 1;
            let id = disk.next_id;
            disk.uncovered.push(Written { id, offset, data, lost: false, completion: 0 });
            id
        });
        self.unit(Op::Write { id })
    }

    fn flush(&self) -> IoFuture<()> {
        let (covers, len) = self.with(|disk| {
            let completed = disk.uncovered.iter().filter(|write| write.completion > 0);
            (completed.map(|write| write.id).collect(), disk.reachable_len)
        });
        self.unit(Op::Flush { covers, len })
    }

    fn discard(&self, _offset: u64, _len: u64) -> IoFuture<()> {
        panic!("nothing discards");
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        self.unit(Op::Resize { len })
    }

    fn len(&self) -> u64 {
        self.with(|disk| disk.visible.len() as u64)
    }

    fn properties(&self) -> DiskProperties {
        self.with(|disk| disk.properties)
    }
}
