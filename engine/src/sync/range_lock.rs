//! Locks on byte ranges.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::cell::Cell;
use super::track::{Access, Object, Tracker};
use crate::units::ByteRange;

/// Locks on byte ranges of one space.
///
/// Two requests conflict if their ranges share a byte and at least one of them is exclusive. A
/// request is granted when it conflicts with no **earlier** one, whether that one holds its lock or
/// still waits for it: first come first served, nobody starves, and since nobody takes a second
/// range while holding one, nobody deadlocks.
///
/// Cost: a list, scanned once per request and once per release. It holds the requests in flight.
#[derive(Debug, Clone)]
pub struct RangeLock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Cell<State>,
    object: Object,
}

/// Whether a lock on a range admits others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// Together with other shared locks.
    Shared,
    /// Alone.
    Exclusive,
}

/// Names one request, also before it was made. Only ever compared for equality, so that it does not
/// matter in which order names were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockKey(u64);

/// A part of the object and what was done with it.
type Accessed = (Range<u64>, Access);

#[derive(Debug, Default)]
struct State {
    next_key: u64,
    /// In order of arrival.
    requests: Vec<Request>,
}

#[derive(Debug)]
struct Request {
    key: LockKey,
    range: ByteRange,
    mode: LockMode,
    granted: bool,
    task: u64,
    waker: Option<Waker>,
}

impl Request {
    /// What making or ending the request does to its range. Shared ones that are together commute;
    /// where one of them waits it matters which came first, should it become exclusive.
    fn access(&self) -> Access {
        if self.mode == LockMode::Shared && self.granted { Access::Add } else { Access::Write }
    }

    /// What looking at whether it is granted does: a shared one depends on exclusive ones only.
    fn look(&self) -> Access {
        if self.mode == LockMode::Shared { Access::Add } else { Access::Read }
    }

    fn conflicts(&self, range: ByteRange, mode: LockMode) -> bool {
        let exclusive = self.mode == LockMode::Exclusive || mode == LockMode::Exclusive;
        exclusive && self.range.overlaps(range)
    }

    /// Whether it matters that this request came before `later`.
    fn is_ordered_before(&self, later: &Self) -> bool {
        let together = self.granted && later.granted;
        !together && self.range.overlaps(later.range)
    }
}

/// The requests, each with those before it that it conflicts with, or may come to conflict with
/// while one of the two waits: the order of the others means nothing.
impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let plain = |request: &Request| {
            let shared = request.mode == LockMode::Shared;
            (request.range.offset, request.range.len, shared, request.granted, request.task)
        };
        let mut described: Vec<_> = (0..self.requests.len())
            .map(|position| {
                let (earlier, rest) = self.requests.split_at(position);
                let matters = |other: &&Request| other.is_ordered_before(&rest[0]);
                let mut before: Vec<_> = earlier.iter().filter(matters).map(plain).collect();
                before.sort_unstable();
                (plain(&rest[0]), before)
            })
            .collect();
        described.sort_unstable();
        described.hash(state);
    }
}

impl State {
    fn position(&self, key: LockKey) -> Option<usize> {
        self.requests.iter().position(|request| request.key == key)
    }

    fn is_free(&self, position: usize) -> bool {
        let (earlier, rest) = self.requests.split_at(position);
        !earlier.iter().any(|request| request.conflicts(rest[0].range, rest[0].mode))
    }

    fn new_key(&mut self) -> LockKey {
        self.next_key += 1;
        LockKey(self.next_key)
    }

    /// Grants what can be granted, and returns whom to wake.
    fn grant(&mut self) -> Vec<Waker> {
        let mut wake = Vec::new();
        for position in 0..self.requests.len() {
            if !self.requests[position].granted && self.is_free(position) {
                self.requests[position].granted = true;
                wake.extend(self.requests[position].waker.take());
            }
        }
        wake
    }

