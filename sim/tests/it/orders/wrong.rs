//! Systems that break the rules, which is reported.

use std::collections::BTreeSet;

use plugpull_sim::orders::{
    Difference, Dpor, Engine, Footprint, Moment, NotRepeated, Pick, Plain, Ran, Shard, Stateful,
    Swaps,
};

use crate::models::disks::m3;
use crate::models::program::{Forgets, Op, Program, Running, Stage};
use crate::models::random;
use crate::models::search::{Choose, Model, search};
use crate::models::touched::Touched;

fn difference<M: Model, E: Engine<u64, M::Footprint>>(
    mut model: M,
    mut engine: E,
) -> Option<Difference> {
    let result = search(&mut model, &mut engine, |_| {}, |_, _: &E, _| {});
    result.err().map(|NotRepeated { what, .. }| what)
}

fn dpor<F: Footprint>() -> Dpor<u64, F> {
    Dpor::new(Shard::WHOLE)
}

/// Another model, with something wrong.
struct Broken<M, B> {
    model: M,
    /// How many events there were, over all executions.
    events: u64,
    executions: u64,
    breaks: B,
}

fn broken<M: Model>(model: M, breaks: impl Breaks) -> Broken<M, impl Breaks> {
    Broken { model, events: 0, executions: 0, breaks }
}

/// What is wrong.
trait Breaks: Fn(&mut Vec<u64>, &mut Ran<Touched>, u64) {}
impl<B: Fn(&mut Vec<u64>, &mut Ran<Touched>, u64)> Breaks for B {}

impl<M: Model<Footprint = Touched>, B: Breaks> Model for Broken<M, B> {
    type Footprint = Touched;

    fn start(&mut self) {
        self.executions += 1;
        self.model.start();
    }

    fn enabled(&self, into: &mut Vec<u64>) {
        self.model.enabled(into);
        (self.breaks)(into, &mut nothing(), self.executions);
    }

    fn step(
        &mut self,
        process: u64,
        step: usize,
        choose: Choose<'_>,
    ) -> Result<Ran<Touched>, NotRepeated> {
        self.events += 1;
        let mut ran = self.model.step(process & 0xffff, step, choose)?;
        (self.breaks)(&mut Vec::new(), &mut ran, self.executions);
        Ok(ran)
    }

    fn fingerprint(&self) -> u128 {
        self.model.fingerprint()
    }
}

fn nothing() -> Ran<Touched> {
    let footprint = Touched::default();
    Ran { footprint, enabled_by: None, needed: true, waited_for_all: false, past: 0 }
}

/// Identities that count over all executions, as a global counter would.
#[test]
fn an_unstable_process_identity() {
    let renamed = |enabled: &mut Vec<u64>, _: &mut Ran<Touched>, executions: u64| {
        enabled.iter_mut().for_each(|process| *process |= executions << 32);
    };
    assert_eq!(difference(broken(m3(2), renamed), dpor()), Some(Difference::Enabled));
    let plain: Plain<u64> = Plain::default();
    assert_eq!(difference(broken(m3(2), renamed), plain), Some(Difference::Enabled));
}

#[test]
fn a_step_that_does_something_else() {
    let other = |_: &mut Vec<u64>, ran: &mut Ran<Touched>, executions: u64| ran.past += executions;
    assert_eq!(difference(broken(m3(2), other), dpor()), Some(Difference::Past));
    let stateful = Stateful::new(usize::MAX, 0);
    assert_eq!(difference(broken(m3(2), other), stateful), Some(Difference::Past));
}

#[test]
fn a_footprint_that_changes() {
    let other = |_: &mut Vec<u64>, ran: &mut Ran<Touched>, executions: u64| {
        ran.footprint.reads |= executions << 20;
    };
    assert_eq!(difference(broken(m3(2), other), dpor()), Some(Difference::Footprint));
}

/// Otherwise it would seem to race with what has enabled it.
#[test]
fn an_event_that_hides_what_enabled_it() {
    let hides = |_: &mut Vec<u64>, ran: &mut Ran<Touched>, _: u64| ran.enabled_by = None;
    assert_eq!(difference(broken(m3(2), hides), dpor()), Some(Difference::EnabledBy));
}

