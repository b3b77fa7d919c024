//! Every state once, by fingerprints.
//!
//! From each state every enabled process goes, in all ways, unless it sleeps (see [`super::asleep`]); an
//! execution that meets a state seen before is given up, if nothing is awake there that slept then.
//! Equal fingerprints have to mean equal futures, which an audit checks for some of the states met
//! again; footprints have to be right, as for [`Dpor`](super::Dpor), or states are missed.
//!
//! Every state is visited, so power cuts are explored at each moment and no cuts are needed.

use serde::{Deserialize, Serialize};

use super::asleep::{Here, Sleeper, Slept};
use super::audit::{Next, Note};
use super::counts::{Counts, Ended};
use super::path::Path;
use super::seen::Seen;
use super::{
    Difference, Engine, Footprint, Moment, NotRepeated, Pick, Process, Ran, Stop, Ways, progress,
};

/// Visits every state once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stateful<P, F> {
    path: Path<P>,
    /// The fingerprint at each step of the path.
    fingerprints: Vec<u128>,
    /// Who is to go from each state of the path.
    states: Vec<Here<P, F>>,
    seen: Seen,
    slept: Slept,
    counts: Counts,
    transitions: u64,
    hits: u64,
    audits: u64,
    /// One of so many hits is audited; zero for none.
    audit_every: u64,
    /// The event under way or just run, if it is new.
    next: Next,
    /// The audit under way: what was noted of the state at the last moment, and the steps done.
    audit: Option<(Note, usize)>,
    stopped: Option<Stop>,
    /// Whether the search has ended.
    finished: bool,
}

impl<P: Process, F: Footprint> Stateful<P, F> {
    /// Visits at most `states_max` states, and audits one of `audit_every` meetings with a state seen
    /// before: all if that is one, none if it is zero.
    #[must_use]
    pub fn new(states_max: usize, audit_every: u64) -> Self {
        Self {
            path: Path::new(),
            fingerprints: Vec::new(),
            states: Vec::new(),
            seen: Seen::new(states_max),
            slept: Slept::default(),
            counts: Counts::default(),
            transitions: 0,
            hits: 0,
            audits: 0,
            audit_every,
            next: Next::default(),
            audit: None,
            stopped: None,
            finished: false,
        }
    }

    /// What was done up to now.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Different states, the last ones of executions included.
    #[must_use]
    pub fn states(&self) -> usize {
        self.seen.len()
    }

    /// Events that led from a state to another, each once.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// How often a state met again was audited.
    #[must_use]
    pub fn audits(&self) -> u64 {
        self.audits
    }

    /// Whether the search has ended because there is no room for more states.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.stopped == Some(Stop::Full)
    }

    /// Moves to the next path: the deepest step with a way left takes it.
    fn advance(&mut self) -> bool {
        while let (Some(last), Some(here)) = (self.path.last(), self.states.last_mut()) {
            let process = last.process();
            if self.path.advance_choices() {
                here.other_way();
                return true;
            }
            here.all_ways(process);
            if let Some(next) = here.take_next() {
                self.path.turn(next);
                return true;
            }
            self.path.pop();
            self.fingerprints.pop();
            self.states.pop();
        }
        false
    }

    /// The path has led to this state: what was done first from the state before is noted there.
    fn lead_to(&mut self, fingerprint: u128) {
        let (Some(step), Some(&from)) = (self.path.last(), self.fingerprints.last()) else {
            return;
        };
        let mut made = step.choices.made().iter();
        if self.seen.find(from) == Some(Note::NONE.0) && made.all(|choice| choice.index == 0) {
            self.seen.put(from, self.next.note(fingerprint).0);
        }
    }

    /// Who sleeps at the state that the path has led to.
    fn sleepers(&self, enabled: &[P]) -> Vec<Sleeper<P, F>> {
        let (Some(step), Some(here)) = (self.path.last(), self.states.last()) else {
            return Vec::new();
        };
        match here.last_way() {
            Some(footprint) => here.after(step.process(), footprint, enabled),
            None => Vec::new(),
        }
    }

    /// A state seen before is met. Whether this one is audited.
    fn hit(&mut self, note: Note) -> bool {
        self.hits += 1;
        let audited = self.audit_every > 0 && self.hits.is_multiple_of(self.audit_every);
        if audited {
            self.audits += 1;
            self.audit = Some((note, 0));
        }
        audited
    }

    fn stop(&mut self, stop: Stop) -> Pick {
        self.stopped = Some(stop);
        Pick::Stop(stop)
    }

    /// A moment in an audit: the process goes that went when the state was seen first.
    fn follow(&mut self, enabled: &[P]) -> Result<Pick, NotRepeated> {
        let Some((note, steps)) = self.audit else { return Ok(self.stop(Stop::Covered)) };
        if note == Note::NONE {
            return Ok(self.stop(Stop::Covered));
        }
        let place = note.place(enabled).ok_or_else(|| self.merged(steps))?;
        self.next = Next::new(enabled, enabled[place]);
        Ok(Pick::Run(place))
    }

    /// The audit has led to this state; what was noted of it.
    fn audit_led_to(&mut self, note: Note, steps: usize, to: u128) -> Result<Note, NotRepeated> {
        if self.next.note(to) != note {
            return Err(self.merged(steps));
        }
        let note = Note(self.seen.find(to).ok_or_else(|| self.merged(steps))?);
        self.audit = Some((note, steps + 1));
        Ok(note)
    }

    fn merged(&self, steps: usize) -> NotRepeated {
        Difference::Merged.at(self.path.steps().len() + steps)
    }

    /// The execution has come to its end, at this state.
    fn last(&mut self, fingerprint: u128) -> Result<(), NotRepeated> {
        let mut steps = 0;
        let note = if let Some((note, done)) = self.audit {
            steps = done;
            Some(self.audit_led_to(note, done, fingerprint)?)
        } else {
            self.lead_to(fingerprint);
            self.seen.find(fingerprint).map(Note)
        };
        match note {
            Some(Note::LAST) => {}
            Some(_) => return Err(self.merged(steps)),
            None if self.seen.put(fingerprint, Note::LAST.0) => {}
            None => self.stopped = Some(Stop::Full),
        }
        Ok(())
    }
}

