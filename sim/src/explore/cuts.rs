//! Power cuts: from a crash point through every recovery to a judgement, and on to the cuts inside
//! recovery and inside the sessions that follow.
//!
//! Recovery runs on disks that are undecided until it reads them ([`LazyDisks`]), once for every way
//! that what it reads can make it go. What the ways stand for adds up to the crash states, and the
//! sum is checked at every crash point. Each guest range is read back for itself, from where
//! recovery has left the disks, so that undecided data sectors add up instead of multiplying.
//!
//! Equal crash points are visited once. What is equal includes what is owed to the guest, what is
//! read back, and how deep the search may still go from there.
//!
//! `ways` takes every way from one point, `images` image after image where that is asked for; `leaf` is
//! what happens on one way, `answers` the reading back, `concrete` how a violation that
//! was found on undecided disks becomes one with an image for every power cut.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use num_bigint::BigUint;
use plugpull_engine::ByteRange;
use serde::{Deserialize, Serialize};

use crate::crash::direct::combined_key;
use crate::crash::{Assignment, BruteForce, LazyDisks, Path, Unreadable, Watch};
use crate::disk::{CrashSpace, Image, Undecided};
use crate::explore::budget::{Budget, Spent};
use crate::explore::cross_check::Observed;
use crate::explore::found::Cut;
use crate::explore::later::LaterSession;
use crate::explore::script::Script;
use crate::explore::visited::Visited;
use crate::oracle::{Finding, Obligations};
use crate::system::System;
use crate::verdict::Invariant;

/// The place of a cut after a recovery that came to its end and was read: no other cut has it.
pub(super) const SETTLED: u64 = 1 << 40;

/// How far the search may still go from a crash point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Power cuts inside recovery that may still follow.
    pub(crate) recovery_cuts: u32,
    /// Later sessions that were run already.
    pub(crate) sessions_done: usize,
}

/// Which crash states of a point are visited.
#[derive(Debug, Clone)]
pub(crate) enum Method {
    /// All, on undecided disks, as long as there are no more ways through one recovery, or answers
    /// to one query, than this.
    Exact {
        /// Most ways.
        paths_max: u64,
    },
    /// As many as the enumerator says, image by image.
    Enumerated(BruteForce),
}

/// What was counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Distinct crash points.
    pub(crate) points: u64,
    /// Crash states of these points.
    pub(crate) states: BigUint,
    /// Crash states among them that were visited.
    pub(crate) visited: BigUint,
    /// Ways through recovery that were run.
    pub(crate) recoveries: u64,
    /// Guest ranges read back.
    pub(crate) queries: u64,
    /// Crash points of which not every state was visited, because that takes too many ways.
    pub(crate) bounded_points: u64,
    /// Of those, the states visited and all states.
    pub(crate) bounded: (BigUint, BigUint),
    /// Where there were too many ways: so many levels (no answer that differs from everything kept or
    /// everything lost, one, two) were taken in full at every such point.
    pub(crate) levels: Option<usize>,
    /// Crash points at which the enumerator has seen the same.
    pub(crate) cross_checked: u64,
}

/// A moment at which power is cut, and what has to hold afterwards.
#[derive(Clone)]
pub(crate) struct Point {
    /// When.
    pub(crate) at: u64,
    /// What each disk may be left with.
    pub(crate) spaces: Arc<[CrashSpace]>,
    /// What the guest is owed.
    pub(crate) obligations: Arc<Obligations>,
    /// Which sectors may be unreadable afterwards, if any may.
    pub(crate) unreadable: Option<Unreadable>,
    /// What is read back of it.
    pub(crate) asked: Arc<[ByteRange]>,
    /// How far the search goes on.
    pub(crate) reach: Reach,
}

impl Point {
    /// The session that is cut; recovery counts to the session it precedes.
    pub(super) fn session(&self) -> usize {
        self.reach.sessions_done + 1
    }

    pub(super) fn key(&self) -> u128 {
        let asked = self.asked.iter().fold(0, |key: u128, range| {
            key.wrapping_mul(0x0000_0100_0000_01b3).wrapping_add(u128::from(range.offset) << 64)
                ^ u128::from(range.len)
        });
        let reach = u128::from(self.reach.recovery_cuts) << 32 | self.reach.sessions_done as u128;
        let unreadable = self.unreadable.as_ref().map_or(0, Unreadable::key);
        let left = combined_key(&self.spaces).wrapping_add(unreadable);
        let mixed = left.rotate_left(64) ^ self.obligations.key().rotate_left(17) ^ asked;
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).wrapping_add(reach)
    }
}

