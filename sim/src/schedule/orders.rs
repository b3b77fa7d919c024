//! An engine that explores orders of events, as a strategy for executions of the simulated world.
//!
//! What acts is a task, a request that completes, a timer, a client that loses patience. The
//! outcomes of a request and the sides of a coin are choices inside an event.
//!
//! With [`ReadyOrder::MacroStep`](crate::exec::ReadyOrder::MacroStep) a completion and all that runs
//! before the next one are a single event: nothing can come in between.

use super::{Divergence, Mismatch, Strategy, Tally};
use crate::exec::{ChoicePoint, Enablers, Footprint, Label, MadeStep, Noted};
use crate::explore::Causes;
use crate::orders::{
    Clocks, Delays, Dpor, Ended, Engine, Moment, NotRepeated, Pick, Ran, Rule, Sample, Stateful,
    Stop, Ways,
};
use crate::verdict::Share;

/// See the module.
#[derive(Debug)]
pub struct Orders<E> {
    engine: E,
    notes: Noted,
    macro_step: bool,
    /// The first step of every event of the execution under way, and, past the present, of the one
    /// before.
    starts: Vec<usize>,
    /// How many events have begun.
    events: usize,
    /// How many steps have been made.
    steps: usize,
    /// What identifies the state in which nothing more could happen, once that was so.
    last: Option<u128>,
    /// The event under way: it has happened once the next moment has come.
    open: bool,
    /// Its steps.
    steps_of_event: Vec<MadeStep>,
    /// What is being listed, kept for its memory.
    enabled: Vec<u64>,
}

impl<E: Engine<u64, Footprint> + Tells> Orders<E> {
    /// Lets `engine` steer executions in which `notes` is noted.
    pub fn new(engine: E, notes: Noted, macro_step: bool) -> Self {
        Self {
            engine,
            notes,
            macro_step,
            starts: Vec::new(),
            events: 0,
            steps: 0,
            last: None,
            open: false,
            steps_of_event: Vec::new(),
            enabled: Vec::new(),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// The event that a step belongs to.
    fn event_of(&self, step: usize) -> usize {
        self.starts[..self.events].partition_point(|&start| start <= step) - 1
    }

    /// Whether an event would not have been possible without the first of these steps, each of which
    /// alone would have made it possible: if all others come after it.
    fn is_needed(&self, enablers: &Enablers) -> bool {
        let Some(first) = enablers.first.map(|step| self.event_of(step)) else { return true };
        let mut events = enablers.others.iter().map(|&step| self.event_of(step));
        events.all(|other| other == first || self.engine.comes_before(first, other))
    }

    /// Tells the engine of the event that has come to its end.
    fn close(&mut self) -> Result<Option<Stop>, NotRepeated> {
        let steps = &self.steps_of_event;
        let (true, Some(first), Some(last)) =
            (std::mem::take(&mut self.open), steps.first(), steps.last())
        else {
            return Ok(None);
        };
        let footprint = match &**steps {
            [only] => only.footprint.clone(),
            several => Footprint::union(several.iter().map(|step| &step.footprint)),
        };
        let enabled_by = first.enabled_by.first.map(|step| self.event_of(step));
        let needed = self.is_needed(&first.enabled_by);
        let (waited_for_all, past) = (first.clock_moved, last.past);
        self.engine.ran(Ran { footprint, enabled_by, needed, waited_for_all, past })
    }

    fn pick(
        &mut self,
        point: &ChoicePoint<'_>,
        fingerprint: &mut dyn FnMut() -> u128,
    ) -> Result<Pick, NotRepeated> {
        if self.macro_step && self.open && matches!(point.options, [Label::Poll(_)]) {
            return Ok(Pick::Run(0));
        }
        if let Some(stop) = self.close()? {
            return Ok(Pick::Stop(stop));
        }
        self.enabled.clear();
        for label in point.options {
            let process = label.process();
            if !self.enabled.contains(&process) {
                self.enabled.push(process);
            }
        }
        // To give up a guest request is what the world lists last, and the only mishap that is not one
        // of several ways of an event.
        let given_up = |label: &&Label| matches!(label, Label::Cancel { .. });
        let mishaps = point.options.iter().rev().take_while(given_up).count();
        let mut moment = Moment { enabled: &self.enabled, mishaps, fingerprint };
        let place = match self.engine.pick(&mut moment)? {
            Pick::Run(place) => place,
            Pick::Stop(stop) => return Ok(Pick::Stop(stop)),
        };
        self.begin_event(point.step);
        let process = self.enabled[place];
        let of_process = (0..).zip(point.options).filter(|(_, label)| label.process() == process);
        let (count, mishaps) = of_process.clone().fold((0, 0), |(count, mishaps), (_, label)| {
            (count + 1, mishaps + usize::from(label.is_mishap()))
        });
        let way = if count == 1 { 0 } else { self.engine.choose(Ways { count, mishaps })? };
        Ok(Pick::Run(of_process.clone().nth(way).expect("counted above").0))
    }

    fn begin_event(&mut self, step: usize) {
        match self.starts.get_mut(self.events) {
            Some(start) => *start = step,
            None => self.starts.push(step),
        }
        self.events += 1;
        self.open = true;
        self.steps_of_event.clear();
    }
}

/// What an engine says besides steering.
pub trait Tells {
    /// What it has done.
    fn tally(&self) -> Tally;

    /// Whether an execution stands for others with other orders.
    fn stands_for_others(&self) -> bool {
        false
    }

    /// Whether an event of the execution under way comes before a later one in the order of
    /// dependence; true, if the engine does not care.
    fn comes_before(&self, earlier: usize, later: usize) -> bool {
        let _ = (earlier, later);
        true
    }

    /// Whether the execution that has ended belongs to another shard.
    fn is_elsewhere(&self) -> bool {
        false
    }

    /// All that is needed to go on later, between two executions; none if the search has to begin anew.
    fn save(&self) -> Option<Vec<u8>> {
        None
    }

    /// What was saved; none if that is something else.
    fn restored(saved: &[u8]) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = saved;
        None
    }

    /// What comes before what in the execution that has ended, and what identifies each event with
    /// what comes before it; if the execution is complete and stands for others.
    fn causes(&self) -> Option<(&Clocks, Vec<u128>)> {
        None
    }
}

impl Tells for Dpor<u64, Footprint> {
    fn save(&self) -> Option<Vec<u8>> {
        postcard::to_allocvec(self).ok()
    }

