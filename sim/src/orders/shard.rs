//! Shards of a search: who explores what, without anything shared.
//!
//! Down to some depth every process goes at every moment, so nothing found deeper adds to it. Each
//! way that leads there, or ends before, is a *root*; all shards number them in the same order, and
//! each explores its own.

use serde::{Deserialize, Serialize};

use super::path::Step;
use super::{Process, class};

/// Which part of a search to explore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Steps down to the roots.
    pub depth: usize,
    /// How many shards there are.
    pub count: u64,
    /// Which of them this one is; `count` or more has no root at all, and only numbers them.
    pub index: u64,
}

impl Shard {
    /// The whole search.
    pub const WHOLE: Self = Self { depth: 0, count: 1, index: 0 };

    /// None of the roots at `depth`: to see what they are.
    #[must_use]
    pub fn none(depth: usize) -> Self {
        Self { depth, count: 1, index: 1 }
    }

    /// Whether the root of this rank belongs to it.
    fn has(&self, rank: u64) -> bool {
        rank % self.count == self.index
    }
}

/// The roots seen up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roots {
    /// How many.
    pub count: u64,
    /// How many of them may go on below the depth.
    pub open: u64,
    /// Identifies them all and their order.
    pub hash: u128,
}

impl Roots {
    /// One more root: the path to it.
    fn add<P: Process>(&mut self, path: &[Step<P>], open: bool) {
        self.count += 1;
        self.open += u64::from(open);
        for step in path {
            self.hash = class::chain(self.hash, step.process().key());
            for choice in step.choices.made() {
                self.hash = class::chain(self.hash, choice.index as u64);
            }
        }
        self.hash = class::chain(self.hash, path.len() as u64);
    }
}

/// Where a search stands with its roots.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Sharding {
    shard: Shard,
    roots: Roots,
    /// Whether the root of the current execution has its rank.
    ranked: bool,
    /// Whether that root is our own.
    own: bool,
}

impl Sharding {
    pub(super) fn new(shard: Shard) -> Self {
        assert!(shard.count > 0, "there is at least one shard");
        Self { shard, roots: Roots::default(), ranked: false, own: true }
    }

    pub(super) fn depth(&self) -> usize {
        self.shard.depth
    }

    pub(super) fn roots(&self) -> Roots {
        self.roots
    }

    /// Another execution begins.
    pub(super) fn begin(&mut self) {
        self.ranked = false;
        self.own = true;
    }

    /// The path leads to a moment not seen before. Whether to go on.
    pub(super) fn arrive<P: Process>(&mut self, path: &[Step<P>]) -> bool {
        if path.len() == self.shard.depth {
            self.rank(path, true);
        }
        self.own
    }

    /// The path ends here. Whether it is one of our own.
    pub(super) fn end<P: Process>(&mut self, path: &[Step<P>]) -> bool {
        if path.len() <= self.shard.depth && !self.ranked {
            self.rank(path, false);
        }
        self.own
    }

    fn rank<P: Process>(&mut self, path: &[Step<P>], open: bool) {
        self.own = self.shard.has(self.roots.count);
        self.ranked = true;
        self.roots.add(path, open);
    }
}

/// Roots for each shard, so that the work is spread evenly.
const ROOTS_PER_SHARD: u64 = 32;

/// The smallest depth with enough roots for `shards` of them; if there never are, the one below
/// which nothing is left. `roots` explores [`Shard::none`] of a depth.
///
/// # Errors
/// Those of `roots`.
pub fn depth_for<E>(
    shards: u64,
    mut roots: impl FnMut(usize) -> Result<Roots, E>,
) -> Result<usize, E> {
    if shards <= 1 {
        return Ok(0);
    }
    let mut depth = 1;
    loop {
        let found = roots(depth)?;
        if found.count >= ROOTS_PER_SHARD.saturating_mul(shards) || found.open == 0 {
            return Ok(depth);
        }
        depth += 1;
    }
}
