//! The events that may happen next.

use std::time::Duration;

use super::label::Label;
use super::options::ReadyOrder;
use super::state::State;

/// An event, by the places that its parts have right now.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// The task at this place of the ready set runs.
    Poll(usize),
    /// The request at this place completes with this one of its outcomes.
    Complete { place: usize, outcome: usize },
    /// The timer at this place fires.
    Fire(usize),
    /// The guest request at this place is given up.
    Cancel(usize),
}

/// The enabled events with their labels, in step. Kept between steps for its memory.
#[derive(Debug, Default)]
pub(super) struct Enabled {
    pub(super) events: Vec<Event>,
    pub(super) labels: Vec<Label>,
}

impl Enabled {
    fn push(&mut self, event: Event, label: Label) {
        self.events.push(event);
        self.labels.push(label);
    }

    /// Timers and requests that are due at `now`.
    fn push_due(&mut self, state: &State, now: Duration) {
        if !state.tasks.all_ended() {
            for (place, label) in state.timers.due(now) {
                self.push(Event::Fire(place), label);
            }
        }
        for (place, outcome, label) in state.requests.completions(now) {
            self.push(Event::Complete { place, outcome }, label);
        }
    }

    /// Lists what may happen next, in the order that the documentation of
    /// [`ChoicePoint`](super::ChoicePoint) promises. Nothing, if the execution is at its end.
    ///
    /// The clock moves only when nothing else can happen, and not for daemons alone; timers that
    /// are due at the present moment fire at any time from then on, so that what they start runs
    /// beside everything else. Giving up a guest request is never the only thing that can happen: a
    /// request that only ends when its client loses patience hangs. In a calm world only the first
    /// event is listed, and requests succeed as far as faults leave that open.
    pub(super) fn list(&mut self, state: &State) {
        self.events.clear();
        self.labels.clear();
        let ready = state.tasks.ready();
        if state.options.ready == ReadyOrder::MacroStep && !ready.is_empty() {
            self.push(Event::Poll(0), Label::Poll(state.tasks.id(ready[0])));
            return;
        }
        for (place, &task) in ready.iter().enumerate() {
            self.push(Event::Poll(place), Label::Poll(state.tasks.id(task)));
        }
        self.push_due(state, state.timers.now);
        if self.events.is_empty() {
            let timer = state.timers.earliest().filter(|_| !state.tasks.all_ended());
            let moments = timer.into_iter().chain(state.requests.earliest());
            if let Some(next) = moments.min() {
                self.push_due(state, next);
            }
        }
        if !self.events.is_empty() && state.cancels_left > 0 {
            for (place, request) in state.guest_requests.pending.iter().enumerate() {
                let task = state.tasks.id(request.task);
                self.push(Event::Cancel(place), Label::Cancel { task, what: request.name });
            }
        }
        if state.calm {
            self.events.truncate(1);
            self.labels.truncate(1);
        }
    }
}
