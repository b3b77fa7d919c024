//! Orders with few delays, against a search that merges nothing.

use std::collections::BTreeSet;

use plugpull_sim::orders::Delays;

use crate::models::disks::{joined, m3};
use crate::models::program::{Program, Running, Stage};
use crate::models::random;
use crate::models::search::{Model, search};
use crate::models::touched::Touched;

/// Runs `path` again; who waits then, first come first served.
fn replay(model: &mut impl Model, path: &[u64]) -> Vec<u64> {
    model.start();
    let mut waiting = Vec::new();
    for step in 0..=path.len() {
        let mut enabled = Vec::new();
        model.enabled(&mut enabled);
        waiting.retain(|process| enabled.contains(process));
        let new: Vec<u64> = enabled.into_iter().filter(|new| !waiting.contains(new)).collect();
        waiting.extend(new);
        if let Some(&process) = path.get(step) {
            model.step(process, step, &mut |_| Ok(0)).unwrap();
            waiting.retain(|&other| other != process);
        }
    }
    waiting
}

/// Adds the fingerprints of all states with at most `delays` delays after `path`.
fn reference(
    model: &mut impl Model,
    path: &mut Vec<u64>,
    delays: usize,
    found: &mut BTreeSet<u128>,
) {
    let waiting = replay(model, path);
    found.insert(model.fingerprint());
    for (cost, &process) in waiting.iter().enumerate().take(delays + 1) {
        path.push(process);
        reference(model, path, delays - cost, found);
        path.pop();
    }
}

fn check<M: Model<Footprint = Touched>>(mut model: M, delays: usize) {
    let mut expected = BTreeSet::new();
    reference(&mut model, &mut Vec::new(), delays, &mut expected);
    let mut found = BTreeSet::new();
    let mut engine = Delays::new(delays, usize::MAX);
    let moment = |model: &M| {
        found.insert(model.fingerprint());
    };
    search(&mut model, &mut engine, moment, |_, _: &Delays<_>, _| {}).unwrap();
    assert_eq!(found, expected, "{delays} delays");
}

#[test]
fn few_delays_on_a_disk() {
    for delays in 0..=4 {
        check(m3(3), delays);
        check(joined(2), delays);
    }
    check(m3(4), 3);
}

/// Without coins: the reference takes the first side of each.
#[test]
fn few_delays_in_random_programs() {
    for seed in 0..300 {
        let program: Program = random::program(seed);
        for delays in 0..=2 {
            check(Running::new(&without_coins(&program)), delays);
        }
    }
}

fn without_coins(program: &Program) -> Program {
    use crate::models::program::Op::{self, Maybe, Read};
    let fair = |op| match op {
        Maybe(at, _) => Read(at),
        op => op,
    };
    let stage = |stage: &Stage| match *stage {
        Stage::One(op) => Stage::One(fair(op)),
        Stage::Optional(op) => Stage::Optional(fair(op)),
        Stage::Both(one, other) => Stage::Both(fair(one), fair(other)),
        Stage::Either(one, other) => Stage::Either(fair(one), fair(other)),
    };
    let _: fn(Op) -> Op = fair;
    program.iter().map(|task| task.iter().map(stage).collect()).collect()
}

/// All orders are within enough delays.
#[test]
fn enough_delays() {
    let mut engine = Delays::new(100, usize::MAX);
    let mut keys = BTreeSet::new();
    let key = |model: &crate::models::disks::Disks<_>| {
        keys.insert(model.crash_key());
    };
    search(&mut m3(4), &mut engine, key, |_, _: &Delays<_>, _| {}).unwrap();
    assert_eq!(keys.len(), 81);
    assert!(!engine.is_full());
}