    /// What ending the request accesses that was at `position`: its range, and the whole range of
    /// each who waits for it. Whether that one is granted now depends on what else it waits for.
    fn ended(&self, request: &Request, position: usize) -> Vec<Accessed> {
        let waits = |other: &&Request| !other.granted && request.conflicts(other.range, other.mode);
        let mut accessed = vec![(part(request.range), request.access())];
        let behind = self.requests[position..].iter().filter(waits);
        accessed.extend(behind.map(|other| (part(other.range), Access::Add)));
        // The order of the requests means nothing, so that it is not told.
        accessed.sort_unstable_by_key(|(part, access)| (part.start, part.end, *access));
        accessed
    }
}

impl RangeLock {
    /// Nothing locked.
    #[must_use]
    pub fn new(tracker: &Tracker) -> Self {
        let object = Object::new(tracker, "range lock");
        Self { inner: Arc::new(Inner { state: Cell::default(), object }) }
    }

    /// A name for a request that will be made later.
    #[must_use]
    pub fn new_key(&self) -> LockKey {
        self.inner.state.with(State::new_key)
    }

    /// Waits for `range`. The place in the line is taken **now**, not at the first poll.
    ///
    /// # Panics
    /// If a request of this key exists already.
    pub fn lock(&self, key: LockKey, range: ByteRange, mode: LockMode) -> LockingRange {
        self.inner.change(|state, task| {
            assert!(state.position(key).is_none(), "one request per key");
            state.requests.push(Request { key, range, mode, granted: false, task, waker: None });
            let last = state.requests.len() - 1;
            state.requests[last].granted = state.is_free(last);
            vec![(part(range), state.requests[last].access())]
        });
        LockingRange { guard: Some(RangeGuard { lock: self.clone(), key }) }
    }

    /// An exclusive lock on `range`, if nobody holds or waits for any byte of it.
    #[must_use]
    pub fn try_exclusive(&self, range: ByteRange) -> Option<RangeGuard> {
        let mut granted = None;
        self.inner.change(|state, task| {
            if state.requests.iter().any(|request| request.range.overlaps(range)) {
                return vec![(part(range), Access::Read)];
            }
            let key = state.new_key();
            let mode = LockMode::Exclusive;
            state.requests.push(Request { key, range, mode, granted: true, task, waker: None });
            granted = Some(key);
            vec![(part(range), Access::Write)]
        });
        self.inner.object.learned(&granted.is_some());
        granted.map(|key| RangeGuard { lock: self.clone(), key })
    }

    /// Makes the request of `key` exclude every **later** one that shares a byte with it. Those
    /// that were granted beside it keep their locks. Without such a request nothing happens.
    pub fn make_exclusive(&self, key: LockKey) {
        self.inner.change(|state, _| {
            let Some(position) = state.position(key) else { return Vec::new() };
            state.requests[position].mode = LockMode::Exclusive;
            vec![(part(state.requests[position].range), Access::Write)]
        });
    }

    /// Turns the granted exclusive request of `key` into a shared one of a part of its range, and lets
    /// in whom that was keeping out.
    ///
    /// # Panics
    /// If there is no such request, or `range` is not within its range.
    pub fn make_shared(&self, key: LockKey, range: ByteRange) {
        let mut wake = Vec::new();
        self.inner.change(|state, _| {
            let position = state.position(key).expect("the request exists");
            let request = &mut state.requests[position];
            assert!(request.granted && request.range.contains(range), "{range} is locked");
            let before = request.range;
            (request.range, request.mode) = (range, LockMode::Shared);
            // As if the request had ended, for those who wait for it.
            let waiting = state.requests[position..].iter().filter(|other| !other.granted);
            let mut accessed = vec![(part(before), Access::Write)];
            let behind = waiting.filter(|other| other.range.overlaps(before));
            accessed.extend(behind.map(|other| (part(other.range), Access::Add)));
            accessed.sort_unstable_by_key(|(part, access)| (part.start, part.end, *access));
            wake = state.grant();
            accessed
        });
        wake.into_iter().for_each(Waker::wake);
    }

    fn release(&self, key: LockKey) {
        let mut wake = Vec::new();
        self.inner.change(|state, _| {
            let position = state.position(key).expect("a guard's request exists");
            let request = state.requests.remove(position);
            let accessed = state.ended(&request, position);
            wake = state.grant();
            accessed
        });
        wake.into_iter().for_each(Waker::wake);
    }
}

