//! What need not go from a state, because that was explored from an earlier one.
//!
//! After an event, whatever was explored before it from the state before, and does not depend on it,
//! *sleeps*: going that way now leads to a state that was reached the other way round. A state is
//! kept together with what slept when it was explored. When it is met again and something of that is
//! awake, just that goes then.
//!
//! # Source
//! Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", chapter 5: sleep
//! sets with state matching. All states are reached; what is spared is reaching them again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Footprint, Process};

/// A process that sleeps, with what it touches in each way that it may go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sleeper<P, F> {
    process: P,
    footprints: Vec<F>,
}

/// A state on the current path: who is to go from it, and who sleeps there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Here<P, F> {
    /// Whether the enabled process at each place has to go and has not begun to.
    awake: Vec<bool>,
    /// Who slept on arrival, or went since.
    sleepers: Vec<Sleeper<P, F>>,
    /// What the process that goes now touches, in the ways that it went.
    went: Vec<F>,
    /// Whether it has begun to go and not come to the end of its event.
    under_way: bool,
    /// Whether it never came to the end of some way: nobody knows what that touches.
    given_up: bool,
}

impl<P: Process, F: Footprint> Here<P, F> {
    /// A state with these processes enabled, at which `sleepers` sleep: all others have to go.
    pub(super) fn new(enabled: &[P], sleepers: Vec<Sleeper<P, F>>) -> Self {
        let sleeps = |process: &P| sleepers.iter().any(|sleeper| sleeper.process == *process);
        let awake = enabled.iter().map(|process| !sleeps(process)).collect();
        Self { awake, sleepers, went: Vec::new(), under_way: false, given_up: false }
    }

    /// A state met again: those have to go that slept when it was explored, and do not any more.
    pub(super) fn again(enabled: &[P], sleepers: Vec<Sleeper<P, F>>, slept: &[u64]) -> Self {
        let slept_then = |process: &P| slept.contains(&process.key());
        let mut here = Self::new(enabled, sleepers);
        for (awake, process) in here.awake.iter_mut().zip(enabled) {
            *awake &= slept_then(process);
        }
        here.sleepers.retain(|sleeper| slept_then(&sleeper.process));
        here
    }

    /// Who sleeps, by what identifies them.
    pub(super) fn asleep(&self) -> Box<[u64]> {
        self.sleepers.iter().map(|sleeper| sleeper.process.key()).collect()
    }

    /// The next process that has to go, by its place.
    pub(super) fn take_next(&mut self) -> Option<usize> {
        let place = self.awake.iter().position(|&awake| awake)?;
        self.awake[place] = false;
        self.given_up = false;
        self.under_way = true;
        Some(place)
    }

    /// The process that goes now is to go another way.
    pub(super) fn other_way(&mut self) {
        self.given_up |= std::mem::replace(&mut self.under_way, true);
    }

    /// The process that goes now went one way.
    pub(super) fn went(&mut self, footprint: F) {
        self.went.push(footprint);
        self.under_way = false;
    }

    /// It went all ways.
    pub(super) fn all_ways(&mut self, process: P) {
        let footprints = std::mem::take(&mut self.went);
        if !self.under_way && !self.given_up {
            self.sleepers.push(Sleeper { process, footprints });
        }
    }

    /// Who sleeps after an event of `process`, where these are enabled.
    pub(super) fn after(&self, process: P, footprint: &F, enabled: &[P]) -> Vec<Sleeper<P, F>> {
        let stays = |sleeper: &&Sleeper<P, F>| {
            sleeper.process != process
                && enabled.contains(&sleeper.process)
                && !sleeper.footprints.iter().any(|other| other.conflicts(footprint))
        };
        self.sleepers.iter().filter(stays).cloned().collect()
    }

    /// The last way that the process went.
    pub(super) fn last_way(&self) -> Option<&F> {
        self.went.last()
    }

    /// Of the enabled processes, how many need not go any more.
    pub(super) fn done(&self) -> usize {
        self.awake.iter().filter(|&&awake| !awake).count()
    }
}

/// Who slept at the states explored, where anybody did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Slept {
    processes: BTreeMap<u128, Box<[u64]>>,
}

impl Slept {
    /// Notes who sleeps at a state.
    pub(super) fn put(&mut self, state: u128, asleep: Box<[u64]>) {
        if asleep.is_empty() {
            self.processes.remove(&state);
        } else {
            self.processes.insert(state, asleep);
        }
    }

    /// Who slept.
    pub(super) fn at(&self, state: u128) -> &[u64] {
        self.processes.get(&state).map_or(&[], |asleep| asleep)
    }
}
