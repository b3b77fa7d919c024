//! Making one event happen.

use std::sync::Arc;
use std::task::{Context, Waker};

use plugpull_engine::sync::Access;

use super::access::Object;
use super::cancel::GiveUp;
use super::choice::ChoicePoint;
use super::enabled::Event;
use super::end::{Panicked, Step};
use super::label::Label;
use super::panics::{Caught, catch};
use super::state::{Origin, State};
use super::tasks::TaskIndex;
use super::tracking::{Enablers, MadeStep, Noted};
use super::world::World;
use crate::schedule::{Divergence, Strategy};

impl World {
    /// Makes one event happen; the strategy chooses where there is a choice. Once the execution
    /// has come to an end, every further call says so again.
    ///
    /// The strategy is lent to the world for the duration of the call, because a task may flip a
    /// coin in the middle of its run.
    ///
    /// # Panics
    /// If the strategy takes an option that there is not.
    pub fn step(&mut self, strategy: &mut Box<dyn Strategy>) -> Step {
        if let Some(end) = &self.end {
            return end.clone();
        }
        let step = match self.core.with(|state| state.begin_step(strategy)) {
            Ok((label, begun)) => match self.carry_out(begun, strategy) {
                Ok(()) => match self.tell(label, &mut **strategy) {
                    Ok(()) => return Step::Ran(label),
                    Err(divergence) => Step::Diverged(divergence),
                },
                Err(end) => *end,
            },
            Err(end) => *end,
        };
        self.end = Some(step.clone());
        step
    }

    /// Steps until the execution comes to an end, and says to which.
    pub fn run(&mut self, strategy: &mut Box<dyn Strategy>) -> Step {
        loop {
            let step = self.step(strategy);
            if step.is_end() {
                return step;
            }
        }
    }

    /// Tells the strategy what the step has touched, if it wants to know.
    fn tell(&self, event: Label, strategy: &mut dyn Strategy) -> Result<(), Box<Divergence>> {
        let made = self.core.with(|state| {
            if state.calm || state.tracking.noted == Noted::Nothing {
                return None;
            }
            let footprint = state.tracking.take_footprint();
            let (step, past) = (state.steps - 1, state.past);
            let Origin { enabled_by, clock_moved } = std::mem::take(&mut state.origin);
            let made = MadeStep { step, event, footprint, enabled_by, clock_moved, past };
            if state.tracking.keeps_made {
                state.tracking.made = Some(made.clone());
            }
            Some(made)
        });
        made.map_or(Ok(()), |made| strategy.made(made))
    }

    fn carry_out(
        &mut self,
        begun: Begun,
        strategy: &mut Box<dyn Strategy>,
    ) -> Result<(), Box<Step>> {
        match begun {
            Begun::Woken(waker) => {
                wake(waker);
                Ok(())
            }
            Begun::Run(task) => {
                let ended = self.poll(task);
                self.end_run(ended, strategy)
            }
            Begun::GiveUp(request) => {
                let waker = catch(|| request.give_up());
                self.end_run(
                    waker.map(|waker| {
                        wake(waker);
                        false
                    }),
                    strategy,
                )
            }
        }
    }

    /// Runs a task until it waits; says whether it has ended.
    fn poll(&mut self, task: TaskIndex) -> Result<bool, Caught> {
        // What the harness spawned through the runtime has not been taken over yet.
        if task.0 >= self.futures.len() {
            self.adopt(self.core.with(|state| std::mem::take(&mut state.spawned)));
        }
        let place = &mut self.futures[task.0];
        catch(|| {
            let running = place.as_mut().expect("only unfinished tasks are ready");
            let mut context = Context::from_waker(&running.waker);
            let ended = running.future.as_mut().poll(&mut context).is_ready();
            if ended {
                // Here, because destructors may still spawn, flip coins and panic.
                *place = None;
            }
            ended
        })
    }

    /// Takes back what was lent to the current task, and takes over what it spawned.
    fn end_run(
        &mut self,
        ended: Result<bool, Caught>,
        strategy: &mut Box<dyn Strategy>,
    ) -> Result<(), Box<Step>> {
        let (task, returned, divergence, spawned) = self.core.with(|state| {
            let task = state.current.take().expect("a task ran");
            state.end_access(task, matches!(ended, Ok(true)));
            let spawned = std::mem::take(&mut state.spawned);
            (task, state.strategy.take(), state.divergence.take(), spawned)
        });
        *strategy = match (returned, &ended) {
            (Some(strategy), _) => strategy,
            (None, Err(caught)) => panic!("the strategy panicked: {}", caught.message),
            (None, Ok(_)) => unreachable!("a coin puts the strategy back"),
        };
        self.adopt(spawned);
        if let Some(divergence) = divergence {
            return Err(Box::new(Step::Diverged(divergence)));
        }
        match ended {
            Ok(_) => Ok(()),
            Err(Caught { message, location }) => {
                let task = self.core.with(|state| state.tasks.id(task));
                Err(Box::new(Step::Panicked(Panicked { task, message, location })))
            }
        }
    }
}