impl Inner {
    /// Changes the requests; `change` gets the running task and says what it has accessed.
    fn change(&self, change: impl FnOnce(&mut State, u64) -> Vec<Accessed>) {
        let accessed = self.state.with(|state| {
            let accessed = change(state, self.object.task());
            self.object.holds(state);
            accessed
        });
        accessed.into_iter().for_each(|(part, access)| self.object.access(part, access));
    }

    /// Whether the request of `key` is granted; what it waits for otherwise is the end of others.
    fn is_granted(&self, key: LockKey, waker: Option<&Waker>) -> bool {
        let (granted, range, look) = self.state.with(|state| {
            let position = state.position(key).expect("a guard's request exists");
            let request = &mut state.requests[position];
            if let (false, Some(waker)) = (request.granted, waker) {
                request.waker = Some(waker.clone());
            }
            (request.granted, request.range, request.look())
        });
        self.object.access(part(range), look);
        granted
    }
}

/// The part of the object that a range is: its bytes.
fn part(range: ByteRange) -> Range<u64> {
    range.offset..range.end()
}

/// Waits for a range; dropping it leaves the line.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct LockingRange {
    guard: Option<RangeGuard>,
}

impl LockingRange {
    /// Whether the lock was granted at once or has to be waited for.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        let guard = self.guard.as_ref().expect("not asked after it has completed");
        let granted = guard.lock.inner.is_granted(guard.key, None);
        guard.lock.inner.object.learned(&granted);
        granted
    }
}

impl Future for LockingRange {
    type Output = RangeGuard;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<RangeGuard> {
        let guard = self.guard.as_ref().expect("not polled after it has completed");
        let inner = &guard.lock.inner;
        if !inner.is_granted(guard.key, Some(context.waker())) {
            inner.object.waits();
            return Poll::Pending;
        }
        inner.object.learned(&true);
        Poll::Ready(self.guard.take().expect("checked above"))
    }
}

/// Holds a range; dropping it lets the next ones in.
#[derive(Debug)]
pub struct RangeGuard {
    lock: RangeLock,
    key: LockKey,
}

