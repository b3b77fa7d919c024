//! Small programs of tasks on shared objects: everything that an engine of orders has to cope with.
//!
//! A task runs its stages one after the other. Requests that have the task to themselves are events
//! of one process, requests in flight together are processes of their own. Stages wait for flags,
//! lose the slower of two requests, are cancelled by other tasks, toss coins, and sleep.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::future::{join, select};
use plugpull_sim::orders::{NotRepeated, Ran};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::board::{Handle, Tasks, io, io_of};
use super::search::{Choose, Model};
use super::touched::Touched;

pub(crate) const OBJECTS: usize = 3;
pub(crate) const FLAGS: usize = 2;
pub(crate) const TASKS_MAX: usize = 4;
/// The result of a request that another task has cancelled.
const CANCELLED: u64 = 77;

/// What one event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Read(usize),
    /// Stores something that depends on all the task has seen.
    Write(usize),
    /// Reads and writes.
    Swap(usize),
    Add(usize, u64),
    /// Reads, if a coin of so many sides falls on zero; otherwise touches nothing.
    Maybe(usize, usize),
    /// Sets a flag.
    Signal(usize),
    /// Possible once the flag is set.
    Wait(usize),
    /// Possible after so much time, when nothing else is.
    Sleep(u64),
    /// Takes back what another task has marked as optional, if it waits for that.
    Cancel(usize),
}

/// What a task does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    One(Op),
    /// One that another task may cancel.
    Optional(Op),
    /// Two in flight together.
    Both(Op, Op),
    /// Two in flight together; the slower one is taken back.
    Either(Op, Op),
}

/// The stages of each task.
pub(crate) type Program = Vec<Vec<Stage>>;

/// A request as it waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    op: Op,
    optional: bool,
    /// When it was asked for.
    at: u64,
}

/// All that is shared, and what each task has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    objects: [u64; OBJECTS],
    flags: [bool; FLAGS],
    tasks: [u64; TASKS_MAX],
    now: u64,
}

/// What an event did, as seen from outside: enough to do it to another state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logged {
    touched: Touched,
    /// The state after it, of which only what was touched counts.
    after: State,
    added: u64,
}

/// One task, boxed: programs are many, and small.
type Client = Pin<Box<dyn Future<Output = ()>>>;

/// A program that runs.
pub(crate) struct Running {
    tasks: Tasks<Asked, Client>,
    state: State,
    /// The step that set each flag.
    set_by: [Option<usize>; FLAGS],
    pub(crate) log: Vec<Logged>,
    pub(crate) forgets: Forgets,
}

/// What a model is silent about, wrongly: for tests that want this to be noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Forgets {
    #[default]
    Nothing,
    /// The objects, in fingerprints.
    Objects,
    /// The objects written, in footprints.
    Writes,
}

fn flag(index: usize) -> u64 {
    1 << (OBJECTS + index)
}

fn task_bit(index: usize) -> u64 {
    1 << (OBJECTS + FLAGS + index)
}

const ALL_OBJECTS: u64 = (1 << OBJECTS) - 1;

fn mix(hash: u64, next: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes[8..].copy_from_slice(&next.to_le_bytes());
    xxh3_64(&bytes) >> 1
}

/// One task, stage by stage.
async fn client(board: Handle<Asked>, task: usize, program: Rc<Program>) {
    let asked = |op, optional| Asked { op, optional, at: 0 };
    let one = |op, optional| io_of(&board, task, 1000 + task as u64, asked(op, optional));
    let part = |op| io(&board, task, asked(op, false));
    for stage in &program[task] {
        match *stage {
            Stage::One(op) => drop(one(op, false).await),
            Stage::Optional(op) => drop(one(op, true).await),
            Stage::Both(first, second) => drop(join(part(first), part(second)).await),
            Stage::Either(first, second) => drop(select(part(first), part(second)).await),
        }
    }
}

impl State {
    /// Identifies it.
    pub(crate) fn key(&self) -> u128 {
        let flags = self.flags.iter().map(|&flag| u64::from(flag));
        let words = self.objects.iter().copied().chain(flags).chain(self.tasks).chain([self.now]);
        xxh3_128(&words.flat_map(u64::to_le_bytes).collect::<Vec<_>>())
    }

