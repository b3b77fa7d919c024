//! What is noted of the steps of an execution, if anybody wants to know: what each has touched, what
//! each task has learned, what each object holds.
//!
//! A task's memory cannot be looked at, and need not be: it is a function of what the task has
//! learned, in order. So two executions in which every task has learned the same, and every object
//! holds the same, are in the same state. One thing counts as nothing: finding again that one has to
//! wait. A future may be polled at any time for no reason, and must not care.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;

use plugpull_engine::sync::{Access, Watch};
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use super::access::{Accessed, Footprint, Object};
use super::identity::mix;
use super::label::Label;
use super::state::{Core, State};
use super::tasks::TaskIndex;

/// How much is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Noted {
    /// Nothing.
    #[default]
    Nothing,
    /// What each step has touched.
    Footprints,
    /// That, and what identifies the state.
    States,
}

/// The steps each of which would have made an event possible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enablers {
    /// The one that did; none if that was before the first step.
    pub first: Option<usize>,
    /// Later ones.
    pub others: Vec<usize>,
}

impl Enablers {
    /// Just this one.
    pub(super) fn only(first: Option<usize>) -> Self {
        Self { first, others: Vec::new() }
    }
}

/// A step that was made.
#[derive(Debug, Clone)]
pub struct MadeStep {
    /// Which step of the execution, counted from zero.
    pub step: usize,
    /// What happened in it.
    pub event: Label,
    /// What it has touched.
    pub footprint: Footprint,
    /// What has made it possible.
    pub enabled_by: Enablers,
    /// Whether the clock has moved for it: it was possible only because nothing else was.
    pub clock_moved: bool,
    /// Hash of everything that has happened so far.
    pub past: u64,
}

/// What is noted.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    pub(super) noted: Noted,
    /// What the step under way has touched.
    accesses: Vec<Accessed>,
    /// What every object holds.
    contents: Vec<(u64, u128)>,
    /// What kind of object each is, for people.
    kinds: Vec<(u64, &'static str)>,
    /// The sum of the keys of all of it.
    contents_key: u128,
    /// Whether the last step is kept.
    pub(super) keeps_made: bool,
    /// That one, if so.
    pub(super) made: Option<MadeStep>,
    /// What tasks that have ended have left to those that the harness starts.
    pub(super) left: u128,
}

/// What one task has learned.
#[derive(Debug, Clone, Default)]
pub(super) struct Learned {
    history: u128,
    /// The objects that it has found itself waiting for since it learned anything.
    waits: Vec<u64>,
}

impl Learned {
    /// Nothing yet, but what whoever has started it knew.
    pub(super) fn from(identity: u64, inherited: u128) -> Self {
        Self { history: fold(inherited, identity, 0), waits: Vec::new() }
    }

    pub(super) fn add(&mut self, object: u64, what: u128) {
        self.waits.clear();
        self.history = fold(self.history, object, what);
    }

    fn wait(&mut self, object: u64) {
        if !self.waits.contains(&object) {
            self.waits.push(object);
        }
    }

    /// Identifies what was learned.
    pub(super) fn key(&self) -> u128 {
        // In whichever order it looks: it has learned nothing on the way.
        let waits = self.waits.iter().map(|&object| fold(1, object, 0));
        self.history.wrapping_add(waits.fold(0, u128::wrapping_add))
    }
}

/// A hash of a hash, a name and a hash.
pub(super) fn fold(history: u128, object: u64, what: u128) -> u128 {
    let mut bytes = [0; 40];
    bytes[..16].copy_from_slice(&history.to_le_bytes());
    bytes[16..24].copy_from_slice(&object.to_le_bytes());
    bytes[24..].copy_from_slice(&what.to_le_bytes());
    xxh3_128(&bytes)
}

impl Tracking {
    pub(super) fn new(noted: Noted) -> Self {
        Self { noted, ..Self::default() }
    }

    /// The step under way touches something.
    pub(super) fn touch(&mut self, accessed: Accessed) {
        if self.noted != Noted::Nothing {
            self.accesses.push(accessed);
        }
    }

    /// Whether states are to be identified.
    pub(super) fn identifies(&self) -> bool {
        self.noted == Noted::States
    }

    /// What the last step has touched.
    pub(super) fn take_footprint(&mut self) -> Footprint {
        let footprint = Footprint::new(&mut self.accesses);
        self.accesses.clear();
        footprint
    }

    /// Identifies what all objects hold.
    pub(super) fn contents_key(&self) -> u128 {
        self.contents_key
    }

    pub(super) fn holds(&mut self, object: u64, content: u128) {
        if self.identifies() {
            self.gone(object);
            self.contents.push((object, content));
            self.contents_key = self.contents_key.wrapping_add(fold(2, object, content));
        }
    }

    fn gone(&mut self, object: u64) {
        // Few objects are there at a time.
        if let Some(place) = self.contents.iter().position(|(other, _)| *other == object) {
            let (object, content) = self.contents.swap_remove(place);
            self.contents_key = self.contents_key.wrapping_sub(fold(2, object, content));
        }
    }