    fn restored(saved: &[u8]) -> Option<Self> {
        postcard::from_bytes(saved).ok()
    }

    fn tally(&self) -> Tally {
        Tally {
            engine: "dpor",
            classes: Some(self.classes().count),
            covered: Some(self.counts().covered),
            classed: Some((self.roots(), *self.classes(), *self.counts())),
            ..Tally::default()
        }
    }

    fn is_elsewhere(&self) -> bool {
        self.ended() == Some(Ended::Elsewhere)
    }

    fn stands_for_others(&self) -> bool {
        true
    }

    fn comes_before(&self, earlier: usize, later: usize) -> bool {
        self.clocks().is_before(earlier, later)
    }

    fn causes(&self) -> Option<(&Clocks, Vec<u128>)> {
        (self.ended() == Some(Ended::Complete)).then(|| (self.clocks(), self.keys().collect()))
    }
}

impl Tells for Stateful<u64, Footprint> {
    fn save(&self) -> Option<Vec<u8>> {
        postcard::to_allocvec(self).ok()
    }

    fn restored(saved: &[u8]) -> Option<Self> {
        postcard::from_bytes(saved).ok()
    }

    fn tally(&self) -> Tally {
        Tally {
            engine: "stateful",
            states: Some(self.states() as u64),
            covered: Some(self.counts().covered),
            short: self.is_full().then(|| full(self.states())),
            ..Tally::default()
        }
    }
}

impl Tells for Delays<u64> {
    fn save(&self) -> Option<Vec<u8>> {
        postcard::to_allocvec(self).ok()
    }

    fn restored(saved: &[u8]) -> Option<Self> {
        postcard::from_bytes(saved).ok()
    }

    fn tally(&self) -> Tally {
        Tally {
            engine: "delays",
            covered: Some(self.counts().covered),
            short: self.is_full().then(|| full(STATES_MAX)),
            ..Tally::default()
        }
    }
}

impl<R: Rule<u64, Footprint> + Default> Tells for Sample<u64, Footprint, R> {
    fn save(&self) -> Option<Vec<u8>> {
        self.has_pilot().then(|| postcard::to_allocvec(self).ok()).flatten()
    }

