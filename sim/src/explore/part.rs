//! The part of a run that one shard of it explores.
//!
//! | schedules | a shard explores |
//! |---|---|
//! | one order of each class | the classes below some of the roots (see [`orders`](crate::orders)) |
//! | drawn at random | some of the draws |
//! | anything else | the whole search, or nothing of it: scenarios are dealt in turn |
//!
//! Nothing is shared between shards, and together they explore what one run explores.

use std::fmt;
use std::ops::ControlFlow;

use crate::explore::cuts::Cuts;
use crate::explore::plan::Plan;
use crate::explore::search::{Outcome, Search};
use crate::explore::strategy::{Assigned, strategy};
use crate::orders::{Shard, depth_for};
use crate::scenario::{Explore, Reduction, Schedules};
use crate::verdict::{Division, Invariant, ShardReach};

/// Which of several runs, the shards of one, this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which, from zero.
    pub index: u64,
    /// Of how many.
    pub count: u64,
    /// The place of the scenario among those of the run.
    pub position: u64,
}

impl Part {
    /// Whether searches like this one can be explored in parts, each class in one of them.
    #[must_use]
    pub fn can_divide_classes(explore: &Explore) -> bool {
        Self::division(explore.schedules) == Division::Roots
    }

    /// How a search is divided among shards.
    pub(super) fn division(schedules: Schedules) -> Division {
        match schedules {
            Schedules::Exhaustive(Reduction::Dpor) => Division::Roots,
            Schedules::Random { .. } => Division::Draws,
            Schedules::Exhaustive(_) | Schedules::Fifo | Schedules::Delays(_) => Division::Whole,
        }
    }

    /// Chooses the engine that can be divided, where the scenario leaves that open.
    pub(super) fn apply_to(explore: &mut Explore) {
        if let Schedules::Exhaustive(reduction @ Reduction::Chosen) = &mut explore.schedules {
            *reduction = Reduction::Dpor;
        }
    }

    /// Whether this shard explores some of a search and leaves the rest to others.
    pub(super) fn divides(self, schedules: Schedules) -> bool {
        self.count > 1 && Self::division(schedules) != Division::Whole
    }

    /// The shard, from zero, that explores all of a search that is not divided.
    pub(super) fn owner(self) -> u64 {
        self.position % self.count
    }

    /// Whether nothing of a search is explored here.
    pub(super) fn has_nothing_of(self, schedules: Schedules) -> bool {
        Self::division(schedules) == Division::Whole && self.owner() != self.index
    }

    /// What of a search is explored here.
    pub(super) fn assigned(
        self,
        explore: &Explore,
        plan: &Plan,
        fresh: &dyn Fn() -> Cuts,
    ) -> Assigned {
        match Self::division(explore.schedules) {
            Division::Roots => {
                let depth = depth(self.count, explore, plan, fresh);
                Assigned::below(Shard { depth, count: self.count, index: self.index })
            }
            Division::Draws => Assigned::draws(self.index, self.count),
            Division::Whole => Assigned::default(),
        }
    }

    /// What the shard says of itself. `missing` is what is missing in its own part.
    pub(super) fn reach(
        self,
        schedules: Schedules,
        assigned: &Assigned,
        outcome: &Outcome,
        missing: Vec<String>,
    ) -> ShardReach {
        let (roots, classes, counts) = outcome.tally.classed.unwrap_or_default();
        ShardReach {
            index: self.index,
            count: self.count,
            division: Self::division(schedules),
            depth: assigned.shard.depth as u64,
            roots,
            complete: counts.complete,
            covered: counts.covered,
            steps: counts.steps,
            classes,
            finished: outcome.finished,
            schedules_complete: false,
            crashes_complete: false,
            missing,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {}", self.index + 1, self.count)
    }
}

/// The depth of the roots for so many shards. Whatever breaks on the way there is found again by the
/// shards.
fn depth(shards: u64, explore: &Explore, plan: &Plan, fresh: &dyn Fn() -> Cuts) -> usize {
    let plan = Plan { crashes: false, latest: false, wanted: Some(NEVER_FOUND), ..plan.clone() };
    let roots = |depth| {
        let mut cuts = fresh();
        let mut strategy = strategy(explore, 0, &Assigned::below(Shard::none(depth)));
        let search = Search::new(&plan, &mut cuts);
        let outcome = search.run(&mut strategy, &mut |_, _| ControlFlow::Continue(()));
        let (roots, ..) = outcome.tally.classed.unwrap_or_default();
        if outcome.finished { Ok(roots) } else { Err(depth) }
    };
    depth_for(shards, roots).unwrap_or_else(|depth| depth)
}

/// A search for it goes on whatever it finds.
const NEVER_FOUND: Invariant = Invariant::VBound;