/// Runs the event of the enabled process that goes first.
fn go(dpor: &mut Dpor<u64, Touched>, enabled: &[u64], writes: u64) -> Option<Difference> {
    let mut fingerprint = || 0;
    let picked = dpor.pick(&mut Moment { enabled, mishaps: 0, fingerprint: &mut fingerprint });
    assert_eq!(picked, Ok(Pick::Run(0)));
    let footprint = Touched { writes, ..Touched::default() };
    dpor.ran(Ran { footprint, ..nothing() }).err().map(|NotRepeated { what, .. }| what)
}

/// Process 2 comes back without saying by what, and races with what happened meanwhile: nobody could
/// have gone first in their other order.
#[test]
fn a_race_that_cannot_be() {
    let mut dpor = dpor();
    assert!(dpor.begin());
    assert_eq!(go(&mut dpor, &[1, 2, 3, 9], 1), None);
    assert_eq!(go(&mut dpor, &[3, 9], 2), None);
    assert_eq!(go(&mut dpor, &[2, 9], 2), Some(Difference::Dependence));
}

/// A model that asks for other choices whenever it runs.
struct Moody(u64);

impl Model for Moody {
    type Footprint = Touched;

    fn start(&mut self) {
        self.0 = 2 * (self.0 / 2 + 1);
    }

    fn enabled(&self, into: &mut Vec<u64>) {
        into.extend(self.0.is_multiple_of(2).then_some(1));
    }

    fn step(&mut self, _: u64, _: usize, choose: Choose<'_>) -> Result<Ran<Touched>, NotRepeated> {
        choose(usize::try_from(self.0).unwrap())?;
        self.0 += 1;
        Ok(nothing())
    }

    fn fingerprint(&self) -> u128 {
        0
    }
}

#[test]
fn other_choices() {
    assert_eq!(difference(Moody(0), dpor()), Some(Difference::Choices));
    assert_eq!(difference(Moody(0), Plain::default()), Some(Difference::Choices));
}

fn overwriting() -> Program {
    let write = Stage::One(Op::Write(0));
    vec![vec![write, Stage::One(Op::Read(0))], vec![write]]
}

/// Two orders of writes leave different contents; without these in the fingerprint, the states
/// after them are merged, and the reader sees the difference.
#[test]
fn a_fingerprint_that_forgets_the_objects() {
    let mut model = Running::new(&overwriting());
    model.forgets = Forgets::Objects;
    assert_eq!(difference(model, Stateful::new(100, 1)), Some(Difference::Merged));
    assert_eq!(difference(Running::new(&overwriting()), Stateful::new(100, 1)), None);
}

/// How many last states a search finds, and what is wrong when its executions are run again with
/// independent neighbours swapped.
fn swapped(program: &Program, forgets: Forgets) -> (usize, Option<Difference>) {
    let mut last = BTreeSet::new();
    let mut executions = Vec::new();
    let model = || {
        let mut model = Running::new(program);
        model.forgets = forgets;
        model
    };
    let end = |model: &Running, dpor: &Dpor<_, _>, complete| {
        if complete {
            last.insert(model.state().key());
            executions.push(Swaps::new(dpor.taken(), dpor.clocks()));
        }
    };
    search(&mut model(), &mut dpor(), |_| {}, end).unwrap();
    (last.len(), executions.into_iter().find_map(|swaps| difference(model(), swaps)))
}

/// Nothing in a search tells that a conflict is hidden, and it misses orders. Swapping tells.
#[test]
fn a_footprint_that_lies() {
    assert_eq!(swapped(&overwriting(), Forgets::Nothing), (3, None));
    assert_eq!(swapped(&overwriting(), Forgets::Writes), (1, Some(Difference::Swapped)));
}

#[test]
fn honest_programs_commute() {
    for seed in 0..150 {
        assert_eq!(swapped(&random::program(seed), Forgets::Nothing).1, None, "seed {seed}");
    }
}

/// A search that has no room for more states says so.
#[test]
fn no_room_for_more_states() {
    let mut stateful = Stateful::new(5, 1);
    search(&mut m3(2), &mut stateful, |_| {}, |_, _: &Stateful<_, _>, _| {}).unwrap();
    assert!(stateful.is_full());
    assert_eq!(stateful.states(), 5);
}
