//! One execution: what goes into it and what can be seen of it. How it is stepped is in `step`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use plugpull_engine::runtime::BoxTask;
use plugpull_engine::{Disk, Runtime};

use super::access::{Accessed, Object};
use super::cancel::Cancellable;
use super::cell::Cell;
use super::choice::{ChoiceKind, Trace, TracedChoice};
use super::enabled::Enabled;
use super::end::Step;
use super::identity::TaskId;
use super::label::Label;
use super::options::{ReadyOrder, WorldOptions};
use super::panics::{catch, prepare};
use super::port::Port;
use super::requests::Requests;
use super::runtime::SimRuntime;
use super::state::{Core, State};
use super::tasks::TaskIndex;
use super::tracking::{MadeStep, Noted};
use super::waker::task_waker;
use crate::disk::port::SimDisk;
use crate::disk::{CrashSpace, DiskSpec, DiskState, FaultPlan, History, Image};

/// One execution: disks, tasks, timers and pending requests.
///
/// Nothing happens but in [`World::step`]. Dropping a world drops every task where it stands:
/// destructors run, but what they spawn or submit is ignored, and so is their panicking.
pub struct World {
    pub(super) core: Arc<Core>,
    /// The futures, by task index; none once ended.
    pub(super) futures: Vec<Option<Running>>,
    pub(super) end: Option<Step>,
}

/// A task's future and what wakes it.
pub(super) struct Running {
    pub(super) future: BoxTask,
    pub(super) waker: Waker,
}

/// What tasks use of their world. Cheap to clone; does not keep the tasks alive.
#[derive(Clone)]
pub struct WorldHandle {
    core: Arc<Core>,
}

/// The result of a task started with [`World::spawn_value`].
pub struct Output<T>(Arc<Cell<Option<T>>>);

/// A named event, as reported through [`Runtime::event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedEvent {
    /// The step in which it was reported.
    pub step: usize,
    /// The task that reported it.
    pub task: TaskId,
    /// Its name.
    pub name: &'static str,
}

impl World {
    /// A world with these disks, and no tasks yet.
    #[must_use]
    pub fn new(disks: Vec<(DiskSpec, Image, FaultPlan)>, options: WorldOptions) -> Self {
        prepare();
        let core =
            Core::new(State::new(Requests::new(disks, options.noted == Noted::States), options));
        Self { core: Arc::new(core), futures: Vec::new(), end: None }
    }

    /// What tasks use of the world.
    #[must_use]
    pub fn handle(&self) -> WorldHandle {
        WorldHandle { core: Arc::clone(&self.core) }
    }

    /// See [`WorldHandle::disk`].
    ///
    /// # Panics
    /// If there is no such disk.
    #[must_use]
    pub fn disk(&self, index: usize) -> Arc<dyn Disk> {
        self.handle().disk(index)
    }

