//! What the types here tell is true: steps of different tasks that do not conflict commute, and
//! states that are told to be equal behave the same from then on.
//!
//! A random history of a few tasks leads to a state; then two steps are taken in both orders. If
//! nothing that was told of them conflicts, both tasks must have learned the same, the same tasks
//! must have been woken, the contents must be told to be equal, and whatever is done next must
//! show no difference.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;

use super::cell::Cell;
use super::recorder::{Recorded, Recorder};
use super::*;
use crate::units::ByteRange;

/// A set of objects with what each task holds of them.
trait Subject: Sized {
    type Op: Clone + std::fmt::Debug;

    fn new(tracker: &Tracker) -> Self;

    /// One step of a task; nothing happens if the task cannot do that now.
    fn run(&mut self, task: u64, op: &Self::Op, context: &mut Context<'_>);
}

/// A step: by which task, and what.
type Step<O> = (u64, O);

/// The tasks that were woken.
#[derive(Default)]
struct Woken(Cell<BTreeMap<u64, bool>>);

struct TaskWaker(Arc<Woken>, u64);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.0.0.with(|woken| _ = woken.insert(self.1, true));
    }
}

/// A run of a subject.
struct Run<S> {
    recorder: Arc<Recorder>,
    woken: Arc<Woken>,
    subject: S,
}

/// What is seen of a run between two steps.
type Seen = (BTreeMap<u64, Vec<u8>>, BTreeMap<u64, bool>);

impl<S: Subject> Run<S> {
    fn after(history: &[Step<S::Op>]) -> Self {
        let (recorder, tracker) = Recorder::new();
        let mut run = Self { recorder, woken: Arc::default(), subject: S::new(&tracker) };
        for step in history {
            run.step(step);
        }
        run
    }

    fn step(&mut self, (task, op): &Step<S::Op>) -> Recorded {
        let waker = Waker::from(Arc::new(TaskWaker(Arc::clone(&self.woken), *task)));
        self.woken.0.with(|woken| _ = woken.insert(*task, false));
        let mut context = Context::from_waker(&waker);
        self.recorder.step(*task, || self.subject.run(*task, op, &mut context)).1
    }

    fn seen(&self) -> Seen {
        (self.recorder.contents(), self.woken.0.with(|woken| woken.clone()))
    }
}

/// Takes two steps in both orders. Returns whether they were told not to conflict.
fn check<S: Subject>(
    history: &[Step<S::Op>],
    (one, other): (&Step<S::Op>, &Step<S::Op>),
    future: &[Step<S::Op>],
) -> bool {
    let (mut first, mut second) = (Run::<S>::after(history), Run::<S>::after(history));
    // Being woken and acting do not commute: that much whoever runs the tasks has to know.
    let wakes = |run: &mut Run<S>, step: &Step<S::Op>, other: &Step<S::Op>| {
        run.woken.0.with(|woken| woken.insert(other.0, false));
        let told = run.step(step);
        (told, run.woken.0.with(|woken| woken.get(&other.0) == Some(&true)))
    };
    let (told_one, wakes_other) = wakes(&mut first, one, other);
    let told_other = first.step(other);
    if told_one.conflicts(&told_other) || wakes_other {
        return false;
    }
    let (other_first, wakes_one) = wakes(&mut second, other, one);
    let one_second = second.step(one);
    if wakes_one {
        return false;
    }
    assert_eq!(told_one, one_second, "{one:?} beside {other:?}");
    assert_eq!(told_other, other_first, "{other:?} beside {one:?}");
    assert_eq!(first.seen(), second.seen(), "{one:?} and {other:?}");
    for step in future {
        assert_eq!(first.step(step), second.step(step), "{step:?} after {one:?} and {other:?}");
        assert_eq!(first.seen(), second.seen(), "{step:?} after {one:?} and {other:?}");
    }
    true
}

fn check_all<S: Subject>(steps: &[Step<S::Op>]) {
    for at in 0..steps.len().saturating_sub(1) {
        let (one, other) = (&steps[at], &steps[at + 1]);
        if one.0 != other.0 {
            check::<S>(&steps[..at], (one, other), &steps[at + 2..]);
        }
    }
}

struct Doors {
    gate: Gate,
    passes: BTreeMap<u64, Vec<Pass>>,
}

#[derive(Debug, Clone)]
enum DoorOp {
    Enter,
    Leave,
    LetIn,
    Shut,
    AskIdle,
    WaitIdle,
}

