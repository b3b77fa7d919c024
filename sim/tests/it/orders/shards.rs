//! Searches in parts: shards, and stops in between.

use plugpull_sim::orders::{Classes, Dpor, Engine, Plain, Roots, Shard, Stateful, depth_for};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::models::disks::m3;
use crate::models::program::{Program, Running};
use crate::models::random;
use crate::models::search::{Model, execute, search};
use crate::models::touched::Touched;

fn explored(mut model: impl Model<Footprint = Touched>, shard: Shard) -> Dpor<u64, Touched> {
    let mut dpor = Dpor::new(shard);
    let mut progress = 0;
    search(
        &mut model,
        &mut dpor,
        |_| {},
        |_, dpor: &Dpor<_, _>, _| {
            let now = Engine::<u64, Touched>::progress(dpor).unwrap();
            assert!(now >= progress, "progress never goes back");
            progress = now;
        },
    )
    .unwrap();
    assert_eq!(Engine::<u64, Touched>::progress(&dpor), Some(1 << 62));
    dpor
}

/// All shards together, whatever their number and depth, explore each class once.
fn check<M: Model<Footprint = Touched>>(model: impl Fn() -> M, depths: &[usize], counts: &[u64]) {
    let whole = *explored(model(), Shard::WHOLE).classes();
    for &depth in depths {
        let roots = explored(model(), Shard::none(depth)).roots();
        for &count in counts {
            let mut sum = Classes::default();
            for index in 0..count {
                let dpor = explored(model(), Shard { depth, count, index });
                sum.merge(dpor.classes());
                assert_eq!(dpor.roots(), roots);
            }
            assert_eq!(sum, whole, "{count} shards at depth {depth}");
        }
    }
}

#[test]
fn shards_of_one_disk() {
    check(|| m3(4), &[1, 2, 3, 4], &[1, 2, 16]);
    check(|| m3(5), &[3], &[2]);
}

#[test]
fn shards_of_random_programs() {
    for seed in 0..200 {
        let program = random::program(seed);
        if small(&program) {
            check(|| Running::new(&program), &[1, 2, 3, 4], &[1, 2, 16]);
        }
    }
}

fn small(program: &Program) -> bool {
    let mut dpor: Dpor<u64, Touched> = Dpor::new(Shard::WHOLE);
    let mut model = Running::new(program);
    let mut enabled = Vec::new();
    for _ in 0..20 {
        if !dpor.begin() {
            return true;
        }
        let complete = execute(&mut model, &mut dpor, &mut enabled, &mut |_| {}).unwrap();
        let mut fingerprint = || 0;
        dpor.end(if complete { Some(&mut fingerprint) } else { None }).unwrap();
    }
    false
}

/// Ways of six clients to their third event, up to swaps.
#[test]
fn roots_of_one_disk() {
    assert_eq!(explored(m3(6), Shard::none(3)).roots().count, 86);
}

#[test]
fn a_depth_with_enough_roots() {
    let roots = |depth| Ok::<Roots, ()>(explored(m3(5), Shard::none(depth)).roots());
    assert_eq!(depth_for(1, roots), Ok(0));
    let depth = depth_for(4, roots).unwrap();
    assert!(roots(depth).unwrap().count >= 128);
    assert!(roots(depth - 1).unwrap().count < 128);
    let few = |depth| Ok::<Roots, ()>(explored(m3(1), Shard::none(depth)).roots());
    assert_eq!(depth_for(4, few), Ok(3), "there is one order only");
}

/// Stores the engine after every execution and goes on with what was stored.
fn interrupted<E>(mut model: impl Model<Footprint = Touched>, mut engine: E) -> E
where
    E: Engine<u64, Touched> + Serialize + DeserializeOwned,
{
    let mut enabled = Vec::new();
    while engine.begin() {
        let complete = execute(&mut model, &mut engine, &mut enabled, &mut |_| {}).unwrap();
        let mut fingerprint = || model.fingerprint();
        engine.end(if complete { Some(&mut fingerprint) } else { None }).unwrap();
        let stored = serde_json::to_string(&engine).unwrap();
        engine = serde_json::from_str(&stored).unwrap();
    }
    engine
}

#[test]
fn a_search_goes_on_where_it_was_stopped() {
    let programs = (0..60).map(random::program).filter(small);
    let programs: Vec<Program> = programs.collect();
    assert!(programs.len() > 20);
    for program in &programs {
        let through = explored(Running::new(program), Shard::WHOLE);
        let parts = interrupted(Running::new(program), Dpor::new(Shard::WHOLE));
        assert_eq!(parts.counts(), through.counts());
        assert_eq!(parts.classes(), through.classes());
        let mut through = Stateful::new(1000, 1);
        let nothing = |_: &Running, _: &Stateful<_, _>, _| {};
        search(&mut Running::new(program), &mut through, |_| {}, nothing).unwrap();
        let parts = interrupted(Running::new(program), Stateful::new(1000, 1));
        assert_eq!(parts.counts(), through.counts());
        assert_eq!((parts.states(), parts.audits()), (through.states(), through.audits()));
    }
    let through = explored(m3(4), Shard { depth: 2, count: 2, index: 1 });
    let parts = interrupted(m3(4), Dpor::new(Shard { depth: 2, count: 2, index: 1 }));
    assert_eq!(parts.counts(), through.counts());
    assert_eq!(parts.classes(), through.classes());
    let parts = interrupted(m3(2), Plain::default());
    assert_eq!(parts.counts().complete, 20);
}