    /// See [`WorldHandle::runtime`].
    #[must_use]
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        self.handle().runtime()
    }

    /// Starts a task that has to end: an execution that cannot go on before it has is a
    /// [`Step::Hang`], and so for the tasks that it starts.
    pub fn spawn(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> TaskId {
        self.start(name, false, Box::pin(task))
    }

    /// Starts a task that may stay unfinished, and so may the tasks that it starts.
    pub fn spawn_daemon(
        &mut self,
        name: &str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> TaskId {
        self.start(name, true, Box::pin(task))
    }

    /// As [`World::spawn`], for a task with a result.
    pub fn spawn_value<T: Send + 'static>(
        &mut self,
        name: &str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Output<T> {
        let output = Output(Arc::new(Cell::new(None)));
        let place = Arc::clone(&output.0);
        self.spawn(name, async move {
            let value = task.await;
            place.with(|place| *place = Some(value));
        });
        output
    }

    /// From now on nothing is left to choice: of what may happen the first does, and nothing fails
    /// that need not. For what comes after the part that is explored.
    pub fn calm(&mut self) {
        self.core.with(|state| state.calm = true);
    }

    /// How many events have happened; the index of the next step.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.core.with(|state| state.steps)
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.core.with(|state| state.timers.now)
    }

    /// What a power cut now may leave, for each disk.
    #[must_use]
    pub fn crash_spaces(&self) -> Vec<CrashSpace> {
        self.core.with(|state| {
            state.requests.disks.iter().map(|disk| disk.state.crash_space()).collect()
        })
    }

    /// Whether to note, in steps to come, what a power cut may leave before something becomes
    /// impossible for it: because it becomes durable, or fails.
    pub fn note_settling(&self, note: bool) {
        self.core.with(|state| state.requests.notes_settling = note);
    }

    /// What a power cut could leave before the last step, if that step has made something impossible
    /// and that was to be noted.
    #[must_use]
    pub fn before_settling(&self) -> Option<Vec<CrashSpace>> {
        self.core.with(|state| state.requests.before_settling.take())
    }

    /// How many choices were taken so far.
    #[must_use]
    pub fn choices(&self) -> usize {
        self.core.with(|state| state.trace.len())
    }

    /// What the last step has learned of completions: the steps in which they happened. Steps that
    /// are no completions may be among them.
    pub(crate) fn relied_on(&self) -> Vec<usize> {
        self.core.with(|state| state.requests.relied_on.clone())
    }

    /// Keeps, from here on, what is noted of the last step.
    pub(crate) fn keep_made(&self) {
        self.core.with(|state| state.tracking.keeps_made = true);
    }

    /// The last step; none if that is not kept, or nothing is noted.
    pub(crate) fn made(&self) -> Option<MadeStep> {
        self.core.with(|state| state.tracking.made.clone())
    }

    /// Identifies the state: equal fingerprints, equal futures.
    ///
    /// # Panics
    /// If nothing is noted that identifies states.
    pub(crate) fn fingerprint(&self) -> u128 {
        self.core.with(|state| state.fingerprint())
    }

    /// What the state consists of, each part with what identifies it.
    pub(crate) fn fingerprint_parts(&self) -> BTreeMap<String, u128> {
        self.core.with(|state| state.fingerprint_parts())
    }

    /// What may happen next, in the order in which it is offered.
    pub(crate) fn possible(&self) -> Vec<Label> {
        self.core.with(|state| {
            let mut enabled = Enabled::default();
            enabled.list(state);
            enabled.labels
        })
    }

    /// The coins among the choices after the first `choices`.
    pub(crate) fn coins_after(&self, choices: usize) -> Vec<Label> {
        self.core.with(|state| {
            let taken = state.trace[choices..].iter();
            taken.filter(|taken| taken.kind == ChoiceKind::Coin).map(|taken| taken.label).collect()
        })
    }

    /// Which orders of ready tasks are explored.
    pub(crate) fn ready_order(&self) -> ReadyOrder {
        self.core.with(|state| state.options.ready)
    }

    /// Looks at a disk. `look` must not call the world.
    ///
    /// # Panics
    /// If there is no such disk.
    pub fn with_disk<R>(&self, index: usize, look: impl FnOnce(&DiskState) -> R) -> R {
        self.core.with(|state| look(&state.requests.disks[index].state))
    }

    /// Looks at what the recorder has. `look` must not call the world.
    pub fn with_history<R>(&self, look: impl FnOnce(&History) -> R) -> R {
        self.core.with(|state| look(&state.requests.history))
    }

    /// A copy of what the recorder has.
    #[must_use]
    pub fn history(&self) -> History {
        self.with_history(History::clone)
    }

    /// The named events that have been reported.
    #[must_use]
    pub fn events(&self) -> BTreeSet<&'static str> {
        self.core.with(|state| state.events.clone())
    }

    /// The named events in order, with repetitions.
    #[must_use]
    pub fn event_log(&self) -> Vec<NamedEvent> {
        self.core.with(|state| state.event_log.clone())
    }

    /// The choices taken so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        let taken = self.core.with(|state| state.trace.clone());
        let choices = taken.into_iter().map(|choice| TracedChoice {
            kind: choice.kind,
            index: choice.index,
            label: choice.label.to_string(),
        });
        Trace::new(choices.collect())
    }

    /// Hash of everything that has happened; see
    /// [`ChoicePoint::past`](super::ChoicePoint::past).
    #[must_use]
    pub fn past(&self) -> u64 {
        self.core.with(|state| state.past)
    }

    /// A new task makes a finished execution go on.
    fn start(&mut self, name: &str, daemon: bool, task: BoxTask) -> TaskId {
        self.end.take_if(|end| *end == Step::Finished);
        let id = self.core.with(|state| state.spawn(name, daemon, task));
        self.adopt(self.core.with(|state| std::mem::take(&mut state.spawned)));
        id.unwrap_or_else(|_| unreachable!("the world is there"))
    }

    /// Takes over the futures of newly spawned tasks, all of them, in the order of their indices.
    pub(super) fn adopt(&mut self, spawned: Vec<BoxTask>) {
        for future in spawned {
            let waker = task_waker(&self.core, TaskIndex(self.futures.len()));
            self.futures.push(Some(Running { future, waker }));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (spawned, guests, wakers) = self.core.with(|state| {
            state.torn_down = true;
            let wakers = (state.requests.clear(), state.timers.clear());
            let spawned = std::mem::take(&mut state.spawned);
            (spawned, std::mem::take(&mut state.guest_requests.pending), wakers)
        });
        // The execution is over: what a destructor says now is not a finding.
        for running in self.futures.drain(..) {
            let _ignored = catch(|| drop(running));
        }
        for future in spawned {
            let _ignored = catch(|| drop(future));
        }
        for guest in guests {
            let _ignored = catch(|| drop(guest));
        }
        let _ignored = catch(|| drop(wakers));
    }
}