impl<P: Process, F: Footprint> Engine<P, F> for Stateful<P, F> {
    fn begin(&mut self) -> bool {
        let more = !self.is_full() && (self.counts.executions == 0 || self.advance());
        if !more {
            self.finished = true;
            return false;
        }
        self.path.rewind();
        self.audit = None;
        self.stopped = None;
        self.counts.executions += 1;
        true
    }

    fn pick(&mut self, moment: &mut Moment<'_, P>) -> Result<Pick, NotRepeated> {
        let enabled = moment.enabled;
        if let Some((note, steps)) = self.audit {
            self.audit_led_to(note, steps, (moment.fingerprint)())?;
            return self.follow(enabled);
        }
        if let Some(place) = self.path.repeat(enabled)? {
            if self.path.is_last() {
                self.next = Next::new(enabled, enabled[place]);
            }
            return Ok(Pick::Run(place));
        }
        let fingerprint = (moment.fingerprint)();
        self.lead_to(fingerprint);
        let sleepers = self.sleepers(enabled);
        let note = self.seen.find(fingerprint);
        let mut here = match note {
            None => Here::new(enabled, sleepers),
            Some(_) => Here::again(enabled, sleepers, self.slept.at(fingerprint)),
        };
        let asleep = here.asleep();
        let first = here.take_next();
        if let (Some(note), None) = (note, first) {
            return match self.hit(Note(note)) {
                true => self.follow(enabled),
                false => Ok(self.stop(Stop::Covered)),
            };
        }
        if note.is_none() && !self.seen.put(fingerprint, Note::NONE.0) {
            return Ok(self.stop(Stop::Full));
        }
        self.slept.put(fingerprint, asleep);
        let Some(first) = first else { return Ok(self.stop(Stop::Covered)) };
        self.path.push(enabled, first);
        self.fingerprints.push(fingerprint);
        self.states.push(here);
        self.next = Next::new(enabled, enabled[first]);
        Ok(Pick::Run(first))
    }

    fn choose(&mut self, ways: Ways) -> Result<usize, NotRepeated> {
        self.next.choose(ways.count);
        if self.audit.is_some() { Ok(0) } else { self.path.choose(ways.count) }
    }

    fn ran(&mut self, ran: Ran<F>) -> Result<Option<Stop>, NotRepeated> {
        self.counts.steps += 1;
        if self.audit.is_some() {
            self.next.touch(ran.footprint.key());
        } else if self.path.ran(&ran)? {
            self.next.touch(ran.footprint.key());
            self.transitions += 1;
            self.states.last_mut().expect("an event leads from a state").went(ran.footprint);
        }
        Ok(None)
    }

    fn end(&mut self, last: Option<&mut dyn FnMut() -> u128>) -> Result<(), NotRepeated> {
        self.path.end()?;
        let mut ended = self.stopped.map_or(Ended::GivenUp, Ended::from);
        if let Some(fingerprint) = last {
            self.last(fingerprint())?;
            // An audited execution adds nothing.
            ended = if self.audit.is_some() { Ended::Covered } else { Ended::Complete };
        }
        self.counts.ended(ended);
        Ok(())
    }

    fn first_new_step(&self) -> usize {
        self.path.first_new_step()
    }

    fn progress(&self) -> Option<u64> {
        if self.finished {
            return Some(progress::whole());
        }
        let steps = self.path.steps().iter().zip(&self.states);
        Some(progress::share(steps.flat_map(|(step, here)| {
            step.levels(here.done().saturating_sub(1), step.enabled.len())
        })))
    }
}
