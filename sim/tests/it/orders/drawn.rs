//! Executions drawn at random.

use std::collections::{BTreeMap, BTreeSet};

use plugpull_sim::orders::{
    Draws, Engine, Iterations, Moment, NotRepeated, Pct, Pick, Portfolio, Pos, Ran, Rule, Sample,
    Stop, Surw, Walk, Ways,
};

use crate::models::disks::m3;
use crate::models::search::{Choose, Model, search};
use crate::models::touched::Touched;

/// Processes with so many events each, one after the other. Only the last events of each conflict.
struct Chains {
    lens: Vec<usize>,
    done: Vec<usize>,
    last: Vec<Option<usize>>,
}

impl Chains {
    fn new(lens: &[usize]) -> Self {
        let (lens, count) = (lens.to_vec(), lens.len());
        Self { lens, done: vec![0; count], last: vec![None; count] }
    }
}

impl Model for Chains {
    type Footprint = Touched;

    fn start(&mut self) {
        self.done.fill(0);
        self.last.fill(None);
    }

    fn enabled(&self, into: &mut Vec<u64>) {
        let left =
            (0..).zip(self.done.iter().zip(&self.lens)).filter(|(_, (done, len))| done < len);
        into.extend(left.map(|(process, _)| process));
    }

    fn step(
        &mut self,
        process: u64,
        step: usize,
        _: Choose<'_>,
    ) -> Result<Ran<Touched>, NotRepeated> {
        let at = usize::try_from(process).unwrap();
        self.done[at] += 1;
        let is_last = self.done[at] == self.lens[at];
        let footprint = Touched { writes: 2 << at | u64::from(is_last), ..Touched::default() };
        let enabled_by = self.last[at].replace(step);
        Ok(Ran { footprint, enabled_by, needed: true, waited_for_all: false, past: process })
    }

    fn fingerprint(&self) -> u128 {
        0
    }
}

/// An engine, and who went in the execution under way.
struct Watched<R> {
    engine: Sample<u64, Touched, R>,
    went: Vec<u64>,
}

impl<R: Rule<u64, Touched>> Engine<u64, Touched> for Watched<R> {
    fn begin(&mut self) -> bool {
        self.went.clear();
        self.engine.begin()
    }

    fn pick(&mut self, moment: &mut Moment<'_, u64>) -> Result<Pick, NotRepeated> {
        let pick = self.engine.pick(moment)?;
        if let Pick::Run(place) = pick {
            self.went.push(moment.enabled[place]);
        }
        Ok(pick)
    }

    fn choose(&mut self, ways: Ways) -> Result<usize, NotRepeated> {
        self.engine.choose(ways)
    }

    fn ran(&mut self, ran: Ran<Touched>) -> Result<Option<Stop>, NotRepeated> {
        self.engine.ran(ran)
    }

    fn end(&mut self, last: Option<&mut dyn FnMut() -> u128>) -> Result<(), NotRepeated> {
        self.engine.end(last)
    }

    fn first_new_step(&self) -> usize {
        self.engine.first_new_step()
    }

    fn progress(&self) -> Option<u64> {
        self.engine.progress()
    }
}

/// Who goes in each of these executions, one after the other.
fn executions<R: Rule<u64, Touched> + Default>(
    model: &mut impl Model<Footprint = Touched>,
    iterations: Iterations,
) -> BTreeMap<u64, Vec<u64>> {
    let mut executions = BTreeMap::new();
    let mut watched = Watched { engine: Sample::<_, _, R>::new(7, iterations), went: Vec::new() };
    search(
        model,
        &mut watched,
        |_| {},
        |_, watched: &Watched<R>, _| {
            if let Some(iteration) = watched.engine.iteration() {
                executions.insert(iteration, watched.went.clone());
            }
        },
    )
    .unwrap();
    assert_eq!(watched.engine.counts().executions, executions.len() as u64 + 1);
    executions
}

