//! An executor of toys: futures whose requests wait on a board until somebody completes them.
//!
//! Identities are stable: a request is the n-th of its task, or the current one of a task that has
//! one at a time. Completing it is one event, which ends when its task has been polled. A future
//! that is dropped takes its request back.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Most requests of one task.
const REQUESTS_PER_TASK: usize = 8;
/// The result of a request that has none yet.
const WAITING: u64 = u64::MAX;

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<O> {
    pub(crate) process: u64,
    pub(crate) task: usize,
    pub(crate) op: O,
    /// The step that submitted it.
    pub(crate) submitted: Option<usize>,
    slot: usize,
}

/// All requests of an execution.
#[derive(Debug)]
pub(crate) struct Board<O> {
    pub(crate) pending: Vec<Request<O>>,
    /// By task and number.
    results: Vec<u64>,
    /// How many each task has submitted.
    counts: Vec<usize>,
    /// The step under way.
    now: Option<usize>,
}

/// The board, shared with the tasks.
pub(crate) type Handle<O> = Rc<RefCell<Board<O>>>;

impl<O: Copy> Board<O> {
    fn new(tasks: usize) -> Self {
        Self {
            pending: Vec::new(),
            results: vec![WAITING; tasks * REQUESTS_PER_TASK],
            counts: vec![0; tasks],
            now: None,
        }
    }

    fn clear(&mut self) {
        self.pending.clear();
        self.results.fill(WAITING);
        self.counts.fill(0);
        self.now = None;
    }

    fn submit(&mut self, io: &Io<O>) -> usize {
        let number = self.counts[io.task];
        assert!(number < REQUESTS_PER_TASK, "toys are small");
        self.counts[io.task] += 1;
        let slot = io.task * REQUESTS_PER_TASK + number;
        let process = io.process.unwrap_or(slot as u64);
        let request = Request { process, task: io.task, op: io.op, submitted: self.now, slot };
        self.pending.push(request);
        slot
    }

    /// Removes the request of `process`, to be completed in `step`.
    pub(crate) fn take(&mut self, process: u64, step: usize) -> Request<O> {
        let at = self.pending.iter().position(|request| request.process == process);
        self.now = Some(step);
        self.pending.remove(at.expect("an enabled process"))
    }

    pub(crate) fn complete(&mut self, request: &Request<O>, result: u64) {
        self.results[request.slot] = result;
    }
}

/// One request of a task.
pub(crate) struct Io<O> {
    board: Handle<O>,
    task: usize,
    op: O,
    /// Who does it, if not a process of its own.
    process: Option<u64>,
    slot: Option<usize>,
}

/// A request not submitted yet, with a process of its own.
pub(crate) fn io<O>(board: &Handle<O>, task: usize, op: O) -> Io<O> {
    Io { board: board.clone(), task, op, process: None, slot: None }
}

/// A request not submitted yet, of a process that does several, one after the other.
pub(crate) fn io_of<O>(board: &Handle<O>, task: usize, process: u64, op: O) -> Io<O> {
    Io { board: board.clone(), task, op, process: Some(process), slot: None }
}

impl<O: Copy + Unpin> Future for Io<O> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        let me = &mut *self;
        let Some(slot) = me.slot else {
            let slot = me.board.borrow_mut().submit(me);
            me.slot = Some(slot);
            return Poll::Pending;
        };
        match me.board.borrow().results[slot] {
            WAITING => Poll::Pending,
            result => Poll::Ready(result),
        }
    }
}

impl<O> Drop for Io<O> {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let board = &mut *self.board.borrow_mut();
        if board.results[slot] == WAITING {
            board.pending.retain(|request| request.slot != slot);
        }
    }
}

/// The tasks of an execution and their board; memory is used again in the next one.
pub(crate) struct Tasks<O, T> {
    pub(crate) board: Handle<O>,
    make: Box<dyn Fn(Handle<O>, usize) -> T>,
    tasks: Vec<Pin<Box<Option<T>>>>,
}

impl<O: Copy, T: Future<Output = ()>> Tasks<O, T> {
    pub(crate) fn new(count: usize, make: impl Fn(Handle<O>, usize) -> T + 'static) -> Self {
        Self {
            board: Rc::new(RefCell::new(Board::new(count))),
            make: Box::new(make),
            tasks: (0..count).map(|_| Box::pin(None)).collect(),
        }
    }

    /// Back to the beginning: every task runs to its first request.
    pub(crate) fn start(&mut self) {
        self.tasks.iter_mut().for_each(|task| task.as_mut().set(None));
        self.board.borrow_mut().clear();
        for task in 0..self.tasks.len() {
            let future = (self.make)(self.board.clone(), task);
            self.tasks[task].as_mut().set(Some(future));
            self.poll(task);
        }
    }

    pub(crate) fn poll(&mut self, task: usize) {
        let mut slot = self.tasks[task].as_mut();
        let Some(future) = slot.as_mut().as_pin_mut() else { return };
        if future.poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            slot.set(None);
        }
    }
}