impl WorldHandle {
    /// A disk. Requests belong to the task that makes them.
    ///
    /// # Panics
    /// If there is no such disk.
    #[must_use]
    pub fn disk(&self, index: usize) -> Arc<dyn Disk> {
        let properties =
            self.core.with(|state| state.requests.disks[index].state.spec().properties());
        Arc::new(SimDisk { port: Port::new(&self.core, index), properties })
    }

    /// The clock, the coin, and background tasks, which are children of the task that starts them.
    #[must_use]
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(SimRuntime(Arc::clone(&self.core)))
    }

    /// Puts a mark into the recorder, at this position.
    pub fn mark(&self, text: &str) {
        self.core.with(|state| state.mark(text));
    }

    /// The step that is under way, or was last; zero before the first.
    #[must_use]
    pub fn current_step(&self) -> usize {
        self.core.with(|state| state.steps.saturating_sub(1))
    }

    /// Looks at what the recorder has. `look` must not call the world.
    pub fn with_history<R>(&self, look: impl FnOnce(&History) -> R) -> R {
        self.core.with(|state| look(&state.requests.history))
    }

    /// Whether states are to be identified.
    pub(crate) fn identifies_states(&self) -> bool {
        self.core.with(|state| state.tracking.identifies())
    }

    /// The running task has touched what the harness knows of the guest, which is identified by
    /// `key` from now on.
    pub(crate) fn guest_changed(&self, touched: &[Accessed], key: Option<u128>) {
        self.core.with(|state| {
            touched.iter().for_each(|accessed| state.tracking.touch(accessed.clone()));
            if let Some(key) = key {
                state.tracking.holds(Object::Guest(0).name(), key);
            }
        });
    }

    /// The current task remembers how many disk requests had gone wrong.
    pub(crate) fn saw_faults(&self, count: usize) {
        self.core.with(|state| state.learn(Object::GUEST_FAULTS.name(), count as u128));
    }

    /// Runs `request` on behalf of a guest that may lose patience: while it is pending and
    /// [`WorldOptions::cancel_budget`] is not used up, giving it up is one of the choices of every
    /// step. When that is chosen, `request` is dropped there and then, and the result is none.
    pub fn cancellable<F>(
        &self,
        name: &str,
        request: F,
    ) -> impl Future<Output = Option<F::Output>> + Send + 'static
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        Cancellable::new(&self.core, name, request)
    }
}

impl<T> Output<T> {
    /// The result, once, if the task has ended.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.0.with(Option::take)
    }
}