fn an_execution_is_the_same_alone<R: Rule<u64, Touched> + Default>() {
    let all = executions::<R>(&mut m3(3), Iterations::all(0..60));
    assert_eq!(all.len(), 60);
    let different: BTreeSet<&Vec<u64>> = all.values().collect();
    assert!(different.len() > 10, "{} different ones", different.len());
    for iteration in [0, 1, 17, 59] {
        let range = iteration..iteration + 1;
        let alone = executions::<R>(&mut m3(3), Iterations::all(range));
        assert_eq!(alone, BTreeMap::from([(iteration, all[&iteration].clone())]));
    }
    let mut parts = BTreeMap::new();
    for index in 0..3 {
        let mut part = executions::<R>(&mut m3(3), Iterations { range: 0..60, of: 3, index });
        assert!(part.keys().all(|iteration| iteration % 3 == index));
        parts.append(&mut part);
    }
    assert_eq!(parts, all);
}

#[test]
fn executions_are_the_same_alone_and_in_any_part_of_a_campaign() {
    an_execution_is_the_same_alone::<Walk>();
    an_execution_is_the_same_alone::<Pos<u64>>();
    an_execution_is_the_same_alone::<Pct<u64>>();
    an_execution_is_the_same_alone::<Surw>();
    an_execution_is_the_same_alone::<Portfolio<u64>>();
}

#[test]
fn an_empty_part_runs_nothing() {
    for iterations in [Iterations::all(3..3), Iterations { range: 4..6, of: 4, index: 3 }] {
        let mut engine = Sample::<u64, Touched, Walk>::new(1, iterations);
        assert!(!engine.begin());
    }
}

/// The number of classes that are drawn, of those of four clients; and how many of them once.
fn classes<R: Rule<u64, Touched> + Default>(draws: u64) -> (u64, u64) {
    let mut engine = Sample::<u64, Touched, R>::new(1, Iterations::all(0..draws));
    search(&mut m3(4), &mut engine, |_| {}, |_, _, _| {}).unwrap();
    let drawn = engine.drawn();
    assert_eq!(drawn.draws(), draws);
    assert!(!drawn.is_full());
    (drawn.classes(), drawn.once())
}

#[test]
fn all_classes_are_drawn_but_by_few_changes_of_priority() {
    assert_eq!(classes::<Pos<u64>>(10_000), (207, 0));
    assert_eq!(classes::<Walk>(10_000), (207, 0));
    // Classes with few orders are as rare as these are few.
    let (uniform, _) = classes::<Surw>(10_000);
    assert!((200..=207).contains(&uniform), "{uniform} classes");
    let (mixed, _) = classes::<Portfolio<u64>>(10_000);
    assert!((200..=207).contains(&mixed), "{mixed} classes");
    let (few, _) = classes::<Pct<u64>>(10_000);
    assert!((60..207).contains(&few), "{few} classes");
}

/// Of the draws that follow, about as many are of a new class as was estimated before.
#[test]
fn the_unseen_share_is_estimated() {
    const FIRST: u64 = 300;
    const LATER: u64 = 6_000;
    let mut seen = BTreeSet::new();
    let (mut once, mut unseen) = (0, 0);
    let mut engine = Sample::<u64, Touched, Surw>::new(1, Iterations::all(0..FIRST + LATER));
    search(
        &mut m3(4),
        &mut engine,
        |_| {},
        |_, engine: &Sample<_, _, _>, _| {
            let drawn = engine.drawn();
            if drawn.draws() == 0 {
                return;
            }
            if drawn.draws() <= FIRST {
                seen.insert(engine.signature());
                once = drawn.once();
                assert_eq!(drawn.classes(), seen.len() as u64);
            } else {
                unseen += u64::from(!seen.contains(&engine.signature()));
            }
        },
    )
    .unwrap();
    let (estimate, share) = (100 * once / FIRST, 100 * unseen / LATER);
    assert!((10..40).contains(&share), "{share}%");
    assert!(estimate.abs_diff(share) <= 5, "{estimate}% estimated, {share}% found");
}

