//! Searches of M3, with their figures.

use std::collections::BTreeSet;

use plugpull_sim::orders::{Counts, Dpor, NotRepeated, Plain, Shard, Stateful};

use super::disks::{CrashKey, m3};
use super::search::search;
use super::touched::Touched;

/// What a search has found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) counts: Counts,
    /// Of engines that run each class once.
    pub(crate) classes: Option<u64>,
    /// Of engines that tell states apart.
    pub(crate) states: Option<usize>,
    /// None if they were not looked for.
    pub(crate) crash_keys: Option<usize>,
}

/// Places of the keys that were met last.
const RECENT: usize = 1 << 12;

/// Crash keys, most of which come again and again.
struct Keys {
    all: BTreeSet<CrashKey>,
    recent: Vec<CrashKey>,
}

impl Keys {
    fn new() -> Self {
        Self { all: BTreeSet::new(), recent: vec![(u32::MAX, 0, 0); RECENT] }
    }

    fn insert(&mut self, key: CrashKey) {
        let (durable, maybe, acked) = key;
        let place = (durable ^ maybe.rotate_left(8) ^ acked.rotate_left(6)) as usize % RECENT;
        if self.recent[place] != key {
            self.recent[place] = key;
            self.all.insert(key);
        }
    }
}

/// Every order.
pub(crate) fn plain(clients: usize, crashes: bool) -> Result<Figures, NotRepeated> {
    let mut engine = Plain::default();
    let mut keys = Keys::new();
    if crashes {
        search(
            &mut m3(clients),
            &mut engine,
            |model| keys.insert(model.crash_key()),
            |_, _, _| {},
        )?;
    } else {
        search(&mut m3(clients), &mut engine, |_| {}, |_, _, _| {})?;
    }
    let crash_keys = crashes.then_some(keys.all.len());
    Ok(Figures { counts: *engine.counts(), crash_keys, ..Figures::default() })
}

/// One order of each class, with crash keys by cuts.
pub(crate) fn dpor(clients: usize, crashes: bool) -> Result<Figures, NotRepeated> {
    let mut engine: Dpor<u64, Touched> = Dpor::new(Shard::WHOLE);
    let mut keys = Keys::new();
    search(
        &mut m3(clients),
        &mut engine,
        |_| {},
        |model, engine: &Dpor<_, _>, complete| {
            if crashes && complete {
                model.crash_keys_of_cuts(engine.clocks(), |key| keys.insert(key));
            }
        },
    )?;
    Ok(Figures {
        counts: *engine.counts(),
        classes: Some(engine.classes().count),
        crash_keys: crashes.then_some(keys.all.len()),
        ..Figures::default()
    })
}

/// Every state, with one audit in so many meetings.
pub(crate) fn stateful(clients: usize, audit_every: u64) -> Result<Figures, NotRepeated> {
    let mut engine = Stateful::new(usize::MAX, audit_every);
    let mut keys = Keys::new();
    search(&mut m3(clients), &mut engine, |model| keys.insert(model.crash_key()), |_, _, _| {})?;
    Ok(Figures {
        counts: *engine.counts(),
        states: Some(engine.states()),
        crash_keys: Some(keys.all.len()),
        ..Figures::default()
    })
}
