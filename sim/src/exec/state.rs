//! What the tasks, wakers and requests of one execution share.

use std::collections::BTreeSet;
use std::task::{Poll, Waker};

use plugpull_engine::runtime::BoxTask;
use plugpull_engine::sync::{Access, WHOLE};
use xxhash_rust::xxh3::xxh3_64;

use super::access::{Accessed, Object};
use super::cancel::GuestRequests;
use super::cell::Cell;
use super::choice::{ChoiceKind, ChoicePoint};
use super::enabled::{Enabled, Event};
use super::end::{Hang, Step};
use super::identity::{TaskId, mix};
use super::label::Label;
use super::options::WorldOptions;
use super::requests::{Requests, reply_key};
use super::tasks::{TaskIndex, Tasks};
use super::timer::Timers;
use super::tracking::{Enablers, Tracking};
use super::world::NamedEvent;
use crate::disk::{Op, Reply, RequestId};
use crate::orders::Pick;
use crate::schedule::{Divergence, Strategy};

/// The shared state behind its lock.
pub(crate) struct Core(Cell<State>);

impl Core {
    pub(super) fn new(state: State) -> Self {
        Self(Cell::new(state))
    }

    /// See [`Cell::with`].
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        self.0.with(look)
    }
}

pub(crate) struct State {
    pub(super) options: WorldOptions,
    pub(super) tasks: Tasks,
    pub(super) requests: Requests,
    pub(super) timers: Timers,
    pub(super) guest_requests: GuestRequests,
    pub(super) cancels_left: u32,
    /// Nothing is left to choice any more.
    pub(super) calm: bool,
    /// The task that runs now.
    pub(super) current: Option<TaskIndex>,
    /// Futures that the world has not taken over yet, in the order of their task indices.
    pub(super) spawned: Vec<BoxTask>,
    /// The strategy, while a task runs: it may flip coins.
    pub(super) strategy: Option<Box<dyn Strategy>>,
    /// Where a coin did not fit what was expected; ends the execution after the poll.
    pub(super) divergence: Option<Box<Divergence>>,
    /// Steps made.
    pub(super) steps: usize,
    /// Hash of everything that happened.
    pub(super) past: u64,
    pub(super) trace: Vec<Taken>,
    pub(super) events: BTreeSet<&'static str>,
    pub(super) event_log: Vec<NamedEvent>,
    /// The world is gone: nothing is started any more.
    pub(super) torn_down: bool,
    /// What was submitted and started from outside of any task.
    harness_requests: u32,
    harness_sleeps: u32,
    pub(super) harness_objects: u32,
    pub(super) tracking: Tracking,
    /// The event under way, or the last one.
    pub(super) origin: Origin,
    enabled: Enabled,
}

/// Where the event under way comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// What has made it possible.
    pub(super) enabled_by: Enablers,
    /// Whether the clock has moved for it: it was possible only because nothing else was.
    pub(super) clock_moved: bool,
}

/// One choice as it was taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) kind: ChoiceKind,
    pub(super) index: usize,
    pub(super) label: Label,
}

impl State {
    pub(super) fn new(requests: Requests, options: WorldOptions) -> Self {
        Self {
            options,
            tasks: Tasks::default(),
            requests,
            timers: Timers::default(),
            guest_requests: GuestRequests::default(),
            cancels_left: options.cancel_budget,
            calm: false,
            current: None,
            spawned: Vec::new(),
            strategy: None,
            divergence: None,
            steps: 0,
            past: 0,
            trace: Vec::new(),
            events: BTreeSet::new(),
            event_log: Vec::new(),
            torn_down: false,
            harness_requests: 0,
            harness_sleeps: 0,
            harness_objects: 0,
            tracking: Tracking::new(options.noted),
            origin: Origin::default(),
            enabled: Enabled::default(),
        }
    }

    /// The event to happen next, with its label; or why there is none.
    pub(super) fn next_event(
        &mut self,
        strategy: &mut dyn Strategy,
    ) -> Result<(Event, Label), Box<Step>> {
        let mut enabled = std::mem::take(&mut self.enabled);
        enabled.list(self);
        let chosen = self.choose_event(&enabled, strategy);
        self.enabled = enabled;
        chosen
    }

    fn choose_event(
        &mut self,
        enabled: &Enabled,
        strategy: &mut dyn Strategy,
    ) -> Result<(Event, Label), Box<Step>> {
        if enabled.events.is_empty() {
            return Err(Box::new(self.no_event()));
        }
        if self.steps >= self.options.step_cap {
            return Err(Box::new(Step::StepCap));
        }
        let index = match self.pick(&enabled.labels, strategy) {
            Ok(Pick::Run(index)) => index,
            Ok(Pick::Stop(stop)) => return Err(Box::new(Step::Stopped(stop))),
            Err(divergence) => return Err(Box::new(Step::Diverged(divergence))),
        };
        self.steps += 1;
        let label = enabled.labels[index];
        self.past = mix(self.past, label.key());
        Ok((enabled.events[index], label))
    }

    /// Asks the strategy what happens next; in a calm world there is nothing to ask.
    fn pick(
        &mut self,
        options: &[Label],
        strategy: &mut dyn Strategy,
    ) -> Result<Pick, Box<Divergence>> {
        if self.calm {
            return Ok(Pick::Run(0));
        }
        let (kind, step, past) = (ChoiceKind::Event, self.steps, self.past);
        let point = ChoicePoint { kind, options, step, past };
        let pick = strategy.next(&point, &mut || self.fingerprint())?;
        if let Pick::Run(index) = pick {
            assert!(index < options.len(), "the strategy took option {index} of {}", options.len());
            if options.len() > 1 {
                self.trace.push(Taken { kind, index, label: options[index] });
            }
        }
        Ok(pick)
    }