/// How many of so many executions are as wanted.
fn count<R: Rule<u64, Touched> + Default>(
    lens: &[usize],
    draws: u64,
    is_wanted: impl Fn(&[u64]) -> bool,
) -> usize {
    let executions = executions::<R>(&mut Chains::new(lens), Iterations::all(0..draws));
    executions.values().filter(|went| is_wanted(went)).count()
}

#[track_caller]
fn assert_about(count: usize, expected: usize) {
    assert!(count.abs_diff(expected) < expected / 10, "{count}, and not about {expected}");
}

#[test]
fn two_racing_events_come_in_either_order() {
    let first = |went: &[u64]| went[0] == 0;
    assert_about(count::<Walk>(&[1, 1], 4_000, first), 2_000);
    assert_about(count::<Pos<u64>>(&[1, 1], 4_000, first), 2_000);
    assert_about(count::<Surw>(&[1, 1], 4_000, first), 2_000);
    assert_about(count::<Pct<u64>>(&[1, 1], 4_000, first), 2_000);
}

/// One event races with the last of four. A walk has to draw the others four times in a row; a
/// priority need be the lowest of five once, as nothing on the way conflicts with it.
#[test]
fn sampling_by_partial_order_lets_an_event_wait() {
    let waits = |went: &[u64]| went[4] == 1;
    assert_about(count::<Walk>(&[4, 1], 16_000, waits), 1_000);
    assert_about(count::<Pos<u64>>(&[4, 1], 16_000, waits), 3_200);
}

/// A conflict on the way draws a new priority: the second of two that conflict with the first is as
/// likely as the third, whatever the first has left behind.
#[test]
fn sampling_by_partial_order_forgets_after_a_conflict() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_about(count::<Pos<u64>>(&[1, 1, 1], 12_000, |went| went == order), 2_000);
    }
}

#[test]
fn a_uniform_walk_draws_every_order_equally_often() {
    for place in 0..4 {
        assert_about(count::<Surw>(&[3, 1], 12_000, |went| went[place] == 1), 3_000);
    }
}

/// A low priority waits until there is a change, which may be at any step: one of one, of two or of
/// three is in the second half.
#[test]
fn a_low_priority_waits_however_long_it_takes() {
    let is_late = |went: &[u64]| went[..50].iter().all(|&process| process == 0);
    assert_about(count::<Pct<u64>>(&[100, 1], 8_000, is_late), 8_000 * (4 + 2 + 1) / (2 * 3 * 8));
}

/// A client goes on with its next request as if it had never waited for the one before.
#[test]
fn waiting_for_a_request_lowers_no_priority() {
    let client = |process: u64| process / 16;
    for went in executions::<Pct<u64>>(&mut m3(4), Iterations::all(0..500)).values() {
        let turns = went.windows(2).filter(|pair| client(pair[0]) != client(pair[1])).count();
        assert!(turns <= 3 + 3, "{went:?}");
    }
}

#[test]
fn mishaps_are_rare_and_never_in_the_pilot() {
    let mut engine = Sample::<u64, Touched, Portfolio<u64>>::new(1, Iterations::all(0..8_000));
    let mut mishaps = [0; 2];
    while engine.begin() {
        let mut fingerprint = || 0;
        let moment = &mut Moment { enabled: &[1, 2, 3], mishaps: 1, fingerprint: &mut fingerprint };
        let picked = engine.pick(moment).unwrap();
        let way = engine.choose(Ways { count: 4, mishaps: 3 }).unwrap();
        if engine.iteration().is_none() {
            assert_eq!((picked, way), (Pick::Run(0), 0));
        }
        mishaps[0] += usize::from(picked == Pick::Run(2));
        mishaps[1] += usize::from(way > 0);
        engine.end(None).unwrap();
    }
    assert_eq!(engine.drawn().draws(), 0, "none has come to its end");
    for mishaps in mishaps {
        assert_about(mishaps, 8_000 / Draws::MISHAP_ONE_IN);
    }
}