impl Subject for Doors {
    type Op = DoorOp;

    fn new(tracker: &Tracker) -> Self {
        Self { gate: Gate::new(tracker), passes: BTreeMap::new() }
    }

    fn run(&mut self, task: u64, op: &DoorOp, context: &mut Context<'_>) {
        let mine = self.passes.entry(task).or_default();
        match op {
            DoorOp::Enter => mine.extend(self.gate.enter()),
            DoorOp::Leave => drop(mine.pop()),
            DoorOp::LetIn => mine.extend(mine.last().cloned()),
            DoorOp::Shut => _ = self.gate.shut(),
            DoorOp::AskIdle => _ = self.gate.is_idle(),
            DoorOp::WaitIdle => _ = Pin::new(&mut self.gate.idle()).poll(context),
        }
    }
}

struct Bells {
    event: Event,
}

#[derive(Debug, Clone)]
enum BellOp {
    Raise,
    Ask,
    Wait,
}

impl Subject for Bells {
    type Op = BellOp;

    fn new(tracker: &Tracker) -> Self {
        Self { event: Event::new(tracker) }
    }

    fn run(&mut self, _task: u64, op: &BellOp, context: &mut Context<'_>) {
        match op {
            BellOp::Raise => self.event.raise(),
            BellOp::Ask => _ = self.event.has_happened(),
            BellOp::Wait => _ = Pin::new(&mut self.event.happened()).poll(context),
        }
    }
}

struct Turns<const LIFO: bool> {
    mutex: &'static Mutex,
    waiting: BTreeMap<u64, Locking<'static>>,
    held: BTreeMap<u64, MutexGuard<'static>>,
}

#[derive(Debug, Clone)]
enum TurnOp {
    Lock,
    GiveUp,
    Release,
}

impl<const LIFO: bool> Subject for Turns<LIFO> {
    type Op = TurnOp;

    fn new(tracker: &Tracker) -> Self {
        let order =
            if LIFO { WakeOrder::LastComeFirstServed } else { WakeOrder::FirstComeFirstServed };
        // Tests are short: what borrows from it need not be told how long it lives.
        let mutex = Box::leak(Box::new(Mutex::new(tracker, order)));
        Self { mutex, waiting: BTreeMap::new(), held: BTreeMap::new() }
    }

    fn run(&mut self, task: u64, op: &TurnOp, context: &mut Context<'_>) {
        match op {
            TurnOp::Lock if !self.held.contains_key(&task) => {
                let waiting = self.waiting.entry(task).or_insert_with(|| self.mutex.lock());
                if let Poll::Ready(guard) = Pin::new(waiting).poll(context) {
                    self.waiting.remove(&task);
                    self.held.insert(task, guard);
                }
            }
            TurnOp::Lock => {}
            TurnOp::GiveUp => drop(self.waiting.remove(&task)),
            TurnOp::Release => drop(self.held.remove(&task)),
        }
    }
}

struct Ranges {
    lock: RangeLock,
    /// Requests by task, with their keys, and the locks they became.
    requests: BTreeMap<u64, Vec<(LockKey, Request)>>,
}

enum Request {
    Waiting(LockingRange),
    Held { _guard: RangeGuard },
}

#[derive(Debug, Clone)]
enum RangeOp {
    Lock(ByteRange, LockMode),
    Try(ByteRange),
    Poll,
    End(usize),
    MakeExclusive(usize),
}

impl Subject for Ranges {
    type Op = RangeOp;

    fn new(tracker: &Tracker) -> Self {
        Self { lock: RangeLock::new(tracker), requests: BTreeMap::new() }
    }

    fn run(&mut self, task: u64, op: &RangeOp, context: &mut Context<'_>) {
        let mine = self.requests.entry(task).or_default();
        match op {
            RangeOp::Lock(range, mode) => {
                let key = self.lock.new_key();
                let request = self.lock.lock(key, *range, *mode);
                let _ = request.is_granted();
                mine.push((key, Request::Waiting(request)));
            }
            RangeOp::Try(range) => {
                let guard = self.lock.try_exclusive(*range);
                let key = self.lock.new_key();
                mine.extend(guard.map(|guard| (key, Request::Held { _guard: guard })));
            }
            RangeOp::Poll => {
                for (_, request) in mine {
                    if let Request::Waiting(waiting) = request
                        && let Poll::Ready(guard) = Pin::new(waiting).poll(context)
                    {
                        *request = Request::Held { _guard: guard };
                    }
                }
            }
            RangeOp::End(at) if *at < mine.len() => drop(mine.remove(*at)),
            RangeOp::MakeExclusive(at) if *at < mine.len() => self.lock.make_exclusive(mine[*at].0),
            RangeOp::End(_) | RangeOp::MakeExclusive(_) => {}
        }
    }
}