/// What is left to do of an event, with the state unlocked.
pub(super) enum Begun {
    /// Wake whom the event makes ready.
    Woken(Option<Waker>),
    /// Run the task, which is the current one and has the strategy.
    Run(TaskIndex),
    /// Drop the guest request on behalf of its task, which is the current one and has the strategy.
    GiveUp(Arc<dyn GiveUp>),
}

impl State {
    /// Chooses the next event and does what can be done of it with the state locked.
    fn begin_step(
        &mut self,
        strategy: &mut Box<dyn Strategy>,
    ) -> Result<(Label, Begun), Box<Step>> {
        let (event, label) = self.next_event(&mut **strategy)?;
        let step = self.steps - 1;
        self.requests.relied_on.clear();
        let begun = match event {
            Event::Complete { place, outcome } => {
                let due = self.requests.due(place);
                let enabled_by = Enablers::only(self.requests.since(place));
                self.origin = Origin { enabled_by, clock_moved: due > self.timers.now };
                self.timers.now = self.timers.now.max(due);
                let tracking = &mut self.tracking;
                Begun::Woken(self.requests.complete(step, place, outcome, tracking))
            }
            Event::Fire(place) => {
                let (enabled_by, timer) = self.timers.origin(place);
                let before = self.timers.now;
                let waker = self.timers.fire(place);
                let clock_moved = self.timers.now > before;
                self.origin = Origin { enabled_by: Enablers::only(enabled_by), clock_moved };
                self.tracking.touch(timer.whole(Access::Write));
                self.tracking.touch(Object::Unfinished.whole(Access::Read));
                Begun::Woken(waker)
            }
            Event::Poll(place) => {
                let task = self.tasks.take_ready(place);
                let enabled_by = self.tasks.wakers(task).clone();
                self.requests.relied_on.extend(enabled_by.first);
                self.origin = Origin { enabled_by, clock_moved: false };
                self.begin_access(task);
                self.lend(task, strategy);
                Begun::Run(task)
            }
            Event::Cancel(place) => {
                self.cancels_left -= 1;
                let request = self.guest_requests.pending.remove(place);
                self.origin =
                    Origin { enabled_by: Enablers::only(request.since), clock_moved: false };
                self.begin_access(request.task);
                self.tasks.learned(request.task).add(1, request.name_key());
                self.lend(request.task, strategy);
                Begun::GiveUp(request.slot)
            }
        };
        Ok((label, begun))
    }

    /// A task is run, or something of it is dropped.
    fn begin_access(&mut self, task: TaskIndex) {
        let ready = Object::Ready(self.tasks.id(task).key());
        self.tracking.touch(ready.whole(Access::Write));
        if !self.options.told {
            self.begin_untold(task);
        }
    }

    /// A task has run; it may have come to its end.
    fn end_access(&mut self, task: TaskIndex, ended: bool) {
        if !self.options.told {
            self.end_untold(task);
        }
        if !ended {
            return;
        }
        self.tasks.end(task);
        let learned = self.tasks.learned(task).key();
        self.tracking.left = self.tracking.left.wrapping_add(learned);
        if !self.tasks.is_daemon(task) {
            self.tracking.touch(Object::Unfinished.whole(Access::Add));
        }
    }

    fn lend(&mut self, task: TaskIndex, strategy: &mut Box<dyn Strategy>) {
        self.current = Some(task);
        self.strategy = Some(std::mem::replace(strategy, Box::new(LentOut)));
    }
}

/// Wakes with the state unlocked: a waker may do anything.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Holds the caller's place while the strategy is with the world. Never asked.
struct LentOut;

impl Strategy for LentOut {
    fn begin(&mut self) -> bool {
        unreachable!("the strategy is lent to a world")
    }

    fn choose(&mut self, _point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>> {
        unreachable!("the strategy is lent to a world")
    }

    fn end(&mut self) -> Result<(), Box<Divergence>> {
        unreachable!("the strategy is lent to a world")
    }
}
