//! What power cuts may leave behind: the same by every engine.

use std::collections::BTreeSet;
use std::future::Future;

use plugpull_sim::orders::{Change, Cuts, Dpor, Plain, Shard, Stateful};

use crate::models::disks::{CrashKey, Disks, Outcome, joined, m3, mirrored, two_disks};
use crate::models::measure;
use crate::models::search::search;
use crate::models::touched::Touched;

/// What a search has found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    executions: u64,
    keys: BTreeSet<CrashKey>,
    outcomes: BTreeSet<Outcome>,
}

fn plain(mut model: Disks<impl Future<Output = ()>>) -> Found {
    let mut found = Found::default();
    let mut plain = Plain::default();
    search(
        &mut model,
        &mut plain,
        |model| {
            found.keys.insert(model.crash_key());
        },
        |model, _, _| {
            found.outcomes.insert(model.outcome());
        },
    )
    .unwrap();
    found.executions = plain.counts().executions;
    found
}

/// Domination: whatever a cut may leave behind, the largest cut with the same flushes and
/// acknowledgements may leave as well.
#[test]
fn settled_cuts_dominate() {
    let dpored = dpor(joined(2));
    for key in &dpored.found.keys {
        let (durable, maybe, acked) = *key;
        let dominates =
            |other: &&CrashKey| other.0 == durable && other.2 == acked && other.1 & maybe == maybe;
        assert!(dpored.settled.iter().any(|other| dominates(&other)), "{key:?}");
    }
    assert!(dpored.settled.is_subset(&dpored.found.keys));
}

/// Keys of all cuts, keys of prefixes, and keys of the largest cuts for each choice of flushes and
/// acknowledgements.
#[derive(Debug, Default)]
struct Dpored {
    found: Found,
    prefixes: BTreeSet<CrashKey>,
    settled: BTreeSet<CrashKey>,
}

fn dpor(mut model: Disks<impl Future<Output = ()>>) -> Dpored {
    let mut dpored = Dpored::default();
    let mut dpor: Dpor<u64, Touched> = Dpor::new(Shard::WHOLE);
    let Dpored { found, prefixes, settled } = &mut dpored;
    search(
        &mut model,
        &mut dpor,
        |_| {},
        |model, dpor: &Dpor<_, _>, complete| {
            if !complete {
                return;
            }
            let steps = dpor.clocks().len();
            prefixes.extend((0..=steps).map(|end| model.crash_key_of(|step| step < end)));
            found.keys.extend(keys(model, Cuts::all(dpor.clocks())));
            let largest = Cuts::settling(dpor.clocks(), |step| model.settles(step));
            settled.extend(keys(model, largest));
            found.outcomes.insert(model.outcome());
        },
    )
    .unwrap();
    found.executions = dpor.counts().executions;
    dpored
}

fn keys(model: &Disks<impl Future<Output = ()>>, mut cuts: Cuts<'_>) -> BTreeSet<CrashKey> {
    let mut keys = BTreeSet::new();
    while let Some(change) = cuts.next() {
        if change == Change::Cut {
            keys.insert(model.crash_key_of(|step| cuts.has(step)));
        }
    }
    keys
}

/// Crash keys of all states, each met again audited, and how many states there are.
fn stateful(mut model: Disks<impl Future<Output = ()>>) -> (BTreeSet<CrashKey>, usize) {
    let mut keys = BTreeSet::new();
    let mut stateful = Stateful::new(usize::MAX, 1);
    let key = |model: &Disks<_>| {
        keys.insert(model.crash_key());
    };
    search(&mut model, &mut stateful, key, |_, _, _| {}).unwrap();
    assert!(!stateful.is_full());
    (keys, stateful.states())
}

/// A client has written nothing; has written, and another one's flush may have made that durable;
/// has flushed; or has acknowledged. Without any flush nothing is durable.
#[test]
fn all_states_of_one_disk() {
    for clients in 1..=4 {
        let (keys, states) = stateful(m3(clients));
        let power = |base: usize| base.pow(u32::try_from(clients).unwrap());
        assert_eq!(states, power(5) - (power(3) - power(2)));
        assert_eq!(keys.len(), power(3));
        assert_eq!(keys, dpor(m3(clients)).found.keys);
    }
    assert_eq!(stateful(m3(5)).0.len(), 243);
}

