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
//! `leaf` is what happens on one way, `answers` the reading back, `concrete` how a violation that
//! was found on undecided disks becomes one with an image for every power cut.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use num_bigint::BigUint;
use plugpull_engine::ByteRange;

use crate::crash::direct::combined_key;
use crate::crash::{
    Assignment, BruteForce, Certificate, CrashExplorer, CrashState, DirectWorld, LazyDisks,
    Nearness, Path, Unreadable, Watch,
};
use crate::disk::{CrashSpace, Image, Prefer, Undecided};
use crate::explore::cross_check::Observed;
use crate::explore::found::Cut;
use crate::explore::later::LaterSession;
use crate::explore::leaf::run;
use crate::explore::script::Script;
use crate::explore::visited::Visited;
use crate::oracle::{Finding, Obligations};
use crate::system::{Purpose, System};
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
#[derive(Debug, Clone, Default)]
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
    /// How many losses, seen from everything kept and from everything lost, were all visited at
    /// every such point.
    pub(crate) losses: Option<usize>,
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

    fn key(&self) -> u128 {
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
    /// Whether crash points with few states are enumerated as well.
    pub(crate) cross_checks: bool,
    /// Whether recovery and later sessions are cut at every step, not just at the end of intervals.
    pub(crate) at_every_step: bool,
    points_seen: Visited,
    states_seen: Visited,
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
            misfit: None,
            broken: None,
            counts: Counts::default(),
            events: BTreeSet::new(),
        }
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

    /// Every way through recovery from here.
    fn exact(&mut self, point: &Point, paths_max: u64, report: Report<'_>) -> ControlFlow<()> {
        let images: BigUint = point.spaces.iter().map(CrashSpace::raw_states).product();
        let states = point.unreadable.iter().fold(images, |states, some| states * some.ways());
        let mut certificate = Certificate::new(states);
        let left = Left::Undecided(Arc::clone(&point.spaces), point.unreadable.clone());
        self.chain.push(Level {
            at: point.at,
            session: point.session(),
            spaces: Arc::clone(&point.spaces),
            taken: Taken::Some(point.spaces.iter().cloned().map(Undecided::new).collect()),
            unreadable: Vec::new(),
            wrong: Wrong::default(),
        });
        let outer = (self.observed.take(), std::mem::take(&mut self.cut_short));
        self.observed = self.cross_checks.then(Observed::default);
        let answer = self.ways(point, &left, paths_max, &mut certificate, report);
        let observed = std::mem::replace(&mut self.observed, outer.0);
        let complete = !std::mem::replace(&mut self.cut_short, outer.1);
        self.chain.pop();
        self.counts.states += certificate.states();
        self.counts.visited += certificate.sum();
        match answer {
            ControlFlow::Break(()) => ControlFlow::Break(()),
            // The bound may have been reached with the last way there is.
            ControlFlow::Continue(all)
                if complete && (all || certificate.sum() == certificate.states()) =>
            {
                self.trusted(certificate.verify())?;
                observed.map_or(ControlFlow::Continue(()), |seen| self.cross_check(point, &seen))
            }
            ControlFlow::Continue(_) => {
                self.counts.bounded_points += 1;
                self.counts.bounded.0 += certificate.sum();
                self.counts.bounded.1 += certificate.states();
                ControlFlow::Continue(())
            }
        }
    }

    /// The ways through recovery; whether all were taken. If there are too many, the nearest to
    /// everything kept and to everything lost are taken after as many as were allowed.
    fn ways(
        &mut self,
        point: &Point,
        left: &Left,
        paths_max: u64,
        certificate: &mut Certificate,
        report: Report<'_>,
    ) -> ControlFlow<(), bool> {
        self.look_at_images(left, report)?;
        let mut path = Path::new();
        let mut seen = BTreeSet::new();
        loop {
            let way = self.way(point, left, path, report)?;
            path = way.path;
            self.trusted(path.end())?;
            certificate.add(&way.states);
            seen.insert(path.key());
            if !path.advance() {
                return ControlFlow::Continue(true);
            }
            if seen.len() as u64 == paths_max {
                return self.nearest(point, left, paths_max, seen, certificate, report);
            }
        }
    }

    /// Iterative deepening: the ways that differ from everything kept, or from everything lost, in
    /// no answer, in one, in two, as long as no more than `paths_max` are added. Whether in the end
    /// no way was left out.
    fn nearest(
        &mut self,
        point: &Point,
        left: &Left,
        paths_max: u64,
        mut seen: BTreeSet<Vec<u32>>,
        certificate: &mut Certificate,
        report: Report<'_>,
    ) -> ControlFlow<(), bool> {
        let mut added = 0;
        let mut differing_max = 0;
        loop {
            let mut left_out = false;
            for from in [Prefer::Kept, Prefer::Lost] {
                let mut path = Path::near(Nearness { from, differing_max });
                loop {
                    path = self.probe(left, path);
                    self.trusted(path.end())?;
                    if seen.insert(path.key()) {
                        let way = self.way(point, left, path.again(), report)?;
                        certificate.add(&way.states);
                        added += 1;
                        path = way.path;
                    }
                    if added == paths_max {
                        let losses = self.counts.losses.unwrap_or(usize::MAX);
                        self.counts.losses = Some(losses.min(differing_max.saturating_sub(1)));
                        return ControlFlow::Continue(false);
                    }
                    if !path.advance() {
                        break;
                    }
                }
                left_out |= path.left_out();
            }
            if !left_out {
                return ControlFlow::Continue(true);
            }
            differing_max += 1;
        }
    }

    /// Recovers without looking at what came out: which way it goes.
    fn probe(&mut self, left: &Left, path: Path) -> Path {
        let world = DirectWorld::new(self.disks(left, path, Watch::Off));
        let open = self.system.open(world.disks(), world.runtime(), Purpose::Recovery);
        drop(run(&world, "recovery", open));
        world.settle();
        world.path()
    }

    /// As many states as the enumerator says.
    fn enumerated(
        &mut self,
        point: &Point,
        explorer: &BruteForce,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let coverage = explorer.explore(&point.spaces, &mut |state: &CrashState| {
            self.chain.push(Level {
                at: point.at,
                session: point.session(),
                spaces: Arc::clone(&point.spaces),
                taken: Taken::All(state.assignment.clone()),
                unreadable: Vec::new(),
                wrong: Wrong::default(),
            });
            let answer = self.one_image(point, state.images.clone(), report);
            self.chain.pop();
            answer
        });
        if !coverage.complete() && !coverage.stopped {
            self.counts.bounded_points += 1;
            self.counts.bounded.0 += &coverage.visited;
            self.counts.bounded.1 += &coverage.states;
        }
        self.counts.states += &coverage.states;
        self.counts.visited += &coverage.visited;
        if coverage.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// One image of each disk, whose choice is the last level of the chain.
    pub(super) fn one_image(
        &mut self,
        point: &Point,
        images: Vec<Image>,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        if self.script.is_none() {
            let contents = images
                .iter()
                .fold(0, |key: u128, image| key.rotate_left(29).wrapping_add(image.key()));
            if !self.states_seen.insert(contents.wrapping_mul(3).wrapping_add(point.key())) {
                return ControlFlow::Continue(());
            }
        }
        let level = self.chain.last().expect("a power cut was taken");
        let unreadable = match self.chain.len() {
            // The first cut's own; later ones keep what has not been written again.
            1 => Some(Unreadable::exactly(level.unreadable.clone())),
            _ => point.unreadable.clone(),
        };
        let left = Left::Images(images, unreadable.filter(|some| !some.found().is_empty()));
        self.look_at_images(&left, report)?;
        let way = self.way(point, &left, Path::new(), report)?;
        self.trusted(way.path.end())
    }

    /// What holds of the disks before any recovery, question by question.
    fn look_at_images(&mut self, left: &Left, report: Report<'_>) -> ControlFlow<()> {
        let system = Arc::clone(&self.system);
        // What cannot be read is no finding about the bytes.
        let left = &match left {
            Left::Undecided(spaces, _) => Left::Undecided(Arc::clone(spaces), None),
            Left::Images(images, _) => Left::Images(images.clone(), None),
        };
        // As long as nothing is asked about the disks, they are the same for the next question.
        let mut shared = None;
        for question in 0..system.image_questions() {
            let mut disks =
                shared.take().unwrap_or_else(|| self.disks(left, Path::new(), Watch::Off));
            let first = system.check_image(question, &mut disks);
            if disks.path.is_empty() {
                if let Some(finding) = first {
                    self.observe(|observed| observed.finding(&finding));
                    self.narrow(&disks);
                    self.tell(finding, report)?;
                }
                shared = Some(disks);
                continue;
            }
            let mut path = Path::new();
            let states = self.disks(left, Path::new(), Watch::Off).states();
            let mut certificate = Certificate::new(states);
            loop {
                let mut disks = self.disks(left, path, Watch::Off);
                if let Some(finding) = system.check_image(question, &mut disks) {
                    self.observe(|observed| observed.finding(&finding));
                    self.narrow(&disks);
                    self.tell(finding, report)?;
                }
                certificate.add(&disks.states());
                path = disks.path;
                self.trusted(path.end())?;
                if !path.advance() {
                    self.trusted(certificate.verify())?;
                    break;
                }
                if self.is_too_many(certificate.ways()) {
                    break;
                }
            }
        }
        ControlFlow::Continue(())
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