    fn restored(saved: &[u8]) -> Option<Self> {
        postcard::from_bytes(saved).ok()
    }

    fn tally(&self) -> Tally {
        let drawn = self.drawn();
        Tally {
            engine: R::NAME,
            classes: (drawn.draws() > 0).then(|| drawn.classes()),
            more_classes: drawn.is_full(),
            drawn_once: Some(Share { part: drawn.once(), whole: drawn.draws() }),
            ..Tally::default()
        }
    }

    fn comes_before(&self, earlier: usize, later: usize) -> bool {
        self.clocks().is_before(earlier, later)
    }

    fn stands_for_others(&self) -> bool {
        true
    }

    fn causes(&self) -> Option<(&Clocks, Vec<u128>)> {
        (self.ended() == Some(Ended::Complete)).then(|| (self.clocks(), self.keys().collect()))
    }
}

/// Most states that are remembered.
pub(crate) const STATES_MAX: usize = 1 << 26;

fn full(states: usize) -> String {
    format!("there is no room for more than {states} states")
}

impl<E: Engine<u64, Footprint> + Tells + Send> Strategy for Orders<E> {
    fn begin(&mut self) -> bool {
        self.events = 0;
        self.steps = 0;
        self.last = None;
        self.open = false;
        self.engine.begin()
    }

    fn choose(&mut self, point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>> {
        let ways = Ways { count: point.options.len(), mishaps: 0 };
        self.engine.choose(ways).map_err(diverged)
    }

    fn next(
        &mut self,
        point: &ChoicePoint<'_>,
        fingerprint: &mut dyn FnMut() -> u128,
    ) -> Result<Pick, Box<Divergence>> {
        self.pick(point, fingerprint).map_err(diverged)
    }

    fn notes(&self) -> Noted {
        self.notes
    }

    fn made(&mut self, step: MadeStep) -> Result<(), Box<Divergence>> {
        self.steps = step.step + 1;
        assert!(self.open, "a step belongs to an event");
        self.steps_of_event.push(step);
        Ok(())
    }

    fn finished(&mut self, fingerprint: &mut dyn FnMut() -> u128) {
        if self.last.is_none() {
            self.last = Some(if self.notes == Noted::States { fingerprint() } else { 0 });
        }
    }

    fn end(&mut self) -> Result<(), Box<Divergence>> {
        self.close().map_err(diverged)?;
        let result = match self.last {
            Some(last) => self.engine.end(Some(&mut || last)),
            None => self.engine.end(None),
        };
        result.map_err(diverged)
    }

    fn stands_for_others(&self) -> bool {
        self.engine.stands_for_others()
    }

    fn causes(&self) -> Option<Causes<'_>> {
        let (clocks, keys) = self.engine.causes()?;
        let ends = self.starts[..self.events].iter().skip(1).copied().chain([self.steps]);
        let steps = self.starts[..self.events].iter().zip(ends).map(|(&start, end)| start..end);
        Some(Causes { clocks, steps: steps.collect(), keys })
    }

    fn is_elsewhere(&self) -> bool {
        self.engine.is_elsewhere()
    }

    fn tally(&self) -> Tally {
        self.engine.tally()
    }

    fn first_new_step(&self) -> usize {
        self.starts.get(self.engine.first_new_step()).copied().unwrap_or(0)
    }

    fn save(&self) -> Option<Vec<u8>> {
        let engine = self.engine.save()?;
        postcard::to_allocvec(&(engine, &self.starts)).ok()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), String> {
        let (engine, starts): (Vec<u8>, Vec<usize>) =
            postcard::from_bytes(saved).map_err(|error| error.to_string())?;
        self.engine = E::restored(&engine).ok_or("the state of the engine cannot be read")?;
        self.starts = starts;
        Ok(())
    }

    fn progress(&self) -> Option<Share> {
        self.engine.progress().map(|part| Share { part, whole: 1 << 62 })
    }
}

fn diverged(NotRepeated { step, what }: NotRepeated) -> Box<Divergence> {
    Box::new(Divergence { choice: step, step: Some(step), mismatch: Mismatch::Event(what) })
}
