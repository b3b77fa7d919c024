//! Random small programs, in which all engines have to agree.

use std::collections::BTreeSet;

use plugpull_sim::orders::{Change, Cuts, Dpor, Engine, Plain, Shard, Stateful};

use crate::models::program::{Program, Running};
use crate::models::random;
use crate::models::search::{execute, search};
use crate::models::touched::Touched;

/// More plain executions than this are too many to look at.
const EXECUTIONS_MAX: u64 = if cfg!(debug_assertions) { 40 } else { 2000 };
const PROGRAMS: usize = if cfg!(debug_assertions) { 3_000 } else { 10_000 };

/// States by their keys: all that a power cut may meet, and the last ones.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    reached: BTreeSet<u128>,
    last: BTreeSet<u128>,
}

/// By every order; none if there are too many.
fn plain(program: &Program) -> Option<Found> {
    let mut model = Running::new(program);
    let mut plain = Plain::default();
    let mut found = Found::default();
    let mut enabled = Vec::new();
    while Engine::<u64, Touched>::begin(&mut plain) {
        if plain.counts().executions > EXECUTIONS_MAX {
            return None;
        }
        let mut reached = |model: &Running| {
            found.reached.insert(model.state().key());
        };
        assert!(execute(&mut model, &mut plain, &mut enabled, &mut reached).unwrap());
        Engine::<u64, Touched>::end(&mut plain, Some(&mut || 0)).unwrap();
        found.last.insert(model.state().key());
    }
    Some(found)
}

/// By one order of each class, and its cuts.
fn dpor(program: &Program) -> Found {
    let mut found = Found::default();
    let mut classes = BTreeSet::new();
    let mut dpor: Dpor<u64, Touched> = Dpor::new(Shard::WHOLE);
    let mut model = Running::new(program);
    let end = |model: &Running, dpor: &Dpor<u64, Touched>, complete| {
        if complete {
            assert!(classes.insert(dpor.signature()), "each class once");
            found.last.insert(model.state().key());
            let mut cuts = Cuts::all(dpor.clocks());
            while let Some(change) = cuts.next() {
                if change == Change::Cut {
                    found.reached.insert(model.state_after(|step| cuts.has(step)).key());
                }
            }
        }
    };
    search(&mut model, &mut dpor, |_| {}, end).unwrap();
    assert_eq!(dpor.classes().count, classes.len() as u64);
    found
}

/// Whether the classes are those found when all processes go at every moment, unless they sleep.
fn sleep_sets_agree(program: &Program) -> bool {
    let classes = |depth| {
        let mut dpor: Dpor<u64, Touched> = Dpor::new(Shard { depth, ..Shard::WHOLE });
        let nothing = |_: &Running, _: &Dpor<_, _>, _| {};
        search(&mut Running::new(program), &mut dpor, |_| {}, nothing).unwrap();
        *dpor.classes()
    };
    classes(0) == classes(usize::MAX)
}

/// By every state, each meeting audited.
fn stateful(program: &Program) -> Found {
    let mut found = Found::default();
    let mut stateful = Stateful::new(usize::MAX, 1);
    let reached = |model: &Running| {
        found.reached.insert(model.state().key());
    };
    let end = |model: &Running, _: &Stateful<u64, _>, complete| {
        if complete {
            found.last.insert(model.state().key());
        }
    };
    search(&mut Running::new(program), &mut stateful, reached, end).unwrap();
    found
}

/// What is wrong with the engines on this program; none if it is too large.
fn compare(program: &Program) -> Option<Result<(), &'static str>> {
    let plain = plain(program)?;
    let dpor = dpor(program);
    Some(if plain.last != dpor.last {
        Err("last states by dpor")
    } else if plain.reached != dpor.reached {
        Err("states of cuts")
    } else if !sleep_sets_agree(program) {
        Err("classes without source sets")
    } else if plain != stateful(program) {
        Err("states by stateful")
    } else {
        Ok(())
    })
}

/// The smallest program that still fails, by leaving out stages.
fn shrink(mut program: Program) -> Program {
    'smaller: loop {
        for task in 0..program.len() {
            for stage in 0..program[task].len() {
                let mut less = program.clone();
                less[task].remove(stage);
                if matches!(compare(&less), Some(Err(_))) {
                    program = less;
                    continue 'smaller;
                }
            }
        }
        return program;
    }
}

/// Whether the program was small enough.
fn check(seed: u64) -> bool {
    let program = random::program(seed);
    let Some(result) = compare(&program) else { return false };
    if let Err(what) = result {
        panic!("seed {seed}, {what}: {:?}", shrink(program));
    }
    true
}

/// Programs in four lots, for as many threads.
fn check_lot(lot: u64) {
    let checked = (0..).map(|round| 4 * round + lot).filter(|&seed| check(seed));
    assert_eq!(checked.take(PROGRAMS / 4).count(), PROGRAMS / 4);
}

#[test]
fn engines_agree_0() {
    check_lot(0);
}

#[test]
fn engines_agree_1() {
    check_lot(1);
}

#[test]
fn engines_agree_2() {
    check_lot(2);
}

#[test]
fn engines_agree_3() {
    check_lot(3);
}
