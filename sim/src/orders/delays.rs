//! Every order that departs from first come, first served, by so much at most.
//!
//! Processes go in the order in which they became enabled. Passing over some of them is a *delay*
//! each: to run the j-th one, counted from zero, costs j. Within the bound all orders and all choices
//! are explored; a bound of `n` says that nothing is wrong with up to `n` delays.
//!
//! States are merged when their fingerprints are equal, and the order in which their processes have
//! become enabled (it prices what follows), and no more may be spent than when they were met before.

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Ended};
use super::path::Path;
use super::seen::Seen;
use super::{
    Engine, Footprint, Moment, NotRepeated, Pick, Process, Ran, Stop, Ways, class, progress,
};

/// Explores the orders with at most so many delays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delays<P> {
    path: Path<P>,
    /// One for each step of the path.
    queues: Vec<Queue<P>>,
    /// By fingerprint and queue: one more than the delays that were left.
    seen: Seen,
    delays_max: usize,
    counts: Counts,
    stopped: Option<Stop>,
    finished: bool,
}

/// Who waits, since when, and how many delays are left.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Queue<P> {
    /// The enabled processes as they became so, each with its place among the enabled ones.
    waiting: Vec<(P, usize)>,
    /// Which of them goes.
    turn: usize,
    /// Delays left before it goes.
    left: usize,
}

impl<P: Process> Delays<P> {
    /// At most `delays_max` delays, and at most `states_max` states remembered.
    #[must_use]
    pub fn new(delays_max: usize, states_max: usize) -> Self {
        Self {
            path: Path::new(),
            queues: Vec::new(),
            seen: Seen::new(states_max),
            delays_max,
            counts: Counts::default(),
            stopped: None,
            finished: false,
        }
    }

    /// What was done up to now.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether the search has ended because there is no room for more states.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.stopped == Some(Stop::Full)
    }

    /// Moves to the next path: the deepest step with a way left takes it.
    fn advance(&mut self) -> bool {
        while let Some(queue) = self.queues.last_mut() {
            if self.path.advance_choices() {
                return true;
            }
            queue.turn += 1;
            if queue.turn < queue.ways() {
                self.path.turn(queue.waiting[queue.turn].1);
                return true;
            }
            self.path.pop();
            self.queues.pop();
        }
        false
    }

    /// Who waits at a new moment.
    fn queue(&self, enabled: &[P]) -> Queue<P> {
        let place_of = |process: P| enabled.iter().position(|&other| other == process);
        let mut waiting = Vec::with_capacity(enabled.len());
        let mut left = self.delays_max;
        if let Some(before) = self.queues.last() {
            left = before.left - before.turn;
            let others = before.waiting.iter().enumerate().filter(|(at, _)| *at != before.turn);
            let still = others.filter_map(|(_, &(process, _))| Some((process, place_of(process)?)));
            waiting.extend(still);
        }
        let old = waiting.len();
        for (place, &process) in enabled.iter().enumerate() {
            if waiting[..old].iter().all(|&(other, _)| other != process) {
                waiting.push((process, place));
            }
        }
        Queue { waiting, turn: 0, left }
    }
}

impl<P: Process> Queue<P> {
    /// How many of those that wait may go.
    fn ways(&self) -> usize {
        self.waiting.len().min(self.left.saturating_add(1))
    }

    /// Identifies the state with this fingerprint and what each delay costs from here.
    fn key(&self, fingerprint: u128) -> u128 {
        let keys = self.waiting.iter().map(|(process, _)| process.key());
        keys.fold(fingerprint, class::chain)
    }

    /// What to remember of it: more if more delays are left.
    fn note(&self) -> u64 {
        self.left as u64 + 1
    }
}

impl<P: Process, F: Footprint> Engine<P, F> for Delays<P> {
    fn begin(&mut self) -> bool {
        let more = !self.is_full() && (self.counts.executions == 0 || self.advance());
        if !more {
            self.finished = true;
            return false;
        }
        self.path.rewind();
        self.stopped = None;
        self.counts.executions += 1;
        true
    }

    fn pick(&mut self, moment: &mut Moment<'_, P>) -> Result<Pick, NotRepeated> {
        if let Some(place) = self.path.repeat(moment.enabled)? {
            return Ok(Pick::Run(place));
        }
        let queue = self.queue(moment.enabled);
        let key = queue.key((moment.fingerprint)());
        let stop = match self.seen.find(key) {
            Some(note) if note >= queue.note() => Some(Stop::Covered),
            _ => (!self.seen.put(key, queue.note())).then_some(Stop::Full),
        };
        if let Some(stop) = stop {
            self.stopped = Some(stop);
            return Ok(Pick::Stop(stop));
        }
        let place = queue.waiting[0].1;
        self.path.push(moment.enabled, place);
        self.queues.push(queue);
        Ok(Pick::Run(place))
    }

    fn choose(&mut self, ways: Ways) -> Result<usize, NotRepeated> {
        self.path.choose(ways.count)
    }

    fn ran(&mut self, ran: Ran<F>) -> Result<Option<Stop>, NotRepeated> {
        self.counts.steps += 1;
        self.path.ran(&ran).map(|_| None)
    }

    fn end(&mut self, last: Option<&mut dyn FnMut() -> u128>) -> Result<(), NotRepeated> {
        let whole = if last.is_some() { Ended::Complete } else { Ended::GivenUp };
        self.counts.ended(self.stopped.map_or(whole, Ended::from));
        self.path.end()
    }

    fn first_new_step(&self) -> usize {
        self.path.first_new_step()
    }

    fn progress(&self) -> Option<u64> {
        if self.finished {
            return Some(progress::whole());
        }
        let steps = self.path.steps().iter().zip(&self.queues);
        Some(progress::share(steps.flat_map(|(step, queue)| step.levels(queue.turn, queue.ways()))))
    }
}
