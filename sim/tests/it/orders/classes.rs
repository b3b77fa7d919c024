//! Golden counts of M3, the clients that write, flush and acknowledge.

use std::collections::BTreeSet;

use plugpull_sim::orders::{Dpor, Plain, Shard};

use crate::models::disks::m3;
use crate::models::search::search;

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