    /// What an object holds, as far as anybody has told.
    pub(super) fn content(&self, object: u64) -> u128 {
        let found = self.contents.iter().find(|(other, _)| *other == object);
        found.map_or(0, |&(_, content)| content)
    }
}

impl State {
    /// The running task has learned something.
    pub(super) fn learn(&mut self, object: u64, what: u128) {
        if let Some(task) = self.current.filter(|_| self.tracking.identifies()) {
            self.tasks.learned(task).add(object, what);
        }
    }

    /// The running task has to wait for something.
    pub(super) fn wait(&mut self, object: u64) {
        if let Some(task) = self.current.filter(|_| self.tracking.identifies()) {
            self.tasks.learned(task).wait(object);
        }
    }

    /// A task runs whose engine does not tell what it shares: it may look at everything that any of
    /// its tasks has done.
    pub(super) fn begin_untold(&mut self, task: TaskIndex) {
        let engine = Object::Engine;
        self.tracking.touch(engine.whole(Access::Write));
        if self.tracking.identifies() {
            let seen = self.tracking.content(engine.name());
            self.tasks.learned(task).add(engine.name(), seen);
        }
    }

    /// It has run, and may have changed anything.
    pub(super) fn end_untold(&mut self, task: TaskIndex) {
        if self.tracking.identifies() {
            let object = Object::Engine.name();
            let content =
                fold(self.tracking.content(object), object, self.tasks.learned(task).key());
            self.tracking.holds(object, content);
        }
    }

    /// What the state consists of, each part with its key: to say in what two states differ.
    pub(super) fn fingerprint_parts(&self) -> BTreeMap<String, u128> {
        let objects = self.tracking.contents.iter();
        let kind = |object: u64| {
            let mut kinds = self.tracking.kinds.iter();
            kinds
                .find(|(other, _)| *other == object)
                .map_or("what is known of the guest", |it| it.1)
        };
        let objects =
            objects.map(|&(object, key)| (format!("{} {:04x}", kind(object), object >> 48), key));
        let rest = [
            ("disks and requests".to_owned(), self.requests.key()),
            ("clock and timers".to_owned(), self.timers.key()),
            ("what ended tasks have left".to_owned(), self.tracking.left),
        ];
        objects.chain(self.tasks.keys()).chain(rest).collect()
    }

    /// Identifies the state of the execution: equal keys, equal futures.
    pub(super) fn fingerprint(&self) -> u128 {
        assert!(self.tracking.identifies(), "nothing is noted that identifies states");
        let mut key = self.tracking.contents_key();
        key = key.wrapping_add(self.tasks.key());
        key = key.wrapping_add(self.requests.key());
        key = key.wrapping_add(self.timers.key());
        let guests = self
            .guest_requests
            .pending
            .iter()
            .map(|request| fold(3, self.tasks.id(request.task).key(), request.name_key()));
        key = guests.fold(key, u128::wrapping_add);
        fold(key, u64::from(self.cancels_left) << 1 | u64::from(self.calm), self.tracking.left)
    }
}

impl Watch for Core {
    fn object(&self, kind: &'static str) -> u64 {
        self.with(|state| {
            let number = match state.current {
                Some(task) => state.tasks.next_object(task),
                None => {
                    state.harness_objects += 1;
                    state.harness_objects - 1
                }
            };
            let maker = state.current_id().map_or(0, |task| task.key());
            let object = mix(mix(maker, u64::from(number)), xxh3_64(kind.as_bytes()));
            if state.tracking.identifies() {
                state.tracking.kinds.push((object, kind));
            }
            object
        })
    }

    fn access(&self, object: u64, part: Range<u64>, access: Access) {
        self.with(|state| state.tracking.touch(Accessed::new(object, part, access)));
    }

    fn learned(&self, object: u64, told: &dyn Fn(&mut dyn Hasher)) {
        if self.with(|state| state.tracking.identifies()) {
            let what = hash_of(told);
            self.with(|state| state.learn(object, what));
        }
    }

    fn forgets(&self, live: &dyn Fn(&mut dyn Hasher)) {
        let live = hash_of(live);
        self.with(|state| {
            if let Some(task) = state.current {
                state.tasks.forget(task, live);
            }
        });
    }

    fn waits(&self, object: u64) {
        self.with(|state| state.wait(object));
    }

    fn holds(&self, object: u64, content: &dyn Fn(&mut dyn Hasher)) {
        if self.with(|state| state.tracking.identifies()) {
            let content = hash_of(content);
            self.with(|state| state.tracking.holds(object, content));
        }
    }

    fn gone(&self, object: u64) {
        self.with(|state| state.tracking.gone(object));
    }

    fn task(&self) -> u64 {
        self.with(|state| state.current_id().map_or(0, |task| task.key()))
    }
}

fn hash_of(told: &dyn Fn(&mut dyn Hasher)) -> u128 {
    let mut hasher = Xxh3::new();
    told(&mut hasher);
    hasher.digest128()
}