    /// Asks the strategy about something inside a step.
    fn choose(
        &mut self,
        kind: ChoiceKind,
        options: &[Label],
        strategy: &mut dyn Strategy,
    ) -> Result<usize, Box<Divergence>> {
        // The step that is under way.
        let step = self.steps - 1;
        let index = strategy.choose(&ChoicePoint { kind, options, step, past: self.past })?;
        assert!(index < options.len(), "the strategy took option {index} of {}", options.len());
        self.trace.push(Taken { kind, index, label: options[index] });
        Ok(index)
    }

    fn no_event(&self) -> Step {
        if self.tasks.all_ended() {
            return Step::Finished;
        }
        let mut waiting = Vec::new();
        for (task, mut who) in self.tasks.waiting() {
            let mut inside = self.guest_requests.pending.iter().filter(|r| r.task == task);
            who.inside = inside.next().map(|request| request.name);
            waiting.push(who);
        }
        Step::Hang(Hang { waiting })
    }

    /// Flips a coin: a choice inside the step that is under way.
    pub(super) fn coin(&mut self, what: &'static str) -> bool {
        let Some((task, mut strategy)) = self.current_id().zip(self.strategy.take()) else {
            return true;
        };
        let options = [true, false].map(|value| Label::Coin { task, what, value });
        let chosen = match self.divergence {
            // The execution ends after this poll; no more choices.
            Some(_) => Ok(0),
            None => self.choose(ChoiceKind::Coin, &options, &mut *strategy),
        };
        self.strategy = Some(strategy);
        let index = chosen.unwrap_or_else(|divergence| {
            self.divergence = Some(divergence);
            0
        });
        self.learn(Object::Engine.name(), 1 + index as u128);
        self.past = mix(self.past, options[index].key());
        index == 0
    }

    /// Starts a task below the current one, or a harness task.
    ///
    /// # Errors
    /// The future, if the world is gone.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        daemon: bool,
        future: BoxTask,
    ) -> Result<TaskId, BoxTask> {
        if self.torn_down {
            return Err(future);
        }
        let left = self.tracking.left;
        let task = self.tasks.spawn(self.current, name, daemon, self.last_step(), left);
        self.spawned.push(future);
        let id = self.tasks.id(task);
        self.past = mix(self.past, id.key());
        Ok(id)
    }

    /// Puts the task into the ready set, unless it has ended.
    pub(super) fn wake(&mut self, task: TaskIndex) {
        let step = self.last_step();
        let ready = Object::Ready(self.tasks.id(task).key());
        self.tracking.touch(ready.whole(Access::Add));
        self.tasks.wake(task, step);
    }

    /// The step that is under way, or was last.
    pub(super) fn last_step(&self) -> Option<usize> {
        self.steps.checked_sub(1)
    }

    /// Submits a request of the current task, or of the harness; none if the world is gone.
    pub(super) fn submit(&mut self, disk: usize, op: Op) -> Option<usize> {
        if self.torn_down {
            return None;
        }
        let id = match self.current {
            Some(task) => self.tasks.next_request(task),
            None => {
                self.harness_requests += 1;
                RequestId::of(TaskId::harness(), self.harness_requests - 1)
            }
        };
        let (now, since) = (self.timers.now, self.last_step());
        let (slot, key) = self.requests.submit(id, disk, op, now, since, &mut self.tracking);
        self.past = mix(self.past, key);
        Some(slot)
    }

    /// The reply in a slot, for the current task.
    pub(super) fn fetch(&mut self, slot: usize, waker: &Waker) -> (Poll<Reply>, Option<Waker>) {
        let object = self.requests.object(slot);
        self.tracking.touch(Accessed::new(object, WHOLE, Access::Read));
        let task = self.current_id().map_or(0, |task| task.key());
        let (reply, dropped) = self.requests.fetch(slot, task, waker);
        match &reply {
            Poll::Ready(reply) if self.tracking.identifies() => {
                self.learn(object, reply_key(reply));
            }
            Poll::Ready(_) => {}
            Poll::Pending => self.wait(object),
        }
        (reply, dropped)
    }

    /// Nobody wants the reply in a slot any more; what to drop.
    pub(super) fn abandon(&mut self, slot: usize) -> Option<(Option<Reply>, Option<Waker>)> {
        let object = self.requests.object(slot);
        self.tracking.touch(Accessed::new(object, WHOLE, Access::Write));
        self.requests.abandon(slot)
    }

    /// The length of a disk, for the current task.
    pub(super) fn disk_len(&mut self, disk: usize) -> u64 {
        let length = Object::Length(disk);
        self.tracking.touch(length.whole(Access::Read));
        let len = self.requests.disk_len(disk);
        self.learn(length.name(), u128::from(len));
        len
    }

    /// Who sleeps, and which of its sleeps it is.
    pub(super) fn next_sleep(&mut self) -> (TaskId, u32) {
        match self.current {
            Some(task) => (self.tasks.id(task), self.tasks.next_sleep(task)),
            None => {
                self.harness_sleeps += 1;
                (TaskId::harness(), self.harness_sleeps - 1)
            }
        }
    }

    pub(super) fn event(&mut self, name: &'static str) {
        if self.torn_down {
            return;
        }
        let task = self.current_id().unwrap_or_else(TaskId::harness);
        let step = self.steps.saturating_sub(1);
        self.events.insert(name);
        self.event_log.push(NamedEvent { step, task, name });
        self.mark(name);
    }

    pub(super) fn mark(&mut self, text: &str) {
        self.past = mix(self.past, xxh3_64(text.as_bytes()));
        self.requests.history.mark(text);
    }

    pub(super) fn current_id(&self) -> Option<TaskId> {
        self.current.map(|task| self.tasks.id(task))
    }
}