/// The figures of the bench and the example: keys made from those of the cut before are the same.
#[test]
fn figures() {
    let (plain, dpor) = (measure::plain(3, true).unwrap(), measure::dpor(3, true).unwrap());
    let stateful = measure::stateful(3, 1).unwrap();
    assert_eq!((plain.counts.complete, plain.crash_keys), (1680, Some(27)));
    assert_eq!((dpor.classes, dpor.crash_keys), (Some(19), Some(27)));
    assert_eq!((stateful.states, stateful.crash_keys), (Some(106), Some(27)));
    let mut dpor: Dpor<u64, Touched> = Dpor::new(Shard::WHOLE);
    search(
        &mut mirrored(2),
        &mut dpor,
        |_| {},
        |model, dpor: &Dpor<_, _>, complete| {
            let mut found = BTreeSet::new();
            if complete {
                model.crash_keys_of_cuts(dpor.clocks(), |key| {
                    found.insert(key);
                });
                assert_eq!(found, keys(model, Cuts::all(dpor.clocks())));
            }
        },
    )
    .unwrap();
}

#[test]
fn one_disk() {
    for clients in 1..=3 {
        let (plain, dpor) = (plain(m3(clients)), dpor(m3(clients)));
        assert_eq!(plain.keys, dpor.found.keys);
        assert_eq!(plain.keys.len(), 3_usize.pow(u32::try_from(clients).unwrap()));
        assert_eq!(plain.outcomes, dpor.found.outcomes);
    }
    assert_eq!(dpor(m3(4)).found.keys.len(), 81);
}

/// Taking crash points only from the executions that were run misses almost half of the states; how
/// many depends on which execution of each class was run.
#[test]
fn two_disks_need_cuts() {
    for (clients, prefixes, keys) in [(2, 5, 9), (3, 14, 27), (4, 39, 81)] {
        let dpor = dpor(two_disks(clients));
        assert_eq!(dpor.found.keys.len(), keys, "{clients} clients");
        assert_eq!(dpor.prefixes.len(), prefixes, "{clients} clients");
        // 369,600 orders of four clients: too many for a debug build.
        if clients < 4 || !cfg!(debug_assertions) {
            assert_eq!(dpor.found.keys, plain(two_disks(clients)).keys);
        }
        assert_eq!(dpor.found.keys, stateful(two_disks(clients)).0);
    }
}

/// Too many orders to run them all: 1.7e8.
#[test]
fn five_clients_on_two_disks() {
    let mut keys = BTreeSet::new();
    let mut dpor: Dpor<u64, Touched> = Dpor::new(Shard::WHOLE);
    search(
        &mut two_disks(5),
        &mut dpor,
        |_| {},
        |model, dpor: &Dpor<_, _>, complete| {
            if complete {
                model.crash_keys_of_cuts(dpor.clocks(), |key| {
                    keys.insert(key);
                });
            }
        },
    )
    .unwrap();
    assert_eq!(dpor.counts().complete, 19 * 3);
    assert_eq!(keys.len(), 243);
    assert_eq!(keys, stateful(two_disks(5)).0);
}

#[test]
fn mirrored_writes() {
    let (plain, dpor) = (plain(mirrored(2)), dpor(mirrored(2)));
    assert_eq!(plain.keys, dpor.found.keys);
    assert_eq!(plain.outcomes, dpor.found.outcomes);
    assert!(dpor.prefixes.len() < plain.keys.len());
}

#[test]
fn requests_in_flight_together() {
    let dpored = dpor(joined(3));
    assert_eq!(dpored.found.outcomes.len(), 157);
    assert_eq!(dpored.found.keys.len(), 99);
    assert!(dpored.found.executions <= 650, "{} executions", dpored.found.executions);
    let (two, all) = (dpor(joined(2)), plain(joined(2)));
    assert_eq!(two.found.keys, all.keys);
    assert_eq!(two.found.outcomes, all.outcomes);
    assert_eq!(dpored.found.keys, stateful(joined(3)).0);
}
