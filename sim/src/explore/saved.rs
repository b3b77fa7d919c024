//! A search under way, as it is kept to go on later.
//!
//! It is kept between two executions, as long as nothing is violated: what was found is soon found
//! again. Going on, the engines compare every step that they repeat with what it was before, so a
//! search never goes on with something else.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::explore::cuts::{Counts, Cuts};
use crate::explore::search::Search;
use crate::explore::visited::Visited;
use crate::schedule::Strategy;
use crate::verdict::Share;

/// Keeps the state of a search.
pub trait Keeper: Send + Sync + std::fmt::Debug {
    /// Whether the state is to be kept now. Asked after every execution.
    fn is_due(&self) -> bool;

    /// Keeps a state, instead of the one before.
    fn keep(&self, state: Vec<u8>);

    /// The state with which the search goes on, if it was kept.
    fn kept(&self) -> Option<Vec<u8>>;
}

/// Who keeps the state of a search.
pub type SharedKeeper = Arc<dyn Keeper>;

/// What is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    strategy: Vec<u8>,
    executions: u64,
    capped: u64,
    wide: u64,
    footprints: Share,
    audited: u64,
    events: BTreeSet<String>,
    frontiers: Visited,
    points: Visited,
    states: Visited,
    counts: Counts,
    repeated_in_vain: usize,
}

impl Saved {
    /// The state of a search; none if it has found something, or its strategy cannot be saved.
    pub(super) fn of(search: &Search<'_>, strategy: &dyn Strategy) -> Option<Self> {
        let (outcome, cuts) = (&search.outcome, &*search.cuts);
        let clean = outcome.found.is_empty() && outcome.broken.is_none();
        if !clean || !cuts.is_clean() {
            return None;
        }
        let events = outcome.events.iter().chain(&cuts.events).map(|&event| event.to_owned());
        Some(Self {
            strategy: strategy.save()?,
            executions: outcome.executions,
            capped: outcome.capped,
            wide: outcome.wide,
            footprints: outcome.footprints,
            audited: search.audit.map_or(0, |audit| audit.pairs),
            events: events.chain(outcome.earlier_events.iter().cloned()).collect(),
            frontiers: search.frontiers.clone(),
            points: cuts.points_seen.clone(),
            states: cuts.states_seen.clone(),
            counts: cuts.counts.clone(),
            repeated_in_vain: cuts.repeated_in_vain,
        })
    }

    /// As bytes.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        postcard::to_allocvec(self).ok()
    }

    /// From bytes.
    ///
    /// # Errors
    /// Why they are none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|error| error.to_string())
    }

    /// Lets a search and its strategy go on from here.
    ///
    /// # Errors
    /// Why they cannot.
    pub(super) fn resume(
        self,
        search: &mut Search<'_>,
        strategy: &mut dyn Strategy,
    ) -> Result<(), String> {
        strategy.restore(&self.strategy)?;
        let outcome = &mut search.outcome;
        outcome.executions = self.executions;
        outcome.capped = self.capped;
        outcome.wide = self.wide;
        outcome.footprints = self.footprints;
        outcome.earlier_events = self.events;
        if let Some(audit) = &mut search.audit {
            audit.pairs = self.audited;
        }
        search.frontiers = self.frontiers;
        search.cuts.resume(self.points, self.states, self.counts, self.repeated_in_vain);
        Ok(())
    }
}

impl Cuts {
    /// Whether nothing was found, and nothing given up in the middle.
    fn is_clean(&self) -> bool {
        self.told.is_empty() && self.broken.is_none() && !self.gave_up
    }

    fn resume(&mut self, points: Visited, states: Visited, counts: Counts, in_vain: usize) {
        (self.points_seen, self.states_seen) = (points, states);
        (self.counts, self.repeated_in_vain) = (counts, in_vain);
    }
}