fn steps<O: Clone + std::fmt::Debug>(
    op: impl Strategy<Value = O>,
) -> impl Strategy<Value = Vec<Step<O>>> {
    prop::collection::vec((1_u64..4, op), 2..16)
}

fn range_op() -> impl Strategy<Value = RangeOp> {
    let range = || (0_u64..4, 1_u64..4).prop_map(|(offset, len)| ByteRange::new(offset, len));
    let mode = prop_oneof![3 => Just(LockMode::Shared), 1 => Just(LockMode::Exclusive)];
    prop_oneof![
        4 => (range(), mode).prop_map(|(range, mode)| RangeOp::Lock(range, mode)),
        1 => range().prop_map(RangeOp::Try),
        3 => Just(RangeOp::Poll),
        3 => (0_usize..2).prop_map(RangeOp::End),
        2 => (0_usize..2).prop_map(RangeOp::MakeExclusive),
    ]
}

fn turn_op() -> impl Strategy<Value = TurnOp> {
    prop_oneof![3 => Just(TurnOp::Lock), 1 => Just(TurnOp::GiveUp), 2 => Just(TurnOp::Release)]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 1000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn gates(steps in steps(prop_oneof![
        3 => Just(DoorOp::Enter),
        3 => Just(DoorOp::Leave),
        1 => Just(DoorOp::LetIn),
        1 => Just(DoorOp::Shut),
        1 => Just(DoorOp::AskIdle),
        2 => Just(DoorOp::WaitIdle),
    ])) {
        check_all::<Doors>(&steps);
    }

    #[test]
    fn events(steps in steps(prop_oneof![
        1 => Just(BellOp::Raise),
        1 => Just(BellOp::Ask),
        2 => Just(BellOp::Wait),
    ])) {
        check_all::<Bells>(&steps);
    }

    #[test]
    fn turns_in_order(steps in steps(turn_op())) {
        check_all::<Turns<false>>(&steps);
    }

    #[test]
    fn turns_out_of_order(steps in steps(turn_op())) {
        check_all::<Turns<true>>(&steps);
    }

    #[test]
    fn ranges(steps in steps(range_op())) {
        check_all::<Ranges>(&steps);
    }
}

/// The checks above would be empty if everything conflicted.
#[test]
fn what_should_commute_is_told_to() {
    let commutes = |history: &[Step<RangeOp>], one: Step<RangeOp>, other: Step<RangeOp>| {
        check::<Ranges>(history, (&one, &other), &[])
    };
    let lock = |offset, len, mode| RangeOp::Lock(ByteRange::new(offset, len), mode);
    let (shared, exclusive) = (LockMode::Shared, LockMode::Exclusive);
    assert!(commutes(&[], (1, lock(0, 4, shared)), (2, lock(2, 4, shared))));
    assert!(commutes(&[], (1, lock(0, 4, exclusive)), (2, lock(4, 4, exclusive))));
    assert!(!commutes(&[], (1, lock(0, 4, shared)), (2, lock(3, 1, exclusive))));
    let together = [(1, lock(0, 4, shared)), (2, lock(0, 4, shared))];
    assert!(commutes(&together, (1, RangeOp::End(0)), (2, RangeOp::End(0))));
    let doors = |history: &[Step<DoorOp>], one, other| {
        check::<Doors>(history, (&(1, one), &(2, other)), &[])
    };
    let inside = [(1, DoorOp::Enter), (2, DoorOp::Enter)];
    assert!(doors(&inside, DoorOp::Leave, DoorOp::Enter));
    assert!(doors(&inside, DoorOp::Leave, DoorOp::Leave));
    assert!(!doors(&inside[1..], DoorOp::Shut, DoorOp::Enter));
    let waited = [(2, DoorOp::Enter), (1, DoorOp::Enter), (3, DoorOp::WaitIdle)];
    assert!(doors(&waited, DoorOp::Leave, DoorOp::Leave));
    assert!(!doors(&waited, DoorOp::Leave, DoorOp::Enter));
}
