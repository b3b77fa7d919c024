//! The same by undecided disks.

use std::collections::{BTreeMap, BTreeSet};

use num_bigint::BigUint;
use plugpull_sim::crash::{AfterCut, Broken, LazyDisks, Watch, fork};
use plugpull_sim::disk::{CrashSpace, DiskSpec};

use super::brute::{Programs, QUERY, RECOVERY, Seen};
use super::images;
use super::program;

/// What came out of one exploration.
#[derive(Debug, Default)]
pub(crate) struct Explored {
    pub(crate) seen: Seen,
    /// What power cuts inside recovery leave, by key.
    pub(crate) inside: BTreeMap<Vec<u128>, Vec<CrashSpace>>,
    /// Ways through recovery.
    pub(crate) paths: u64,
}

/// Explores recovery after a power cut that left `spaces`.
pub(crate) fn explore(
    specs: &[DiskSpec],
    programs: &Programs,
    spaces: &[CrashSpace],
    watch: Watch,
) -> Result<Explored, Broken> {
    let mut explored = Explored::default();
    let recovery = |disks: &mut LazyDisks| program::run(&programs.recovery, RECOVERY, disks);
    AfterCut::new(specs, spaces).every_way(watch, recovery, |disks, outcome| {
        explored.paths += 1;
        for (index, query) in programs.queries.iter().enumerate() {
            let ask = |disks: &mut LazyDisks| program::run(query, QUERY, disks);
            let mut sum = BigUint::ZERO;
            fork(disks, ask, |fork, answer| {
                let key = (outcome.clone(), index, answer);
                sum += fork.states();
                *explored.seen.answers.entry(key).or_default() += small(&fork.states())?;
                Ok(())
            })?;
            if sum != disks.states() {
                let states = disks.states();
                return Err(Broken(format!("the answers stand for {sum} states of {states}")));
            }
        }
        *explored.seen.outcomes.entry(outcome).or_default() += small(&disks.states())?;
        if watch != Watch::Off {
            let points = disks.take_points().into_iter();
            explored.inside.extend(points.map(|point| (key(&point.spaces), point.spaces)));
        }
        Ok(())
    })?;
    Ok(explored)
}

fn small(states: &BigUint) -> Result<u64, Broken> {
    u64::try_from(states).map_err(|_| Broken(format!("{states} states")))
}

fn key(spaces: &[CrashSpace]) -> Vec<u128> {
    spaces.iter().map(CrashSpace::key).collect()
}

/// All images that some spaces allow; none if one of them allows more than `most`.
pub(crate) fn images_of<'a>(
    all: impl Iterator<Item = &'a Vec<CrashSpace>>,
    most: usize,
) -> Option<BTreeSet<Vec<u128>>> {
    let mut keys = BTreeSet::new();
    for spaces in all {
        images::count(spaces, most)?;
        keys.extend(images::all(spaces).iter().map(|images| images::key(images)));
    }
    Some(keys)
}
