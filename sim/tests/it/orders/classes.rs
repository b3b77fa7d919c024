//! Golden counts of M3, the clients that write, flush and acknowledge.

use std::collections::BTreeSet;
use std::future::Future;

use plugpull_sim::orders::{Dpor, Engine, Moment, Pick, Plain, Shard, Ways};

use crate::models::disks::{Disks, m3};
use crate::models::search::{Model, search};
use crate::models::touched::Touched;

/// (3k)! / 6^k.
#[test]
fn plain_runs_every_order() {
    for (clients, executions) in [(1, 1), (2, 20), (3, 1680)] {
        let mut plain = Plain::default();
        search(&mut m3(clients), &mut plain, |_| {}, |_, _, _| {}).unwrap();
        assert_eq!(plain.counts().executions, executions);
        assert_eq!(plain.counts().complete, executions);
    }
}

/// Labelled interval orders on k points (OEIS A079144).
#[test]
fn dpor_runs_each_class_once() {
    for (clients, classes) in [(1, 1), (2, 3), (3, 19), (4, 207), (5, 3451), (6, 81663)] {
        let mut dpor = Dpor::new(Shard::WHOLE);
        let mut signatures = BTreeSet::new();
        search(
            &mut m3(clients),
            &mut dpor,
            |_| {},
            |_, dpor: &Dpor<_, _>, complete| {
                if complete {
                    signatures.insert(dpor.signature());
                }
            },
        )
        .unwrap();
        assert_eq!(dpor.counts().complete, classes, "complete executions of {clients}");
        assert_eq!(signatures.len() as u64, classes, "classes of {clients}");
    }
}

/// The flush of the first client never ends: whoever runs it gives the execution up. What may have
/// happened before is the same by every order and by classes.
#[test]
fn executions_may_be_given_up_inside_an_event() {
    let by_orders = durable_at_flush(&mut m3(3), &mut Plain::default());
    let mut dpor = Dpor::new(Shard::WHOLE);
    assert_eq!(durable_at_flush(&mut m3(3), &mut dpor), by_orders);
    assert_eq!(dpor.counts().given_up + dpor.counts().covered, dpor.counts().executions);
    assert!(by_orders.len() > 3, "{by_orders:?}");
}

/// The cells that may be durable when the execution is given up.
fn durable_at_flush(
    model: &mut Disks<impl Future<Output = ()>>,
    engine: &mut impl Engine<u64, Touched>,
) -> BTreeSet<u32> {
    let mut durable = BTreeSet::new();
    while engine.begin() {
        if run_up_to_flush(model, engine) {
            durable.insert(model.crash_key().0);
        }
        engine.end(None).unwrap();
    }
    durable
}

/// Whether the flush was met.
fn run_up_to_flush(
    model: &mut impl Model<Footprint = Touched>,
    engine: &mut impl Engine<u64, Touched>,
) -> bool {
    const FLUSH: u64 = 1;
    model.start();
    for step in 0.. {
        let mut enabled = Vec::new();
        model.enabled(&mut enabled);
        let mut fingerprint = || 0;
        let moment = &mut Moment { enabled: &enabled, mishaps: 0, fingerprint: &mut fingerprint };
        let Pick::Run(place) = engine.pick(moment).unwrap() else { return false };
        if enabled[place] == FLUSH {
            return true;
        }
        let mut choose = |count| engine.choose(Ways { count, mishaps: 0 });
        let ran = model.step(enabled[place], step, &mut choose).unwrap();
        if engine.ran(ran).unwrap().is_some() {
            return false;
        }
    }
    unreachable!("the flush stays enabled");
}