/// What a run after a power cut starts from.
#[derive(Clone)]
pub(super) enum Left {
    /// Any image that the spaces allow, with sectors that may be unreadable.
    Undecided(Arc<[CrashSpace]>, Option<Unreadable>),
    /// One image of each disk, with unreadable sectors.
    Images(Vec<Image>, Option<Unreadable>),
}

/// A power cut on the way to where the search is.
#[derive(Clone)]
pub(super) struct Level {
    pub(super) at: u64,
    pub(super) session: usize,
    pub(super) spaces: Arc<[CrashSpace]>,
    pub(super) taken: Taken,
    /// For each disk the sectors that turned out to be unreadable.
    pub(super) unreadable: Vec<BTreeSet<u64>>,
    /// What the recovery that follows shows that is wrong, where it runs on images.
    pub(super) wrong: Wrong,
}

/// What a recovery shows that is wrong.
#[derive(Clone, Default)]
pub(super) struct Wrong {
    /// Whether it fails as a whole, or the structure is broken.
    pub(super) everything: bool,
    /// Guest sectors.
    pub(super) sectors: BTreeSet<u64>,
}

/// What is known of the choice that a power cut made.
#[derive(Clone)]
pub(super) enum Taken {
    /// Everything.
    All(Assignment),
    /// What was answered so far, disk by disk.
    Some(Vec<Undecided>),
}

/// The violation at the end of a chain of cuts.
pub(crate) struct Violation {
    pub(crate) finding: Finding,
    pub(crate) cuts: Vec<Cut>,
}

/// Decides whether to go on after a violation.
pub(crate) type Report<'a> = &'a mut dyn FnMut(Violation) -> ControlFlow<()>;

/// The power cuts of one exploration.
pub(crate) struct Cuts {
    pub(super) system: Arc<dyn System>,
    pub(super) method: Method,
    pub(super) later: Vec<LaterSession>,
    /// How the states that a way stands for are counted.
    pub(super) states_of: fn(&LazyDisks) -> BigUint,
    /// Whether crash points with few states are enumerated as well.
    pub(crate) cross_checks: bool,
    /// Whether recovery and later sessions are cut at every step, not just at the end of intervals.
    pub(crate) at_every_step: bool,
    pub(super) points_seen: Visited,
    pub(super) states_seen: Visited,
    pub(super) chain: Vec<Level>,
    /// Where the chain began, to take it again.
    pub(super) root: Option<Point>,
    pub(super) script: Option<Script>,
    /// What was seen at the crash point at hand, where that is compared with the enumerator.
    pub(super) observed: Option<Observed>,
    /// Whether, at the crash point at hand, a question about images, a query or a session after it
    /// has more ways than allowed.
    pub(super) cut_short: bool,
    /// Whether nothing but observing is asked for.
    pub(super) only_observes: bool,
    /// Invariants that were told already: the first violation of each is enough.
    pub(super) told: BTreeSet<Invariant>,
    /// How often F-REPLAY was looked for in vain.
    pub(super) repeated_in_vain: usize,
    /// How many power cuts of the script were taken, one inside the other.
    pub(crate) scripted: usize,
    /// What may still be done.
    budget: Option<Budget>,
    /// Whether that was overrun, and something was given up in the middle.
    pub(crate) gave_up: bool,
    /// Why a script cannot be followed.
    pub(crate) misfit: Option<String>,
    /// Why nothing that was found can be trusted.
    pub(crate) broken: Option<String>,
    pub(crate) counts: Counts,
    pub(crate) events: BTreeSet<&'static str>,
}

impl Cuts {
    pub(crate) fn new(system: Arc<dyn System>, method: Method, later: Vec<LaterSession>) -> Self {
        Self {
            system,
            method,
            later,
            states_of: LazyDisks::states,
            cross_checks: false,
            at_every_step: false,
            points_seen: Visited::default(),
            states_seen: Visited::default(),
            chain: Vec::new(),
            root: None,
            script: None,
            scripted: 0,
            observed: None,
            cut_short: false,
            only_observes: false,
            told: BTreeSet::new(),
            repeated_in_vain: 0,
            budget: None,
            gave_up: false,
            misfit: None,
            broken: None,
            counts: Counts::default(),
            events: BTreeSet::new(),
        }
    }