    /// Does to this state what the event did to another one.
    fn apply(&mut self, logged: &Logged) {
        let touched = logged.touched;
        for (at, object) in self.objects.iter_mut().enumerate() {
            if touched.writes >> at & 1 == 1 {
                *object = logged.after.objects[at];
            } else if touched.adds >> at & 1 == 1 {
                *object = object.wrapping_add(logged.added);
            }
        }
        for (at, set) in self.flags.iter_mut().enumerate() {
            *set |= touched.writes & flag(at) != 0;
        }
        for (at, seen) in self.tasks.iter_mut().enumerate() {
            if touched.writes & task_bit(at) != 0 {
                *seen = logged.after.tasks[at];
            }
        }
        self.now = self.now.max(logged.after.now);
    }
}

impl Running {
    pub(crate) fn new(program: &Program) -> Self {
        let program = Rc::new(program.clone());
        let tasks = Tasks::new(program.len(), move |board, task| {
            Box::pin(client(board, task, program.clone())) as Client
        });
        Self {
            tasks,
            state: State::default(),
            set_by: [None; FLAGS],
            log: Vec::new(),
            forgets: Forgets::Nothing,
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The state after the steps for which `has` holds, from what was recorded of them.
    pub(crate) fn state_after(&self, has: impl Fn(usize) -> bool) -> State {
        let mut state = State::default();
        let steps = self.log.iter().enumerate().filter(|(step, _)| has(*step));
        steps.for_each(|(_, logged)| state.apply(logged));
        state
    }

    /// When a request that sleeps wakes up.
    fn deadline(asked: &Asked) -> Option<u64> {
        match asked.op {
            Op::Sleep(time) => Some(asked.at + time),
            _ => None,
        }
    }

    /// Whether a request is possible now, as far as it does not wait for everything else.
    fn is_possible(&self, asked: &Asked) -> bool {
        match asked.op {
            Op::Wait(flag) => self.state.flags[flag],
            Op::Sleep(_) => Self::deadline(asked) == Some(self.state.now),
            _ => true,
        }
    }

    /// The optional request of `task` is taken back, if it waits. Whether it does.
    fn cancel(&mut self, task: usize) -> bool {
        let board = &mut *self.tasks.board.borrow_mut();
        let is_victim =
            |request: &super::board::Request<Asked>| request.task == task && request.op.optional;
        let Some(at) = board.pending.iter().position(is_victim) else { return false };
        let request = board.pending.remove(at);
        board.complete(&request, CANCELLED);
        let seen = &mut self.state.tasks[task];
        *seen = mix(*seen, mix(request.process, CANCELLED));
        true
    }

    /// Does it; what it touched, what it answers and what it added.
    fn perform(
        &mut self,
        task: usize,
        asked: &Asked,
        step: usize,
        choose: Choose<'_>,
    ) -> Result<(Touched, u64, u64), NotRepeated> {
        let mut touched = Touched { writes: task_bit(task), ..Touched::default() };
        let state = &mut self.state;
        let result = match asked.op {
            Op::Read(at) => {
                touched.reads |= 1 << at;
                state.objects[at]
            }
            Op::Write(at) => {
                touched.writes |= 1 << at;
                state.objects[at] = mix(state.tasks[task], 1 + task as u64);
                0
            }
            Op::Swap(at) => {
                touched.writes |= 1 << at;
                let new = mix(state.tasks[task], state.objects[at]);
                std::mem::replace(&mut state.objects[at], new)
            }
            Op::Add(at, added) => {
                touched.adds |= 1 << at;
                state.objects[at] = state.objects[at].wrapping_add(added);
                return Ok((touched, 0, added));
            }
            Op::Maybe(at, sides) => match choose(sides)? {
                0 => {
                    touched.reads |= 1 << at;
                    state.objects[at]
                }
                side => side as u64,
            },
            Op::Signal(at) => {
                touched.writes |= flag(at);
                state.flags[at] = true;
                self.set_by[at].get_or_insert(step);
                0
            }
            Op::Wait(at) => {
                touched.reads |= flag(at);
                0
            }
            Op::Sleep(_) => {
                state.now = Self::deadline(asked).expect("it sleeps");
                0
            }
            Op::Cancel(other) => {
                touched.writes |= task_bit(other);
                u64::from(self.cancel(other))
            }
        };
        Ok((touched, result & u64::MAX >> 1, 0))
    }

    /// Who waits for which flag.
    fn waits(&self) -> Vec<(u64, usize)> {
        let board = self.tasks.board.borrow();
        let waits = board.pending.iter().filter_map(|request| match request.op.op {
            Op::Wait(at) => Some((request.process, at)),
            _ => None,
        });
        waits.collect()
    }

    /// The step that made a request possible: the later one of those that were needed.
    fn enabled_by(&self, submitted: Option<usize>, op: Op) -> Option<usize> {
        match op {
            Op::Wait(flag) => submitted.max(self.set_by[flag]),
            _ => submitted,
        }
    }
}

impl Model for Running {
    type Footprint = Touched;

    fn start(&mut self) {
        self.log.clear();
        self.state = State::default();
        self.set_by = [None; FLAGS];
        self.tasks.start();
    }

    fn enabled(&self, into: &mut Vec<u64>) {
        let board = self.tasks.board.borrow();
        let possible = board.pending.iter().filter(|request| self.is_possible(&request.op));
        into.extend(possible.map(|request| request.process));
        if into.is_empty() {
            let deadline = |asked| Self::deadline(asked);
            let first = board.pending.iter().filter_map(|request| deadline(&request.op)).min();
            let due = board
                .pending
                .iter()
                .filter(|request| first.is_some() && deadline(&request.op) == first);
            into.extend(due.map(|request| request.process));
        }
    }

    fn step(
        &mut self,
        process: u64,
        step: usize,
        choose: Choose<'_>,
    ) -> Result<Ran<Touched>, NotRepeated> {
        let before = self.state.now;
        let waits = self.waits();
        let request = self.tasks.board.borrow_mut().take(process, step);
        let (task, asked) = (request.task, request.op);
        let (mut touched, result, added) = self.perform(task, &asked, step, choose)?;
        self.tasks.board.borrow_mut().complete(&request, result);
        self.state.tasks[task] = mix(self.state.tasks[task], mix(process, result));
        self.tasks.poll(task);
        if let Op::Cancel(other) = asked.op {
            self.tasks.poll(other);
        }
        let now = self.state.now;
        let mut board = self.tasks.board.borrow_mut();
        let new = board.pending.iter_mut().filter(|request| request.submitted == Some(step));
        new.for_each(|request| request.op.at = now);
        drop(board);
        // What is taken back could have become possible by a signal.
        let left = self.waits();
        let gone = waits.iter().filter(|(waiting, _)| {
            *waiting != process && left.iter().all(|(other, _)| other != waiting)
        });
        touched.reads |= gone.fold(0, |flags, (_, at)| flags | flag(*at));
        let after = self.state;
        self.log.push(Logged { touched, after, added });
        if self.forgets == Forgets::Writes {
            touched.writes &= !ALL_OBJECTS;
        }
        Ok(Ran {
            footprint: touched,
            needed: true,
            enabled_by: self.enabled_by(request.submitted, asked.op),
            waited_for_all: now > before,
            past: mix(self.state.tasks[task], process),
        })
    }

    /// What each task has seen, the shared objects, and the time left until each one that sleeps
    /// wakes up.
    fn fingerprint(&self) -> u128 {
        let mut state = State { now: 0, ..self.state };
        if self.forgets == Forgets::Objects {
            state.objects = [0; OBJECTS];
        }
        let board = self.tasks.board.borrow();
        let sleeping = board.pending.iter().filter_map(|request| {
            let left = Self::deadline(&request.op)? - self.state.now;
            Some(u128::from(mix(request.process, left)))
        });
        state.key().wrapping_add(sleeping.fold(0, u128::wrapping_add))
    }
}