impl Drop for RangeGuard {
    fn drop(&mut self) {
        self.lock.release(self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SHARED: LockMode = LockMode::Shared;
    const EXCLUSIVE: LockMode = LockMode::Exclusive;

    /// Makes the requests in order, and says which are granted at once.
    fn check(requests: &[(u64, u64, LockMode)], expected: &[bool]) {
        let lock = RangeLock::new(&Tracker::none());
        let mut made = Vec::new();
        for &(start, end, mode) in requests {
            made.push(lock.lock(lock.new_key(), ByteRange::between(start, end), mode));
        }
        let granted: Vec<bool> = made.iter().map(LockingRange::is_granted).collect();
        assert_eq!(granted, expected, "{requests:?}");
    }

    #[test]
    fn conflicts() {
        check(&[(0, 4, EXCLUSIVE), (4, 8, EXCLUSIVE)], &[true, true]);
        check(&[(0, 4, EXCLUSIVE), (3, 8, EXCLUSIVE)], &[true, false]);
        check(&[(0, 4, SHARED), (0, 4, SHARED)], &[true, true]);
        check(&[(0, 4, SHARED), (3, 5, EXCLUSIVE)], &[true, false]);
        check(&[(0, 4, EXCLUSIVE), (3, 5, SHARED)], &[true, false]);
        // An empty range conflicts with nothing.
        check(&[(0, 4, EXCLUSIVE), (2, 2, EXCLUSIVE)], &[true, true]);
    }

    #[test]
    fn a_later_request_does_not_overtake_an_earlier_waiter() {
        // The third would fit beside the first, but the second came before it.
        check(&[(0, 4, SHARED), (0, 8, EXCLUSIVE), (0, 4, SHARED)], &[true, false, false]);
        check(&[(0, 4, EXCLUSIVE), (2, 8, EXCLUSIVE), (6, 9, SHARED)], &[true, false, false]);
        check(&[(0, 4, EXCLUSIVE), (2, 6, EXCLUSIVE), (6, 9, SHARED)], &[true, false, true]);
    }

    #[test]
    fn releases_and_dropped_waiters_let_the_next_in() {
        let lock = RangeLock::new(&Tracker::none());
        let range = ByteRange::new(0, 8);
        let first = lock.lock(lock.new_key(), range, EXCLUSIVE).now_or_never().unwrap();
        let mut second = lock.lock(lock.new_key(), range, EXCLUSIVE);
        let mut third = lock.lock(lock.new_key(), range, SHARED);
        assert!(lock.try_exclusive(range).is_none());
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        drop(first);
        assert!((&mut third).now_or_never().is_some());
        assert!(lock.try_exclusive(range).is_some());
    }

    #[test]
    fn a_request_made_exclusive_shuts_out_later_ones_only() {
        let lock = RangeLock::new(&Tracker::none());
        let range = ByteRange::new(0, 8);
        let key = lock.new_key();
        lock.make_exclusive(key);
        let first = lock.lock(key, range, SHARED).now_or_never().unwrap();
        let second = lock.lock(lock.new_key(), range, SHARED).now_or_never();
        assert!(second.is_some());
        lock.make_exclusive(key);
        let mut third = lock.lock(lock.new_key(), range, SHARED);
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!(third.now_or_never().is_some());
    }

    #[test]
    fn a_request_made_shared_lets_in_those_beside_it() {
        let lock = RangeLock::new(&Tracker::none());
        let key = lock.new_key();
        let first = lock.lock(key, ByteRange::new(0, 8), EXCLUSIVE).now_or_never().unwrap();
        let mut reader = lock.lock(lock.new_key(), ByteRange::new(2, 2), SHARED);
        let mut writer = lock.lock(lock.new_key(), ByteRange::new(2, 6), EXCLUSIVE);
        let mut beside = lock.lock(lock.new_key(), ByteRange::new(0, 2), EXCLUSIVE);
        assert!((&mut reader).now_or_never().is_none());
        lock.make_shared(key, ByteRange::new(2, 2));
        let reader = reader.now_or_never().unwrap();
        assert!((&mut beside).now_or_never().is_some());
        assert!((&mut writer).now_or_never().is_none());
        drop(first);
        assert!((&mut writer).now_or_never().is_none());
        drop(reader);
        assert!((&mut writer).now_or_never().is_some());
    }

    /// Every order of arrival and release of three requests keeps the rule: what is granted
    /// together does not conflict, and when all others are gone the last one is granted.
    #[test]
    fn granted_requests_never_conflict() {
        let shapes = [(0, 4, SHARED), (2, 6, EXCLUSIVE), (3, 8, SHARED), (0, 8, EXCLUSIVE)];
        for code in 0..shapes.len().pow(3) {
            for first_out in 0..3 {
                let lock = RangeLock::new(&Tracker::none());
                let chosen: Vec<_> =
                    (0..3).map(|n| shapes[code / shapes.len().pow(n) % shapes.len()]).collect();
                let mut made: Vec<Option<LockingRange>> = chosen
                    .iter()
                    .map(|&(start, end, mode)| {
                        Some(lock.lock(lock.new_key(), ByteRange::between(start, end), mode))
                    })
                    .collect();
                for gone in [first_out, (first_out + 1) % 3, (first_out + 2) % 3] {
                    let live: Vec<usize> = (0..3)
                        .filter(|&n| made[n].as_ref().is_some_and(LockingRange::is_granted))
                        .collect();
                    assert!(!live.is_empty());
                    for (&one, &other) in live.iter().zip(live.iter().skip(1)) {
                        let (a, b) = (chosen[one], chosen[other]);
                        let shared = a.2 == SHARED && b.2 == SHARED;
                        assert!(shared || a.1.min(b.1) <= a.0.max(b.0), "{chosen:?}");
                    }
                    made[gone] = None;
                }
            }
        }
    }
}