    /// The same, given up once a budget is overrun.
    pub(crate) fn within(self, budget: Option<Budget>) -> Self {
        Self { budget, ..self }
    }

    /// Goes on unless the budget is overrun. What makes a counterexample of something found has none.
    pub(super) fn go_on_within_budget(&mut self) -> ControlFlow<()> {
        let overrun = |budget: &Budget| budget.spent() == Spent::Overrun;
        self.gave_up |= self.budget.as_ref().is_some_and(overrun);
        if self.gave_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The same with nothing visited yet.
    pub(crate) fn anew(&self) -> Self {
        Self::new(Arc::clone(&self.system), self.method.clone(), self.later.clone())
    }

    /// From now on takes these cuts and no others.
    pub(crate) fn follow(&mut self, script: Script) {
        self.script = Some(script);
    }

    /// Visits every crash state of one crash point.
    pub(crate) fn point(&mut self, point: Point, report: Report<'_>) -> ControlFlow<()> {
        if self.chain.is_empty() {
            self.root = Some(point.clone());
        }
        if self.script.is_some() {
            return self.scripted(&point, report);
        }
        if !self.points_seen.insert(point.key()) {
            return ControlFlow::Continue(());
        }
        self.counts.points += 1;
        match self.method.clone() {
            Method::Exact { paths_max } => self.exact(&point, paths_max, report),
            Method::Enumerated(explorer) => self.enumerated(&point, &explorer, report),
        }
    }

    /// Disks that a run after a power cut starts on.
    pub(super) fn disks(&self, left: &Left, path: Path, watch: Watch) -> LazyDisks {
        disks(&*self.system, left, path, watch)
    }

    /// Notes in the last level of the chain what is decided of its choice.
    pub(super) fn narrow(&mut self, disks: &LazyDisks) {
        let undecided = (0..disks.count()).map(|index| disks.disk(index).undecided().cloned());
        self.narrow_to(undecided.collect(), disks.unreadable());
    }

    pub(super) fn narrow_to(
        &mut self,
        undecided: Vec<Option<Undecided>>,
        unreadable: Option<&Unreadable>,
    ) {
        let level = self.chain.last_mut().expect("a power cut was taken");
        if let (Taken::Some(taken), Some(now)) =
            (&mut level.taken, undecided.into_iter().collect::<Option<Vec<_>>>())
        {
            *taken = now;
            level.unreadable = unreadable.map_or(Vec::new(), |some| some.found().to_vec());
        }
    }

    pub(super) fn observe(&mut self, observe: impl FnOnce(&mut Observed)) {
        if let Some(observed) = &mut self.observed {
            observe(observed);
        }
    }

    /// Whether no more ways of a query or a session may be taken; that is noted.
    pub(super) fn is_too_many(&mut self, paths: u64) -> bool {
        let Method::Exact { paths_max } = self.method else { return false };
        self.cut_short |= paths >= paths_max;
        paths >= paths_max
    }

    /// Goes on if something is as it must be.
    pub(super) fn trusted(&mut self, checked: Result<(), String>) -> ControlFlow<()> {
        match checked {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => self.distrust(why),
        }
    }

    pub(super) fn distrust<C>(&mut self, why: String) -> ControlFlow<(), C> {
        self.broken.get_or_insert(why);
        ControlFlow::Break(())
    }
}

/// Disks that a run after a power cut starts on.
pub(super) fn disks(system: &dyn System, left: &Left, path: Path, watch: Watch) -> LazyDisks {
    let specs = system.disks().iter().cloned();
    match left {
        Left::Undecided(spaces, unreadable) => {
            let disks = LazyDisks::after_power_cut(specs.zip(spaces.iter().cloned()), path, watch);
            with_unreadable(disks, unreadable)
        }
        Left::Images(images, unreadable) => {
            let disks = LazyDisks::new(specs.zip(images.iter().cloned()), watch).on(path);
            with_unreadable(disks, unreadable)
        }
    }
}

fn with_unreadable(disks: LazyDisks, unreadable: &Option<Unreadable>) -> LazyDisks {
    match unreadable {
        Some(unreadable) => disks.with_unreadable(unreadable.clone()),
        None => disks,
    }
}

/// The images for one option of every variable.
pub(super) fn realize(spaces: &[CrashSpace], assignment: &Assignment) -> Vec<Image> {
    spaces.iter().zip(&assignment.options).map(|(space, of)| space.realize(of)).collect()
}
